//! `mutants` on a small workspace: rows that hold, rows that do not, tables that do not fit their sources.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MANIFEST: &str = "[workspace]\nresolver = \"3\"\nmembers = [\"core\", \"loom-tests\", \"none\"]\n
[profile.loom]\ninherits = \"dev\"\n";
const CORE: &str = "[package]\nname = \"netpoll-core\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
const MODELS: &str = "[package]\nname = \"loom-tests\"\nversion = \"0.1.0\"\nedition = \"2024\"\n
[dependencies]\nnetpoll-core = { path = \"../core\" }\n";

/// A harness that takes the same words as the real one.
const MAIN: &str = r#"mod models { pub mod word; }
fn main() {
    if std::env::args().nth(1).as_deref() == Some("list") {
        println!("m01_word\t2\t-\tGreen\nm01_twin\t2\t-\tDeadlock");
    } else {
        models::word::run();
        println!("m01_word executions=1");
    }
}
"#;
const MODEL: &str = r#"/// "m01_word"
pub fn run() {
    let sums = netpoll_core::word::all();
    assert!(sums.iter().all(|sum| *sum == 2), "model: {sums:?}");
}
"#;

/// Thirty functions, and a row or two for each: sixty rows of which one is equivalent.
fn word() -> String {
    let one = |n: usize| format!("fn f{n}() -> usize {{\n    // here\n    1 +\n        1\n}}\n");
    let calls = |n: usize| format!("f{n}(), ");
    let (functions, calls) = ((0..30).map(one), (0..30).map(calls).collect::<String>());
    functions.collect::<String>() + &format!("pub fn all() -> [usize; 30] {{\n    [{calls}]\n}}\n")
}

fn table() -> String {
    let block = |n: usize| {
        let last = if n == 29 {
            "weaker: 2\nequivalent: it is\n    the same\n"
        } else {
            "weaker: 4\nmodel: m01_word\n"
        };
        format!("[word::f{n}] the sum\ntext: 1 + 1\nweaker: 3\nmodel: m01_word\n{last}\n")
    };
    "# A comment.\n".to_owned() + &(0..30).map(block).collect::<String>()
}

/// A folder of its own, gone with the value.
struct Tree(PathBuf);

impl Tree {
    fn with(name: &str, word: &str, table: &str) -> Self {
        let root = std::env::temp_dir().join(format!("xtask-mutants-{}-{name}", std::process::id()));
        let files = [
            ("Cargo.toml", MANIFEST),
            ("core/Cargo.toml", CORE),
            ("core/src/lib.rs", "pub mod sync;\npub mod word;\n"),
            ("core/src/sync.rs", "//! The shim: Ordering::Acquire is its callers' business.\n"),
            ("core/src/word.rs", word),
            ("loom-tests/Cargo.toml", MODELS),
            ("loom-tests/src/main.rs", MAIN),
            ("loom-tests/src/models/word.rs", MODEL),
            ("loom-tests/mutants.txt", table),
            // Not copied, but cargo wants every member to be there.
            ("none/Cargo.toml", "[package]\nname = \"none\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            ("none/src/lib.rs", ""),
        ];
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn mutants(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verify"));
        command.args(["mutants", "--root"]).arg(&self.0).args(args);
        command.env("CARGO_TARGET_DIR", self.0.join("target")).output().unwrap()
    }

    fn report(&self) -> PathBuf {
        self.0.join("loom-tests/MUTANTS.md")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A folder that cannot be removed lies among the temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The command is red, says all of this, and has built nothing.
fn red_before_building(tree: &Tree, says: &[&str]) {
    let output = tree.mutants(&[]);
    let told = said(&output);
    assert!(!output.status.success(), "green: {told}");
    for text in says {
        assert!(told.contains(text), "`{text}` is missing: {told}");
    }
    assert!(!Path::new(&tree.0.join("target/mutants")).exists(), "it built something: {told}");
}

#[test]
fn a_table_that_holds_is_written_down() {
    let tree = Tree::with("holds", &word(), &table());
    let output = tree.mutants(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("60 mutants: 59 killed, 1 equivalent, 0 beyond loom"),
        "{}",
        said(&output)
    );
    let report = std::fs::read_to_string(tree.report()).unwrap();
    assert_eq!(report.matches(" | assertion | killed |\n").count(), 59);
    assert!(report.contains("| equivalent |\n") && report.contains("*equivalent*: it is the same."));
    assert!(std::fs::read_to_string(tree.0.join("core/src/word.rs")).unwrap() == word(), "core was touched");

    assert!(tree.mutants(&["--check"]).status.success(), "the report is as it was written");
    std::fs::write(tree.report(), report.replace("killed", "kiled")).unwrap();
    let stale = tree.mutants(&["--check"]);
    assert!(!stale.status.success() && said(&stale).contains("out of date"), "{}", said(&stale));
    let some = tree.mutants(&["f29"]);
    assert!(said(&some).contains("2 mutants: 1 killed, 1 equivalent"), "{}", said(&some));
    assert!(!tree.mutants(&["f30"]).status.success(), "a filter that picks nothing");
}

#[test]
fn rows_that_do_not_hold_are_red() {
    let wrong = table()
        .replacen("weaker: 3", "weaker: 2", 1)
        .replacen("weaker: 4", "weaker: std::process::exit(0)", 1)
        .replacen("weaker: 4", "weaker: std::process::abort()", 1)
        .replace("weaker: 2\nequivalent", "weaker: 5\nequivalent");
    let tree = Tree::with("wrong", &word(), &wrong);
    let output = tree.mutants(&[]);
    let told = said(&output);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("56 killed, 0 equivalent, 0 beyond loom, 4 not as they must be"), "{told}");
    for reason in [
        "1 [word::f0] the sum: `2`: m01_word: survived",
        "2 [word::f0] the sum: `std::process::exit(0)`: m01_word: printed no count of executions",
        "4 [word::f1] the sum: `std::process::abort()`",
        "60 [word::f29] the sum: `5`: m01_word: killed by assertion, and the table says that nothing can",
    ] {
        assert!(told.contains(&format!("red: {reason}")), "`{reason}` is missing: {told}");
    }
}

#[test]
fn a_text_that_is_not_there_is_red() {
    let stale = table().replacen("text: 1 + 1", "text: 1 + 11", 1).replace("[word::f7]", "[word::g]");
    let tree = Tree::with("stale", &word(), &stale);
    red_before_building(
        &tree,
        &["[word::f0] the sum: `1 + 11` stands there 0 times", "has 0 functions of that name"],
    );
    let twice = Tree::with("twice", &word().replacen("1\n}", "1 - 1 + 1\n}", 1), &table());
    red_before_building(&twice, &["`1 + 1` stands there 2 times, and the row says 1"]);
}

#[test]
fn of_two_functions_of_one_name_the_one_with_the_text_is_meant() {
    let with =
        |body: &str| word() + &format!("mod other {{\n    fn f0() -> usize {{\n        {body}\n    }}\n}}\n");
    let both = Tree::with("both", &with("1 + 1"), &table());
    red_before_building(&both, &["[word::f0] the sum: ", "has 2 functions of that name, 2 with the text"]);
    let one = Tree::with("one", &with("3"), &table().replace("[word::f7]", "[word::g]"));
    let told = said(&one.mutants(&[]));
    assert!(told.contains("[word::g]") && !told.contains("[word::f0]"), "{told}");
}

#[test]
fn an_ordering_without_its_rows_is_red() {
    let word = word()
        + "fn load(word: &Word) {\n    word.swap(0, Ordering::AcqRel);\n    fence(Ordering::SeqCst);\n}\n";
    let rows = "[word::load] the swap\ntext: Ordering::AcqRel\nweaker: Ordering::Acquire\nmodel: m01_word\n";
    let tree = Tree::with("orderings", &word, &(table() + rows));
    let missing = [
        "Ordering::AcqRel has no row Ordering::Release",
        "Ordering::AcqRel has no row Ordering::Relaxed",
        "Ordering::SeqCst has no row Ordering::AcqRel",
        "this fence has no row without it",
    ];
    red_before_building(&tree, &missing);
    assert!(!said(&tree.mutants(&[])).contains("has no row Ordering::Acquire"), "that row is there");
}

#[test]
fn a_table_that_shrinks_or_is_malformed_is_red() {
    let few = Tree::with("few", &word(), &table().split_inclusive("\n\n").take(10).collect::<String>());
    red_before_building(&few, &["20 rows, at least 60"]);
    for (name, from, to, says) in [
        ("fate", "weaker: 3\nmodel: m01_word", "weaker: 3", ":5: `weaker` is not expected here"),
        ("key", "text: 1 + 1", "txt: 1 + 1", "`txt` is not expected here"),
        ("head", "[word::f0] the sum", "[word] the sum", "a place is `word::function`"),
        ("empty", "weaker: 3", "weaker:", "`weaker` says nothing"),
    ] {
        let tree = Tree::with(name, &word(), &table().replacen(from, to, 1));
        red_before_building(&tree, &[says]);
    }
}
