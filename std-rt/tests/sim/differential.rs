//! The same script of socket calls on the simulated kernel and on Linux: every result and the readiness after it are equal.
//!
//! Differences that are known, and that the scripts leave out:
//!
//! | call | Linux | the simulation | reason |
//! |---|---|---|---|
//! | a close with a linger time above 0 | close(2) blocks | as without | no call blocks in a simulation |
//! | connect(2) on a socket whose connection has failed | another attempt | `EISCONN` | no caller of this crate repeats it on the same socket |

use std::fmt::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netpoll_core::Mode;
use netpoll_rt::internal::sys::sim::{current, urgent};
use netpoll_rt::internal::sys::socket::{self, Domain, Read, SocketKind};
use netpoll_rt::internal::sys::splice::splice_in;
use netpoll_rt::internal::sys::{is_ready_now, pipe, sockopt, unix};
use netpoll_rt::sim::{Faults, Sim};

/// The number of scripts, and of calls in each.
const SCRIPTS: u64 = 1000;
const CALLS: usize = 40;

/// The number of runs on Linux of which one must have the results of the simulation.
const ATTEMPTS: usize = 5;

/// The time after which Linux must have got to the readiness of the simulation.
const SETTLED: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
enum Call {
    Connect,
    Accept,
    Send(usize, usize),
    Recv(usize, usize),
    Peek(usize, usize),
    ShutWrite(usize),
    ShutRead(usize),
    Close(usize),
    Reset(usize),
    Error(usize),
    PeerName(usize),
    SendUrgent(usize, usize),
    RecvUrgent(usize),
    Inline(usize, bool),
    Splice(usize, usize),
}

/// Returns the calls of a script; sockets are named by the order of their creation.
fn script(seed: u64) -> Vec<Call> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut calls = vec![Call::Connect, Call::Accept];
    while calls.len() < CALLS {
        let (socket, length) = (random.usize(..6), random.usize(1..200));
        calls.push(match random.u32(..30) {
            0 => Call::Connect,
            1 => Call::Accept,
            2..7 => Call::Send(socket, length),
            7..13 => Call::Recv(socket, length),
            13..15 => Call::Peek(socket, length),
            15 => Call::ShutWrite(socket),
            16 => Call::ShutRead(socket),
            17 => Call::Close(socket),
            18 => Call::Reset(socket),
            19..21 => Call::Error(socket),
            21..24 => Call::SendUrgent(socket, length),
            24 => Call::RecvUrgent(socket),
            25 => Call::Inline(socket, random.u32(..4) == 0),
            26..28 => Call::Splice(socket, length),
            _ => Call::PeerName(socket),
        });
    }
    calls
}

/// Returns the lengths of the runs of equal bytes.
pub fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|one, other| one == other).map(|run| (run[0], run.len())).collect()
}

/// Returns the number of an error as a text.
pub fn number(error: &std::io::Error) -> String {
    format!("{:?}", error.raw_os_error())
}

/// The sockets of one run.
struct Run {
    listener: OwnedFd,
    address: SocketAddr,
    sockets: Vec<Option<OwnedFd>>,
}

impl Run {
    fn new() -> Self {
        let listener = socket::socket(Domain::V4, SocketKind::Stream).unwrap();
        socket::bind(listener.as_fd(), &"127.0.0.1:0".parse().unwrap()).unwrap();
        socket::listen(listener.as_fd(), 16).unwrap();
        let address = socket::sock_name(listener.as_fd()).unwrap();
        Self { listener, address, sockets: Vec::new() }
    }

