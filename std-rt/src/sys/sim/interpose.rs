//! The symbols of the C library that std calls without asking this crate: close(2) by the drop of a descriptor,
//! clock_gettime(2) by `Instant::now` and `SystemTime::now`, getrandom(2) by the keys of the maps.
//!
//! The linker resolves these names to the functions here. On a thread that is in no simulation they make the system call.

#![expect(unsafe_code, reason = "defines functions of the C library")]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::slice;
use std::time::Duration;

use super::{NOW, current, is_active};

thread_local! {
    /// The state of the bytes that getrandom(2) returns on this thread.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Sets the bytes that getrandom(2) returns on this thread while it is in a simulation.
pub(super) fn seed_random(seed: u64) {
    RANDOM.set(seed ^ 0x6a09_e667_f3bc_c908);
}

/// Closes a descriptor, as close(2) does.
///
/// # Safety
///
/// The caller owns the descriptor, and does not use it again.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if is_active()
        && let Some(kernel) = current()
        && kernel.has(fd)
    {
        // SAFETY: the simulation has created the descriptor and has not seen its close, so it is open until the call below.
        let linger = rustix::net::sockopt::socket_linger(unsafe { BorrowedFd::borrow_raw(fd) });
        kernel.lock().detach(fd, linger == Ok(Some(Duration::ZERO)));
    }
    // SAFETY: the call is the one that the C library's function makes; the caller owns the number.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// Reads a clock, as clock_gettime(2) does.
///
/// # Safety
///
/// `time` points to memory for a `timespec` that may be written.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let (monotonic, time_of_day) = NOW.get();
    let simulated = match clock {
        _ if monotonic == 0 => None,
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => Some(monotonic),
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(time_of_day),
        _ => None,
    };
    let Some(nanoseconds) = simulated else {
        // SAFETY: the call is the one that the C library's function makes, with the caller's pointer.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    };
    let value = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as _,
        tv_nsec: (nanoseconds % 1_000_000_000) as c_long as _,
    };
    // SAFETY: the caller passes a pointer to memory for a `timespec`, which it may write through.
    unsafe { time.write(value) };
    0
}

/// Fills a buffer, as getrandom(2) does.
///
/// # Safety
///
/// `buffer` points to `length` bytes that may be written.
// SAFETY: the signature and the effect are those that the C library has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if !is_active() {
        // SAFETY: the call is the one that the C library's function makes, with the caller's buffer.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    // SAFETY: the caller passes a pointer to `length` bytes that it may write; they need not be initialized.
    let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), length) };
    for byte in bytes {
        let x = RANDOM.get();
        let x = x ^ x << 13;
        let x = x ^ x >> 7;
        let x = x ^ x << 17;
        RANDOM.set(x);
        byte.write((x >> 32) as u8);
    }
    length as isize
}
