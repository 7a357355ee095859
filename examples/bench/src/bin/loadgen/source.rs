//! Where connections come from.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Socket, Type};

/// Addresses of the loopback that clients come from: the ports of one would be used up within seconds, for a closed
/// connection keeps its port for a minute.
const SOURCES: u64 = 200;

/// A socket for the connection of that number, with its own end named.
pub fn socket(number: u64) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = Ipv4Addr::new(127, 0, 1, (1 + number % SOURCES) as u8);
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    Ok(socket)
}
