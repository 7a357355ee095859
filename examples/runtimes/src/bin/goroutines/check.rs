//! The check of the example: clients that compare every byte, and the memory of goroutines.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::net::Conn;
use crate::runtime::{Runtime, block_on, blocking};
use crate::serve;

/// The time for which a connection may be silent, if the program is its own client.
const IDLE: Duration = Duration::from_millis(1500);
/// The time that the answer to a message may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Every client with a number that this divides sends nothing, and is cut off.
const SILENT: usize = 50;
/// The number of goroutines whose memory is measured.
const SLEEPERS: usize = 10_000;

/// Serves its own clients and checks them. Prints their counts.
pub fn run(runtime: &'static Runtime, connections: usize, secs: usize) -> io::Result<()> {
    measure_sleepers(runtime)?;
    let (listening, address) = async_channel::bounded(1);
    runtime.go(move || {
        let served = serve(runtime, "127.0.0.1:0", Some(IDLE), |address| {
            block_on(listening.send(address)).expect("the clients wait for the address");
        });
        panic!("the server ended: {served:?}");
    });
    let address = block_on(address.recv()).map_err(io::Error::other)?;
    let end = Instant::now() + Duration::from_secs(secs as u64);
    let (report, reports) = async_channel::bounded(16);
    for number in 0..connections {
        let stream = blocking(move || TcpStream::connect(address))?;
        let report = report.clone();
        runtime.go(move || {
            let done = Conn::new(runtime, stream).and_then(|conn| client(&conn, number, end));
            block_on(report.send(done)).expect("the check waits for every client");
        });
    }
    drop(report);
    let (mut messages, mut cut_off) = (0, 0);
    while let Ok(done) = block_on(reports.recv()) {
        match done? {
            0 => cut_off += 1,
            n => messages += n,
        }
    }
    println!("{connections} connections, {messages} messages compared, {cut_off} silent ones cut off");
    let silent = connections.div_ceil(SILENT);
    if cut_off == silent { Ok(()) } else { Err(io::Error::other(format!("not {silent} were cut off"))) }
}

/// Sends messages and compares the answers. Returns how many there were: 0 for a silent client that was cut off.
fn client(mut conn: &Conn, number: usize, end: Instant) -> io::Result<usize> {
    conn.set_deadline_after(PATIENCE)?;
    let mut answer = [0; 4096];
    if number.is_multiple_of(SILENT) {
        let n = conn.read(&mut answer)?;
        return if n == 0 { Ok(0) } else { Err(io::Error::other("an answer to nothing")) };
    }
    let mut messages = 0;
    while messages == 0 || Instant::now() < end {
        let length = 1 + (number * 31 + messages * 577) % answer.len();
        let message: Vec<u8> = (0..length).map(|at| (at ^ number ^ messages) as u8).collect();
        conn.set_deadline_after(PATIENCE)?;
        conn.write_all(&message)?;
        conn.read_exact(&mut answer[..length])?;
        if message != answer[..length] {
            return Err(io::Error::other(format!("client {number}: message {messages} came back changed")));
        }
        messages += 1;
    }
    Ok(messages)
}

/// Prints the memory that a goroutine takes while it sleeps.
fn measure_sleepers(runtime: &'static Runtime) -> io::Result<()> {
    let before = resident_pages()?;
    let (report, reports) = async_channel::bounded(1);
    let wake_at = Instant::now() + Duration::from_millis(500);
    for _ in 0..SLEEPERS {
        let report = report.clone();
        runtime.go(move || {
            let slept = runtime.sleep(wake_at.saturating_duration_since(Instant::now()));
            block_on(report.send(slept)).expect("the measurement waits for every sleeper");
        });
    }
    drop(report);
    runtime.sleep(wake_at.saturating_duration_since(Instant::now()) / 2)?;
    let pages = resident_pages()?.saturating_sub(before);
    while let Ok(slept) = block_on(reports.recv()) {
        slept?;
    }
    println!("{SLEEPERS} sleeping goroutines take {:.1} pages each", pages as f64 / SLEEPERS as f64);
    Ok(())
}

/// Returns the resident pages of this process, 0 where the system does not tell.
fn resident_pages() -> io::Result<usize> {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return Ok(0) };
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.ok_or_else(|| io::Error::other("/proc/self/statm has another form"))
}
