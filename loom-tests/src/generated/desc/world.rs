//! The surroundings of a descriptor: a cache of one slot, the tasks, the timer wheel, the kernel.

use std::sync::{Arc, Mutex};
use std::task::Waker;

use netpoll_core::sync::{AtomicUsize, Ordering};
use netpoll_core::{Event, EventFlags, GList, Mode, Modes, PollDesc, PollErr, PollKey, Wait, When};

use super::Op;
use crate::generated::pool::{self, Pool};
use crate::generated::tasks::{Phase, Task, locked};
use crate::generated::word::Plan;
use crate::models::support::Plain;

/// The deadline of `start: due`, and the tick at which the timer fires.
pub const DUE: usize = 5;
/// A tick after that one.
pub const LATER: usize = 9;

/// The key of the first owner.
pub const FIRST: PollKey = PollKey { slot: 0, fdseq: 0 };

type Owner = pool::Owner<1, 1>;

/// The owner of the slot after the first, with its task.
pub struct Heir {
    pub owner: Arc<Owner>,
    pub task: Task,
}

/// The state that the threads share.
pub struct World {
    /// The first owner, until it frees the slot.
    pub owner: Mutex<Option<Arc<Owner>>>,
    pub heirs: Mutex<Vec<Heir>>,
    pub pool: Arc<Pool<1, 1>>,
    /// The number of times the slot was allocated.
    given: Mutex<usize>,
    /// The lock of the read direction, true while the waiting task is pending under it.
    pub lock: loom::sync::Mutex<bool>,
    pub poller: Task,
    pub rival: Task,
    pub waiter: Task,
    pub writer: Task,
    /// The task that reads and never waits.
    pub looker: Task,
    /// The number of messages so far. Its read-modify-writes order nothing but themselves.
    arrived: AtomicUsize,
    /// The entry of the descriptor's timer.
    pub wheel: loom::sync::Mutex<Option<usize>>,
    /// Written before the first event, read after a readiness. `None` if a readiness may be another event's.
    before_event: Option<Plain<usize>>,
    /// Written before the close, read after a refusal.
    before_close: Option<Plain<usize>>,
    flaw: Option<&'static str>,
}

impl World {
    pub fn new(plan: &Plan<Op>) -> Self {
        let pool = Pool::new();
        pool.donate();
        let threads_with = |op| plan.threads.iter().filter(|ops| ops.contains(&op)).count();
        let one_event = threads_with(Op::Event) == 1 && plan.start != "ready";
        let closes = plan.ops().filter(|op| matches!(op, Op::Evict | Op::Free)).count();
        let world = Self {
            owner: Mutex::new(None),
            heirs: Mutex::default(),
            pool,
            given: Mutex::new(0),
            lock: loom::sync::Mutex::new(false),
            poller: Task::new("the polling task"),
            rival: Task::new("the rival"),
            waiter: Task::new("the waiting task"),
            writer: Task::new("the writer"),
            looker: Task::new("the looker"),
            arrived: AtomicUsize::new(0),
            wheel: loom::sync::Mutex::new(None),
            before_event: one_event.then(|| Plain::new(0)),
            before_close: (closes == 1).then(|| Plain::new(0)),
            flaw: plan.flaw,
        };
        let owner = world.alloc().expect("model: a fresh slot is free");
        assert!(owner.key() == FIRST, "model: a fresh block begins at generation 0");
        *locked(&world.owner) = Some(Arc::new(owner));
        world.start(plan.start);
        world
    }

    fn start(&self, start: &str) {
        match start {
            "idle" => {}
            "ready" => {
                self.event();
                for task in self.tasks() {
                    task.sees(1);
                }
            }
            "parked" => self.step(Op::Poll),
            "waiting" => self.step(Op::Wait),
            "due" => {
                self.step(Op::Poll);
                self.set_deadline(When::At(DUE));
            }
            _ => unreachable!("`STARTS` has no {start}"),
        }
    }

    fn flawed(&self, flaw: &str) -> bool {
        self.flaw == Some(flaw)
    }

