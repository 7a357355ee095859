//! Every system call on the path of listen, connect, accept and close fails at its first, second, third... time, until the
//! path no longer reaches the fault. After each fault everything is as before, and the path works again.

use std::io;

use crate::common::*;
use crate::support::*;
use netpoll_core::sync::Counter;
use netpoll_rt::internal::sys::inject::{Errno, Rule, Table};
use netpoll_rt::internal::sys::{Call, Poller};
use netpoll_rt::{Runtime, net::TcpSocket};

const BROKEN: &[Errno] = &[Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NOMEM];

const ROWS: &[Row] = &[
    (Call::Socket, FULL, Told::Error),
    (Call::Bind, &[Errno::ADDRINUSE, Errno::ACCESS, Errno::NOMEM], Told::Error),
    (Call::Listen, &[Errno::ADDRINUSE, Errno::NOBUFS], Told::Error),
    (Call::Accept, FULL, Told::Error),
    (Call::Accept, &[Errno::PERM], Told::Error),
    (
        Call::Connect,
        &[Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::TIMEDOUT],
        Told::Error,
    ),
    (Call::SocketError, &[Errno::NOBUFS], Told::Either),
    (Call::PeerName, &[Errno::NOBUFS], Told::Either),
    (Call::SockName, &[Errno::NOBUFS], Told::Either),
    (Call::SetOption, &[Errno::NOMEM, Errno::NOPROTOOPT], Told::Either),
    (Call::GetOption, &[Errno::NOMEM, Errno::NOPROTOOPT], Told::Either),
    (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM, Errno::EXIST, Errno::PERM], Told::Error),
    (Call::PollerClose, &[Errno::NOENT, Errno::BADF, Errno::NOMEM], Told::Nothing),
    (Call::Recv, BROKEN, Told::Error),
    (Call::Send, &[Errno::PIPE, Errno::CONNRESET, Errno::NOBUFS], Told::Error),
    (Call::Close, &[Errno::INTR], Told::Nothing),
    (Call::Close, &[Errno::IO, Errno::NOSPC], Told::Error),
];

/// Faults that pass by themselves: failing once is all they do.
const PASSING: &[Row] = &[
    (Call::Accept, &[Errno::CONNABORTED, Errno::PROTO, Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Connect, &[Errno::INTR], Told::Nothing),
    (Call::Recv, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Send, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
    (Call::Socket, &[Errno::INTR], Told::Nothing),
    (Call::PollerClose, &[Errno::INTR], Told::Nothing),
    (Call::PollerOpen, &[Errno::INTR], Told::Nothing),
    (Call::PollerWait, &[Errno::INTR], Told::Nothing),
    (Call::Break, &[Errno::INTR, Errno::AGAIN], Told::Nothing),
];

#[test]
fn every_call_fails_once_at_each_place() {
    let (places, reached) = (Counter::new(), Counter::new());
    on(&[1], async || {
        for (call, errnos, told) in ROWS.iter().chain(PASSING) {
            for errno in *errnos {
                let what = format!("{call:?} with {errno:?}");
                let found = sweep(|n| Rule::error(*call, *errno).nth(n), &what, *told, life).await;
                // The scheduler decides which thread breaks a wait: on one worker there may be no break.
                let must = !matches!(call, Call::Break | Call::GetOption | Call::SocketError);
                assert!(found > 0 || !must, "the way never makes {call:?}");
                reached.add(usize::from(found > 0));
            }
        }
    });
    on(&[4], async || {
        for (call, errnos, told) in ROWS.iter().chain(PASSING) {
            // Waits and breaks come as the threads have it; on four workers their number has no end to reach.
            if matches!(call, Call::PollerWait | Call::Break) {
                continue;
            }
            let what = format!("{call:?} with {:?}", errnos[0]);
            places.add(sweep(|n| Rule::error(*call, errnos[0]).nth(n), &what, *told, life).await);
        }
    });
    let (places, reached) = (places.get(), reached.get());
    println!("{reached} faults, {places} places");
    assert!(reached >= 40 && places >= 40, "{reached} faults, {places} places");
}

#[test]
fn every_call_fails_for_good_from_each_place_on() {
    each(async || {
        for (call, errnos, told) in ROWS {
            for errno in *errnos {
                let what = format!("{call:?} with {errno:?} from then on");
                sweep(|n| Rule::error(*call, *errno).from(n), &what, *told, life).await;
            }
        }
    });
}

/// Duplicates and sockets that are dressed by hand.
async fn by_hand() -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind("127.0.0.1:0".parse().unwrap())?;
    let listener = socket.listen(16)?;
    let stream = TcpSocket::new_v4()?.connect(listener.local_addr()?).await?;
    let peer = listener.accept().await?.0;
    let back = netpoll_rt::net::TcpStream::from_std(stream.into_std()?)?;
    back.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(peer.read(&mut [0; 1]).await?, 0);
    Ok(())
}

#[test]
fn sockets_dressed_by_hand_and_handed_around() {
    each(async || {
        let rows: &[Row] = &[
            (Call::Socket, FULL, Told::Error),
            (Call::SetNonblocking, &[Errno::NOMEM, Errno::BADF], Told::Error),
            (Call::Shutdown, &[Errno::NOTCONN, Errno::NOBUFS], Told::Error),
            (Call::SetOption, &[Errno::NOMEM], Told::Either),
            (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM], Told::Error),
        ];
        for (call, errnos, told) in rows {
            for errno in *errnos {
                let what = format!("{call:?} with {errno:?}");
                let once = sweep(|n| Rule::error(*call, *errno).nth(n), &what, *told, by_hand).await;
                assert!(once > 0, "the way never makes {call:?}");
                sweep(|n| Rule::error(*call, *errno).from(n), &what, *told, by_hand).await;
            }
        }
    });
}

#[test]
fn a_runtime_that_cannot_be_started_leaves_nothing() {
    let _alone = alone();
    for (call, errnos) in [(Call::PollerInit, FULL), (Call::PollerOpen, &[Errno::NOSPC, Errno::NOMEM])] {
        for errno in errnos {
            let mut places = 0;
            for n in 1.. {
                let before = open_descriptors();
                let installed = Table::new(0).rule(Rule::error(call, *errno).nth(n)).install();
                let started = Runtime::new();
                let hits = installed.end()[0];
                if hits == 0 {
                    started.unwrap();
                    break;
                }
                places += 1;
                assert_errno(started, *errno);
                assert_eq!(open_descriptors(), before, "after {call:?} with {errno:?}, number {n}");
            }
            // poll(2) is told of its descriptors anew each time, and watches none of its own.
            let made = places > 0 || call == Call::PollerOpen && Poller::NAME == "poll";
            assert!(made, "a runtime is made without {call:?}");
        }
    }
}
