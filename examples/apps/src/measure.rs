//! The rounds, in which every peer takes part, and the table of the medians.
//!
//! The servers of the pages run side by side in a round: each is loaded for a short time in turn. The cost of a request depends on
//! what else the machine does (the CPU of the load's own program for a request rises and falls with it), and this changes
//! within seconds. Loads that follow each other closely meet the same, so the ratio of two servers varies less than their costs.

use std::process::Command;

use crate::cases::{self, Case, Load};
use crate::options::{App, BoxError, Options};
use crate::process::{Server, free_port};
use crate::servers::{Peer, Peers};
use crate::{idle, tools};

/// The costs of an operation, or its rate, one column for each.
pub type Found = [f64; 2];

/// The values of a peer, one for each round, or the error that ended its part.
type Column = (Peer, Result<Vec<Found>, BoxError>);

/// The load of a client: its name, whether with TLS, whether for the large page, and the number of connections.
type Client = (&'static str, bool, bool, usize);

/// The cases of a client.
pub const CLIENTS: &[Client] = &[
    ("client-http1-13b-64", false, false, 64),
    ("client-http1-100k-64", false, true, 64),
    ("client-http1-13b-1000", false, false, 1000),
    ("client-tls1-13b-64", true, false, 64),
    ("client-tls1-100k-64", true, true, 64),
    ("client-tls1-13b-1000", true, false, 1000),
];

/// The cases of idle connections, and whether with TLS.
pub const IDLE: &[(&str, bool)] = &[("idle-http1", false), ("idle-tls1", true)];

/// Measures the cases that the words choose, and prints two lines for each.
pub fn table(options: &Options) -> Result<(), BoxError> {
    let mut table = Table { peers: Peers::find(options)?, options, rows: 0, failures: Vec::new() };
    let Options { rounds, secs, workers, .. } = options;
    println!(
        "{rounds} rounds, loads of {secs} s, {workers} workers; medians; a ratio is the median of those of the rounds\n"
    );
    let names = table.peers.all.iter().map(|peer| format!(" {} |", peer.name())).collect::<String>();
    println!("| case | figure |{names} netpoll : tokio | its quartiles |");
    println!("|---|---|{}---:|---:|", "---:|".repeat(table.peers.all.len()));
    for case in cases::all().iter().filter(|case| options.chooses(&case.name)) {
        match case.tools().iter().find(|tool| !tools::exists(tool)) {
            Some(tool) => table.failures.push(format!("{}: {tool} is not installed", case.name)),
            None => table.case(case),
        }
    }
    for client in CLIENTS.iter().filter(|(name, ..)| options.chooses(name)) {
        table.client(client);
    }
    for (name, tls) in IDLE.iter().filter(|(name, _)| options.chooses(name)) {
        table.idle(name, *tls);
    }
    let Table { rows, failures, .. } = table;
    failures.iter().for_each(|failure| println!("no figure: {failure}"));
    println!("apps: {rows} rows, {} failures", failures.len());
    match failures.iter().find(|failure| failure.starts_with(Peer::Netpoll.name())) {
        Some(failure) => Err(failure.clone().into()),
        None if rows == 0 => Err("nothing was measured; see --list".into()),
        None => Ok(()),
    }
}

struct Table<'a> {
    peers: Peers,
    options: &'a Options,
    /// The lines so far.
    rows: usize,
    /// Descriptions of the cases that were left out or failed. A peer's failure begins with its name.
    failures: Vec<String>,
}

