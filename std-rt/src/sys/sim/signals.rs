//! Signals: each host has the listeners, and the dispositions, of one process.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::world::{HostId, Id, Request, World};
use super::{Kernel, current};
use crate::sys::signal::SignalWriter;

/// The listeners of a process for a signal, and whether the default action is off.
#[derive(Debug, Default)]
pub(super) struct Disposition {
    /// The ends of the pipes to which a signal is written.
    writers: Vec<Id>,
    /// Set from the first listener on: the default action is off.
    is_handled: bool,
}

/// The registration of a listener in a simulation, which ends with it.
#[derive(Debug)]
pub struct Listening {
    kernel: Arc<Kernel>,
    host: HostId,
    number: c_int,
    id: Id,
    /// Closed after the registration.
    _writer: SignalWriter,
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(disposition) = self.kernel.lock().signals.get_mut(&(self.host, self.number)) {
            disposition.writers.retain(|writer| *writer != self.id);
        }
    }
}

/// Registers a listener with the host that runs.
///
/// # Errors
///
/// Returns the writer if it is no simulated pipe.
pub fn listen(number: c_int, writer: SignalWriter) -> Result<Listening, SignalWriter> {
    let Some(kernel) = current() else { return Err(writer) };
    let mut world = kernel.lock();
    let (host, found) = (world.current, world.id_of(writer.as_raw_fd()));
    let Some(id) = found else { return Err(writer) };
    let disposition = world.signals.entry((host, number)).or_default();
    disposition.is_handled = true;
    disposition.writers.push(id);
    world.note("listen to signal", id, number as u64);
    drop(world);
    Ok(Listening { kernel, host, number, id, _writer: writer })
}

/// Restores the default action of a signal on the host that runs. Returns false outside of a simulation.
pub fn restore_default(number: c_int) -> bool {
    let Some(kernel) = current() else { return false };
    let mut world = kernel.lock();
    let host = world.current;
    world.signals.entry((host, number)).or_default().is_handled = false;
    true
}

impl World {
    /// Sends a signal to a host.
    pub fn raise(&mut self, host: HostId, number: c_int) {
        self.note("signal", host as u64, number as u64);
        let disposition = self.signals.get(&(host, number));
        let is_handled = disposition.is_some_and(|disposition| disposition.is_handled);
        let writers = disposition.map(|disposition| disposition.writers.clone()).unwrap_or_default();
        for writer in writers {
            // A full pipe is readable already.
            if self.pipe_space(writer).is_some_and(|space| space > 0) {
                let written = self.write_whole(writer, &[0]);
                debug_assert!(written.is_ok(), "the pipe has space");
            }
        }
        match number {
            libc::SIGKILL => self.request(Request::Kill(host)),
            libc::SIGCONT => self.set_stopped(host, false),
            libc::SIGSTOP => self.set_stopped(host, true),
            _ if is_handled => {}
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => self.set_stopped(host, true),
            libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH => {}
            _ => self.request(Request::Kill(host)),
        }
    }

    fn set_stopped(&mut self, host: HostId, is_stopped: bool) {
        self.hosts[host].is_stopped = is_stopped;
        // The process that sends the signal to itself runs no further.
        self.hosts[host].stop.set();
    }

    /// Forgets the process of a host, which has ended, and closes what it has left open.
    pub fn end_process(&mut self, host: HostId) {
        self.set_current(host);
        self.note("killed", host as u64, 0);
        self.forget_process(host);
        let left: Vec<Id> = self.open_of(host);
        for id in left {
            self.close_socket(id);
        }
    }

    /// Forgets the dispositions and the threads of a host.
    pub(super) fn forget_process(&mut self, host: HostId) {
        self.signals.retain(|(of, _), _| *of != host);
        self.hosts[host].jobs.clear();
        self.hosts[host].poller = None;
        self.hosts[host].is_stopped = false;
    }
}
