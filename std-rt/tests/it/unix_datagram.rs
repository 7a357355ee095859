//! Messages without a connection.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::*;
use crate::unix_support::*;
use netpoll_rt::net::UnixDatagram;
use netpoll_rt::{Handle, JoinHandle, is_closed, spawn};

fn bound() -> (Arc<UnixDatagram>, SocketAddr) {
    let name = own_name();
    (Arc::new(UnixDatagram::bind_addr(&name).unwrap()), name)
}

async fn receive(socket: &UnixDatagram) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

fn receiving(socket: &Arc<UnixDatagram>) -> JoinHandle<io::Result<Vec<u8>>> {
    let socket = socket.clone();
    spawn(async move { receive(&socket).await })
}

/// Fills the queue of a socket from another socket of std, which is not watched by any runtime.
fn fill(name: &SocketAddr) -> StdDatagram {
    let other = StdDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while uninterrupted(|| other.send_to_addr(b"filler", name)).is_ok() {}
    other
}

#[test]
fn there_and_back_over_paths_and_abstract_names() {
    each(async || {
        let scratch = Scratch::new();
        let (here, there) = (scratch.path("here"), scratch.path("there"));
        let one = UnixDatagram::bind(&here).unwrap();
        let other = UnixDatagram::bind(&there).unwrap();
        one.send_to(b"question", &there).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(other.peek_from(&mut buffer).await.unwrap().0, 8);
        let (n, from) = other.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..n], from.as_pathname()), (&b"question"[..], Some(&*here)));
        other.send_to_addr(b"answer", &from).await.unwrap();
        let (n, from) = one.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..n], from.as_pathname()), (&b"answer"[..], Some(&*there)));

        one.connect(&there).unwrap();
        assert_eq!(one.peer_addr().unwrap().as_pathname(), Some(&*there));
        one.send(b"connected").await.unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"connected");

        let (socket, name) = bound();
        let nameless = UnixDatagram::unbound().unwrap();
        nameless.try_send_to_addr(b"who", &name).unwrap();
        socket.readable().await.unwrap();
        let (n, from) = socket.try_recv_from(&mut buffer).unwrap();
        assert!(n == 3 && from.is_unnamed(), "{from:?}");
        assert_eq!(socket.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

// Case D07.
#[test]
fn an_empty_datagram_and_an_empty_buffer() {
    each(async || {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (one, other) = (Arc::new(one), Arc::new(other));
        let waiting = receiving(&other);
        parked(1).await;
        assert_eq!(one.send(b"").await.unwrap(), 0);
        assert_eq!(waiting.await.unwrap().unwrap(), b"");
        one.send(b"").await.unwrap();
        one.send(b"next").await.unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"");
        assert_eq!(receive(&other).await.unwrap(), b"next");
        one.send(b"no room for it").await.unwrap();
        one.send(b"behind").await.unwrap();
        assert_eq!(other.recv(&mut []).await.unwrap(), 0, "the message is lost");
        assert_eq!(receive(&other).await.unwrap(), b"behind");
    });
}

#[test]
fn several_receive_each_message_once() {
    each(async || {
        let (socket, name) = bound();
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let socket = socket.clone();
                spawn(async move {
                    let mut got = Vec::new();
                    loop {
                        match receive(&socket).await.unwrap()[..] {
                            [0] => return got,
                            [number] => got.push(number),
                            ref torn => panic!("{torn:?}"),
                        }
                    }
                })
            })
            .collect();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&name).unwrap();
        for number in 1..=200 {
            sender.send(&[number]).await.unwrap();
        }
        for _ in &receivers {
            sender.send(&[0]).await.unwrap();
        }
        let mut got = Vec::new();
        for receiver in receivers {
            got.extend(receiver.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, (1..=200).collect::<Vec<u8>>());
    });
}

#[test]
fn a_full_queue_wakes_the_connected_sender() {
    each(async || {
        let (socket, name) = bound();
        let sender = Arc::new(UnixDatagram::unbound().unwrap());
        sender.connect_addr(&name).unwrap();
        let _other = fill(&name);
        assert_eq!(sender.try_send(b"late").unwrap_err().kind(), ErrorKind::WouldBlock);
        let sending = spawn({
            let sender = sender.clone();
            async move { sender.send(b"late").await }
        });
        parked(1).await;
        assert_eq!(Handle::try_current().unwrap().metrics().timers, 0, "an edge will come");
        while receive(&socket).await.unwrap() != b"late" {}
        assert_eq!(sending.await.unwrap().unwrap(), 4);
    });
}

/// Returns once `n` timers are armed, for which sends to a full queue on an unconnected socket wait.
async fn pausing(n: usize) {
    let handle = Handle::try_current().unwrap();
    until(&format!("{n} senders pause"), || handle.metrics().timers == n).await;
}

