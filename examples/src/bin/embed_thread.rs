//! What is parked on netpoll-core need not be a future: here threads block, each on a descriptor of its own, and one
//! thread plays the kernel. A waker is `Thread::unpark`.

use std::error::Error;
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use netpoll_core::glist::GList;
use netpoll_core::poll_cache::PollCache;
use netpoll_core::poll_desc::{Delivered, PollDesc, PollErr, Wait};
use netpoll_core::poll_key::{Event, EventFlags, Mode, Modes, PollKey};
use netpoll_core::waiters::Waiters;

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
    waiters: Waiters,
}

impl World {
    /// Blocks the calling thread until the descriptor is ready, or closed. One thread per descriptor comes here (INV-2).
    fn block_on_read(&self, desc: &PollDesc) -> Result<(), PollErr> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            // No other thread waits here, so none is displaced.
            let (wait, _) = desc.wait(Mode::Read, &waker, &self.waiters);
            match wait {
                Wait::Ready => return Ok(()),
                Wait::Failed(refused) => return Err(refused),
                Wait::Again => thread::yield_now(),
                // An unpark that comes before is remembered; one that means nothing only brings us round.
                Wait::Parked => thread::park(),
            }
        }
    }

    fn wake(&self, mut list: GList<2>) {
        let woken = list.len();
        list.drain().for_each(Waker::wake);
        self.waiters.sub(woken);
    }

    fn deliver(&self, key: PollKey) -> Delivered {
        let mut list = GList::new();
        let event = Event { key, modes: Modes::READ, flags: EventFlags::default() };
        let delivered = self.cache.get(key).map(|desc| desc.ready(event, &mut list));
        self.wake(list);
        delivered.unwrap_or(Delivered::Stale)
    }

    fn close(&self, key: PollKey) {
        let mut list = GList::new();
        if let Some(desc) = self.cache.get(key) {
            desc.evict(&mut list);
        }
        self.wake(list);
    }
}

/// Blocks for every event and reports each; how often it was let go on, at the end.
fn reader(world: &World, key: PollKey, answer: &mpsc::Sender<PollKey>) -> usize {
    let Some(desc) = world.cache.get(key) else { return 0 };
    let mut events = 0;
    while world.block_on_read(desc).is_ok() {
        events += 1;
        // The kernel's thread goes away only after all of its answers have come.
        let _ = answer.send(key);
    }
    events
}

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::default();
    let donated = world.cache.donate_static(Box::leak(Box::default()));
    donated.map_err(|_| "a cache of one block takes one block")?;
    let keys: Vec<PollKey> = (0..THREADS).filter_map(|_| world.cache.alloc()).collect();

    let events: usize = thread::scope(|scope| {
        let (answer, answers) = mpsc::channel();
        let start = |key: &PollKey| {
            let (world, key, answer) = (&world, *key, answer.clone());
            scope.spawn(move || reader(world, key, &answer))
        };
        let readers: Vec<_> = keys.iter().map(start).collect();
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
    println!("threads were let go on {events} times; waiters {}", world.waiters.get());
    let lost = ROUNDS * THREADS - events.min(ROUNDS * THREADS);
    if lost == 0 && world.waiters.get() == 0 { Ok(()) } else { Err(format!("lost {lost}").into()) }
}
