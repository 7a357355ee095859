//! Writes of more bytes than one call may pass to the kernel. No page of that size is ever touched: the target discards the
//! bytes.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use crate::common::*;
use netpoll_rt::internal::fd::{Fd, FdKind};
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::socket::{self, MAX_RW};

/// More than 2 GiB, and no multiple of anything; less than that where no allocation is that large.
const HUGE: usize = if usize::BITS >= 64 { 2 * MAX_RW + 4097 } else { MAX_RW + 4097 };

/// Zeroes without a page of memory behind them, since they are never read.
fn zeroes() -> Vec<u8> {
    vec![0; HUGE]
}

fn nowhere() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

// Case F22.
#[test]
fn one_call_passes_at_most_a_gibibyte() {
    // no worker: the system call by itself.
    let _alone = alone();
    assert_eq!(MAX_RW, 1 << 30);
    // The kernel itself would take more than that: 2 GiB less a page.
    let written = socket::write(nowhere().as_fd(), &zeroes()).unwrap();
    assert!((1..=MAX_RW).contains(&written));
}

// Case F22.
#[test]
fn a_huge_write_is_split_and_counted() {
    each(async || {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(ours), FdKind::Other).unwrap();
        let (bytes, nowhere) = (zeroes(), nowhere());
        let chunks = Mutex::new(Vec::new());
        let all = fd.write_all(&bytes, |_, rest| {
            let written = socket::write(nowhere.as_fd(), rest)?;
            chunks.lock().unwrap().push((rest.len(), written));
            Ok(written)
        });
        all.await.unwrap();
        let chunks = chunks.into_inner().unwrap();
        assert!(chunks.iter().all(|(_, written)| *written <= MAX_RW), "{chunks:?}");
        assert_eq!(chunks.iter().map(|(_, written)| written).sum::<usize>(), HUGE);
        let mut left = HUGE;
        for (rest, written) in chunks {
            assert_eq!(rest, left, "what is left is what was not written");
            left -= written;
        }
    });
}

// Case F22.
#[test]
fn a_call_that_takes_little_is_asked_for_the_rest() {
    each(async || {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let fd = Fd::new(Netpoll::current().unwrap(), OwnedFd::from(ours), FdKind::Other).unwrap();
        let bytes = zeroes();
        // A third of the remaining bytes at a time, then byte by byte: every offset is above 1 GiB at some point.
        let mut total = 0;
        let all = fd.write_all(&bytes, |_, rest| {
            assert_eq!(rest.len(), HUGE - total);
            let taken = (rest.len() / 3).clamp(1, MAX_RW);
            total += taken;
            Ok(taken)
        });
        all.await.unwrap();
        assert_eq!(total, HUGE);
    });
}

// Case F22.
#[test]
fn a_vectored_write_stays_below_it_too() {
    // no worker: the system call by itself.
    let _alone = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let bytes = zeroes();
    let slices = [IoSlice::new(&bytes[..1000]), IoSlice::new(&bytes)];
    // The second does not fit beside the first, so the first goes alone.
    let written = socket::sendv(ours.as_fd(), &slices).unwrap();
    assert!((1..=1000).contains(&written), "{written}");
    drop(theirs);
}
