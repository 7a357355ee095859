//! Each file of `refused/` is a program that an attribute refuses. Its first line says where and how, and the compiler says
//! that and nothing else.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Checks all programs at once, as the binaries of a package without other dependencies than the attributes.
#[test]
fn errors_point_at_their_cause() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
    let mut manifest = format!(
        "[package]\nname = \"refused\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nnetpoll-macros.path = {:?}\n",
        here.join("macros")
    );
    let mut expected = Vec::new();
    for entry in fs::read_dir(here.join("tests/macros/refused")).expect("the folder of the programs") {
        let path = entry.expect("an entry of the folder").path();
        let text = fs::read_to_string(&path).expect("a program");
        let first = text.lines().next().and_then(|line| line.strip_prefix("// "));
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        writeln!(manifest, "[[bin]]\nname = {name:?}\npath = {path:?}").expect("a String grows");
        expected.push(format!("{name}.rs:{}", first.expect("the first line says what is expected")));
    }
    fs::create_dir_all(&package).expect("the package's folder");
    fs::write(package.join("Cargo.toml"), manifest).expect("the package's manifest");
    let mut check = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    check.args([
        "check",
        "--offline",
        "--bins",
        "--keep-going",
        "--message-format",
        "short",
        "--color",
        "never",
    ]);
    check.current_dir(&package).env("CARGO_TARGET_DIR", package.join("target"));
    let output = check.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let report = text.lines().filter_map(|line| line.split_once("refused/").map(|(_, line)| line.to_owned()));
    let mut reported: Vec<String> = report.collect();
    expected.sort();
    reported.sort();
    // A message of the compiler's own says more behind its first words.
    let as_expected = |(reported, expected): (&String, &String)| reported.starts_with(expected);
    let all = reported.len() == expected.len() && reported.iter().zip(&expected).all(as_expected);
    assert!(all && !expected.is_empty(), "expected {expected:#?}, but cargo said:\n{text}");
}
