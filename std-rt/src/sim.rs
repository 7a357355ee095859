//! A network in a seed: hosts, links and a clock that exist only in this process, for tests.
//!
//! Needs `--cfg netpoll_sim` in `RUSTFLAGS`, and Linux. A build without it has no trace of this module.
//!
//! The code of a host is ordinary code: it uses [`net`](crate::net), [`time`](crate::time), [`task`](crate::task) and the
//! libraries above them as they are. Each host has an address, a clock and a runtime of its own, and all of them run on the
//! thread that runs the simulation. The clock stands still while code runs, and moves to the next event when every host is
//! idle, so that an hour of waiting takes no time. Everything that chance decides is drawn from the seed: the time that a
//! packet takes, the order of events and of hosts, the parts in which bytes arrive, the keys of the hash maps. A failure is
//! repeated by its seed.
//!
//! ```
//! use netpoll_rt::net::{TcpListener, TcpStream};
//! use netpoll_rt::sim::Sim;
//!
//! let mut sim = Sim::new(7);
//! sim.host("server", || async {
//!     let listener = TcpListener::bind("0.0.0.0:80").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         stream.write_all(b"hello").await?;
//!     }
//! });
//! sim.client("client", async {
//!     let stream = TcpStream::connect("server:80").await?;
//!     let mut bytes = [0; 5];
//!     stream.read_exact(&mut bytes).await?;
//!     assert_eq!(&bytes, b"hello");
//!     Ok(())
//! });
//! sim.run()?;
//! # Ok::<(), netpoll_rt::sim::Failure>(())
//! ```
//!
//! Libraries on these types run in it unchanged: `examples/sim` of the repository has hyper and axum. So do programs of tokio, on
//! the package of tokio's API (`examples/sim-tokio`), and all libraries whose sockets are those of std or socket2 and are made
//! non-blocking: their calls of the C library are simulated, and so are its look-ups of names.
//!
//! # What is simulated
//!
//! | part | how |
//! |---|---|
//! | TCP | handshake, backlog, both buffers, half-close, reset, urgent bytes; without Nagle; loss is delay, as long as on Linux |
//! | UDP | loss, duplicates, reordering as the [`Link`] has them |
//! | Unix sockets | streams, datagrams, seqpackets, passed descriptors; abstract names belong to their host, a path is a real file |
//! | pipes, FIFOs, splice(2) | in pages, as on Linux |
//! | signals | [`signal`](Control::signal) raises one for a host, with its default action |
//! | names | those of the hosts, and `localhost` |
//! | time | `Instant`, `SystemTime`, and every timer of this crate |
//! | [`spawn_blocking`](crate::spawn_blocking), files | on the thread of the simulation, in order; the files are the real ones |
//! | keys of `HashMap` | drawn from the seed, if the thread has made none before, as in [`Sim::check`] |
//!
//! The kernel's answers are drawn from the seed too, within the limits of its manual: [`Faults`] has the kinds, and
//! [`fault_counts`](Control::fault_counts) how often each has happened. The order of the tasks that are runnable is one of them.
//!
//! Processes are not simulated: [`Command::spawn`](crate::process::Command::spawn) returns `Unsupported` within a host. A
//! descriptor of another kind is refused by a host's poller.
//! A runtime that the code of a host creates may have workers: their threads take turns with that of the simulation, as the seed
//! has it, before each access to a word that threads share.
//!
//! A host must not block its thread: a wait that is not awaited stops every host. `thread::sleep` moves the clock of all by its
//! time. A `block_on` that waits panics, except on a runtime of several workers, which go on meanwhile. A wait for a lock or a
//! channel of std ends the process with a message if nothing has ended it after 20 seconds of real time.
//!
//! # Replay
//!
//! The same program does the same with the same seed, in every build and on every machine: its traces are equal byte for byte.
//! By default a simulated poller has the contract of epoll, whatever the machine has. In a build with
//! `--cfg netpoll_backend="poll"` it has that of poll(2), which reports what a task waits for as long as it lasts. The runtime makes
//! other calls then, so a seed has another trace there, the same each time.

mod check;
mod control;
mod host;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::sim::control::Turn;
pub use crate::sys::sim::faults::{FaultConfig as Faults, FaultCounts, FaultKind};
pub use crate::sys::sim::world::Counts;
use crate::sys::sim::world::{HostId, Request, World};
use crate::sys::sim::{InSimulation, Kernel};
pub use control::{Control, Link, control};
use host::{Main, Running};

/// The result of a host's code.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The longest time that [`Sim::run`] simulates, unless [`Sim::limit`] sets another one: a day.
const LIMIT: Duration = Duration::from_secs(86_400);

