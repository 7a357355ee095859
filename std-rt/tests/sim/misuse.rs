//! What a program does that a simulation cannot have, or that makes no sense: each ends by an error, a panic, or as a real network
//! would, and none hangs.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::process::Command;
use netpoll_rt::sim::{self, FailureKind, Faults, Link, Sim};
use netpoll_rt::{Runtime, spawn, spawn_blocking, task, time};

use crate::tcp::{add_echo, echo};

/// Returns the message of the panic of a call.
fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(call)) else { panic!("the call does not panic") };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
}

/// Adds a client that exchanges bytes with the server.
fn add_client(sim: &mut Sim) {
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        echo(&stream, &[1; 3000]).await?;
        Ok(())
    });
}

#[test]
fn a_host_that_only_yields_reaches_the_limit() {
    for of_task in [false, true] {
        let mut sim = Sim::new(1);
        sim.limit(Duration::from_secs(20));
        sim.client("client", async move {
            let spins = async {
                loop {
                    task::yield_now().await;
                }
            };
            if of_task { spawn(spins).await? } else { spins.await }
        });
        assert!(!sim.run_for(Duration::from_millis(1)).unwrap());
        assert_eq!(sim.run().unwrap_err().kind(), FailureKind::Limit);
    }
}

#[test]
fn a_run_of_no_time_and_one_without_hosts_end() {
    let mut sim = Sim::new(1);
    assert!(sim.run_for(Duration::ZERO).unwrap());
    sim.run().unwrap();
    sim.limit(Duration::ZERO);
    add_echo(&mut sim);
    add_client(&mut sim);
    assert!(!sim.run_for(Duration::ZERO).unwrap());
    assert_eq!(sim.run().unwrap_err().kind(), FailureKind::Limit);
    sim.limit(Duration::from_secs(10));
    sim.run().unwrap();
    sim.run().unwrap();
}

/// The end of a run in which nothing happens any more.
fn ends_in_vain(sim: &mut Sim) {
    for _ in 0..2 {
        let ran = sim.run_for(Duration::MAX);
        assert!(ran.as_ref().map_or_else(|f| f.kind() == FailureKind::Deadlock, |ended| !ended), "{ran:?}");
    }
    let kind = sim.run().unwrap_err().kind();
    assert!([FailureKind::Limit, FailureKind::Deadlock].contains(&kind), "{kind:?}");
}

#[test]
fn a_link_without_end_delivers_nothing() {
    let mut sim = Sim::new(1);
    sim.limit(Duration::MAX);
    sim.set_links(Link { latency: Duration::MAX, jitter: Duration::MAX, bandwidth: Some(0), ..Link::LAN });
    add_echo(&mut sim);
    add_client(&mut sim);
    ends_in_vain(&mut sim);
}

#[test]
fn the_clock_ends_after_200_years() {
    let mut sim = Sim::new(1);
    sim.limit(Duration::MAX);
    sim.client("client", async {
        sim::control().clock_skew("client", i64::MAX);
        let long = Duration::from_secs(190 * 365 * 86_400);
        time::sleep(long).await; // time is tested
        assert!(SystemTime::now() > SystemTime::UNIX_EPOCH);
        time::sleep(long).await; // time is tested
        Ok(())
    });
    ends_in_vain(&mut sim);
    assert!(sim.elapsed() > Duration::from_secs(199 * 365 * 86_400), "{:?}", sim.elapsed());
    drop(sim);
    let mut sim = Sim::new(1);
    sim.client("client", async {
        sim::control().slow("client", Duration::MAX);
        time::sleep(Duration::MAX).await; // time is tested
        Ok(())
    });
    ends_in_vain(&mut sim);
}

#[test]
fn names_that_are_taken_or_no_names_are_refused() {
    let mut sim = Sim::new(1);
    add_echo(&mut sim);
    for name in ["server", "10.0.0.1", "10.0.0.77", "::1", "localhost", ""] {
        let text = panic_of(|| sim.client(name, async { Ok(()) }));
        assert!(text.contains("host"), "{text}");
    }
    for wrong in ["nobody", "localhost", ""] {
        let calls: [fn(&Sim, &str); 4] = [
            |sim, name| sim.crash(name),
            |sim, name| sim.restart(name),
            |sim, name| sim.partition("server", name),
            |sim, name| sim.slow(name, Duration::ZERO),
        ];
        for call in calls {
            let text = panic_of(|| call(&sim, wrong));
            assert!(text.contains("there is no host"), "{text}");
        }
    }
    assert!(panic_of(|| Sim::new(2)).contains("in a simulation already"));
    add_client(&mut sim);
    sim.run().unwrap();
    drop(sim);
    assert!(panic_of(sim::control).contains("in no simulation"));
}

