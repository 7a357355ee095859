//! A server that shuts down gracefully. After SIGTERM or Ctrl-C it accepts no more connections, closes those without a
//! request, gives the others some time to be answered, cuts off the rest, and exits with 0.
//!
//! `cargo run -p netpoll-examples --bin graceful -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`: a number is answered after as
//! many milliseconds. Without an address the program is its own client.

use std::{convert::Infallible, io, net::SocketAddr, process::Command, time::Duration, time::Instant};

use async_channel::{Receiver, bounded};
use futures_lite::{StreamExt, future::or, future::try_zip, io::AsyncBufReadExt, io::BufReader};
use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::{signal, spawn, time::sleep};

/// Answers requests until the client ends or `stopped` is closed.
async fn answer(stream: &TcpStream, stopped: &Receiver<Infallible>) -> io::Result<()> {
    let mut requests = BufReader::new(stream).lines();
    while let Some(request) = or(requests.next(), async { stopped.recv().await.err().and(None) }).await {
        let work = request?.trim().parse().map_err(io::Error::other)?;
        stream.write_all(b"begun ").await?;
        sleep(Duration::from_millis(work)).await;
        stream.write_all(b"done\n").await?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, drain: Duration) -> io::Result<()> {
    // Both are only closed: the first stops the connections, the second is closed with the last of them.
    let ((stop, stopped), (serving, served)) = (bounded::<Infallible>(1), bounded::<Infallible>(1));
    let accept = async {
        let mut incoming = listener.incoming();
        loop {
            let (stream, peer) = incoming.next().await?;
            let (stopped, serving) = (stopped.clone(), serving.clone());
            spawn(async move {
                let cut = async {
                    let _ = stopped.recv().await;
                    sleep(drain).await;
                    Err(io::ErrorKind::TimedOut.into())
                };
                println!("{peer}: {:?}", or(answer(&stream, &stopped), cut).await);
                drop(serving);
            });
        }
    };
    or(accept, or(signal::terminate(), signal::ctrl_c())).await?;
    drop((listener, stop, serving));
    let _ = served.recv().await;
    Ok(())
}

async fn visit(address: SocketAddr, drain: Duration) -> io::Result<()> {
    let ask = async |work: &[u8]| {
        let stream = TcpStream::connect(address).await?;
        stream.write_all(work).await?;
        stream.read_exact(&mut [0; "begun ".len()]).await.map(|()| stream)
    };
    let idle = TcpStream::connect(address).await?;
    let (short, long) = (ask(b"100\n").await?, ask(b"3600000\n").await?);
    assert!(Command::new("sh").args(["-c", "kill -TERM $PPID"]).status()?.success());
    let (signalled, mut answer) = (Instant::now(), [0; 5]);
    assert_eq!(idle.read(&mut answer).await?, 0, "an idle connection is ended");
    short.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"done\n");
    assert!(TcpStream::connect(address).await.is_err(), "no connection is accepted any more");
    assert_eq!(long.read(&mut answer).await?, 0, "a straggler is cut off");
    assert!(signalled.elapsed() >= drain);
    Ok(())
}

fn main() -> io::Result<()> {
    netpoll_rt::block_on(async {
        let address = std::env::args().nth(1);
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let local = listener.local_addr()?;
        let drain = Duration::from_millis(if address.is_some() { 10_000 } else { 300 });
        let visit = async { if address.is_some() { Ok(()) } else { visit(local, drain).await } };
        try_zip(serve(listener, drain), visit).await.map(|_| ())
    })
}
