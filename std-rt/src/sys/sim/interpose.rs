//! The symbols of the C library that std calls without asking this crate: close(2) by the drop of a descriptor,
//! clock_gettime(2) by `Instant::now` and `SystemTime::now`, getrandom(2) by the keys of the maps, futex(2) by its locks,
//! nanosleep(2) by `thread::sleep`.
//!
//! `interpose/sockets.rs` has the calls on sockets, and `interpose/names.rs` the look-up of names.
//!
//! The linker resolves these names to the functions here. On a thread that is in no simulation they make the system call.

#![expect(unsafe_code, reason = "defines functions of the C library")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::slice;
use std::time::Duration;

use super::world::END;
use super::{NOW, current, is_active, threads};

mod names;
mod sockets;

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

thread_local! {
    /// The C library's own function.
    static REAL: Cell<Option<Syscall>> = const { Cell::new(None) };
}

type Syscall = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// Returns the function of the C library that one of this crate hides.
fn real(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a string that ends with a null.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library has the function");
    found
}

/// Sets the error of the C library for this thread.
fn set_errno(number: c_int) {
    // SAFETY: the function has no precondition.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is to the thread's own variable.
    unsafe { *errno = number };
}

/// Returns the function of the C library that the one below hides.
fn real_syscall() -> Syscall {
    REAL.get().unwrap_or_else(|| {
        // SAFETY: the function takes a number and up to six words, in the registers of any other function on Linux.
        let real = unsafe { std::mem::transmute::<*mut c_void, Syscall>(real(c"syscall")) };
        REAL.set(Some(real));
        real
    })
}

/// Returns whether a word of futex(2) has another value than the expected one.
pub(super) fn has_changed(address: usize, expected: u32) -> bool {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (operation, zero) =
        ((libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize, &raw const zero as usize);
    // SAFETY: the kernel compares the word, whose address a waiting thread has passed, and does not wait.
    let waited =
        unsafe { real_syscall()(libc::SYS_futex, address, operation, expected as usize, zero, 0, 0) };
    waited == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

/// Makes a system call, as syscall(2) does. std waits by it, for locks, conditions and tokens: in a simulation with several
/// threads such a wait lets another one run.
///
/// # Safety
///
/// The arguments are those of the system call.
// SAFETY: the signature takes as many words as any call has; further ones are ignored. The effect is that of the C library.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if number == libc::SYS_futex && is_active() {
        let flags = libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
        match b as c_int & !flags {
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
                let is_relative = b as c_int & !flags == libc::FUTEX_WAIT;
                // SAFETY: the caller passes null or a pointer to a time.
                let time = unsafe { (d as *const libc::timespec).as_ref() };
                let until = time.map(|time| {
                    let time = nanoseconds(time);
                    if is_relative { NOW.get().0.saturating_add(time) } else { time }
                });
                if let Some(timed_out) = threads::wait_for_futex(a, c as u32, until) {
                    if timed_out {
                        set_errno(libc::ETIMEDOUT);
                        return -1;
                    }
                    return 0;
                }
            }
            libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
                let woken = threads::wake_futex(a, c);
                // SAFETY: the caller's arguments are those of the call. Threads outside of the simulation may wait, too.
                return woken as c_long + unsafe { real_syscall()(number, a, b, c, d, e, f) };
            }
            _ => {}
        }
    }
    // SAFETY: the caller's arguments are those of the call.
    unsafe { real_syscall()(number, a, b, c, d, e, f) }
}

/// Lets another thread run, as sched_yield(2) does.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> c_int {
    if is_active() && threads::yield_now() {
        return 0;
    }
    // SAFETY: the call takes no argument and has no effect on memory.
    unsafe { real_syscall()(libc::SYS_sched_yield, 0, 0, 0, 0, 0, 0) as c_int }
}

/// Sleeps for a time, as nanosleep(2) does. In a simulation the clock moves on by it.
///
/// # Safety
///
/// `time` points to a `timespec`, and `left` is null or points to memory for one.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> c_int {
    // SAFETY: the caller's arguments are those of the call.
    match unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, time, left) } {
        0 => 0,
        error => {
            set_errno(error);
            -1
        }
    }
}

/// Sleeps for a time or until one, as clock_nanosleep(2) does. In a simulation the clock moves on.
///
/// # Safety
///
/// `time` points to a `timespec`, and `left` is null or points to memory for one.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    let (now, time_of_day) = NOW.get();
    if now != 0 {
        // SAFETY: the caller passes a pointer to a time.
        let time = nanoseconds(unsafe { &*time });
        let until = match (flags & libc::TIMER_ABSTIME != 0, clock) {
            (false, _) => now.saturating_add(time),
            (true, libc::CLOCK_REALTIME) => now.saturating_add(time.saturating_sub(time_of_day)),
            (true, _) => time,
        };
        if threads::sleep_until(until.min(END)) {
            return 0;
        }
    }
    let arguments = (clock as usize, flags as usize, time as usize, left as usize);
    let (a, b, c, d) = arguments;
    // SAFETY: the caller's arguments are those of the call.
    match unsafe { real_syscall()(libc::SYS_clock_nanosleep, a, b, c, d, 0, 0) } {
        0 => 0,
        _ => std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL),
    }
}

/// Returns a time in nanoseconds.
fn nanoseconds(time: &libc::timespec) -> u64 {
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
