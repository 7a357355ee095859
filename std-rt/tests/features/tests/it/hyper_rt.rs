//! hyper on the types of netpoll-rt without a wrapper: both versions of HTTP, as a server and as a client.

use std::convert::Infallible;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, ReadBuf, Timer, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use netpoll_rt::net::{TcpStream, UnixStream};
use netpoll_rt::{Handle, JoinHandle, spawn};
use test_support::*;

/// The path of an answer of 13 bytes.
pub const SMALL: &str = "/small";

/// The body of any other answer.
fn body() -> Bytes {
    Bytes::from(vec![b'x'; 100 * 1024])
}

/// Sends the body of a request back, and another one if it has none.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let small = request.uri().path() == SMALL;
    let received = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(match received.is_empty() {
        true if small => Bytes::from_static(b"thirteen byte"),
        true => body(),
        false => received,
    })))
}

/// Serves a connection of either version of HTTP.
pub fn serve<S>(stream: S) -> JoinHandle<()>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let handle = Handle::try_current().unwrap();
    let mut http = hyper_util::server::conn::auto::Builder::new(handle.clone());
    http.http1().timer(handle.clone());
    http.http2().timer(handle);
    spawn(async move { http.serve_connection(stream, service_fn(answer)).await.unwrap() })
}

/// Returns a request with a body, or without one.
pub fn request(body: &[u8]) -> Request<Full<Bytes>> {
    request_for("/", body)
}

/// Returns a request for a path.
pub fn request_for(path: &str, body: &[u8]) -> Request<Full<Bytes>> {
    let request = Request::builder().uri(format!("http://here{path}")).header("host", "here");
    request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
}

/// Reads a response to its end.
pub async fn received(response: Response<Incoming>) -> Bytes {
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn http1<S: Read + Write + Unpin + Send + 'static>(stream: S) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    let connection = spawn(connection);
    for sent in [&b""[..], b"echo", &[7; 300_000]] {
        sender.ready().await.unwrap();
        let got = received(sender.send_request(request(sent)).await.unwrap()).await;
        assert_eq!(got, if sent.is_empty() { body() } else { Bytes::copy_from_slice(sent) });
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

async fn http2<S: Read + Write + Unpin + Send + 'static>(stream: S) {
    let handle = Handle::try_current().unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(handle, stream).await.unwrap();
    let connection = spawn(connection);
    let requests: Vec<_> = (0..10).map(|_| sender.send_request(request(b""))).collect();
    for response in requests {
        assert_eq!(received(response.await.unwrap()).await, body());
    }
    assert_eq!(received(sender.send_request(request(&[7; 300_000])).await.unwrap()).await.len(), 300_000);
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[test]
fn both_versions_over_tcp_and_unix_streams() {
    each(async || {
        for version in [1, 2] {
            let (one, other) = pair().await;
            let server = serve(Arc::into_inner(one).unwrap());
            let client = Arc::into_inner(other).unwrap();
            if version == 1 {
                http1(client).await
            } else {
                http2(client).await
            }
            server.await.unwrap();
            let (one, other) = UnixStream::pair().unwrap();
            let server = serve(one);
            if version == 1 {
                http1(other).await
            } else {
                http2(other).await
            }
            server.await.unwrap();
        }
    });
}

/// Parks until a client has gone, and answers nothing.
#[test]
fn a_client_that_resets_makes_no_error_of_the_shutdown() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let server = {
            let stream = Arc::into_inner(stream).unwrap();
            let handle = Handle::try_current().unwrap();
            let service = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            });
            spawn(hyper::server::conn::http1::Builder::new().timer(handle).serve_connection(stream, service))
        };
        std::io::Write::write_all(&mut peer, b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            .unwrap();
        // Closed with the answer unread, or before it: the kernel resets the connection either way.
        drop(peer);
        let ended = server.await.unwrap();
        if let Err(error) = ended {
            assert!(!error.to_string().contains("shutting down"), "{error}");
        }
    });
}

#[test]
fn a_read_initializes_only_the_bytes_that_came() {
    each(async || {
        let (one, other) = pair().await;
        other.write_all(b"five!").await.unwrap();
        let mut memory = [MaybeUninit::new(0xAA_u8); 4096];
        let mut stream: &TcpStream = &one;
        let mut buffer = ReadBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buffer.unfilled())).await.unwrap();
        assert_eq!(buffer.filled(), b"five!");
        assert!(stream.is_write_vectored());
    });
}

#[test]
fn the_header_timeout_ends_a_connection() {
    each(async || {
        let (stream, mut peer) = pair_with_std().await;
        let stream = Arc::into_inner(stream).unwrap();
        let handle = Handle::try_current().unwrap();
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(handle).header_read_timeout(Duration::from_millis(20));
        let served = spawn(http.serve_connection(stream, service_fn(answer)));
        std::io::Write::write_all(&mut peer, b"GET / HTTP/1.1\r\nhost: he").unwrap();
        assert!(served.await.unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn a_sleep_is_moved_in_its_place() {
    each(async || {
        let handle = Handle::try_current().unwrap();
        let mut sleep = Timer::sleep(&handle, Duration::from_secs(3600)); // time is tested
        let place = std::ptr::from_ref(&*sleep).cast::<()>();
        let at = Instant::now() + Duration::from_millis(5);
        handle.reset(&mut sleep, at);
        assert_eq!(std::ptr::from_ref(&*sleep).cast::<()>(), place);
        sleep.await;
        assert!(Instant::now() >= at);
        handle.sleep_until(at).await;
    });
}

#[test]
fn an_executor_runs_what_it_is_given() {
    each(async || {
        let gate = Gate::new();
        let opened = gate.clone();
        Handle::try_current().unwrap().execute(async move { opened.open() });
        gate.wait().await;
    });
}
