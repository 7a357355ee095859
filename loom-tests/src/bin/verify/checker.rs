//! The model checker: loom's own source from the registry with our corrections, and the models built against it.
//!
//! The workspace cannot build this by itself. A `[patch]` in its manifest would name a folder that a fresh clone does
//! not have, and would change the committed `Cargo.lock`. So the packages are copied to a workspace of their own under
//! `target/`. Its manifest has the patch, and its lock file starts as a copy of the committed one.

mod corrections;
mod edit;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::cmd;

/// The version that the corrections were written for. The manifest pins the same one.
const VERSION: &str = "0.7.2";

/// The packages that the models are made of.
const PACKAGES: &[&str] = &["core", "loom-tests", "std-rt", "xtask"];

/// The version of loom that the models are built against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loom {
    /// Loom with every correction.
    Corrected,
    /// Loom as the registry has it: the self-test must be red.
    Stock,
}

/// Brings the workspace in `place` up to date and returns its folder. `source` may replace the text of a file, named
/// by its path from the root. Unchanged files keep their time, so that cargo builds little.
pub fn prepare(
    root: &Path,
    place: &Path,
    loom: Loom,
    source: &dyn Fn(&Path) -> Option<String>,
) -> Result<PathBuf, String> {
    let tree = place.join("tree");
    let mut files = BTreeSet::new();
    for package in PACKAGES.iter().map(|package| root.join(package)).filter(|package| package.is_dir()) {
        let mut paths = Vec::new();
        cmd::files_under(&package, &|path| path.ends_with("target"), &mut paths)?;
        for path in paths {
            let name = path.strip_prefix(root).map_err(|e| e.to_string())?;
            let text = source(name).map_or_else(|| read(&path), |text| Ok(text.into_bytes()))?;
            files.insert(write(&tree.join(name), &text)?);
        }
    }
    files.insert(write(&tree.join("Cargo.toml"), manifest(root)?.as_bytes())?);
    // Without a lock file cargo makes one.
    if let Ok(lock) = read(&root.join("Cargo.lock")) {
        files.insert(write(&tree.join("Cargo.lock"), &lock)?);
    }
    sweep(&tree, &files)?;
    if uses_loom(root)? {
        copy(&locate(root)?, &place.join("loom"), loom)?;
    }
    Ok(tree)
}

/// Builds the models of a prepared workspace; returns the program.
pub fn build(tree: &Path, target: &Path, flags: &str) -> Result<PathBuf, String> {
    let mut command = cmd::cargo(tree, &["build", "--quiet", "-p", "loom-tests", "--profile", "loom"]);
    command.args(["--bin", "loom-tests", "--target-dir"]).arg(target);
    command.env("RUSTFLAGS", format!("--cfg netpoll_loom{flags}"));
    cmd::run(&mut command)?;
    Ok(target.join("loom/loom-tests"))
}

/// Makes the folder for the logs of a build.
pub fn logs(place: &Path) -> Result<PathBuf, String> {
    let logs = place.join("logs");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    Ok(logs)
}

/// Returns the root's manifest with fewer members, and with the patch if it names loom.
fn manifest(root: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(&root.join("Cargo.toml"))?).map_err(|e| e.to_string())?;
    let members = "members = [";
    let (before, rest) = text.split_once(members).ok_or("Cargo.toml names no members")?;
    let (_, after) = rest.split_once(']').ok_or("Cargo.toml's members do not end")?;
    let patch = if uses_loom(root)? { "\n[patch.crates-io]\nloom = { path = \"../loom\" }\n" } else { "" };
    Ok(format!("{before}{members}\"core\", \"loom-tests\"]{after}{patch}"))
}

fn uses_loom(root: &Path) -> Result<bool, String> {
    let text = String::from_utf8(read(&root.join("Cargo.toml"))?).map_err(|e| e.to_string())?;
    let pin = format!("loom = {{ version = \"={VERSION}\"");
    match text.lines().find(|line| line.starts_with("loom = ")) {
        None => Ok(false),
        Some(line) if line.starts_with(&pin) => Ok(true),
        Some(line) => Err(format!("the corrections are for loom {VERSION}, and Cargo.toml has `{line}`")),
    }
}

/// Returns the folder in which cargo keeps the registry's source; cargo downloads it if it is missing.
fn locate(root: &Path) -> Result<PathBuf, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = cmd::capture(Command::new(rustc).arg("-vV"))?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?;
    let mut command = cmd::cargo(root, &["metadata", "--locked", "--format-version", "1"]);
    command.args(["--filter-platform", host]).env("RUSTFLAGS", "--cfg netpoll_loom");
    let metadata = cmd::capture(&mut command)?;
    let folder = format!("loom-{VERSION}");
    let mut manifests =
        metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let found = manifests.find_map(|path| {
        let package = Path::new(path).parent()?;
        package.file_name().is_some_and(|name| name == folder.as_str()).then(|| package.to_path_buf())
    });
    found.ok_or(format!("cargo metadata knows no source of {folder}"))
}

/// Copies loom's source, and corrects it on the way.
fn copy(from: &Path, to: &Path, loom: Loom) -> Result<(), String> {
    let mut paths = Vec::new();
    cmd::files_under(from, &|path| path.file_name().is_some_and(|name| name == "Cargo.lock"), &mut paths)?;
    let mut sources = Vec::new();
    for path in paths {
        let name = path.strip_prefix(from).map_err(|e| e.to_string())?.to_path_buf();
        sources.push((name, read(&path)?));
    }
    corrections::quiet(&mut sources)?;
    if loom == Loom::Corrected {
        corrections::apply(&mut sources)?;
    }
    let mut files = BTreeSet::new();
    for (name, text) in &sources {
        files.insert(write(&to.join(name), text)?);
    }
    sweep(to, &files)
}

/// Removes what an earlier run has left in a folder.
fn sweep(folder: &Path, keep: &BTreeSet<PathBuf>) -> Result<(), String> {
    let mut paths = Vec::new();
    cmd::files_under(folder, &|_| false, &mut paths)?;
    for path in paths.iter().filter(|path| !keep.contains(*path)) {
        std::fs::remove_file(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a file unless it has this text already. Returns its path.
fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf, String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(path.to_path_buf());
    }
    let folder = path.parent().unwrap_or(path);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, bytes));
    written.map(|()| path.to_path_buf()).map_err(|e| format!("{}: {e}", path.display()))
}
