//! The sessions of a client with itself.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::task::JoinSet;
use netpoll_rt::{Runtime, spawn, time};

use super::{draw, milliseconds};

/// Lets several tasks accept, with deadlines and drops: each connection is accepted once.
pub async fn accept() -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind("0.0.0.0:0").await?);
    let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
    let seen: Arc<Mutex<BTreeSet<u8>>> = Arc::default();
    let acceptors: Vec<_> =
        (0..1 + draw(3)).map(|_| spawn(acceptor(listener.clone(), seen.clone()))).collect();
    let count = 1 + draw(8) as u8;
    let mut clients = JoinSet::new();
    for id in 0..count {
        clients.spawn(async move {
            time::sleep(milliseconds(10)).await; // time is tested
            let stream = TcpStream::connect(address).await?;
            stream.write_all(&[id]).await?;
            let mut back = [0];
            stream.read_exact(&mut back).await?;
            if back == [id] { Ok(()) } else { Err(io::Error::other("an answer to another one")) }
        });
    }
    while let Some(result) = clients.join_next().await {
        result.map_err(io::Error::other)??;
    }
    listener.close().await?;
    for acceptor in acceptors {
        acceptor.await.map_err(io::Error::other)??;
    }
    let seen = seen.lock().expect("no acceptor has panicked").len();
    if seen == usize::from(count) { Ok(()) } else { Err(io::Error::other("a connection is missing")) }
}

async fn acceptor(listener: Arc<TcpListener>, seen: Arc<Mutex<BTreeSet<u8>>>) -> io::Result<()> {
    let drops = draw(2) == 0;
    loop {
        let accepted = match drops {
            true => match time::timeout(milliseconds(3), listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => continue,
            },
            false => listener.accept().await,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if netpoll_rt::is_closed(&error) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            Err(error) => return Err(error),
        };
        let mut id = [0];
        stream.read_exact(&mut id).await?;
        if !seen.lock().expect("no acceptor has panicked").insert(id[0]) {
            return Err(io::Error::other("a connection was accepted twice"));
        }
        stream.write_all(&id).await?;
    }
}

/// The largest delay of a timer, as that of the other sessions.
const LATE: Duration = Duration::from_secs(2);

/// Sleeps, resets and drops sleeps: each ends on time.
pub async fn timers() -> io::Result<()> {
    let mut sleeps = JoinSet::new();
    for _ in 0..1 + draw(6) {
        sleeps.spawn(async {
            let start = Instant::now();
            let mut time = milliseconds(40);
            let mut sleep = Box::pin(time::sleep(time)); // time is tested
            for _ in 0..draw(3) {
                let ended = time::timeout(milliseconds(10), sleep.as_mut()).await.is_ok();
                if ended {
                    break;
                }
                time = start.elapsed() + milliseconds(40);
                sleep.as_mut().reset(start + time);
            }
            if draw(4) == 0 {
                return Ok(());
            }
            if !sleep.is_elapsed() {
                sleep.await;
            }
            let taken = start.elapsed();
            match taken >= time && taken < time + LATE {
                true => Ok(()),
                false => Err(io::Error::other(format!("a sleep of {time:?} took {taken:?}"))),
            }
        });
    }
    while let Some(result) = sleeps.join_next().await {
        result.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Drops a runtime in which a listener of another runtime's task is registered: the accept ends with an error that says so.
pub async fn runtime_dropped() -> io::Result<()> {
    let runtime = Runtime::builder().workers(1).build()?;
    let bound = {
        let _entered = runtime.enter();
        let bind = pin!(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))));
        bind.poll(&mut Context::from_waker(Waker::noop()))
    };
    let Poll::Ready(listener) = bound else { return Err(io::Error::other("a bind had to wait")) };
    let listener = listener?;
    let accepting = spawn(async move { listener.accept().await.map(drop) });
    time::sleep(milliseconds(5)).await; // time is tested
    drop(runtime);
    match accepting.await.map_err(io::Error::other)? {
        Err(error) if netpoll_rt::runtime_ended(&error) => Ok(()),
        other => Err(io::Error::other(format!("an accept without its runtime ended with {other:?}"))),
    }
}
