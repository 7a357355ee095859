//! Each case of behavior that a user relies on has a test, so that a case cannot vanish unnoticed.
//!
//! A comment in front of a test names its cases by the IDs of the list below: `// Cases B05, B24.`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The cases, in short. The numbers have gaps.
const CASES: &[(&str, &str)] = &[
    ("A01", "lock basics"),
    ("A02", "closed refuses all"),
    ("A03", "close frees queued lockers"),
    ("A04", "misuse is loud"),
    ("A06", "stress"),
    ("B01", "accept, deadline in the past, client waiting"),
    ("B02", "accept, 10 ms, nobody dials"),
    ("B03", "clear then set"),
    ("B04", "past then clear"),
    ("B05", "read, past deadline beats ready data"),
    ("B06", "read, data then expiry"),
    ("B07", "read deadline independent of write"),
    ("B08", "mirror of B07 for write"),
    ("B10", "UDP recv"),
    ("B11", "UDP send"),
    ("B13", "wide range"),
    ("B14", "prolonged"),
    ("B15", "deadline race"),
    ("B17", "set to past wakes a parked read"),
    ("B19", "directions independent"),
    ("B20", "combined timer splits"),
    ("B23", "partial write"),
    ("B24", "recover after TimedOut"),
    ("B25", "not pollable"),
    ("B26", "set after close"),
    ("B27", "stale timer on reused descriptor"),
    ("C01", "stream close"),
    ("C02", "listener close"),
    ("C03", "UDP close"),
    ("C04", "peer close wakes reader"),
    ("C05", "local close wakes reader"),
    ("C07", "many acceptors"),
    ("C08", "close means closed"),
    ("C10", "both directions"),
    ("C13", "dropped future"),
    ("C14", "pipe close race"),
    ("C15", "pipe EOF"),
    ("C17", "RST"),
    ("C18", "write to dead peer"),
    ("C19", "destroy order"),
    ("C20", "blocked writer"),
    ("D01", "shutdown(Read)"),
    ("D02", "shutdown(Write)"),
    ("D04", "RDHUP wakes reader"),
    ("D06", "zero-length buffer"),
    ("D07", "empty datagram"),
    ("D08", "eof table"),
    ("D09", "message variants EOF"),
    ("E01", "aborted connection"),
    ("E02", "EINTR everywhere"),
    ("E03", "EMFILE on accept, edge kept"),
    ("E07", "one connection, ten acceptors"),
    ("E09", "fail fast"),
    ("E10", "cancelled connect"),
    ("E11", "self-consistency of errors"),
    ("F02", "stale readiness"),
    ("F04", "generation wrap"),
    ("F05", "dup keeps the open file alive"),
    ("F07", "eventErr on read only"),
    ("F08", "special files"),
    ("F09", "more ready than one batch"),
    ("F10", "break coalescing"),
    ("F11", "non-blocking poll keeps the wake"),
    ("F12", "break write errors"),
    ("F13", "epoll_wait EINTR"),
    ("F14", "timeout conversion"),
    ("F15", "data before first wait"),
    ("F17", "double wait"),
    ("F19", "FIFO"),
    ("F20", "no allocation"),
    ("F21", "fd hygiene"),
    ("F22", "huge write"),
    ("F24", "stress"),
    ("F25", "full duplex"),
    ("F26", "cancel keeps the token"),
    ("F27", "special wake order"),
    ("F28", "accept backlog drain"),
];

/// A test of at least one case.
struct Test {
    ids: Vec<String>,
    /// The file and the name.
    place: String,
    /// The test runs with one worker and with several, or has an excuse.
    workers: bool,
}

/// Returns the Rust files of a folder and of its subfolders.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// Returns the functions of a file that are not indented: name and text.
fn functions(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("\nfn ").map(|(at, _)| at + 1);
    let function = |start: usize| {
        let text = &text[start..];
        let end = text.find("\n}").map_or(text.len(), |end| end + 2);
        let name = text["fn ".len()..].split(['(', '<']).next().unwrap_or_default();
        (name, &text[..end])
    };
    starts.map(function).collect()
}

