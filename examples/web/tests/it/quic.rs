//! QUIC: quinn on netpoll.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use netpoll_rt::{Handle, JoinHandle};
use netpoll_web::quic::NetpollRuntime;
use netpoll_web::tls::Identity;
use netpoll_web::{BoxError, app};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig,
};

use crate::each;

/// The name of the protocol within QUIC.
const PROTOCOL: &str = "echo";

fn endpoint(server: Option<ServerConfig>) -> Result<Endpoint, BoxError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let runtime = Arc::new(NetpollRuntime::new(Handle::current()));
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, runtime)?)
}

/// Returns a server that sends each stream back, its task, and a client that trusts it.
fn pair() -> Result<(Endpoint, JoinHandle<()>, Endpoint), BoxError> {
    let identity = Identity::generate()?;
    let config = QuicServerConfig::try_from(identity.server(&[PROTOCOL])?)?;
    let server = endpoint(Some(ServerConfig::with_crypto(Arc::new(config))))?;
    let accepting = server.clone();
    let task = netpoll_rt::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            netpoll_rt::spawn(async move { echo(incoming).await.inspect_err(|error| println!("{error}")) });
        }
    });
    let mut client = endpoint(None)?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(identity.client(&[PROTOCOL])?)?));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IdleTimeout::try_from(Duration::from_millis(500))?));
    config.transport_config(Arc::new(transport));
    client.set_default_client_config(config);
    Ok((server, task, client))
}

async fn echo(incoming: quinn::Incoming) -> Result<(), BoxError> {
    let connection = incoming.await?;
    loop {
        let (mut send, mut receive) = match connection.accept_bi().await {
            Err(ConnectionError::ApplicationClosed(_)) => return Ok(()),
            stream => stream?,
        };
        netpoll_rt::spawn(async move {
            let bytes = receive.read_to_end(1 << 24).await?;
            send.write_all(&bytes).await?;
            Ok::<_, BoxError>(send.finish()?)
        });
    }
}

#[test]
fn streams_come_back() {
    each(async || {
        let (server, accepting, client) = pair()?;
        let connection = client.connect(server.local_addr()?, "localhost")?.await?;
        let streams = (0..50).map(|n| {
            let connection = connection.clone();
            netpoll_rt::spawn(async move {
                let bytes = app::pattern(n * 10_000);
                let (mut send, mut receive) = connection.open_bi().await?;
                send.write_all(&bytes).await?;
                send.finish()?;
                assert!(receive.read_to_end(1 << 24).await? == bytes);
                Ok::<_, BoxError>(())
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await??;
        }
        connection.close(0_u32.into(), b"done");
        client.wait_idle().await;
        server.close(0_u32.into(), b"");
        accepting.await?;
        Ok(())
    });
}

#[test]
fn connection_without_an_answer_times_out() {
    each(async || {
        let (server, accepting, client) = pair()?;
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let error = client.connect(silent.local_addr()?, "localhost")?.await.unwrap_err();
        assert_eq!(error, ConnectionError::TimedOut);
        server.close(0_u32.into(), b"");
        accepting.await?;
        Ok(())
    });
}
