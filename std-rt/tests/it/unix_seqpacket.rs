//! Connections of messages.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use crate::common::*;
use crate::unix_support::*;
use netpoll_rt::net::{UnixSeqpacket, UnixSeqpacketListener};
use netpoll_rt::spawn;

fn pair() -> (Arc<UnixSeqpacket>, Arc<UnixSeqpacket>) {
    let (one, other) = UnixSeqpacket::pair().unwrap();
    (Arc::new(one), Arc::new(other))
}

async fn receive(socket: &UnixSeqpacket) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).await?;
    Ok(buffer[..n].to_vec())
}

#[test]
fn echo_over_a_path_an_abstract_name_and_a_pair() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let echo = async |client: UnixSeqpacket, server: UnixSeqpacket| {
            let echoing = spawn(async move {
                loop {
                    let message = receive(&server).await.unwrap();
                    if message.is_empty() {
                        return;
                    }
                    assert_eq!(server.send(&message).await.unwrap(), message.len());
                }
            });
            for length in [1, 64, 2, 63, 3] {
                client.send(&vec![7; length]).await.unwrap();
                assert_eq!(receive(&client).await.unwrap(), vec![7; length]);
            }
            drop(client);
            echoing.await.unwrap();
        };
        let listener = UnixSeqpacketListener::bind(&path).unwrap();
        let client = UnixSeqpacket::connect(&path).await.unwrap();
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        let (server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed());
        assert_eq!(server.peer_cred().unwrap().pid(), i32::try_from(std::process::id()).ok());
        echo(client, server).await;
        let listener = UnixSeqpacketListener::bind_addr(&own_name()).unwrap();
        let client = UnixSeqpacket::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
        echo(client, listener.accept().await.unwrap().0).await;
        let (client, server) = UnixSeqpacket::pair().unwrap();
        echo(client, server).await;
    });
}

#[test]
fn messages_stay_apart_and_what_has_no_room_is_lost() {
    each(async || {
        let (one, other) = pair();
        for message in ["one", "two", "three"] {
            one.send(message.as_bytes()).await.unwrap();
        }
        let mut buffer = [0; 2];
        assert_eq!(other.peek(&mut buffer).await.unwrap(), 2);
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 2);
        assert_eq!(&buffer, b"on");
        assert_eq!(receive(&other).await.unwrap(), b"two");
        assert_eq!(other.try_recv(&mut [0; 8]).unwrap(), 5);
        assert_eq!(other.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let error = one.send(&vec![0; 10_000_000]).await.unwrap_err();
        assert!(error.to_string().contains("send"), "{error}");
    });
}

#[test]
fn an_empty_message_is_not_the_end() {
    each(async || {
        let (one, other) = pair();
        one.send(b"").await.unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"");
        assert!(!other.is_at_end().unwrap());
        one.send(b"").await.unwrap();
        one.send(b"last").await.unwrap();
        drop(one);
        assert_eq!(receive(&other).await.unwrap(), b"");
        assert!(!other.is_at_end().unwrap(), "something is behind it");
        assert_eq!(receive(&other).await.unwrap(), b"last");
        assert_eq!(receive(&other).await.unwrap(), b"");
        assert!(other.is_at_end().unwrap());
    });
}

// Case D09.
#[test]
fn every_way_to_receive_gives_the_end_and_no_error() {
    each(async || {
        let (one, other) = pair();
        let waiting = spawn({
            let other = other.clone();
            async move { receive(&other).await }
        });
        parked(1).await;
        drop(one);
        assert_eq!(waiting.await.unwrap().unwrap(), b"");
        let mut buffer = [0; 8];
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 0);
        assert_eq!(other.try_recv(&mut buffer).unwrap(), 0);
        assert_eq!(other.peek(&mut buffer).await.unwrap(), 0);
        let (n, fds) = other.recv_fds(&mut buffer, 1).await.unwrap();
        assert_eq!((n, fds.len()), (0, 0));
        assert!(other.peer_closed() && other.is_at_end().unwrap());
        let error = other.send(b"nobody").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    });
}

// Cases D01, D02.
#[test]
fn halves() {
    each(async || {
        let (one, other) = pair();
        one.send(b"before").await.unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"before");
        assert_eq!(receive(&other).await.unwrap(), b"");
        other.send(b"answer").await.unwrap();
        assert_eq!(receive(&one).await.unwrap(), b"answer");
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(receive(&one).await.unwrap(), b"");
        assert!(one.is_at_end().unwrap());
    });
}

#[test]
fn a_sender_without_room_waits_and_goes_on() {
    each(async || {
        let (one, other) = pair();
        let sending = spawn({
            let one = one.clone();
            async move {
                for number in 0..2000_u32 {
                    let mut message = [0; 1000];
                    message[..4].copy_from_slice(&number.to_ne_bytes());
                    one.send(&message).await.unwrap();
                }
            }
        });
        parked(1).await;
        for number in 0..2000_u32 {
            let mut message = [0; 1000];
            assert_eq!(other.recv(&mut message).await.unwrap(), 1000);
            assert_eq!(message[..4], number.to_ne_bytes());
        }
        sending.await.unwrap();
    });
}

#[test]
fn adopted_and_given_away() {
    each(async || {
        let (one, other) = UnixSeqpacket::pair().unwrap();
        let fd = one.into_owned_fd().unwrap();
        let one = UnixSeqpacket::from_owned_fd(fd).unwrap();
        one.send(b"around").await.unwrap();
        assert_eq!(receive(&other).await.unwrap(), b"around");
        let twin = other.dup().unwrap();
        drop(other);
        one.send(b"the twin").await.unwrap();
        assert_eq!(receive(&twin).await.unwrap(), b"the twin");

        let (stream, _peer) = StdStream::pair().unwrap();
        let error = UnixSeqpacket::from_owned_fd(OwnedFd::from(stream)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let file = std::fs::File::open("/dev/null").unwrap();
        UnixSeqpacket::from_owned_fd(file.into()).unwrap_err();

        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let listener = UnixSeqpacketListener::bind(&path).unwrap().unlink_on_drop(true);
        let listener = UnixSeqpacketListener::from_owned_fd(listener.into_owned_fd().unwrap()).unwrap();
        let client = UnixSeqpacket::connect(&path).await.unwrap();
        let (server, _) = listener.incoming().next().await.unwrap();
        client.send(b"through").await.unwrap();
        assert_eq!(receive(&server).await.unwrap(), b"through");
    });
}

#[test]
fn several_receive_each_message_once() {
    each(async || {
        let (one, other) = pair();
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let other = other.clone();
                spawn(async move {
                    let mut got = Vec::new();
                    loop {
                        match receive(&other).await.unwrap()[..] {
                            [] => return got,
                            [number] => got.push(number),
                            ref torn => panic!("{torn:?}"),
                        }
                    }
                })
            })
            .collect();
        for number in 0..200 {
            one.send(&[number]).await.unwrap();
        }
        drop(one);
        let mut got = Vec::new();
        for receiver in receivers {
            got.extend(receiver.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, (0..200).collect::<Vec<u8>>());
    });
}
