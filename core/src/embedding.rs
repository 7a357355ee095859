//! The manual for authors of runtimes: the loop of a worker, the translation of kernel events, the end of a descriptor, and
//! which call is allowed where. A page of documentation without code.
//!
//! `examples/src/bin/embed.rs` of the repository is a whole runtime in one file, with the steps of this page as comments.
//!
//! # The loop of a worker
//!
//! Some threads, the workers, run tasks. A worker without a task sleeps: one of them in the kernel's poller, the others parked
//! by a token of their own. The words are [`Idle`] (the workers that sleep), [`PollerLock`] (which of them polls, and until
//! when), [`BreakFlag`] (a break is on its way) and [`PollCache`] (the descriptors). The queues, the lock of the timer wheel,
//! the kernel and the tokens are the runtime's own; the wheel may be [`timer::Wheel`].
//!
//! | | step | call | guards against |
//! |---|---|---|---|
//! | 1 | announce | [`Idle::begin_park`] | a task that is queued while the worker falls asleep: from now on its thread sees the bit |
//! | 2 | look at the queues again | the runtime's | a task that was queued before step 1, whose thread saw no bit |
//! | 3 | take the poller | [`PollerLock::try_lock`] | two threads in the kernel. If another one polls, park until [`Idle::is_parked`] is false, then go to step 10 |
//! | 4 | publish until when | [`PollerLock::set_poll_until`] | a timer that is armed while the poller sleeps: from now on its thread sees until when, and sends a break |
//! | 5 | look at the timers again | the runtime's wheel | a timer that was armed before step 4. If the earliest has changed, repeat step 4 |
//! | 6 | look at the own bit again | [`Idle::is_parked`] | a thread that cleared the bit between 1 and 4, and sent no break because no thread was in the poller. If it is clear, poll without sleeping |
//! | 7 | poll | the kernel's wait | - |
//! | | after a break: drain it, then clear the flag | [`BreakFlag::clear`] | a flag that stays set suppresses the next break |
//! | | for each event | [`PollCache::get_any_generation`], [`PollDesc::ready`] | a late event: the state words compare the generation |
//! | | for each timer that is due | [`PollDesc::expire`], under the wheel's lock | a deadline that was moved meanwhile |
//! | 8 | unlock | [`PollerLock::clear_poll_until`], [`PollerLock::unlock`] | a worker that could poll meanwhile |
//! | 9 | wake the tasks of the list | [`GList::wake`], or [`GList::drain`] into a queue | foreign code under a lock |
//! | 10 | withdraw | [`Idle::cancel_park`] | a thread that clears the bit of a worker which is awake. False: another thread has cleared it, and this worker *searches* |
//! | 11 | take a task, then end the search | [`Idle::stop_searching`] | a task that was queued during the search and so woke no worker. True: it was the last searcher, and wakes a worker if a queue has another task |
//!
//! A thread that makes a task runnable has the other half of steps 1, 2 and 6:
//!
//! 1. It puts the task into a queue.
//! 2. [`Idle::worker_to_notify`] clears the bit of a worker that sleeps, and names it. `None`: all are awake, or one of them
//!    searches for work, and will find it.
//!    A worker that is parked wakes up faster than the one in the kernel, which [`PollerLock::polling_worker`] names.
//! 3. If [`PollerLock::is_parked_in_poller`] says that this worker is in the kernel, it sends a break: [`BreakFlag::set`], and
//!    if that returns true, a write to the kernel's break descriptor. Otherwise it unparks the worker.
//!
//! A thread that sets a deadline has the other half of steps 4 and 5:
//!
//! 1. [`Registration::set_deadline`]. If it returns a tick, the thread locks the wheel, calls [`Registration::arm_timer`], and if
//!    that returns the tick of the entry that it replaces, moves the descriptor's entry.
//! 2. It unlocks the wheel. If [`PollerLock::needs_wakeup`] returns true for the tick, it sends a break.
//!
//! A runtime with one thread needs neither [`Idle`] nor [`PollerLock`], unless other threads set deadlines. If other threads wake
//! its tasks, [`BreakFlag`] alone is enough: each of them puts the task into a queue and then sends a break, also while the
//! thread is awake. A task that wakes another on the thread itself only puts it into the queue, at which step 2 looks. The steps
//! that are left are 2, 7 and 9. A break that comes after step 2 ends step 7 at once, and after the
//! flag is cleared the thread looks at the queue again.
//!
//! A wheel names an entry by an id of its own, such as [`TimerId`](crate::timer::TimerId). The runtime keeps one for each slot
//! under the lock of the wheel, with the key as the entry's payload: [`Registration::arm_timer`] says whether to insert or to
//! move an entry, a firing forgets its id before [`PollDesc::expire`], and inserts an entry again for the tick that this
//! returns.
//!
//! A tick of 0 or 1 stands for 2 ([`When`](crate::When)), so a clock that begins at 0 makes its first deadlines late by as much.
//!
//! # An operation of a task
//!
//! The other side of the loop is a call that may find nothing, such as read(2). A future makes it in this order:
//!
//! | | step | call | guards against |
//! |---|---|---|---|
//! | 1 | forget an older event | [`Registration::reset`] | a wait in vain. Its error ends the operation: the deadline has passed, or the descriptor is closing |
//! | 2 | make the call | the kernel's | - |
//! | 3 | if it found nothing, wait | [`Registration::wait`], at every poll of the task | an event after step 1: it is still there, and the wait returns [`Wait::Ready`] |
//! | | `Ready` | | go to step 1 |
//! | | [`Wait::Parked`] | | return `Poll::Pending`, and wait again at the next poll |
//! | | [`Wait::Again`] | | wake the own waker, and return `Poll::Pending` |
//! | | [`Wait::Failed`] | | return the error |
//! | 4 | if the future is dropped while parked | [`Registration::retract`] | a waker in the slot of a task that no longer waits. |
//!
//! To make the call first and forget the event after it loses the event that came in between. The second value of `wait` is
//! dropped, which wakes the task of a parking that was taken over; a task that polls its own parking again discards it if it is
//! parked again, and so does not wake itself.
//!
//! # From the kernel's bits to an event
//!
//! A descriptor is registered once, edge-triggered and for both directions, with [`PollKey::to_bits`] of
//! [`Registration::key`] as the kernel's user data. The bits of an event become the [`Modes`] that it makes ready, and the
//! [`EventFlags`] that tell of the peer. [`translate`] has a function for each kernel, with this table in full:
//!
//! | epoll | poll(2) | kqueue | read | write | flag |
//! |---|---|---|---|---|---|
//! | `EPOLLIN` | `POLLIN` | `EVFILT_READ` | ready | | |
//! | `EPOLLOUT` | `POLLOUT` | `EVFILT_WRITE` | | ready | |
//! | `EPOLLRDHUP` | `POLLRDHUP` | `EVFILT_READ`, `EV_EOF` | ready | kqueue: ready | `read_hup` |
//! | `EPOLLHUP` | `POLLHUP` | `EVFILT_WRITE`, `EV_EOF` | ready, not kqueue | ready | `hup` |
//! | `EPOLLERR` | `POLLERR`, `POLLNVAL` | `EV_ERROR` | ready; kqueue: the filter's | ready; kqueue: the filter's | `err` |
//! | `EPOLLERR` alone | `POLLERR`, if `POLLIN` was asked for, and at most `POLLOUT` beside it | `EV_ERROR` alone | as above | as above | `err`, `event_err` |
//! | `EPOLLPRI` | `POLLPRI` | - | ready if the descriptor is watched for that alone | | `urgent` |
//!
//! Every bit that says that a call would not block makes its direction ready, an error and an end included: the task makes
//! the call and finds out. A bit that is missing loses a wakeup; one too many costs a call in vain. An interrupt handler of a
//! device reports the device's events: a byte received is `Modes::READ` without flags.
//!
//! A level-triggered source is asked for one event of a direction after [`Registration::wait`] has returned
//! [`Wait::Parked`], never before: an event in between is still there when the kernel looks.
//!
//! poll(2) gets all numbers with each call, and returns no user data. The runtime keeps number and key of each descriptor at the
//! index of its slot, and makes the list before each call from the directions in which [`PollDesc::is_parked`] returns true. A
//! descriptor without such a direction is left out: the kernel would report an end of it at once, again and again. A task that
//! parks while another thread sleeps in poll(2) sends a break, so that the thread asks with a new list. An entry of a number that
//! was closed meanwhile does no harm, because its key is stale by then.
//!
//! # The end of a descriptor
//!
//! | | step | why in this order |
//! |---|---|---|
//! | 1 | [`Registration::evict`], and wake the list that it returns | waits fail from now on, so none begins that no event will end |
//! | 2 | take the timer's entry out of the wheel, under its lock | a firing after step 4 would be the next owner's. After step 1 `arm_timer` refuses, so no other entry follows |
//! | 3 | remove the descriptor from the kernel's poller, then close its number | the kernel reports nothing new for this key. Closed first, the number may be another descriptor's by the time it is removed |
//! | 4 | [`Registration::free`], and wake the list that it returns | the slot goes to its next owner with the next generation; an event that was copied out of the kernel before step 3 is stale |
//!
//! Another thread that closes what a task waits on does step 1 alone. The owner does the others when no call on the number is in
//! progress; [`FdMutex`] counts them. Dropping a [`Registration`] is step 4 with the wakes.
//!
//! # Where each call is allowed
//!
//! *Any* is every thread and task. An interrupt handler may make a call of the last column even if it has interrupted any call of
//! this crate, the same one included. None of those takes a lock, and each loops only while another thread's change succeeds.
//!
//! | call | a task, or any thread | an interrupt handler |
//! |---|---|---|
//! | [`PollCache::donate`], `alloc`, `get`, `iter`; [`Registration::free`] | any | yes |
//! | drop of a [`Registration`], [`PollCache::end`] | any; they wake | if waking is allowed there |
//! | [`PollDesc::ready`], `evict`, `end`, `unpark`, `info`, `is_parked` | any | yes: no waker is cloned, dropped or woken |
//! | [`Registration::arm_timer`], [`PollDesc::expire`] | any, under the lock of the wheel | if it may take that lock |
//! | [`Registration::set_deadline`], `postpone`, `evict` | any | yes |
//! | [`Registration::reset`], `wait`, `park` | one task in each direction (INV-2) | `reset` only: the others clone a waker |
//! | [`Registration::retract`] | the task that parked, or the thread that drops it | yes; the caller drops the waker |
//! | [`GList::wake`], [`Displaced::wake`](crate::poll::sema::Displaced::wake) | any, with no lock held | if waking is |
//! | [`BreakFlag`], [`Flag`](crate::sync::Flag), [`Counter`](crate::sync::Counter) | any | yes |
//! | [`ShortReadHint`](crate::poll::short_read::ShortReadHint) | the task that has the read lock | no |
//! | [`FdMutex`] without a list | any | yes |
//! | [`FdMutex`] with a [`WaitList`](crate::poll::fd_mutex::WaitList) | any, under the lock of the list | if it may take that lock |
//! | [`Runq::put`], `put_next`, `get`, `room` | its owner | no: it may have interrupted the owner |
//! | [`Runq::steal_into`], `take_half`, `get_next`, `len` | any; `steal_into` for the owner of the other queue | `len` only |
//! | [`Idle::begin_park`], `cancel_park`, `start_searching`, [`Idle::stop_searching`] | the worker | no |
//! | [`Idle::worker_to_notify`], `pop_idle`, `is_parked` | any | yes |
//! | [`PollerLock::try_lock`] | any | no: it could not poll |
//! | [`PollerLock::set_poll_until`], `clear_poll_until`, `unlock` | the owner | no |
//! | [`PollerLock::needs_wakeup`], `is_parked_in_poller`, `is_locked`, [`PollerLock::polling_worker`] | any | yes |
//! | [`TaskState::wake`](crate::sched::task::TaskState::wake), `cancel`, `add_ref`, `drop_ref` | any, with a reference | yes; it must be able to queue the task |
//! | [`TaskState::start_poll`](crate::sched::task::TaskState::start_poll), `finish_poll`, `complete` | the runner | no |
//!
//! # Under strict priorities
//!
//! A thread that takes a waker out of a slot owns the slot for a few instructions, until it clears BUSY. If a task of higher
//! priority preempts it there and waits in the same direction, that task gets [`Wait::Again`], at each attempt until the
//! thread goes on. Under a scheduler with strict priorities the thread never does while the task asks again at once.
//!
//! So such a task blocks for a tick on [`Wait::Again`], or deliveries run where no task can preempt them: in an interrupt handler, or
//! with a ceiling as high as the priority of every task that waits. On a single core with deliveries in interrupt handlers only,
//! `Again` does not occur between a delivery and a task: the handler has finished before the task goes on.
//!
//! [`translate`]: crate::poll::translate
//! [`timer::Wheel`]: crate::timer::Wheel
//! [`Idle`]: crate::sched::idle::Idle
//! [`Idle::begin_park`]: crate::sched::idle::Idle::begin_park
//! [`Idle::cancel_park`]: crate::sched::idle::Idle::cancel_park
//! [`Idle::stop_searching`]: crate::sched::idle::Idle::stop_searching
//! [`PollerLock::polling_worker`]: crate::sched::poller_lock::PollerLock::polling_worker
//! [`Idle::is_parked`]: crate::sched::idle::Idle::is_parked
//! [`Idle::worker_to_notify`]: crate::sched::idle::Idle::worker_to_notify
//! [`PollerLock`]: crate::sched::poller_lock::PollerLock
//! [`PollerLock::try_lock`]: crate::sched::poller_lock::PollerLock::try_lock
//! [`PollerLock::unlock`]: crate::sched::poller_lock::PollerLock::unlock
//! [`PollerLock::set_poll_until`]: crate::sched::poller_lock::PollerLock::set_poll_until
//! [`PollerLock::clear_poll_until`]: crate::sched::poller_lock::PollerLock::clear_poll_until
//! [`PollerLock::is_parked_in_poller`]: crate::sched::poller_lock::PollerLock::is_parked_in_poller
//! [`PollerLock::needs_wakeup`]: crate::sched::poller_lock::PollerLock::needs_wakeup
//! [`BreakFlag`]: crate::poll::break_flag::BreakFlag
//! [`BreakFlag::set`]: crate::poll::break_flag::BreakFlag::set
//! [`BreakFlag::clear`]: crate::poll::break_flag::BreakFlag::clear
//! [`FdMutex`]: crate::poll::fd_mutex::FdMutex
//! [`Runq::put`]: crate::sched::run_queue::Runq::put
//! [`Runq::steal_into`]: crate::sched::run_queue::Runq::steal_into
//! [`GList::drain`]: crate::GList::drain
//! [`PollCache`]: crate::PollCache
//! [`PollCache::donate`]: crate::PollCache::donate
//! [`PollCache::end`]: crate::PollCache::end
//! [`PollCache::get_any_generation`]: crate::PollCache::get_any_generation
//! [`PollDesc::ready`]: crate::PollDesc::ready
//! [`PollDesc::is_parked`]: crate::PollDesc::is_parked
//! [`PollDesc::expire`]: crate::PollDesc::expire
//! [`GList::wake`]: crate::GList::wake
//! [`PollKey::to_bits`]: crate::PollKey::to_bits
//! [`Modes`]: crate::Modes
//! [`EventFlags`]: crate::EventFlags
//! [`Registration`]: crate::Registration
//! [`Registration::key`]: crate::Registration::key
//! [`Registration::reset`]: crate::Registration::reset
//! [`Registration::wait`]: crate::Registration::wait
//! [`Registration::retract`]: crate::Registration::retract
//! [`Registration::set_deadline`]: crate::Registration::set_deadline
//! [`Registration::arm_timer`]: crate::Registration::arm_timer
//! [`Registration::evict`]: crate::Registration::evict
//! [`Registration::free`]: crate::Registration::free
//! [`Wait::Parked`]: crate::Wait::Parked
//! [`Wait::Again`]: crate::Wait::Again
//! [`Wait::Failed`]: crate::Wait::Failed
//! [`Wait::Ready`]: crate::Wait::Ready
