//! Goroutines on `netpoll_rt::poll`: an echo server with a stack for each connection, on two threads.
//!
//! ```text
//! goroutines [--threads 2] [--connections 1000] [--secs 2]   its own clients compare every byte
//! goroutines echo --addr 127.0.0.1:0 [--threads 2]           serves
//! ```

mod check;
mod net;
mod runtime;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Conn, Listener};
use crate::runtime::Runtime;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let number =
        |name, default| value(name).map_or(Ok(default), |text| text.parse().map_err(io::Error::other));
    let runtime = Runtime::start(number("--threads", 2)?.clamp(1, 64))?;
    let (done, result) = std::sync::mpsc::channel();
    if args.first().is_some_and(|command| command == "echo") {
        let address = value("--addr").unwrap_or("127.0.0.1:0".to_owned());
        runtime.go(move || {
            let served = serve(runtime, &address, None, |address| println!("LISTENING {address}"));
            done.send(served).unwrap_or_default();
        });
    } else {
        let (connections, secs) = (number("--connections", 1000)?, number("--secs", 2)?);
        runtime.go(move || done.send(check::run(runtime, connections, secs)).unwrap_or_default());
    }
    result.recv().map_err(io::Error::other)?
}

/// Accepts connections, for ever, and echoes on each in a goroutine of its own.
pub fn serve(
    runtime: &'static Runtime,
    address: &str,
    idle: Option<Duration>,
    listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = Listener::bind(runtime, address)?;
    listening(listener.0.get_ref().local_addr()?);
    loop {
        let conn = listener.accept(runtime)?;
        // The client judges the end of a connection.
        runtime.go(move || drop(echo(&conn, idle)));
    }
}

fn echo(mut conn: &Conn, idle: Option<Duration>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(idle) = idle {
            conn.set_deadline_after(idle)?;
        }
        match conn.read(&mut buffer)? {
            0 => return Ok(()),
            n => conn.write_all(&buffer[..n])?,
        }
    }
}
