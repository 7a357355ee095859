//! `mutants`: what every word of core is there for. Each row of `loom-tests/mutants.txt` takes something away (an
//! ordering, a fence, a check), and the model that it names must turn red.

mod blend;
mod cover;
mod report;
mod runs;
mod table;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use self::table::Row;
use crate::tidy::source::Source;
use crate::{Outcome, cmd};

/// A table that shrinks is red.
const MIN_ROWS: usize = 60;

/// What the arguments say.
struct Args {
    root: PathBuf,
    /// Rows whose place, title or model holds this; all if it is empty.
    filter: String,
    /// The report must be as it is; it is not written.
    check: bool,
    /// Equivalent rows face every model at its own bound.
    deep: bool,
}

/// Runs the rows that the filter picks, or all, and then brings the report up to date.
pub fn run(args: &[String]) -> Outcome {
    let args = parse_args(args)?;
    let start = Instant::now();
    let rows = table::read(&args.root.join("loom-tests/mutants.txt"))?;
    let core = load(&args.root)?;
    let (sites, mut red) = blend::place(&rows, &core);
    red.extend(cover::missing(&rows, &sites, &core));
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
    let built = tree::build(&args.root, &rows, &sites, &core)?;
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

/// The sources of core by the names of their files: `sema` is `core/src/poll/sema.rs`.
fn load(root: &Path) -> Result<BTreeMap<String, Source>, String> {
    let mut paths = Vec::new();
    cmd::files_under(&root.join("core/src"), &|_| false, &mut paths)?;
    let mut sources = BTreeMap::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let word = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let in_tree = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        sources.insert(word, Source::new(in_tree, &text));
    }
    Ok(sources)
}
