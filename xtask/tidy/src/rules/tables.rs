//! Decisions as data. A new row carries its reason.

/// The modules of a folder by layer, the lowest first. A module uses only modules of a lower layer; its own submodules
/// share its layer; `lib.rs` stands above all.
pub struct Layers {
    pub folder: &'static str,
    /// The names of each layer, with spaces between them.
    names: &'static [&'static str],
}

impl Layers {
    /// Returns the layer of a module.
    pub fn of(&self, module: &str) -> Option<usize> {
        self.names.iter().position(|names| names.split(' ').any(|name| name == module))
    }
}

pub const LAYERS: &[Layers] = &[
    Layers { folder: "core/src/", names: &["sync timer", "poll sched", "embedding"] },
    Layers {
        folder: "core/src/poll/",
        names: &[
            "key glist break_flag",
            "info sema deadline short_read fd_mutex translate",
            "desc",
            "free_list",
            "registration",
            "cache",
        ],
    },
    // No file of these uses another.
    Layers { folder: "core/src/sched/", names: &["task run_queue idle poller_lock"] },
    Layers {
        folder: "std-rt/src/",
        names: &[
            "context sys timer spin moderation sync foreign guide",
            "coop trace trace_off",
            "protocol",
            "error",
            "netpoll",
            "task",
            "fd poll",
            "sched",
            "time metrics",
            "blocking",
            "net fs signal dump",
            "io process",
            "worker",
            "sysmon",
            "runtime",
            "compat",
            "sim",
        ],
    },
];

/// The reason of a re-export from the root of the crate.
const SHOWN: &str = "shown in this module as well, where tokio has it; no code of the module uses it";

/// A file (or a folder, with its slash), the name that it may use from a higher layer, and the reason.
pub const LAYER_EXCEPTIONS: &[(&str, &str, &str)] = &[
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
    (
        "std-rt/src/task.rs",
        "runtime",
        "LocalSet and block_in_place are shown in this module, where tokio has them; no code of the module uses it",
    ),
    ("std-rt/src/task.rs", "spawn", SHOWN),
    ("std-rt/src/task.rs", "spawn_blocking", SHOWN),
    ("std-rt/src/task.rs", "spawn_local", SHOWN),
    ("std-rt/src/task.rs", "yield_now", SHOWN),
    (
        "std-rt/src/task/local_key.rs",
        "task_local",
        "an exported macro is at the root of the crate, and calls itself there",
    ),
    (
        "std-rt/src/process.rs",
        "default_sched",
        "a child that is started outside of any runtime starts the default one",
    ),
    (
        "std-rt/src/context.rs",
        "netpoll",
        "the type of a field that only netpoll uses; each sleep reads it, and a downcast is not free",
    ),
];

/// Folders whose modules may use each other, and the reason.
pub const CYCLES: &[(&str, &str)] = &[
    ("std-rt/src/sys/", "a module of a platform and the modules that every platform shares are one layer"),
    ("std-rt/src/sys/inject/", "the state of the poller asks the rules, and the rules ask the state"),
    ("std-rt/src/sys/sim/", "the simulated kernel is one state, whose files are divided by protocol"),
    ("std-rt/src/protocol/", "a job of the pool goes back to the pool"),
    ("std-rt/src/net/", "the shared methods of the handles name the types that they return"),
    ("std-rt/src/io/", "each way to copy falls back to another one"),
];

/// A file, or a folder with its slash, and the reason.
pub type Place = (&'static str, &'static str);

/// The files of `src` that may have a cfg.
pub const CFG_FILES: &[Place] = &[
    ("core/src/sync.rs", "loom, std or bare metal"),
    ("core/src/lib.rs", "no_std"),
    ("core/src/poll.rs", "the lock of a descriptor needs 64-bit atomics"),
    ("examples/src/bin/sim_kv.rs", "needs the simulation, which other builds do not have"),
    ("std-rt/src/lib.rs", "re-exports the internals for the tests, and selects what the features add"),
    ("std-rt/src/compat.rs", "each feature is a module with the traits of a crate"),
    ("std-rt/src/sys.rs", "selects the modules of the platform"),
    ("std-rt/src/sync.rs", "std or the checker of the protocols"),
    ("std-rt/tokio/src/lib.rs", "tokio's macros and attributes cost a build, so that a feature selects them"),
    ("std-rt/tokio/src/net/", "options and abstract names that one system has, as in tokio"),
    ("examples/bare/src/cpu.rs", "selects the instructions of the processor"),
    ("loom-tests/src/bin/protocols/main.rs", "without the checker there is nothing to run"),
    ("loom-tests/src/main.rs", "without the model checker there is nothing to run"),
];

