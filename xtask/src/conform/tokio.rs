//! tokio's own tests on `std-rt/tokio`: each file is a program, each test has a line in `xtask/conform/tokio.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use xtask::{Outcome, cmd};

use super::list::{FIRST, Line, List};
use super::programs::{self, Built, Program, Verdict};
use crate::upstream::{self, read, write};

/// The list, from the root.
const LIST: &str = "xtask/conform/tokio.txt";

/// The manifest of the package of the tests and its lock file, from the root.
const PACKAGE: [(&str, &str); 2] =
    [("xtask/conform/tokio.toml", "Cargo.toml"), ("xtask/conform/tokio.lock", "Cargo.lock")];

/// The name of that package.
const NAME: &str = "tokio-conform";

/// The attribute of a test that leaves the runtime open, and the same with workers.
const PLAIN: &str = "#[tokio::test]";

/// The time that a test may take, in seconds.
const LIMIT: u64 = 30;

/// The arguments.
pub struct Options {
    root: PathBuf,
    /// The files to run; all of them if it is empty.
    files: Vec<String>,
    /// The number of workers of the tests that leave the runtime open.
    workers: Option<u32>,
    limit: Duration,
    /// Runs the tests on tokio itself, for comparison.
    peer: bool,
    /// Leaves out the tests that the list does not expect to pass.
    listed: bool,
}

/// The verdicts of a file's tests and the names of those that passed only alone, or the reason why it was not built.
type Ran = Result<Result<(BTreeMap<String, Verdict>, Vec<String>), String>, String>;

/// The results of a run.
#[derive(Default)]
struct Report {
    /// The files that were run.
    files: BTreeSet<String>,
    /// The verdict of each test.
    verdicts: BTreeMap<String, Verdict>,
    /// Tests that pass and are not listed.
    new: Vec<String>,
    /// Tests that passed only alone.
    second: Vec<String>,
    red: Vec<String>,
}

pub fn run(root: &Path, args: &[String], bless: bool) -> Outcome {
    let options = Options::parse(root, args)?;
    let (section, start) = (options.section(), Instant::now());
    let mut list = List::read(root.join(LIST), &section)?;
    let package = options.package()?;
    let files = options.copy(&package, &list)?;
    let built = options.build(&package, &files)?;
    println!("{:<32} {:>6} {:>6} {:>6}", "file", "passed", "failed", "of");
    let mut report = Report::default();
    for (file, ran) in files.iter().zip(options.run(&package, &files, &built, &list)) {
        report.file(file, ran, &list)?;
    }
    report.compare(&list, options.listed);
    report.print();
    if bless && !options.peer {
        list.bless(&report.new)?;
        write(&root.join(PACKAGE[1].0), &read(&package.join("Cargo.lock"))?.replace(&options.name(), NAME))?;
    }
    let passed = report.verdicts.values().filter(|verdict| verdict.is_ok()).count();
    println!(
        "tokio [{section}]: {passed} of {} tests in {} files pass, {} not in the list, {} red, {:.0} s",
        report.verdicts.len(),
        report.files.len(),
        report.new.len(),
        report.red.len(),
        start.elapsed().as_secs_f64(),
    );
    if report.red.is_empty() { Ok(()) } else { Err(String::new()) }
}

impl Options {
    /// Returns the options of a run of all files.
    pub fn new(root: &Path, peer: bool) -> Self {
        let limit = Duration::from_secs(LIMIT);
        Self { peer, listed: false, root: root.into(), files: Vec::new(), workers: None, limit }
    }

