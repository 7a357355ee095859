//! The guards of a readiness, by which a task clears it or not.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use netpoll_rt::net::ReadyEvent;

use super::AsyncFd;
use crate::io::Ready;

/// The error of a guard's `try_io`: the call has returned `WouldBlock`, and the readiness was cleared.
#[derive(Debug)]
pub struct TryIoError(());

/// A readiness of an [`AsyncFd`] that is shared.
#[must_use = "You must explicitly choose whether to clear the readiness state by calling a method on ReadyGuard"]
pub struct AsyncFdReadyGuard<'a, T: AsRawFd> {
    async_fd: &'a AsyncFd<T>,
    event: Option<ReadyEvent>,
}

impl<'a, Inner: AsRawFd> AsyncFdReadyGuard<'a, Inner> {
    pub(super) fn new(async_fd: &'a AsyncFd<Inner>, event: ReadyEvent) -> Self {
        Self { async_fd, event: Some(event) }
    }

    /// Clears the conditions of this guard, unless others have been reported since.
    pub fn clear_ready(&mut self) {
        if let Some(event) = self.event.take() {
            self.async_fd.io.clear(event);
        }
    }

    /// Clears some of the conditions of this guard, unless others have been reported since.
    pub fn clear_ready_matching(&mut self, ready: Ready) {
        if let Some(mut event) = self.event.take() {
            let left = event.ready - ready.to_netpoll();
            event.ready = event.ready & ready.to_netpoll();
            self.async_fd.io.clear(event);
            event.ready = left;
            if !event.ready.is_empty() {
                self.event = Some(event);
            }
        }
    }

    /// Keeps the conditions, which dropping the guard does as well.
    pub fn retain_ready(&mut self) {}

    /// Returns the conditions that held, without those that this guard has cleared.
    pub fn ready(&self) -> Ready {
        self.event.map_or(Ready::EMPTY, |event| Ready::from_netpoll(event.ready))
    }

    /// Calls `f` once. `WouldBlock` clears the conditions of this guard.
    ///
    /// # Errors
    ///
    /// Returns an error if `f` returns `WouldBlock`.
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&'a AsyncFd<Inner>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        match f(self.async_fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear_ready();
                Err(TryIoError(()))
            }
            result => Ok(result),
        }
    }

    /// Returns the descriptor.
    pub fn get_ref(&self) -> &'a AsyncFd<Inner> {
        self.async_fd
    }

    /// Returns the value of the descriptor.
    pub fn get_inner(&self) -> &'a Inner {
        self.async_fd.get_ref()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFdReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGuard").field("async_fd", &self.async_fd).finish()
    }
}

/// A readiness of an [`AsyncFd`] that is borrowed exclusively.
#[must_use = "You must explicitly choose whether to clear the readiness state by calling a method on ReadyGuard"]
pub struct AsyncFdReadyMutGuard<'a, T: AsRawFd> {
    async_fd: &'a mut AsyncFd<T>,
    event: Option<ReadyEvent>,
}

impl<'a, Inner: AsRawFd> AsyncFdReadyMutGuard<'a, Inner> {
    pub(super) fn new(async_fd: &'a mut AsyncFd<Inner>, event: ReadyEvent) -> Self {
        Self { async_fd, event: Some(event) }
    }

    /// Clears the conditions of this guard, unless others have been reported since.
    pub fn clear_ready(&mut self) {
        if let Some(event) = self.event.take() {
            self.async_fd.io.clear(event);
        }
    }

    /// Clears some of the conditions of this guard, unless others have been reported since.
    pub fn clear_ready_matching(&mut self, ready: Ready) {
        if let Some(mut event) = self.event.take() {
            let left = event.ready - ready.to_netpoll();
            event.ready = event.ready & ready.to_netpoll();
            self.async_fd.io.clear(event);
            event.ready = left;
            if !event.ready.is_empty() {
                self.event = Some(event);
            }
        }
    }

    /// Keeps the conditions, which dropping the guard does as well.
    pub fn retain_ready(&mut self) {}

    /// Returns the conditions that held, without those that this guard has cleared.
    pub fn ready(&self) -> Ready {
        self.event.map_or(Ready::EMPTY, |event| Ready::from_netpoll(event.ready))
    }

    /// Calls `f` once. `WouldBlock` clears the conditions of this guard.
    ///
    /// # Errors
    ///
    /// Returns an error if `f` returns `WouldBlock`.
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&mut AsyncFd<Inner>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        match f(self.async_fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear_ready();
                Err(TryIoError(()))
            }
            result => Ok(result),
        }
    }

    /// Returns the descriptor.
    pub fn get_ref(&self) -> &AsyncFd<Inner> {
        self.async_fd
    }

    /// Returns the descriptor to be changed.
    pub fn get_mut(&mut self) -> &mut AsyncFd<Inner> {
        self.async_fd
    }

    /// Returns the value of the descriptor.
    pub fn get_inner(&self) -> &Inner {
        self.async_fd.get_ref()
    }

    /// Returns the value of the descriptor to be changed.
    pub fn get_inner_mut(&mut self) -> &mut Inner {
        self.async_fd.get_mut()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFdReadyMutGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutReadyGuard").field("async_fd", &self.async_fd).finish()
    }
}
