//! UDP: many datagrams by one call.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::common::*;
use netpoll_rt::internal::sys::mmsg;
use netpoll_rt::net::{Datagram, RecvBatch, UdpConfig, UdpSocket};
use netpoll_rt::{OpError, spawn};

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Returns a socket with room for some hundred datagrams, and its address.
async fn sink() -> (UdpSocket, SocketAddr) {
    let sink = UdpConfig::new().recv_buffer_size(1 << 20).bind("127.0.0.1:0").await.unwrap();
    let address = sink.local_addr().unwrap();
    (sink, address)
}

fn inner(error: &io::Error) -> &OpError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of an operation")
}

#[test]
fn a_batch_costs_few_calls() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        let texts: Vec<String> = (0..RecvBatch::MAX).map(|n| format!("number {n}")).collect();
        let datagrams: Vec<_> = texts.iter().map(|text| Datagram::to(text.as_bytes(), to)).collect();
        assert_eq!(here.send_batch(&datagrams).await.unwrap(), RecvBatch::MAX);

        let mut batch = RecvBatch::new(RecvBatch::MAX, 64);
        assert!(batch.is_empty());
        let (mut came, mut calls) = (Vec::new(), 0);
        while came.len() < RecvBatch::MAX {
            let n = there.recv_batch(&mut batch).await.unwrap();
            assert_eq!((n, batch.iter().len()), (batch.len(), n));
            calls += 1;
            for datagram in &batch {
                assert_eq!(datagram.from(), here.local_addr().unwrap());
                assert!(!datagram.is_truncated());
                assert_eq!(datagram.segment_size(), None);
                came.push(String::from_utf8(datagram.bytes().to_vec()).unwrap());
            }
        }
        assert_eq!(came, texts, "in order");
        assert!(calls <= RecvBatch::MAX / 8, "{calls} calls for {} datagrams", RecvBatch::MAX);
    });
}

#[test]
fn a_batch_to_the_peer_of_the_sixth_version() {
    each(async || {
        let here = UdpSocket::bind("[::1]:0").await.unwrap();
        let there = UdpSocket::bind("[::1]:0").await.unwrap();
        here.connect(there.local_addr().unwrap()).await.unwrap();
        let datagrams = [Datagram::new(b"to the peer"), Datagram::to(b"named", there.local_addr().unwrap())];
        assert_eq!(datagrams[1].destination(), Some(there.local_addr().unwrap()));
        assert_eq!(here.send_batch(&datagrams).await.unwrap(), 2);
        let (mut batch, mut came) = (RecvBatch::new(2, 64), Vec::new());
        while came.len() < 2 {
            there.recv_batch(&mut batch).await.unwrap();
            for datagram in &batch {
                assert_eq!(datagram.from(), here.local_addr().unwrap());
                came.push(datagram.bytes().to_vec());
            }
        }
        assert_eq!(came, [&b"to the peer"[..], b"named"]);
    });
}

#[test]
fn a_batch_holds_what_it_was_made_for() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        let mut batch = RecvBatch::new(2, 4);
        assert_eq!(batch.capacity(), 2);
        here.send_batch(&[b"four".as_slice(), b"longer", b"", b"end"].map(|bytes| Datagram::to(bytes, to)))
            .await
            .unwrap();
        assert_eq!(there.recv_batch(&mut batch).await.unwrap(), 2);
        let told: Vec<_> = batch.iter().map(|one| (one.bytes(), one.is_truncated())).collect();
        assert_eq!(told, [(&b"four"[..], false), (b"long", true)]);
        assert_eq!(there.recv_batch(&mut batch).await.unwrap(), 2);
        let told: Vec<_> = batch.iter().map(|one| (one.bytes(), one.is_truncated())).collect();
        assert_eq!(told, [(&b""[..], false), (b"end", false)]);
        assert_eq!(batch.get(0).unwrap().segments().collect::<Vec<_>>(), [b""], "one without bytes is one");
        assert!(batch.get(2).is_none());

        let tiny = RecvBatch::new(0, 0);
        assert_eq!(tiny.capacity(), 1);
        assert_eq!(RecvBatch::new(100_000, 1).capacity(), RecvBatch::MAX);
    });
}

#[test]
fn more_than_one_call_takes() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        let many = vec![Datagram::to(b"x", to); 3 * RecvBatch::MAX];
        let mut sent = 0;
        while sent < many.len() {
            let n = here.send_batch(&many[sent..]).await.unwrap();
            assert!((1..=RecvBatch::MAX).contains(&n));
            sent += n;
        }
        let (mut batch, mut came) = (RecvBatch::new(RecvBatch::MAX, 8), 0);
        while came < many.len() {
            came += there.recv_batch(&mut batch).await.unwrap();
        }
        assert_eq!(here.send_batch(&[]).await.unwrap(), 0, "nothing is waited for");
    });
}

#[test]
fn a_batch_ends_before_an_error_which_the_next_one_says() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        let (long, nowhere) = (vec![0; 70_000], SocketAddr::new(to.ip(), 0));
        let datagrams = [
            Datagram::to(b"first", to),
            Datagram::to(&long, to),
            Datagram::to(b"nowhere", nowhere),
            Datagram::to(b"last", to),
        ];
        assert_eq!(here.send_batch(&datagrams).await.unwrap(), 1);
        let error = here.send_batch(&datagrams[1..]).await.unwrap_err();
        assert_eq!((inner(&error).op(), inner(&error).raw_os_error()), ("send_batch", Some(90)), "EMSGSIZE");
        assert_eq!(inner(&error).peer().and_then(|peer| peer.ip()), Some(to));
        let error = here.send_batch(&datagrams[2..]).await.unwrap_err();
        assert_eq!(inner(&error).peer().and_then(|peer| peer.ip()), Some(nowhere));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(here.send_batch(&datagrams[3..]).await.unwrap(), 1);
        let mut batch = RecvBatch::new(8, 64);
        assert_eq!(there.recv_batch(&mut batch).await.unwrap(), 2);
        let came: Vec<_> = batch.iter().map(|one| one.bytes()).collect();
        assert_eq!(came, [&b"first"[..], b"last"]);
    });
}

