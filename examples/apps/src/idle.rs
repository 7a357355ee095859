//! The memory of an idle connection of HTTP/1, after one request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::options::{BoxError, Options};
use crate::process::Server;
use crate::{pages, tls};

/// The number of connections whose memory is measured.
const IDLE: usize = 2000;

/// The number of connections before those. They also fill what a server allocates once: its pages, the stacks of its
/// threads, the arenas of the allocator.
const FIRST: usize = 1000;

/// Returns the memory of a connection, in KB.
pub fn memory(server: &Server, tls: bool, options: &Options) -> Result<f64, BoxError> {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, server.port));
    if !tls {
        return of_connections(server, || asked(connect()?));
    }
    let config = tls::config(&options.folder)?;
    of_connections(server, || {
        let session = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
        asked(StreamOwned::new(session, connect()?))
    })
}

/// Returns by how much a connection that is opened and kept makes the server grow, in KB.
fn of_connections<C>(
    server: &Server,
    mut open: impl FnMut() -> Result<C, BoxError>,
) -> Result<f64, BoxError> {
    let mut held = (0..FIRST).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let before = server.memory()?;
    for _ in 0..IDLE {
        held.push(open()?);
    }
    Ok((server.memory()? - before) / IDLE as f64)
}

/// Sends one request over a connection, reads the answer, and returns the connection.
fn asked<S: Read + Write>(mut stream: S) -> Result<S, BoxError> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(pages::SMALL) {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err("the server closed a connection".into());
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    Ok(stream)
}
