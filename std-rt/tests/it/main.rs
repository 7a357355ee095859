//! The behavior of the runtime, one module per subject.
//!
//! Most tests count the descriptors of the whole process, and many measure time. So each test holds the lock of
//! [`common::alone`] while it runs: it starts with `alone`, or it runs its body with `each` or `on`, which take the lock. A
//! test that changes the process for the tests after it, or that cannot bear what they leave behind, stands in `process`.

mod accept;
mod async_fd;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod async_fd_kinds;
mod block_on;
mod budget;
mod budget_table;
mod close;
mod closing;
mod connect;
mod copy;
mod copy_ends;
mod copy_options;
mod copy_promises;
mod copy_random;
mod deadline_races;
mod deadlines;
mod dropped_timers;
mod dump;
mod dup;
mod ending;
mod enter;
mod eof;
mod errors;
mod evented;
mod fifo;
mod file;
mod file_traits;
mod futures_io;
mod half_close;
mod hooks;
mod huge;
mod incoming;
mod join_set;
mod late_deadlines;
mod local_set;
mod lockers;
mod metrics;
mod net_table;
mod netpoll;
mod own_poller;
mod panics;
mod paused_clock;
mod peer_closed;
mod pipe;
mod poll_ready;
mod poller;
mod pool;
mod read_buf;
mod readable;
mod resolve;
mod runtime;
mod runtime_end;
mod runtime_gone;
mod short_read;
mod shutdown;
mod sleep_reset;
mod spawn_local;
mod spin;
mod split;
mod state_machine;
mod std_conversion;
mod stuck;
mod syscalls;
mod sysmon;
mod task_local;
mod tcp_options;
mod time;
mod timeouts;
mod udp_batch;
mod udp_control;
mod udp_options;
mod udp_socket;
mod udp_waiting;
mod unix_close;
mod unix_datagram;
mod unix_fds;
mod unix_listener;
mod unix_seqpacket;
mod unix_stream;
mod unix_support;

use test_support as common;
