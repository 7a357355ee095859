//! Listening at a name and connecting to one: the removal of the file, full queues, and the texts of errors.

use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::unix_support::*;
use netpoll_rt::net::unix::abstract_address;
use netpoll_rt::net::{UnixDatagram, UnixListener, UnixSeqpacketListener, UnixStream};
use netpoll_rt::{Handle, OpError, spawn};

/// Asserts that the text of the error has all of these in it.
#[track_caller]
fn assert_says<T: std::fmt::Debug>(result: io::Result<T>, kind: ErrorKind, words: &[&str]) -> io::Error {
    let error = result.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in: {text}");
    error
}

#[test]
fn a_name_that_is_taken_says_which_and_what_to_do() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("taken");
        let shown = path.display().to_string();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody removes the file");
        let in_use =
            assert_says(UnixListener::bind(&path), ErrorKind::AddrInUse, &["bind", &shown, "unlink"]);
        let op = in_use.get_ref().unwrap().downcast_ref::<OpError>().unwrap();
        assert!(op.raw_os_error().is_some());
        assert_eq!(op.local().unwrap().unix().unwrap().as_pathname(), Some(&*path));
        assert_says(UnixSeqpacketListener::bind(&path), ErrorKind::AddrInUse, &[&shown]);
        assert_says(UnixDatagram::bind(&path), ErrorKind::AddrInUse, &[&shown]);
        std::fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap();

        let name = own_name();
        let listener = UnixListener::bind_addr(&name).unwrap();
        assert_says(UnixListener::bind_addr(&name), ErrorKind::AddrInUse, &["@netpoll-unix-"]);
        listener.close().await.unwrap();
        UnixListener::bind_addr(&name).expect("an abstract name is gone with its socket");
    });
}

#[test]
fn names_that_cannot_be() {
    each(async || {
        let scratch = Scratch::new();
        let long = scratch.path(&"x".repeat(108));
        assert_says(UnixListener::bind(&long), ErrorKind::InvalidInput, &["bind", "xxx", "bytes"]);
        assert_says(UnixStream::connect(&long).await, ErrorKind::InvalidInput, &["connect", "xxx"]);
        assert_says(UnixDatagram::bind(&long), ErrorKind::InvalidInput, &["xxx"]);
        assert_says(UnixListener::bind("a\0b"), ErrorKind::InvalidInput, &["bind"]);
        assert_says(UnixListener::bind(""), ErrorKind::InvalidInput, &["bind"]);
        assert_says(abstract_address([7; 108]), ErrorKind::InvalidInput, &[]);
        let nowhere = scratch.path("no-folder/socket");
        assert_says(UnixListener::bind(&nowhere), ErrorKind::NotFound, &["no-folder"]);
    });
}

#[test]
fn the_longest_names() {
    each(async || {
        let scratch = Scratch::new();
        let room = 107 - scratch.path("").as_os_str().len();
        let path = scratch.path(&"x".repeat(room));
        assert_eq!(path.as_os_str().len(), 107);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        let (client, _server) = through(&listener).await;
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        let binary: Vec<u8> = (149..=255).collect();
        let name = abstract_address(&binary).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        assert_eq!(format!("{:?}", listener.local_addr().unwrap()), format!("{name:?}"));
    });
}

// Case E09.
#[test]
fn connect_without_a_listener_fails() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let shown = path.display().to_string();
        assert_says(UnixStream::connect(&path).await, ErrorKind::NotFound, &["connect", &shown]);
        drop(UnixListener::bind(&path).unwrap());
        assert_says(UnixStream::connect(&path).await, ErrorKind::ConnectionRefused, &["connect", &shown]);
        let refused = UnixStream::connect_addr(&own_name()).await;
        assert_says(refused, ErrorKind::ConnectionRefused, &["@netpoll-unix-"]);
        let other_kind = scratch.path("messages");
        let _listener = UnixSeqpacketListener::bind(&other_kind).unwrap();
        let error = UnixStream::connect(&other_kind).await.unwrap_err();
        assert!(error.to_string().contains("messages"), "{error}");
    });
}

