//! The options of a copy, and the count that carries them through it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::endpoints::CopyEnd;
use super::error::{CopyError, CopyFault};
use super::{CopyBoth, CopyFrom, CopyTo, both, half, one_way};
use crate::coop;
use crate::time::{self, sleep_until};

type Hook = dyn Fn(u64) + Send + Sync;

/// The options of a copy, and then [`copy`](CopyOptions::copy) or [`copy_bidirectional`](CopyOptions::copy_bidirectional), which
/// may be called several times. Without options they are the functions of the same names, and with them the bytes take the same
/// way through the kernel.
///
/// ```
/// # use std::time::Duration;
/// # use netpoll_rt::net::TcpStream;
/// use netpoll_rt::io::CopyOptions;
///
/// /// Forwards both ways, and gives up on two sides that are silent for a minute.
/// async fn forward(client: TcpStream, server: TcpStream) -> std::io::Result<(u64, u64)> {
///     CopyOptions::new().idle_timeout(Duration::from_secs(60)).copy_bidirectional(&client, &server).await
/// }
/// ```
#[derive(Clone, Default)]
#[must_use = "options do nothing until something is copied"]
pub struct CopyOptions {
    limit: Option<u64>,
    offset: Option<u64>,
    idle_timeout: Option<Duration>,
    hook: Option<Arc<Hook>>,
}

impl CopyOptions {
    /// Returns the options of [`copy`](super::copy).
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies at most this many bytes, and in each direction of a copy both ways. No byte behind them is read. A direction that
    /// has reached the limit has ended: a copy both ways passes that on, as the end of the stream.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: Some(bytes), ..self }
    }

    /// Moves the cursor of the file that is read to this many bytes from its start first. Only for a copy from a
    /// [`File`](crate::fs::File).
    pub fn offset(self, bytes: u64) -> Self {
        Self { offset: Some(bytes), ..self }
    }

    /// Ends the copy with `TimedOut` once no byte has been copied for this time, in either direction. The streams stay as they are,
    /// and deadlines and timeouts of theirs apply as well. A time that is too long for the clock is no limit.
    pub fn idle_timeout(self, time: Duration) -> Self {
        Self { idle_timeout: Some(time), ..self }
    }

    /// Calls `hook` with the number of bytes of each piece, once the side that is written has taken it. It runs within the poll of
    /// the copy, so it must not block. It may panic; then the copy does.
    pub fn on_progress(self, hook: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { hook: Some(Arc::new(hook)), ..self }
    }

    /// Copies from `reader` to `writer` as [`copy`](super::copy) does, with these options.
    ///
    /// # Cancel safety
    ///
    /// Dropped: the same as for [`copy`](super::copy). The cursor stays where [`offset`](Self::offset) has put it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`copy`](super::copy); `TimedOut` after the [idle timeout](Self::idle_timeout), with a
    /// [`CopyError`] whose side is the first; `InvalidInput` for an offset in a stream.
    pub async fn copy<R, W>(&self, reader: &R, writer: &W) -> io::Result<u64>
    where
        R: CopyFrom + ?Sized,
        W: CopyTo + ?Sized,
    {
        let activity = Activity::new();
        let mut copied = self.count(&activity);
        let result = self.limit_idleness(&activity, async {
            self.seek(reader.end()).await?;
            one_way(reader.end(), writer.end(), &mut copied).await
        });
        match result.await {
            Ok(()) => Ok(copied.count),
            Err(fault) => Err(CopyError::new(fault, copied.count, None).into()),
        }
    }

    /// Copies both ways as [`copy_bidirectional`](super::copy_bidirectional) does, with these options.
    ///
    /// # Cancel safety
    ///
    /// Dropped: the same as for [`copy`](super::copy), in both directions.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`copy_bidirectional`](super::copy_bidirectional); `TimedOut` after the
    /// [idle timeout](Self::idle_timeout), with a [`CopyError`] whose side is the first; `InvalidInput` for an offset.
    pub async fn copy_bidirectional<A, B>(&self, a: &A, b: &B) -> io::Result<(u64, u64)>
    where
        A: CopyBoth + ?Sized,
        B: CopyBoth + ?Sized,
    {
        let activity = Activity::new();
        let (mut there, mut back) = (self.count(&activity), self.count(&activity));
        let result = self.limit_idleness(&activity, async {
            self.seek(a.end()).await?;
            let back = async { half(b, a, &mut back).await.map_err(CopyFault::swap_sides) };
            both(half(a, b, &mut there), back).await
        });
        match result.await {
            Ok(()) => Ok((there.count, back.count)),
            Err(fault) => Err(CopyError::new(fault, there.count, Some(back.count)).into()),
        }
    }

    fn count<'a>(&'a self, activity: &'a Activity) -> Copied<'a> {
        let activity = self.idle_timeout.map(|_| activity);
        Copied { count: 0, limit: self.limit.unwrap_or(u64::MAX), hook: self.hook.as_deref(), activity }
    }

    async fn seek(&self, from: CopyEnd<'_>) -> Result<(), CopyFault> {
        let Some(offset) = self.offset else { return Ok(()) };
        match from {
            CopyEnd::File(file) => {
                let seek =
                    move |mut file: &std::fs::File| io::Seek::seek(&mut file, io::SeekFrom::Start(offset));
                file.run_ordered("seek", seek).await.map_err(CopyFault::first)?;
                Ok(())
            }
            CopyEnd::Stream(from) => {
                coop::proceed().await;
                let why = io::Error::new(io::ErrorKind::InvalidInput, "a stream has no offset to copy from");
                Err(from.read_error(why))
            }
        }
    }

    /// Runs a copy until no byte was copied for the time of these options.
    async fn limit_idleness(
        &self,
        activity: &Activity,
        copy: impl Future<Output = Result<(), CopyFault>>,
    ) -> Result<(), CopyFault> {
        let end = |since: Instant| self.idle_timeout.and_then(|time| since.checked_add(time));
        let Some(first) = end(activity.last()) else { return copy.await };
        let (mut copy, mut timer) = (pin!(copy), pin!(sleep_until(first)));
        poll_fn(|cx| {
            if let Poll::Ready(result) = copy.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            loop {
                ready!(timer.as_mut().poll(cx));
                match end(activity.last()) {
                    Some(end) if end <= time::now() => return Poll::Ready(Err(self.idle())),
                    // It was not idle all the time: the timer goes on from the last byte.
                    Some(end) => timer.set(sleep_until(end)),
                    None => return Poll::Pending,
                }
            }
        })
        .await
    }

    fn idle(&self) -> CopyFault {
        let time = self.idle_timeout.unwrap_or_default();
        CopyFault::first(io::Error::new(io::ErrorKind::TimedOut, format!("no byte was copied for {time:?}")))
    }
}

