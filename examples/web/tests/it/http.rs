//! Shutdown and the limit of connections, seen by a client that speaks plain text.

use std::time::Duration;

use netpoll_rt::net::TcpStream;
use netpoll_rt::time::timeout;
use netpoll_web::server::Limits;

use crate::{Site, each};

/// Sends a request for a page, which the server may keep the connection after.
async fn ask(stream: &TcpStream, path: &str) -> std::io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await
}

/// Reads until the answer ends with `end`.
async fn answer(stream: &TcpStream, end: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sends half of a body, and returns once half of the answer is there, so that the handler has begun.
async fn begin(stream: &TcpStream) -> std::io::Result<()> {
    let head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    stream.write_all(&[head, &b"12345"[..]].concat()).await?;
    answer(stream, "\r\n\r\n12345").await?;
    Ok(())
}

#[test]
fn shutdown_lets_a_request_finish_and_refuses_new_clients() {
    each(async || {
        let site = Site::start(false, Limits::default()).await?;
        let (busy, idle) = (TcpStream::connect(site.address).await?, TcpStream::connect(site.address).await?);
        ask(&idle, "/").await?;
        answer(&idle, "Hello, world!").await?;
        begin(&busy).await?;
        let address = site.address;
        let stop = netpoll_rt::spawn(site.stop());
        assert_eq!(idle.read(&mut [0]).await?, 0);
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        busy.write_all(b"67890").await?;
        assert_eq!(answer(&busy, "67890").await?, "67890");
        assert_eq!(busy.read(&mut [0]).await?, 0);
        assert!(stop.await??);
        Ok(())
    });
}

#[test]
fn shutdown_tells_that_a_request_has_not_finished() {
    each(async || {
        let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
        let site = Site::start(false, limits).await?;
        let busy = TcpStream::connect(site.address).await?;
        begin(&busy).await?;
        assert!(!site.stop().await?);
        Ok(())
    });
}

#[test]
fn connection_beyond_the_limit_waits_for_the_end_of_another() {
    each(async || {
        let site = Site::start(false, Limits { connections: 1, ..Limits::default() }).await?;
        let first = TcpStream::connect(site.address).await?;
        ask(&first, "/").await?;
        answer(&first, "Hello, world!").await?;
        // The kernel accepts it, the server does not yet.
        let second = TcpStream::connect(site.address).await?;
        ask(&second, "/").await?;
        assert!(timeout(Duration::from_millis(100), second.readable()).await.is_err());
        drop(first);
        answer(&second, "Hello, world!").await?;
        Ok(())
    });
}