#[test]
fn a_batch_waits_and_says_what_waits_on_the_socket() {
    each(async || {
        let here = UdpSocket::bind(own_address()).await.unwrap();
        let (there, nobody) = (Arc::new(UdpSocket::bind(own_address()).await.unwrap()), own_address());
        let waits = spawn({
            let there = there.clone();
            async move {
                let mut batch = RecvBatch::new(4, 64);
                there.recv_batch(&mut batch).await?;
                io::Result::Ok(batch.get(0).map(|one| one.bytes().to_vec()))
            }
        });
        parked(1).await;
        here.send_batch(&[Datagram::to(b"wakes", there.local_addr().unwrap())]).await.unwrap();
        assert_eq!(waits.await.unwrap().unwrap().unwrap(), b"wakes");
        let gone = UdpSocket::bind(nobody).await.unwrap();
        here.connect(gone.local_addr().unwrap()).await.unwrap();
        gone.close().await.unwrap();
        here.send_batch(&[Datagram::new(b"into the void")]).await.unwrap();
        let mut batch = RecvBatch::new(4, 64);
        let error = here.recv_batch(&mut batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        assert!(batch.is_empty());
    });
}

/// Returns this many bytes, each different from its neighbors.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// Receives datagrams until they have `length` bytes together.
async fn collect(there: &UdpSocket, length: usize) -> Vec<Vec<u8>> {
    let (mut batch, mut came) = (RecvBatch::new(RecvBatch::MAX, 65_535), Vec::new());
    while came.iter().map(Vec::len).sum::<usize>() < length {
        there.recv_batch(&mut batch).await.unwrap();
        came.extend(batch.iter().flat_map(|one| one.segments().map(<[u8]>::to_vec)));
    }
    came
}

#[test]
fn segments_come_as_datagrams() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        if !mmsg::can_cut(here.as_fd()) {
            println!("this kernel does not cut datagrams; they are sent one by one");
        }
        // One, some, exactly some, more than one call takes, and so long that few make 64 KiB.
        for (length, size) in [(5, 100), (1_050, 100), (1_000, 100), (20_000, 100), (150_000, 20_000), (3, 1)]
        {
            let bytes = pattern(length);
            here.send_segments(&bytes, size, Some(to)).await.unwrap();
            let came = collect(&there, length).await;
            let expected: Vec<_> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            assert!(came == expected, "{length} bytes by {size}: {} datagrams", came.len());
        }
        here.connect(to).await.unwrap();
        here.send_segments(b"to the peer", 6, None).await.unwrap();
        assert_eq!(collect(&there, 11).await, [&b"to the"[..], b" peer"]);
        here.send_segments(b"", 6, None).await.unwrap();
        assert_eq!(there.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn segments_that_cannot_be() {
    each(async || {
        let (here, (_there, to)) = (socket().await, sink().await);
        for size in [0, 65_508, 100_000] {
            let error = here.send_segments(b"x", size, Some(to)).await.unwrap_err();
            assert_eq!((inner(&error).op(), error.kind()), ("send_segments", ErrorKind::InvalidInput));
        }
        let nowhere = SocketAddr::new(to.ip(), 0);
        let error = here.send_segments(&[0; 100], 10, Some(nowhere)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(inner(&error).peer().and_then(|peer| peer.ip()), Some(nowhere));
        let error = here.send_segments(&[0; 100], 10, None).await.unwrap_err();
        assert_eq!(inner(&error).raw_os_error(), Some(89), "EDESTADDRREQ");
    });
}

#[test]
fn one_piece_that_the_kernel_cuts() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        if !mmsg::can_cut(here.as_fd()) {
            return println!("skipped: this kernel does not cut datagrams");
        }
        let bytes = pattern(64 * 100);
        assert_eq!(mmsg::send_cut(here.as_fd(), &bytes, 100, Some(&to)).unwrap(), bytes.len());
        assert!(collect(&there, bytes.len()).await.iter().eq(bytes.chunks(100)));
    });
}

#[test]
fn datagrams_that_the_kernel_joins() {
    each(async || {
        let (here, (there, to)) = (socket().await, sink().await);
        if let Err(error) = there.set_gro(true) {
            return println!("skipped: {error}");
        }
        let bytes = pattern(1_050);
        here.send_segments(&bytes, 100, Some(to)).await.unwrap();
        let mut batch = RecvBatch::new(16, 65_535);
        let n = there.recv_batch(&mut batch).await.unwrap();
        let joined = batch.get(0).unwrap();
        if n == 1 {
            assert_eq!(joined.segment_size(), Some(100));
            assert_eq!(joined.bytes(), bytes);
        }
        assert!(n == 1 || !mmsg::can_cut(here.as_fd()), "nothing parts them on this host");
        let parts = batch.iter().flat_map(|one| one.segments());
        assert!(parts.eq(bytes.chunks(100)));
        there.set_gro(false).unwrap();
        here.send_segments(&bytes, 100, Some(to)).await.unwrap();
        assert_eq!(collect(&there, bytes.len()).await.len(), 11);
    });
}
