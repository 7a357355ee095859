//! The program in a simulation of netpoll.

use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::sim::{self, Faults, Link, Sim};
use netpoll_rt::{spawn, time};

use netpoll_sim_bench::{CLIENTS, CONNECTIONS, LATENCY, Messages, Outcome, Pauses, SIZE, measure};

fn main() -> Outcome {
    measure("netpoll", run)
}

fn run(virtual_time: Duration, messages: &Messages) -> Outcome {
    let mut sim = Sim::new(1);
    // The others make no faults of the kernel.
    sim.set_faults(Faults::NONE);
    sim.set_links(Link { latency: LATENCY[0], jitter: LATENCY[1] - LATENCY[0], ..Link::LAN });
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawn(serve(stream));
        }
    });
    for name in CLIENTS {
        let messages = messages.clone();
        sim.client(name, async move {
            let ask = |connection| {
                spawn(ask_until_the_end(virtual_time, messages.clone(), Pauses::new(connection)))
            };
            for task in (0..CONNECTIONS).map(ask).collect::<Vec<_>>() {
                task.await??;
            }
            Ok(())
        });
    }
    Ok(sim.run()?)
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
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
    let stream = TcpStream::connect("server:7").await?;
    let mut buffer = [7; SIZE];
    while sim::control().elapsed() < virtual_time {
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
        messages.inc();
        time::sleep(pauses.next_pause()).await;
    }
    Ok(())
}
