//! The hosts of the load: a server, a proxy before it, two clients, and a troublemaker.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream, UdpSocket};
use netpoll_rt::sim::{self, Sim};
use netpoll_rt::{signal, spawn, time};

use super::Scenario;
use super::cases::{self, is_reset, retry, write_all};

/// The number of rounds of each task of a client, and of tasks for each case.
const ROUNDS: usize = 4;
const TASKS: usize = 2;

/// Waits for a time up to `milliseconds`.
pub async fn pause(milliseconds: u64) {
    let time = sim::control().random_below(milliseconds * 1_000_000);
    time::sleep(Duration::from_nanos(time)).await; // time is tested
}

/// Sends back everything until the end. `delay`: waits before each answer.
async fn echo(stream: TcpStream, delay: u64) -> io::Result<()> {
    let mut buffer = vec![0; 8192];
    loop {
        let n = retry!(stream.read(&mut buffer).await)?;
        if n == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        if delay > 0 {
            pause(delay).await;
        }
        write_all(&stream, &buffer[..n]).await?;
    }
}

/// Serves each connection by a task. A reset is an error that the task's client sees.
async fn serve<F>(port: u16, handle: impl Fn(TcpStream) -> F) -> netpoll_rt::sim::Result
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let address = ("0.0.0.0", port);
    let listener = retry!(TcpListener::bind(address).await)?;
    loop {
        let (stream, _) = retry!(listener.accept().await)?;
        let handling = handle(stream);
        spawn(async move {
            if let Err(error) = handling.await {
                assert!(is_reset(&error), "{error}");
            }
        });
    }
}

async fn serve_datagrams() -> netpoll_rt::sim::Result {
    let socket = retry!(UdpSocket::bind("0.0.0.0:9").await)?;
    let mut buffer = [0; 2000];
    loop {
        let (n, from) = retry!(socket.recv_from(&mut buffer).await)?;
        retry!(socket.send_to(&buffer[..n], from).await)?;
    }
}

/// Passes the bytes of a connection on, in both directions, by copies within the kernel or by hand.
async fn proxy(near: TcpStream, scenario: Scenario) -> io::Result<()> {
    let far = retry!(TcpStream::connect("server:7").await)?;
    if scenario == Scenario::Hidden {
        return netpoll_rt::io::copy_bidirectional(&near, &far).await.map(drop);
    }
    // A copy that fails for want of memory has lost what it had read: here each call is repeated.
    let (near, far) = (std::sync::Arc::new(near), std::sync::Arc::new(far));
    let (of_back, of_far) = (near.clone(), far.clone());
    let back = spawn(async move { pass_on(&of_far, &of_back).await });
    let there = pass_on(&near, &far).await;
    let back = back.await.map_err(io::Error::other)?;
    there.and(back)
}

async fn pass_on(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        let n = match retry!(from.read(&mut buffer).await) {
            Ok(n) => n,
            Err(error) => {
                // The other end must learn of it too.
                to.set_linger(Some(Duration::ZERO))?;
                to.close().await?;
                return Err(error);
            }
        };
        if n == 0 {
            return to.shutdown(Shutdown::Write);
        }
        write_all(to, &buffer[..n]).await?;
    }
}

pub fn add(sim: &mut Sim, scenario: Scenario) {
    sim.host("server", || async {
        let tasks = [
            spawn(serve(7, |stream| echo(stream, 0))),
            spawn(serve(10, |stream| echo(stream, 20))),
            spawn(serve(11, |stream| async move {
                drop(stream);
                Ok(())
            })),
            spawn(serve_datagrams()),
        ];
        for task in tasks {
            task.await??;
        }
        Ok(())
    });
    sim.host("proxy", move || serve(8, move |stream| proxy(stream, scenario)));
    for name in ["one", "two"] {
        sim.client(name, async move {
            let mut tasks = Vec::new();
            for _ in 0..TASKS {
                for case in 0..cases::NUMBER {
                    tasks.push(spawn(async move {
                        for _ in 0..ROUNDS {
                            cases::run(case, scenario).await;
                        }
                    }));
                }
            }
            for task in tasks {
                task.await?;
            }
            Ok(())
        });
    }
    sim.host("troublemaker", move || async move {
        loop {
            trouble(scenario).await;
        }
    });
}

/// Makes trouble for a while, and ends it.
async fn trouble(scenario: Scenario) {
    pause(200).await;
    let control = sim::control();
    let client = ["one", "two"][control.random_below(2) as usize];
    let host = ["server", "proxy"][control.random_below(2) as usize];
    match control.random_below(if scenario == Scenario::Crashes { 6 } else { 5 }) {
        0 => {
            control.partition(client, host);
            pause(300).await;
            control.heal(client, host);
        }
        1 => {
            control.partition_one_way(host, client);
            pause(300).await;
            control.heal(client, host);
        }
        2 => {
            control.signal(host, signal::SignalKind::from_raw(19));
            pause(300).await;
            control.signal(host, signal::SignalKind::from_raw(18));
        }
        3 => {
            control.slow(host, Duration::from_micros(control.random_below(300)));
            pause(300).await;
            control.slow(host, Duration::ZERO);
        }
        4 => {
            control.clock_skew(host, control.random() as i64 % 1_000_000_000);
        }
        _ => {
            control.crash(host);
            pause(300).await;
            control.restart(host);
        }
    }
}
