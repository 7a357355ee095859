//! The copy of the packages that the mutants live in, under `target/mutants`: the tree itself stays free of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::blend::{self, Sites};
use super::table::Row;
use crate::checker::{self, Loom};
use crate::cmd;
use crate::tidy::source::Source;

/// Says which mutant a process is.
pub const VARIABLE: &str = "NETPOLL_MUTANT";

/// Added to the copy's `sync.rs`.
const CHOICE: &str = r#"
/// Which mutant this process is; 0 is none.
pub fn mutant() -> usize {
    static NUMBER: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| std::env::var("NETPOLL_MUTANT").map_or(0, |n| n.parse().expect("a number")))
}
"#;

/// The program with every mutant in it.
pub struct Built {
    pub program: PathBuf,
    pub logs: PathBuf,
    /// Where the models' sources are.
    pub models: PathBuf,
}

/// Copies, blends, builds.
pub fn build(
    root: &Path,
    rows: &[Row],
    sites: &Sites,
    core: &BTreeMap<String, Source>,
) -> Result<Built, String> {
    let place = cmd::target_dir(root)?.join("mutants");
    let blended: BTreeMap<PathBuf, String> = core
        .iter()
        .map(|(word, source)| {
            let of_word: Vec<&Row> = rows.iter().filter(|row| row.word == *word).collect();
            let added = if word == "sync" { CHOICE } else { "" };
            (PathBuf::from(&source.path), blend::blend(source, &of_word, sites) + added)
        })
        .collect();
    let source = |path: &Path| blended.get(path).cloned();
    let tree = checker::prepare(root, &place, Loom::Corrected, &source)?;
    compile(&tree, &place)
}

fn compile(tree: &Path, place: &Path) -> Result<Built, String> {
    // What a mutant leaves unused or in odd brackets is no finding.
    let program = checker::build(tree, &place.join("target"), " --cap-lints allow")?;
    let logs = place.join("logs");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    Ok(Built { program, logs, models: tree.join("loom-tests/src/models") })
}
