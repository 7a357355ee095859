//! Each rule of `tidy` is green on a small clean tree and red, at the right line, on the same tree with one fault.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tree in which every rule has something to look at and nothing to object to.
const CLEAN: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace.package]\nversion = \"0.1.0\"\n"),
    ("LICENSE-MIT", "MIT\n"),
    ("LICENSE-APACHE", "Apache\n"),
    ("core/Cargo.toml", "[package]\nname = \"core\"\n"),
    ("core/LICENSE-MIT", "MIT\n"),
    ("core/LICENSE-APACHE", "Apache\n"),
    ("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- Connections have deadlines.\n"),
    (
        "core/src/lib.rs",
        "//! INV-1 a block stays.\n#![cfg_attr(not(netpoll_loom), no_std)]\nmod sync;\nmod poll;\n",
    ),
    ("core/src/sync.rs", "#[cfg(netpoll_loom)]\npub use loom::sync::atomic::Ordering;\n"),
    ("core/src/poll/sema.rs", SEMA),
    ("core/src/poll/info.rs", POLL_INFO),
    (
        "core/src/poll/desc.rs",
        "use super::{info::Info, sema::{self, Sema}};\npub fn wait<'a>(_: &'a Info, _: Sema) {}\n",
    ),
    ("core/tests/words.rs", "#[test]\nfn one() {\n    // time is tested\n    sleep(1);\n}\n"),
    ("std-rt/src/lib.rs", "//! The door.\npub use crate::net::Stream;\n"),
    ("std-rt/src/sys.rs", "use rustix::io;\n#[cfg(unix)]\nmod epoll;\n"),
    ("std-rt/src/sys/epoll.rs", "use super::Event;\nuse crate::sys::Event as _;\n"),
    ("std-rt/src/net.rs", NET),
    ("std-rt/tests/it/pool.rs", IT),
];

const SEMA: &str = r##"use crate::sync::{
    Ordering::{self, Acquire, Relaxed},
    fence,
};
/// Ignores a fence(SeqCst) in a comment, `unsafe { "quoted" }` and r#"a "raw" string"#.
pub fn arm(word: &Word) -> &'static str {
    word.load(Relaxed); // alone: a first guess
    // pair: sema::unblock
    word.compare_exchange(
        '{' as usize,
        '\'' as usize,
        Acquire,
        Ordering::Relaxed,
    );
    fence(Ordering::SeqCst); // pair: info::publish, and why
    "unsafe { dbg!(\" Mutex \") }"
}
pub fn unblock(word: &Word) {
    word.swap(1, Ordering::Release); // pair: sema::arm
    // SAFETY: INV-1 keeps the slot.
    let _ = unsafe { word.slot() };
}
"##;

const POLL_INFO: &str = "use crate::sync::{Ordering, fence};
pub fn publish() {
    // pair: sema::arm
    fence(Ordering::SeqCst);
}
";

const NET: &str = "use crate::sys::Event;
use crate::fd;
impl Stream {
    /// Reads. Dropped before its end, it has read nothing.
    #[inline]
    pub async fn read(&self) {}
}
";

/// A test that takes its turn through another function, and one that opens nothing.
const IT: &str = "#[test]
fn work_is_done() {
    on_pool();
}
fn on_pool() {
    let _alone = alone();
    Runtime::new();
}
#[test]
fn sums_are_right() {}
";

/// A folder of its own, gone with the value.
struct Tree(PathBuf);

impl Tree {
    /// Creates the clean tree with some files replaced or added.
    fn with(name: &str, changes: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("xtask-tidy-{}-{name}", std::process::id()));
        for (path, text) in CLEAN.iter().chain(changes) {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(root)
    }

