//! A runtime of one's own on netpoll-core, with no operating system beneath it: the kernel is a queue into which events
//! are pushed by hand, the clock is a number, a task is a future with a bit.
//!
//! What the core asks of a runtime, in the order of this file: memory for descriptors ([`World::new`]), somebody who
//! delivers events ([`World::poll`]) and time ([`World::expire`]), a place for the tasks that come up
//! ([`World::wake`]), and one task at a time per descriptor and direction (INV-2: a [`Source`] is awaited by one).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};

use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait, When,
};

struct World {
    cache: PollCache<1>,
    /// What a real kernel would hand back from its wait.
    kernel: RefCell<VecDeque<Event>>,
    /// At which tick whose timer fires.
    timers: RefCell<Vec<(usize, PollKey)>>,
}

impl World {
    fn new() -> Self {
        let cache = PollCache::new();
        let donated = cache.donate_static(Box::leak(Box::default()));
        assert!(donated.is_ok(), "a cache of one block takes one block");
        let (kernel, timers) = Default::default();
        Self { cache, kernel, timers }
    }

    /// Wakes what came up: the tasks are runnable first, and no longer waiters then.
    fn wake<const N: usize>(&self, list: GList<N>) -> usize {
        let woken = list.wake();
        self.cache.waiters().sub(woken);
        woken
    }

    /// Delivers every event that is there. The list has room: it takes more wakers than there are tasks.
    fn poll(&self) {
        let mut list = GList::<64>::new();
        for event in self.kernel.borrow_mut().drain(..) {
            let desc = self.cache.get(event.key);
            let delivered = desc.map_or(Delivered::Stale, |desc| desc.ready(event, &mut list));
            println!("  event for slot {}: {delivered:?}", event.key.slot);
        }
        self.wake(list);
    }

    /// Moves the clock; what is due expires, and what was moved later is armed again.
    fn expire(&self, now: usize) {
        let mut fired = Vec::new();
        self.timers.borrow_mut().retain_mut(|(at, key)| {
            if !When::At(*at).is_due(now) {
                return true;
            }
            let Some(desc) = self.cache.get(*key) else { return false };
            let (list, next) = desc.expire(now);
            println!("  timer of slot {} at tick {now}: {} woken, next {next:?}", key.slot, list.len());
            fired.push(list);
            *at = next.unwrap_or(*at);
            next.is_some()
        });
        for list in fired {
            self.wake(list);
        }
    }
}

/// A descriptor. Dropped, its slot goes to the next generation.
struct Source<'w> {
    world: &'w World,
    registration: Registration<'w>,
}

impl<'w> Source<'w> {
    fn open(world: &'w World) -> Result<Self, &'static str> {
        let registration = world.cache.alloc().ok_or("all descriptors are in use: donate another block")?;
        Ok(Self { world, registration })
    }

    /// Waits, as a read that found nothing. This program drops no waiting task; one that does calls `retract`.
    async fn readable(&self) -> Result<(), PollErr> {
        poll_fn(|cx| {
            let (wait, displaced) = self.registration.wait(Mode::Read, cx.waker());
            displaced.wake();
            match wait {
                Wait::Ready => return Poll::Ready(Ok(())),
                Wait::Failed(refused) => return Poll::Ready(Err(refused)),
                Wait::Again => cx.waker().wake_by_ref(),
                Wait::Parked => {}
            }
            Poll::Pending
        })
        .await
    }

    fn set_deadline(&self, at: usize) -> Result<(), PollErr> {
        let (list, arm) = self.registration.set_deadline(Modes::READ, When::At(at))?;
        self.world.wake(list);
        if let Some(at) = arm.filter(|at| self.registration.arm_timer(*at)) {
            self.disarm();
            self.world.timers.borrow_mut().push((at, self.registration.key()));
        }
        Ok(())
    }

    fn disarm(&self) {
        self.world.timers.borrow_mut().retain(|(_, key)| *key != self.registration.key());
    }

    fn event(&self) -> Event {
        Event { key: self.registration.key(), modes: Modes::READ, flags: EventFlags::default() }
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.disarm();
    }
}

type Task<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

/// A task's number and the run queue into which it goes.
struct TaskWaker(usize, Sender<usize>);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // The queue is gone only when the program ends.
        let _ = self.1.send(self.0);
    }
}

/// Runs tasks until none is runnable.
fn run(tasks: &mut [Task<'_>], put: &Sender<usize>, queue: &Receiver<usize>) {
    for i in queue.try_iter() {
        let waker = Waker::from(Arc::new(TaskWaker(i, put.clone())));
        // A task that has ended has its waker in no slot and is not woken again.
        let _: Poll<()> = tasks[i].as_mut().poll(&mut Context::from_waker(&waker));
    }
}

fn wait<'w>(name: &'static str, source: &Rc<Source<'w>>) -> Task<'w> {
    let source = source.clone();
    Box::pin(async move { println!("  {name}: {:?}", source.readable().await) })
}

fn main() -> Result<(), &'static str> {
    let world = World::new();
    let open = || Source::open(&world).map(Rc::new);
    let (line, slow, closed) = (open()?, open()?, open()?);
    let mut tasks = [wait("line", &line), wait("slow", &slow), wait("closed", &closed)];
    let (put, queue) = mpsc::channel();
    (0..tasks.len()).try_for_each(|i| put.send(i)).map_err(|_| "the run queue is gone")?;
    slow.set_deadline(120).map_err(|_| "a new descriptor takes a deadline")?;
    run(&mut tasks, &put, &queue);
    println!("three tasks wait; waiters {}", world.cache.waiters().get());

    world.kernel.borrow_mut().push_back(line.event());
    world.poll();
    run(&mut tasks, &put, &queue);
    slow.set_deadline(150).map_err(|_| "an open descriptor takes another deadline")?;
    for now in [120, 150] {
        world.expire(now);
        run(&mut tasks, &put, &queue);
    }
    world.wake(closed.registration.evict()); // a close
    run(&mut tasks, &put, &queue);
    println!("none waits; waiters {}", world.cache.waiters().get());

    let late = closed.event();
    drop((tasks, closed));
    let reused = Source::open(&world)?;
    println!(
        "slot {} is free and used again: {:?} was, {:?} is",
        late.key.slot,
        late.key,
        reused.registration.key()
    );
    world.kernel.borrow_mut().push_back(late);
    world.poll();
    if world.cache.waiters().get() == 0 { Ok(()) } else { Err("somebody waits for ever") }
}
