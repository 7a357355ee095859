//! `cross`: core for machines without std. It needs a core library for each: rustup's, if the target was added, or
//! Debian's compiler, which comes with the library's source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{Outcome, cmd};

struct Target {
    triple: &'static str,
    /// Added to cargo's arguments.
    features: &'static [&'static str],
    /// Added to the compiler's flags.
    flags: &'static str,
}

const fn plain(triple: &'static str) -> Target {
    Target { triple, features: &[], flags: "" }
}

const TARGETS: &[Target] = &[
    // No compare-and-swap: portable-atomic masks interrupts for a few instructions instead. It asks the program, not a
    // library, to promise that there is one core (or to bring a critical section), so core's feature leaves that open;
    // here it is promised as such a program would.
    Target {
        triple: "thumbv6m-none-eabi",
        features: &["--features", "portable-atomic"],
        flags: " --cfg portable_atomic_unsafe_assume_single_core",
    },
    plain("thumbv7em-none-eabihf"),
    plain("riscv32imac-unknown-none-elf"),
    plain("x86_64-unknown-none"),
    // The one with std: generations of 24 bits beside 64-bit atomics.
    plain("i686-unknown-linux-gnu"),
];

/// Checks core for every target; warnings are errors.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    println!("{:<30} {:<8} {:>8}  result", "target", "way", "seconds");
    let mut red = 0;
    for target in TARGETS {
        let start = Instant::now();
        let (way, result) = match Way::to(target.triple) {
            Ok(way) => (way.name(), check(&root, &way, target)),
            Err(reason) => ("none", Err(reason)),
        };
        let told = result.as_ref().map_or_else(|reason| format!("RED: {reason}"), |()| "ok".to_owned());
        println!("{:<30} {way:<8} {:>8.1}  {told}", target.triple, start.elapsed().as_secs_f64());
        red += usize::from(result.is_err());
    }
    println!("cross: {} of {} targets green", TARGETS.len() - red, TARGETS.len());
    if red == 0 { Ok(()) } else { Err(String::new()) }
}

fn check(root: &Path, way: &Way, target: &Target) -> Outcome {
    let dir = cmd::target_dir(root)?.join("cross").join(way.name());
    let mut command = way.cargo(root, "check", target.triple);
    command.args(["--quiet", "--package", "netpoll-core", "--target-dir"]).arg(dir).args(target.features);
    cmd::run(command.env("RUSTFLAGS", format!("-Dwarnings{}", target.flags)))
}

/// How to come by a core library for a target.
pub enum Way {
    /// It was added to the toolchain in use.
    Installed,
    /// Debian's cargo and compiler build it from source.
    Debian { cargo: PathBuf, rustc: PathBuf },
}

impl Way {
    /// The better way that this machine offers, or what to install.
    pub fn to(triple: &str) -> Result<Self, String> {
        let mut rustc = Command::new("rustc");
        let library = cmd::capture(rustc.args(["--print", "target-libdir", "--target", triple]))?;
        if Path::new(library.trim()).is_dir() {
            return Ok(Way::Installed);
        }
        debian().ok_or_else(|| {
            format!(
                "no core library: `rustup target add {triple}`, or on Debian `.ci/cross-setup` \
                 (apt-get install rustc-web cargo-web rust-web-src)"
            )
        })
    }

    /// One word for a table.
    pub fn name(&self) -> &'static str {
        match self {
            Way::Installed => "rustup",
            Way::Debian { .. } => "debian",
        }
    }

    /// Cargo, set up to do `word` for a target.
    pub fn cargo(&self, root: &Path, word: &str, triple: &str) -> Command {
        let mut command = match self {
            Way::Installed => cmd::cargo(root, &[word]),
            Way::Debian { cargo, rustc } => {
                let mut command = Command::new(cargo);
                command.current_dir(root).arg(word).arg("-Zbuild-std=core");
                // The compiler is a stable one; building the library from source must be unlocked.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                // Left by the cargo that runs this program; they lead to another compiler's libraries.
                for other in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "CARGO", "RUSTDOC"] {
                    command.env_remove(other);
                }
                command
            }
        };
        command.args(["--target", triple]);
        command
    }
}

/// Debian's compiler with its library's source: the default one, or one that is installed beside it.
fn debian() -> Option<Way> {
    let beside = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let versioned = beside.filter(|path| path.file_name().is_some_and(|name| starts_with(name, "rust-")));
    let folders = std::iter::once(PathBuf::from("/usr")).chain(versioned).map(|path| path.join("bin"));
    folders
        .map(|bin| (bin.join("cargo"), bin.join("rustc")))
        .find(|(cargo, rustc)| cargo.exists() && has_source(rustc))
        .map(|(cargo, rustc)| Way::Debian { cargo, rustc })
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

/// A linker for bare metal: the one in the toolchain, or Debian's package `lld`.
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
