//! Filters of Linux for the system calls of a process.
//!
//! - **INV-502** A filter concerns what the kernel does with the calls of this process, and no memory of it.

#![expect(unsafe_code, reason = "filters the system calls of a child")]

/// Lets the kernel kill this process for a system call, as a filter does that does not know it. Linux on x86-64 and
/// AArch64.
pub fn forbid(call: libc::c_long) {
    filter(call, libc::SECCOMP_RET_KILL_PROCESS);
}

/// Lets the kernel refuse a system call with an error number from now on, as the filters of containers do.
pub fn refuse(call: libc::c_long, errno: i32) {
    filter(call, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
}

fn filter(call: libc::c_long, action: u32) {
    let [load, equal, ret] =
        [libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET];
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of the call is the first word that the filter is given.
    let mut steps = [
        step(load, 0, 0, 0),
        step(equal, 0, 1, call as u32),
        step(ret, 0, 0, action),
        step(ret, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: INV-502: a process that cannot gain privileges may install filters.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: INV-502: the program and its steps are there for as long as the call takes.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The wait in nanoseconds of Linux 5.11.
pub const EPOLL_PWAIT2: libc::c_long = libc::SYS_epoll_pwait2;

/// The call that opens a pidfd.
pub const PIDFD_OPEN: libc::c_long = libc::SYS_pidfd_open;

/// Error numbers with which filters refuse a call that they do not know.
pub const REFUSALS: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// The signal that ends a process for a call that its filter forbids.
pub const BAD_CALL: i32 = libc::SIGSYS;
