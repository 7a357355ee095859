//! # The state words of a network poller
//!
//! When a task blocks on a socket, only the task sleeps, never the thread. This crate holds the shared memory
//! that this needs, and nothing else: no std, no allocator, no clock, no lock, no system call. Time, memory
//! and kernel events are arguments; tasks to wake are return values. It runs under a scheduler with threads
//! ([`netpoll-rt`](https://docs.rs/netpoll-rt) is one) and in an interrupt handler.
//!
//! ```text
//!   task                              descriptor                            poller
//!   ────                              ──────────                            ──────
//!   read(2): EAGAIN
//!   wait ──── arm: rg NIL → WAIT ──▶  ┌────────────────────────┐
//!             fence                   │ info  closing, peer    │
//!             look at info, deadline  │ rg    READ semaphore   │  ◀── ready: rg PARKED → READY ── epoll_wait
//!             commit: WAIT → PARKED ▶ │ wg    WRITE semaphore  │      the waker goes into a GList
//!   sleeps                            │ rd wd deadlines        │      the list is returned, drained,
//!                                     └────────────────────────┘      and only then is a task woken
//!   woken: rg READY → NIL, read(2) again
//! ```
//!
//! # How a wakeup cannot be lost
//!
//! 1. **An event and a waiter meet on one state word**, [`poll::sema`]. Each changes `rg` by a
//!    read-modify-write, so one of them is first. If it is the event, the waiter finds READY; if it is the
//!    waiter, the event finds WAIT or PARKED.
//! 2. **A close or a deadline and a waiter meet on two state words.** Each writes one and reads the other,
//!    which needs a fence on both sides, [`poll::desc`].
//! 3. **A late event** finds another generation in the state word that it would change, [`poll::key`].
//! 4. **A task whose future is dropped** takes its waker back and leaves a readiness for the next waiter,
//!    [`poll::sema::Sema::retract`].
//! 5. **A waker that comes out of a slot is returned to the caller, or is the task's own.** A parking that is
//!    taken over stands for a sleeping task; however the call of the second task ends, it returns the first
//!    one's waker ([`poll::sema::Displaced`]).
//!
//! # What safe code can do
//!
//! No sequence of safe calls, from any number of threads, reaches undefined behavior, gives a slot two
//! owners, corrupts the free list or drops a sleeping task's waker unasked. A slot's owner is a
//! [`Registration`], which cannot be copied; the waker slot belongs to the thread that set BUSY; a stale key
//! finds another generation in the state word that it would change. A caller can still harm itself: wake a
//! task too early, drop wakers that were returned to it, leak a registration (its slot stays in use) or a
//! [`poll::sema::Armed`] (its direction stays busy), lower a count that it did not raise.
//!
//! # To build on it
//!
//! [`embedding`] has the loop of a worker step by step, the translation of kernel events, the order of steps at the end of a
//! descriptor, and one table of which call is allowed in a task, on another thread and in an interrupt handler.
//!
//! # Invariants
//!
//! Each is stated in the file that keeps it. SAFETY comments and fences cite them by number.
//!
//! | number | file | subject |
//! |---|---|---|
//! | INV-1 | [`poll::cache`] | a block stays where it is |
//! | INV-2 | [`poll::registration`] | one waiter per direction |
//! | INV-3 | [`poll::desc`] | the fence pair of waiters and closers |
//! | INV-4 | [`poll::sema`] | the owner of the waker slot |
//! | INV-5 | [`poll::key`] | events of other generations |
//! | INV-6 | [`poll::deadline`] | firings of deadlines that were moved |
//! | INV-7 | [`poll::fd_mutex`] | the use and the close of a descriptor's number |
//! | INV-8 | [`sched::idle`] | the fence pair of sleepers and threads with work |
//! | INV-9 | [`sched::run_queue`] | a queued task comes out once |
//! | INV-10 | `sys::prefetch` of `netpoll-rt` | a prefetch reads nothing |
//! | INV-11 | [`sched::task`] | the thread that frees a task |
//! | INV-12 | [`sched::task`] | the thread that touches a task's future and output |
//! | INV-13 | [`sched::idle`] | the count of those that search, and of those woken to do so |
//! | INV-14 | [`sched::poller_lock`] | each of several pollers while a worker sleeps |
//! | INV-15 | [`poll::sema`] | the number of the parked task |
//!
//! # Reading order
//!
//! [`poll::sema`], [`poll::registration`], [`poll::desc`], [`poll::cache`]; then [`poll::info`],
//! [`poll::deadline`], [`poll::break_flag`], [`poll::fd_mutex`], [`poll::short_read`]. The files of [`sched`]
//! stand by themselves, and so do [`timer`], a wheel of timers as pure data, and [`poll::translate`].
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | state word | an atomic integer that holds a whole state, so that a compare-exchange checks and changes it in one step |
//! | descriptor | an open file of the kernel, and the [`PollDesc`] that stands for it here |
//! | number | the integer that names an open file to the kernel (fd) |
//! | direction, side | reading or writing, each with a semaphore and a deadline of its own |
//! | slot | the place of a descriptor in a block; a *waker slot* is the cell that holds a parked task's waker |
//! | block, to donate | memory for a fixed number of descriptors, which the caller gives to the cache |
//! | generation, fdseq | the number of times a slot has been freed; it makes keys of former owners stale |
//! | key | slot and generation: the name that the kernel hands back with an event |
//! | to arm, commit, abort | to announce a wait; to park if nothing has come; to take the announcement back |
//! | to park, unpark | to put a task to sleep with its waker in the slot; to end that without a reason |
//! | waiter | a task that is parked or about to be |
//! | to unblock | to take a waiter out of its semaphore, with or without a readiness |
//! | readiness, READY | the hint that a system call may succeed now; it stays until a task takes it |
//! | to evict | to publish that the descriptor is closing, and unblock both directions |
//! | to end | to publish that the poller has ended, and unblock all waiters |
//! | to retract | to give a wait up, because its future is dropped |
//! | to take over | to park in a direction where a waker is left of an earlier poll; that waker is *displaced* |
//! | break | a wakeup of the thread that is blocked in the poller |
//! | tick | a point in time in the caller's unit; opaque here |
//! | firing | a call of [`expire`](PollDesc::expire) because the descriptor's timer is due |
//! | runner | the thread that took a task out of its queue, and polls it |
//! | wake count | the number of times a task was woken before a poll; the poll answers that many |
//! | searcher | a worker without work that looks at other workers' queues |
//!
//! # Concordance
//!
//! Go is version 1.27. A dash means that the project has no counterpart.
//!
//! | here | Go | tokio, mio | crossbeam and others |
//! |---|---|---|---|
//! | [`PollDesc`] | `pollDesc` | `ScheduledIo` | async-io: `Source` |
//! | [`Registration`] | `pollDesc` in a `poll.FD` | `Registration`; mio's `Registry` | - |
//! | [`Registration::reset`], [`wait`](Registration::wait) | `pollReset`, `pollWait` | `clear_readiness`, `poll_readiness` | - |
//! | [`poll::sema::Sema`]; NIL, READY, WAIT, PARKED | `rg`, `wg`; `pdNil`, `pdReady`, `pdWait`, a g | `Readiness`, `Waiters` behind a mutex | parking_lot: the state of a `ThreadParker` |
//! | [`poll::sema::Sema::arm`], [`poll::sema::Armed::commit`] | `netpollblock`, `netpollblockcommit` | - | parking_lot_core: `park`, its `validate` |
//! | [`poll::sema::Sema::unblock`] | `netpollunblock` | `ScheduledIo::wake` | - |
//! | [`PollDesc::ready`] | `netpollready` | `set_readiness`, `wake` | - |
//! | [`PollDesc::evict`] | `pollUnblock`, `pd.evict` | - | - |
//! | [`PollDesc::end`] | - | `ScheduledIo::shutdown` | - |
//! | [`PollDesc::check_err`] | `netpollcheckerr` | - | - |
//! | [`Registration::set_deadline`], [`PollDesc::expire`] | `pollSetDeadline`, `netpolldeadlineimpl` | - | - |
//! | [`poll::deadline::Deadline`] | `rd`, `wd`; `rseq`, `wseq` are not needed | - | - |
//! | [`poll::info::AtomicInfo`], its `publish_closing`, `set_event` | `atomicInfo`, `publishInfo`, `setEventErr` | `Ready` | - |
//! | [`poll::info::Info::may_have_more`], [`poll::short_read::ShortReadHint`] | - | the short-read rule of `PollEvented` | - |
//! | [`PollKey`], its `fdseq` | `netpollPackData`, `fdseq` | mio's `Token`; `tick` | polling: `Event::key` |
//! | [`Event`], [`Mode`] | `epollevent`, the mode `'r'`, `'w'` | mio's `Event`, `Interest`; `Direction` | polling: `Event` |
//! | [`PollCache`], its `donate` | `pollCache`, `persistentalloc` | `RegistrationSet` | sharded-slab |
//! | [`PollCache::parked`], a look at each descriptor | `netpollWaiters`, a count | - | - |
//! | [`poll::break_flag::BreakFlag`] | `netpollWakeSig`, `netpollBreak` | mio's `Waker` | polling: `Poller::notify` |
//! | [`GList`] | `gList` | `WakeList` | - |
//! | [`poll::fd_mutex::FdMutex`], [`WaitList`](poll::fd_mutex::WaitList) | `fdMutex`, its `rsema` and `wsema` | `batch_semaphore` |
//! | [`sched::run_queue::Runq`] | `runqput`, `runqget`, `runqsteal`, `runnext` | `queue::Local`, `queue::Steal`, `lifo_slot` | crossbeam-deque: `Worker`, `Stealer` |
//! | [`sched::task::TaskState`] | `casgstatus`, `goready` | `task::State` | async-task: `Header`; maitake: `StateCell` |
//! | [`sched::task::TaskState::start_poll`], [`finish_poll`](sched::task::TaskState::finish_poll), [`complete`](sched::task::TaskState::complete) | - | `transition_to_running`, `transition_to_idle`, `transition_to_complete` | maitake: `start_poll`, `end_poll` |
//! | [`sched::task::Action`], [`sched::task::PollResult`], [`sched::task::Completion`] | - | `TransitionToNotifiedByVal`, `TransitionToIdle` | maitake: `ScheduleAction`, `PollResult`, `JoinAction` |
//! | [`sched::task::TaskState::register_join_waker`] | - | `set_join_waker`, `unset_waker` | async-task: the awaiter |
//! | [`sched::idle::Idle::begin_park`], [`cancel_park`](sched::idle::Idle::cancel_park) | `pidleput`, `pidleget` | `Idle::transition_worker_to_parked`, `unpark_worker_by_id` | - |
//! | [`sched::idle::Idle::worker_to_notify`], [`pop_idle`](sched::idle::Idle::pop_idle) | `wakep`, `startm` | `Idle::worker_to_notify` | - |
//! | [`sched::idle::Idle::start_searching`], [`stop_searching`](sched::idle::Idle::stop_searching) | `spinning`, `nmspinning` | `transition_worker_to_searching`, `transition_worker_from_searching` | - |
//! | [`sched::poller_lock::PollerLock`]; `try_lock`, `unlock` | `pollingNet`, `lastpoll` | `TryLock<Driver>` of `Parker` | async-io: `Reactor::try_lock` |
//! | [`sched::poller_lock::PollerLock::set_poll_until`], [`needs_wakeup`](sched::poller_lock::PollerLock::needs_wakeup) | `pollUntil`, `wakeNetPoller` | time driver's `next_wake` | - |
//! | [`timer::Wheel`] | `timers`, a heap | `Wheel` of the time driver | hashed hierarchical wheels of Varghese and Lauck |
//! | [`poll::translate`] | `netpoll` of each system | mio's `event` of each system | - |
//! | [`sync::Flag`], [`sync::RelaxedUsize`], [`sync::Counter`] | - | `MetricAtomicUsize` | crossbeam-utils: `AtomicCell` |

#![cfg_attr(not(netpoll_loom), no_std)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

pub mod embedding;
pub mod poll;
pub mod sched;
pub mod sync;
pub mod timer;

pub use self::poll::cache::PollCache;
pub use self::poll::deadline::When;
pub use self::poll::desc::{Delivered, PollDesc, PollErr, Wait};
pub use self::poll::glist::GList;
pub use self::poll::key::{Event, EventFlags, Mode, Modes, PollKey};
pub use self::poll::registration::Registration;
