//! What the house has decided, as data. A new row carries its reason.

/// A package's files by floor, the lowest first. A file uses only files of a lower floor; its own submodules share
/// its floor; `lib.rs` is the door above all.
pub struct Tower {
    pub src: &'static str,
    /// The names on each floor, with spaces between them.
    pub floors: &'static [&'static str],
}

pub const CORE: Tower = Tower { src: "core/src/", floors: &["sync", "poll sched"] };

/// The files of core's `poll`, by the names that `super::` leads to.
pub const POLL: Tower = Tower {
    src: "core/src/poll/",
    floors: &[
        "sync",
        "key glist waiters",
        "info sema deadline short_read fd_mutex",
        "desc",
        "free_list",
        "registration",
        "cache",
    ],
};

/// The files of core's `sched`: no one uses another.
pub const SCHED: Tower =
    Tower { src: "core/src/sched/", floors: &["sync", "task run_queue idle poller_lock"] };

pub const STD_RT: Tower = Tower {
    src: "std-rt/src/",
    floors: &[
        "context sys timer spin sync foreign",
        "coop",
        "protocol",
        "error",
        "netpoll",
        "fd sched",
        "task time metrics",
        "blocking",
        "net fs signal dump",
        "io",
        "worker",
        "sysmon",
        "runtime",
    ],
};

/// File (or folder, with its slash), the file it may use all the same, the reason.
pub const FLOOR_EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "std-rt/src/netpoll.rs",
        "default_netpoll",
        "a descriptor made outside of any runtime starts the default one",
    ),
    (
        "std-rt/src/blocking.rs",
        "default_sched",
        "work that blocks outside of any runtime starts the default one",
    ),
];

/// A file, or a folder with its slash, and the reason.
pub type Room = (&'static str, &'static str);

pub const UNSAFE_ROOMS: &[Room] = &[
    ("core/src/poll/sema.rs", "the waker slot is a cell that the word owns"),
    ("core/src/poll/cache.rs", "descriptors live in raw blocks that the caller donates"),
    ("std-rt/src/sys/fd.rs", "a descriptor's number that several tasks use and one closes"),
    ("std-rt/src/sys/backend/epoll.rs", "a wait in nanoseconds, which rustix has only where it is forced"),
    (
        "std-rt/src/sys/backend/kqueue.rs",
        "kevent(2) takes numbers that the caller keeps open, and integers as pointers",
    ),
    ("std-rt/src/sys/backend/poll.rs", "the numbers that a poll(2) is given outlive it"),
    ("std-rt/src/sys/process.rs", "declares pthread_atfork, which neither rustix nor libc has on Linux"),
    ("std-rt/src/sys/platform/linux.rs", "the socket options that rustix lacks"),
    (
        "std-rt/src/sys/platform/linux/splice.rs",
        "this thread's mask and pending signals, which rustix does not have",
    ),
    ("std-rt/src/sys/platform/bsd.rs", "getpeereid, which rustix does not have"),
    ("std-rt/src/sys/prefetch.rs", "a hint for the processor"),
    ("std-rt/src/sys/signal.rs", "an action that runs in a signal handler, and the mask of a thread"),
    ("std-rt/src/sys/mmsg.rs", "batches of messages, which rustix does not have"),
    ("std-rt/src/netpoll/cache.rs", "descriptors' blocks are donated to the cache and freed after it"),
    ("std-rt/src/netpoll/registration.rs", "a registration is kept beside the poller that it refers to"),
    ("std-rt/src/fd/close.rs", "the last reference closes the number"),
    ("std-rt/src/sched/word.rs", "a task travels through the run queues as one word"),
    ("std-rt/src/sched/context.rs", "what a thread works for is looked at for every task that is made ready"),
    ("std-rt/src/sched/cell.rs", "a task's word says who may touch its future, its value and its memory"),
    ("std-rt/src/sched/cell/", "the same cell, by the type of the future"),
    ("std-rt/src/task/local.rs", "a future that is not Send stays on its thread"),
    ("std-rt/tests/sys/socket.rs", "closes a number as the fd layer does"),
    ("std-rt/tests/hostile/wakers/hostile.rs", "a waker whose clone and drop are foreign code too"),
    ("core/tests/cache.rs", "donates a block"),
    ("core/tests/common/mod.rs", "donates a block"),
    ("core/tests/hostile.rs", "wakers whose clone and drop run code of the test"),
    ("examples/bare/", "registers, statics and wakers of a chip without an operating system"),
    ("std-rt/tests/common/fork.rs", "forks, and ends the child"),
    ("std-rt/tests/common/seccomp.rs", "filters the system calls of a child"),
    ("std-rt/tests/alloc.rs", "counts what the global allocator is asked for"),
    ("loom-tests/src/generated/pool.rs", "blocks for the generated models, and owners that keep them"),
    (
        "loom-tests/src/models/support.rs",
        "blocks for the allocator's models, and a payload that loom watches",
    ),
];