#[test]
fn the_file_goes_with_its_socket_if_that_is_asked_for() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("mine");
        drop(UnixListener::bind(&path).unwrap().unlink_on_drop(true));
        assert!(!path.exists());
        drop(UnixSeqpacketListener::bind(&path).unwrap().unlink_on_drop(true));
        assert!(!path.exists());
        drop(UnixDatagram::bind(&path).unwrap().unlink_on_drop(true));
        assert!(!path.exists());

        drop(UnixListener::bind(&path).unwrap().unlink_on_drop(true).unlink_on_drop(false));
        std::fs::remove_file(&path).expect("asked back");

        let listener = UnixListener::bind(&path).unwrap().unlink_on_drop(true);
        drop(listener.dup().unwrap());
        assert!(path.exists(), "a duplicate has no say");
        let std = listener.into_std().unwrap();
        assert!(path.exists(), "given away with its socket");
        drop(UnixListener::from_std(std).unwrap().unlink_on_drop(true));
        assert!(!path.exists());
        drop(UnixListener::bind_addr(&own_name()).unwrap().unlink_on_drop(true));
    });
}

#[test]
fn a_foreign_file_stays() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("mine");
        let old = UnixListener::bind(&path).unwrap().unlink_on_drop(true);
        // As a server that takes over while the old one still serves: bind beside it, then rename.
        let beside = scratch.path("beside");
        let new = UnixListener::bind(&beside).unwrap().unlink_on_drop(true);
        std::fs::rename(&beside, &path).unwrap();
        drop(old);
        assert!(path.exists(), "the successor's");
        drop(UnixStream::connect(&path).await.unwrap());
        drop(new);
        assert!(path.exists(), "it was told of another path");
        std::fs::remove_file(&path).unwrap();

        let listener = UnixListener::bind(&path).unwrap().unlink_on_drop(true);
        std::fs::remove_file(&path).unwrap();
        let target = scratch.path("target");
        std::fs::write(&target, "text").unwrap();
        symlink(&target, &path).unwrap();
        drop(listener);
        assert!(target.exists() && path.is_symlink());
    });
}

#[test]
fn a_file_that_another_has_bound_since_stays() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("mine");
        let bind_another = || {
            std::fs::remove_file(&path).unwrap();
            StdListener::bind(&path).unwrap()
        };
        // Before it was asked for.
        let old = UnixListener::bind(&path).unwrap();
        let another = bind_another();
        drop(old.unlink_on_drop(true));
        assert!(path.exists(), "the other's");
        std::fs::remove_file(&path).unwrap();
        drop(another);
        // After the socket was closed: the kernel may give the other's file the number that ours had.
        let old = UnixListener::bind(&path).unwrap().unlink_on_drop(true);
        // The time of a file is that of the kernel's last tick, by which the two are told apart.
        let (made, probe) = (std::fs::metadata(&path).unwrap().modified().unwrap(), scratch.path("probe"));
        until("the kernel's clock has ticked", || {
            std::fs::write(&probe, "").unwrap();
            std::fs::metadata(&probe).unwrap().modified().unwrap() > made
        })
        .await;
        old.close().await.unwrap();
        let another = bind_another();
        drop(old);
        assert!(path.exists(), "the other's");
        drop(another);
        // A closed listener is removed as well.
        let old = UnixListener::bind(scratch.path("closed")).unwrap().unlink_on_drop(true);
        old.close().await.unwrap();
        drop(old);
        assert!(!scratch.path("closed").exists());
    });
}

/// Returns a listener from which no task accepts, and the connections that fill its queue.
fn full() -> (UnixListener, Vec<StdStream>) {
    let listener = UnixListener::bind_with_backlog(&own_name(), 2).unwrap();
    let to = listener.local_addr().unwrap();
    // Linux takes one more than the backlog.
    let waiting = (0..3).map(|_| uninterrupted(|| StdStream::connect_addr(&to)).unwrap()).collect();
    (listener, waiting)
}

#[test]
fn connecting_to_a_full_queue_waits_for_room() {
    each(async || {
        let (listener, mut waiting) = full();
        let to = listener.local_addr().unwrap();
        let connects: Vec<_> = (0..10)
            .map(|_| {
                let to = to.clone();
                spawn(async move { UnixStream::connect_addr(&to).await })
            })
            .collect();
        let timers = || Handle::try_current().unwrap().metrics().timers;
        until("all ten wait", || timers() == 10).await;
        assert!(connects.iter().all(|connect| !connect.is_finished()));
        let mut accepted = Vec::new();
        for _ in 0..13 {
            accepted.push(listener.accept().await.unwrap().0);
        }
        for connect in connects {
            connect.await.unwrap().unwrap();
        }
        waiting.clear();
        parked(0).await;
    });
}

