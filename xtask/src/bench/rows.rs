//! The rows of the table. A new measurement is a new row.

use super::table::{
    BLOCK, BLOCKED, C1, C16, C64, C1000, C8000, C10000, CHURN, DEEP, Derived, EACH, ECHO, FIRE, Group,
    HALF_MINUTE, HOUR, How, IDLE, LARGE, LAZY, MEMORY, N, PARKED, PERIODIC, SLEEP, STALL, Workload, echo,
    inside,
};

pub const WORKLOADS: &[Workload] = &[
    echo("echo-1", "one connection, one worker, 64 bytes", 1, C1),
    echo("echo-64", "64 connections, one worker", 1, C64),
    echo("echo-1000", "1,000 connections, one worker", 1, C1000),
    echo("echo-8000", "8,000 connections, one worker", 1, C8000).serving("echo", &[], 8000),
    echo("echo-1-2w", "one connection, two workers", 2, C1),
    echo("echo-64-2w", "64 connections, two workers", 2, C64),
    echo("echo-1000-2w", "1,000 connections, two workers", 2, C1000),
    echo("echo-8000-2w", "8,000 connections, two workers", 2, C8000).serving("echo", &[], 8000),
    echo("echo-4k", "64 connections, messages of 4 KiB", 1, LARGE),
    echo("echo-pipe16", "64 connections, 16 messages in flight on each", 1, DEEP),
    echo("churn", "connect, one echo, close; 16 at a time", 1, C16)
        .serving("churn", &[], 0)
        .told(Group::Net, CHURN),
    echo("churn-2w", "the same, two workers", 2, C16).serving("churn", &[], 0).told(Group::Net, CHURN),
    echo(
        "blocked-worker",
        "64 connections, two workers, a task blocks one for a second at a time",
        2,
        BLOCKED,
    )
    .serving("echo", BLOCK, 0)
    .told(Group::Net, STALL),
    echo("memory", "10,000 connections, a buffer of 16 KiB each", 1, C10000)
        .serving("memory", &[], 10_000)
        .told(Group::Net, MEMORY),
    echo("memory-lazy", "10,000 connections, a buffer only while there are data", 1, C10000)
        .serving("memory", LAZY, 10_000)
        .told(Group::Net, MEMORY),
    echo("echo-1-syscalls", "one connection", 1, C1).counted(How::Syscalls),
    echo("echo-64-syscalls", "64 connections", 1, C64).counted(How::Syscalls),
    echo("echo-1000-2w-syscalls", "1,000 connections, two workers", 2, C1000).counted(How::Syscalls),
    echo("churn-syscalls", "connect, one echo, close", 1, C16)
        .serving("churn", &[], 0)
        .counted(How::Syscalls),
    echo("echo-16-instructions", "16 connections", 1, C16).counted(How::Instructions),
    inside("spawn-one", "spawn an empty task and await it, one at a time", "spawn_seq", 1),
    inside("spawn-batch", "the same in batches of 1,000", "spawn_batch", 1),
    inside("yield", "200 tasks take turns", "yield_many", 1),
    inside("ping-pong", "round trip of two tasks that wake one another", "pingpong_baton", 1),
    inside("spawn-2w", "a task spawns 10,000, two workers", "mt_spawn_many", 2),
    inside("yield-2w", "200 tasks take turns, two workers", "mt_yield_many", 2),
    inside("ping-pong-2w", "1,000 pairs ask and answer once, two workers", "mt_ping_pong", 2)
        .times(N::Scaled(200_000)),
    inside("chain-2w", "each task spawns the next, two workers", "mt_chained_spawn", 2),
    inside("cross-wake", "round trip of two runtimes on two processors", "cross_wake", 2)
        .times(N::Scaled(20_000)),
    inside("spawn-one-instructions", "spawn and await", "spawn_seq", 1).counted(How::Instructions),
    inside("spawn-batch-instructions", "in batches of 1,000", "spawn_batch", 1).counted(How::Instructions),
    inside("yield-instructions", "200 tasks take turns", "yield_many", 1).counted(How::Instructions),
    inside("ping-pong-instructions", "round trip of two tasks", "pingpong_baton", 1)
        .counted(How::Instructions),
    inside("timer-churn", "arm one, cancel one, 100,000 outstanding", "timer_churn", 1).timers(EACH),
    inside("timer-churn-1k", "the same, 1,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000"])
        .timers(EACH),
    inside("timer-churn-1m", "the same, 1,000,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000000"])
        .timers(EACH),
    inside("timer-fire", "100,000 tasks asleep until one instant", "timer_fire", 2)
        .times(N::Fixed(100_000))
        .timers(FIRE),
    inside("sleep-50us", "one task sleeps 50 us", "sleep", 1).times(N::Scaled(2000)).timers(SLEEP),
    inside("periodic", "1,000 timers of 100 ms, 1 us apart: in one millisecond", "periodic", 1)
        .with(&["--secs", "1", "--apart", "1"])
        .times(N::Fixed(1000))
        .timers(PERIODIC),
    inside("periodic-100ms", "the same, 100 us apart: over the whole period", "periodic", 1)
        .with(&["--secs", "1", "--apart", "100"])
        .times(N::Fixed(1000))
        .timers(PERIODIC),
    inside("deadline-moved-at", "a fresh read deadline, given as an instant", "deadline_at", 1).timers(EACH),
    inside("deadline-moved-after", "the same, given as a duration", "deadline_after", 1).timers(EACH),
    echo("deadline-none", "echo, 64 connections, no deadline", 1, C64).timers(ECHO),
    echo("deadline-each", "the same, a fresh deadline before each read", 1, C64)
        .serving("echo", HALF_MINUTE, 0)
        .timers(ECHO),
    echo("deadline-parked", "10,000 readers wait, their deadlines an hour away", 1, IDLE)
        .serving("parked", HOUR, 10_000)
        .timers(PARKED),
    echo("deadline-none-syscalls", "without", 1, C64).timers(ECHO).counted(How::Syscalls),
    echo("deadline-each-syscalls", "with a fresh deadline before each read", 1, C64)
        .serving("echo", HALF_MINUTE, 0)
        .timers(ECHO)
        .counted(How::Syscalls),
    echo("deadline-none-instructions", "16 connections, without", 1, C16)
        .timers(ECHO)
        .counted(How::Instructions),
    echo("deadline-each-instructions", "16 connections, with a fresh deadline before each read", 1, C16)
        .serving("echo", HALF_MINUTE, 0)
        .timers(ECHO)
        .counted(How::Instructions),
    inside("timer-churn-1k-instructions", "1,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000"])
        .timers(EACH)
        .counted(How::Instructions),
    inside("timer-churn-100k-instructions", "100,000 outstanding", "timer_churn", 1)
        .timers(EACH)
        .counted(How::Instructions),
    inside("timer-churn-1m-instructions", "1,000,000 outstanding", "timer_churn", 1)
        .with(&["--outstanding", "1000000"])
        .timers(EACH)
        .counted(How::Instructions),
];

pub const DERIVED: &[Derived] = &[
    Derived {
        group: Group::Time,
        what: "messages/s, a deadline before each read : none",
        of: ["deadline-each", "deadline-none"],
        metric: "rate",
        join: |with, without| with / without,
    },
    Derived {
        group: Group::Time,
        what: "system calls/message that the deadline adds",
        of: ["deadline-each-syscalls", "deadline-none-syscalls"],
        metric: "syscalls",
        join: |with, without| with - without,
    },
    Derived {
        group: Group::Time,
        what: "instructions/message that the deadline adds",
        of: ["deadline-each-instructions", "deadline-none-instructions"],
        metric: "instructions",
        join: |with, without| with - without,
    },
    Derived {
        group: Group::Time,
        what: "instructions of arm and cancel, 1,000,000 outstanding : 1,000",
        of: ["timer-churn-1m-instructions", "timer-churn-1k-instructions"],
        metric: "instructions",
        join: |many, few| many / few,
    },
    Derived {
        group: Group::Time,
        what: "time of arm and cancel, 1,000,000 outstanding : 1,000",
        of: ["timer-churn-1m", "timer-churn-1k"],
        metric: "ns_per_op",
        join: |many, few| many / few,
    },
];
