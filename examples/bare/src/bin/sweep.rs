//! A sweep of a timer interrupt over the operations of a descriptor. The interrupt does `alloc`, `free`, `ready` and
//! `expire`, and interrupts the same operations in thread mode after one cycle, after two, and so on to their end, 100,000
//! times. The result of each life of a descriptor is checked against the work of the interrupt. The last line is `lost 0`.
//!
//! QEMU must count instructions (`-icount`), because otherwise it takes interrupts only between blocks of code.

#![no_std]
#![no_main]

use core::arch::global_asm;

use netpoll_bare::board::{self, print};
use netpoll_bare::cpu::{self, Masked};
use netpoll_bare::runtime::waker;
use netpoll_core::poll::cache::StaticBlock;
use netpoll_core::sync::Counter;
use netpoll_core::sync::Flag;
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollErr, PollKey, Registration, Wait, When,
};

const HITS: usize = 100_000;
const SLOTS: usize = 6;
/// The kinds of lives: ended by an event or by a deadline, each with and without a retracted wait.
const KINDS: usize = 4;
/// The cycles from before a nap checks the ready bit until it sleeps, and some more.
const NAPS: u32 = 200;
/// The words of the map of interrupted instructions: one bit for two bytes of code, from address 0.
const MAP_WORDS: usize = 256;
/// The deadline of every life that has one, and the tick at which the interrupt finds it due; the ticks wrap between.
const DUE: usize = usize::MAX;
const NOW: usize = 3;

type List = GList<4>;

/// The state that thread mode and the interrupt share.
struct World {
    cache: PollCache<1, SLOTS>,
    /// Set by the holder of a slot, so that a slot that is allocated twice is found.
    held: [Flag; SLOTS],
    /// The ready bit of the thread's waker.
    woken: Flag,
    /// Interrupts that came during a life.
    hits: Counter,
    inside: Flag,
    /// The order for the next interrupt, and whether it was carried out.
    order: Masked<Order>,
    /// Two slots that the interrupt keeps until the next one: then it replaces the first by another slot, and gives the second
    /// a new generation.
    kept: Masked<Option<[Registration<'static>; 2]>>,
    struck: Flag,
    addresses: Masked<[u32; MAP_WORDS]>,
}

#[derive(Clone, Copy, Default)]
struct Order {
    key: Option<PollKey>,
    expire: bool,
    done: bool,
}

static BLOCK: StaticBlock<SLOTS> = StaticBlock::new();
static WORLD: World = World {
    cache: PollCache::new(),
    held: [const { Flag::new() }; SLOTS],
    woken: Flag::new(),
    hits: Counter::new(),
    inside: Flag::new(),
    order: Masked::new(Order { key: None, expire: false, done: false }),
    kept: Masked::new(None),
    struck: Flag::new(),
    addresses: Masked::new([0; MAP_WORDS]),
};

// At the entry the chip has pushed eight words: r0 to r3, r12, lr, the interrupted address, the flags.
global_asm!(
    ".section .text.sys_tick, \"ax\"",
    ".global sys_tick",
    ".thumb_func",
    "sys_tick:",
    "  mov r0, sp",
    "  b strike",
);

#[unsafe(no_mangle)]
extern "C" fn strike(pushed: &[u32; 8]) {
    board::stop_timer();
    let world = &WORLD;
    world.struck.set();
    if world.inside.is_set() {
        world.hits.inc();
        let place = pushed[6] as usize / 2;
        world.addresses.with(|map| map[place / 32 % MAP_WORDS] |= 1 << (place % 32));
    }
    world.interrupt();
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let world = &WORLD;
    let donated = BLOCK.take().map(|block| world.cache.donate_static(block));
    assert!(donated == Some(Ok(())), "a new cache takes a block");
    world.interrupt();
    let cycles = world.measure();
    print(format_args!("a life of a descriptor takes {cycles} cycles"));
    let (mut lives, mut sweeps, mut after) = (0usize, 0, cycles);
    while world.hits.get() < HITS {
        if after >= cycles {
            after = 0;
            sweeps += 1;
            world.count_slots();
            (1..=NAPS).for_each(|after| world.nap(after));
        }
        after += 1;
        lives += 1;
        board::start_timer(after);
        world.live(sweeps);
        // An interrupt after the end would belong to the next life.
        board::stop_timer();
    }
    world.count_slots();
    let addresses = world.addresses.with(|map| map.iter().map(|word| word.count_ones()).sum::<u32>());
    print(format_args!("{lives} lives in {sweeps} sweeps, {} naps", sweeps * NAPS as usize));
    print(format_args!("hits {}, at {addresses} different instructions", world.hits.get()));
    // A lost wakeup or slot would have ended the run before.
    print(format_args!("lost 0"));
    cpu::exit(true)
}

impl World {
    /// Returns the cycles of the longest kind of life without an interrupt.
    fn measure(&'static self) -> u32 {
        const NEVER: u32 = 0xFF_FFFF;
        let one = |kind| {
            board::start_timer(NEVER);
            self.live(kind);
            NEVER - board::stop_timer()
        };
        (0..KINDS).map(one).max().unwrap_or(0)
    }