impl Table<'_> {
    fn case(&mut self, case: &Case) {
        let columns = match case.load {
            Load::Pages { .. } => side_by_side(&self.peers, case, self.options),
            _ => in_turn(&self.peers.all, self.options.rounds, |peer| peer.serves(case.app), &mut |peer| {
                once(&self.peers, peer, case, self.options)
            }),
        };
        let unit = case.load.unit();
        self.print(&case.name, [&format!("CPU µs/{unit}"), &format!("{}/s", case.load.units())], columns);
    }

    fn client(&mut self, case: &Client) {
        let columns = in_turn(&self.peers.all, self.options.rounds, is_ours, &mut |peer| {
            client(&self.peers, peer, case, self.options)
        });
        self.print(case.0, ["CPU µs/request", "requests/s"], columns);
    }

    fn idle(&mut self, name: &str, tls: bool) {
        let columns = in_turn(&self.peers.all, 1, is_ours, &mut |peer| {
            let server = self.peers.start(peer, App::Http { tls, h2: false }, self.options)?;
            Ok([idle::memory(&server, tls, self.options)?, f64::NAN])
        });
        self.print(name, ["KB/connection", ""], columns);
    }

    /// Prints the two lines of a case, or one if it has no second figure.
    fn print(&mut self, case: &str, figures: [&str; 2], columns: Vec<Column>) {
        let mut good = Vec::new();
        for (peer, found) in columns {
            match found {
                Ok(values) => good.push((peer, values)),
                Err(error) => self.failures.push(format!("{}, {case}: {error}", peer.name())),
            }
        }
        let has_figures = !good.is_empty();
        for (at, figure) in figures.iter().enumerate().filter(|(_, figure)| has_figures && !figure.is_empty())
        {
            let values = |peer: Peer| {
                let (_, values) = good.iter().find(|(of, _)| *of == peer)?;
                Some(values.iter().map(|value| value[at]).collect::<Vec<_>>())
            };
            let value = |peer: Peer| values(peer).map(median);
            let cell = |value: Option<f64>| value.map_or("-".to_owned(), number);
            let cells: String =
                self.peers.all.iter().map(|peer| format!(" {} |", cell(value(*peer)))).collect();
            let compared = values(Peer::Netpoll).zip(values(Peer::Tokio));
            let (ratio, quartiles) = compared.map_or(("-".to_owned(), "-".to_owned()), compare);
            println!("| {} | {figure} |{cells} {ratio} | {quartiles} |", if at == 0 { case } else { "" });
            self.rows += 1;
        }
    }
}

fn is_ours(peer: Peer) -> bool {
    matches!(peer, Peer::Netpoll | Peer::Tokio)
}

/// Measures each peer once in each round, in reverse order in each second one. The first error of a peer ends its part.
fn in_turn(
    peers: &[Peer],
    rounds: usize,
    takes_part: impl Fn(Peer) -> bool,
    measure: &mut dyn FnMut(Peer) -> Result<Found, BoxError>,
) -> Vec<Column> {
    let mut columns: Vec<Column> =
        peers.iter().filter(|peer| takes_part(**peer)).map(|peer| (*peer, Ok(Vec::new()))).collect();
    for round in 0..rounds {
        for turn in 0..columns.len() {
            let at = if round % 2 == 0 { turn } else { columns.len() - 1 - turn };
            let (peer, found) = &mut columns[at];
            if let Ok(values) = found {
                match measure(*peer) {
                    Ok(value) => values.push(value),
                    Err(error) => *found = Err(error),
                }
            }
        }
    }
    columns
}

/// A server in a round, and the sums of its loads so far.
struct Running {
    server: Server,
    cpu: f64,
    count: f64,
    seconds: f64,
}

impl Running {
    fn load(&mut self, case: &Case, is_counted: bool, options: &Options) -> Result<(), BoxError> {
        let before = self.server.seconds()?;
        let (count, seconds) = case.load(&self.server, case.slice(), options)?;
        if count < case.load.connections() {
            return Err("more connections than requests".into());
        }
        if is_counted {
            self.cpu += self.server.seconds()? - before;
            (self.count, self.seconds) = (self.count + count, self.seconds + seconds);
        }
        Ok(())
    }
}

/// Measures the servers of the pages. The first load of a round opens the pages of the program and fills its caches, and is not
/// counted. The first error of a peer ends its part.
fn side_by_side(peers: &Peers, case: &Case, options: &Options) -> Vec<Column> {
    let takes_part = peers.all.iter().filter(|peer| peer.serves(case.app));
    let mut columns: Vec<Column> = takes_part.map(|peer| (*peer, Ok(Vec::new()))).collect();
    for round in 0..options.rounds as u64 {
        let start = |(peer, found): &Column| {
            let server = found.is_ok().then(|| peers.start(*peer, case.app, options))?;
            Some(server.map(|server| Running { server, cpu: 0.0, count: 0.0, seconds: 0.0 }))
        };
        let mut running: Vec<_> = columns.iter().map(start).collect();
        for slice in 0..=options.secs {
            for turn in 0..running.len() {
                let at = if (round + slice) % 2 == 0 { turn } else { running.len() - 1 - turn };
                if let Some(Ok(server)) = &mut running[at]
                    && let Err(error) = server.load(case, slice > 0, options)
                {
                    running[at] = Some(Err(error));
                }
            }
        }
        for ((_, found), ended) in columns.iter_mut().zip(running) {
            let value = ended.map(|ended| -> Result<Found, BoxError> {
                let Running { server, cpu, count, seconds } = ended?;
                case.check(&server)?;
                Ok([cpu * 1e6 / count, count / seconds])
            });
            match (value, found) {
                (Some(Ok(value)), Ok(values)) => values.push(value),
                (Some(Err(error)), found) => *found = Err(error),
                _ => {}
            }
        }
    }
    columns
}

