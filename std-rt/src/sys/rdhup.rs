//! The bit of poll(2) that tells that the peer has shut down its writing half: Linux, Android and FreeBSD have it.

use rustix::event::PollFlags;

/// `POLLRDHUP`.
pub(super) const RDHUP: PollFlags = PollFlags::RDHUP;
