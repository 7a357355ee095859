//! Every case of behaviour that a user relies on has a test, and is named by its ID: a case cannot vanish unnoticed.
//!
//! The IDs are those of the list below. A test may carry several: `b05_b24_a_deadline_in_the_past_beats_what_is_there`.

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

/// A test whose name begins with an ID.
struct Test {
    ids: Vec<String>,
    /// The file and the name.
    told: String,
    /// Why it need not say how many workers it has, if that is so, or that it says it.
    workers: bool,
}

/// The Rust files of a folder and of those in it.
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

/// Functions at the margin of a file: name and text.
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

/// The IDs at the beginning of a name.
fn ids(name: &str) -> Vec<String> {
    let is_id = |part: &&str| {
        let mut letters = part.chars();
        part.len() == 3
            && letters.next().is_some_and(|letter| ('a'..='f').contains(&letter))
            && letters.all(|letter| letter.is_ascii_digit())
    };
    name.split('_').take_while(is_id).map(str::to_uppercase).collect()
}

/// How a function says that it runs with one worker and with four.
fn with_workers(function: &str) -> bool {
    ["each(", "with_few_descriptors(", "[1, 4]", "[1, 2, 4]", "[1, 4, 8]"]
        .iter()
        .any(|says| function.contains(says))
}

/// What excuses a test, with its reason behind it.
const EXCUSES: [&str; 2] = ["// one worker: ", "// no worker: "];

/// The same for all tests of a file, in its first lines.
const EXCUSE: &str = "//! No worker: ";

fn tests_of(path: &Path) -> Vec<Test> {
    let text = fs::read_to_string(path).unwrap();
    let functions = functions(&text);
    // Those that a test leaves the workers to.
    let helpers: Vec<_> =
        functions.iter().filter(|(name, text)| ids(name).is_empty() && with_workers(text)).collect();
    let by_hand = text.lines().any(|line| line.starts_with(EXCUSE));
    let test = |(name, text): &(&str, &str)| {
        let helped = helpers.iter().any(|(helper, _)| text.contains(&format!("{helper}(")));
        let excused = by_hand || EXCUSES.iter().any(|excuse| text.contains(excuse));
        let told = format!("{}: {name}", path.display());
        Test { ids: ids(name), told, workers: with_workers(text) || helped || excused }
    };
    functions.iter().map(test).filter(|test| !test.ids.is_empty()).collect()
}

/// The tests of the runtime, and those of the words.
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
    assert!(missing.is_empty(), "no test is named by {missing:?}");
    assert_eq!(CASES.len(), 77);
    let count: usize = found.values().sum();
    println!("{} cases, {count} tests", CASES.len());
}

#[test]
fn each_case_runs_with_one_worker_and_with_four() {
    let [of_the_runtime, _] = tests();
    let silent: Vec<_> = of_the_runtime.iter().filter(|test| !test.workers).map(|test| &test.told).collect();
    assert!(silent.is_empty(), "neither `each` nor a reason: {silent:#?}");
}

#[test]
fn names_are_read_as_they_are_written() {
    assert_eq!(ids("b05_b24_a_deadline"), ["B05", "B24"]);
    assert!(
        ids("beyond_the_end").is_empty() && ids("a_b05_test").is_empty() && ids("g01_no_case").is_empty()
    );
    let text =
        "//! x\n\n#[test]\nfn c01_one() {\n    each(async || {\n    });\n}\n\nfn other<T>(t: T) {\n}\n";
    let found = functions(text);
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["c01_one", "other"]);
    assert!(with_workers(found[0].1) && !with_workers(found[1].1));
}
