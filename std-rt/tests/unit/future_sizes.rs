//! The sizes of the futures of which a program has many, in bytes on a 64-bit machine. The limits are the present sizes: a
//! change that enlarges a future must give a reason.

use std::future::Ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use netpoll_rt::JoinHandle;
use netpoll_rt::net::{TcpSocket, TcpStream, UnixStream};
use netpoll_rt::time::{Sleep, Timeout};

fn assert_sizes(all: &[(&str, usize, usize)]) {
    let wrong: Vec<_> = all.iter().filter(|(_, size, limit)| size > limit).collect();
    assert!(wrong.is_empty(), "name, size, limit: {wrong:?}");
}

#[test]
fn the_futures_of_connect_are_small() {
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    assert_sizes(&[
        // It was 1,256 bytes, of which a race of several addresses was the most. 16 of them are the timer of an operation
        // that is queued under a deadline, and 8 are the kinds of parking of the descriptor's last polls, which spare a task
        // that polls alone a list of tasks.
        ("connect", size_of_val(&TcpStream::connect(to)), 376),
        ("connect by name", size_of_val(&TcpStream::connect("localhost:1")), 376),
        ("connect_timeout", size_of_val(&TcpStream::connect_timeout(to, Duration::MAX)), 376),
        ("connect_deadline", size_of_val(&TcpStream::connect_deadline(to, Instant::now())), 376),
        ("TcpSocket::connect", size_of_val(&TcpSocket::new_v4().unwrap().connect(to)), 256),
        ("UnixStream::connect", size_of_val(&UnixStream::connect("/nowhere")), 288),
    ]);
}

#[test]
fn the_futures_of_operations_and_timers_are_small() {
    netpoll_rt::block_on(async {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let mut buffer = [0];
        assert_sizes(&[
            // With the timer of its deadline, for the time in which it is queued.
            ("read", size_of_val(&stream.read(&mut buffer)), 72),
            ("write", size_of_val(&stream.write(&[])), 64),
            // The timer, and the deadline, which the timer loses when it fires: `deadline()` must give it afterwards.
            ("Sleep", size_of::<Sleep>(), 32),
            ("Timeout of a byte", size_of::<Timeout<Ready<u8>>>(), 32),
            ("JoinHandle", size_of::<JoinHandle<()>>(), 16),
        ]);
    });
}
