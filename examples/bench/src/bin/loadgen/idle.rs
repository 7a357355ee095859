//! The measurements of idle connections.

use std::time::{Duration, Instant};
use std::{io, thread};

use netpoll_bench::process::Usage;
use netpoll_bench::samples::print_line;
use procfs::process::Process;

use crate::Load;
use crate::pattern::{connect_all, exchange};

/// The time in which the server becomes idle.
const SETTLE: Duration = Duration::from_millis(700);

/// Measures the resident memory of the server per connection: before the first byte, after one echo, after the close.
pub fn memory(load: &Load) -> io::Result<()> {
    // The server's allocations for its first connection do not belong to the others.
    let first = connect_all(load.address, 1, load.size)?;
    let base = settled(load)?;
    let streams = connect_all(load.address, load.connections, 0)?;
    let idle = settled(load)?;
    exchange(&streams, load.size)?;
    let used = settled(load)?;
    drop(streams);
    let closed = settled(load)?;
    drop(first);
    let each = |bytes: f64| (bytes - base).max(0.0) / load.connections as f64;
    let found = [
        ("idle_bytes", each(idle)),
        ("used_bytes", each(used)),
        ("closed_bytes", each(closed)),
        ("base_bytes", base),
    ];
    print_line("memory", &found);
    Ok(())
}

/// Returns the resident memory of the idle server, in bytes.
fn settled(load: &Load) -> io::Result<f64> {
    thread::sleep(SETTLE);
    let status = Process::new(load.server).and_then(|server| server.status()).map_err(io::Error::other)?;
    let kibibytes = status.vmrss.ok_or(io::Error::other("the system does not tell a process's memory"))?;
    Ok(kibibytes as f64 * 1024.0)
}

/// Measures how often the server wakes while all its connections wait, after one answer on each.
pub fn parked(load: &Load) -> io::Result<()> {
    let streams = connect_all(load.address, load.connections, load.size)?;
    thread::sleep(SETTLE);
    let (before, began) = (Usage::of(load.server), Instant::now());
    thread::sleep(load.length);
    let (spent, seconds) = (Usage::of(load.server).since(before), began.elapsed().as_secs_f64());
    // Every connection is still alive.
    exchange(&streams, load.size)?;
    let found = [
        ("switches_per_s", spent.switches as f64 / seconds),
        ("cpu_us_per_s", spent.processor.as_secs_f64() / seconds * 1e6),
    ];
    print_line("parked", &found);
    Ok(())
}
