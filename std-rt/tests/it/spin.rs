//! Spinning before parking: the policy without a clock, then its effect in the runtime.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::*;
use netpoll_rt::internal::spin::Spin;
use netpoll_rt::net::TcpStream;
use netpoll_rt::time::sleep;
use netpoll_rt::{Builder, Metrics, Runtime, spawn};

/// Nanoseconds; the policy knows no other unit.
const SPIN: u64 = 50_000;

/// Tells of short waits until it would look; how many it took.
fn waits_until_it_looks(spin: &mut Spin) -> u32 {
    for waits in 0..10_000 {
        if spin.patience().is_some() {
            return waits;
        }
        spin.slept(2 * SPIN - 1, 1);
    }
    panic!("it never looks: {spin:?}");
}

#[test]
fn eight_short_waits_in_a_row_make_it_look() {
    let mut spin = Spin::new(SPIN);
    assert_eq!(waits_until_it_looks(&mut spin), 8);
    assert_eq!(spin.patience(), Some(SPIN));
    let mut spin = Spin::new(SPIN);
    for _ in 0..100 {
        (0..7).for_each(|_| spin.slept(1000, 1));
        spin.slept(2 * SPIN, 1);
        assert_eq!(spin.patience(), None, "a long one came before the eighth");
    }
}

#[test]
fn it_gives_up_at_the_first_miss_and_trusts_less_each_time() {
    let mut spin = Spin::new(SPIN);
    let mut wanted = 8;
    for _ in 0..20 {
        assert_eq!(waits_until_it_looks(&mut spin), wanted);
        spin.missed();
        assert_eq!(spin.patience(), None);
        wanted = (2 * wanted).min(8192);
    }
    assert_eq!(wanted, 8192);
}

#[test]
fn hits_keep_it_looking_and_win_the_trust_back() {
    let mut spin = Spin::new(SPIN);
    for _ in 0..6 {
        waits_until_it_looks(&mut spin);
        spin.missed();
    }
    assert_eq!(waits_until_it_looks(&mut spin), 512);
    for _ in 0..2000 {
        spin.hit(1000, 1);
        assert_eq!(spin.patience(), Some(SPIN));
    }
    spin.missed();
    assert_eq!(waits_until_it_looks(&mut spin), 16, "as after a first miss");
}

#[test]
fn a_few_hits_after_many_misses_win_little() {
    let mut spin = Spin::new(SPIN);
    for _ in 0..6 {
        waits_until_it_looks(&mut spin);
        spin.missed();
    }
    waits_until_it_looks(&mut spin);
    (0..100).for_each(|_| spin.hit(1000, 1));
    spin.missed();
    assert_eq!(waits_until_it_looks(&mut spin), 1024);
}

#[test]
fn a_crowd_is_no_reason_to_look() {
    let mut spin = Spin::new(SPIN);
    for _ in 0..100 {
        (0..7).for_each(|_| spin.slept(1000, 4));
        spin.slept(1000, 5);
        assert_eq!(spin.patience(), None, "a crowd came before the eighth");
    }
    assert_eq!(waits_until_it_looks(&mut spin), 8);
    spin.hit(1000, 5);
    assert_eq!(spin.patience(), None);
    assert_eq!(waits_until_it_looks(&mut spin), 16, "as after a miss");
}

#[test]
fn what_takes_longer_than_a_wake_up_costs_is_not_worth_it() {
    let mut spin = Spin::new(SPIN);
    for (asleep, awake, worth) in [(20_000, 9_000, true), (20_000, 11_000, false), (4_000, 3_000, false)] {
        while spin.patience().is_none() {
            spin.slept(asleep, 1);
        }
        // The earlier spins are forgotten.
        (0..64).for_each(|_| spin.slept(asleep, 1));
        let hits = (1..1000).find(|_| {
            spin.hit(awake, 1);
            spin.patience().is_none()
        });
        assert_eq!(hits.is_none(), worth, "{asleep} ns asleep, {awake} awake: {hits:?}");
        assert!(hits.is_none_or(|hits| hits >= 16), "it is given a trial first");
    }
}

#[test]
fn a_limit_of_zero_is_never_and_the_largest_is_no_overflow() {
    let mut never = Spin::new(0);
    let mut always = Spin::new(u64::MAX);
    for _ in 0..100 {
        never.slept(0, 0);
        always.slept(u64::MAX - 1, 0);
    }
    assert_eq!(never.patience(), None);
    assert_eq!(always.patience(), Some(u64::MAX));
}

/// Sends a byte back and forth, this many times.
async fn exchange(a: &TcpStream, b: &TcpStream, times: usize) {
    for _ in 0..times {
        a.write_all(b"x").await.unwrap();
        b.read_exact(&mut [0]).await.unwrap();
        b.write_all(b"y").await.unwrap();
        a.read_exact(&mut [0]).await.unwrap();
    }
}

