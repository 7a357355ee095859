//! `upstream`: tokio's own source for `std-rt/tokio`, without a look at the network's git.
//!
//! The package depends on tokio's git tag, because the registry's package of this name is the one that it replaces. The
//! registry has the same files, so cargo is told to take them from a copy under `target/upstream`. Users need none of this.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::{Outcome, cmd};

/// The version whose API `std-rt/tokio` has.
pub const TOKIO: &str = "tokio-1.54.1";

/// The repository of that tag, as `std-rt/tokio/Cargo.toml` names it.
pub const GIT: &str = "https://github.com/tokio-rs/tokio";

/// The manifest of a package that depends on exactly this version from the registry.
pub const PINNED: &str = "examples/web/Cargo.toml";

/// Runs cargo with the arguments in the package `std-rt/tokio`; without arguments, prepares the copy and prints the option.
pub fn run(args: &[String]) -> Outcome {
    let (root, args) = cmd::take_root(args)?;
    if args.is_empty() {
        println!("cargo --config {}", prepare(&root)?.display());
        return Ok(());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    cmd::run(&mut cargo(&root, &root.join("std-rt/tokio"), &args)?)
}

/// Returns a command of cargo that runs in a folder and finds tokio's git tag in the copy.
pub fn cargo(root: &Path, dir: &Path, args: &[&str]) -> Result<Command, String> {
    let config = prepare(root)?;
    // `cargo clippy` hands on only the options behind its name. `cargo fmt` takes none there.
    let (before, after) = args.split_at(usize::from(args.first() == Some(&"clippy")));
    let mut command = cmd::cargo(dir, before);
    command.arg("--config").arg(config).args(after);
    Ok(command)
}

/// Makes the copy, if it is not there, and returns cargo's configuration that names it.
fn prepare(root: &Path) -> Result<PathBuf, String> {
    let folder = cmd::target_dir(root)?.join("upstream");
    let (copy, config) = (folder.join("vendor/tokio"), folder.join("config.toml"));
    let sum = copy.join(".cargo-checksum.json");
    if !sum.exists() {
        copy_files(&registry_source(root, PINNED, TOKIO)?, &copy)?;
        // Written last: a copy that was interrupted is made again.
        write(&sum, "{\"files\":{},\"package\":null}")?;
    }
    let source = format!("git+{GIT}?tag={TOKIO}");
    let text = format!(
        "[source.\"{source}\"]\ngit = \"{GIT}\"\ntag = \"{TOKIO}\"\nreplace-with = \"upstream-copy\"\n\n\
         [source.upstream-copy]\ndirectory = \"{}\"\n",
        folder.join("vendor").display(),
    );
    if fs::read_to_string(&config).ok().as_ref() != Some(&text) {
        write(&config, &text)?;
    }
    Ok(config)
}

/// Returns the folder to which cargo has unpacked a crate of the registry, `package` being its name and version.
pub fn registry_source(root: &Path, manifest: &str, package: &str) -> Result<PathBuf, String> {
    let mut command = cmd::cargo(root, &["metadata", "--format-version", "1", "--locked", "--manifest-path"]);
    let metadata = cmd::capture(command.arg(root.join(manifest)))?;
    let end = format!("/{package}/Cargo.toml");
    let (before, _) =
        metadata.split_once(&end).ok_or_else(|| format!("{manifest} does not depend on {package}"))?;
    let folder = before.rsplit('"').next().unwrap_or_default();
    Ok(Path::new(folder).join(package))
}

pub fn copy_files(from: &Path, to: &Path) -> Outcome {
    let mut files = Vec::new();
    cmd::files_under(from, &|_| false, &mut files)?;
    for file in files {
        let place = to.join(file.strip_prefix(from).map_err(|e| e.to_string())?);
        let folder = place.parent().unwrap_or(to);
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        fs::copy(&file, &place).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

pub fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
