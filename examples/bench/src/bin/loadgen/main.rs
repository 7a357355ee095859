//! The load, the same for every server: one epoll for each thread, and one thread unless `--threads` asks for more. Each
//! connection has one message, or one batch of messages, in flight, and every byte that comes back is compared.
//!
//! ```text
//! loadgen echo   --addr A --pid SERVER [--connections C] [--size BYTES] [--pipeline P] [--warmup MS] [--threads N]
//!                [--pause US] [--perf FIFOS] (--secs T | --count N)
//! loadgen churn  --addr A --pid SERVER [--connections K] (--secs T | --count N)
//! loadgen memory --addr A --pid SERVER [--connections C]
//! loadgen parked --addr A --pid SERVER [--connections C] [--secs T]
//! ```
//!
//! The program prints one line of JSON. It reads the server's costs at both ends of the measured time. With `--perf` it lets
//! a `perf stat` around the server count only in that time: `FIFOS.ctl` and `FIFOS.ack` are the ends of perf's `--control`.

mod churn;
mod echo;
mod idle;
mod pattern;
mod window;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use netpoll_bench::process::Options;

/// The parameters of a load.
struct Load {
    address: SocketAddr,
    /// The process ID of the server, or 0, with which its costs are not measured.
    server: i32,
    connections: usize,
    size: usize,
    pipeline: usize,
    /// The number of threads, each with its part of the connections.
    threads: usize,
    /// The path of the pipes to perf, without their endings.
    perf: Option<PathBuf>,
    warmup: Duration,
    /// The time that a thread of an echo sleeps before each message, so that long waits are as likely to be seen as short ones.
    pause: Duration,
    length: Duration,
    /// The number of messages, or of connections, after which the load ends. Without it the time decides.
    count: Option<u64>,
}

/// The time that an answer may take at most.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("loadgen: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (command, options) = Options::from_args()?;
    let (count, perf) = (options.get("count", 0)?, options.get("perf", String::new())?);
    let connections = options.get("connections", 64_usize)?.max(1);
    let load = Load {
        address: options.get("addr", SocketAddr::from(([127, 0, 0, 1], 0)))?,
        server: options.get("pid", 0)?,
        connections,
        size: options.get("size", 64_usize)?.max(1),
        pipeline: options.get("pipeline", 1_usize)?.max(1),
        threads: options.get("threads", 1_usize)?.clamp(1, connections),
        perf: (!perf.is_empty()).then(|| perf.into()),
        warmup: Duration::from_millis(options.get("warmup", 200)?),
        pause: Duration::from_micros(options.get("pause", 0)?),
        length: Duration::from_secs_f64(options.get("secs", 1.0)?),
        count: (count > 0).then_some(count),
    };
    let done = match command.as_str() {
        "echo" => echo::run(&load),
        "churn" => churn::run(&load),
        "memory" => idle::memory(&load),
        "parked" => idle::parked(&load),
        other => return Err(format!("there is no load `{other}`: choose echo, churn, memory or parked")),
    };
    done.map_err(|error| format!("{} connections with {}: {error}", load.connections, load.address))
}