/// Runs `body` with a connection whose peer echoes on another thread until the end.
fn with_echo(runtime: &Runtime, body: impl AsyncFn(&TcpStream)) {
    let (address, listener) = runtime.block_on(async {
        let listener = listener().await;
        (listener.local_addr().unwrap(), listener)
    });
    let echo = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while uninterrupted(|| stream.read(&mut byte)).unwrap() > 0 {
            stream.write_all(&byte).unwrap();
        }
    });
    runtime.block_on(async {
        let (stream, _) = listener.accept().await.unwrap();
        body(&stream).await;
    });
    echo.join().unwrap();
}

async fn asked(stream: &TcpStream) {
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
}

fn spins(metrics: Metrics) -> usize {
    metrics.spin_hits + metrics.spin_misses
}

#[test]
fn it_looks_when_answers_come_soon_and_sleeps_when_none_comes() {
    let _alone = alone();
    for workers in [1, 2, 4] {
        // So long that any answer comes soon, on any machine.
        let limit = Duration::from_millis(100);
        let runtime = Runtime::builder().workers(workers).spin_before_park(limit).build().unwrap();
        let handle = runtime.handle().clone();
        with_echo(&runtime, async |stream| {
            let until = Instant::now() + LIMIT;
            while spins(handle.metrics()) == 0 {
                assert!(Instant::now() < until, "{}", handle.metrics());
                let stream = &stream;
                asked(stream).await;
            }
            // Nothing comes any more: each worker gives up at its first miss, which may come late, when a timer wakes it.
            let before = handle.metrics();
            sleep(10 * limit).await; // time is tested
            let mut rested = false;
            for _ in 0..=workers {
                let polls = handle.metrics().polls;
                sleep(2 * limit).await; // time is tested
                // The backstop of several workers may look once in a while.
                rested = handle.metrics().polls - polls <= 25;
                if rested {
                    break;
                }
            }
            let after = handle.metrics();
            assert!(rested && after.spin_misses - before.spin_misses <= workers, "{before}\n{after}");
        });
        let text = handle.metrics().to_string();
        assert!(text.contains(" hit and ") && text.contains(" missed"), "{text}");
    }
}

#[test]
fn never_when_it_is_told_so() {
    let _alone = alone();
    for workers in [1, 4] {
        let runtime = Runtime::builder().workers(workers).spin_before_park(Duration::ZERO).build().unwrap();
        with_echo(&runtime, async |stream| {
            for _ in 0..1000 {
                asked(stream).await;
            }
        });
        assert_eq!(spins(runtime.metrics()), 0);
    }
}

#[test]
fn timers_however_short_are_no_reason_to_look() {
    on(&[1, 4], async || {
        let handle = netpoll_rt::Handle::try_current().unwrap();
        let before = handle.metrics();
        for _ in 0..300 {
            sleep(Duration::from_micros(10)).await; // time is tested
        }
        let after = handle.metrics();
        assert_eq!(spins(after), spins(before), "{after}");
        assert!(after.timers_fired > before.timers_fired);
    });
}

#[test]
fn a_runtime_that_mostly_sleeps_never_spins() {
    on(&[1, 4], async || {
        let handle = netpoll_rt::Handle::try_current().unwrap();
        for _ in 0..50 {
            sleep(Duration::from_millis(2)).await; // time is tested
        }
        assert_eq!(spins(handle.metrics()), 0, "{}", handle.metrics());
    });
}

/// Runs in a process that may use one CPU.
#[test]
fn child() {
    let Ok(workers) = std::env::var("NETPOLL_SPIN_CHILD") else { return };
    let _alone = alone();
    let runtime = Builder::new().workers(workers.parse().unwrap()).build().unwrap();
    runtime.block_on(async {
        let (a, b) = pair().await;
        spawn(async move { exchange(&a, &b, 2000).await }).await.unwrap();
    });
    with_echo(&runtime, async |stream| {
        for _ in 0..2000 {
            asked(stream).await;
        }
    });
    assert_eq!(spins(runtime.metrics()), 0, "{}", runtime.metrics());
    println!("ran with {workers}");
}

#[test]
fn never_of_itself_where_one_cpu_is_allowed() {
    let _alone = alone();
    if !Command::new("taskset").args(["-c", "0", "true"]).status().is_ok_and(|status| status.success()) {
        return eprintln!("nothing to tie a process to a CPU with");
    }
    for workers in ["1", "4"] {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program).args(["spin::child", "--exact", "--nocapture"]);
        let output = command.env("NETPOLL_SPIN_CHILD", workers).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(&format!("ran with {workers}")), "{text}");
    }
}