#[test]
fn a_host_is_not_cut_off_from_itself() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        sim::control().partition("client", "client");
        sim::control().partition_one_way("client", "10.0.0.1");
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        let stream = TcpStream::connect(("client", listener.local_addr()?.port())).await?;
        let (peer, _) = listener.accept().await?;
        stream.write_all(b"x").await?;
        peer.read_exact(&mut [0]).await?;
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn crashes_and_restarts_come_in_any_order() {
    Sim::check(20, |sim| {
        // Before the start: it is up afterwards.
        add_echo(sim);
        sim.crash("server");
        sim.restart("server");
        sim.client("victim", async {
            sim::control().crash("victim");
            sim::control().crash("victim");
            std::future::pending().await
        });
        sim.client("client", async {
            let control = sim::control();
            for _ in 0..10 {
                for _ in 0..control.random_below(4) {
                    match control.random_below(3) {
                        0 => control.crash("server"),
                        1 => control.restart("server"),
                        _ => time::sleep(Duration::from_millis(1)).await, // time is tested
                    }
                }
                control.restart("victim");
            }
            // One that runs goes on.
            control.restart("server");
            time::sleep(Duration::from_millis(1)).await; // time is tested
            let stream = TcpStream::connect("server:7").await?;
            control.restart("server");
            time::sleep(Duration::from_millis(1)).await; // time is tested
            Ok(echo(&stream, b"x").await?)
        });
        Ok(sim.run()?)
    });
}

#[test]
fn a_panic_of_a_host_ends_the_run_and_not_the_simulation() {
    let mut sim = Sim::new(1);
    add_echo(&mut sim);
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        echo(&stream, b"x").await?;
        let task = spawn(async { panic!("of a task") });
        assert!(task.await.is_err_and(|error| error.is_panic()));
        panic!("of a host")
    });
    assert_eq!(panic_of(|| sim.run()), "of a host");
    // Its sockets are closed, and its code does not run again.
    let kind = sim.run().unwrap_err().kind();
    assert!([FailureKind::Limit, FailureKind::Deadlock].contains(&kind), "{kind:?}");
    sim.crash("client");
    sim.run().unwrap();
    drop(sim);
    let mut sim = Sim::new(1);
    sim.host("server", || -> std::future::Ready<sim::Result> { panic!("of a closure") });
    assert_eq!(panic_of(|| sim.run()), "of a closure");
}

#[test]
fn a_simulation_can_be_dropped_at_any_moment() {
    for milliseconds in 0..20 {
        let mut sim = Sim::new(milliseconds);
        let token = Rc::new(());
        let of_host = token.clone();
        add_echo(&mut sim);
        sim.client("client", async move {
            let _token = of_host;
            let runtime = Runtime::builder().workers(3).build()?;
            let exchange = || async {
                let stream = TcpStream::connect("server:7").await?;
                loop {
                    echo(&stream, &[7; 10_000]).await?;
                    spawn_blocking(|| thread::sleep(Duration::from_micros(300))).await.unwrap(); // time is tested
                }
            };
            let tasks: Vec<_> = (0..5).map(|_| runtime.spawn(exchange())).collect();
            for task in tasks {
                let ended: std::io::Result<()> = task.await?;
                ended?;
            }
            Ok(())
        });
        assert!(!sim.run_for(Duration::from_millis(milliseconds)).unwrap());
        drop(sim);
        assert_eq!(Rc::strong_count(&token), 1);
    }
}

