//! Runs `bench` on known figures: medians, ratios within rounds, the values that follow from them, and the plot.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, thread};

/// Figures of a machine that was half as fast in the second round. Ours took 80 % of tokio's time in each round.
const FIGURES: &str = "# machine: 2 x <Test> & Co\n# date: today
deadline-none\trate\tours\t0\t1000\ndeadline-none\trate\ttokio\t0\t500\ndeadline-none\trate\tours\t1\t3000
deadline-each\trate\tours\t0\t990\ndeadline-each\trate\tours\t1\t2970
timer-churn\tns_per_op\tours\t0\t80\ntimer-churn\tns_per_op\ttokio\t0\t100
timer-churn\tns_per_op\tours\t1\t160\ntimer-churn\tns_per_op\ttokio\t1\t200
timer-churn\tns_per_op\tours\t2\t80\ntimer-churn\tns_per_op\ttokio\t2\t100
timer-churn-1k\tns_per_op\tours\t0\t1000\ntimer-churn-1k\tns_per_op\ttokio\t0\t100
timer-fire\tp99_us\tours\t0\t1234567\n";

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, file: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netpoll-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(file), text).unwrap();
        Self(path)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed stays in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap()
}

fn again(folder: &Path) -> Output {
    bench(&["--from", folder.to_str().unwrap()])
}

/// Returns the cells of the row that begins like this.
#[track_caller]
fn cells(page: &str, begins: &str) -> Vec<String> {
    let line = page.lines().find(|line| line.starts_with(&format!("| {begins}")));
    let line = line.unwrap_or_else(|| panic!("no row `{begins}` in\n{page}"));
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[track_caller]
fn fails(args: &[&str], reason: &str) {
    let output = bench(args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.lines().count() == 1 && told.contains(reason), "{told}");
}

#[test]
fn a_page_has_medians_and_ratios_within_rounds() {
    let folder = Folder::with("page", "time.tsv", FIGURES);
    let output = again(&folder.0);
    assert!(output.status.success(), "{output:?}");
    let page = folder.read("time.md");
    assert_eq!(cells(&page, "workload")[2..], ["ours", "tokio", "ours : tokio"]);
    // Every round has the same ratio, and so have the medians.
    assert_eq!(cells(&page, "`timer-churn`")[1..], ["ns/operation v", "80.0", "100", "0.80"]);
    assert_eq!(cells(&page, "`timer-churn-1k`")[2..], ["1,000", "100", "10.00"]);
    // The median of two values is their mean. The ratio is that of the only round in which both ran.
    assert_eq!(cells(&page, "`deadline-none`")[1..], ["messages/s ^", "2,000", "500", "2.00"]);
    assert_eq!(cells(&page, "`timer-fire`")[2..], ["1,234,567", "-", "-"]);
    assert_eq!(cells(&page, "messages/s, a deadline before each read")[1..], ["0.99", "-"]);
    assert!(page.contains("- machine: 2 x <Test> & Co\n"), "{page}");
}

#[test]
fn the_ratio_of_rounds_is_not_the_ratio_of_medians() {
    let figure = |peer, round, value| format!("yield\tns_per_op\t{peer}\t{round}\t{value}\n");
    let rounds = [(0, 10, 20), (1, 30, 30), (2, 20, 10)];
    let text: String = rounds
        .iter()
        .map(|(round, ours, tokio)| figure("ours", round, ours) + &figure("tokio", round, tokio))
        .collect();
    let folder = Folder::with("rounds", "exec.tsv", &(text + &figure("ours", &3, &40)));
    assert!(again(&folder.0).status.success());
    // Medians 25 and 20, ratios 0.5, 1, 2.
    assert_eq!(cells(&folder.read("exec.md"), "`yield`")[2..], ["25.0", "20.0", "1.00"]);
}

#[test]
fn the_plot_is_well_formed() {
    let folder = Folder::with("plot", "time.tsv", FIGURES);
    assert!(again(&folder.0).status.success());
    let plot = folder.read("time.svg");
    let mut open = Vec::new();
    for piece in plot.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
        assert!(
            text.split('&')
                .skip(1)
                .all(|rest| ["amp;", "lt;", "gt;"].iter().any(|name| rest.starts_with(name)))
        );
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "{plot}"),
            (false, false) => open.push(name),
            (false, true) => {}
        }
    }
    assert!(open.is_empty() && plot.starts_with("<svg "), "{plot}");
    assert!(
        plot.contains("&lt;Test&gt; &amp; Co") && !plot.contains("NaN") && !plot.contains("inf"),
        "{plot}"
    );
    // A bar that is ten times as long as tokio's is cut off and says so.
    assert!(plot.contains("\n0.80   80.0\n") && plot.contains("\n10.00   1,000 (cut off)\n"), "{plot}");
}