    /// Returns the tasks of the first owner.
    pub fn tasks(&self) -> [&Task; 4] {
        [&self.poller, &self.rival, &self.waiter, &self.writer]
    }

    pub fn messages(&self) -> usize {
        self.arrived.fetch_add(0, Ordering::Relaxed)
    }

    pub fn step(&self, op: Op) {
        match op {
            Op::Poll => self.poll_alone(&self.poller, 0),
            Op::PollOther => self.poll_alone(&self.poller, 1),
            Op::Rival => self.poll(&self.owner(), &self.rival, 0, Mode::Read),
            Op::Wait => self.wait(),
            Op::Retract => self.retract(),
            Op::Reset => self.reset(),
            Op::Write => self.poll(&self.owner(), &self.writer, 0, Mode::Write),
            Op::Event => self.event(),
            Op::Stale => self.stale(),
            Op::Evict => self.evict(),
            Op::Past => self.set_deadline(When::Expired),
            Op::Later => self.set_deadline(When::At(LATER)),
            Op::Never => self.set_deadline(When::Never),
            Op::Postpone => drop(self.owner().postpone(Modes::BOTH, LATER)),
            Op::Expire => self.expire(),
            Op::Free => self.free(),
            Op::Reuse => self.reuse(),
        }
    }

    /// Returns the slot's descriptor, of any owner.
    pub fn desc(&self) -> &PollDesc {
        self.pool.cache().get_any_generation(FIRST).expect("model: the block has one slot")
    }

    /// Returns the first owner, which is not freed while it is borrowed.
    fn owner(&self) -> Arc<Owner> {
        locked(&self.owner).clone().expect("model: the owner has freed its slot")
    }

    /// Polls under the direction's lock. Does nothing if the lock is held: the models of the lock cover its
    /// queue.
    fn poll_alone(&self, task: &Task, source: usize) {
        let held = self.lock.lock().expect("no model panics under the lock");
        if !*held {
            self.poll(&self.owner(), task, source, Mode::Read);
        }
    }

    fn wait(&self) {
        let mut held = self.lock.lock().expect("no model panics under the lock");
        self.poll(&self.owner(), &self.waiter, 0, Mode::Read);
        *held = self.waiter.is_pending();
    }

    fn retract(&self) {
        let mut held = self.lock.lock().expect("no model panics under the lock");
        if *held {
            self.replaced(&self.waiter, self.owner().retract(Mode::Read));
            self.waiter.set(Phase::Done);
            *held = false;
        }
    }

    fn reset(&self) {
        let held = self.lock.lock().expect("no model panics under the lock");
        if *held {
            return;
        }
        if self.owner().reset(Mode::Read) == Ok(true) {
            self.sees_event();
        }
        self.looker.sees(self.messages());
    }

    /// Wakes the task of a waker that came out, unless it is the given task's own.
    fn replaced(&self, task: &Task, waker: Option<Waker>) {
        if let Some(other) = waker.filter(|it| !task.owns(it) && !self.flawed("drops the displaced")) {
            other.wake();
        }
    }

    /// Reads a message as every operation does: resets, tries, waits, starts over.
    fn poll(&self, owner: &Owner, task: &Task, source: usize, mode: Mode) {
        let waker = task.waker(source);
        let wakes = task.wakes();
        let phase = loop {
            match owner.reset(mode) {
                Err(error) => break self.failed(error),
                Ok(true) => self.sees_event(),
                Ok(false) => {}
            }
            if task.sees(self.messages()) {
                break Phase::Done;
            }
            let (wait, displaced) = owner.wait(mode, &waker);
            self.replaced(task, displaced.into_waker());
            match wait {
                Wait::Parked => break Phase::Parked(wakes),
                Wait::Ready => self.sees_event(),
                Wait::Again => break Phase::Runnable,
                Wait::Failed(error) => break self.failed(error),
            }
        };
        task.set(phase);
    }

