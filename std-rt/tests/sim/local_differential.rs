//! The same script of calls on Unix sockets and pipes, on the simulated kernel and on Linux: every result and the readiness
//! after it are equal.
//!
//! Differences that are known, and that the scripts leave out:
//!
//! | call | Linux | the simulation | reason |
//! |---|---|---|---|
//! | writes until the buffer of a Unix socket is full | counts the memory of its buffers | counts bytes, and 512 a message | the memory depends on the kernel's version |
//! | descriptors that are in flight in a cycle of sockets | are closed by its collector | stay until the simulation ends | no program relies on it |

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use netpoll_core::Mode;
use netpoll_rt::internal::sys::socket::{self, Domain, SocketKind};
use netpoll_rt::internal::sys::{ancillary, is_ready_now, pipe, unix};
use netpoll_rt::sim::{Faults, Sim};

use crate::differential::{number, runs};

/// The number of scripts, and of calls in each.
const SCRIPTS: u64 = 2000;
const CALLS: usize = 40;

/// The number of addresses.
const NAMES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Call {
    Socket,
    Pair,
    Bind(usize, usize),
    Listen(usize),
    Connect(usize, usize),
    Accept(usize),
    Send(usize, usize),
    SendTo(usize, usize, usize),
    SendFd(usize, usize),
    Recv(usize, usize),
    RecvFds(usize, usize),
    Peek(usize, usize),
    Shut(usize, bool),
    Close(usize),
    Error(usize),
    PeerName(usize),
    Name(usize),
    Duplicate(usize),
    Pipe,
    Write(usize, usize),
    Read(usize, usize),
}

fn socket_call(random: &mut fastrand::Rng) -> Call {
    let (of, length, name) = (random.usize(..6), random.usize(0..200), random.usize(..NAMES));
    match random.u32(..34) {
        0 => Call::Socket,
        1 => Call::Pair,
        2..4 => Call::Bind(of, name),
        4 => Call::Listen(of),
        5..8 => Call::Connect(of, name),
        8..10 => Call::Accept(of),
        10..15 => Call::Send(of, length),
        15..17 => Call::SendTo(of, length, name),
        17..19 => Call::SendFd(of, length),
        19..24 => Call::Recv(of, length),
        24..26 => Call::RecvFds(of, length),
        26..28 => Call::Peek(of, length),
        28 => Call::Shut(of, random.bool()),
        29 => Call::Close(of),
        30 => Call::Error(of),
        31 => Call::PeerName(of),
        32 => Call::Name(of),
        _ => Call::Duplicate(of),
    }
}

fn pipe_call(random: &mut fastrand::Rng) -> Call {
    let (of, exponent) = (random.usize(..5), random.u32(..18));
    let length = random.usize(..1 << exponent);
    match random.u32(..24) {
        0 => Call::Pipe,
        1..11 => Call::Write(of, length),
        11..21 => Call::Read(of, length),
        21 => Call::Close(of),
        _ => Call::Duplicate(of),
    }
}

/// Returns the kind of a script, `None` for pipes, and its calls.
fn script(seed: u64) -> (Option<SocketKind>, Vec<Call>) {
    let kinds = [None, Some(SocketKind::Stream), Some(SocketKind::Datagram), Some(SocketKind::Seqpacket)];
    let kind = kinds[(seed % 4) as usize];
    let mut random = fastrand::Rng::with_seed(seed);
    let first = match kind {
        None => vec![Call::Pipe],
        Some(_) => vec![Call::Pair, Call::Socket, Call::Bind(2, 0), Call::Listen(2), Call::Socket],
    };
    let mut calls = first;
    while calls.len() < CALLS {
        calls.push(if kind.is_none() { pipe_call(&mut random) } else { socket_call(&mut random) });
    }
    (kind, calls)
}

/// The descriptors of one run.
struct Run {
    kind: SocketKind,
    names: Vec<SocketAddr>,
    fds: Vec<Option<OwnedFd>>,
}

impl Run {
    fn new(kind: Option<SocketKind>, seed: u64) -> Self {
        let name = |n| format!("netpoll-differential-{}-{seed}-{n}", std::process::id());
        let names = (0..NAMES).map(|n| SocketAddr::from_abstract_name(name(n)).unwrap()).collect();
        Self { kind: kind.unwrap_or(SocketKind::Stream), names, fds: Vec::new() }
    }