    fn parse(root: &Path, args: &[String]) -> Result<Self, String> {
        let (peer, args) = cmd::take_flag(args, "--peer");
        let (listed, args) = cmd::take_flag(&args, "--listed");
        let mut options = Self { listed, ..Self::new(root, peer) };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or(format!("{arg} needs a value"))?;
            let number = || value.parse().map_err(|e| format!("{arg} {value}: {e}"));
            match arg.as_str() {
                "--file" => options.files.push(value.clone()),
                "--workers" => options.workers = Some(number()?),
                "--limit" => options.limit = Duration::from_secs(number()?.into()),
                _ => {
                    return Err(format!(
                        "{arg}: the options are --file, --workers, --limit, --listed, --peer and --bless"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn section(&self) -> String {
        self.workers.map_or(FIRST.to_owned(), |workers| format!("workers {workers}"))
    }

    /// Returns the name of the package. cargo builds in one folder, and tells apart only packages of different names.
    fn name(&self) -> String {
        self.workers.map_or(NAME.to_owned(), |workers| format!("{NAME}-{workers}"))
    }

    /// Writes the package of the tests, still without the tests, and returns its folder.
    pub fn package(&self) -> Result<PathBuf, String> {
        let peer = if self.peer { "peer" } else { "" };
        let folder = format!("conform/tokio{peer}-{}", self.workers.unwrap_or(1));
        let package = cmd::target_dir(&self.root)?.join(folder);
        for (from, to) in PACKAGE {
            let text = read(&self.root.join(from))?.replace("{root}", &self.root.display().to_string());
            let mut text = text.replace(NAME, &self.name());
            if self.peer {
                text.truncate(text.find("[patch.").unwrap_or(text.len()));
            }
            change(&package.join(to), &text)?;
        }
        change(&package.join("src/lib.rs"), "")?;
        Ok(package)
    }

    /// Copies the files into the package, edited, and returns their names.
    fn copy(&self, package: &Path, list: &List) -> Result<Vec<String>, String> {
        let source = upstream::registry_source(&self.root, upstream::PINNED, upstream::TOKIO)?.join("tests");
        let mut sources = Vec::new();
        cmd::files_under(&source, &|_| false, &mut sources)?;
        let mut files = Vec::new();
        for path in sources {
            let text = read(&path)?;
            let place = path.strip_prefix(&source).map_err(|e| e.to_string())?;
            if place.components().count() > 1 {
                change(&package.join("tests").join(place), &text)?;
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(text) = self.edit(&name, &text, list)? {
                change(&package.join("tests").join(place), &text)?;
                files.push(name);
            }
        }
        if let Some(unknown) = self.files.iter().find(|file| !files.contains(file)) {
            return Err(format!("{unknown}: tokio has no such file of tests, or the list has it out"));
        }
        files.retain(|file| self.files.is_empty() || self.files.contains(file));
        Ok(files)
    }

    /// Returns the text of a file with other attributes and without the tests that are cut. A file that is out has none.
    fn edit(&self, name: &str, text: &str, list: &List) -> Result<Option<String>, String> {
        if matches!(list.get(name), Some(Line::Out(_))) {
            return Ok(None);
        }
        let mut text = text.to_owned();
        if let Some(workers) = self.workers {
            let attribute = format!("#[tokio::test(flavor = \"multi_thread\", worker_threads = {workers})]");
            if !text.contains(PLAIN) {
                return Ok(None);
            }
            text = text.replace(PLAIN, &attribute);
        }
        let cuts = list.tests(name, |line| matches!(line, Line::Cut(_)));
        // A macro may make several tests of one function.
        let functions: BTreeSet<&str> =
            cuts.into_iter().map(|test| test.rsplit("::").next().unwrap_or(test)).collect();
        for function in functions {
            text = cut(&text, function).ok_or(format!("{name}.rs has no {function} to be cut"))?;
        }
        Ok(Some(text))
    }

    fn build(&self, package: &Path, files: &[String]) -> Result<Built, String> {
        let args = ["build", "--keep-going", "--message-format=json"];
        let mut command = upstream::cargo(&self.root, package, &args)?;
        let target = cmd::target_dir(&self.root)?.join("conform/build-tokio");
        // Its own warnings are not ours.
        command.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "--cap-lints=allow");
        programs::build(command.args(files.iter().flat_map(|file| ["--test", file])))
    }

    /// Runs the tests of the files, as many files at once as there are processors: most tests wait.
    fn run(&self, package: &Path, files: &[String], built: &Built, list: &List) -> Vec<Ran> {
        let todo = Mutex::new(files.iter().enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = todo.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((at, file)) = next else { return done };
                let known = list.tests(file, |line| matches!(line, Line::Fails(_) | Line::Races(_)));
                let first = || built.errors.values().next().map_or("did not build", String::as_str);
                done.push((
                    at,
                    match built.programs.get(file) {
                        Some(path) => {
                            let program = Program { path, dir: package, limit: self.limit };
                            Ok(program.run(file, &known, self.listed))
                        }
                        None => Err(built.errors.get(file).map_or_else(first, String::as_str).to_owned()),
                    },
                ));
            }
        };
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let mut ran: Vec<(usize, Ran)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        ran.sort_by_key(|(at, _)| *at);
        ran.into_iter().map(|(_, ran)| ran).collect()
    }
}

impl Report {
    /// Adds the results of a file and prints its row.
    fn file(&mut self, file: &str, ran: Ran, list: &List) -> Outcome {
        let (verdicts, second) = match ran {
            Ok(result) => result?,
            Err(reason) => {
                println!("{file:<32}  does not compile");
                self.red.push(format!("{file} does not compile: {reason}"));
                return Ok(());
            }
        };
        let cut = list.tests(file, |line| matches!(line, Line::Cut(_))).len();
        let passed = verdicts.values().filter(|verdict| verdict.is_ok()).count();
        println!("{file:<32} {passed:>6} {:>6} {:>6}", verdicts.len() - passed, verdicts.len() + cut);
        self.second.extend(second.iter().map(|test| format!("{file}::{test}")));
        self.files.insert(file.to_owned());
        let known = list.tests(file, |line| matches!(line, Line::Fails(_) | Line::Races(_))).len();
        if verdicts.is_empty() && known == 0 && (cut == 0 || list.get(file).is_some()) {
            self.verdicts.insert(file.to_owned(), Ok(()));
        }
        let named = verdicts.into_iter().map(|(test, verdict)| (format!("{file}::{test}"), verdict));
        self.verdicts.extend(named);
        Ok(())
    }

    /// Compares the verdicts with the list; `listed`: only tests that are listed as passing were run.
    fn compare(&mut self, list: &List, listed: bool) {
        for (name, verdict) in &self.verdicts {
            match (list.get(name), verdict) {
                (Some(Line::Passes), Ok(())) | (Some(Line::Fails(_)), Err(_)) | (Some(Line::Races(_)), _) => {
                }
                (None, Ok(())) if !name.contains("::") => {
                    self.red.push(format!("{name} has no test here, and no line says why"));
                }
                (_, Ok(())) => self.new.push(name.clone()),
                (Some(_), Err(said)) => self.red.push(format!("{name} is listed and fails: {said}")),
                (None, Err(said)) => {
                    self.red.push(format!("{name} fails, without a reason in the list: {said}"));
                }
            }
        }
        for (name, line) in &list.lines {
            let file = name.split_once("::").map_or(name.as_str(), |(file, _)| file);
            let runs = match line {
                Line::Passes => true,
                Line::Fails(_) | Line::Races(_) => !listed,
                Line::Cut(_) | Line::Out(_) => false,
            };
            if runs && self.files.contains(file) && !self.verdicts.contains_key(name) {
                self.red.push(format!("{name} is listed and not among the tests"));
            }
        }
    }

    fn print(&self) {
        for (title, names) in [
            ("passes and is not listed, --bless adds it", &self.new),
            ("passed only alone, not beside the others of its file", &self.second),
            ("red", &self.red),
        ] {
            names.iter().for_each(|name| println!("{title}: {name}"));
        }
    }
}

/// Returns the text without a function, its attributes and its comment; without such a function, without the lines that
/// have this word.
fn cut(text: &str, function: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_it = |line: &&str| line.contains(&format!("fn {function}("));
    let Some(at) = lines.iter().position(is_it) else {
        let rest: Vec<&str> = lines.iter().copied().filter(|line| !line.contains(function)).collect();
        return (rest.len() < lines.len()).then(|| rest.join("\n") + "\n");
    };
    let indent = lines[at].len() - lines[at].trim_start().len();
    let above = |line: &&&str| ["#", "//"].iter().any(|start| line.trim_start().starts_with(start));
    let first = at - lines[..at].iter().rev().take_while(above).count();
    let end = format!("{}}}", " ".repeat(indent));
    let last = at + lines[at..].iter().position(|line| *line == end)?;
    Some([&lines[..first], &lines[last + 1..]].concat().join("\n") + "\n")
}

/// Writes a file if its text is another one, so that cargo builds only the files that have changed.
fn change(path: &Path, text: &str) -> Outcome {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write(path, text)
}
