//! The allocator: what it hands out, what it refuses, and that a slot's next owner starts afresh.

mod kit;

use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::OnceLock;

use kit::Task;
use netpoll_core::deadline::When;
use netpoll_core::glist::GList;
use netpoll_core::poll_cache::{Block, CacheFull, PollCache};
use netpoll_core::poll_desc::{Delivered, PollDesc, Wait};
use netpoll_core::poll_key::{Event, EventFlags, Mode, Modes, PollKey};
use netpoll_core::waiters::Waiters;

const LEN: usize = 4;

/// A cache of two blocks, with the memory for three that outlives it as the fields stand.
struct Slots<const BITS: u32> {
    cache: PollCache<2, LEN, BITS>,
    list: GList<2>,
    donated: usize,
    blocks: [Box<Block<LEN, BITS>>; 3],
}

impl<const BITS: u32> Slots<BITS> {
    fn new() -> Self {
        let blocks = std::array::from_fn(|_| Box::default());
        Self { cache: PollCache::new(), list: GList::new(), donated: 0, blocks }
    }

    fn with_a_block() -> Self {
        let mut slots = Self::new();
        assert_eq!(slots.donate(), Ok(()));
        slots
    }

    fn donate(&mut self) -> Result<(), CacheFull> {
        let block = NonNull::from(&*self.blocks[self.donated]);
        self.donated += 1;
        // SAFETY: INV-1, each box is donated once, nobody else looks into it, and it is dropped after the cache.
        unsafe { self.cache.donate(block) }
    }

    fn alloc(&self) -> PollKey {
        self.cache.alloc().expect("a slot is free")
    }

    fn alloc_all(&self) -> Vec<PollKey> {
        std::iter::from_fn(|| self.cache.alloc()).collect()
    }

    fn free(&mut self, key: PollKey) -> usize {
        self.cache.free(key, &mut self.list)
    }

    fn desc(&self, key: PollKey) -> &PollDesc<BITS> {
        self.cache.get(key).expect("the key is of this generation")
    }
}

#[test]
fn every_slot_is_handed_out_once() {
    let mut slots = Slots::<24>::new();
    assert_eq!(slots.cache.alloc(), None, "nothing was donated");
    assert_eq!(slots.donate(), Ok(()));
    let mut keys = slots.alloc_all();
    assert_eq!(keys.len(), LEN);
    assert_eq!(slots.donate(), Ok(()));
    keys.extend(slots.alloc_all());
    let slot: HashSet<u32> = keys.iter().map(|key| key.slot).collect();
    assert_eq!(slot, (0..2 * LEN as u32).collect());
    assert!(keys.iter().all(|&key| key.fdseq == 0 && slots.cache.get(key).is_some()));
}

#[test]
fn a_directory_without_a_place_refuses_the_block() {
    let mut slots = Slots::<24>::new();
    assert_eq!([slots.donate(), slots.donate(), slots.donate()], [Ok(()), Ok(()), Err(CacheFull)]);
    assert_eq!(slots.alloc_all().len(), 2 * LEN);
    let given_back: Vec<_> = slots.cache.blocks().collect();
    let donated: Vec<_> = slots.blocks[..2].iter().map(|block| NonNull::from(&**block)).collect();
    assert_eq!(given_back, donated);
}

#[test]
fn a_freed_slot_comes_back_in_the_next_generation() {
    let mut slots = Slots::<24>::with_a_block();
    let keys = slots.alloc_all();
    assert_eq!(slots.free(keys[2]), 0);
    assert!(slots.cache.get(keys[2]).is_none(), "the old key names nothing");
    let again = slots.alloc();
    assert_eq!(again, PollKey { slot: keys[2].slot, fdseq: 1 });
    assert!(slots.cache.get(again).is_some() && slots.cache.get(keys[2]).is_none());
    assert_eq!(slots.cache.alloc(), None);
}

