//! The user instructions of a request, which the other work of the machine hardly changes.
//!
//! A server runs on one thread under callgrind, once for some requests and once for three times as many. The difference is
//! that of the requests alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use netpoll_web::BoxError;

use crate::measure::{SIZES, Server, row};
use crate::{Options, Peer};

/// The number of requests of the smaller load, on one connection.
const REQUESTS: usize = 500;

/// Counts for each size of a response, and prints a line for each.
pub fn table(options: Options) -> Result<(), BoxError> {
    println!("{} rounds, one thread, one connection", options.rounds);
    println!("| what | bytes | netpoll | tokio | ratio |\n|---|---|---|---|---|");
    for size in SIZES {
        let count = |peer| of_request(peer, size, &options);
        row(&format!("server, instructions a request | {size}"), options.rounds, count)?;
    }
    Ok(())
}

fn of_request(peer: Peer, size: usize, options: &Options) -> Result<f64, BoxError> {
    let few = of_load(peer, size, REQUESTS, options)?;
    let many = of_load(peer, size, 3 * REQUESTS, options)?;
    Ok((many - few) / (2 * REQUESTS) as f64)
}

/// Returns the instructions of a server that answers some requests.
fn of_load(peer: Peer, size: usize, requests: usize, options: &Options) -> Result<f64, BoxError> {
    let profile = std::env::temp_dir().join(format!("compare-{}.callgrind", std::process::id()));
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(std::env::current_exe()?);
    let server = Server::start_by(command, peer, (false, false), options)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    stream.set_nodelay(true)?;
    for _ in 0..requests {
        ask(&mut stream, size)?;
    }
    drop(stream);
    // Waits until the server has ended and written the profile.
    drop(server);
    let text = fs::read_to_string(&profile)?;
    fs::remove_file(&profile)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("a profile without a total")?;
    Ok(total.trim().parse()?)
}

/// Sends a request, and reads the answer up to the end of its body.
fn ask(stream: &mut TcpStream, size: usize) -> Result<(), BoxError> {
    let page = if size == SIZES[0] { "" } else { "large" };
    stream.write_all(format!("GET /{page} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let n = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..n]);
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        match head.map(|head| answer.len() - (head + 4)) {
            Some(body) if body == size => return Ok(()),
            Some(body) if body > size => return Err("an answer longer than asked for".into()),
            _ if n == 0 => return Err("the server closed the connection".into()),
            _ => {}
        }
    }
}