/// Omits the hook's code.
impl fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, offset, idle_timeout, hook } = self;
        let mut shown = f.debug_struct("CopyOptions");
        shown.field("limit", limit).field("offset", offset).field("idle_timeout", idle_timeout);
        shown.field("has_hook", &hook.is_some()).finish()
    }
}

/// The time at which a copy last moved a byte.
struct Activity(Mutex<Instant>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(time::now()))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The count of one direction of a copy, with its limit, its hook and its idle timeout.
pub(super) struct Copied<'a> {
    count: u64,
    limit: u64,
    hook: Option<&'a Hook>,
    activity: Option<&'a Activity>,
}

impl Copied<'_> {
    /// Returns a count without a limit.
    pub(super) fn unlimited() -> Self {
        Self { count: 0, limit: u64::MAX, hook: None, activity: None }
    }

    /// Returns the number of bytes that were copied.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns how many of `most` bytes the limit leaves. Call it when all bytes that were read are counted.
    pub(super) fn left(&self, most: usize) -> usize {
        usize::try_from(self.limit - self.count).map_or(most, |left| left.min(most))
    }

    /// Counts bytes that the side that is written has taken. Calls foreign code.
    pub(super) fn add(&mut self, n: usize) {
        self.count += n as u64;
        if n == 0 {
            return;
        }
        if let Some(activity) = self.activity {
            *activity.0.lock().unwrap_or_else(PoisonError::into_inner) = time::now();
        }
        if let Some(hook) = self.hook {
            hook(n as u64);
        }
    }
}
