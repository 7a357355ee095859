//! The program in a simulation of turmoil.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use netpoll_sim_bench::{CLIENTS, CONNECTIONS, LATENCY, Messages, Outcome, Pauses, SIZE, measure};

fn main() -> Outcome {
    measure("turmoil", run)
}

fn run(virtual_time: Duration, messages: &Messages) -> Outcome {
    let mut builder = turmoil::Builder::new();
    builder.simulation_duration(virtual_time * 2).rng_seed(1);
    builder.min_message_latency(LATENCY[0]).max_message_latency(LATENCY[1]);
    // All connections begin at once.
    builder.tcp_capacity(256);
    let mut sim = builder.build();
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    });
    for name in CLIENTS {
        let messages = messages.clone();
        sim.client(name, async move {
            let ask = |connection| {
                tokio::spawn(ask_until_the_end(virtual_time, messages.clone(), Pauses::new(connection)))
            };
            for task in (0..CONNECTIONS).map(ask).collect::<Vec<_>>() {
                task.await??;
            }
            Ok(())
        });
    }
    sim.run().map_err(|error| error.to_string().into())
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; SIZE];
    loop {
        stream.read_exact(&mut buffer).await?;
        stream.write_all(&buffer).await?;
    }
}

async fn ask_until_the_end(
    virtual_time: Duration,
    messages: Messages,
    mut pauses: Pauses,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect("server:7").await?;
    let mut buffer = [7; SIZE];
    while turmoil::sim_elapsed().is_some_and(|elapsed| elapsed < virtual_time) {
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
        messages.inc();
        tokio::time::sleep(pauses.next_pause()).await;
    }
    Ok(())
}
