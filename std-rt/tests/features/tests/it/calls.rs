//! The system calls of a request, which the layer of fault injection counts. It injects nothing.

use std::sync::Arc;

use netpoll_rt::internal::sys::inject::Table;
use netpoll_rt::internal::sys::{Call, Poller};
use netpoll_rt::{Handle, spawn};
use test_support::*;

use crate::hyper_rt::{SMALL, received, request_for, serve};

const REQUESTS: usize = 1000;
/// Makes requests one after another; returns the calls that send and receive, of the server and the client together.
async fn keep_alive(version: u8) -> usize {
    let (one, other) = pair().await;
    let server = serve(Arc::into_inner(one).unwrap());
    let client = Arc::into_inner(other).unwrap();
    let table = Table::new(0).install();
    if version == 1 {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
        let connection = spawn(connection);
        for _ in 0..REQUESTS {
            sender.ready().await.unwrap();
            let got = received(sender.send_request(request_for(SMALL, b"")).await.unwrap()).await;
            assert_eq!(got.len(), 13);
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    } else {
        let handle = Handle::try_current().unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(handle, client).await.unwrap();
        let connection = spawn(connection);
        for _ in 0..REQUESTS {
            let got = received(sender.send_request(request_for(SMALL, b"")).await.unwrap()).await;
            assert_eq!(got.len(), 13);
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    }
    server.await.unwrap();
    [Call::Recv, Call::Send, Call::Read, Call::Write].into_iter().map(|call| table.calls(call)).sum()
}

#[test]
fn a_request_costs_two_calls_at_each_end() {
    if !Poller::SHORT_IS_ALL {
        return;
    }
    for version in [1, 2] {
        on(&[1], async || {
            let calls = keep_alive(version).await;
            println!("HTTP/{version}: {calls} calls of both ends for {REQUESTS} requests");
            // At most 10 in vain at each end, and those that begin and end the connection.
            assert!(calls <= 4 * REQUESTS + 40, "{calls} calls for {REQUESTS} requests of HTTP/{version}");
        });
    }
}