#[test]
fn connecting_to_a_full_queue_with_a_limit_or_given_up() {
    each(async || {
        let (listener, _waiting) = full();
        let to = listener.local_addr().unwrap();
        let start = Instant::now(); // time is tested
        let late = UnixStream::connect_timeout(&to, Duration::from_millis(50)).await;
        assert_says(late, ErrorKind::TimedOut, &["connect", "@netpoll-unix-", "full"]);
        let took = start.elapsed(); // time is tested
        assert!(took >= Duration::from_millis(50) && took < LIMIT / 4, "{took:?}");

        let before = open_descriptors();
        let probe = Probe::new();
        let mut connect = Box::pin(UnixStream::connect_addr(&to));
        assert!(probe.poll(connect.as_mut()).is_pending());
        drop(connect);
        assert_eq!(open_descriptors(), before, "its socket is closed");

        listener.accept().await.unwrap();
        UnixStream::connect_timeout(&to, Duration::ZERO).await.expect("one attempt is always made");
        listener.close().await.unwrap();
        drop(listener);
        let gone = UnixStream::connect_timeout(&to, Duration::MAX).await;
        assert_says(gone, ErrorKind::ConnectionRefused, &[]);
    });
}

// Cases C02, C08.
#[test]
fn closing_a_listener() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let accepting = spawn({
            let listener = listener.clone();
            async move { listener.accept().await.map(drop) }
        });
        parked(1).await;
        listener.close().await.unwrap();
        assert_closed(accepting.await.unwrap());
        assert_closed(listener.accept().await.map(drop));
        assert_closed(listener.close().await);
        assert_closed(listener.set_deadline(None));
        assert_closed(listener.local_addr());
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap();
    });
}

// Cases B01, B02.
#[test]
fn deadlines_of_accept() {
    each(async || {
        let listener = UnixListener::bind_addr(&own_name()).unwrap();
        listener.set_deadline(in_ms(10)).unwrap();
        assert_timed_out(listener.accept().await.map(drop));
        listener.set_deadline(None).unwrap();
        let client = UnixStream::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
        listener.set_deadline(past()).unwrap();
        for _ in 0..2 {
            assert_timed_out(listener.accept().await.map(drop));
        }
        listener.set_deadline(None).unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"waited").await.unwrap();
        assert_eq!(read(&server).await.unwrap(), b"waited");
    });
}

// Case E07.
#[test]
fn one_connection_wakes_one_of_ten() {
    each(async || {
        let listener = Arc::new(UnixListener::bind_addr(&own_name()).unwrap());
        let accepting = |_| {
            let listener = listener.clone();
            spawn(async move { listener.accept().await.map(drop) })
        };
        let acceptors: Vec<_> = (0..10).map(accepting).collect();
        // The others queue for the first, without being parked.
        parked(1).await;
        let _client = UnixStream::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
        until("one has it", || acceptors.iter().any(|task| task.is_finished())).await;
        parked(1).await;
        assert_eq!(acceptors.iter().filter(|task| task.is_finished()).count(), 1);
        listener.close().await.unwrap();
        let mut served = 0;
        for acceptor in acceptors {
            match acceptor.await.unwrap() {
                Ok(()) => served += 1,
                closed => assert_closed(closed),
            }
        }
        assert_eq!(served, 1);
    });
}

#[test]
fn incoming_and_std() {
    each(async || {
        let scratch = Scratch::new();
        let path: PathBuf = scratch.path("socket");
        let listener = UnixListener::from_std(StdListener::bind(&path).unwrap()).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        let mut incoming = listener.incoming();
        for _ in 0..3 {
            let client = UnixStream::connect(&path).await.unwrap();
            let (server, _) = incoming.next().await.unwrap();
            server.write_all(b"hello").await.unwrap();
            assert_eq!(read(&client).await.unwrap(), b"hello");
        }
        let std = listener.into_std().unwrap();
        let nothing = uninterrupted(|| std.accept()).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "still non-blocking");
    });
}

// Case C13.
#[test]
fn a_dropped_accept_loses_no_connection() {
    each(async || {
        let listener = UnixListener::bind_addr(&own_name()).unwrap();
        let probe = Probe::new();
        let mut accept = Box::pin(listener.accept());
        assert!(probe.poll(accept.as_mut()).is_pending());
        parked(1).await;
        let _client = UnixStream::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
        probe.woken(1).await;
        drop(accept);
        listener.accept().await.unwrap();
    });
}
