//! What is parked on netpoll-core need not be a future: here threads block, each on a descriptor of its own, and one
//! thread plays the kernel. A waker is `Thread::unpark`.

use std::error::Error;
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

#[derive(Default)]
struct World {
    cache: PollCache<1>,
}

impl World {
    /// Blocks the calling thread until the descriptor is ready, or closed. One thread per descriptor comes here (INV-2).
    fn block_on_read(&self, registration: &Registration<'_>) -> Result<(), PollErr> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            // No other thread waits here, so none is displaced.
            let (wait, _) = registration.wait(Mode::Read, &waker);
            match wait {
                Wait::Ready => return Ok(()),
                Wait::Failed(refused) => return Err(refused),
                Wait::Again => thread::yield_now(),
                // An unpark that comes before is remembered; one that means nothing only brings us round.
                Wait::Parked => thread::park(),
            }
        }
    }

    fn wake(&self, list: GList<2>) {
        let woken = list.wake();
        self.cache.waiters().sub(woken);
    }

    fn deliver(&self, key: PollKey) -> Delivered {
        let mut list = GList::new();
        let event = Event { key, modes: Modes::READ, flags: EventFlags::default() };
        let delivered = self.cache.get(key).map(|desc| desc.ready(event, &mut list));
        self.wake(list);
        delivered.unwrap_or(Delivered::Stale)
    }

    /// Any thread may close by the key; the slot is freed by its owner.
    fn close(&self, key: PollKey) {
        if let Some(desc) = self.cache.get(key) {
            self.wake(desc.evict(key.fdseq));
        }
    }
}

/// Blocks for every event and reports each; how often it was let go on, at the end.
fn reader(world: &World, registration: &Registration<'_>, answer: &mpsc::Sender<PollKey>) -> usize {
    let mut events = 0;
    while world.block_on_read(registration).is_ok() {
        events += 1;
        // The kernel's thread goes away only after all of its answers have come.
        let _ = answer.send(registration.key());
    }
    events
}

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::default();
    let donated = world.cache.donate_static(Box::leak(Box::default()));
    donated.map_err(|_| "a cache of one block takes one block")?;
    let registrations: Vec<_> = (0..THREADS).filter_map(|_| world.cache.alloc()).collect();
    let keys: Vec<PollKey> = registrations.iter().map(Registration::key).collect();

    let events: usize = thread::scope(|scope| {
        let (answer, answers) = mpsc::channel();
        let start = |registration| {
            let (world, answer) = (&world, answer.clone());
            scope.spawn(move || reader(world, registration, &answer))
        };
        let readers: Vec<_> = registrations.iter().map(start).collect();
        drop(answer); // so that the answers end with the readers
        let mut woken = 0;
        for _ in 0..ROUNDS {
            let delivered = keys.iter().map(|key| world.deliver(*key));
            woken += delivered.filter(|delivered| *delivered == Delivered::Woken(1)).count();
            answers.iter().take(THREADS).for_each(drop);
        }
        println!("{} events, {woken} of them found their thread parked", ROUNDS * THREADS);
        keys.iter().for_each(|key| world.close(*key));
        readers.into_iter().map(|reader| reader.join().unwrap_or(0)).sum()
    });
    println!("threads were let go on {events} times; waiters {}", world.cache.waiters().get());
    let lost = ROUNDS * THREADS - events.min(ROUNDS * THREADS);
    if lost == 0 && world.cache.waiters().get() == 0 { Ok(()) } else { Err(format!("lost {lost}").into()) }
}
