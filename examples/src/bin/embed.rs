//! A runtime on netpoll-core without an operating system: the kernel is an event given by hand, the clock is a number.
//!
//! A runtime gives the core memory for descriptors, delivers events and time to them, and runs the tasks that these wake. At
//! most one task waits for each descriptor and direction (INV-2).

use std::{future::poll_fn, pin::Pin, sync::Arc, sync::mpsc};
use std::{task::Context, task::Poll, task::Wake, task::Waker};

use netpoll_core::{Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, Registration, Wait, When};

/// Wakes the tasks of a list. A task that is runnable is no longer a waiter.
fn wake<const N: usize>(cache: &PollCache<1>, list: GList<N>) {
    cache.waiters().sub(list.wake());
}

/// Waits until a read would succeed. A task that is dropped while it waits has to call `retract`; these are not.
async fn readable(descriptor: &Registration<'_>) -> Result<(), PollErr> {
    poll_fn(|cx| {
        let (wait, displaced) = descriptor.wait(Mode::Read, cx.waker());
        displaced.wake();
        match wait {
            Wait::Ready => return Poll::Ready(Ok(())),
            Wait::Failed(error) => return Poll::Ready(Err(error)),
            Wait::Again => cx.waker().wake_by_ref(),
            Wait::Parked => {}
        }
        Poll::Pending
    })
    .await
}

/// Lets the deadline of a descriptor pass. The timer stays armed at 120 when the deadline moves to 150, which the core says
/// when the timer fires.
fn expire(
    cache: &PollCache<1>,
    descriptor: &Registration<'_>,
    run: &mut dyn FnMut(),
) -> Result<(), &'static str> {
    let mut timer = None;
    for at in [120, 150] {
        let set = descriptor.set_deadline(Modes::READ, When::At(at));
        let (list, arm) = set.map_err(|_| "an open descriptor takes a deadline")?;
        wake(cache, list);
        timer = arm.filter(|at| descriptor.arm_timer(*at)).or(timer);
    }
    while let Some(now) = timer {
        let (list, next) = descriptor.desc().expire(now);
        println!("the timer at {now}: {} woken, next {next:?}", list.len());
        wake(cache, list);
        timer = next;
        run();
    }
    Ok(())
}

/// The number of a task, and the run queue that takes it.
struct TaskWaker(usize, mpsc::Sender<usize>);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.0); // fails only when the program ends
    }
}

fn main() -> Result<(), &'static str> {
    let cache = PollCache::<1>::new();
    let donated = cache.donate_static(Box::leak(Box::default()));
    donated.map_err(|_| "a new cache takes a block")?;
    let open = || cache.alloc().ok_or("all descriptors are in use: donate another block");
    let (line, slow, closed) = (open()?, open()?, open()?);

    let task = |(name, descriptor)| -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { println!("{name}: {:?}", readable(descriptor).await) })
    };
    let mut tasks = [("line", &line), ("slow", &slow), ("closed", &closed)].map(task);
    let (put, queue) = mpsc::channel();
    let mut run = || {
        for number in queue.try_iter() {
            let waker = Waker::from(Arc::new(TaskWaker(number, put.clone())));
            let _: Poll<()> = tasks[number].as_mut().poll(&mut Context::from_waker(&waker));
        }
    };
    (0..3).try_for_each(|number| put.send(number)).map_err(|_| "the queue is open")?;
    run();
    println!("{} tasks wait", cache.waiters().get());

    let mut list = GList::<2>::new();
    let event = Event { key: line.key(), modes: Modes::READ, flags: EventFlags::default() };
    println!("the event of the line: {:?}", cache.get(event.key).map(|desc| desc.ready(event, &mut list)));
    wake(&cache, std::mem::take(&mut list));
    run();

    expire(&cache, &slow, &mut run)?;
    wake(&cache, closed.evict());
    run();
    let waiters = cache.waiters().get();

    // The slot of the closed descriptor is used again. An event that comes late is not taken for the new one's.
    let late = Event { key: closed.key(), ..event };
    drop(tasks);
    drop(closed);
    let _reused = open()?;
    println!("a late event: {:?}", cache.get(late.key).map(|desc| desc.ready(late, &mut list)));
    if waiters == 0 { Ok(()) } else { Err("a task still waits") }
}