#[test]
fn freeing_twice_does_nothing() {
    let mut slots = Slots::<24>::with_a_block();
    let keys = slots.alloc_all();
    let (_, waker) = Task::new();
    let waiters = Waiters::new();
    slots.free(keys[0]);
    slots.free(keys[0]);
    let again = slots.alloc();
    assert_eq!(slots.cache.alloc(), None, "the slot was on the free list twice");
    assert_eq!(slots.desc(again).wait(Mode::Read, &waker, &waiters).0, Wait::Parked);
    assert_eq!(slots.free(keys[0]), 0, "the key of the last owner");
    assert!(slots.desc(again).is_parked(Mode::Read) && slots.list.is_empty());
}

#[test]
fn a_key_that_was_never_handed_out_names_nothing() {
    let mut slots = Slots::<24>::with_a_block();
    let strangers = [LEN as u32, 2 * LEN as u32, u32::MAX - 1].map(|slot| PollKey { slot, fdseq: 0 });
    for key in strangers.into_iter().chain([PollKey::BREAK, PollKey { slot: 0, fdseq: 1 }]) {
        assert!(slots.cache.get(key).is_none(), "{key:?}");
        assert_eq!(slots.free(key), 0);
    }
    assert_eq!(slots.alloc_all().len(), LEN);
}

#[test]
fn free_throws_out_who_is_parked() {
    let mut slots = Slots::<24>::with_a_block();
    let waiters = Waiters::new();
    let (task, waker) = Task::new();
    let key = slots.alloc();
    for mode in [Mode::Read, Mode::Write] {
        assert_eq!(slots.desc(key).wait(mode, &waker, &waiters).0, Wait::Parked);
    }
    assert_eq!(slots.free(key), 2);
    slots.list.drain().for_each(|waker| waker.wake());
    waiters.sub(2);
    assert_eq!((task.wakes(), task.wakers(), waiters.get()), (2, 1, 0));
}

/// Nothing of the last owner is left: no closing, no peer, no readiness, no deadline, no armed timer.
#[test]
fn the_next_owner_starts_afresh() {
    let mut slots = Slots::<24>::with_a_block();
    let waiters = Waiters::new();
    let (_, waker) = Task::new();
    let old = slots.alloc();
    let all = EventFlags { event_err: true, read_hup: true, hup: true, err: true, urgent: true };
    let event = Event { key: old, modes: Modes::BOTH, flags: all };
    let mut list = GList::<2>::new();
    let desc = slots.desc(old);
    assert_eq!(desc.ready(event, &mut list), Delivered::Woken(0));
    assert_eq!(desc.set_deadline(Modes::BOTH, When::Expired, &mut list), Ok((0, None)));
    assert!(desc.arm_timer(5));
    slots.free(old);

    let new = slots.alloc();
    assert_eq!(new.slot, old.slot);
    let desc = slots.desc(new);
    let info = desc.info();
    assert!(!info.closing() && !info.event_err() && !info.must_look());
    assert_eq!([desc.deadline(Mode::Read), desc.deadline(Mode::Write)], [When::Never; 2]);
    assert_eq!(desc.wait(Mode::Read, &waker, &waiters).0, Wait::Parked);
    assert_eq!(desc.ready(event, &mut list), Delivered::Stale, "copied out of the kernel before the close");
    assert!(desc.is_parked(Mode::Read) && desc.info() == info);
    assert!(desc.arm_timer(500), "nothing is armed");
}

/// A key is taken for another after exactly 2^BITS owners of its slot, and not before.
#[test]
fn generations_wrap_at_their_width() {
    fn test<const BITS: u32>() {
        let mut slots = Slots::<BITS>::with_a_block();
        let first = slots.alloc();
        let mut key = first;
        for owner in 1..1u32 << BITS {
            slots.free(key);
            key = slots.alloc();
            assert_eq!(key, PollKey { slot: first.slot, fdseq: owner });
            assert!(slots.cache.get(first).is_none(), "taken for another after {owner} owners");
        }
        slots.free(key);
        assert!(slots.cache.get(key).is_none(), "the generation just before is never taken for this one");
        assert_eq!(slots.alloc(), first);
    }
    test::<1>();
    test::<2>();
    test::<16>();
}