#[test]
fn mistakes_are_one_clear_line() {
    fails(&["--rounds"], "missing argument for option '--rounds'");
    fails(&["--rounds", "0"], "at least one round");
    fails(&["--secs", "soon"], "--secs soon: not a number");
    fails(&["--fast"], "invalid option '--fast'");
    fails(&["scale", "--workers", "2,many"], "--workers 2,many: not numbers");
    fails(&["scale", "--workers", "0"], "at least one worker");
    fails(&["scale", "net"], "scale stands alone");
    fails(&["nosuch"], "no workload has `nosuch` in its name");
    fails(&["--harness", "nowhere"], "--harness nowhere: it has no program `run`");
    let folder = Folder::with("mistakes", "net.tsv", "echo-64\trate\tours\n");
    fails(&["--from", folder.0.to_str().unwrap()], "this is not a figure: `echo-64\trate\tours`");
    fails(&["--from", "nowhere"], "nowhere: no figures there");
}

#[test]
fn the_list_has_every_group() {
    let output = bench(&["--list"]);
    let told = String::from_utf8(output.stdout).unwrap();
    for group in ["net", "exec", "time"] {
        assert!(told.lines().any(|line| line.split_whitespace().next() == Some(group)), "{told}");
    }
}

#[test]
fn a_small_count_keeps_its_digits() {
    let text = "# machine: any\n# date: today\necho-1000-2w-syscalls\tsyscalls\tours\t0\t2.05\n\
                echo-1000-2w-syscalls\tfutex\tours\t0\t0.003125\n";
    let folder = Folder::with("small", "net.tsv", text);
    assert!(again(&folder.0).status.success());
    let page = folder.read("net.md");
    let line = page.lines().find(|line| line.contains("of them futex v")).expect("a row of futex calls");
    assert!(line.ends_with(" 0.0031 |"), "{page}");
}

/// Runs the load of some threads against a server. Returns its output.
fn load(address: &str, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["echo", "--addr", address, "--connections", "5", "--threads", "3", "--warmup", "0"]);
    command.args(options).output().unwrap()
}

#[test]
fn a_load_of_several_threads_counts_all_answers() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_loop_peer"));
    let mut server = server
        .args(["echo", "--until-eof", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let output = load(line.trim().strip_prefix("LISTENING ").unwrap(), &["--count", "50"]);
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("\"ops\":50.000"), "{output:?}");
}

#[test]
fn a_wrong_byte_fails_the_load() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let echo = |mut stream: TcpStream| {
            let (mut message, mut answers) = ([0; 64], 0);
            while stream.read_exact(&mut message).is_ok() {
                answers += 1;
                // The first answers are right: those of the connections that are opened.
                message[63] ^= u8::from(answers > 10);
                if stream.write_all(&message).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            (0..5).for_each(|_| {
                let stream = listener.accept().unwrap().0;
                scope.spawn(move || echo(stream));
            });
        });
    });
    let output = load(&address, &["--secs", "10"]);
    server.join().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("other bytes came back"), "{told}");
}