/// Looked at in `src` only.
pub const CFG_ROOMS: &[Room] = &[
    ("core/src/sync.rs", "loom, std or bare metal"),
    ("core/src/lib.rs", "no_std"),
    ("core/src/poll.rs", "the lock of a descriptor needs 64-bit atomics"),
    ("std-rt/src/sys.rs", "selects the modules of the platform"),
    ("std-rt/src/sync.rs", "std or the checker of the protocols"),
    ("loom-tests/src/bin/protocols/main.rs", "without the checker there is nothing to run"),
    ("loom-tests/src/main.rs", "without the model checker there is nothing to run"),
];

/// Files of `CFG_ROOMS` that only select modules: they have no code of their own that a condition could split.
pub const SELECTIONS: &[Room] =
    &[("std-rt/src/sys.rs", "inside a platform's module there is no cfg, and outside no code")];

pub const LOOM_ROOMS: &[Room] = &[
    ("core/src/sync.rs", "turns every word over to the model checker"),
    ("loom-tests/", "the models"),
    ("xtask/", "starts the models and links nothing"),
];

pub const ORDERING_ROOMS: &[Room] = &[
    ("core/src/", "every ordering is explained there, and loom sees it"),
    ("examples/bench/src/bin/core_bench/go.rs", "Go's algorithm, to be compared with"),
    ("loom-tests/", "the surroundings of a model: its kernel, its payloads, its counters"),
];

pub const KERNEL_ROOMS: &[Room] = &[
    ("std-rt/src/sys.rs", "system calls are made in one module"),
    ("std-rt/src/sys/", "the same module"),
    ("examples/load/src/", "limits of a process, which the soak lowers and raises"),
    ("examples/bench/src/", "limits of a process, and the processors that a thread may use"),
    ("std-rt/tests/it/async_fd_kinds.rs", "makes the descriptors that std does not make"),
    ("std-rt/tests/common/kernel.rs", "asks what only the kernel knows"),
    ("std-rt/tests/common/fork.rs", "forks, and ends the child"),
    ("std-rt/tests/common/seccomp.rs", "filters the system calls of a child"),
];

/// Longest file and longest function, in lines.
pub const FILE_LINES: usize = 600;
pub const FUNCTION_LINES: usize = 50;

/// What may lie in the root beside what `.gitignore` names there.
pub const ROOT: &str = "core std-rt loom-tests examples xtask README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE \
    Cargo.toml Cargo.lock clippy.toml rustfmt.toml .cargo .github .ci .gitignore .git";

/// Whether a path is one of the rooms or lies in one.
pub fn in_room(rooms: &[Room], path: &str) -> bool {
    rooms.iter().any(|(room, _)| covers(room, path))
}

/// A folder covers what begins with its name, a file itself.
pub fn covers(room: &str, path: &str) -> bool {
    if room.ends_with(".rs") { path == room } else { path.starts_with(room) }
}
