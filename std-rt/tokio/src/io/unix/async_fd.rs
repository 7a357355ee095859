//! Any descriptor that the kernel can poll, in a value of the user.

#![expect(unsafe_code, reason = "tokio's type takes values that return a bare number")]

mod guard;

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

pub use guard::{AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};

use crate::io::Interest;
use crate::io::evented::Evented;
use crate::runtime::assert_has_io;

/// A value with a valid number, by the promise of [`AsyncFd::register`].
struct Numbered<T>(T);

impl<T: AsRawFd> AsFd for Numbered<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the caller of `AsyncFd::register` has promised that the number stays valid as long as the value, and
        // the number was checked not to be negative.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// Any descriptor that the kernel can poll, in a value of the user that owns it, as tokio's.
///
/// Dropping it deregisters the descriptor, and then drops the value. It makes the descriptor neither blocking nor
/// non-blocking. A descriptor that is registered for reads or writes is watched for both and for urgent bytes; one that is
/// registered for `PRIORITY` or `ERROR` alone is watched for that.
pub struct AsyncFd<T: AsRawFd> {
    io: Evented<Numbered<T>>,
}

impl<T: AsRawFd> AsyncFd<T> {
    /// Registers a value for reads and writes.
    ///
    /// # Safety
    ///
    /// The number that `inner` returns is the same at each call, and valid until `inner` is dropped or returned.
    ///
    /// # Errors
    ///
    /// Returns the value and the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub unsafe fn register(inner: T) -> Result<Self, AsyncFdRegisterError<T>> {
        Self::made(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// Registers a value for some conditions.
    ///
    /// # Safety
    ///
    /// As for [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Returns the value and the kernel's error.
    ///
    /// # Panics
    ///
    /// Panics outside of a runtime.
    #[track_caller]
    pub unsafe fn register_with_interest(
        inner: T,
        interest: Interest,
    ) -> Result<Self, AsyncFdRegisterError<T>> {
        Self::made(inner, interest)
    }

    #[track_caller]
    fn made(inner: T, interest: Interest) -> Result<Self, AsyncFdRegisterError<T>> {
        assert_has_io();
        if inner.as_raw_fd() < 0 {
            return Err(AsyncFdRegisterError { inner, cause: io::Error::from_raw_os_error(libc::EBADF) });
        }
        match Evented::with_interest(Numbered(inner), interest) {
            Ok(io) => Ok(Self { io }),
            Err((Numbered(inner), cause)) => Err(AsyncFdRegisterError { inner, cause }),
        }
    }

    /// Registers a value for reads and writes, without the promise of [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the value is dropped then.
    #[track_caller]
    #[deprecated(note = "the number may be closed by safe code; use `AsyncFd::register` instead")]
    pub fn new(inner: T) -> io::Result<Self> {
        Ok(Self::made(inner, Interest::READABLE | Interest::WRITABLE)?)
    }

    /// Registers a value for some conditions, without the promise of [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the value is dropped then.
    #[track_caller]
    #[deprecated(
        note = "the number may be closed by safe code; use `AsyncFd::register_with_interest` instead"
    )]
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<Self> {
        Ok(Self::made(inner, interest)?)
    }

    /// Registers a value for reads and writes, without the promise of [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Returns the value and the kernel's error.
    #[track_caller]
    #[deprecated(note = "the number may be closed by safe code; use `AsyncFd::register` instead")]
    pub fn try_new(inner: T) -> Result<Self, AsyncFdRegisterError<T>> {
        Self::made(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// Registers a value for some conditions, without the promise of [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Returns the value and the kernel's error.
    #[track_caller]
    #[deprecated(
        note = "the number may be closed by safe code; use `AsyncFd::register_with_interest` instead"
    )]
    pub fn try_with_interest(inner: T, interest: Interest) -> Result<Self, AsyncFdRegisterError<T>> {
        Self::made(inner, interest)
    }

    /// Returns the value.
    #[inline]
    pub fn get_ref(&self) -> &T {
        &self.io.get_ref().0
    }

    /// Returns the value to be changed.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io.get_mut().0
    }

    /// Returns the value, deregistered.
    pub fn into_inner(self) -> T {
        self.io.into_inner().0
    }

    /// Polls for input. Of the tasks that poll, the last one is woken.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub fn poll_read_ready<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let event = ready!(self.io.poll_read_event(cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard::new(self, event)))
    }

    /// Polls for input, as [`poll_read_ready`](Self::poll_read_ready) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub fn poll_read_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let event = ready!(self.io.poll_read_event(cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard::new(self, event)))
    }

    /// Polls for space to write. Of the tasks that poll, the last one is woken.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub fn poll_write_ready<'a>(
        &'a self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let event = ready!(self.io.poll_write_event(cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard::new(self, event)))
    }

    /// Polls for space to write, as [`poll_write_ready`](Self::poll_write_ready) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub fn poll_write_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let event = ready!(self.io.poll_write_event(cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard::new(self, event)))
    }

    /// Waits for some conditions.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        Ok(AsyncFdReadyGuard::new(self, self.io.event(interest).await?))
    }

    /// Waits for some conditions, as [`ready`](Self::ready) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn ready_mut(&mut self, interest: Interest) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        let event = self.io.event_mut(interest).await?;
        Ok(AsyncFdReadyMutGuard::new(self, event))
    }

    /// Waits for input.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn readable<'a>(&'a self) -> io::Result<AsyncFdReadyGuard<'a, T>> {
        self.ready(Interest::READABLE).await
    }

    /// Waits for input, as [`readable`](Self::readable) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn readable_mut<'a>(&'a mut self) -> io::Result<AsyncFdReadyMutGuard<'a, T>> {
        self.ready_mut(Interest::READABLE).await
    }

    /// Waits for space to write.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn writable<'a>(&'a self) -> io::Result<AsyncFdReadyGuard<'a, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// Waits for space to write, as [`writable`](Self::writable) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime has ended.
    pub async fn writable_mut<'a>(&'a mut self) -> io::Result<AsyncFdReadyMutGuard<'a, T>> {
        self.ready_mut(Interest::WRITABLE).await
    }

    /// Calls `f` when one of the conditions holds, until it returns something other than `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`; an error if the runtime has ended.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io.async_io(interest, || f(self.get_ref())).await
    }

    /// Calls `f` when one of the conditions holds, as [`async_io`](Self::async_io) does.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`; an error if the runtime has ended.
    pub async fn async_io_mut<R>(
        &mut self,
        interest: Interest,
        mut f: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let event = self.io.event_mut(interest).await?;
            match f(self.get_mut()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.io.clear(event),
                result => return result,
            }
        }
    }

    /// Calls `f` once if one of the conditions holds. `WouldBlock` clears them.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`; `WouldBlock` without a call if no condition holds.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(interest, || f(self.get_ref()))
    }

    /// Calls `f` once if one of the conditions holds, as [`try_io`](Self::try_io) does.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`; `WouldBlock` without a call if no condition holds.
    pub fn try_io_mut<R>(
        &mut self,
        interest: Interest,
        f: impl FnOnce(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let event = self.io.now(interest);
        if event.ready.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = f(self.get_mut());
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.io.clear(event);
        }
        result
    }
}

impl<T: AsRawFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}

impl<T: AsRawFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", self.get_ref()).finish()
    }
}

/// The error of a registration, with the value.
pub struct AsyncFdRegisterError<T> {
    inner: T,
    cause: io::Error,
}

/// The former name of [`AsyncFdRegisterError`].
#[doc(hidden)]
#[deprecated(note = "use `AsyncFdRegisterError` instead")]
pub type AsyncFdTryNewError<T> = AsyncFdRegisterError<T>;

impl<T> AsyncFdRegisterError<T> {
    /// Returns the value and the cause.
    pub fn into_parts(self) -> (T, io::Error) {
        (self.inner, self.cause)
    }
}

impl<T> fmt::Display for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl<T> fmt::Debug for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.cause, f)
    }
}

impl<T> Error for AsyncFdRegisterError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl<T> From<AsyncFdRegisterError<T>> for io::Error {
    fn from(value: AsyncFdRegisterError<T>) -> Self {
        value.cause
    }
}
