//! # The words of a network poller
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
//!                                     └────────────────────────┘      and only then is anybody woken
//!   woken: rg READY → NIL, read(2) again
//! ```
//!
//! # How a wakeup cannot be lost
//!
//! 1. **An event and a waiter meet on one word**, [`sema`]: whatever the interleaving, each is a read-modify-write of
//!    `rg`, so one is first. If it is the event, the waiter finds READY; if it is the waiter, the event finds WAIT or
//!    PARKED.
//! 2. **A close or a deadline and a waiter meet on two words**: each writes one and looks at the other. That needs a
//!    fence on both sides, [`poll_desc`].
//! 3. **An event that is late** meets another generation in the very word that it would change, [`poll_key`].
//! 4. **A task that changes its mind** (a future is dropped) takes its waker back and leaves a readiness for the next,
//!    [`sema::Sema::retract`].
//! 5. **A waker that comes out of a slot goes up, or is the task's own.** A parking that is taken over stands for a task that
//!    is asleep; however the call of the second task ends, it hands the first one's waker up ([`sema::Displaced`]).
//!
//! # What safe code can do
//!
//! Nothing here reaches undefined behaviour, gives a slot two owners, corrupts the free list or drops a sleeping task's waker
//! unasked, whatever is called in whatever order from any number of threads. A slot's owner is a
//! [`registration::Registration`], which cannot be copied; the waker slot belongs to the thread that set BUSY; a key that is
//! stale finds another generation in the word that it would change. What a caller can still do to itself: wake a task too
//! early, drop wakers that were handed up, leak a registration (its slot stays in use) or an [`sema::Armed`] (its direction
//! stays busy), lower a count that it did not raise.
//!
//! # Who may call what from where
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
//! that direction: [`poll_desc::Wait::Again`] is what it sees until the thread goes on. Under strict priorities such a task
//! yields for a while instead of asking again at once.
//!
//! # Invariants
//!
//! Cited by number in every SAFETY comment and at the fences.
//!
//! - **INV-1** A block of descriptors is neither freed nor moved while a poller can name it.
//! - **INV-2** At most one task per direction is between arm and its end (commit, abort, or the end of a parking). `std-rt`
//!   keeps this by the direction's lock of [`fd_mutex`]. A caller that breaks it gets refusals; no memory depends on it.
//! - **INV-3** The parker writes WAIT, fences, and then reads info and its deadline; the publisher writes info or the
//!   deadline, fences, and then reads rg and wg.
//! - **INV-4** The waker slot is touched only by the thread that set BUSY, until it clears BUSY with Release; BUSY is set only
//!   where it is not set, with Acquire.
//! - **INV-5** An event counts only if its key's fdseq is the descriptor's, and the check is the compare-exchange itself.
//! - **INV-6** A timer's firing counts only against the deadline that it finds in force.
//! - **INV-7** A descriptor's number is used only under a reference of its [`fd_mutex`], and closed only by who took the
//!   last one.
//! - **INV-8** Who puts work into a queue fences and then looks for sleepers; who goes to sleep announces it, fences, and
//!   then looks at the queues.
//! - **INV-9** A task's word is put into one queue at a time and comes out exactly once; whoever gets it out owns it.
//! - **INV-10** A prefetch is a hint: it reads nothing that the program could see, whatever the address.
//! - **INV-11** A task's memory is freed by whom its [`task`] word tells so, once; whoever else uses it has a reference,
//!   the handle, or the task out of a queue.
//! - **INV-12** A task's future and its value are touched by who has the task out of a queue until it has finished, then by
//!   the handle; the joiner's slot by whom the table in [`task`] says.
//!
//! # Reading order
//!
//! [`sema`], [`registration`], [`poll_desc`], [`poll_deadline`], [`poll_cache`]; then [`poll_info`], [`deadline`], [`waiters`], [`fd_mutex`],
//! [`drained`]; the scheduler's words [`task`], [`runq`], [`idle`], [`turn`] stand by themselves.
//!
//! # Concordance with Go 1.27
//!
//! | Go | here |
//! |---|---|
//! | `pollDesc` | [`poll_desc::PollDesc`] |
//! | `rg`, `wg`; `pdNil`, `pdReady`, `pdWait`, a g | [`sema::Sema`]; NIL, READY, WAIT, PARKED |
//! | `netpollblock`, `netpollblockcommit` | [`sema::Sema::arm`], [`sema::Armed::commit`] |
//! | `netpollunblock` | [`sema::Sema::unblock`] |
//! | `netpollready` | [`poll_desc::PollDesc::ready`] |
//! | `poll_runtime_pollReset`, `pollWait` | [`registration::Registration::reset`], [`wait`](registration::Registration::wait) |
//! | `poll_runtime_pollSetDeadline`, `netpolldeadlineimpl` | [`registration::Registration::set_deadline`], [`poll_desc::PollDesc::expire`] |
//! | `poll_runtime_pollUnblock` | [`poll_desc::PollDesc::evict`] |
//! | `atomicInfo`, `publishInfo`, `setEventErr` | [`poll_info::AtomicInfo`], its `publish_closing`, `set_event` |
//! | `rseq`, `wseq`, `pollExpiredReadDeadline` | not needed: [`deadline::Deadline`] |
//! | `netpollcheckerr` | [`poll_desc::PollDesc::check_err`] |
//! | `fdseq`, `netpollPackData` | [`poll_key::PollKey`] |
//! | `pollCache`, `persistentalloc` | [`poll_cache::PollCache`], [`poll_cache::PollCache::donate`] |
//! | `netpollWaiters`, `netpollWakeSig` | [`waiters::Waiters`], [`waiters::BreakFlag`] |
//! | `fdMutex` | [`fd_mutex::FdMutex`] |
//! | `gList` | [`glist::GList`] |
//! | `runqput`, `runqget`, `runqsteal`, `runnext` | [`runq::Runq`] |
//! | `casgstatus`, `goready` | [`task::TaskState`] |
//! | idle Ps, `nmspinning` | [`idle::Idle`] |
//! | `lastpoll`, `pollUntil`, `pollingNet` | [`poller_lock::PollerLock`] |

#![cfg_attr(not(netpoll_loom), no_std)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

pub mod counter;
pub mod deadline;
#[cfg(target_has_atomic = "64")]
pub mod fd_mutex;
mod free_list;
pub mod glist;
pub mod idle;
pub mod poll_cache;
pub mod poll_deadline;
pub mod poll_desc;
pub mod poll_info;
pub mod poll_key;
pub mod poller_lock;
pub mod registration;
pub mod runq;
pub mod sema;
pub mod short_read_hint;
pub mod sync;
pub mod task;
pub mod waiters;