#[test]
fn a_full_queue_of_an_unconnected_sender_is_polled_by_timers() {
    each(async || {
        let (socket, name) = bound();
        let sender = Arc::new(UnixDatagram::unbound().unwrap());
        // All of it is of others, so that no room in the sender's own buffer is told of.
        let _other = fill(&name);
        let sending: Vec<_> = (0..3)
            .map(|_| {
                let (sender, name) = (sender.clone(), name.clone());
                spawn(async move { sender.send_to_addr(b"late", &name).await })
            })
            .collect();
        pausing(3).await;
        parked(0).await;
        let mut late = 0;
        while late < 3 {
            late += usize::from(receive(&socket).await.unwrap() == b"late");
        }
        for sent in sending {
            assert_eq!(sent.await.unwrap().unwrap(), 4);
        }
    });
}

#[test]
fn a_full_queue_is_not_asked_all_the_time() {
    each(async || {
        let (_socket, name) = bound();
        let _other = fill(&name);
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_write_deadline(in_ms(100)).unwrap(); // time is tested
        let before = Handle::try_current().unwrap().metrics().events;
        assert_timed_out(sender.send_to_addr(b"late", &name).await);
        // Each attempt brings an edge, and there are seven pauses up to 10 ms and then ten of 10 ms.
        let events = Handle::try_current().unwrap().metrics().events - before;
        assert!(events <= 100, "{events} events in 100 ms");
    });
}

#[test]
fn a_sender_that_waits_for_one_does_not_hold_up_others() {
    each(async || {
        let ((_full, full_name), (free, free_name)) = (bound(), bound());
        let _other = fill(&full_name);
        let sender = Arc::new(UnixDatagram::unbound().unwrap());
        let waiting = spawn({
            let sender = sender.clone();
            async move { sender.send_to_addr(b"late", &full_name).await }
        });
        pausing(1).await;
        sender.send_to_addr(b"at once", &free_name).await.unwrap();
        assert_eq!(receive(&free).await.unwrap(), b"at once");
        // One that must wait is woken by its edge, though another waits for room that has none.
        sender.connect_addr(&free_name).unwrap();
        let _another = fill(&free_name);
        let connected = spawn({
            let sender = sender.clone();
            async move { sender.send(b"connected").await }
        });
        parked(1).await;
        while receive(&free).await.unwrap() != b"connected" {}
        connected.await.unwrap().unwrap();
        sender.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
    });
}

// Cases B10, B11.
#[test]
fn deadlines() {
    each(async || {
        let (socket, name) = bound();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to_addr(b"ready", &name).await.unwrap();
        socket.set_read_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_timed_out(receive(&socket).await);
            assert_timed_out(socket.try_recv_from(&mut [0; 8]));
        }
        socket.set_read_deadline(None).unwrap();
        assert_eq!(receive(&socket).await.unwrap(), b"ready");
        socket.set_deadline(in_ms(10)).unwrap();
        assert_timed_out(receive(&socket).await);
        assert_timed_out(socket.readable().await);

        sender.set_write_deadline(past()).unwrap();
        assert_timed_out(sender.send_to_addr(b"late", &name).await);
        sender.set_write_deadline(None).unwrap();
        let _other = fill(&name);
        sender.set_write_deadline(in_ms(50)).unwrap();
        let error = sender.send_to_addr(b"late", &name).await.unwrap_err();
        assert!(error.to_string().contains("@netpoll-unix-"), "{error}");
        assert_timed_out(Err::<(), _>(error));
        sender.set_write_deadline(None).unwrap();
        socket.set_deadline(None).unwrap();
        while receive(&socket).await.is_ok_and(|message| message == b"filler") {
            if socket.try_recv(&mut [0; 8]).is_err() {
                break;
            }
        }
        sender.send_to_addr(b"again", &name).await.unwrap();
    });
}

// Case C03.
#[test]
fn close() {
    each(async || {
        let (socket, name) = bound();
        let waiting = receiving(&socket);
        parked(1).await;
        socket.close().await.unwrap();
        assert_closed(waiting.await.unwrap());
        assert_closed(socket.close().await);
        assert_closed(receive(&socket).await);
        assert_closed(socket.recv_from(&mut [0; 8]).await);
        assert_closed(socket.send_to_addr(b"x", &name).await);
        assert_closed(socket.send(b"x").await);
        assert_closed(socket.connect_addr(&name));
        assert_closed(socket.set_deadline(None));
        assert_closed(socket.shutdown(Shutdown::Both));
        assert_closed(socket.dup());
    });
}