/// Returns the median of the ratios of two values of the same round, and the quartiles.
fn compare((ours, theirs): (Vec<f64>, Vec<f64>)) -> (String, String) {
    let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    let quartile = |quarters: usize| ratios[(ratios.len() - 1) * quarters / 4];
    (format!("{:.3}", median(ratios.clone())), format!("{:.2} to {:.2}", quartile(1), quartile(3)))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Starts a server, loads it twice, and compares its bytes. The first load opens the pages of the program and fills its
/// caches.
fn once(peers: &Peers, peer: Peer, case: &Case, options: &Options) -> Result<Found, BoxError> {
    let behind = target(case.load, options)?;
    let target = behind.as_ref().map_or(options.target, |target| ([127, 0, 0, 1], target.port).into());
    let server = peers.start(peer, case.app, &options.with_target(target))?;
    case.load(&server, 1, options)?;
    let before = server.seconds()?;
    let (count, seconds) = case.load(&server, options.secs, options)?;
    let spent = server.seconds()? - before;
    case.check(&server)?;
    if matches!(case.load, Load::Stream) {
        // The target of a stream only counts, so the same program relays to an echo, whose bytes are compared.
        drop(server);
        let echo = Case { name: String::new(), app: case.app, load: Load::Messages(16 << 10) };
        let behind = self::target(echo.load, options)?.ok_or("a proxy without a target")?;
        let server =
            peers.start(peer, case.app, &options.with_target(([127, 0, 0, 1], behind.port).into()))?;
        echo.load(&server, 1, options)?;
    }
    Ok([spent * 1e6 / count, count / seconds])
}

/// Starts the target of a proxy, if the load is for one.
fn target(load: Load, options: &Options) -> Result<Option<Server>, BoxError> {
    let server = match load {
        Load::Stream => {
            let port = free_port()?;
            let mut command = Command::new("iperf3");
            command.args(["-s", "-B", "127.0.0.1", "-p", &port.to_string()]);
            Server::on_port(command, port)?
        }
        Load::Messages(_) => {
            let mut command = Command::new(cases::tools_folder(options)?.join("loop_peer"));
            command.args(["echo", "--until-eof", "1"]);
            Server::telling(command)?.0
        }
        _ => return Ok(None),
    };
    Ok(Some(server))
}

/// Returns the requests of a client in a second of a round.
fn requests(large: bool) -> u64 {
    if large { 15_000 } else { 60_000 }
}

/// Measures a client against a server on tokio.
fn client(
    peers: &Peers,
    peer: Peer,
    &(_, tls, large, connections): &Client,
    options: &Options,
) -> Result<Found, BoxError> {
    let server = peers.start(Peer::Tokio, App::Http { tls, h2: false }, options)?;
    let mut command = Command::new(std::env::current_exe()?);
    let requests = options.secs * requests(large);
    command.args(["ask", peer.name(), "--workers", &options.workers.to_string()]);
    command.args(["--port", &server.port.to_string(), "--requests", &requests.to_string()]);
    command.args(["--connections", &connections.to_string(), "--folder"]).arg(&options.folder);
    command.args(tls.then_some("--tls")).args(large.then_some("--large"));
    let output = command.output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the client failed: {}: {}", output.status, text.trim()).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (cpu, seconds) = text.trim().split_once(' ').ok_or("the client printed no times")?;
    let asked = (requests as usize / connections * connections) as f64;
    Ok([cpu.parse::<f64>()? * 1e6 / asked, asked / seconds.parse::<f64>()?])
}