/// Returns the IDs, the name and the text of each test behind a line such as `// Case B05.` or `// Cases B05, B24.`.
fn cases(text: &str) -> Vec<(Vec<String>, &str, &str)> {
    let case = |(at, _)| {
        let (line, rest) = text[at + 1..].split_once('\n')?;
        let ids = line.trim_end_matches('.').split([' ', ',']).filter(|word| is_id(word)).map(str::to_owned);
        let (name, function) = *functions(rest).first()?;
        Some((ids.collect(), name, function))
    };
    text.match_indices("\n// Case").filter_map(case).collect()
}

/// Returns whether a word is a letter from A to F and two digits.
fn is_id(word: &str) -> bool {
    let digits = word.strip_prefix(|letter| ('A'..='F').contains(&letter));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Returns whether a function runs with one worker and with several.
fn with_workers(function: &str) -> bool {
    ["each(", "with_few_descriptors(", "[1, 4]", "[1, 2, 4]", "[1, 4, 8]"]
        .iter()
        .any(|says| function.contains(says))
}

/// The comments that excuse a test; the reason follows.
const EXCUSES: [&str; 2] = ["// one worker: ", "// no worker: "];

/// The comment that excuses all tests of a file; the reason follows.
const EXCUSE: &str = "//! No worker: ";

fn tests_of(path: &Path) -> Vec<Test> {
    let text = fs::read_to_string(path).unwrap();
    let functions = functions(&text);
    // A test may leave the workers to one of these.
    let helpers: Vec<_> = functions.iter().filter(|(_, text)| with_workers(text)).collect();
    let by_hand = text.lines().any(|line| line.starts_with(EXCUSE));
    let test = |(ids, name, text): (Vec<String>, &str, &str)| {
        let helped = helpers.iter().any(|(helper, _)| text.contains(&format!("{helper}(")));
        let excused = by_hand || EXCUSES.iter().any(|excuse| text.contains(excuse));
        let place = format!("{}: {name}", path.display());
        Test { ids, place, workers: with_workers(text) || helped || excused }
    };
    cases(&text).into_iter().map(test).collect()
}

/// Returns the tests of the runtime, and those of core.
fn tests() -> [Vec<Test>; 2] {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [here.join("tests"), here.join("../core/tests")]
        .map(|folder| sources(&folder).iter().flat_map(|path| tests_of(path)).collect())
}

#[test]
fn every_case_has_a_test() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for id in tests().iter().flatten().flat_map(|test| &test.ids) {
        *found.entry(id.clone()).or_default() += 1;
    }
    let missing: Vec<_> = CASES.iter().filter(|(id, _)| !found.contains_key(*id)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    assert_eq!(CASES.len(), 77);
    let count: usize = found.values().sum();
    println!("{} cases, {count} tests", CASES.len());
}

#[test]
fn each_case_runs_with_one_worker_and_with_four() {
    let [of_the_runtime, _] = tests();
    let silent: Vec<_> = of_the_runtime.iter().filter(|test| !test.workers).map(|test| &test.place).collect();
    assert!(silent.is_empty(), "neither `each` nor a reason: {silent:#?}");
}

#[test]
fn comments_are_read_as_they_are_written() {
    let text = "//! x\n\n// Cases B05, B24.\n#[test]\nfn one() {\n    each(async || {\n    });\n}\n\nfn other<T>(t: T) {\n}\n\n\
        // Casements G01, B5.\n#[test]\nfn third() {\n}\n";
    let found = cases(text);
    let ids: Vec<_> = found.iter().map(|(ids, name, _)| (*name, ids.join(" "))).collect();
    assert_eq!(ids, [("one", "B05 B24".to_owned()), ("third", String::new())]);
    assert!(with_workers(found[0].2) && !with_workers(found[1].2));
    assert_eq!(functions(text).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["one", "other", "third"]);
}
