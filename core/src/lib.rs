//! # The state words of a network poller
//!
//! A task blocks on a socket and only the task sleeps, never the thread. This crate holds what that takes in shared
//! memory and nothing else: no std, no allocator, no clock, no lock, no system call. Time, memory and kernel events
//! come in as arguments; tasks to wake go out as values. It runs under a scheduler with threads
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
//!   sleeps                            │ rd wd deadlines        │      the list goes up, is drained,
//!                                     └────────────────────────┘      and only then is a task woken
//!   woken: rg READY → NIL, read(2) again
//! ```
//!
//! # How a wakeup cannot be lost
//!
//! 1. **An event and a waiter meet on one state word**, [`poll::sema`]: whatever the interleaving, each is a read-modify-write of
//!    `rg`, so one is first. If it is the event, the waiter finds READY; if it is the waiter, the event finds WAIT or
//!    PARKED.
//! 2. **A close or a deadline and a waiter meet on two state words**: each writes one and looks at the other. That needs a
//!    fence on both sides, [`poll::desc`].
//! 3. **An event that is late** meets another generation in the very state word that it would change, [`poll::key`].
//! 4. **A task that changes its mind** (a future is dropped) takes its waker back and leaves a readiness for the next,
//!    [`poll::sema::Sema::retract`].
//! 5. **A waker that comes out of a slot goes up, or is the task's own.** A parking that is taken over stands for a task that
//!    is asleep; however the call of the second task ends, it hands the first one's waker up ([`poll::sema::Displaced`]).
//!
//! # What safe code can do
//!
//! Nothing here reaches undefined behaviour, gives a slot two owners, corrupts the free list or drops a sleeping task's waker
//! unasked, whatever is called in whatever order from any number of threads. A slot's owner is a
//! [`Registration`], which cannot be copied; the waker slot belongs to the thread that set BUSY; a key that is
//! stale finds another generation in the state word that it would change. What a caller can still do to itself: wake a task too
//! early, drop wakers that were handed up, leak a registration (its slot stays in use) or an [`poll::sema::Armed`] (its direction
//! stays busy), lower a count that it did not raise.
//!
//! # What may be called from where
//!
//! | call | a task | another thread | an interrupt handler |
//! |---|---|---|---|
//! | `PollCache::alloc`, `Registration::free`, drop | yes | yes | yes: no lock, no loop but that of a compare-exchange; a drop wakes |
//! | `PollDesc::ready`, `evict`, `expire` by key | yes | yes | yes: they neither clone nor drop nor wake a waker |
//! | `Registration::wait`, `park` | one task per direction (INV-2); a second is refused | - | no: it clones a waker |
//! | `Registration::retract` | the task that parked | the one that drops its future | yes, if dropping its waker is |
//! | `Registration::set_deadline`, `arm_timer` | yes | yes | yes; `arm_timer` and `expire` under the timer wheel's lock |
//! | `GList::wake`, `Displaced::wake` | yes, with no lock held | yes | if waking is |
//!
//! A thread that is interrupted between taking a waker out and clearing BUSY keeps a task of higher priority from parking in
//! that direction: [`Wait::Again`] is what it sees until the thread goes on. Under strict priorities such a task
//! yields for a while instead of asking again at once.
//!
//! # Invariants
//!
//! Cited by number in every SAFETY comment and at the fences.
//!
//! - **INV-1** A block of descriptors is neither freed nor moved while a poller can name it.
//! - **INV-2** At most one task per direction is between arm and its end (commit, abort, or the end of a parking). `std-rt`
//!   keeps this by the direction's lock of [`poll::fd_mutex`]. A caller that breaks it gets refusals; no memory depends on it.
//! - **INV-3** The parker writes WAIT, fences, and then reads info and its deadline; the publisher writes info or the
//!   deadline, fences, and then reads rg and wg.
//! - **INV-4** The waker slot is touched only by the thread that set BUSY, until it clears BUSY with Release; BUSY is set only
//!   where it is not set, with Acquire.
//! - **INV-5** An event counts only if its key's fdseq is the descriptor's, and the check is the compare-exchange itself.
//! - **INV-6** A timer's firing counts only against the deadline that it finds in force.
//! - **INV-7** A descriptor's number is used only under a reference of its [`poll::fd_mutex`], and closed only by the thread that
//!   took the last one.
//! - **INV-8** A thread that puts work into a queue fences and then looks for sleepers; a worker that goes to sleep sets its
//!   idle bit, fences, and then looks at the queues.
//! - **INV-9** A task is put into one queue at a time and comes out exactly once; the thread that gets it out owns it.
//! - **INV-10** A prefetch is a hint: it reads nothing that the program could see, whatever the address.
//! - **INV-11** A task's memory is freed by the thread that its [`sched::task`] word tells so, once; any other thread that uses it
//!   has a reference, the handle, or the task out of a queue.
//! - **INV-12** A task's future and its value are touched by the thread that has the task out of a queue until it has
//!   completed, then by the handle; the join waker's slot by the thread that the table in [`sched::task`] names.
//!
//! # Reading order
//!
//! [`poll::sema`], [`poll::registration`], [`poll::desc`], [`poll::cache`]; then [`poll::info`], [`poll::deadline`],
//! [`poll::waiters`], [`poll::fd_mutex`], [`poll::short_read`]; the scheduler's state words [`sched::task`], [`sched::run_queue`], [`sched::idle`], [`sched::poller_lock`]
//! stand by themselves.
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | state word | one atomic integer that holds a whole state, so that a compare-exchange checks and changes it in one step |
//! | descriptor | an open file of the kernel, and the [`PollDesc`] that stands for it here |
//! | number | the integer that names an open file to the kernel (fd) |
//! | direction, side | reading or writing, each with a semaphore and a deadline of its own |
//! | slot | the place of a descriptor in a block; a *waker slot* is the cell that holds a parked task's waker |
//! | block, to donate | memory for a fixed number of descriptors, which the caller gives to the cache |
//! | generation, fdseq | how often a slot has been freed; it makes keys of former owners stale |
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
//! | to hand up | to return wakers to the caller, which wakes them with no lock held |
//! | break | a wakeup of the thread that is blocked in the poller |
//! | tick | a point in time in the caller's unit; opaque here |
//! | firing | a call of [`expire`](PollDesc::expire) because the descriptor's timer is due |
//! | runner | the thread that has a task out of its queue, and polls it |
//! | wake count | how often a task was woken before a poll; the poll answers that many |
//! | searcher | a worker without work that looks at other workers' queues |
//!
//! # Concordance
//!
//! Go is 1.27. A dash: the project has no such thing.
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
//! | [`poll::waiters::Waiters`] | `netpollWaiters` | - | - |
//! | [`poll::waiters::BreakFlag`] | `netpollWakeSig`, `netpollBreak` | mio's `Waker` | polling: `Poller::notify` |
//! | [`GList`] | `gList` | `WakeList` | - |
//! | [`poll::fd_mutex::FdMutex`] | `fdMutex` | - | - |
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
//! | [`sync::Flag`], [`sync::RelaxedUsize`], [`sync::CachePadded`] | `cpu.CacheLinePad` for the last | `MetricAtomicUsize` | crossbeam-utils: `AtomicCell`, `CachePadded` |

#![cfg_attr(not(netpoll_loom), no_std)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

pub mod poll;
pub mod sched;
pub mod sync;

pub use self::poll::cache::PollCache;
pub use self::poll::deadline::When;
pub use self::poll::desc::{Delivered, PollDesc, PollErr, Wait};
pub use self::poll::glist::GList;
pub use self::poll::key::{Event, EventFlags, Mode, Modes, PollKey};
pub use self::poll::registration::Registration;
