//! `bare`: netpoll-core on a Cortex-M3 in QEMU: a serial line that is fed at random moments, TCP over Ethernet, and
//! interrupts that strike between any two instructions.

mod clients;
mod elf;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use self::clients::Round;
use self::elf::Sizes;
use crate::toolchain::{self, Toolchain};
use xtask::{Outcome, cmd};

const TRIPLE: &str = "thumbv7m-none-eabi";
/// The program that `cross` links for other chips, too.
const EMBASSY: &str = "embassy";
const EMULATOR: &str = "qemu-system-arm";
const BYTES: usize = 10_000;
/// The limit of each run. On an idle machine the serial line takes 3 s, a sweep 4 s, TCP 5 s.
const LIMIT: Duration = Duration::from_secs(120);

struct Program {
    name: &'static str,
    /// Additional arguments of the emulator.
    clock: &'static [&'static str],
    peer: Peer,
    /// The most that it may take of the chip.
    most: Sizes,
}

/// The program on this machine that talks to the one on the chip.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    None,
    Serial,
    Clients,
}

/// The clock moves by 128 ns with each instruction, the timer's cycle is 80 ns: it can strike after any of them.
const COUNTED: &[&str] = &["-icount", "shift=7,sleep=off"];

const PROGRAMS: &[Program] = &[
    Program { name: "uart", clock: &[], peer: Peer::Serial, most: Sizes { flash: 24_000, ram: 2_500 } },
    Program { name: "sweep", clock: COUNTED, peer: Peer::None, most: Sizes { flash: 24_000, ram: 2_500 } },
    Program {
        name: "sweep_ethernet",
        clock: COUNTED,
        peer: Peer::None,
        most: Sizes { flash: 24_000, ram: 4_500 },
    },
    Program { name: "tcp", clock: &[], peer: Peer::Clients, most: Sizes { flash: 64_000, ram: 46_000 } },
    Program { name: EMBASSY, clock: &[], peer: Peer::Clients, most: Sizes { flash: 68_000, ram: 51_000 } },
];

/// Builds the programs, runs them, and prints their sizes.
pub fn run(args: &[String]) -> Outcome {
    let root = cmd::only_root(args)?;
    for program in PROGRAMS {
        let image = build(&root, program)?;
        let start = Instant::now();
        let told = emulate(program, &image).map_err(|reason| format!("{}: {reason}", program.name))?;
        let seconds = start.elapsed().as_secs_f64();
        let sizes = elf::sizes(&image)?;
        println!("{}: {told}, {seconds:.1} s, {sizes}", program.name);
        if sizes.flash > program.most.flash || sizes.ram > program.most.ram {
            return Err(format!("{}: more than {}", program.name, program.most));
        }
    }
    println!("bare: {} programs ran", PROGRAMS.len());
    Ok(())
}

/// Builds a program and returns its file.
fn build(root: &Path, program: &Program) -> Result<PathBuf, String> {
    compile(root, TRIPLE, program.name, &["--release"])?;
    Ok(cmd::target_dir(root)?.join("bare").join(TRIPLE).join("release").join(program.name))
}

/// Links the program with embassy-executor for another chip.
pub fn link_embassy(root: &Path, triple: &str, features: &[&str]) -> Outcome {
    compile(root, triple, EMBASSY, features)
}

fn compile(root: &Path, triple: &str, name: &str, args: &[&str]) -> Outcome {
    let target = cmd::target_dir(root)?.join("bare");
    let mut command = Toolchain::to(triple)?.cargo(&root.join("examples/bare"), "build", &[triple]);
    command.args(["--quiet", "--locked", "--bin", name, "--target-dir"]).arg(&target).args(args);
    if name == EMBASSY {
        command.args(["--features", "embassy"]);
    }
    let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
    cmd::run(command.env(linker, toolchain::linker()?))
}

/// Runs a program to its end and returns its last line, or the summary of its clients.
fn emulate(program: &Program, image: &Path) -> Result<String, String> {
    let mut command = Command::new(EMULATOR);
    command.args(["-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.args(["-semihosting-config", "enable=on,target=native"]).args(program.clock);
    let port = clients::free_port()?;
    // The chip has an Ethernet port, and the emulator a network behind it, from which nothing leaves.
    let forward = format!(",hostfwd=tcp:127.0.0.1:{port}-:7");
    let forward = if program.peer == Peer::Clients { &forward } else { "" };
    command.arg("-nic").arg(format!("user,restrict=on{forward}"));
    command.arg("-kernel").arg(image).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{EMULATOR}: {e}; `.ci/cross-setup` installs it"))?;
    let watched = watch(&mut child, program.peer, port);
    if watched.is_err() {
        // It fails only if the emulator has just ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let (last, rounds) = watched?;
    cmd::checked(&command, status).map_err(|reason| format!("{reason}: {last}"))?;
    match (&*last, program.peer, rounds) {
        ("lost 0", Peer::Clients, rounds) => clients::summary(rounds),
        ("lost 0", _, _) => Ok(last),
        _ => Err(format!("the last line is not `lost 0` but `{last}`")),
    }
}

/// Shows what the program prints until it ends, feeds it once it reads, and connects to it each time that it listens.
fn watch(child: &mut Child, peer: Peer, port: u16) -> Result<(String, Vec<Round>), String> {
    let lines = lines(child.stdout.take().ok_or("the emulator has no output")?);
    let mut input = child.stdin.take().filter(|_| peer == Peer::Serial);
    let end = Instant::now() + LIMIT;
    let (mut last, mut rounds) = (String::new(), Vec::new());
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => last = line,
            Err(RecvTimeoutError::Disconnected) => return Ok((last, rounds)),
            Err(RecvTimeoutError::Timeout) => return Err(format!("still running after {LIMIT:?}: {last}")),
        }
        println!("  {last}");
        if last == "reading"
            && let Some(input) = input.take()
        {
            thread::spawn(move || feed(input));
        }
        if last == "listening" {
            let number = rounds.len();
            rounds.push(thread::spawn(move || clients::round(port, number)));
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
    PROGRAMS.iter().map(|program| Ok((program.name, elf::sizes(&build(root, program)?)?))).collect()
}
