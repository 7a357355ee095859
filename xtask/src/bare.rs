//! `bare`: netpoll-core on a Cortex-M3 in QEMU: a serial line that is fed at random moments, and a timer interrupt that
//! strikes between any two instructions.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::toolchain::{self, Toolchain};
use xtask::{Outcome, cmd};

const TRIPLE: &str = "thumbv7m-none-eabi";
const EMULATOR: &str = "qemu-system-arm";
const BYTES: usize = 10_000;
/// The limit of each run. On an idle machine the serial line takes 3 s, the sweep 4 s.
const LIMIT: Duration = Duration::from_secs(120);

struct Program {
    name: &'static str,
    /// Additional arguments of the emulator.
    clock: &'static [&'static str],
    fed: bool,
}

const PROGRAMS: &[Program] = &[
    Program { name: "uart", clock: &[], fed: true },
    // The clock moves by 128 ns with each instruction, the timer's cycle is 80 ns: it can strike after any of them.
    Program { name: "sweep", clock: &["-icount", "shift=7,sleep=off"], fed: false },
];

/// Builds both programs, runs them, and prints their sizes.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    let built = build(&root)?;
    for program in PROGRAMS {
        let image = built.join(program.name);
        let start = Instant::now();
        let last = emulate(program, &image).map_err(|reason| format!("{}: {reason}", program.name))?;
        let sizes = sizes(&image)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{}: {last}, {seconds:.1} s, {sizes}", program.name);
    }
    println!("bare: {} programs ran", PROGRAMS.len());
    Ok(())
}

/// Builds the bare-metal package and returns the folder of its programs.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    let package = root.join("examples/bare");
    let target = cmd::target_dir(root)?.join("bare");
    let toolchain = Toolchain::to(TRIPLE)?;
    let mut command = toolchain.cargo(&package, "build", TRIPLE);
    command.args(["--quiet", "--release", "--locked", "--bins", "--target-dir"]).arg(&target);
    cmd::run(command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", toolchain::linker()?))?;
    Ok(target.join(TRIPLE).join("release"))
}

/// Runs a program to its end and returns its last line.
fn emulate(program: &Program, image: &Path) -> Result<String, String> {
    let mut command = Command::new(EMULATOR);
    command.args(["-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.args(["-semihosting-config", "enable=on,target=native"]).args(program.clock);
    command.arg("-kernel").arg(image).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{EMULATOR}: {e}; `.ci/cross-setup` installs it"))?;
    let last = watch(&mut child, program.fed);
    if last.is_err() {
        // It fails only if the emulator has just ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let last = last?;
    cmd::checked(&command, status).map_err(|reason| format!("{reason}: {last}"))?;
    if last == "lost 0" { Ok(last) } else { Err(format!("the last line is not `lost 0` but `{last}`")) }
}

/// Shows what the program prints until it ends, and feeds it once it reads.
fn watch(child: &mut Child, fed: bool) -> Result<String, String> {
    let lines = lines(child.stdout.take().ok_or("the emulator has no output")?);
    let mut input = child.stdin.take().filter(|_| fed);
    let end = Instant::now() + LIMIT;
    let mut last = String::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => last = line,
            Err(RecvTimeoutError::Disconnected) => return Ok(last),
            Err(RecvTimeoutError::Timeout) => return Err(format!("still running after {LIMIT:?}: {last}")),
        }
        println!("  {last}");
        if last == "reading"
            && let Some(input) = input.take()
        {
            thread::spawn(move || feed(input));
        }
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
    };
    thread::spawn(read);
    receiver
}

/// Sends the bytes that the program expects, a few at a time. Most pauses are short; some are about as long as the
/// program waits for a byte (25 ms), so that byte and deadline meet.
fn feed(mut input: ChildStdin) {
    let (mut bytes, mut left) = (Xorshift(0x2545_F491), BYTES);
    let mut moments = Xorshift(u32::from(std::process::id() as u16) | 1);
    while left > 0 {
        let count = (1 + moments.below(16)).min(left);
        let chunk: Vec<u8> = (0..count).map(|_| (bytes.next() >> 16) as u8).collect();
        if let Err(error) = input.write_all(&chunk).and_then(|()| input.flush()) {
            eprintln!("the serial line broke with {left} bytes to go: {error}");
            break;
        }
        left -= count;
        let pause =
            if moments.below(32) == 0 { 20_000 + moments.below(10_000) } else { moments.below(3_000) };
        thread::sleep(Duration::from_micros(pause as u64));
    }
}

struct Xorshift(u32);

impl Xorshift {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
}

/// Builds the programs and measures each.
pub fn all_sizes(root: &Path) -> Result<Vec<(&'static str, Sizes)>, String> {
    let built = build(root)?;
    PROGRAMS.iter().map(|program| Ok((program.name, sizes(&built.join(program.name))?))).collect()
}

/// The size of a program on the chip, in bytes.
pub struct Sizes {
    /// Code, constants, and the initial values of RAM.
    pub flash: u32,
    /// Statics; the stack comes on top.
    pub ram: u32,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flash {} bytes, RAM {} bytes", self.flash, self.ram)
    }
}

/// Adds up the section headers of a 32-bit little-endian ELF file.
pub fn sizes(image: &Path) -> Result<Sizes, String> {
    let bytes = std::fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    parse(&bytes).ok_or_else(|| format!("{}: not a 32-bit little-endian ELF file", image.display()))
}

fn parse(bytes: &[u8]) -> Option<Sizes> {
    const NOBITS: u32 = 8;
    const WRITE: u32 = 1;
    const ALLOC: u32 = 2;
    if bytes.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let (table, entry, count) = (word(0x20)? as usize, half(0x2e)?, half(0x30)?);
    let mut sizes = Sizes { flash: 0, ram: 0 };
    for header in (0..count).map(|i| table + i * entry) {
        let (kind, flags, size) = (word(header + 4)?, word(header + 8)?, word(header + 20)?);
        if flags & ALLOC == 0 {
            continue;
        }
        sizes.flash += if kind == NOBITS { 0 } else { size };
        sizes.ram += if flags & WRITE == 0 { 0 } else { size };
    }
    Some(sizes)
}
