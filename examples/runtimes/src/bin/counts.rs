//! One descriptor, again and again: registered, one event, deregistered; on netpoll, mio or polling. For the counts of
//! `cargo xtask runtimes counts`.
//!
//! ```text
//! counts ours|mio|polling TIMES     registers, parks or waits, gets one event, deregisters
//! ```

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::Waker;

use netpoll_rt::poll::{Buffer, Mode, Poller};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [peer, times] = &args[..] else { return Err(io::Error::other("counts ours|mio|polling TIMES")) };
    let times: usize = times.parse().map_err(io::Error::other)?;
    let (ours, mut other) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    match peer.as_str() {
        "ours" => count_ours(&ours, &mut other, times),
        "mio" => count_mio(&ours, &mut other, times),
        "polling" => count_polling(&ours, &mut other, times),
        unknown => Err(io::Error::other(format!("no poller `{unknown}`"))),
    }
}

/// Reads the byte whose event was reported.
fn take(mut stream: &UnixStream) -> io::Result<()> {
    stream.read_exact(&mut [0])
}

fn count_ours(ours: &UnixStream, other: &mut UnixStream, times: usize) -> io::Result<()> {
    let (poller, mut buffer) = (Poller::new()?, Buffer::new());
    for _ in 0..times {
        let registration = poller.register(ours)?;
        if registration.park(Mode::Read, Waker::noop())?.is_ready() {
            return Err(io::Error::other("a readiness that nothing has caused"));
        }
        other.write_all(b"x")?;
        let woken = poller.poll(None, &mut buffer)?;
        buffer.drain().for_each(Waker::wake);
        if woken != 1 {
            return Err(io::Error::other("no event"));
        }
        take(ours)?;
    }
    Ok(())
}

fn count_mio(ours: &UnixStream, other: &mut UnixStream, times: usize) -> io::Result<()> {
    let (mut poll, mut events) = (mio::Poll::new()?, mio::Events::with_capacity(256));
    for _ in 0..times {
        let fd = ours.as_raw_fd();
        let mut source = mio::unix::SourceFd(&fd);
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        poll.registry().register(&mut source, mio::Token(1), interest)?;
        other.write_all(b"x")?;
        poll.poll(&mut events, None)?;
        if !events.iter().any(|event| event.token() == mio::Token(1) && event.is_readable()) {
            return Err(io::Error::other("no event"));
        }
        take(ours)?;
        poll.registry().deregister(&mut source)?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "polling leaves it to the caller that a source outlives its registration")]
fn count_polling(ours: &UnixStream, other: &mut UnixStream, times: usize) -> io::Result<()> {
    let (poller, mut events) = (polling::Poller::new()?, polling::Events::new());
    for _ in 0..times {
        // SAFETY: the source is deleted below, before it is dropped; an error ends the program.
        unsafe { poller.add_with_mode(ours, polling::Event::all(1), polling::PollMode::Edge) }?;
        other.write_all(b"x")?;
        events.clear();
        poller.wait(&mut events, None)?;
        if !events.iter().any(|event| event.key == 1 && event.readable) {
            return Err(io::Error::other("no event"));
        }
        take(ours)?;
        poller.delete(ours)?;
    }
    Ok(())
}
