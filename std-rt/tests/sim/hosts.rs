//! Hosts in a simulation: partitions, crashes, deadlocks, jobs, clocks.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, SystemTime};

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::sim::{self, FailureKind, Link, Sim};
use netpoll_rt::{fs, spawn, spawn_blocking, spawn_local, task, time};

use crate::tcp::{add_echo, echo};

#[test]
fn a_partition_holds_bytes_back_until_it_is_healed() {
    Sim::check(20, |sim| {
        add_echo(sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            echo(&stream, b"before").await?;
            let control = sim::control();
            control.partition("client", "server");
            spawn(async move {
                time::sleep(Duration::from_secs(30)).await; // time is tested
                control.heal("server", "client");
            });
            let start = time::now();
            echo(&stream, b"across").await?;
            let taken = time::now() - start;
            assert!(taken >= Duration::from_secs(30) && taken < Duration::from_secs(120), "{taken:?}");
            echo(&stream, b"after").await?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

/// The second half of the bytes is on its way when the link is mended that has held back the first.
#[test]
fn bytes_on_their_way_do_not_overtake_those_that_a_cut_has_held_back() {
    Sim::check(20, |sim| {
        sim.set_links(sim::Link { latency: Duration::from_millis(50), ..sim::Link::LAN });
        add_echo(sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            let pause = async |milliseconds| time::sleep(Duration::from_millis(milliseconds)).await; // time is tested
            stream.write_all(b"one ").await?;
            pause(20).await;
            stream.write_all(b"two").await?;
            pause(20).await;
            sim::control().partition("client", "server");
            pause(20).await;
            sim::control().heal("client", "server");
            let mut back = [0; 7];
            stream.read_exact(&mut back).await?;
            assert_eq!(&back, b"one two");
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn the_timer_of_a_slow_host_may_be_late() {
    let mut sim = Sim::new(1);
    sim.client("slow", async {
        sim::control().slow("slow", Duration::from_millis(10));
        let start = time::now();
        for _ in 0..10 {
            time::sleep(Duration::from_millis(1)).await; // time is tested
        }
        assert!(time::now() - start >= Duration::from_millis(90));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_connection_across_a_lasting_partition_times_out() {
    let mut sim = Sim::new(1);
    add_echo(&mut sim);
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        sim::control().partition("client", "server");
        let start = time::now();
        let error = echo(&stream, b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!((time::now() - start).as_secs(), 924);
        let start = time::now();
        let error = TcpStream::connect("server:7").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!((time::now() - start).as_secs(), 127);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_host_that_crashed_and_restarted_resets_old_connections() {
    Sim::check(20, |sim| {
        add_echo(sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            echo(&stream, b"x").await?;
            let control = sim::control();
            control.crash("server");
            time::sleep(Duration::from_secs(1)).await; // time is tested
            stream.write_all(b"lost").await?;
            time::sleep(Duration::from_secs(1)).await; // time is tested
            control.restart("server");
            let error = stream.read(&mut [0; 4]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            echo(&TcpStream::connect("server:7").await?, b"again").await?;
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn a_crash_drops_the_code_of_the_host() {
    struct OnDrop(std::rc::Rc<std::cell::Cell<u32>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut sim = Sim::new(1);
    let of_host = dropped.clone();
    sim.host("server", move || {
        let (main, local) = (OnDrop(of_host.clone()), OnDrop(of_host.clone()));
        async move {
            let _main = main;
            spawn_local(async move {
                let _local = local;
                std::future::pending::<()>().await;
            });
            std::future::pending().await
        }
    });
    sim.client("client", async {
        time::sleep(Duration::from_secs(1)).await; // time is tested
        sim::control().crash("server");
        time::sleep(Duration::from_secs(1)).await; // time is tested
        Ok(())
    });
    assert!(!sim.run_for(Duration::from_millis(500)).unwrap());
    assert_eq!(dropped.get(), 0);
    sim.run().unwrap();
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_deadlock_is_a_failure_with_the_state_of_every_host() {
    let mut sim = Sim::new(77);
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        let _stream = listener.accept().await?;
        std::future::pending().await
    });
    sim.client("client", async {
        let stream = TcpStream::connect("server:7").await?;
        stream.read(&mut [0]).await?;
        Ok(())
    });
    let failure = sim.run().unwrap_err();
    assert_eq!((failure.kind(), failure.seed()), (FailureKind::Deadlock, 77));
    let text = failure.to_string();
    for part in ["seed 77", "host \"server\"", "host \"client\"", "a task waits to read", "10.0.0.1:7"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_error_of_a_host_and_the_limit_are_failures() {
    let mut sim = Sim::new(1);
    sim.client("client", async { Err("no luck".into()) });
    let failure = sim.run().unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Host);
    assert!(failure.to_string().contains("no luck"), "{failure}");
    drop(sim);
    let mut sim = Sim::new(1);
    sim.limit(Duration::from_secs(10));
    sim.client("client", async {
        loop {
            time::sleep(Duration::from_secs(1)).await; // time is tested
        }
    });
    assert_eq!(sim.run().unwrap_err().kind(), FailureKind::Limit);
    assert_eq!(sim.elapsed(), Duration::from_secs(10));
}

#[test]
fn a_failing_seed_is_named() {
    let failure = std::panic::catch_unwind(|| {
        Sim::check(1000, |sim| {
            sim.client("client", async {
                if sim::control().random_below(20) == 0 { Err("found".into()) } else { Ok(()) }
            });
            sim.run()?;
            Ok(())
        });
    });
    let text = failure.unwrap_err().downcast_ref::<String>().cloned().unwrap();
    assert!(text.contains("NETPOLL_SIM_SEED=") && text.contains("found"), "{text}");
}

#[test]
fn blocking_work_and_files_run_within_the_step_of_their_host() {
    let mut sim = Sim::new(1);
    let path = std::env::temp_dir().join(format!("netpoll-sim-{}", std::process::id()));
    let of_client = path.clone();
    sim.client("client", async move {
        let thread = std::thread::current().id();
        assert_eq!(spawn_blocking(|| std::thread::current().id()).await?, thread);
        fs::write(&of_client, b"bytes").await?;
        assert_eq!(fs::read(&of_client).await?, b"bytes");
        Ok(())
    });
    sim.run().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_time_of_day_of_a_host_may_be_wrong() {
    let mut sim = Sim::new(1);
    sim.client("right", async {
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        assert_eq!(day.as_secs() / 10, 1_735_689_600 / 10);
        Ok(())
    });
    sim.client("wrong", async {
        let before = SystemTime::now();
        sim::control().clock_skew("wrong", 3_600_000_000_000);
        task::yield_now().await;
        assert!(SystemTime::now().duration_since(before)? >= Duration::from_secs(3600));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn the_keys_of_a_map_are_those_of_the_seed() {
    let order = |seed| {
        std::thread::spawn(move || {
            let _sim = Sim::new(seed);
            let map: HashMap<u32, ()> = (0..100).map(|n| (n, ())).collect();
            map.into_keys().collect::<Vec<_>>()
        })
        .join()
        .unwrap()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_wait_that_is_not_awaited_panics() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        netpoll_rt::Handle::current().block_on(time::sleep(Duration::from_secs(1))); // time is tested
        Ok(())
    });
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.run())).unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.contains("await the future"), "{text}");
}

#[test]
fn a_task_of_another_host_is_woken() {
    let (sender, receiver) = (std::sync::Arc::new(std::sync::Mutex::new((None, 0))), ());
    let () = receiver;
    let mut sim = Sim::new(1);
    let of_one = sender.clone();
    sim.client("one", async move {
        std::future::poll_fn(|cx| {
            let mut shared = of_one.lock().unwrap();
            if shared.1 > 0 {
                return std::task::Poll::Ready(());
            }
            shared.0 = Some(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
        Ok(())
    });
    sim.client("two", async move {
        time::sleep(Duration::from_secs(1)).await; // time is tested
        let mut shared = sender.lock().unwrap();
        shared.1 = 1;
        shared.0.take().unwrap().wake();
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_slow_host_runs_when_its_timer_is_due() {
    let mut sim = Sim::new(1);
    sim.client("client", async {
        sim::control().slow("client", Duration::from_millis(3));
        for _ in 0..10 {
            time::sleep(Duration::from_millis(1)).await; // time is tested
        }
        Ok(())
    });
    sim.run().unwrap();
    assert!(sim.elapsed() >= Duration::from_millis(30), "{:?}", sim.elapsed());
}

/// The old bytes and the end behind them arrive after the reset by the host that has restarted.
#[test]
fn a_reset_connection_takes_no_end_of_the_stream() {
    Sim::check(20, |sim| {
        sim.host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            let (stream, _) = listener.accept().await?;
            stream.read_exact(&mut [0; 2]).await?;
            time::sleep(Duration::from_secs(1)).await; // time is tested
            stream.write_all(b"cut off").await?;
            stream.shutdown(Shutdown::Write)?;
            std::future::pending::<()>().await;
            Ok(())
        });
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            stream.write_all(b"go").await?;
            let pause = async || time::sleep(Duration::from_millis(900)).await; // time is tested
            pause().await;
            let control = sim::control();
            control.partition("client", "server");
            pause().await;
            control.crash("server");
            pause().await;
            control.restart("server");
            control.heal("client", "server");
            stream.write_all(b"for the one that was before").await?;
            time::sleep(Duration::from_secs(100)).await; // time is tested
            let error = stream.read(&mut [0; 7]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}

#[test]
fn bytes_stay_in_order_when_a_link_is_healed_while_some_are_on_their_way() {
    Sim::check(20, |sim| {
        sim.set_links(Link { latency: Duration::from_millis(50), jitter: Duration::ZERO, ..Link::LAN });
        add_echo(sim);
        sim.client("client", async {
            let stream = TcpStream::connect("server:7").await?;
            let control = sim::control();
            stream.write_all(b"1").await?;
            control.partition("client", "server");
            // The first byte arrives while the link is cut, the second one after it is healed.
            time::sleep(Duration::from_millis(20)).await; // time is tested
            stream.write_all(b"2").await?;
            time::sleep(Duration::from_millis(40)).await; // time is tested
            control.heal("client", "server");
            let mut back = [0; 2];
            stream.read_exact(&mut back).await?;
            assert_eq!(&back, b"12");
            Ok(())
        });
        sim.run()?;
        Ok(())
    });
}