#[test]
fn faults_that_always_happen_end_no_exchange() {
    let hidden = [
        Faults { interrupt: 1.0, ..Faults::NONE },
        Faults { again: 1.0, ..Faults::NONE },
        Faults { short: 1.0, spurious: 1.0, ..Faults::NONE },
        Faults { late: 1.0, merge: 1.0, ..Faults::NONE },
        Faults { reorder: 7.0, task_order: f64::INFINITY, again: -1.0, short: f64::NAN, ..Faults::NONE },
    ];
    for faults in hidden {
        let mut sim = Sim::new(1);
        sim.set_faults(faults);
        sim.set_links(Link { loss: 1.0, duplicate: 1.0, ..Link::LAN });
        add_echo(&mut sim);
        add_client(&mut sim);
        sim.run().unwrap_or_else(|failure| panic!("{faults:?}: {failure}"));
    }
    let visible = [
        Faults { abort: 1.0, ..Faults::NONE },
        Faults { exhaust: 1.0, ..Faults::NONE },
        Faults { no_buffers: 1.0, ..Faults::NONE },
        Faults { no_memory: 1.0, ..Faults::NONE },
    ];
    for faults in visible {
        let mut sim = Sim::new(1);
        sim.limit(Duration::from_secs(100));
        sim.set_faults(faults);
        add_echo(&mut sim);
        add_client(&mut sim);
        sim.run().unwrap_err();
    }
}

#[test]
fn a_process_is_refused_with_a_reason() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        let error = Command::new("true").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("a simulation has no processes"), "{error}");
        assert_eq!(Command::new("true").status().await.unwrap_err().kind(), ErrorKind::Unsupported);
        // std's runs in real time.
        let output = std::process::Command::new("echo").arg("real").output()?;
        assert_eq!(output.stdout, b"real\n");
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_sleep_of_std_moves_the_clock() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        let start = Instant::now();
        thread::sleep(Duration::from_secs(3600)); // time is tested
        assert_eq!(start.elapsed().as_secs(), 3600);
        spawn_blocking(|| thread::sleep(Duration::from_secs(3600))).await?; // time is tested
        assert_eq!(start.elapsed().as_secs(), 7200);
        let runtime = Runtime::builder().workers(2).build()?;
        let sleeps = |_| runtime.spawn(async { thread::sleep(Duration::from_secs(1)) }); // time is tested
        for task in (0..4).map(sleeps).collect::<Vec<_>>() {
            task.await?;
        }
        assert!((7202..=7204).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn threads_and_channels_of_std_run_in_real_time() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        let (sender, receiver) = channel();
        let thread = thread::spawn(move || {
            let (real, ()) = (Instant::now(), thread::sleep(Duration::from_millis(30))); // time is tested
            sender.send(real.elapsed()).unwrap();
        });
        assert!(receiver.recv()? >= Duration::from_millis(30));
        thread.join().unwrap();
        let (_sender, receiver) = channel::<()>();
        let start = Instant::now();
        receiver.recv_timeout(Duration::from_secs(100)).unwrap_err();
        assert!(start.elapsed() >= Duration::from_secs(100));
        let lock = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| *lock.lock().unwrap() += 1);
            }
        });
        assert_eq!(lock.into_inner()?, 4);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_panic_within_the_kernel_waits_for_those_of_other_threads() {
    let panics = || {
        for _ in 0..300 {
            panic_of(|| panic!("of a thread"));
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(panics);
        }
        for seed in 0..100 {
            let mut sim = Sim::new(seed);
            sim.client("client", async {
                Runtime::builder().workers(1).build()?.block_on(time::sleep(Duration::from_secs(5))); // time is tested
                Ok(())
            });
            assert!(panic_of(|| sim.run()).contains("await the future"));
        }
    });
}

#[test]
fn block_on_within_a_host_works_or_panics() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        let several = Runtime::builder().workers(2).build()?;
        let start = Instant::now();
        // Its own workers go on, and so does the clock.
        several.block_on(time::sleep(Duration::from_secs(5))); // time is tested
        assert!(start.elapsed() >= Duration::from_secs(5));
        let one = Runtime::builder().workers(1).build()?;
        assert_eq!(one.block_on(async { 7 }), 7);
        Ok(())
    });
    sim.run().unwrap();
    drop(sim);
    let mut sim = Sim::new(1);
    sim.client("client", async {
        Runtime::builder().workers(1).build()?.block_on(time::sleep(Duration::from_secs(5))); // time is tested
        Ok(())
    });
    assert!(panic_of(|| sim.run()).contains("await the future"));
}
