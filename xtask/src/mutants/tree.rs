//! The copy of the packages that the mutants live in, under `target/mutants`: the tree itself stays free of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::blend::{self, Sites};
use super::table::Row;
use crate::cmd;
use crate::tidy::source::Source;

/// Says which mutant a process is.
pub const VARIABLE: &str = "NETPOLL_MUTANT";

/// What goes into the copy: the packages, and a file of another that a model is built with.
const COPIED: &[&str] = &["core", "loom-tests", "std-rt/src/fd"];

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
    let tree = place.join("tree");
    for folder in COPIED.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
        let mut paths = Vec::new();
        cmd::files_under(&folder, &|path| path.ends_with("target"), &mut paths)?;
        for path in paths {
            let name = path.strip_prefix(root).map_err(|e| e.to_string())?;
            if !name.starts_with("core/src") {
                write(&tree.join(name), &read(&path)?)?;
            }
        }
    }
    for (word, source) in core {
        let of_word: Vec<&Row> = rows.iter().filter(|row| row.word == *word).collect();
        let added = if word == "sync" { CHOICE } else { "" };
        write(&tree.join(&source.path), (blend::blend(source, &of_word, sites) + added).as_bytes())?;
    }
    write(&tree.join("Cargo.toml"), workspace(root)?.as_bytes())?;
    // Without a lock file cargo makes one.
    if let Ok(lock) = read(&root.join("Cargo.lock")) {
        write(&tree.join("Cargo.lock"), &lock)?;
    }
    compile(&tree, &place)
}

/// The root's manifest with two members.
fn workspace(root: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(&root.join("Cargo.toml"))?).map_err(|e| e.to_string())?;
    let members = "members = [";
    let (before, rest) = text.split_once(members).ok_or("Cargo.toml names no members")?;
    let (_, after) = rest.split_once(']').ok_or("Cargo.toml's members do not end")?;
    Ok(format!("{before}{members}\"core\", \"loom-tests\"]{after}"))
}

fn compile(tree: &Path, place: &Path) -> Result<Built, String> {
    let target = place.join("target");
    let mut command = cmd::cargo(tree, &["build", "--quiet", "-p", "loom-tests", "--profile", "loom"]);
    // What a mutant leaves unused or in odd brackets is no finding.
    command.arg("--target-dir").arg(&target).env("RUSTFLAGS", "--cfg netpoll_loom --cap-lints allow");
    cmd::run(&mut command)?;
    let (program, logs) = (target.join("loom/loom-tests"), place.join("logs"));
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    Ok(Built { program, logs, models: tree.join("loom-tests/src/models") })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A file that is as it was keeps its time, so that cargo builds only what has changed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, bytes));
    written.map_err(|e| format!("{}: {e}", path.display()))
}