    fn add(&mut self, fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<String> {
        self.fds.extend(fds.into_iter().map(Some));
        Ok(String::new())
    }

    fn fd(&self, of: usize) -> io::Result<&OwnedFd> {
        self.fds.get(of).and_then(Option::as_ref).ok_or_else(|| io::Error::other("none"))
    }

    fn call(&mut self, call: Call) -> String {
        self.make(call).unwrap_or_else(|error| number(&error))
    }

    /// Returns which of the names an address is.
    fn which(&self, address: &SocketAddr) -> String {
        let names: Vec<_> = self.names.iter().map(SocketAddrExt::as_abstract_name).collect();
        format!("{:?}", names.iter().position(|name| *name == address.as_abstract_name()))
    }

    fn make(&mut self, call: Call) -> io::Result<String> {
        match call {
            Call::Socket => {
                let fd = socket::socket(Domain::Unix, self.kind)?;
                self.add([fd])
            }
            Call::Pair => {
                let (one, other) = unix::pair(self.kind)?;
                self.add([one, other])
            }
            Call::Pipe => {
                let (reader, writer) = pipe::pipe()?;
                self.add([reader, writer])
            }
            Call::Accept(of) => {
                let (fd, peer) = unix::accept(self.fd(of)?.as_fd())?;
                let peer = self.which(&peer);
                self.add([fd]).map(|_| peer)
            }
            Call::Duplicate(of) => {
                let copy = socket::duplicate(self.fd(of)?.as_fd())?;
                self.add([copy])
            }
            Call::RecvFds(of, length) => {
                let mut bytes = vec![0; length];
                let received = ancillary::recv(self.fd(of)?.as_fd(), &mut bytes, 8)?;
                let text =
                    format!("{} {:?}, {} fds", received.n, runs(&bytes[..received.n]), received.fds.len());
                self.add(received.fds).map(|_| text)
            }
            Call::Close(of) => {
                self.fds.get_mut(of).map(Option::take);
                Ok(String::new())
            }
            other => self.look(other),
        }
    }

    /// Makes a call that creates and closes no descriptor here.
    fn look(&self, call: Call) -> io::Result<String> {
        let read = |of, length, how: &dyn Fn(&OwnedFd, &mut [u8]) -> io::Result<usize>| {
            let mut bytes = vec![0; length];
            let n = how(self.fd(of)?, &mut bytes)?;
            Ok(format!("{n} {:?}", runs(&bytes[..n])))
        };
        let done = |(): ()| String::new();
        match call {
            Call::Bind(of, name) => unix::bind(self.fd(of)?.as_fd(), &self.names[name]).map(done),
            Call::Listen(of) => socket::listen(self.fd(of)?.as_fd(), 2).map(done),
            Call::Connect(of, name) => unix::connect(self.fd(of)?.as_fd(), &self.names[name]).map(done),
            Call::Send(of, length) => {
                Ok(unix::send(self.fd(of)?.as_fd(), &vec![length as u8; length])?.to_string())
            }
            Call::SendTo(of, length, name) => {
                let bytes = vec![length as u8; length];
                Ok(unix::send_to(self.fd(of)?.as_fd(), &bytes, &self.names[name])?.to_string())
            }
            Call::SendFd(of, length) => {
                let (bytes, file) = (vec![length as u8; length.max(1)], File::open("/dev/null")?);
                let sent =
                    ancillary::send(self.fd(of)?.as_fd(), &bytes, None, &[file.as_fd(), file.as_fd()])?;
                Ok(sent.to_string())
            }
            Call::Recv(of, length) if self.kind == SocketKind::Datagram => {
                let mut bytes = vec![0; length];
                let (n, from) = unix::recv_from(self.fd(of)?.as_fd(), &mut bytes)?;
                Ok(format!("{n} {:?} of {}", runs(&bytes[..n]), self.which(&from)))
            }
            Call::Recv(of, length) => read(of, length, &|fd, bytes| unix::recv(fd.as_fd(), bytes)),
            Call::Peek(of, length) => read(of, length, &|fd, bytes| unix::peek(fd.as_fd(), bytes)),
            Call::Read(of, length) => {
                read(of, length, &|fd, bytes| socket::read(fd.as_fd(), bytes).map(|read| read.n))
            }
            Call::Write(of, length) => {
                Ok(socket::write(self.fd(of)?.as_fd(), &vec![length as u8; length])?.to_string())
            }
            Call::Shut(of, write) => {
                let how = if write { Shutdown::Write } else { Shutdown::Read };
                socket::shutdown(self.fd(of)?.as_fd(), how).map(done)
            }
            Call::Error(of) => {
                let error = socket::socket_error(self.fd(of)?.as_fd())?;
                Ok(format!("{:?}", error.and_then(|error| error.raw_os_error())))
            }
            Call::PeerName(of) => unix::peer_name(self.fd(of)?.as_fd()).map(|name| self.which(&name)),
            Call::Name(of) => unix::sock_name(self.fd(of)?.as_fd()).map(|name| self.which(&name)),
            _ => unreachable!("made elsewhere"),
        }
    }

    /// Returns the readiness of every descriptor, whether its input has ended, and the number of its unread bytes.
    fn readiness(&self) -> String {
        let mut text = String::new();
        for fd in &self.fds {
            let raw = fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let look = |mode, letter| if is_ready_now(raw, mode) { letter } else { '-' };
            let (unread, ended) = fd.as_ref().map_or((0, false), |fd| {
                (unix::queued(fd.as_fd()).unwrap_or(0), unix::is_read_ended(fd.as_fd()).unwrap())
            });
            let ended = if ended { "e" } else { "" };
            write!(text, "{}{}{ended}{unread} ", look(Mode::Read, 'r'), look(Mode::Write, 'w')).unwrap();
        }
        text
    }

    fn run(&mut self, calls: &[Call]) -> Vec<(String, String)> {
        calls.iter().map(|call| (self.call(*call), self.readiness())).collect()
    }
}

#[test]
fn local_scripts_have_the_same_results_on_linux() {
    let mut differences = Vec::new();
    let mut calls_made = 0;
    for seed in 0..SCRIPTS {
        let (kind, calls) = script(seed);
        let simulated = {
            let mut sim = Sim::new(1);
            sim.set_faults(Faults::NONE);
            sim.client("host", async { Ok(()) });
            Run::new(kind, seed).run(&calls)
        };
        let real = Run::new(kind, seed).run(&calls);
        calls_made += calls.len();
        if let Some(place) = (0..calls.len()).find(|&place| real[place] != simulated[place]) {
            let before: Vec<_> =
                calls[..place].iter().zip(&real).map(|(call, (result, _))| (call, result)).collect();
            differences.push(format!(
                "script {seed}, {kind:?}: {:?}: Linux {:?}, simulated {:?}\n  after {before:?}",
                calls[place], real[place], simulated[place]
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {SCRIPTS} scripts differ: {:#?}",
        differences.len(),
        &differences[..differences.len().min(40)]
    );
    println!("{SCRIPTS} scripts, {calls_made} calls, 0 differences");
}
