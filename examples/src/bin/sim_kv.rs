//! A small replicated key-value server with a planted bug, and the simulation that finds it by seed.
//!
//! ```text
//! RUSTFLAGS='--cfg netpoll_sim' cargo run --release --bin sim_kv
//! ```
//!
//! Three nodes keep the same map. Node `a` leads: it sends each write to the two others and acknowledges it when a majority
//! has it. The bug: it counts a node as soon as the *send* has succeeded. Within a process or on a good network that is as
//! good as an answer. When the leader is cut off, the bytes are in its own kernel; if it then loses its power, a write is
//! lost that a client was told is safe.
//!
//! The simulation cuts the leader off at a random moment, takes its power at another one, and then asks the two others for
//! every write that was acknowledged. Most seeds find nothing, since no write falls between the two moments.

#[cfg(not(netpoll_sim))]
fn main() {
    println!("sim_kv: nothing is simulated; build it with RUSTFLAGS='--cfg netpoll_sim'");
}

/// Finds the bug, repeats it by its seed, and shows that the mended program has it no more.
#[cfg(netpoll_sim)]
pub fn main() {
    simulated::main();
}

#[cfg(netpoll_sim)]
mod simulated {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use netpoll_rt::net::{TcpListener, TcpStream};
    use netpoll_rt::sim::{self, Sim};
    use netpoll_rt::{spawn_local, time};

    /// A request is three bytes: one of these, the key, the value. An answer is two: 1 for success, and the value.
    const PUT: u8 = 0;
    const COPY: u8 = 1;
    const GET: u8 = 2;

    /// The time after which a node counts as unreachable.
    const PATIENCE: Duration = Duration::from_millis(200);

    /// The number of seeds that the mended program runs with; a debug build is ten times as slow.
    const MENDED: u64 = if cfg!(debug_assertions) { 30 } else { 300 };

    /// The moment at which the leader counts a copy.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Count {
        /// The planted bug.
        Sent,
        Answered,
    }

    /// A node, as its sessions share it.
    struct Node {
        map: RefCell<BTreeMap<u8, u8>>,
        followers: RefCell<Vec<Rc<TcpStream>>>,
        count: Count,
    }

    /// Serves a node. The leader has followers.
    async fn serve(followers: &'static [&'static str], count: Count) -> sim::Result {
        let listener = TcpListener::bind("0.0.0.0:6000").await?;
        let node = Rc::new(Node { map: RefCell::default(), followers: RefCell::default(), count });
        for follower in followers {
            let stream = TcpStream::connect((*follower, 6000)).await?;
            node.followers.borrow_mut().push(Rc::new(stream));
        }
        loop {
            let (stream, _) = listener.accept().await?;
            // It ends with the connection, whose error is the client's.
            drop(spawn_local(session(stream, node.clone())));
        }
    }

    async fn session(stream: TcpStream, node: Rc<Node>) -> std::io::Result<()> {
        loop {
            let mut request = [0; 3];
            stream.read_exact(&mut request).await?;
            let [what, key, value] = request;
            let answer = match what {
                PUT => [u8::from(node.put(key, value).await), value],
                COPY => {
                    node.map.borrow_mut().insert(key, value);
                    [1, value]
                }
                _ => node.map.borrow().get(&key).map_or([0, 0], |value| [1, *value]),
            };
            stream.write_all(&answer).await?;
        }
    }

    impl Node {
        /// Writes to this node and to its followers; returns whether a majority has it.
        async fn put(&self, key: u8, value: u8) -> bool {
            self.map.borrow_mut().insert(key, value);
            let followers = self.followers.borrow().clone();
            let mut copies = 1;
            for follower in followers {
                let copied = time::timeout(PATIENCE, copy(&follower, [COPY, key, value], self.count)).await;
                copies += usize::from(matches!(copied, Ok(Ok(()))));
            }
            copies >= 2
        }
    }

    async fn copy(follower: &TcpStream, request: [u8; 3], count: Count) -> std::io::Result<()> {
        follower.write_all(&request).await?;
        if count == Count::Answered {
            follower.read_exact(&mut [0; 2]).await?;
        }
        Ok(())
    }

    /// Makes a request on a connection of its own.
    async fn ask(node: &str, request: [u8; 3]) -> std::io::Result<[u8; 2]> {
        let stream = TcpStream::connect((node, 6000)).await?;
        stream.write_all(&request).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Writes to the leader until it is gone, and then looks for every write that was acknowledged.
    async fn client() -> sim::Result {
        let mut acknowledged = Vec::new();
        for key in 0..20 {
            match time::timeout(Duration::from_secs(1), ask("a", [PUT, key, key + 1])).await {
                Ok(Ok([1, _])) => acknowledged.push(key),
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => break,
            }
            time::sleep(Duration::from_millis(sim::control().random_below(100))).await;
        }
        // The leader is gone by then, and all bytes that had left it have arrived.
        time::sleep(Duration::from_secs(300)).await;
        for key in acknowledged {
            let answers = [ask("b", [GET, key, 0]).await?, ask("c", [GET, key, 0]).await?];
            if !answers.contains(&[1, key + 1]) {
                return Err(format!("the acknowledged write of key {key} is lost").into());
            }
        }
        Ok(())
    }

    /// Cuts the leader off at a random moment, and takes its power at a later one.
    async fn chaos() -> sim::Result {
        let control = sim::control();
        let random = |below| Duration::from_millis(control.random_below(below));
        time::sleep(Duration::from_millis(100) + random(3000)).await;
        control.partition("a", "b");
        control.partition("a", "c");
        time::sleep(random(100)).await;
        control.crash("a");
        Ok(())
    }

    fn simulate(seed: u64, count: Count) -> (Result<(), sim::Failure>, u64) {
        let mut sim = Sim::new(seed);
        sim.host("b", move || serve(&[], count));
        sim.host("c", move || serve(&[], count));
        sim.host("a", move || async move {
            // After the others have begun to listen.
            time::sleep(Duration::from_millis(10)).await;
            serve(&["b", "c"], count).await
        });
        sim.client("client", async {
            time::sleep(Duration::from_millis(50)).await;
            client().await
        });
        sim.client("chaos", chaos());
        let outcome = sim.run();
        (outcome, sim.trace_hash())
    }

    pub fn main() {
        let start = Instant::now();
        let simulated = Cell::new(0);
        let found = (0..10_000).find_map(|seed| {
            simulated.set(simulated.get() + 1);
            let (outcome, hash) = simulate(seed, Count::Sent);
            outcome.err().map(|failure| (failure, hash))
        });
        let (failure, hash) = found.expect("the bug is found");
        println!("{failure}");
        println!("found after {} seeds in {:.2?}", simulated.get(), start.elapsed());
        let (again, same) = simulate(failure.seed(), Count::Sent);
        assert_eq!((again.expect_err("it fails again").kind(), same), (failure.kind(), hash));
        println!("the same seed fails in the same way again");
        let start = Instant::now();
        for seed in 0..MENDED {
            if let (Err(failure), _) = simulate(seed, Count::Answered) {
                panic!("with the bug mended: {failure}");
            }
        }
        println!("with the bug mended {MENDED} seeds find nothing, in {:.2?}", start.elapsed());
    }
}
