//! The sizes of the types of which a server has many, each with its limit: `cargo xtask sizes` fails if one has grown.
//!
//! A limit is a promise (the descriptor's is part of the design) or the size at the last review of the type. A commit that
//! raises one says what the bytes are for.

use std::mem::size_of;
use std::process::ExitCode;

use netpoll_core::poll::cache::Block;
use netpoll_core::poll::deadline::Deadline;
use netpoll_core::poll::fd_mutex::FdMutex;
use netpoll_core::poll::info::AtomicInfo;
use netpoll_core::poll::sema::Sema;
use netpoll_core::{Event, PollDesc, PollKey};
use netpoll_rt::internal::fd::Fd;
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::time::{Sleep, Timeout};
use netpoll_rt::{Handle, JoinHandle, OpError};

/// Returns the size of the future of an operation on a stream. It is part of every task that awaits the operation.
fn future<T, F>(_operation: impl FnOnce(&'static TcpStream, T) -> F) -> usize {
    size_of::<F>()
}

fn main() -> ExitCode {
    let core = [
        ("Sema", size_of::<Sema>(), 24),
        ("Deadline", size_of::<Deadline>(), 8),
        ("AtomicInfo", size_of::<AtomicInfo>(), 8),
        ("FdMutex", size_of::<FdMutex>(), 8),
        ("PollKey", size_of::<PollKey>(), 8),
        ("Event", size_of::<Event>(), 16),
        ("PollDesc", size_of::<PollDesc>(), 128),
        ("Block", size_of::<Block>(), 4096),
    ];
    let runtime = [
        ("Fd", size_of::<Fd>(), 80),
        ("TcpListener", size_of::<TcpListener>(), 80),
        ("TcpStream", size_of::<TcpStream>(), 96),
        ("TcpStream::read()", future(TcpStream::read), 72),
        ("TcpStream::read_exact()", future(TcpStream::read_exact), 128),
        ("TcpStream::write()", future(TcpStream::write), 64),
        ("TcpStream::write_all()", future(TcpStream::write_all), 64),
        ("Sleep", size_of::<Sleep>(), 40),
        ("Timeout<()>", size_of::<Timeout<()>>(), 40),
        ("JoinHandle<()>", size_of::<JoinHandle<()>>(), 32),
        ("Handle", size_of::<Handle>(), 8),
        ("OpError", size_of::<OpError>(), 96),
    ];
    println!("{:<40} {:>8} {:>8}", "type", "bytes", "limit");
    let (mut types, mut over) = (0, 0);
    for (name, bytes, limit) in core.into_iter().chain(runtime) {
        println!("{name:<40} {bytes:>8} {limit:>8}{}", if bytes > limit { "  over its limit" } else { "" });
        types += 1;
        over += usize::from(bytes > limit);
    }
    println!("sizes: {types} types, {over} over their limit");
    if over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
