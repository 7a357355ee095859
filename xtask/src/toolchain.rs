//! The toolchains that have a standard library for another target.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::cmd;

/// A toolchain with a core library for a target.
pub enum Toolchain {
    /// The toolchain in use, to which the target was added.
    Installed,
    /// Debian's cargo and compiler, which build the library from source.
    Debian { cargo: PathBuf, rustc: PathBuf },
}

impl Toolchain {
    /// Returns the better toolchain of this machine, or an error that says which packages to install.
    pub fn to(triple: &str) -> Result<Self, String> {
        let mut rustc = Command::new("rustc");
        let library = cmd::capture(rustc.args(["--print", "target-libdir", "--target", triple]))?;
        if Path::new(library.trim()).is_dir() {
            return Ok(Toolchain::Installed);
        }
        debian().ok_or_else(|| {
            format!(
                "no standard library: `rustup target add {triple}`, or on Debian `.ci/cross-setup` \
                 (apt-get install rustc-web cargo-web rust-web-src)"
            )
        })
    }

    /// Returns one word for a table.
    pub fn name(&self) -> &'static str {
        match self {
            Toolchain::Installed => "rustup",
            Toolchain::Debian { .. } => "debian",
        }
    }

    /// Returns a cargo that does `word` for several targets at once, with core alone.
    pub fn cargo(&self, root: &Path, word: &str, triples: &[&str]) -> Command {
        let cargo = match self {
            Toolchain::Installed => cmd::cargo(root, &[]),
            Toolchain::Debian { cargo, .. } => Command::new(cargo),
        };
        self.set_up(cargo, root, word, "core", triples)
    }

    /// Returns a cargo that does `word` for several targets with the whole standard library. `program`, if given, stands in for
    /// cargo and starts it.
    pub fn cargo_with_std(
        &self,
        root: &Path,
        program: Option<&Path>,
        word: &str,
        triples: &[&str],
    ) -> Command {
        let cargo = match (program, self) {
            (Some(program), _) => Command::new(program),
            (None, Toolchain::Installed) => cmd::cargo(root, &[]),
            (None, Toolchain::Debian { cargo, .. }) => Command::new(cargo),
        };
        self.set_up(cargo, root, word, "std", triples)
    }

    fn set_up(
        &self,
        mut command: Command,
        root: &Path,
        word: &str,
        library: &str,
        triples: &[&str],
    ) -> Command {
        command.current_dir(root).arg(word);
        match self {
            Toolchain::Installed => {}
            Toolchain::Debian { cargo, rustc } => {
                command.arg(format!("-Zbuild-std={library}"));
                // The compiler is a stable one; building the library from source must be unlocked.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                // Left by the cargo that runs this program; they lead to another compiler's libraries.
                for other in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "RUSTDOC"] {
                    command.env_remove(other);
                }
                command.env("CARGO", cargo);
            }
        }
        for triple in triples {
            command.args(["--target", triple]);
        }
        command
    }
}

/// Finds Debian's compiler with the source of its library: the default one, or one that is installed beside it.
fn debian() -> Option<Toolchain> {
    let beside = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let versioned = beside.filter(|path| path.file_name().is_some_and(|name| starts_with(name, "rust-")));
    let folders = std::iter::once(PathBuf::from("/usr")).chain(versioned).map(|path| path.join("bin"));
    folders
        .map(|bin| (bin.join("cargo"), bin.join("rustc")))
        .find(|(cargo, rustc)| cargo.exists() && has_source(rustc))
        .map(|(cargo, rustc)| Toolchain::Debian { cargo, rustc })
}

fn starts_with(name: &std::ffi::OsStr, prefix: &str) -> bool {
    name.to_string_lossy().starts_with(prefix)
}

fn has_source(rustc: &Path) -> bool {
    let sysroot = Command::new(rustc).env_remove("LD_LIBRARY_PATH").args(["--print", "sysroot"]).output();
    let Ok(output) = sysroot else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

/// Finds a linker for bare metal: the one in the toolchain, or Debian's package `lld`.
pub fn linker() -> Result<PathBuf, String> {
    let mut rustc = Command::new("rustc");
    let library = cmd::capture(rustc.args(["--print", "target-libdir"]))?;
    let within = Path::new(library.trim()).with_file_name("bin").join("rust-lld");
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|folder| folder.join("ld.lld"));
    std::iter::once(within).chain(on_path).find(|path| path.exists()).ok_or_else(|| {
        "no linker: neither rust-lld in the toolchain nor ld.lld (apt-get install lld)".to_owned()
    })
}
