//! An echo server with TLS: futures-rustls takes any stream with the traits of futures-io. The deadlines of the TCP
//! connection hold for the handshake and for the data.
//!
//! `cargo run -p netpoll-examples --bin tls_echo -- 127.0.0.1:7000`, then `openssl s_client -connect 127.0.0.1:7000`. The
//! certificate is generated at the start, for `localhost`. Without an address the program connects to itself twice, the
//! first time without trust in the certificate.

use std::time::{Duration, Instant};
use std::{io, net::SocketAddr, sync::Arc};

use futures_lite::future::{or, try_zip};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt, split};
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use netpoll_rt::net::{TcpListener, TcpStream};

async fn echo(tls: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let patience = || Some(Instant::now() + Duration::from_secs(10));
    stream.set_deadline(patience())?;
    let mut stream = tls.accept(stream).await?;
    let mut buffer = [0; 4096];
    loop {
        stream.get_ref().0.set_deadline(patience())?;
        match stream.read(&mut buffer).await? {
            0 => return stream.close().await,
            n => stream.write_all(&buffer[..n]).await?,
        }
        stream.flush().await?;
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) -> io::Result<()> {
    let mut incoming = listener.incoming();
    loop {
        let (stream, peer) = incoming.next().await?;
        let echo = echo(tls.clone(), stream);
        netpoll_rt::spawn(async move { echo.await.inspect_err(|error| eprintln!("{peer}: {error}")) });
    }
}

async fn connect(address: SocketAddr, roots: RootCertStore) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

async fn visit(address: SocketAddr, certificate: CertificateDer<'static>) -> io::Result<()> {
    let error = connect(address, RootCertStore::empty()).await.map(|_| "trusted").unwrap_err();
    println!("a client that does not know the certificate: {error}");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let (mut reader, mut writer) = split(connect(address, roots).await?);
    let (sent, mut received) = (vec![b'x'; 100_000], Vec::new());
    let write = async {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    try_zip(write, reader.read_to_end(&mut received)).await?;
    assert_eq!(received, sent);
    println!("a client that knows it got {} bytes back", received.len());
    Ok(())
}

fn main() -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.clone()], key).map_err(io::Error::other)?;
    let tls = TlsAcceptor::from(Arc::new(config));
    netpoll_rt::block_on(async {
        let address = std::env::args().nth(1);
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let local = listener.local_addr()?;
        let serve = serve(listener, tls);
        if address.is_some() { serve.await } else { or(visit(local, certificate), serve).await }
    })
}
