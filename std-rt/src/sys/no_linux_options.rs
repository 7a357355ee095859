//! Options that only Linux has, on another system: each is `Unsupported`.

use std::io;
use std::os::fd::BorrowedFd;

pub use super::socket::{send, sendv};

fn unsupported<T>(option: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("this system has no {option}")))
}

/// As on Linux, if it were.
pub fn set_user_timeout(_fd: BorrowedFd<'_>, _ms: u32) -> io::Result<()> {
    unsupported("TCP_USER_TIMEOUT")
}

/// As on Linux, if it were.
pub fn user_timeout(_fd: BorrowedFd<'_>) -> io::Result<u32> {
    unsupported("TCP_USER_TIMEOUT")
}

/// As on Linux, if it were.
pub fn set_quickack(_fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
    unsupported("TCP_QUICKACK")
}

/// As on Linux, if it were.
pub fn quickack(_fd: BorrowedFd<'_>) -> io::Result<bool> {
    unsupported("TCP_QUICKACK")
}

/// As on Linux, if it were.
pub fn set_fastopen(_fd: BorrowedFd<'_>, _queue: u32) -> io::Result<()> {
    unsupported("TCP_FASTOPEN as a queue")
}

/// As on Linux, if it were.
pub fn fastopen(_fd: BorrowedFd<'_>) -> io::Result<u32> {
    unsupported("TCP_FASTOPEN as a queue")
}

/// As on Linux, if it were.
pub fn set_fastopen_connect(_fd: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
    unsupported("TCP_FASTOPEN_CONNECT")
}

/// As on Linux, if it were.
pub fn fastopen_connect(_fd: BorrowedFd<'_>) -> io::Result<bool> {
    unsupported("TCP_FASTOPEN_CONNECT")
}

/// As on Linux, if it were.
pub fn set_device(_fd: BorrowedFd<'_>, _name: &[u8]) -> io::Result<()> {
    unsupported("SO_BINDTODEVICE")
}

/// As on Linux, if it were.
pub fn device(_fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    unsupported("SO_BINDTODEVICE")
}

/// Returns `None`: this system does not tell.
pub(super) fn has_tcp_peer_ended(_fd: BorrowedFd<'_>) -> Option<bool> {
    None
}
