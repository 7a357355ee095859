//! The control of a simulation by its owner: the turn of the hosts, the links, the faults.

use std::sync::Arc;
use std::time::Duration;

use netpoll_core::sync::Flag;

use super::link::{LinkConfig, nanoseconds};
use super::readiness::SimPoller;
use super::world::{Body, END, FaultConfig, HostId, Request, SimJob, World};

/// The next thing that happens in a simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// This host runs.
    Step(HostId),
    /// No host has anything to do any more, and no event is to come.
    Nothing,
    /// The next thing happens after the limit.
    Later,
}

impl World {
    /// Selects the next host that runs: one of those that are runnable, as the seed has it. If there is none, the clock moves
    /// on to the next event or timer, at most to `limit`. `has_work` says which hosts have tasks or threads that are
    /// runnable, and `timeout` when the wait of a thread ends.
    pub fn next_turn(
        &mut self,
        limit: u64,
        has_work: impl Fn(&Self, HostId) -> bool,
        timeout: impl Fn() -> Option<u64>,
    ) -> Turn {
        let mut ready = std::mem::take(&mut self.spare);
        let turn = loop {
            ready.clear();
            let mut slow: Option<u64> = None;
            for host in 0..self.hosts.len() {
                if !self.can_run(host) || !(self.is_runnable(host) || has_work(self, host)) {
                    continue;
                }
                let at = self.hosts[host].ready_at;
                if at <= self.now {
                    ready.push(host);
                } else {
                    slow = Some(slow.map_or(at, |slow| slow.min(at)));
                }
            }
            if !ready.is_empty() {
                if self.now > limit {
                    break Turn::Later;
                }
                let place = self.draw_below(ready.len() as u64) as usize;
                break Turn::Step(ready[place]);
            }
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let sleeps = |poller: &&SimPoller| poller.is_asleep && self.can_run(poller.host);
            // The timer of a slow host may be due before the host runs again.
            let timer = self
                .pollers
                .values()
                .filter(sleeps)
                .filter_map(|poller| poller.sleeps_until.filter(|&at| at > self.now));
            let timeout = timeout().filter(|&at| at > self.now);
            match [slow, event, timer.min(), timeout].into_iter().flatten().min() {
                None => break Turn::Nothing,
                Some(at) if at > limit => {
                    self.advance_to(limit);
                    break Turn::Later;
                }
                Some(at) => self.advance_to(at),
            }
        };
        self.spare = ready;
        turn
    }

    /// Returns when the next event comes, or a timer of a host is due, while that host waits within its step.
    pub(super) fn next_event(&self, host: HostId) -> Option<u64> {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let sleeps = |poller: &&SimPoller| poller.is_asleep && poller.host == host;
        let timers = self.pollers.values().filter(sleeps).filter_map(|poller| poller.sleeps_until);
        event.into_iter().chain(timers).min().filter(|&at| at > self.now && at < END)
    }

    /// Returns the name of a host.
    pub(super) fn name_of(&self, host: HostId) -> String {
        self.hosts.get(host).map(|host| host.name.clone()).unwrap_or_default()
    }

    fn can_run(&self, host: HostId) -> bool {
        self.hosts[host].up && !self.hosts[host].is_stopped
    }

    /// Returns whether a host has events, a break, or a timer that is due, or was not asleep.
    fn is_runnable(&self, host: HostId) -> bool {
        let Some(poller) = self.hosts[host].poller.and_then(|poller| self.pollers.get(&poller)) else {
            return false;
        };
        let is_due = poller.sleeps_until.is_some_and(|at| at <= self.now);
        let has_jobs = !self.hosts[host].jobs.is_empty();
        !poller.is_asleep || !poller.queue.is_empty() || poller.break_pending || is_due || has_jobs
    }

    /// Begins the step of a host; returns the closures that its threads run.
    pub fn begin_step(&mut self, host: HostId) -> Vec<SimJob> {
        self.current = host;
        self.counts.steps += 1;
        let (slowness, now) = (self.hosts[host].slowness, self.now);
        self.hosts[host].ready_at = now + slowness;
        if let Some(poller) = self.hosts[host].poller.and_then(|poller| self.pollers.get_mut(&poller)) {
            poller.is_asleep = false;
            poller.sleeps_until = None;
        }
        self.show_time();
        std::mem::take(&mut self.hosts[host].jobs)
    }