    fn failed(&self, error: PollErr) -> Phase {
        match error {
            // Without a lock two tasks may wait at once; the one that is refused polls again.
            PollErr::DoubleWait => return Phase::Runnable,
            PollErr::Closing => drop(self.before_close.as_ref().map(Plain::get)),
            PollErr::Timeout => {}
            // No operation of these combinations ends the poller; the models in `end` do.
            PollErr::Ended => unreachable!("no combination ends the poller"),
        }
        Phase::Done
    }

    fn sees_event(&self) {
        if let Some(before) = &self.before_event {
            assert!(before.get() == 1, "model: a readiness without its event");
        }
    }

    fn event(&self) {
        let first = self.arrived.fetch_add(1, Ordering::Relaxed) == 0;
        let write = || self.before_event.iter().filter(|_| first).for_each(|cell| cell.set(1));
        if !self.flawed("writes after the event") {
            write();
        }
        self.ready(FIRST);
        if self.flawed("writes after the event") {
            write();
        }
    }

    fn stale(&self) {
        self.ready(PollKey { fdseq: 3, ..FIRST });
    }

    fn ready(&self, key: PollKey) {
        let mut list = GList::<2>::new();
        let flags = EventFlags { read_hup: true, ..EventFlags::default() };
        let event = Event { key, modes: Modes::BOTH, flags };
        let _stale_or_not = self.desc().ready(event, &mut list);
        self.hand_up(list);
    }

    fn evict(&self) {
        self.before_close.iter().for_each(|cell| cell.set(1));
        self.hand_up(self.desc().evict(FIRST.fdseq));
    }

    fn set_deadline(&self, when: When) {
        let owner = self.owner();
        if let Ok((list, at)) = owner.set_deadline(Modes::BOTH, when) {
            if let Some(at) = at {
                let mut entry = self.wheel.lock().expect("no model panics in the wheel");
                if owner.arm_timer(at).is_some() {
                    *entry = Some(at);
                }
            }
            self.hand_up(list);
        }
    }

    fn expire(&self) {
        let mut list = GList::new();
        let mut entry = self.wheel.lock().expect("no model panics in the wheel");
        if entry.is_some_and(|at| at <= DUE) {
            (list, *entry) = self.desc().expire(DUE);
        }
        drop(entry);
        self.hand_up(list);
    }

    /// Wakes the tasks of a list, as the scheduler does.
    fn hand_up(&self, list: GList<2>) {
        if !self.flawed("wakes no task") {
            list.wake();
        }
    }

    pub fn alloc(&self) -> Option<Owner> {
        let owner = self.pool.alloc()?;
        *locked(&self.given) += 1;
        let (fdseq, given) = (owner.key().fdseq as usize, *locked(&self.given));
        assert!(fdseq + 1 == given, "model: generation {fdseq} was allocated as number {given}");
        Some(owner)
    }

    fn free(&self) {
        // Its timer is out of the wheel by then.
        *self.wheel.lock().expect("no model panics in the wheel") = None;
        let owner = locked(&self.owner).take().and_then(Arc::into_inner);
        let owner = owner.expect("model: the registration is not borrowed");
        self.hand_up(owner.free());
    }

    fn reuse(&self) {
        let Some(owner) = self.alloc() else { return };
        let heir = Heir { owner: Arc::new(owner), task: Task::new("the next owner's task") };
        heir.poll();
        locked(&self.heirs).push(heir);
    }
}

impl Heir {
    /// Polls the next owner's task once. It has no message, and only its own free ends its wait.
    pub fn poll(&self) {
        let waker = self.task.waker(0);
        let (wait, displaced) = self.owner.wait(Mode::Read, &waker);
        assert!(
            displaced.into_waker().is_none_or(|waker| self.task.owns(&waker)),
            "model: a parking of the last owner is left"
        );
        self.task.set(match wait {
            Wait::Parked => Phase::Parked(0),
            // An unblock of the last owner's generation still owns the slot.
            Wait::Again => Phase::Runnable,
            Wait::Ready | Wait::Failed(_) => {
                panic!("model: {wait:?}: the last owner has left a readiness or a refusal")
            }
        });
    }
}
