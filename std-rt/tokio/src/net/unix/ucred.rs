//! Credentials of the other end of a Unix socket.

use std::io;
use std::os::fd::AsFd;

use super::{gid_t, pid_t, uid_t};

/// The process and the user that made the other end of a Unix socket, as tokio's.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct UCred {
    pid: Option<pid_t>,
    uid: uid_t,
    gid: gid_t,
}

impl UCred {
    pub(super) fn of(socket: impl AsFd) -> io::Result<Self> {
        let found = netpoll_rt::net::unix::peer_cred(socket)?;
        Ok(UCred { pid: found.pid(), uid: found.uid(), gid: found.gid() })
    }

    /// Returns the number of the user.
    pub fn uid(&self) -> uid_t {
        self.uid
    }

    /// Returns the number of the group.
    pub fn gid(&self) -> gid_t {
        self.gid
    }

    /// Returns the number of the process, where the system tells it.
    pub fn pid(&self) -> Option<pid_t> {
        self.pid
    }
}
