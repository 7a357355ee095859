//! Descriptors that travel over Unix sockets.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::common::own_process::with_few_descriptors;
use crate::common::*;
use crate::unix_support::*;
use netpoll_rt::net::unix::MAX_FDS;
use netpoll_rt::net::{TcpStream, UnixDatagram, UnixSeqpacket, UnixStream};
use netpoll_rt::{OpError, spawn};

#[track_caller]
fn assert_cloexec(fd: impl AsFd) {
    assert!(kernel::is_cloexec(fd), "close-on-exec");
}

/// Returns a pipe with this text in it, to be passed on and read there.
fn letter(text: &str) -> PipeReader {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader
}

fn read_letter(fd: OwnedFd) -> String {
    let mut text = String::new();
    PipeReader::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn everything_is_born_close_on_exec_and_non_blocking() {
    each(async || {
        let scratch = Scratch::new();
        let path = scratch.path("socket");
        let listener = netpoll_rt::net::UnixListener::bind(&path).unwrap();
        let (client, server) = through(&listener).await;
        let (gram, other_gram) = UnixDatagram::pair().unwrap();
        let (packets, other_packets) = UnixSeqpacket::pair().unwrap();
        let (alone, twin) = (UnixDatagram::unbound().unwrap(), client.dup().unwrap());
        let all = [
            listener.as_fd(),
            client.as_fd(),
            server.as_fd(),
            gram.as_fd(),
            other_gram.as_fd(),
            packets.as_fd(),
            other_packets.as_fd(),
            alone.as_fd(),
            twin.as_fd(),
        ];
        for fd in all {
            assert!(kernel::is_cloexec(fd) && kernel::is_nonblocking(fd), "{fd:?}");
        }
    });
}

#[test]
fn passed_over_a_stream() {
    each(async || {
        let (one, other) = ends();
        let receiving = spawn(async move { other.recv_fds(&mut [0; 64], 4).await.map(|got| (got, other)) });
        parked(1).await;
        let letters = [letter("first"), letter("second")];
        assert_eq!(one.send_fds(b"two", &[letters[0].as_fd(), letters[1].as_fd()]).await.unwrap(), 3);
        drop(letters);
        let ((n, fds), other) = receiving.await.unwrap().unwrap();
        assert_eq!((n, fds.len()), (3, 2));
        fds.iter().for_each(assert_cloexec);
        let texts: Vec<_> = fds.into_iter().map(read_letter).collect();
        assert_eq!(texts, ["first", "second"]);

        // No descriptors: as write and read.
        assert_eq!(one.send_fds(b"plain", &[]).await.unwrap(), 5);
        let (n, fds) = other.recv_fds(&mut [0; 64], 0).await.unwrap();
        assert_eq!((n, fds.len()), (5, 0));
    });
}

#[test]
fn two_sends_never_mix() {
    each(async || {
        let (one, other) = ends();
        one.write_all(b"before").await.unwrap();
        for text in ["first", "second"] {
            send_all(&one, text.as_bytes(), &[letter(text).as_fd()]).await;
        }
        one.write_all(b"behind").await.unwrap();
        let (mut bytes, mut texts) = (Vec::<u8>::new(), Vec::new());
        while bytes.len() < 23 {
            let mut buffer = [0; 64];
            let (n, fds) = other.recv_fds(&mut buffer, 8).await.unwrap();
            assert!(fds.len() <= 1);
            bytes.extend(&buffer[..n]);
            texts.extend(fds.into_iter().map(read_letter));
        }
        assert_eq!(bytes, b"beforefirstsecondbehind");
        assert_eq!(texts, ["first", "second"]);
    });
}

#[test]
fn a_part_of_the_bytes_takes_all_descriptors_along() {
    each(async || {
        let (one, other) = ends();
        let bytes = vec![7; 10_000_000];
        let sent = one.send_fds(&bytes, &[letter("whole").as_fd()]).await.unwrap();
        assert!(0 < sent && sent < bytes.len(), "{sent} bytes of ten million");
        let mut buffer = vec![0; sent];
        let (n, fds) = other.recv_fds(&mut buffer[..1], 1).await.unwrap();
        assert_eq!((n, fds.len()), (1, 1));
        other.read_exact(&mut buffer[1..]).await.unwrap();
        assert!(buffer == bytes[..sent]);
    });
}

#[test]
fn a_connection_changes_hands() {
    each(async || {
        let (ours, theirs) = ends();
        let (tcp, peer) = pair().await;
        ours.send_fds(b"take it", &[tcp.as_fd()]).await.unwrap();
        drop(tcp);
        let (_, mut fds) = theirs.recv_fds(&mut [0; 16], 1).await.unwrap();
        let taken = std::net::TcpStream::from(fds.pop().unwrap());
        let taken = TcpStream::from_std(taken).unwrap();
        peer.write_all(b"still there?").await.unwrap();
        assert_eq!(read_once(&taken).await.unwrap(), b"still there?");
    });
}

#[test]
fn as_many_as_go_and_one_more() {
    each(async || {
        let (one, other) = ends();
        let file = File::open("/dev/null").unwrap();
        let many: Vec<BorrowedFd<'_>> = vec![file.as_fd(); MAX_FDS + 1];
        one.send_fds(b"x", &many[..MAX_FDS]).await.unwrap();
        let (_, fds) = other.recv_fds(&mut [0; 8], usize::MAX).await.unwrap();
        assert_eq!(fds.len(), MAX_FDS);
        fds.iter().for_each(assert_cloexec);
        let error = one.send_fds(b"x", &many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("253"), "{error}");
        let error = one.send_fds(b"", &many[..1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

#[test]
fn more_than_expected_are_closed_and_said() {
    each(async || {
        let file = File::open("/dev/null").unwrap();
        for (sent, max) in [(1, 0), (2, 0), (2, 1), (3, 1), (4, 3), (100, 7), (253, 252)] {
            let (one, other) = UnixStream::pair().unwrap();
            let before = open_descriptors();
            one.send_fds(b"x", &vec![file.as_fd(); sent]).await.unwrap();
            let error = other.recv_fds(&mut [0; 8], max).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert!(
                error.to_string().contains("recv_fds") && error.to_string().contains("closed"),
                "{error}"
            );
            assert_eq!(open_descriptors(), before, "{sent} came, {max} were expected");
        }
    });
}

#[test]
fn any_other_way_of_reading_closes_them() {
    each(async || {
        let file = File::open("/dev/null").unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let (packet, other_packet) = UnixSeqpacket::pair().unwrap();
        let before = open_descriptors();
        for _ in 0..3 {
            one.send_fds(b"bytes", &[file.as_fd()]).await.unwrap();
            assert_eq!(other.peek(&mut [0; 8]).await.unwrap(), 5);
            assert_eq!(read(&other).await.unwrap(), b"bytes");
            packet.send_fds(b"bytes", &[file.as_fd()]).await.unwrap();
            assert_eq!(other_packet.recv(&mut [0; 8]).await.unwrap(), 5);
        }
        assert_eq!(open_descriptors(), before);
        // Neither received nor lost: they go with the socket.
        one.send_fds(b"bytes", &[file.as_fd()]).await.unwrap();
    });
}

#[test]
fn passed_with_messages() {
    each(async || {
        let (one, other) = UnixSeqpacket::pair().unwrap();
        one.send_fds(b"", &[letter("alone").as_fd()]).await.unwrap();
        let (n, mut fds) = other.recv_fds(&mut [0; 8], 1).await.unwrap();
        assert_eq!((n, read_letter(fds.pop().unwrap())), (0, "alone".to_owned()));
        one.send_fds(b"too long", &[letter("cut").as_fd()]).await.unwrap();
        one.send(b"next").await.unwrap();
        let (n, mut fds) = other.recv_fds(&mut [0; 3], 1).await.unwrap();
        assert_eq!((n, read_letter(fds.pop().unwrap())), (3, "cut".to_owned()));
        assert_eq!(other.recv(&mut [0; 8]).await.unwrap(), 4);

        let to = UnixDatagram::bind_addr(&own_name()).unwrap();
        let (name, own) = (to.local_addr().unwrap(), own_name());
        let from = UnixDatagram::bind_addr(&own).unwrap();
        from.send_fds_to_addr(b"addressed", &[letter("in there").as_fd()], &name).await.unwrap();
        let (n, mut fds, sender) = to.recv_fds_from(&mut [0; 64], 2).await.unwrap();
        assert_eq!((n, read_letter(fds.pop().unwrap())), (9, "in there".to_owned()));
        assert_eq!(format!("{sender:?}"), format!("{own:?}"));
        from.connect_addr(&name).unwrap();
        from.send_fds(b"connected", &[letter("again").as_fd()]).await.unwrap();
        let (_, mut fds) = to.recv_fds(&mut [0; 64], 1).await.unwrap();
        assert_eq!(read_letter(fds.pop().unwrap()), "again");
    });
}

#[test]
fn a_dropped_receive_leaves_them_for_the_next() {
    each(async || {
        let (one, other) = ends();
        let probe = Probe::new();
        let mut buffer = [0; 8];
        let mut receive = Box::pin(other.recv_fds(&mut buffer, 1));
        assert!(probe.poll(receive.as_mut()).is_pending());
        one.send_fds(b"x", &[letter("kept").as_fd()]).await.unwrap();
        probe.woken(1).await;
        drop(receive);
        let (_, mut fds) = other.recv_fds(&mut [0; 8], 1).await.unwrap();
        assert_eq!(read_letter(fds.pop().unwrap()), "kept");
        other.set_read_deadline(past()).unwrap();
        assert_timed_out(other.recv_fds(&mut [0; 8], 1).await);
        other.close().await.unwrap();
        assert_closed(other.recv_fds(&mut [0; 8], 1).await);
        assert_closed(other.send_fds(b"x", &[]).await);
    });
}

#[test]
fn no_numbers_left_for_what_comes() {
    with_few_descriptors(async || {
        let (one, other) = UnixStream::pair().unwrap();
        let other = Arc::new(other);
        let file = File::open("/dev/null").unwrap();
        one.send_fds(b"x", &[file.as_fd(); 8]).await.unwrap();
        let mut fill = Vec::new();
        while let Ok(more) = File::open("/dev/null") {
            fill.push(more);
        }
        // Three numbers for eight descriptors.
        fill.truncate(fill.len() - 3);
        let error = other.recv_fds(&mut [0; 8], 8).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("only 3") && error.to_string().contains("limit"), "{error}");
        assert!(error.get_ref().unwrap().is::<OpError>());
        assert!((0..3).all(|_| File::open("/dev/null").is_ok()));
        let three: Vec<_> = (0..3).map_while(|_| File::open("/dev/null").ok()).collect();
        assert_eq!(three.len(), 3, "the three that had a number are closed again");
    });
}
