//! Datagrams that are sent until they are answered.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{MissedTickBehavior, interval};

use crate::PORT;

/// The pause between two sends of one number.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Sends each datagram back, for ever.
///
/// # Errors
///
/// Returns an error if the socket fails.
pub async fn serve() -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
    let mut buffer = [0; 1500];
    loop {
        let (n, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..n], from).await?;
    }
}

/// Sends the numbers below `n`, each until it has come back; returns how many datagrams that took.
///
/// # Errors
///
/// Returns an error if the name is not known or the socket fails.
pub async fn count(host: &str, n: u32) -> io::Result<u32> {
    let found: Vec<SocketAddr> = lookup_host((host, PORT)).await?.collect();
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(&found[..]).await?;
    let mut again = interval(PAUSE);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    for number in 0..n {
        let mut answer = [0; 4];
        loop {
            tokio::select! {
                // The first tick is due at once.
                _ = again.tick() => {
                    socket.send(&number.to_be_bytes()).await?;
                    sent += 1;
                }
                got = socket.recv(&mut answer) => {
                    if got? == 4 && u32::from_be_bytes(answer) == number {
                        break;
                    }
                }
            }
        }
    }
    Ok(sent)
}
