//! The user instructions of a request, which the other work of the machine hardly changes.
//!
//! A server runs on one thread under callgrind, once for some requests and once for three times as many. The difference is
//! that of the requests alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use crate::measure::median;
use crate::options::{App, BoxError, Options};
use crate::pages;
use crate::servers::{Peer, start_ours};

/// The number of requests of the smaller load, on one connection.
const REQUESTS: usize = 500;

/// Counts for each page, and prints a line for each.
pub fn table(options: &Options) -> Result<(), BoxError> {
    println!("{} rounds, one thread, one connection", options.rounds);
    println!("| page | netpoll | tokio | netpoll : tokio |\n|---|---:|---:|---:|");
    for large in [false, true] {
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for (values, peer) in found.iter_mut().zip([Peer::Netpoll, Peer::Tokio]) {
                let few = of_load(peer, large, REQUESTS, options)?;
                let many = of_load(peer, large, 3 * REQUESTS, options)?;
                values.push((many - few) / (2 * REQUESTS) as f64);
            }
        }
        let [ours, theirs] = found.map(median);
        println!("| {} | {ours:.0} | {theirs:.0} | {:.3} |", pages::path(large), ours / theirs);
    }
    Ok(())
}

/// Returns the instructions of a server that answers some requests.
fn of_load(peer: Peer, large: bool, requests: usize, options: &Options) -> Result<f64, BoxError> {
    let profile = options.folder.join("profile");
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(std::env::current_exe()?);
    let app = App::Http { tls: false, h2: false };
    let server = start_ours(command, peer, app, &options.with_workers(1))?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    stream.set_nodelay(true)?;
    for _ in 0..requests {
        ask(&mut stream, large)?;
    }
    drop(stream);
    // Then the profile is written.
    server.end()?;
    let text = fs::read_to_string(&profile)?;
    fs::remove_file(&profile)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("a profile without a total")?;
    Ok(total.trim().parse()?)
}

/// Sends a request, and compares the body of the answer.
fn ask(stream: &mut TcpStream, large: bool) -> Result<(), BoxError> {
    stream.write_all(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", pages::path(large)).as_bytes())?;
    let expected = pages::bytes(large);
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let n = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..n]);
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        match head.map(|head| &answer[head + 4..]) {
            Some(body) if body == expected => return Ok(()),
            Some(body) if body.len() >= expected.len() => return Err("an answer with other bytes".into()),
            _ if n == 0 => return Err("the server closed the connection".into()),
            _ => {}
        }
    }
}
