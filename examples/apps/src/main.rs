//! Real programs under real loads: CPU time of an operation and the rate, on netpoll and tokio with the same source, in Go, and
//! of nginx, haproxy and redis-server.
//!
//! `apps/` has the programs, compiled once for each runtime. `cases.rs` is the table of the loads, `measure.rs` interleaves
//! the peers, and `facade.rs` measures two builds of `examples/tokio-app`.

mod cases;
mod dns;
mod facade;
mod idle;
mod instructions;
mod measure;
mod on_netpoll;
mod on_tokio;
mod options;
mod pages;
mod process;
mod servers;
mod tls;
mod tools;

use std::fs;
use std::process::ExitCode;

use options::{App, BoxError, HELP, Options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("apps: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let options = Options::parse().map_err(|error| format!("{error}; see --help and --list"))?;
    if options.help {
        print!("{HELP}");
        return Ok(());
    }
    if options.list {
        cases::all().iter().for_each(|case| println!("{:<22} CPU of a {}", case.name, case.load.unit()));
        measure::CLIENTS.iter().for_each(|(name, ..)| println!("{name:<22} CPU of a request of a client"));
        measure::IDLE.iter().for_each(|(name, _)| println!("{name:<22} memory of an idle connection"));
        return Ok(());
    }
    match &options.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", runtime, app] => serve(runtime, app, &options),
        ["ask", "netpoll"] => on_netpoll::apps::ask(&options),
        ["ask", "tokio"] => on_tokio::apps::ask(&options),
        ["facade", ours, theirs] => facade::table(ours.as_ref(), theirs.as_ref(), &options),
        _ => {
            fs::create_dir_all(&options.folder)?;
            let result = tls::generate(&options.folder).and_then(|()| match options.instructions {
                true => instructions::table(&options),
                false => measure::table(&options),
            });
            fs::remove_dir_all(&options.folder)?;
            result
        }
    }
}

fn serve(runtime: &str, app: &str, options: &Options) -> Result<(), BoxError> {
    let (_, app) =
        App::ALL.iter().find(|(name, _)| *name == app).ok_or_else(|| format!("no program `{app}`"))?;
    match runtime {
        "netpoll" => on_netpoll::apps::serve(*app, options),
        "tokio" => on_tokio::apps::serve(*app, options),
        other => Err(format!("no runtime `{other}`").into()),
    }
}