/// A simulation.
///
/// Its methods and, by [`Deref`], those of [`Control`] change it. It stays on its thread, which is in the simulation until it
/// is dropped: the clocks of the thread are those of the simulation.
pub struct Sim {
    hosts: Vec<Host>,
    control: Control,
    kernel: Arc<Kernel>,
    limit: Duration,
    seed: u64,
    on_thread: PhantomData<*const ()>,
    /// Dropped last: the end of a host is within the simulation.
    _inside: InSimulation,
}

struct Host {
    id: HostId,
    name: String,
    kind: HostKind,
    running: Option<Running>,
    has_ended: bool,
}

enum HostKind {
    /// Can be started again.
    Server(Box<dyn Fn() -> Main>),
    /// The simulation ends with it; `None` once it was started.
    Client(Option<Main>),
}

impl Sim {
    /// Creates a simulation without hosts. Two simulations of the same program with the same seed do the same.
    ///
    /// # Panics
    ///
    /// Panics if the thread is in a simulation already.
    pub fn new(seed: u64) -> Self {
        assert!(
            !crate::sys::is_simulated(),
            "netpoll: this thread is in a simulation already; drop it first"
        );
        let kernel = Kernel::new(seed);
        let inside = kernel.enter();
        let control = Control::new(kernel.clone());
        Self {
            hosts: Vec::new(),
            control,
            kernel,
            limit: LIMIT,
            seed,
            on_thread: PhantomData,
            _inside: inside,
        }
    }

    /// Adds a host that serves: the simulation does not wait for its end. The closure is called for its start, and for each
    /// start after a [`crash`](Control::crash).
    ///
    /// If its future returns an error the simulation fails.
    ///
    /// # Panics
    ///
    /// Panics if there is a host of that name, or if the name is an address, `localhost`, or empty.
    pub fn host<F, Fut>(&mut self, name: &str, main: F)
    where
        F: Fn() -> Fut + 'static,
        Fut: Future<Output = Result> + 'static,
    {
        self.add(name, HostKind::Server(Box::new(move || Box::pin(main()))));
    }

    /// Adds a host that ends: the simulation waits for it. It cannot be started again.
    ///
    /// If its future returns an error the simulation fails.
    ///
    /// # Panics
    ///
    /// Panics as [`host`](Self::host) does.
    pub fn client(&mut self, name: &str, main: impl Future<Output = Result> + 'static) {
        self.add(name, HostKind::Client(Some(Box::pin(main))));
    }

    fn add(&mut self, name: &str, kind: HostKind) {
        let is_name = !name.is_empty() && name != "localhost" && name.parse::<IpAddr>().is_err();
        assert!(is_name, "netpoll: {name:?} cannot be the name of a host");
        let mut world = self.kernel.lock();
        assert!(
            world.find_host(name).is_none(),
            "netpoll: there is a host {name:?} in the simulation already"
        );
        let id = world.add_host(name);
        drop(world);
        self.hosts.push(Host { id, name: name.to_owned(), kind, running: None, has_ended: false });
    }

    /// Sets how much time [`run`](Self::run) simulates at most, from the start; a day if it is not called.
    pub fn limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs the simulation until every client has ended, or without clients every host.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the future of a host returns an error, if nothing can happen any more although a client has
    /// not ended, or if the [`limit`](Self::limit) is over. Its text has the seed, and the state of every host.
    ///
    /// # Panics
    ///
    /// Panics if the future of a host does. A task that panics says so by its handle only.
    pub fn run(&mut self) -> std::result::Result<(), Failure> {
        let left = self.limit.saturating_sub(self.control.elapsed());
        if self.run_for(left)? {
            return Ok(());
        }
        Err(self.failure(FailureKind::Limit, format!("has not ended after {:?}", self.limit)))
    }

    /// Runs the simulation for a time, or until it ends as [`run`](Self::run) does. Returns whether it has ended.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), except for the limit.
    pub fn run_for(&mut self, time: Duration) -> std::result::Result<bool, Failure> {
        self.start_all()?;
        let end = self.kernel.lock().tick_after(time);
        loop {
            self.serve_requests()?;
            if self.has_ended() {
                return Ok(true);
            }
            let hosts = &self.hosts;
            let has_work = |world: &World, host: HostId| {
                let running = hosts[host].running.as_ref();
                running.is_some_and(|running| running.has_work())
                    || self.kernel.has_runnable_thread(world, host)
            };
            let turn = self.kernel.lock().next_turn(end, has_work, || self.kernel.next_timeout());
            match turn {
                Turn::Step(host) => self.step(host)?,
                Turn::Later => return Ok(false),
                Turn::Nothing => {
                    let what = "nothing can happen any more, and it has not ended".to_owned();
                    return Err(self.failure(FailureKind::Deadlock, what));
                }
            }
        }
    }

