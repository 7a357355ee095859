//! The simulated kernel: hosts, links, sockets and a clock that a seed determines. Compiled only with `--cfg netpoll_sim`;
//! in an ordinary build [`sim_off.rs`](../sim_off.rs) takes its place, whose functions compile to nothing.
//!
//! A thread is in a simulation from [`Kernel::enter`] until the guard is dropped. There the calls of [`sys`](super) go to
//! the simulated kernel if they create a descriptor, or are on a descriptor that it has created; every other call goes to
//! the system, so files are the real ones. On a thread that is in no simulation all calls are the system's.
//!
//! | file | contents |
//! |---|---|
//! | `calls.rs` | the functions of rustix that `sys` calls, for both kernels |
//! | `interpose.rs` | the symbols of the C library by which std and other libraries use descriptors, clocks and names |
//! | `world.rs` | the state: hosts, descriptors, pending events, the seed, the trace |
//! | `link.rs` | latency, bandwidth, partitions: when a packet arrives |
//! | `tcp.rs`, `stream.rs` | connections: the handshake, and the bytes |
//! | `urgent.rs` | the calls for urgent bytes, for tests |
//! | `local.rs`, `messages.rs`, `pipes.rs` | Unix sockets with passed descriptors, pipes and FIFOs |
//! | `signals.rs` | the listeners and the dispositions of each host |
//! | `faults.rs` | the faults that the seed determines, by kind |
//! | `readiness.rs` | what a poller reports |
//! | `threads.rs` | the threads of a runtime within a host, one of which runs at a time |
//! | `control.rs` | what the owner of the simulation may do to it |
//!
//! # Descriptors
//!
//! A simulated socket or pipe has a real descriptor of the same kind, which is never connected, and never bound but to a path. Its number is unique in the
//! process, its options are the system's own, and close(2) frees it; everything else is simulated.
//!
//! # Time
//!
//! The clock stands still while a host runs, except that each poll without a wait takes [`POLL_COST`](world::POLL_COST).
//! It moves on to the next event or timer when every host is idle.

pub(super) mod calls;
pub mod clock;
pub mod control;
mod datagram;
pub mod faults;
mod interpose;
pub mod link;
mod local;
mod messages;
mod pipes;
pub(super) mod readiness;
pub mod signals;
mod sockets;
mod stream;
mod tcp;
pub mod threads;
pub mod urgent;
pub mod world;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

pub(super) use calls::{buffer, event, fs, net, pipe, rw};
use faults::FaultKind;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getpid};
pub(super) use signals::{Listening, listen, restore_default};
pub use threads::{thread_body, wait_for_end};
use world::{SimJob, World};

/// The simulated kernel of one simulation.
#[derive(Debug)]
pub struct Kernel {
    world: Mutex<World>,
    threads: threads::Threads,
}

thread_local! {
    /// The simulation that the thread is in.
    static CURRENT: RefCell<Option<Arc<Kernel>>> = const { RefCell::new(None) };
    /// The clock of the simulation that the thread is in, and the time of day; 0 outside of one.
    static NOW: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The guard of a thread that is in a simulation.
#[derive(Debug)]
#[must_use]
pub struct InSimulation {
    before: Option<Arc<Kernel>>,
}

impl Drop for InSimulation {
    fn drop(&mut self) {
        threads::set_driver(false);
        let ended = CURRENT.replace(self.before.take());
        NOW.set((0, 0));
        if let Some(kernel) = current() {
            kernel.lock().show_time();
        }
        drop(ended);
    }
}

impl Kernel {
    /// Creates the kernel of a simulation.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(World::new(seed)), threads: threads::Threads::new(seed) })
    }

    /// Puts this thread into the simulation.
    pub fn enter(self: &Arc<Self>) -> InSimulation {
        let random = self.lock().draw();
        let inside = self.enter_with(random);
        threads::set_driver(true);
        inside
    }

    /// Puts this thread into the simulation, with the seed of its maps.
    fn enter_with(self: &Arc<Self>, random: u64) -> InSimulation {
        let before = CURRENT.replace(Some(self.clone()));
        interpose::seed_random(random);
        self.lock().show_time();
        InSimulation { before }
    }

    /// Returns whether a descriptor is a simulated one. False while this thread changes the state, when it closes none: a panic
    /// within opens and closes files for its message.
    fn has(&self, fd: RawFd) -> bool {
        match self.world.try_lock() {
            Ok(world) => world.id_of(fd).is_some(),
            Err(TryLockError::Poisoned(world)) => world.into_inner().id_of(fd).is_some(),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        // A host that panics holds no lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the kernel of the simulation that this thread is in. `None` also while the thread ends.
pub fn current() -> Option<Arc<Kernel>> {
    CURRENT.try_with(|current| current.try_borrow().ok().and_then(|current| current.clone())).ok().flatten()
}

/// Returns whether this thread is in a simulation.
pub fn is_active() -> bool {
    NOW.get().0 != 0
}

/// Publishes the clock and the time of day to this thread, in nanoseconds.
fn set_now(clock: u64, time_of_day: u64) {
    NOW.set((clock, time_of_day));
}

/// Calls `call` with the state if the descriptor is a simulated one.
fn on<T>(fd: impl AsRawFd, call: impl FnOnce(&mut World, world::Id) -> T) -> Option<T> {
    if !is_active() {
        return None;
    }
    let kernel = current()?;
    let mut world = kernel.lock();
    let id = world.id_of(fd.as_raw_fd())?;
    Some(call(&mut world, id))
}

/// Returns the state of a simulated TCP connection in the kernel's numbers.
pub(super) fn tcp_state(fd: BorrowedFd<'_>) -> Option<u8> {
    on(fd, |world, id| world.tcp_state(id)).flatten()
}

/// Returns process, user and group of the peer of a simulated Unix socket: this process's.
pub(super) fn peer_credentials(fd: BorrowedFd<'_>) -> Option<Result<(i32, u32, u32), Errno>> {
    let has_peer = on(fd, |world, id| world.has_credentials(id))??;
    let own = || (getpid().as_raw_nonzero().get(), geteuid().as_raw(), getegid().as_raw());
    Some(if has_peer { Ok(own()) } else { Err(Errno::NOTCONN) })
}

/// Starts a thread that ends by itself. In a simulation the body runs on this thread, before the host's next step, and must
/// end without a wait for another task.
///
/// # Errors
///
/// As [`start_thread`](super::start_thread).
pub fn start_detached(
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    match current() {
        // With threads of its own a host has some for such bodies, too.
        Some(kernel) if !kernel.has_threads() => {
            kernel.lock().add_job(SimJob(Box::new(body)));
            Ok(())
        }
        _ => super::start_thread(name, stack_size, thread_body(body)).map(drop),
    }
}

/// Returns the number of runnable tasks that the next one overtakes, of `n`.
pub fn choose_task(n: usize) -> usize {
    current().map_or(0, |kernel| kernel.lock().place(FaultKind::TaskOrder, n, 0))
}

/// Returns the addresses of a name: in a simulation those of its hosts, elsewhere the system's.
///
/// # Errors
///
/// Returns `NotFound` for a name that no host of the simulation has; the resolver's error.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match current() {
        Some(kernel) => kernel.lock().look_up(host, port),
        None => std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Vec::from_iter),
    }
}