    /// Returns whether tidy was green, and its output.
    fn tidy(&self) -> (bool, String) {
        tidy(&self.0)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A folder that cannot be removed lies among the temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tidy(root: &Path) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tidy")).args(["tidy", "--root"]).arg(root).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Checks that the clean tree with one changed file has exactly these findings, each `path:line: rule`.
#[track_caller]
fn red(path: &str, text: &str, expected: &[&str]) {
    let name =
        format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-") + &text.len().to_string();
    let (green, output) = Tree::with(&name, &[(path, text)]).tidy();
    let findings: Vec<&str> =
        output.lines().filter(|line| line.contains(".rs:") || line.contains(":1: ")).collect();
    assert!(!green, "green although {path} is wrong:\n{output}");
    assert_eq!(findings.len(), expected.len(), "{output}");
    for place in expected {
        assert!(
            findings.iter().any(|line| line.starts_with(&format!("{place}: "))),
            "no {place} in\n{output}"
        );
    }
}

#[test]
fn the_clean_tree_is_green() {
    let (green, output) = Tree::with("clean", &[]).tidy();
    assert!(green, "{output}");
    assert!(output.contains("6 lines with an ordering, 2 pairs"), "{output}");
    assert!(output.contains("2 citations of 1 invariants"), "{output}");
    assert!(output.ends_with("tidy: 13 rules, 11 Rust files, 0 findings\n"), "{output}");
}

#[test]
fn a_tree_without_sources_is_an_error() {
    let root = std::env::temp_dir().join(format!("xtask-tidy-{}-empty", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let (green, _) = tidy(&root);
    std::fs::remove_dir_all(&root).unwrap();
    assert!(!green);
}

#[test]
fn a_rule_that_looked_at_nothing_is_red() {
    let tree = Tree::with("nothing", &[("std-rt/src/net.rs", "pub fn read() {}\n")]);
    let (green, output) = tree.tidy();
    assert!(!green);
    assert!(output.contains("cancel: looked at nothing"), "{output}");
}

#[test]
fn a_module_uses_only_lower_layers() {
    let up = "use super::desc::PollDesc;\n";
    red("core/src/poll/key.rs", up, &["core/src/poll/key.rs:1: layers"]);
    red(
        "core/src/poll/break_flag.rs",
        "fn f() {\n    super::sema::arm();\n}\n",
        &["core/src/poll/break_flag.rs:2: layers"],
    );
    red(
        "core/src/poll/glist.rs",
        "use super::{\n    sync,\n    sema::{Arm, key},\n};\n",
        &["core/src/poll/glist.rs:1: layers"],
    );
    red("std-rt/src/sys/poll.rs", "use super::super::net;\n", &["std-rt/src/sys/poll.rs:1: layers"]);
    red("std-rt/src/timer.rs", "\nuse crate::Runtime;\n", &["std-rt/src/timer.rs:2: layers"]);
    red("core/src/poll/heap.rs", "fn f() {}\n", &["core/src/poll/heap.rs:1: layers"]);
}

#[test]
fn modules_of_a_folder_form_no_cycle() {
    let (one, other) = ("use super::other::A;\n", "use crate::task::one::B;\n");
    let tree = [("std-rt/src/task/one.rs", one), ("std-rt/src/task/other.rs", other)];
    let (green, output) = Tree::with("cycle", &tree).tidy();
    assert!(!green && output.contains("std-rt/src/task/:1: cycles: one uses itself"), "{output}");
    let (green, output) = Tree::with("no-cycle", &tree[..1]).tidy();
    assert!(green, "{output}");
}

#[test]
fn cfg_has_its_files() {
    red("core/src/poll/glist.rs", "fn f() {\n    if cfg!(unix) {}\n}\n", &["core/src/poll/glist.rs:2: cfg"]);
    red("core/src/poll/glist.rs", "#[ cfg (unix)]\nfn f() {}\n", &["core/src/poll/glist.rs:1: cfg"]);
    red("examples/src/a.rs", "#![cfg_attr(unix, no_std)]\n", &["examples/src/a.rs:1: cfg"]);
    red("std-rt/src/sys.rs", "mod epoll;\n#[cfg(test)]\nmod tests;\n", &["std-rt/src/sys.rs:2: cfg"]);
}

#[test]
fn cfg_selects_a_platform_module_and_stays_out_of_it() {
    let inside = "#[cfg(unix)]\nuse super::Event;\nfn f() {\n    #[cfg(unix)]\n    g();\n}\n";
    red(
        "std-rt/src/sys/epoll.rs",
        inside,
        &["std-rt/src/sys/epoll.rs:1: cfg", "std-rt/src/sys/epoll.rs:4: cfg"],
    );
    let function = "mod epoll;\n#[cfg(unix)]\npub fn f() {}\n";
    red("std-rt/src/sys.rs", function, &["std-rt/src/sys.rs:3: cfg"]);
    let constant = "cfg_if! {\n    if #[cfg(unix)] {\n        const A: u8 = 0;\n    }\n}\n";
    red("std-rt/src/sys.rs", constant, &["std-rt/src/sys.rs:3: cfg"]);
    let modules =
        "cfg_if! {\n    if #[cfg(unix)] {\n        mod epoll;\n    } else {\n        mod poll;\n    }\n}\n";
    let (green, output) = Tree::with("selection", &[("std-rt/src/sys.rs", modules)]).tidy();
    assert!(green, "{output}");
}

#[test]
fn loom_has_its_files() {
    red("core/src/poll/glist.rs", "use loom::thread;\n", &["core/src/poll/glist.rs:1: words"]);
}

#[test]
fn files_are_short() {
    let file = |lines: usize| "fn f() {}\n".repeat(lines);
    red("core/src/poll/glist.rs", &file(601), &["core/src/poll/glist.rs:601: sizes"]);
    red("std-rt/tests/a.rs", &file(602), &["std-rt/tests/a.rs:601: sizes"]);
    let (green, output) = Tree::with("short", &[("xtask/src/a.rs", &file(600))]).tidy();
    assert!(green, "{output}");
}

#[test]
fn orderings_stay_in_core() {
    let at = &["std-rt/src/fd.rs:2: orderings"];
    red("std-rt/src/fd.rs", "\nuse netpoll_core::sync::Ordering::{self, Acquire};\n", at);
    red("std-rt/src/fd.rs", "\nfn f() { a.load(Ordering::Acquire); }\n", at);
    red("std-rt/src/fd.rs", "\nfn f() { a.load(Relaxed); }\n", at);
    red("std-rt/src/fd.rs", "\nfn f() { fence(order); }\n", at);
    let (green, output) = Tree::with("cmp", &[("std-rt/src/fd.rs", "fn f() { Ordering::Less; }\n")]).tidy();
    assert!(green, "the order of numbers is no atomic ordering: {output}");
}

#[test]
fn orderings_are_explained() {
    let at = &["core/src/sched/poller_lock.rs:2: orderings"];
    red("core/src/sched/poller_lock.rs", "fn f() {\n    a.load(Acquire);\n}\n", at);
    red("core/src/sched/poller_lock.rs", "fn f() {\n    a.load(Relaxed); // alone:\n}\n", at);
    red("core/src/sched/poller_lock.rs", "fn f() {\n    a.load(SeqCst); // alone: no fence\n}\n", at);
    red("core/src/sched/poller_lock.rs", "fn f() {\n    fence(SeqCst); // alone: a fence is never\n}\n", at);
    let later = "fn f() {\n    a.load(Relaxed); // alone: one statement only\n    a.load(Relaxed);\n}\n";
    red("core/src/sched/poller_lock.rs", later, &["core/src/sched/poller_lock.rs:3: orderings"]);
    let blank = "fn f() {\n    // alone: for the line directly below\n\n    a.load(Relaxed);\n}\n";
    red("core/src/sched/poller_lock.rs", blank, &["core/src/sched/poller_lock.rs:4: orderings"]);
}

#[test]
fn pairs_have_two_ends() {
    let text = |to: &str| format!("fn f() {{\n    a.load(Acquire); // pair: {to}\n}}\n");
    let at = &["core/src/sched/poller_lock.rs:2: orderings"];
    red("core/src/sched/poller_lock.rs", &text("idle::g"), at);
    red("core/src/sched/poller_lock.rs", &text("sema::gone"), at);
    red("core/src/sched/poller_lock.rs", &text("sema::arm"), at);
    red("core/src/sched/poller_lock.rs", &text("somewhere"), at);
    red(
        "core/src/sched/poller_lock.rs",
        "fn f() {}\n// pair: sema::arm\n",
        &["core/src/sched/poller_lock.rs:2: orderings"],
    );
    // The other end of a pair that the clean tree has falls silent: its partner is the finding.
    red("core/src/poll/info.rs", "pub fn publish() {}\n", &["core/src/poll/sema.rs:15: orderings"]);
    let (green, output) =
        Tree::with("self-pair", &[("core/src/sched/poller_lock.rs", &text("poller_lock::f"))]).tidy();
    assert!(green, "{output}");
}

#[test]
fn a_comment_cites_no_unknown_invariant() {
    let with = |comment: &str| format!("{SEMA}fn f() {{\n    {comment}\n    let _ = unsafe {{ g() }};\n}}\n");
    let at = format!("core/src/poll/sema.rs:{}: invariants", SEMA.lines().count() + 2);
    red("core/src/poll/sema.rs", &with("// SAFETY: INV-12 keeps it."), &[&at]);
    let own = "//! INV-7 is the test's own.\n\n// INV-7: it holds.\nfn f() {}\n";
    let (green, output) = Tree::with("invariant", &[("core/tests/a.rs", own)]).tidy();
    assert!(green, "{output}");
}

#[test]
fn the_moulds_of_prose_stay_out() {
    let lines = |line: &str, of: usize| format!("// {line}\n").repeat(of) + "fn f() {}\n";
    red("xtask/src/a.rs", &lines("Wakes whoever it was.", 60), &["xtask/:1: english"]);
    red("xtask/src/a.rs", &lines("A turn of so many operations.", 60), &["xtask/:1: english"]);
    let docs = |doc: &str| format!("/// {doc}\npub fn f() {{}}\n").repeat(60);
    red("xtask/src/a.rs", &docs("As on Linux."), &["xtask/:1: english"]);
    red("xtask/src/a.rs", &docs("The number of tasks."), &["xtask/:1: english"]);
    let (green, output) =
        Tree::with("prose", &[("xtask/src/a.rs", &docs("Returns the number of tasks."))]).tidy();
    assert!(green, "{output}");
}

#[test]
fn marks_do_not_stay() {
    let at = &["xtask/src/a.rs:2: leftovers"];
    let words =
        [["FIX", "ME"], ["X", "XX"], ["TO", "DO"]].map(|word| format!("\n// {} soon\n", word.concat()));
    words.iter().for_each(|text| red("xtask/src/a.rs", text, at));
    red("core/tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n", &["core/tests/a.rs:2: leftovers"]);
}

#[test]
fn tests_do_not_sleep() {
    let text = "fn f() {\n    std::thread::sleep(d);\n    time::sleep(d).await; // time is tested\n}\n";
    red("std-rt/tests/a.rs", text, &["std-rt/tests/a.rs:2: leftovers"]);
}

#[test]
fn tests_that_open_descriptors_take_turns() {
    let direct = "use a::B;\n#[test]\nfn f() {\n    Runtime::new();\n}\n";
    red("std-rt/tests/it/a.rs", direct, &["std-rt/tests/it/a.rs:3: turns"]);
    let below = "fn g() {\n    bind();\n}\n#[test]\n#[cfg(unix)]\nfn f() {\n    g();\n}\n";
    red("std-rt/tests/it/a.rs", below, &["std-rt/tests/it/a.rs:6: turns"]);
    red(
        "std-rt/tests/it/pool/b.rs",
        &direct.replace("B;", "B;\n\n"),
        &["std-rt/tests/it/pool/b.rs:5: turns"],
    );
}

#[test]
fn paths_of_one_machine_do_not_stay() {
    let text = |path: [&str; 2]| format!("# see /{}/notes\n", path.concat());
    red("README.md", &text(["ho", "me"]), &["README.md:1: leftovers"]);
    red(".ci/run", &text(["wo", "rk"]), &[".ci/run:1: leftovers"]);
    let (green, output) =
        Tree::with("path", &[("README.md", "see https://a.b/home/x and net/work/y\n")]).tidy();
    assert!(green, "{output}");
}

#[test]
fn the_root_holds_what_tools_demand() {
    red("notes.txt", "a\n", &["notes.txt:1: leftovers"]);
    let (green, output) =
        Tree::with("ignored", &[(".gitignore", "/target\n"), ("target/a.rs", "todo!()")]).tidy();
    assert!(green, "{output}");
}

#[test]
fn system_calls_have_one_module_and_core_has_no_lock() {
    red("std-rt/src/fd.rs", "use rustix::net;\n", &["std-rt/src/fd.rs:1: words"]);
    red("std-rt/src/sysmon.rs", "use libc::c_int;\n", &["std-rt/src/sysmon.rs:1: words"]);
    red("examples/src/a.rs", "fn f() {\n    libc::close(1);\n}\n", &["examples/src/a.rs:2: words"]);
    red("core/src/poll/glist.rs", "use std::sync::Mutex;\n", &["core/src/poll/glist.rs:1: words"]);
    red("core/src/poll/glist.rs", "static A: &'static str = \"\";\n", &["core/src/poll/glist.rs:1: words"]);
}

#[test]
fn the_changelog_tells_this_version() {
    red("CHANGELOG.md", "## [0.0.9]\n\n- Old.\n", &["CHANGELOG.md:1: changelog"]);
    red("CHANGELOG.md", "## [Unreleased]\n\n## [0.0.9]\n\n- Old.\n", &["CHANGELOG.md:1: changelog"]);
    let (green, output) = Tree::with("version", &[("CHANGELOG.md", "## [0.1.0] - today\n\n- New.\n")]).tidy();
    assert!(green, "{output}");
}

#[test]
fn a_published_package_holds_the_licenses() {
    red("core/LICENSE-MIT", "mit\n", &["core/Cargo.toml:1: licenses"]);
    let package = "[package]\nname = \"macros\"\n";
    red("std-rt/Cargo.toml", package, &["std-rt/Cargo.toml:1: licenses", "std-rt/Cargo.toml:1: licenses"]);
    let own = format!("{package}publish = false\n");
    let (green, output) = Tree::with("unpublished", &[("std-rt/Cargo.toml", &own)]).tidy();
    assert!(green, "{output}");
}

#[test]
fn a_future_says_what_dropping_does() {
    let text =
        format!("{NET}/// Writes.\npub async fn write() {{}}\n/// Closes.\npub(crate) async fn own() {{}}\n");
    let line = NET.lines().count() + 2;
    red("std-rt/src/net.rs", &text, &[&format!("std-rt/src/net.rs:{line}: cancel")]);
}