/// Files of `CFG_FILES` that only select modules: they have no code of their own that a condition could split.
pub const SELECTIONS: &[Place] =
    &[("std-rt/src/sys.rs", "inside a module of a platform there is no cfg, and outside it no code")];

/// Words, the folder in which they are looked for (everywhere if it is empty), and their places.
pub const WORDS: &[(&[&str], &str, &[Place])] = &[
    (&["loom"], "", LOOM_FILES),
    (&["rustix", "libc"], "", KERNEL_FILES),
    (
        &["static", "Mutex", "RwLock", "Condvar", "OnceLock", "LazyLock", "thread_local"],
        "core/src/",
        CORE_STATE,
    ),
];

const CORE_STATE: &[Place] =
    &[("core/src/sync/seam.rs", "any place: core has no state and no lock of its own, but in a simulation")];

pub const LOOM_FILES: &[Place] = &[
    ("core/src/sync.rs", "turns every word over to the model checker"),
    ("loom-tests/", "the models"),
    ("xtask/", "starts the models and links nothing"),
];

pub const ORDERING_FILES: &[Place] = &[
    ("core/src/", "every ordering is explained there, and loom sees it"),
    ("examples/bench/src/bin/core_bench/go.rs", "Go's algorithm, to be compared with"),
    ("loom-tests/", "the surroundings of a model: its kernel, its payloads, its counters"),
];

pub const KERNEL_FILES: &[Place] = &[
    ("std-rt/src/sys.rs", "system calls are made in one module"),
    ("std-rt/src/sys/", "the same module"),
    ("examples/load/src/", "limits of a process, which the soak lowers and raises"),
    ("examples/bench/src/", "limits of a process, and the processors that a thread may use"),
    (
        "examples/tokio-app/tests/it/",
        "signals to the servers that a test starts, and the user that they run as",
    ),
    ("examples/web/tests/it/", "signals to the servers that a test starts, and the user that it runs as"),
    ("std-rt/tokio/src/net/", "numbers of errors and flags for which std has no name"),
    ("std-rt/tokio/src/io/unix/async_fd.rs", "the number of an error for which std has no name"),
    ("std-rt/tokio/tests/it/net.rs", "numbers of errors that must be the kernel's"),
    ("std-rt/tests/it/evented.rs", "numbers of errors that must be the kernel's"),
    ("std-rt/tests/it/async_fd_kinds.rs", "makes the descriptors that std does not make"),
    ("std-rt/tests/support/kernel.rs", "asks what only the kernel knows"),
    ("std-rt/tests/support/fork.rs", "forks, and ends the child"),
    ("std-rt/tests/support/seccomp.rs", "filters the system calls of a child"),
];

/// Words by which a test opens descriptors.
pub const OPENS: &[&str] = &["Runtime", "Builder", "runtime", "block_on", "bind"];

/// Functions that a test takes its turn with: it holds a lock, or runs in a process of its own.
pub const TAKES_TURN: &[&str] =
    &["alone", "each", "on", "in_own_process", "with_few_descriptors", "output_of", "rerun"];

/// The longest file, in lines.
pub const FILE_LINES: usize = 600;

/// The English of each folder: free relatives in 1,000 lines of comment; of 1,000 doc comments those that open with a
/// fragment, and those of functions that open without a verb; moulds in 1,000 lines of comment. A share only shrinks.
pub const ENGLISH: &[(&str, usize, usize, usize, usize)] = &[
    ("core/", 1, 30, 30, 0),
    ("std-rt/src/", 1, 30, 30, 0),
    ("std-rt/macros/", 1, 30, 30, 0),
    ("std-rt/tests/", 50, 30, 30, 9),
    // A model is described by its race, like a test.
    ("loom-tests/", 1, 30, 162, 0),
    ("examples/", 1, 30, 30, 0),
    ("xtask/", 1, 30, 30, 0),
];

/// The entries of the root beside those that `.gitignore` names.
pub const ROOT: &str = "core std-rt loom-tests examples xtask README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-MIT LICENSE-APACHE \
    Cargo.toml Cargo.lock clippy.toml rustfmt.toml .cargo .github .ci .gitignore .git";

/// Returns whether a path is one of the places or lies in one.
pub fn is_in(places: &[Place], path: &str) -> bool {
    places.iter().any(|(place, _)| covers(place, path))
}

/// Returns whether a place covers a path: a folder covers its files, a file itself.
pub fn covers(place: &str, path: &str) -> bool {
    if place.ends_with(".rs") { path == place } else { path.starts_with(place) }
}
