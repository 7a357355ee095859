//! Tests of sockets.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UnixDatagram, UnixListener, UnixStream};

use crate::poll_once;

/// Runs a test on one thread, and with four workers.
fn run(test: impl AsyncFn()) {
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        builder.worker_threads(4).enable_all().build().unwrap().block_on(test());
    }
}

/// Returns a connection to a peer of std.
async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, peer)
}

#[test]
fn options_are_the_kernels_defaults() {
    run(async || {
        let (stream, _peer) = pair().await;
        assert!(!stream.nodelay().unwrap());
        assert!(!socket2::SockRef::from(&stream).keepalive().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(socket2::SockRef::from(&listener).reuse_address().unwrap());
    });
}

#[test]
fn errors_have_the_kernels_number() {
    run(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let refused = TcpStream::connect(closed).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));

        let (mut stream, peer) = pair().await;
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        assert_eq!(stream.write(&[0]).await.unwrap_err().raw_os_error(), Some(libc::EPIPE));

        let missing = UnixStream::connect("/nowhere/at/all").await.unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    });
}

#[test]
fn the_file_of_a_path_stays() {
    run(async || {
        let path = std::env::temp_dir().join(format!("netpoll-facade-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let taken = UnixDatagram::bind(&path).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_socket_of_std_stays_non_blocking() {
    run(async || {
        let (stream, mut peer) = pair().await;
        let mut stream = stream.into_std().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut stream = TcpStream::from_std(stream).unwrap();
        peer.write_all(b"again").unwrap();
        let mut buffer = Vec::with_capacity(64);
        assert_eq!(stream.read_buf(&mut buffer).await.unwrap(), 5);
    });
}

#[test]
fn halves_of_one_task_wait_beside_each_other() {
    run(async || {
        let (stream, mut peer) = pair().await;
        let (reader, writer) = stream.into_split();
        let fill = || while writer.try_write(&[0; 1 << 16]).is_ok() {};
        fill();
        assert_eq!(reader.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        {
            let (mut readable, mut writable) = (pin!(reader.readable()), Box::pin(writer.writable()));
            assert!(poll_once(readable.as_mut()).is_pending());
            // The kernel moves bytes to the peer's side in the background, and reports the space.
            while poll_once(writable.as_mut()).is_ready() {
                fill();
                writable = Box::pin(writer.writable());
            }
            peer.write_all(b"a").unwrap();
            readable.await.unwrap();
        }
        let drained = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while peer.read(&mut buffer).unwrap() > 0 {}
        });
        writer.writable().await.unwrap();
        assert_eq!(reader.reunite(writer).unwrap().try_read(&mut [0; 8]).unwrap(), 1);
        drained.join().unwrap();
    });
}

#[test]
fn a_future_that_is_dropped_leaves_another_of_its_task_waiting() {
    run(async || {
        let (stream, mut peer) = pair().await;
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut kept = Box::pin(stream.ready(Interest::READABLE));
        let mut dropped = Box::pin(stream.ready(Interest::READABLE));
        poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            assert!(kept.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(dropped);
        peer.write_all(b"a").unwrap();
        assert!(kept.await.unwrap().is_readable());
    });
}

#[test]
fn an_ended_runtime_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut stream, _peer) = runtime.block_on(pair());
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = other.block_on(stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.to_string(), "A Tokio 1.x context was found, but it is being shutdown.");
    assert!(tokio::runtime::is_rt_shutdown_err(&error));
}

#[test]
#[should_panic(
    expected = "there is no reactor running, must be called from the context of a Tokio 1.x runtime"
)]
fn a_socket_outside_of_a_runtime_panics() {
    let _ = UnixDatagram::unbound();
}
