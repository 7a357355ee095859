//! A TCP proxy: one connection to the target for each that comes.

use std::io;
use std::net::SocketAddr;

use super::rt::{self, *};

pub async fn serve(listener: TcpListener, target: SocketAddr) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        rt::spawn(async move {
            let mut other = TcpStream::connect(target).await?;
            other.set_nodelay(true)?;
            // The client and the target judge how a connection ends.
            rt::copy_both(&mut stream, &mut other).await
        });
    }
}