#[test]
fn the_list_of_all_shows_every_slot_as_it_is() {
    let mut slots = Slots::<16>::with_a_block();
    let key = slots.alloc();
    slots.free(key);
    let seen: Vec<PollKey> = slots.cache.iter().map(|(key, _)| key).collect();
    let fdseq = |slot| u32::from(slot == key.slot);
    assert_eq!(seen, (0..LEN as u32).map(|slot| PollKey { slot, fdseq: fdseq(slot) }).collect::<Vec<_>>());
    assert_eq!(slots.donate(), Ok(()));
    assert_eq!(slots.cache.iter().count(), 2 * LEN);
}

#[test]
fn a_descriptor_is_two_cache_lines_and_a_block_a_page() {
    assert!(size_of::<PollDesc>() <= 128, "{}", size_of::<PollDesc>());
    assert_eq!(align_of::<PollDesc>(), 64);
    assert!(size_of::<Block>() <= 4096, "{}", size_of::<Block>());
}

#[test]
fn a_static_block_is_donated_as_it_is_and_initialised_in_place() {
    // What lives for ever stays in sight, so that a search for leaks finds whose it is.
    static KEPT: OnceLock<PollCache<1, LEN>> = OnceLock::new();
    static REFUSED: OnceLock<usize> = OnceLock::new();
    let cache = KEPT.get_or_init(PollCache::new);
    let place = Box::leak(Box::new(std::mem::MaybeUninit::<Block<LEN>>::uninit()));
    assert_eq!(cache.donate_static(Block::init(place)), Ok(()));
    let keys: Vec<PollKey> = std::iter::from_fn(|| cache.alloc()).collect();
    let slots: HashSet<u32> = keys.iter().map(|key| key.slot).collect();
    assert_eq!((keys.len(), slots), (LEN, (0..LEN as u32).collect()));
    let refused = Box::leak(Box::<Block<LEN>>::default());
    REFUSED.get_or_init(|| std::ptr::from_mut(refused).expose_provenance());
    assert_eq!(cache.donate_static(refused), Err(CacheFull));
}

/// Parks, retracts, is woken by an event, by close: in the generation that the slot is in.
fn lives<const BITS: u32>(generation: u32) {
    let mut slots = Slots::<BITS>::with_a_block();
    let key = loop {
        let key = slots.alloc();
        if key.fdseq == generation {
            break key;
        }
        slots.free(key);
    };
    let (waiters, (task, waker), mut list) = (Waiters::new(), Task::new(), GList::<2>::new());
    let desc = slots.desc(key);
    for mode in [Mode::Read, Mode::Write] {
        assert_eq!(desc.wait(mode, &waker, &waiters).0, Wait::Parked);
        assert!(desc.is_parked(mode));
        desc.retract(mode, &waiters);
        assert!(!desc.is_parked(mode));
        assert_eq!((waiters.get(), task.wakers(), desc.info().fdseq()), (0, 1, generation));

        assert_eq!(desc.wait(mode, &waker, &waiters).0, Wait::Parked);
        let event = Event { key, modes: mode.into(), flags: EventFlags::default() };
        assert_eq!(desc.ready(event, &mut list), Delivered::Woken(1));
        list.drain().for_each(drop);
        waiters.sub(1);
        assert!(!desc.is_parked(mode));
        assert_eq!(desc.wait(mode, &waker, &waiters).0, Wait::Ready);
        let stale = Event { key: PollKey { fdseq: generation ^ 1, ..key }, ..event };
        assert_eq!(desc.ready(stale, &mut list), Delivered::Stale);
    }
    assert_eq!(desc.wait(Mode::Read, &waker, &waiters).0, Wait::Parked);
    assert_eq!(desc.evict(&mut list), 1);
    waiters.sub(1);
    assert_eq!((waiters.get(), list.len()), (0, 1));
}

#[test]
fn every_generation_lives_as_the_first() {
    for generation in [0, 1, 2, 3] {
        lives::<2>(generation);
    }
    for generation in [0, 1, 2, 255, 256, 1_000] {
        lives::<24>(generation);
        lives::<32>(generation);
    }
}
