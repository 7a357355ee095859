//! The control of a simulation: links, hosts, clocks, faults, and the trace.

use std::sync::Arc;
use std::time::Duration;

use super::{Counts, FaultCounts, Faults};
use crate::signal::SignalKind;
use crate::sys;
use crate::sys::sim::Kernel;
pub use crate::sys::sim::link::LinkConfig as Link;
use crate::sys::sim::world::{HostId, Request, World};

/// The control of a simulation, for its owner and for the code of its hosts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    kernel: Arc<Kernel>,
}

/// Returns the control of the simulation that this thread is in.
///
/// # Panics
///
/// Panics on a thread that is in no simulation.
pub fn control() -> Control {
    let kernel = sys::sim::current().expect("netpoll: this thread is in no simulation");
    Control { kernel }
}

impl Control {
    pub(super) fn new(kernel: Arc<Kernel>) -> Self {
        Self { kernel }
    }

    /// Calls `call` with the state and the number of a host.
    fn host<T>(&self, name: &str, call: impl FnOnce(&mut World, HostId) -> T) -> T {
        let mut world = self.kernel.lock();
        let Some(host) = world.find_host(name) else {
            drop(world);
            panic!("netpoll: there is no host {name:?} in the simulation");
        };
        call(&mut world, host)
    }

    fn pair(&self, one: &str, other: &str, call: impl FnOnce(&mut World, HostId, HostId)) {
        let other = self.host(other, |_, host| host);
        self.host(one, |world, one| call(world, one, other));
    }

    pub(super) fn is_up(&self, host: HostId) -> bool {
        self.kernel.lock().is_up(host)
    }

    /// Cuts the link between two hosts, in both directions. TCP keeps what it has to send and repeats it, and gives up after
    /// a quarter of an hour, or 127 s while it connects (`TimedOut`); datagrams are lost. A host is never cut off from itself.
    ///
    /// # Panics
    ///
    /// Panics if there is no host of one of the names, as every method that takes a name.
    pub fn partition(&self, one: &str, other: &str) {
        self.pair(one, other, |world, one, other| {
            world.set_cut(one, other, true);
            world.set_cut(other, one, true);
        });
    }

    /// Cuts the link from one host to another, in this direction only.
    pub fn partition_one_way(&self, from: &str, to: &str) {
        self.pair(from, to, |world, from, to| world.set_cut(from, to, true));
    }

    /// Mends the link between two hosts, in both directions. Segments that were held back arrive a while later, when their sender
    /// repeats them: the pause grows with the time that the link was cut, up to two minutes.
    pub fn heal(&self, one: &str, other: &str) {
        self.pair(one, other, |world, one, other| {
            world.set_cut(one, other, false);
            world.set_cut(other, one, false);
        });
    }

    /// Takes the power of a host, once the step of the host that calls is over: its code is dropped, and its peers are not
    /// told. A client that has crashed counts as ended.
    pub fn crash(&self, name: &str) {
        self.host(name, |world, host| world.request(Request::Crash(host)));
    }

    /// Starts a host again that has crashed or ended; one that runs goes on. It answers segments of earlier connections with a reset.
    pub fn restart(&self, name: &str) {
        self.host(name, |world, host| world.request(Request::Restart(host)));
    }

    /// Sends a signal to the process of a host. Its listeners ([`signal`](crate::signal)) receive it; without any the default
    /// action follows once the step of the host that calls is over:
    ///
    /// | signal | without a listener |
    /// |---|---|
    /// | `SIGKILL`, and all that are not below | ends the process: its code is dropped and its sockets are closed, as the kernel does |
    /// | `SIGSTOP`, `SIGTSTP`, `SIGTTIN`, `SIGTTOU` | the process stops until `SIGCONT`; its kernel answers meanwhile |
    /// | `SIGCHLD`, `SIGURG`, `SIGWINCH` | none |
    ///
    /// A host that was ended is started again by [`restart`](Self::restart). A client that was ended counts as ended.
    pub fn signal(&self, name: &str, signal: SignalKind) {
        self.host(name, |world, host| world.raise(host, signal.as_raw()));
    }

    /// Delays each step of a host by this time, as a busy processor would.
    pub fn slow(&self, name: &str, delay: Duration) {
        self.host(name, |world, host| world.set_slowness(host, delay));
    }

    /// Sets by how many nanoseconds the time of day of a host is ahead (`SystemTime`), at once. `Instant`s and timers are not
    /// affected.
    pub fn clock_skew(&self, name: &str, nanoseconds: i64) {
        self.host(name, |world, host| world.set_skew(host, nanoseconds));
    }

    /// Sets the properties of the link between two hosts.
    pub fn set_link(&self, one: &str, other: &str, link: Link) {
        self.pair(one, other, |world, one, other| world.set_link(one, other, link));
    }

    /// Sets the properties of all links that [`set_link`](Self::set_link) has not set; [`Link::LAN`] without a call.
    pub fn set_links(&self, link: Link) {
        self.kernel.lock().set_links(link);
    }

    /// Sets the faults that the kernel makes; [`Faults::HIDDEN`] without a call.
    pub fn set_faults(&self, faults: Faults) {
        self.kernel.lock().set_faults(faults);
    }

    /// Returns the time since the start of the simulation.
    pub fn elapsed(&self) -> Duration {
        self.kernel.lock().elapsed()
    }

    /// Returns the next number that the seed determines.
    pub fn random(&self) -> u64 {
        self.kernel.lock().draw()
    }

    /// Returns a number below `end` that the seed determines; 0 if that is 0.
    pub fn random_below(&self, end: u64) -> u64 {
        self.kernel.lock().draw_below(end)
    }

    /// Returns the number of steps, events and faults so far.
    pub fn counts(&self) -> Counts {
        self.kernel.lock().counts()
    }

    /// Returns the number of faults so far, by kind.
    pub fn fault_counts(&self) -> FaultCounts {
        self.kernel.lock().fault_counts()
    }

    /// Keeps the text of everything that happens from now on, for [`take_trace`](Self::take_trace).
    pub fn keep_trace(&self) {
        self.kernel.lock().keep_trace();
    }

    /// Takes the text of the trace: a line for each call, packet, event and fault, with the time and the host.
    pub fn take_trace(&self) -> String {
        self.kernel.lock().take_trace()
    }

    /// Returns a number over everything that has happened: two runs in which the same things happened in the same order have
    /// the same one.
    pub fn trace_hash(&self) -> u64 {
        self.kernel.lock().trace_hash()
    }
}
