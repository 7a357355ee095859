//! `bench`: this runtime beside tokio, smol, Go and a bare loop over epoll, all in one run, their rounds interleaved.
//!
//! What is measured is a table (`bench/table.rs`); the peers live in `examples/bench`, outside the default build.

mod core_ops;
mod count;
mod figures;
mod machine;
mod markdown;
mod measure;
mod options;
mod peers;
mod plot;
mod process;
mod report;
mod rounds;
mod rows;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use options::Options;
use xtask::{Outcome, cmd};

pub fn run(args: &[String]) -> Outcome {
    let (root, rest) = cmd::take_root(args)?;
    match rest.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--core"] => return core_ops::run(&root),
        ["--help"] => return told(options::HELP),
        ["--list"] => return told(&list()),
        ["--harness"] => return Err("--harness needs the folder of the harness".to_owned()),
        ["--harness", folder, arguments @ ..] => return harness(&root, folder, arguments),
        _ => {}
    }
    let options = Options::parse(&rest)?;
    match &options.from {
        Some(folder) => report::again(folder, options.out.as_deref().unwrap_or(folder)),
        None => measure_all(&root, &options),
    }
}

fn measure_all(root: &Path, options: &Options) -> Outcome {
    let chosen = table::chosen(&options.words)?;
    let peers = peers::build(root, options)?;
    let machine = machine::Machine::look(&options.secs);
    let mut header = machine.header(root, &peers, options);
    let bench = measure::Bench { machine: &machine, loadgen: peers::loadgen(root)? };
    let (figures, failures) = rounds::run(&chosen, &peers, &bench, options);
    header.push(("load afterwards".to_owned(), machine::load()));
    header.extend(failures.iter().map(|failure| ("no figure".to_owned(), failure.clone())));
    let folder = match &options.out {
        Some(out) => out.clone(),
        // What is published is the whole of a group at full length; a glance goes elsewhere.
        None if options.is_full() => root.join("examples/bench/results"),
        None => cmd::target_dir(root)?.join("bench"),
    };
    let groups = report::write(&folder, &header, &chosen, &figures)?;
    println!(
        "bench: {} figures of {} workloads, {groups} groups in {}",
        figures.len(),
        chosen.len(),
        folder.display()
    );
    match failures.iter().find(|failure| failure.starts_with(peers::OURS)) {
        Some(failure) => Err(format!("{failure} ({} failures)", failures.len())),
        None if figures.is_empty() => Err("nothing was measured".to_owned()),
        None => Ok(()),
    }
}

fn told(text: &str) -> Outcome {
    print!("{text}");
    Ok(())
}

fn list() -> String {
    let row = |w: &table::Workload| format!("{:<5} {:<30} {}\n", w.group.name(), w.name, w.what);
    let rows: String = table::WORKLOADS.iter().map(row).collect();
    format!("{rows}bench: {} workloads\n", table::WORKLOADS.len())
}

/// A harness of somebody else's, which takes our peer by its path.
fn harness(root: &Path, folder: &str, arguments: &[&str]) -> Outcome {
    let program: PathBuf = Path::new(folder).join("run");
    if !program.is_file() {
        return Err(format!("--harness {folder}: it has no program `run`"));
    }
    let ours = peers::build_ours(root)?;
    cmd::run(Command::new(program).args(arguments).env("OURS_BIN", ours))
}
