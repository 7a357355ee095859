//! Clients that make no progress are cut off, and others are served meanwhile.

use std::time::{Duration, Instant};

use netpoll_rt::net::TcpStream;
use netpoll_web::BoxError;
use netpoll_web::server::Limits;

use crate::{Site, each};

const TICK: Duration = Duration::from_millis(100);

/// Limits that are all different, so that a test sees which one has ended the connection. One connection at a time: another
/// one is served only after the end of the first.
const LIMITS: Limits = Limits {
    connections: 1,
    head: TICK.saturating_mul(2),
    handler: TICK.saturating_mul(4),
    idle: TICK.saturating_mul(8),
    grace: TICK,
};

/// Sends `text` over a connection, asserts that the server ends it after `limit` and not before, and returns what it sent.
async fn cut_off(tls: bool, text: &str, limit: Duration) -> Result<String, BoxError> {
    let site = Site::start(tls, LIMITS).await?;
    let stream = TcpStream::connect(site.address).await?;
    let begin = Instant::now();
    stream.write_all(text.as_bytes()).await?;
    let mut got = Vec::new();
    while stream.read_buf(&mut got).await? > 0 {}
    assert!(begin.elapsed() >= limit, "{:?}", begin.elapsed());
    Ok(String::from_utf8_lossy(&got).into_owned())
}

#[test]
fn head_in_pieces_is_cut_off() {
    each(async || {
        cut_off(false, "GET / HTTP/1.1\r\nHost: loc", LIMITS.head).await?;
        Ok(())
    });
}

#[test]
fn handshake_in_pieces_is_cut_off() {
    each(async || {
        assert_eq!(cut_off(true, "\x16\x03\x01", LIMITS.head).await?, "");
        Ok(())
    });
}

#[test]
fn body_in_pieces_gets_the_status_408() {
    each(async || {
        let text = "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345";
        assert!(cut_off(false, text, LIMITS.handler).await?.starts_with("HTTP/1.1 408"));
        Ok(())
    });
}

#[test]
fn connection_that_sends_nothing_is_cut_off() {
    each(async || {
        assert_eq!(cut_off(false, "", LIMITS.idle).await?, "");
        Ok(())
    });
}

#[test]
fn connection_without_a_next_request_is_cut_off() {
    each(async || {
        let text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert!(cut_off(false, text, LIMITS.head).await?.ends_with("Hello, world!"));
        Ok(())
    });
}

#[test]
fn response_that_is_not_read_is_cut_off() {
    each(async || {
        let site = Site::start(false, LIMITS).await?;
        let stalled = TcpStream::connect(site.address).await?;
        stalled.write_all(b"GET /bytes/60000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        stalled.readable().await?;
        // There is one slot, so this one is served once the first has been cut off.
        let next = TcpStream::connect(site.address).await?;
        next.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut got = Vec::new();
        while next.read_buf(&mut got).await? > 0 {}
        assert!(got.ends_with(b"Hello, world!"));
        Ok(())
    });
}
