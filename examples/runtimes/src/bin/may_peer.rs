//! The echo server of `goroutines echo` on `may`.

use std::io::{Read, Write};

use may::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let threads = value("--threads").map_or(Ok(2), |text| text.parse()).map_err(std::io::Error::other)?;
    may::config().set_workers(threads).set_stack_size(64 * 1024);
    let listener = TcpListener::bind(value("--addr").unwrap_or("127.0.0.1:0".to_owned()))?;
    println!("LISTENING {}", listener.local_addr()?);
    let accepts = may::go!(move || {
        while let Ok((stream, _)) = listener.accept() {
            may::go!(move || drop(echo(stream)));
        }
    });
    accepts.join().map_err(|_| std::io::Error::other("the listener panicked"))
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}