    /// Makes a call that reads or peeks.
    fn read(
        &self,
        of: usize,
        length: usize,
        read: impl FnOnce(BorrowedFd<'_>, &mut [u8]) -> std::io::Result<Read>,
    ) -> String {
        self.on(of, |fd| {
            let mut bytes = vec![0; length];
            let n = read(fd.as_fd(), &mut bytes)?.n;
            Ok(format!("{n} bytes, {:?}", runs(&bytes[..n])))
        })
    }

    /// Makes a call; returns its result as a text.
    fn call(&mut self, call: Call) -> String {
        match call {
            Call::Connect => {
                let fd = socket::socket(Domain::V4, SocketKind::Stream).unwrap();
                let connected = socket::connect(fd.as_fd(), &self.address).map(|how| format!("{how:?}"));
                self.sockets.push(Some(fd));
                connected.unwrap_or_else(|error| number(&error))
            }
            Call::Accept => match socket::accept(self.listener.as_fd()) {
                Ok((fd, _)) => {
                    self.sockets.push(Some(fd));
                    "accepted".to_owned()
                }
                Err(error) => number(&error),
            },
            Call::Send(of, length) => {
                self.on(of, |fd| Ok(socket::send(fd.as_fd(), &vec![length as u8; length])?.to_string()))
            }
            Call::Recv(of, length) => self.read(of, length, socket::recv),
            Call::Peek(of, length) => self.read(of, length, socket::peek),
            Call::ShutWrite(of) => {
                self.on(of, |fd| socket::shutdown(fd.as_fd(), Shutdown::Write).map(|()| String::new()))
            }
            Call::ShutRead(of) => {
                self.on(of, |fd| socket::shutdown(fd.as_fd(), Shutdown::Read).map(|()| String::new()))
            }
            Call::Error(of) => self.on(of, |fd| {
                let error = socket::socket_error(fd.as_fd())?;
                Ok(format!("{:?}", error.and_then(|error| error.raw_os_error())))
            }),
            Call::PeerName(of) => self.on(of, |fd| {
                let is_listener = socket::peer_name(fd.as_fd())? == self.address;
                Ok(format!("listener {is_listener}"))
            }),
            Call::SendUrgent(of, length) => {
                self.on(of, |fd| Ok(urgent::send(fd.as_fd(), &vec![length as u8; length])?.to_string()))
            }
            Call::RecvUrgent(of) => self.on(of, |fd| {
                let mut byte = [0];
                Ok(format!("{} urgent bytes, {byte:?}", urgent::recv(fd.as_fd(), &mut byte)?))
            }),
            Call::Inline(of, is_inline) => {
                self.on(of, |fd| urgent::set_inline(fd.as_fd(), is_inline).map(|()| String::new()))
            }
            Call::Splice(of, length) => self.on(of, |fd| {
                let (reader, writer) = pipe::pipe()?;
                let n = splice_in(fd.as_fd(), writer.as_fd(), length)?;
                let mut bytes = vec![0; length];
                let got = if n > 0 { socket::read(reader.as_fd(), &mut bytes)?.n } else { 0 };
                Ok(format!("{n} bytes through a pipe, {:?}", runs(&bytes[..got])))
            }),
            Call::Close(of) => {
                self.sockets.get_mut(of).map(Option::take);
                String::new()
            }
            Call::Reset(of) => {
                if let Some(fd) = self.sockets.get_mut(of).and_then(Option::take) {
                    sockopt::set_linger(fd.as_fd(), Some(Duration::ZERO)).unwrap();
                }
                String::new()
            }
        }
    }

    fn on(&self, of: usize, call: impl FnOnce(&OwnedFd) -> std::io::Result<String>) -> String {
        let Some(Some(fd)) = self.sockets.get(of) else { return "no such socket".to_owned() };
        call(fd).unwrap_or_else(|error| number(&error))
    }

    /// Returns the readiness of every socket, and the number of its unread bytes, as a text.
    fn readiness(&self) -> String {
        let mut text = String::new();
        for fd in std::iter::once(Some(&self.listener)).chain(self.sockets.iter().map(Option::as_ref)) {
            let raw = fd.map_or(-1, AsRawFd::as_raw_fd);
            let look = |mode, letter| if is_ready_now(raw, mode) { letter } else { '-' };
            let unread = fd.and_then(|fd| unix::queued(fd.as_fd()).ok()).unwrap_or(0);
            write!(text, "{}{}{unread} ", look(Mode::Read, 'r'), look(Mode::Write, 'w')).unwrap();
        }
        text
    }
}

/// Runs a script on the simulated kernel.
fn simulated(calls: &[Call]) -> Vec<(String, String)> {
    let mut sim = Sim::new(1);
    sim.set_faults(Faults::NONE);
    sim.client("host", async { Ok(()) });
    let settle = || {
        let kernel = current().unwrap();
        let mut world = kernel.lock();
        let end = world.tick_after(Duration::from_millis(1));
        world.next_turn(end, |_, _| false, || None);
    };
    let mut run = Run::new();
    let step = |call: &Call| {
        let result = run.call(*call);
        settle();
        (result, run.readiness())
    };
    calls.iter().map(step).collect()
}

/// Runs a script on Linux; returns the first difference to the simulation.
fn difference(seed: u64, calls: &[Call], expected: &[(String, String)]) -> Option<String> {
    let mut run = Run::new();
    for (place, (call, (result, readiness))) in calls.iter().zip(expected).enumerate() {
        let real = run.call(*call);
        let start = Instant::now();
        while run.readiness() != *readiness && start.elapsed() < SETTLED {
            std::thread::yield_now();
        }
        let found = run.readiness();
        if (&real, &found) != (result, readiness) {
            let before = &calls[..place];
            return Some(format!(
                "script {seed}: {call:?}: Linux {real} {found}, simulated {result} {readiness}\n  after {before:?}"
            ));
        }
    }
    None
}

#[test]
fn scripts_have_the_same_results_on_linux() {
    let mut differences = Vec::new();
    for seed in 0..SCRIPTS {
        if differences.len() == 4 {
            break;
        }
        let calls = script(seed);
        let expected = simulated(&calls);
        // A reset that is still on its way changes no readiness if there are bytes to read: on a busy machine the next call may
        // come before it.
        let found: Option<Vec<String>> = (0..ATTEMPTS).map(|_| difference(seed, &calls, &expected)).collect();
        differences.extend(found.and_then(|found| found.into_iter().next()));
    }
    assert!(differences.is_empty(), "scripts of {SCRIPTS} that differ: {differences:#?}");
}
