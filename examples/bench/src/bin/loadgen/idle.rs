//! Connections that do nothing.

use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::Load;
use crate::line::line;
use crate::pattern::{connect_all, exchange};
use crate::usage::Usage;

/// Until the server has done all that there is to do.
const SETTLE: Duration = Duration::from_millis(700);

/// Resident memory of the server per connection: before the first byte, after one echo, after they are closed.
pub fn memory(load: &Load) -> io::Result<()> {
    // What a server makes at its first connection is not theirs.
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
    line("memory", &found);
    Ok(())
}

fn settled(load: &Load) -> io::Result<f64> {
    thread::sleep(SETTLE);
    let status = fs::read_to_string(format!("/proc/{}/status", load.server))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|value| value.trim().split(' ').next()?.parse::<f64>().ok());
    kibibytes
        .map(|k| k * 1024.0)
        .ok_or_else(|| io::Error::other("the system does not tell a process's memory"))
}

/// How often the server wakes while all its connections wait, each having been answered once.
pub fn parked(load: &Load) -> io::Result<()> {
    let streams = connect_all(load.address, load.connections, load.size)?;
    thread::sleep(SETTLE);
    let (before, began) = (Usage::of(&load.server), Instant::now());
    thread::sleep(load.length);
    let (spent, seconds) = (Usage::of(&load.server).since(before), began.elapsed().as_secs_f64());
    // Still alive, every one.
    exchange(&streams, load.size)?;
    let found = [
        ("switches_per_s", spent.switches as f64 / seconds),
        ("cpu_us_per_s", spent.processor.as_secs_f64() / seconds * 1e6),
    ];
    line("parked", &found);
    Ok(())
}
