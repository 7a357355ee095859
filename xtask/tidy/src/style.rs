//! `style`: the counts by which the shape and the English of the code are judged, of this checkout or of another one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::prose;
use crate::prose::Opening;
use crate::rules::Tree;
use tidy::source::Source;
use xtask::{Outcome, cmd};

/// The folders that have a row of their own.
const PACKAGES: &[&str] = &["core", "std-rt/src", "std-rt/tests", "loom-tests", "examples", "xtask"];

/// The documents that say which files an event, a read, a deadline and a task cross.
const TOURS: &[&str] = &["std-rt/README.md", "std-rt/src/lib.rs", "core/src/lib.rs", "README.md"];

/// The counted path, and the title of the section that lists its files, one in backticks per item.
const SECTIONS: &[(&str, &str)] = &[
    ("an event", "Where an event goes"),
    ("a parked read", "Where a read goes"),
    ("a deadline", "Where a deadline goes"),
    ("a spawned task", "Where a spawned task goes"),
];

/// Prints the table; `--list [PART]` prints every free relative and every fragment in files whose path holds the part.
pub fn run(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    let tree = Tree::read(&root)?;
    let sources = tree.sources();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--list"] => return list(sources, ""),
        ["--list", part] => return list(sources, part),
        _ => return Err("takes --root DIR and --list [PART]".to_owned()),
    }
    english(sources);
    modules(sources);
    sizes(sources);
    println!("{:<58} {:>7}", "test programs of the workspace", test_programs(&root)?);
    for (what, title) in SECTIONS {
        println!("{:<58} {:>7}", format!("files that {what} crosses"), crossed(&root, title)?);
    }
    Ok(())
}

fn list(sources: &[Source], part: &str) -> Outcome {
    for source in sources.iter().filter(|source| source.path.contains(part)) {
        for (line, word) in prose::free_relatives(source) {
            println!("{}:{line}: free relative: {word}", source.path);
        }
        for (line, phrase) in prose::moulds(source) {
            println!("{}:{line}: mould: {phrase}", source.path);
        }
        for (line, found, opening) in prose::openings(source) {
            let name = if found == Opening::Fragment { "fragment" } else { "function without a verb" };
            println!("{}:{line}: {name}: {opening}", source.path);
        }
    }
    Ok(())
}

/// Prints one row per package and one for all: comment lines, free relatives, fragments.
fn english(sources: &[Source]) {
    println!(
        "{:<12} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "package",
        "comments",
        "who, whom",
        "per 1,000",
        "relatives",
        "per 1,000",
        "docs",
        "fragments",
        "no verb"
    );
    for package in PACKAGES.iter().chain(&[""]) {
        let of: Vec<&Source> = under(sources, package).collect();
        let sum = |count: &dyn Fn(&Source) -> usize| of.iter().map(|source| count(source)).sum::<usize>();
        let lines = sum(&prose::comment_lines);
        let persons = sum(&prose::persons);
        let relatives = sum(&|source| prose::free_relatives(source).len());
        let docs = sum(&|source| source.docs.len());
        let open = |as_one: Opening| {
            sum(&|source| prose::openings(source).filter(|found| found.1 == as_one).count())
        };
        let (fragments, verbless) = (open(Opening::Fragment), open(Opening::NoVerb));
        let part = |count: usize, of: usize, scale: f64| count as f64 * scale / of.max(1) as f64;
        println!(
            "{:<12} {lines:>8} {persons:>10} {:>9.1} {relatives:>9} {:>9.1} {docs:>9} {:>8.1}% {:>8.1}%",
            if package.is_empty() { "all" } else { package },
            part(persons, lines, 1e3),
            part(relatives, lines, 1e3),
            part(fragments, docs, 1e2),
            part(verbless, docs, 1e2)
        );
    }
}

