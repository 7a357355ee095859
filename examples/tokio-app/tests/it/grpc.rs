//! tonic's server and channel, with deadlines and keepalive.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::io::{copy, sink};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_app::BoxError;
use tokio_app::grpc::{EchoClient, EchoServer, Text};
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Error, Server};

use crate::within;

/// A pause that outlasts every test, in milliseconds.
const LONG: u32 = 3_600_000;

/// The interval of keepalive, and the time in which the peer must answer.
const ALIVE: Duration = Duration::from_millis(30);

type Task = JoinHandle<Result<(), Error>>;

/// Starts a server, which ends when the sender is dropped.
async fn start(builder: Server) -> Result<(Endpoint, oneshot::Sender<()>, Task), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = endpoint(listener.local_addr()?)?;
    let (stop, stopped) = oneshot::channel();
    let mut builder = builder;
    let server = builder.add_service(EchoServer);
    let until = async { stopped.await.unwrap_or_default() };
    let task = tokio::spawn(server.serve_with_incoming_shutdown(TcpIncoming::from(listener), until));
    Ok((endpoint, stop, task))
}

fn endpoint(address: SocketAddr) -> Result<Endpoint, BoxError> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?)
}

fn text(text: &str, pause: u32) -> Text {
    Text { text: text.to_owned(), pause }
}

async fn calls() -> Result<(), BoxError> {
    let (endpoint, stop, task) = start(Server::builder()).await?;
    let mut client = EchoClient::new(endpoint.connect().await?);
    let mut calls = JoinSet::new();
    for n in 0..100 {
        let mut client = client.clone();
        calls.spawn(
            async move { client.say(text(&n.to_string(), n % 3), None).await.unwrap().parse().unwrap() },
        );
    }
    let mut answers: Vec<u32> = calls.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers, (0..100).collect::<Vec<_>>());
    assert_eq!(client.say(text("", 0), None).await.unwrap_err().code(), Code::InvalidArgument);
    let texts: Vec<Text> = client.repeat("again".to_owned(), 1000).await?.try_collect().await?;
    assert_eq!(texts, vec![text("again", 0); 1000]);
    drop((client, stop));
    Ok(task.await??)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_are_answered_on_four_workers() -> Result<(), BoxError> {
    within(calls()).await
}

#[tokio::test]
async fn calls_are_answered_on_the_current_thread() -> Result<(), BoxError> {
    within(calls()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn call_ends_at_its_deadline() -> Result<(), BoxError> {
    within(async {
        let deadline = Duration::from_millis(50);
        let (endpoint, stop, task) = start(Server::builder()).await?;
        // The deadline of a call: sent with it, kept by the channel and by the server.
        let mut client = EchoClient::new(endpoint.connect().await?);
        let error = client.say(text("late", LONG), Some(deadline)).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error:?}");
        assert_eq!(client.say(text("early", 1), Some(Duration::from_secs(30))).await?, "early");
        // That of a channel.
        let mut client = EchoClient::new(endpoint.clone().timeout(deadline).connect().await?);
        let error = client.say(text("late", LONG), None).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error:?}");
        drop((client, stop));
        task.await??;
        // That of a server.
        let (endpoint, stop, task) = start(Server::builder().timeout(deadline)).await?;
        let mut client = EchoClient::new(endpoint.connect().await?);
        let error = client.say(text("late", LONG), None).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error:?}");
        drop((client, stop));
        Ok(task.await??)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keepalive_keeps_a_connection_whose_peer_answers() -> Result<(), BoxError> {
    within(async {
        let patience = Duration::from_secs(30);
        let server =
            Server::builder().http2_keepalive_interval(Some(ALIVE)).http2_keepalive_timeout(Some(patience));
        let (endpoint, stop, task) = start(server).await?;
        let endpoint = endpoint.http2_keep_alive_interval(ALIVE).keep_alive_timeout(patience);
        let mut client = EchoClient::new(endpoint.keep_alive_while_idle(true).connect().await?);
        // Ten intervals, in which both sides ask.
        assert_eq!(client.say(text("alive", 300), None).await?, "alive");
        drop((client, stop));
        Ok(task.await??)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keepalive_ends_a_connection_whose_peer_is_silent() -> Result<(), BoxError> {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = endpoint(listener.local_addr()?)?;
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            copy(&mut stream, &mut sink()).await
        });
        let endpoint = endpoint.http2_keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
        let mut client = EchoClient::new(endpoint.connect().await?);
        let error = client.say(text("nobody", 0), None).await.unwrap_err();
        assert!(format!("{error:?}").contains("KeepAliveTimedOut"), "{error:?}");
        // The client has closed its side, after its preface.
        assert!(silent.await?? >= 24);
        Ok(())
    })
    .await
}