    /// Runs the life of a descriptor from `alloc` to `free` and checks its result.
    fn live(&'static self, kind: usize) {
        let (expire, retract) = (kind & 1 != 0, kind & 2 != 0);
        self.inside.set();
        let registration = self.take_slot();
        let (key, desc) = (registration.key(), registration.desc());
        assert!(registration.reset(Mode::Read).is_ok(), "a new descriptor refuses a read");
        if expire {
            let set = registration.set_deadline(Modes::READ, When::At(DUE));
            let armed = set.is_ok_and(|(list, arm)| list.is_empty() && arm == Some(DUE));
            assert!(
                armed && registration.arm_timer(DUE) == Some(When::Never),
                "a new descriptor has a deadline"
            );
        }
        self.order.with(|order| *order = Order { key: Some(key), expire, done: false });
        let parked = self.wait(&registration, expire) == Wait::Parked;
        if retract {
            drop(registration.retract(Mode::Read));
        }
        self.give_back(registration);
        let late = desc.ready(event(key), &mut List::new());
        assert!(late == Delivered::Stale, "an event of a freed generation was taken: {late:?}");
        self.order.with(|order| order.key = None);
        self.late_event();
        let woken = self.woken.clear();
        assert!(woken || !parked || retract, "lost: the waker of a freed descriptor was not returned");
        assert!(parked || !woken, "a task that did not park was woken");
        let waiters = self.cache.parked();
        assert!(waiters == 0, "{waiters} waiters are left");
        self.inside.clear();
    }

    /// Waits once, and again if the interrupt has come by then, like a woken task.
    fn wait(&'static self, registration: &Registration<'static>, expire: bool) -> Wait {
        let waker = waker(&self.woken);
        let end = if expire { Wait::Failed(PollErr::Timeout) } else { Wait::Ready };
        let (first, displaced) = registration.wait(Mode::Read, &waker);
        assert!(displaced.is_none(), "there is one task, and it had not parked before");
        let done = self.order.with(|order| order.done);
        if first != Wait::Parked {
            assert!(done && first == end, "a wait ended with {first:?}, the interrupt came: {done}");
        } else if done {
            assert!(self.woken.is_set(), "lost: the interrupt has come and the task is parked");
            let (second, displaced) = registration.wait(Mode::Read, &waker);
            assert!(second == end && displaced.is_none(), "a woken task got {second:?}");
        }
        first
    }

    /// Delivers a late event for a slot whose generation the interrupt advances. The interrupt may come between the event's
    /// check of the generation and its compare-exchange. The slot's new owner must see nothing of the event.
    fn late_event(&'static self) {
        let renewed = || self.kept.with(|kept| kept.as_ref().map(|[_, renewed]| renewed.key()));
        let (Some(old), waker) = (renewed(), waker(&self.woken)) else { return };
        let Some(desc) = self.cache.get(old) else { return };
        let delivered = desc.ready(event(old), &mut List::new());
        assert!(matches!(delivered, Delivered::Woken(0) | Delivered::Stale), "no task waits: {delivered:?}");
        if renewed() == Some(old) {
            return;
        }
        assert!(!desc.info().peer_closed(), "a flag of generation {} is set in the next", old.fdseq);
        self.kept.with(|kept| {
            let Some([_, renewed]) = kept else { return };
            let (wait, _) = renewed.wait(Mode::Read, &waker);
            assert!(
                wait == Wait::Parked,
                "an event of generation {} was taken by the next: {wait:?}",
                old.fdseq
            );
            drop(renewed.retract(Mode::Read));
        });
    }

    /// Sleeps until the interrupt comes: before the check of the ready bit, after it, or during the sleep.
    fn nap(&self, after: u32) {
        self.struck.clear();
        board::start_timer(after);
        while !self.struck.is_set() {
            cpu::sleep_unless(|| self.struck.is_set());
        }
    }

    /// Does the work of the interrupt.
    fn interrupt(&'static self) {
        self.turn_slots();
        self.deliver();
    }

    /// Takes two slots and gives back the one that the interrupt kept, and the first of the two. Then the free list begins
    /// with the same slot as before, but its second slot is in use, which an interrupted pop must notice. The other kept slot
    /// gets a new generation.
    fn turn_slots(&'static self) {
        self.kept.with(|kept| {
            let (first, second) = (self.take_slot(), self.take_slot());
            let renewed = kept.take().map(|[before, renew]| {
                self.give_back(before);
                self.give_back(renew);
                self.take_slot()
            });
            self.give_back(first);
            *kept = Some([second, renewed.unwrap_or_else(|| self.take_slot())]);
        });
    }

    fn deliver(&self) {
        let Some((key, expire)) = self.order.with(|order| {
            let key = order.key.take()?;
            order.done = true;
            Some((key, order.expire))
        }) else {
            return;
        };
        let mut list = List::new();
        match self.cache.get(key) {
            Some(desc) if expire => list.append(&mut desc.expire(NOW).0),
            Some(desc) => {
                let delivered = desc.ready(event(key), &mut list);
                assert!(delivered != Delivered::NoRoom, "an empty list has room");
            }
            None => {} // the slot is freed, and the order is not yet withdrawn
        }
        list.wake();
    }

    fn take_slot(&'static self) -> Registration<'static> {
        let registration = self.cache.alloc().expect("five slots are in use at most");
        let slot = registration.key().slot;
        assert!(self.held[slot as usize].set(), "slot {slot} was allocated twice");
        registration
    }

    fn give_back(&self, registration: Registration<'static>) {
        let slot = registration.key().slot;
        assert!(self.held[slot as usize].clear(), "slot {slot} was not allocated");
        registration.free().wake();
    }

    /// Checks that no slot is lost. The timer must be off.
    fn count_slots(&'static self) {
        let free: [Option<Registration<'static>>; SLOTS] = core::array::from_fn(|_| self.cache.alloc());
        let kept = self.kept.with(|kept| kept.as_ref().map_or(0, |kept| kept.len()));
        let free = free.iter().flatten().count();
        assert!(free + kept == SLOTS, "{free} slots are free, {kept} kept by the interrupt, of {SLOTS}");
    }
}

/// Returns the event of a peer that has closed. It makes the read side ready and sets a flag in the descriptor's info.
fn event(key: PollKey) -> Event {
    Event { key, modes: Modes::READ, flags: EventFlags { hup: true, ..EventFlags::default() } }
}
