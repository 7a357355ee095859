//! The table in the docs of `net`, read from its source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("../../../src/net.rs");

/// An event that happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Column {
    ClosedBefore,
    ClosedMeanwhile,
    LateBefore,
    LateMeanwhile,
    PeerCloses,
    PeerResets,
    Dropped,
}

/// The columns in the order of the table, with their headings.
pub const COLUMNS: [(Column, &str); 7] = [
    (Column::ClosedBefore, "closed before"),
    (Column::ClosedMeanwhile, "closed meanwhile"),
    (Column::LateBefore, "deadline before"),
    (Column::LateMeanwhile, "deadline meanwhile"),
    (Column::PeerCloses, "peer closes"),
    (Column::PeerResets, "peer resets"),
    (Column::Dropped, "dropped"),
];

/// Returns the text of the cells of each operation, without the marks of code, by names such as `TcpStream::read`.
pub fn cells() -> BTreeMap<(String, Column), String> {
    let mut lines = SOURCE.lines().map_while(|line| line.strip_prefix("//!").map(str::trim));
    let heading = lines.find(|line| line.starts_with("| operation |")).expect("the docs have the table");
    let headings: Vec<_> = COLUMNS.iter().map(|(_, heading)| (*heading).to_owned()).collect();
    assert_eq!(split(heading)[1..], headings, "the columns of the table");
    let mut cells = BTreeMap::new();
    for row in lines.skip(1).take_while(|line| line.starts_with('|')).map(split) {
        assert_eq!(row.len(), COLUMNS.len() + 1, "{row:?}");
        for operation in operations(&row[0]) {
            for ((column, _), cell) in COLUMNS.iter().zip(&row[1..]) {
                let twice = cells.insert((operation.clone(), *column), cell.replace('`', ""));
                assert_eq!(twice, None, "{operation} is there twice");
            }
        }
    }
    cells
}

fn split(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// Returns each method of each type of a row: "`A`, `B`: `x` `y`; `C`: `z`".
fn operations(cell: &str) -> Vec<String> {
    let mut all = Vec::new();
    for group in cell.split(';') {
        let (types, methods) = group.split_once(": ").unwrap_or_else(|| panic!("no `: ` in {group}"));
        for of in in_code(types) {
            all.extend(in_code(methods).map(|method| format!("{of}::{method}")));
        }
    }
    all
}

/// Returns the texts between marks of code.
fn in_code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Asynchronous functions of `net` and `io` that have no row, and why.
const NO_ROW: [(&str, &str); 7] = [
    ("bind", "it waits for the resolver at most"),
    ("close", "it waits for the operations that it ends"),
    ("close_lingering", "its limits are its own, and closing.rs plays what ends it"),
    ("peer_gone", "only the peer's end ends it, and peer_closed.rs plays that"),
    ("race", "the floor below connect"),
    ("retry_self_connect", "the floor below connect"),
    ("shutdown", "it yields for the budget at most"),
];

/// Returns the names of all others, from the sources.
pub fn waiting_functions() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join("io.rs")];
    add_files(&src.join("net"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        names.extend(crate::common::async_functions(&text));
    }
    for (name, _) in NO_ROW {
        assert!(names.remove(name), "{name} is not there");
    }
    names
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
