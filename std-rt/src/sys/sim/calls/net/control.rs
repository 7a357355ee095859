//! The control messages of [`rustix::net`]: descriptors that go with bytes.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::SendAncillaryMessage;

/// The size of the header of a control message.
const HEADER: usize = 16;

/// Stands for [`rustix::net::SendAncillaryBuffer`].
#[derive(Default)]
pub struct SendAncillaryBuffer<'buf, 'slice, 'fd> {
    pub(super) real: rustix::net::SendAncillaryBuffer<'buf, 'slice, 'fd>,
    pub(super) fds: Vec<BorrowedFd<'fd>>,
}

impl<'buf, 'slice, 'fd> SendAncillaryBuffer<'buf, 'slice, 'fd> {
    /// Stands for [`rustix::net::SendAncillaryBuffer::new`].
    pub fn new(space: &'buf mut [MaybeUninit<u8>]) -> Self {
        Self { real: rustix::net::SendAncillaryBuffer::new(space), fds: Vec::new() }
    }

    /// Stands for [`rustix::net::SendAncillaryBuffer::push`].
    pub fn push(&mut self, message: SendAncillaryMessage<'slice, 'fd>) -> bool {
        if let SendAncillaryMessage::ScmRights(fds) = &message {
            self.fds.extend_from_slice(fds);
        }
        self.real.push(message)
    }
}

/// Stands for [`rustix::net::RecvAncillaryBuffer`].
#[derive(Default)]
pub struct RecvAncillaryBuffer<'buf> {
    pub(super) real: rustix::net::RecvAncillaryBuffer<'buf>,
    /// The descriptors of a simulated message, and how many fit.
    fds: Vec<OwnedFd>,
    space: usize,
}

/// Stands for [`rustix::net::RecvAncillaryMessage`].
pub enum RecvAncillaryMessage {
    /// Descriptors.
    ScmRights(Vec<OwnedFd>),
    /// Another message, which only the real kernel sends.
    Other,
}

impl<'buf> RecvAncillaryBuffer<'buf> {
    /// Stands for [`rustix::net::RecvAncillaryBuffer::new`].
    pub fn new(space: &'buf mut [MaybeUninit<u8>]) -> Self {
        let fit = space.len().saturating_sub(HEADER) / size_of::<i32>();
        Self { real: rustix::net::RecvAncillaryBuffer::new(space), fds: Vec::new(), space: fit }
    }

    /// Takes the descriptors of a simulated message; returns false if some of them did not fit, and are closed.
    pub(super) fn put(&mut self, mut fds: Vec<OwnedFd>) -> bool {
        let have_fitted = fds.len() <= self.space;
        fds.truncate(self.space);
        self.fds = fds;
        have_fitted
    }

    /// Stands for [`rustix::net::RecvAncillaryBuffer::drain`].
    pub fn drain(&mut self) -> Vec<RecvAncillaryMessage> {
        let simulated = RecvAncillaryMessage::ScmRights(std::mem::take(&mut self.fds));
        let real = self.real.drain().map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => {
                RecvAncillaryMessage::ScmRights(fds.collect())
            }
            _ => RecvAncillaryMessage::Other,
        });
        std::iter::once(simulated).chain(real).collect()
    }
}
