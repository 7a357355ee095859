//! What the command is told.

use std::path::PathBuf;
use std::str::FromStr;

pub const HELP: &str =
    "cargo xtask bench [net|exec|time|WORKLOAD]... [--rounds N] [--secs S] [--peers A,B] [--out DIR]
  without a word everything; a word takes the workloads of a group, or those whose name holds it
  --rounds N   rounds in which every peer runs once, in turn (default 5)
  --secs S     measured seconds of a load; the other measurements shrink and grow with it (default 1)
  --peers A,B  only these of ours, tokio, smol, go, loop
  --out DIR    where figures, table and plots go; without it into examples/bench/results when whole groups run
               at full length, else below the target folder
cargo xtask bench --list               the workloads
cargo xtask bench --from DIR           table and plots again from the figures in a folder
cargo xtask bench --core               instructions of the core's operations beside Go's algorithm
cargo xtask bench --harness DIR [...]  DIR/run with our peer as OURS_BIN and the rest of the arguments
";

/// The usual, at least for what is published.
const ROUNDS: usize = 5;
const SECONDS: f64 = 1.0;

pub struct Options {
    pub words: Vec<String>,
    pub rounds: usize,
    pub secs: f64,
    /// Empty: all.
    pub peers: Vec<String>,
    pub out: Option<PathBuf>,
    pub from: Option<PathBuf>,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            words: Vec::new(),
            rounds: ROUNDS,
            secs: SECONDS,
            peers: Vec::new(),
            out: None,
            from: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--rounds" => options.rounds = number(arg, value()?)?,
                "--secs" => options.secs = number(arg, value()?)?,
                "--peers" => options.peers = value()?.split(',').map(str::to_owned).collect(),
                "--out" => options.out = Some(value()?.into()),
                "--from" => options.from = Some(value()?.into()),
                word if !word.starts_with('-') => options.words.push(word.to_owned()),
                other => return Err(format!("does not understand `{other}`; --help tells what it does")),
            }
        }
        match options.rounds > 0 && options.secs > 0.0 && options.secs <= 30.0 {
            true => Ok(options),
            false => Err("at least one round, and up to 30 seconds".to_owned()),
        }
    }

    /// Whether the figures are fit to be published.
    pub fn is_full(&self) -> bool {
        let groups = self.words.iter().all(|word| ["net", "exec", "time", "all"].contains(&word.as_str()));
        groups && self.peers.is_empty() && self.rounds >= ROUNDS && self.secs >= SECONDS
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} {value}: not a number"))
}