fn modules(sources: &[Source]) {
    let mut sizes: Vec<usize> = under(sources, "std-rt/src/sys").map(lines).collect();
    sizes.sort_unstable();
    row("std-rt/src/sys: files", sizes.len());
    row("std-rt/src/sys: lines of the median file", sizes.get(sizes.len() / 2).copied().unwrap_or(0));
    row("std-rt/src/sys: lines", sizes.iter().sum());
    for folder in ["std-rt/src/", ""] {
        let total = |word, next| under(sources, folder).map(|source| count(source, word, next)).sum();
        let place = if folder.is_empty() { "all packages" } else { folder };
        row(&format!("#[path] attributes in {place}"), total("path", "="));
        row(&format!("macro_rules! in {place}"), total("macro_rules", "!"));
    }
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources {
        *folders.entry(folder(&source.path)).or_default() += count(source, "unsafe", "{");
    }
    let crates = folders.iter().filter(|(folder, _)| is_crate(folder)).map(|(_, blocks)| blocks).sum();
    row("unsafe blocks in core/src and std-rt/src", crates);
    for (folder, blocks) in folders.iter().filter(|(_, blocks)| **blocks > 0) {
        row(&format!("unsafe blocks in {folder}"), *blocks);
    }
}

fn sizes(sources: &[Source]) {
    for folder in
        ["std-rt/src/", "core/src/", "loom-tests/", "examples/", "xtask/src/", "xtask/tidy/src/", "xtask/"]
    {
        row(&format!("lines of {folder}"), under(sources, folder).map(lines).sum());
    }
    if let Some(source) = sources.iter().max_by_key(|source| lines(source)) {
        row(&format!("lines of the longest file, {}", source.path), lines(source));
    }
    let crates = || sources.iter().filter(|source| is_crate(&source.path));
    row("files of core/src and std-rt/src", crates().count());
    row("functions of core/src and std-rt/src", crates().map(|source| source.functions.len()).sum());
}

fn under<'s>(sources: &'s [Source], folder: &'s str) -> impl Iterator<Item = &'s Source> {
    sources.iter().filter(move |source| source.path.starts_with(folder))
}

fn is_crate(path: &str) -> bool {
    path.starts_with("core/src/") || path.starts_with("std-rt/src/")
}

/// Returns the module of the first level: `std-rt/src/sched` for `std-rt/src/sched/cell.rs` and for `std-rt/src/sched.rs`.
fn folder(path: &str) -> &str {
    let end = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at);
    path[..end].trim_end_matches(".rs")
}

fn lines(source: &Source) -> usize {
    source.text.lines().count()
}

/// Counts the places where one word or sign follows a word.
fn count(source: &Source, word: &str, next: &str) -> usize {
    source.words(word).filter(|at| source.word(at + 1) == next).count()
}

fn row(what: &str, count: usize) {
    println!("{what:<58} {count:>7}");
}

/// Counts the targets that `cargo test --workspace --all-targets` builds as test programs, each with a link of its own.
fn test_programs(root: &Path) -> Result<String, String> {
    let metadata = cmd::metadata(root)?;
    let count = |kind: &str| metadata.matches(&format!("\"kind\":[\"{kind}\"]")).count();
    let (tests, others) = (count("test"), count("lib") + count("bin") + count("example") + count("bench"));
    Ok(format!("{tests} + {others} libraries, programs and examples"))
}

/// Counts the files that a section lists, and checks that each of them exists.
fn crossed(root: &Path, title: &str) -> Result<String, String> {
    for tour in TOURS {
        // A checkout may lack the document.
        let text = std::fs::read_to_string(root.join(tour)).unwrap_or_default();
        let heading = |line: &str| line.trim_start_matches("//!").trim_start().starts_with('#');
        let mut lines = text.lines().skip_while(|line| !(heading(line) && line.contains(title)));
        if lines.next().is_none() {
            continue;
        }
        let mut files = BTreeSet::new();
        for line in lines.take_while(|line| !heading(line)) {
            for name in line.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")) {
                let places =
                    ["", "std-rt/src/", "core/src/", "std-rt/"].map(|folder| format!("{folder}{name}"));
                let place = places.into_iter().find(|place| root.join(place).is_file());
                files.insert(place.ok_or_else(|| format!("{tour}: {title}: there is no file {name}"))?);
            }
        }
        return Ok(files.len().to_string());
    }
    Ok("no list".to_owned())
}
