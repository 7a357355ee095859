//! Threads that block on netpoll-core: a waker need not belong to a future. Here each of four threads blocks on a descriptor
//! of its own, the main thread plays the kernel, and the waker is `Thread::unpark`.

use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait,
};

const THREADS: usize = 4;
const ROUNDS: usize = 1_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this thread until the descriptor is ready, or closed. At most one thread waits for each descriptor (INV-2).
fn block_on_read(descriptor: &Registration<'_>) -> Result<(), PollErr> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        // No waker is displaced, because no other thread waits for this descriptor.
        match descriptor.wait(Mode::Read, &waker).0 {
            Wait::Ready => return Ok(()),
            Wait::Failed(error) => return Err(error),
            Wait::Again => thread::yield_now(),
            // An unpark before this call makes it return at once, and a spurious one leads to another `wait`.
            Wait::Parked => thread::park(),
        }
    }
}

/// Blocks for every event and answers each. Returns the number of events.
fn reader(descriptor: &Registration<'_>, answer: mpsc::Sender<PollKey>) -> usize {
    let mut events = 0;
    while block_on_read(descriptor).is_ok() {
        events += 1;
        let _ = answer.send(descriptor.key()); // fails only if the main thread panicked
    }
    events
}

fn main() -> Result<(), &'static str> {
    let cache = PollCache::<1>::new();
    let donated = cache.donate_static(Box::leak(Box::default()));
    donated.map_err(|_| "a new cache takes a block")?;
    let descriptors: Vec<_> = (0..THREADS).filter_map(|_| cache.alloc()).collect();
    let events: usize = thread::scope(|scope| {
        let (answer, answers) = mpsc::channel();
        let start = |descriptor| {
            scope.spawn({
                let answer = answer.clone();
                move || reader(descriptor, answer)
            })
        };
        let readers: Vec<_> = descriptors.iter().map(start).collect();
        let mut woken = 0;
        for _ in 0..ROUNDS {
            for descriptor in &descriptors {
                let event = Event { key: descriptor.key(), modes: Modes::READ, flags: EventFlags::default() };
                let mut list = GList::<2>::new();
                woken += usize::from(descriptor.desc().ready(event, &mut list) == Delivered::Woken(1));
                list.wake();
            }
            answers.iter().take(THREADS).for_each(drop);
        }
        println!("{} events, of which {woken} found their thread parked", ROUNDS * THREADS);
        descriptors.iter().for_each(|descriptor| _ = descriptor.evict().wake());
        readers.into_iter().map(|reader| reader.join().unwrap_or(0)).sum()
    });
    println!("the threads read {events} times; waiters {}", cache.parked());
    if events >= ROUNDS * THREADS { Ok(()) } else { Err("an event was lost") }
}