    fn step(&mut self, id: HostId) -> std::result::Result<(), Failure> {
        let jobs = self.kernel.lock().begin_step(id);
        let host = &mut self.hosts[id];
        let Some(running) = &mut host.running else { return Ok(()) };
        let stepped = running.step(jobs);
        self.kernel.run_threads(id);
        match stepped {
            None => Ok(()),
            Some(result) => {
                host.has_ended = true;
                result.map_err(|error| {
                    let what = format!("host {:?} has failed: {error}", self.hosts[id].name);
                    self.failure(FailureKind::Host, what)
                })
            }
        }
    }

    fn has_ended(&self) -> bool {
        let is_client = |host: &&Host| matches!(host.kind, HostKind::Client(_));
        if self.hosts.iter().any(|host| is_client(&host)) {
            return self.hosts.iter().filter(is_client).all(|host| host.has_ended);
        }
        self.hosts.iter().all(|host| host.has_ended)
    }

    fn start_all(&mut self) -> std::result::Result<(), Failure> {
        for id in 0..self.hosts.len() {
            if self.hosts[id].running.is_none() && !self.hosts[id].has_ended && self.control.is_up(id) {
                self.start(id)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, id: HostId) -> std::result::Result<(), Failure> {
        let host = &mut self.hosts[id];
        let started = match &mut host.kind {
            HostKind::Server(main) => Running::start(&self.kernel, id, main),
            HostKind::Client(main) => match main.take() {
                Some(main) => Running::start(&self.kernel, id, || main),
                None => return Ok(()),
            },
        };
        host.has_ended = false;
        match started {
            Ok(running) => {
                host.running = Some(running);
                Ok(())
            }
            Err(error) => {
                let what = format!("the runtime of host {:?} cannot be started: {error}", host.name);
                Err(self.failure(FailureKind::Host, what))
            }
        }
    }

    fn serve_requests(&mut self) -> std::result::Result<(), Failure> {
        let requests = self.kernel.lock().take_requests();
        for request in requests {
            match request {
                Request::Crash(id) => {
                    self.kernel.lock().crash(id);
                    self.hosts[id].running = None;
                    if let HostKind::Client(_) = self.hosts[id].kind {
                        self.hosts[id].has_ended = true;
                    }
                }
                Request::Kill(id) => {
                    self.hosts[id].running = None;
                    self.hosts[id].has_ended = true;
                    self.kernel.lock().end_process(id);
                }
                Request::Restart(id) => {
                    if !self.control.is_up(id) || self.hosts[id].running.is_none() {
                        self.kernel.lock().restart(id);
                        self.start(id)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn failure(&self, kind: FailureKind, what: String) -> Failure {
        Failure { kind, what, seed: self.seed, dump: self.dump() }
    }

    /// Returns a description of every host: its runtime, and its sockets.
    pub fn dump(&self) -> String {
        let world = self.kernel.lock();
        let mut text = format!("at {:?}, {} segments held back\n", world.elapsed(), world.held());
        let sockets: Vec<String> = self.hosts.iter().map(|host| world.describe(host.id)).collect();
        drop(world);
        for (host, sockets) in self.hosts.iter().zip(sockets) {
            let state = match &host.running {
                _ if host.has_ended => "has ended".to_owned(),
                Some(running) => running.dump().to_string(),
                None => "is down".to_owned(),
            };
            let threads = self.kernel.describe_threads(host.id);
            text += &format!("host {:?}: {state}\n{threads}{sockets}", host.name);
        }
        text
    }
}

impl Deref for Sim {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for host in self.hosts.drain(..) {
            drop(host);
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

/// The reason why a simulation has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// A host has returned an error.
    Host,
    /// Nothing can happen any more: no packet is on its way, and no timer is armed.
    Deadlock,
    /// The time is over, or 200 years are.
    Limit,
}

/// The failure of a simulation. Its `Display` has the reason, the seed, and the state of every host.
#[derive(Clone, Debug)]
pub struct Failure {
    kind: FailureKind,
    what: String,
    seed: u64,
    dump: String,
}

impl Failure {
    /// Returns the reason.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the seed of the simulation.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulation with seed {}: {}\n{}", self.seed, self.what, self.dump)
    }
}

impl Error for Failure {}
