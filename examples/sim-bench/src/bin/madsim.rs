//! The program in a simulation of madsim.

use std::net::IpAddr;
use std::time::Duration;

use madsim::net::NetSim;
use madsim::runtime::{Handle, Runtime};
use madsim_tokio::io::{AsyncReadExt, AsyncWriteExt};
use madsim_tokio::net::{TcpListener, TcpStream};
use madsim_tokio::time::{Instant, sleep};

use netpoll_sim_bench::{CLIENTS, CONNECTIONS, LATENCY, Messages, Outcome, Pauses, SIZE, measure};

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn main() -> Outcome {
    measure("madsim", run)
}

fn run(virtual_time: Duration, messages: &Messages) -> Outcome {
    let mut config = madsim::Config::default();
    config.net.send_latency = LATENCY[0]..LATENCY[1];
    let runtime = Runtime::with_seed_and_config(1, config);
    runtime.block_on(hosts(virtual_time, messages))
}

async fn hosts(virtual_time: Duration, messages: &Messages) -> Outcome {
    let handle = Handle::current();
    let server = handle.create_node().name("server").ip(SERVER).build();
    server.spawn(async {
        let listener = TcpListener::bind((SERVER, 7)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            madsim_tokio::spawn(serve(stream));
        }
        #[expect(unreachable_code, reason = "the type of the result")]
        Outcome::Ok(())
    });
    // The listener is bound by then.
    sleep(Duration::from_millis(1)).await;
    let mut clients = Vec::new();
    for (number, name) in CLIENTS.into_iter().enumerate() {
        let address = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2 + number as u8));
        let client = handle.create_node().name(name).ip(address).build();
        let messages = messages.clone();
        clients.push(client.spawn(async move {
            let start = Instant::now();
            let ask = |connection| {
                madsim_tokio::spawn(ask_until_the_end(
                    start + virtual_time,
                    messages.clone(),
                    Pauses::new(connection),
                ))
            };
            for task in (0..CONNECTIONS).map(ask).collect::<Vec<_>>() {
                task.await??;
            }
            Outcome::Ok(())
        }));
    }
    for client in clients {
        client.await??;
    }
    // Named here so that a build without `--cfg madsim` fails.
    let _ = NetSim::current();
    Ok(())
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; SIZE];
    loop {
        stream.read_exact(&mut buffer).await?;
        stream.write_all(&buffer).await?;
        stream.flush().await?;
    }
}

async fn ask_until_the_end(end: Instant, messages: Messages, mut pauses: Pauses) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((SERVER, 7)).await?;
    let mut buffer = [7; SIZE];
    while Instant::now() < end {
        stream.write_all(&buffer).await?;
        stream.flush().await?;
        stream.read_exact(&mut buffer).await?;
        messages.inc();
        sleep(pauses.next_pause()).await;
    }
    Ok(())
}
