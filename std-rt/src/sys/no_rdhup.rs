//! The bit of poll(2) that tells that the peer has shut down its writing half: this kernel has none, and calls the
//! descriptor readable.

use rustix::event::PollFlags;

/// No bit.
pub(super) const RDHUP: PollFlags = PollFlags::empty();
