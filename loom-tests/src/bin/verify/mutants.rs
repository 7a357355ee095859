//! `mutants`: each row of `loom-tests/mutants.txt` takes something away from core (an ordering, a fence, a check), and
//! the model that it names must turn red.

mod blend;
mod report;
mod runs;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidy::source::Source;
use xtask::{Outcome, cmd};

use self::blend::Sites;
use self::table::Row;
use crate::checker::{self, Loom};

/// A table that shrinks is red.
const MIN_ROWS: usize = 60;

/// The arguments.
struct Args {
    root: PathBuf,
    /// Picks the rows whose place, title or model holds this.
    filter: String,
    /// Compares the report and does not write it.
    check: bool,
    /// Lets the rows that must survive face every model, at its own bound.
    deep: bool,
}

/// Runs the rows that the filter picks, or all, and then brings the report up to date.
pub fn run(args: &[String]) -> Outcome {
    let args = parse_args(args)?;
    let start = Instant::now();
    let rows = table::read(&args.root.join("loom-tests/mutants.txt"))?;
    let core = load(&args.root)?;
    let (sites, mut red) = blend::place(&rows, &core);
    red.extend(blend::missing(&rows, &sites, &core));
    if rows.len() < MIN_ROWS {
        red.push(format!("{} rows, at least {MIN_ROWS}", rows.len()));
    }
    // A table that does not fit its sources says nothing about them.
    if !red.is_empty() {
        return tell(&red);
    }
    let picked: Vec<&Row> = rows.iter().filter(|row| row.holds(&args.filter)).collect();
    if picked.is_empty() {
        return Err(format!("no row of {} holds `{}`", rows.len(), args.filter));
    }
    let built = build(&args.root, &rows, &sites, &core)?;
    let (ends, found) = runs::all(&built, &picked, args.deep)?;
    red.extend(found);
    if args.filter.is_empty() {
        red.extend(report::write(&args.root, &picked, &ends, args.check)?);
    }
    println!("mutants: {}, {:.1} s", report::counts(&picked, &ends), start.elapsed().as_secs_f64());
    tell(&red)
}

fn tell(red: &[String]) -> Outcome {
    for reason in red {
        println!("red: {reason}");
    }
    if red.is_empty() { Ok(()) } else { Err(format!("{} rows are not as they must be", red.len())) }
}

fn parse_args(args: &[String]) -> Result<Args, String> {
    let (root, rest) = cmd::take_root(args)?;
    let mut parsed = Args { root, filter: String::new(), check: false, deep: false };
    for arg in rest {
        match arg.as_str() {
            "--check" => parsed.check = true,
            "--deep" => parsed.deep = true,
            _ if arg.starts_with("--") => {
                return Err(format!("does not understand `{arg}`; it knows --check and --deep"));
            }
            _ if parsed.filter.is_empty() => parsed.filter = arg,
            _ => return Err("takes one word that the rows hold".to_owned()),
        }
    }
    Ok(parsed)
}

/// Reads the sources of core, by the names of their files: `sema` is `core/src/poll/sema.rs`.
fn load(root: &Path) -> Result<BTreeMap<String, Source>, String> {
    let mut paths = Vec::new();
    cmd::files_under(&root.join("core/src"), &|_| false, &mut paths)?;
    let mut sources = BTreeMap::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let word = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        sources.insert(word, Source::new(name, text)?);
    }
    Ok(sources)
}

/// The environment variable that names the mutant of a process.
const VARIABLE: &str = "NETPOLL_MUTANT";

/// The function of the choices, which is added to the copy of `sync.rs`.
const CHOICE: &str = r#"
/// Returns the mutant of this process; 0 is none.
pub fn mutant() -> usize {
    static NUMBER: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| std::env::var("NETPOLL_MUTANT").map_or(0, |n| n.parse().expect("a number")))
}
"#;

/// The program with every mutant in it.
struct Built {
    program: PathBuf,
    logs: PathBuf,
    /// The folder with the sources of the models.
    models: PathBuf,
}

/// Copies the packages to `target/mutants`, writes the choices into the copy of core, and builds it.
fn build(root: &Path, rows: &[Row], sites: &Sites, core: &BTreeMap<String, Source>) -> Result<Built, String> {
    let place = cmd::target_dir(root)?.join("mutants");
    let mut blended = BTreeMap::new();
    for (word, source) in core {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.word == *word).collect();
        let added = if word == "sync" { CHOICE } else { "" };
        blended.insert(PathBuf::from(&source.path), blend::blend(source, &rows, sites) + added);
    }
    let tree = checker::prepare(root, &place, Loom::Corrected, &|path| blended.get(path).cloned())?;
    // A mutant may leave names unused and brackets odd.
    let program = checker::build(&tree, &place.join("target"), " --cap-lints allow")?;
    Ok(Built { program, logs: checker::logs(&place)?, models: tree.join("loom-tests/src/models") })
}
