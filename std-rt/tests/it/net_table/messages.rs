//! The rows of message sockets.

use std::net::SocketAddr;
use std::rc::Rc;

use netpoll_rt::net::{Datagram, Interest, RecvBatch, UdpSocket};

use super::bytes::{BYTES, LARGE, READABLE, WRITABLE, read_from, row, write_to};
use super::message_kinds::{Gram, GramOut, GramTo, Packet, Udp, UdpFull};
use super::running::{Running, word};
use super::scene::{DATA, Dropped, Got, How, Kind, Later, MARK, Operation, Start, act, operation};
use super::table::Column;

const RECV: How = How::takes(Dropped::Again(Got::Bytes(DATA.len()), "nothing received"));

const SEND: How = How::gives(Dropped::Unsent("nothing sent"));

const SEND_MANY: How = How::gives(Dropped::Part(LARGE, "some may be sent"));

const UDP: &str = "UdpSocket";

/// Plays a send. It waits on a socket that can be full, and is ended by its peer on one of UDP.
fn udp_send(method: &str, how: How, start: Start<UdpSocket>, small: Start<UdpSocket>) -> Operation {
    let run = move |column| -> Later<'static, String> {
        match column {
            Column::PeerCloses | Column::PeerResets => Box::pin(after_the_peer(small, column)),
            _ => Box::pin(act::<UdpFull>(how, start, column)),
        }
    };
    Operation { name: format!("{UDP}::{method}"), run: Box::new(run) }
}

async fn after_the_peer(start: Start<UdpSocket>, column: Column) -> String {
    let (here, peer) = Udp::stage().await;
    if column == Column::PeerResets {
        Udp::reset_peer(&here, peer);
        // Until the answer has come.
        here.readable().await.unwrap();
    } else {
        Udp::close_peer(&here, peer);
    }
    word(Running::new(start(Rc::new(here))).now())
}

/// Returns the peer, if it can be asked for.
fn peer_of(socket: &UdpSocket) -> SocketAddr {
    socket.peer_addr().unwrap_or(([127, 0, 0, 1], 9).into())
}

pub fn udp() -> Vec<Operation> {
    let mut all = vec![
        row!(Udp, UDP, "recv", RECV, |it| it.recv(&mut [0; 64]).await.map(Got::Bytes)),
        row!(Udp, UDP, "recv_from", RECV, |it| {
            it.recv_from(&mut [0; 64]).await.map(|(n, _)| Got::Bytes(n))
        }),
        row!(Udp, UDP, "peek", RECV, |it| it.peek(&mut [0; 64]).await.map(Got::Bytes)),
        row!(Udp, UDP, "peek_from", RECV, |it| {
            it.peek_from(&mut [0; 64]).await.map(|(n, _)| Got::Bytes(n))
        }),
        row!(Udp, UDP, "recv_batch", RECV, |it| {
            let mut batch = RecvBatch::new(2, 64);
            assert_eq!(it.recv_batch(&mut batch).await?, 1);
            Ok(Got::Bytes(batch.get(0).unwrap().bytes().len()))
        }),
        row!(Udp, UDP, "with_io(Read, _)", RECV, |it| it.with_io(Interest::Read, read_from).await),
        row!(Udp, UDP, "readable", READABLE, |it| it.readable().await.map(|()| Got::Ready)),
    ];
    all.extend(udp_sends());
    all
}

fn udp_sends() -> Vec<Operation> {
    let same = |method, how, start| udp_send(method, how, start, start);
    let many: Start<UdpSocket> = |it| {
        Box::pin(async move { it.send_segments(&vec![MARK; LARGE], 60_000, None).await.map(|()| Got::Ready) })
    };
    vec![
        same("send", SEND, |it| Box::pin(async move { it.send(BYTES).await.map(Got::Bytes) })),
        same("send_to", SEND, |it| {
            Box::pin(async move { it.send_to(BYTES, peer_of(&it)).await.map(Got::Bytes) })
        }),
        same("send_batch", SEND, |it| {
            Box::pin(async move { it.send_batch(&[Datagram::new(&[MARK])]).await.map(Got::Bytes) })
        }),
        same("with_io(Write, _)", SEND, |it| {
            Box::pin(async move { it.with_io(Interest::Write, write_to).await })
        }),
        udp_send("send_segments", SEND_MANY, many, |it| {
            Box::pin(async move { it.send_segments(BYTES, BYTES.len(), None).await.map(|()| Got::Ready) })
        }),
        same("writable", WRITABLE, |it| Box::pin(async move { it.writable().await.map(|()| Got::Ready) })),
    ]
}

macro_rules! receives {
    ($kind:ty, $of:expr) => {
        vec![
            row!($kind, $of, "recv", RECV, |it| it.recv(&mut [0; 64]).await.map(Got::Bytes)),
            row!($kind, $of, "peek", RECV, |it| it.peek(&mut [0; 64]).await.map(Got::Bytes)),
            row!($kind, $of, "recv_fds", RECV, |it| {
                it.recv_fds(&mut [0; 64], 1).await.map(|(n, _)| Got::Bytes(n))
            }),
            row!($kind, $of, "with_io(Read, _)", RECV, |it| it.with_io(Interest::Read, read_from).await),
            row!($kind, $of, "readable", READABLE, |it| it.readable().await.map(|()| Got::Ready)),
        ]
    };
}

macro_rules! sends {
    ($kind:ty, $of:expr) => {
        [
            row!($kind, $of, "send", SEND, |it| it.send(BYTES).await.map(Got::Bytes)),
            row!($kind, $of, "send_fds", SEND, |it| it.send_fds(BYTES, &[]).await.map(Got::Bytes)),
            row!($kind, $of, "with_io(Write, _)", SEND, |it| it.with_io(Interest::Write, write_to).await),
            row!($kind, $of, "writable", WRITABLE, |it| it.writable().await.map(|()| Got::Ready)),
        ]
    };
}

pub fn datagrams() -> Vec<Operation> {
    let of = "UnixDatagram";
    let mut all = receives!(Gram, of);
    all.extend([
        row!(Gram, of, "recv_from", RECV, |it| {
            it.recv_from(&mut [0; 64]).await.map(|(n, _)| Got::Bytes(n))
        }),
        row!(Gram, of, "peek_from", RECV, |it| {
            it.peek_from(&mut [0; 64]).await.map(|(n, _)| Got::Bytes(n))
        }),
        row!(Gram, of, "recv_fds_from", RECV, |it| {
            it.recv_fds_from(&mut [0; 64], 1).await.map(|(n, ..)| Got::Bytes(n))
        }),
    ]);
    all.extend(sends!(GramOut, of));
    all.extend([
        row!(GramTo, of, "send_to", SEND, |it| it.socket.send_to(BYTES, &it.to).await.map(Got::Bytes)),
        row!(GramTo, of, "send_to_addr", SEND, |it| {
            it.socket.send_to_addr(BYTES, &it.address()).await.map(Got::Bytes)
        }),
        row!(GramTo, of, "send_fds_to_addr", SEND, |it| {
            it.socket.send_fds_to_addr(BYTES, &[], &it.address()).await.map(Got::Bytes)
        }),
    ]);
    all
}

pub fn packets() -> Vec<Operation> {
    let of = "UnixSeqpacket";
    let mut all = receives!(Packet, of);
    all.extend(sends!(Packet, of));
    all
}
