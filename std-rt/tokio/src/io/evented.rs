//! A descriptor with tokio's readiness: netpoll-rt's `Evented`, with tokio's panics and errors.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use netpoll_rt::net::{Evented as Inner, ReadyEvent, ReadySet};

use crate::io::{Interest, Ready};
use crate::runtime::{SHUTTING_DOWN, assert_has_io};

/// A descriptor that is registered with the poller of its runtime.
pub(crate) struct Evented<T: AsFd>(Inner<T>);

/// The error of a runtime that has ended, with tokio's text, and that of netpoll-rt if there was one.
#[derive(Debug)]
struct Shutdown(Option<io::Error>);

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHUTTING_DOWN)
    }
}

impl std::error::Error for Shutdown {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref()?)
    }
}

/// Gives the error of a runtime that has ended tokio's text.
fn described(error: io::Error) -> io::Error {
    if netpoll_rt::runtime_ended(&error) { io::Error::other(Shutdown(Some(error))) } else { error }
}

/// Returns the error of an operation that a runtime which has ended refuses.
pub(crate) fn shutdown() -> io::Error {
    io::Error::other(Shutdown(None))
}

/// Returns whether an error is that of a runtime that has ended.
pub(crate) fn is_shutdown(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Shutdown>()) || netpoll_rt::runtime_ended(error)
}

impl<T: AsFd> Evented<T> {
    /// Registers a value.
    #[track_caller]
    pub(crate) fn new(value: T) -> io::Result<Self> {
        Self::with_interest(value, Interest::READABLE | Interest::WRITABLE).map_err(|(_, error)| error)
    }

    /// Registers a TCP stream that was made here.
    #[track_caller]
    pub(crate) fn tcp_stream(value: T) -> io::Result<Self> {
        assert_has_io();
        Inner::tcp_stream(value).map(Self).map_err(|(_, error)| described(error))
    }

    /// Registers a value, and returns it with the error.
    #[track_caller]
    pub(crate) fn with_interest(value: T, interest: Interest) -> Result<Self, (T, io::Error)> {
        assert_has_io();
        let made = Inner::with_interest(value, interest.to_netpoll());
        made.map(Self).map_err(|(value, error)| (value, described(error)))
    }

    /// Registers an accepted connection, which is probably readable and surely writable.
    pub(crate) fn accepted<C: AsFd>(&self, connection: C, is_tcp: bool) -> io::Result<Evented<C>> {
        let made = self.0.accepted(connection, is_tcp).map_err(|(_, error)| described(error))?;
        made.assume_ready(ReadySet::READABLE | ReadySet::WRITABLE);
        Ok(Evented(made))
    }

    /// Makes it writable before an event.
    pub(crate) fn assume_writable(&self) {
        self.0.assume_ready(ReadySet::WRITABLE);
    }

    #[inline]
    pub(crate) fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        Ok(Ready::from_netpoll(self.event(interest).await?.ready))
    }

    pub(crate) async fn event(&self, interest: Interest) -> io::Result<ReadyEvent> {
        self.0.ready(interest.to_netpoll()).await.map_err(described)
    }

    pub(crate) async fn event_mut(&mut self, interest: Interest) -> io::Result<ReadyEvent> {
        self.0.ready_mut(interest.to_netpoll()).await.map_err(described)
    }

    pub(crate) fn now(&self, interest: Interest) -> ReadyEvent {
        self.0.now(interest.to_netpoll())
    }

    pub(crate) fn clear(&self, event: ReadyEvent) {
        self.0.clear(event);
    }

    pub(crate) fn poll_read_event(&self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        self.0.poll_readable(cx).map_err(described)
    }

    pub(crate) fn poll_write_event(&self, cx: &mut Context<'_>) -> Poll<io::Result<ReadyEvent>> {
        self.0.poll_writable(cx).map_err(described)
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_event(cx).map_ok(|_| ())
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_event(cx).map_ok(|_| ())
    }

    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.0.try_io(interest.to_netpoll(), call)
    }

    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.0.async_io(interest.to_netpoll(), call).await.map_err(described)
    }

    pub(crate) fn poll_read_io<R>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0.poll_read_io(cx, call).map_err(described)
    }

    pub(crate) fn poll_write_io<R>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.0.poll_write_io(cx, call).map_err(described)
    }

    #[inline]
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, buffer).map_err(described)
    }

    pub(super) fn poll_read_fd(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer).map_err(described)
    }

    pub(super) fn try_recv(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.0.try_recv(buffer)
    }

    pub(super) fn try_read_fd(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }

    #[inline]
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes).map_err(described)
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_vectored(cx, buffers).map_err(described)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes).map_err(described)
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(cx, buffers).map_err(described)
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Evented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

impl<T: AsFd> std::panic::UnwindSafe for Evented<T> {}

impl<T: AsFd> std::panic::RefUnwindSafe for Evented<T> {}
