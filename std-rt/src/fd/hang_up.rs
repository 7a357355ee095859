//! The state of the connection after a hang-up: whether the peer caused it.
//!
//! The kernel reports the end of a reading half in the same way for a shutdown by either side. So a shutdown by this side is
//! recorded before it is made, and after it the kernel is asked for the connection's state.
//!
//! | this side has shut down | the poller has seen a hang-up | the peer has closed |
//! |---|---|---|
//! | nothing, or its writing half | no | no |
//! | | yes | yes |
//! | its reading half, or both | no | no, or not yet known |
//! | | yes, before that | yes |
//! | | yes, since then | as the kernel says when it is asked ([`has_peer_ended`]) |

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::Poll;

use netpoll_core::sync::Flag;

use super::Fd;
use crate::coop::{self, Charge};
use crate::sys::{FdOwner, has_peer_ended, socket};

/// The halves that this side has shut down, through any handle on the same open file.
#[derive(Debug, Default)]
pub(super) struct OwnShutdown {
    read: Flag,
    write: Flag,
    /// The peer had closed before the reading half was shut down here.
    after_peer: Flag,
}

impl<S: FdOwner> Fd<S> {
    /// Returns whether the poller has seen that a half of the connection ended, by whichever side, or that an error is
    /// queued; one load. Unread bytes may still be there.
    pub fn has_hung_up(&self) -> bool {
        self.desc().info().peer_closed()
    }

    /// Returns whether the poller has seen that the peer closed or shut down its writing half, or that an error is queued;
    /// one load unless this side has shut down its reading half. Unread bytes may still be there.
    pub fn peer_closed(&self) -> bool {
        self.has_hung_up() && !self.is_own_hang_up()
    }

    /// Waits until [`Fd::peer_closed`] is true.
    ///
    /// Dropped: nothing has happened.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Fd::poll_peer_gone`].
    pub async fn peer_gone(&self) -> io::Result<()> {
        let mut charge = Charge::First;
        poll_fn(|cx| {
            if charge.poll_proceed(cx).is_pending() {
                charge = Charge::Refused;
                return Poll::Pending;
            }
            let polled = self.poll_peer_gone(cx);
            if polled.is_pending() {
                if charge == Charge::First {
                    coop::refund();
                }
                charge = Charge::Waited;
            }
            polled
        })
        .await
    }

    /// Returns whether the hang-up is this side's own shutdown, as far as the kernel tells.
    fn is_own_hang_up(&self) -> bool {
        let Some(own) = self.extra.get().and_then(|extra| extra.own_shutdown.get()) else { return false };
        if !own.read.is_set() || own.after_peer.is_set() {
            return false;
        }
        // The kernel has no state of a descriptor that was closed here: the last event decides.
        !self.with(|fd| has_peer_ended(fd, own.write.is_set())).unwrap_or(true)
    }

    /// Shuts down one half of a connection, or both.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is closed, and the kernel's errors.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // Before the call, whose event may be there as soon as it is made.
        let own = self.own_shutdown();
        if how != Shutdown::Write && !own.read.is_set() {
            if self.has_hung_up() {
                own.after_peer.set();
            }
            own.read.set();
        }
        if how != Shutdown::Read {
            own.write.set();
        }
        self.with(|fd| socket::shutdown(fd, how))
    }

    /// Returns the record of this handle and of every other one on the same open file.
    fn own_shutdown(&self) -> &Arc<OwnShutdown> {
        self.extra().own_shutdown.get_or_init(Arc::default)
    }

    /// Makes the shutdowns of a second handle known to this one, and those of this one to it.
    pub(super) fn share_shutdown_with(&self, other: &Self) {
        // The other handle is new and not shared yet, so it has no record.
        other.extra().own_shutdown.get_or_init(|| self.own_shutdown().clone());
    }
}