    /// Makes a host the one to which new descriptors belong.
    pub fn set_current(&mut self, host: HostId) {
        self.current = host;
        self.show_time();
    }

    /// Returns whether a host has power.
    pub fn is_up(&self, host: HostId) -> bool {
        self.hosts[host].up
    }

    /// Adds a request to the owner of the simulation.
    pub fn request(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Takes the requests.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Returns the flag that ends the run of a host's tasks. A wait sets it.
    pub fn stop_flag(&self, host: HostId) -> Arc<Flag> {
        self.hosts[host].stop.clone()
    }

    /// Takes the power of a host: its sockets are gone, and no packet leaves it or reaches it.
    pub fn crash(&mut self, host: HostId) {
        self.set_current(host);
        self.note("crash", host as u64, 0);
        self.hosts[host].up = false;
        self.forget_process(host);
        self.forget_held_of(host);
        self.forget_sockets(host);
    }

    /// Gives a host its power again.
    pub fn restart(&mut self, host: HostId) {
        self.set_current(host);
        self.note("restart", host as u64, 0);
        self.hosts[host].up = true;
        self.release_held();
    }

    /// Cuts the link from one host to another, or mends it. There is none from a host to itself.
    pub fn set_cut(&mut self, from: HostId, to: HostId, is_cut: bool) {
        if from == to {
            return;
        }
        self.note(if is_cut { "cut" } else { "mend" }, from as u64, to as u64);
        self.links.set_cut(from, to, is_cut);
        if !is_cut {
            self.release_held();
        }
    }

    /// Sets the properties of the links between two hosts.
    pub fn set_link(&mut self, one: HostId, other: HostId, config: LinkConfig) {
        self.links.set_config(one, other, config);
    }

    /// Sets the properties of all other links.
    pub fn set_links(&mut self, config: LinkConfig) {
        self.links.default = config;
    }

    /// Sets the faults that the kernel makes.
    pub fn set_faults(&mut self, faults: FaultConfig) {
        self.faults = faults.limited();
    }

    /// Delays each step of a host.
    pub fn set_slowness(&mut self, host: HostId, slowness: Duration) {
        self.hosts[host].slowness = nanoseconds(slowness);
    }

    /// Moves the time of day of a host by nanoseconds; its monotonic clock stays.
    pub fn set_skew(&mut self, host: HostId, skew: i64) {
        self.hosts[host].skew = skew;
    }

    /// Returns the tick at which a time from now is over, at most the last one.
    pub fn tick_after(&self, time: Duration) -> u64 {
        self.now.saturating_add(nanoseconds(time)).min(END)
    }

    /// Describes the sockets of a host, one a line.
    pub fn describe(&self, host: HostId) -> String {
        let mut text = String::new();
        for (id, socket) in self.sockets.iter().filter(|(_, socket)| socket.host == host) {
            let local = match &socket.body {
                Body::Unix(_) | Body::Pipe(_) => "local".to_owned(),
                _ => socket.local.map_or_else(|| "unbound".to_owned(), |local| local.to_string()),
            };
            let body = match &socket.body {
                Body::Stream(stream) if socket.fds == 0 => format!("to {}, closed", stream.peer),
                Body::Idle => "idle".to_owned(),
                Body::Listener(listener) => format!("listens, {} to accept", listener.queue.len()),
                Body::Stream(stream) => format!(
                    "to {}, {:?}, {} bytes to read, {} to send",
                    stream.peer,
                    stream.state,
                    stream.received.len(),
                    stream.unsent.len()
                ),
                Body::Datagrams(datagrams) => format!("{} datagrams", datagrams.queue.len()),
                Body::Unix(unix) => unix.describe(),
                Body::Pipe(end) => self.describe_pipe(end),
            };
            text += &format!("  socket #{id} {local}: {body}\n");
        }
        text
    }

    /// Returns the number of segments that wait for a link or a host.
    pub fn held(&self) -> usize {
        self.links.held()
    }
}