// Case D01.
#[test]
fn after_shutdown_of_reading_a_receive_does_not_park() {
    each(async || {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (one, other) = (Arc::new(one), Arc::new(other));
        let waiting = receiving(&one);
        parked(1).await;
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), b"");
        assert_eq!(one.try_recv(&mut [0; 8]).unwrap(), 0);
        assert_eq!(receive(&one).await.unwrap(), b"");
        let (n, from) = one.recv_from(&mut [0; 8]).await.unwrap();
        assert!(n == 0 && from.is_unnamed());
        assert_eq!(one.recv_fds(&mut [0; 8], 1).await.unwrap().0, 0);
        assert_eq!(other.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        one.send(b"the other half").await.unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"the other half");
        other.shutdown(Shutdown::Write).unwrap();
        assert_eq!(other.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

// Case E11.
#[test]
fn errors_name_the_other_side() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("nobody");
        let socket = UnixDatagram::unbound().unwrap();
        let told = |result: io::Result<usize>, kind| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("nobody"), "{error}");
        };
        told(socket.send_to(b"x", &path).await, ErrorKind::NotFound);
        told(socket.connect(&path).map(|()| 0), ErrorKind::NotFound);
        let (peer, _) = (UnixDatagram::bind(&path).unwrap(), ());
        socket.connect(&path).unwrap();
        drop(peer);
        told(socket.send_to(b"x", &path).await, ErrorKind::ConnectionRefused);
        let error = socket.send(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        let error = UnixDatagram::unbound().unwrap().send(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    });
}

#[test]
fn to_and_from_std_and_a_second_handle() {
    each(async || {
        let (std, peer) = StdDatagram::pair().unwrap();
        let socket = Arc::new(UnixDatagram::from_std(std).unwrap());
        let twin = Arc::new(socket.dup().unwrap());
        let waiting = receiving(&twin);
        parked(1).await;
        uninterrupted(|| peer.send(b"bytes")).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), b"bytes");
        drop(twin);
        let std = Arc::into_inner(socket).unwrap().into_std().unwrap();
        let nothing = uninterrupted(|| std.recv(&mut [0; 4])).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    });
}

// Case C13.
#[test]
fn dropped_futures_leave_nothing() {
    each(async || {
        let (socket, name) = bound();
        let probe = Probe::new();
        let mut buffer = [0; 8];
        let mut receive_one = Box::pin(socket.recv_from(&mut buffer));
        assert!(probe.poll(receive_one.as_mut()).is_pending());
        drop(receive_one);
        let _other = fill(&name);
        let sender = UnixDatagram::unbound().unwrap();
        let mut send = Box::pin(sender.send_to_addr(b"never", &name));
        assert!(probe.poll(send.as_mut()).is_pending());
        drop(send);
        let metrics = Handle::try_current().unwrap().metrics();
        assert_eq!((metrics.waiters, metrics.timers), (0, 0));
        let mut buffer = [0; 64];
        while let Ok(n) = socket.try_recv(&mut buffer) {
            assert_eq!(&buffer[..n], b"filler");
        }
    });
}

#[test]
fn polls_send_and_receive_and_hold_nothing() {
    each(async || {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (mut buffer, probe) = ([0; 64], Probe::new());
        let waker = Waker::from(probe.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(other.poll_recv(&mut cx, &mut buffer).is_pending());
        assert!(matches!(one.poll_send(&mut cx, b"one"), Poll::Ready(Ok(3))));
        probe.woken(1).await;
        assert!(matches!(other.poll_recv(&mut cx, &mut buffer), Poll::Ready(Ok(3))));
        assert!(other.poll_recv_from(&mut cx, &mut buffer).is_pending());
        one.send(b"two").await.unwrap();
        probe.woken(2).await;
        let Poll::Ready(Ok((3, from))) = other.poll_recv_from(&mut cx, &mut buffer) else {
            panic!("the message is there")
        };
        assert!(from.is_unnamed());
        other.close().await.unwrap();
        assert!(
            matches!(other.poll_recv(&mut cx, &mut buffer), Poll::Ready(Err(error)) if is_closed(&error))
        );
    });
}

#[test]
fn a_poll_to_a_full_socket_tries_again() {
    each(async || {
        let (socket, name) = bound();
        let filler = fill(&name);
        let sender = UnixDatagram::unbound().unwrap();
        let probe = Probe::new();
        let waker = Waker::from(probe.clone());
        assert!(sender.poll_send_to(&mut Context::from_waker(&waker), b"more", &name).is_pending());
        probe.woken(1).await;
        let sent = spawn(async move { poll_fn(|cx| sender.poll_send_to(cx, b"more", &name)).await });
        while receive(&socket).await.unwrap() != b"more" {}
        assert_eq!(sent.await.unwrap().unwrap(), 4);
        drop(filler);
    });
}
