//! The allocator: the slots that it allocates, the keys that it refuses, and the state of a slot's next
//! owner.

#![expect(unsafe_code, reason = "donates a block")]

use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::OnceLock;

use netpoll_core::poll::cache::{Block, CacheFull};
use netpoll_core::{
    Delivered, Event, EventFlags, GList, Mode, Modes, PollCache, PollDesc, PollKey, Registration, Wait, When,
};

use crate::common::Task;

const LEN: usize = 4;

/// A cache of two blocks whose generations have `BITS` bits, with the memory of three. The field order drops the memory after the cache.
struct Slots<const BITS: u32> {
    cache: PollCache<2, LEN>,
    donated: usize,
    blocks: [Box<Block<LEN>>; 3],
}

impl<const BITS: u32> Slots<BITS> {
    fn new() -> Self {
        let blocks = std::array::from_fn(|_| Box::default());
        Self { cache: PollCache::with_fdseq_bits(BITS), donated: 0, blocks }
    }

    fn with_a_block() -> Self {
        let mut slots = Self::new();
        assert_eq!(slots.donate(), Ok(()));
        slots
    }

    fn donate(&mut self) -> Result<(), CacheFull> {
        let block = NonNull::from(&*self.blocks[self.donated]);
        self.donated += 1;
        // SAFETY: each box is donated once, used by the cache only, and dropped after it (INV-1).
        unsafe { self.cache.donate(block) }
    }

    fn alloc(&self) -> Registration<'_> {
        self.cache.alloc().expect("a slot is free")
    }

    fn alloc_all(&self) -> Vec<Registration<'_>> {
        std::iter::from_fn(|| self.cache.alloc()).collect()
    }
}

fn leak(registration: Registration<'_>) -> PollKey {
    let key = registration.key();
    std::mem::forget(registration);
    key
}

#[test]
fn every_slot_is_allocated_once() {
    let mut slots = Slots::<24>::new();
    assert!(slots.cache.alloc().is_none(), "no block was donated");
    assert_eq!(slots.donate(), Ok(()));
    // A leaked registration keeps its slot, and does not borrow the cache, so the second block can be
    // donated.
    let mut keys: Vec<PollKey> = slots.alloc_all().into_iter().map(leak).collect();
    assert_eq!(keys.len(), LEN);
    assert_eq!(slots.donate(), Ok(()));
    keys.extend(slots.alloc_all().into_iter().map(leak));
    let slot: HashSet<u32> = keys.iter().map(|key| key.slot).collect();
    assert_eq!(slot, (0..2 * LEN as u32).collect());
    assert!(keys.iter().all(|&key| key.fdseq == 0 && slots.cache.get(key).is_some()));
    assert!(slots.cache.alloc().is_none());
}

#[test]
fn a_full_cache_refuses_the_block() {
    let mut slots = Slots::<24>::new();
    assert_eq!([slots.donate(), slots.donate(), slots.donate()], [Ok(()), Ok(()), Err(CacheFull)]);
    assert_eq!(slots.alloc_all().len(), 2 * LEN);
    let given_back: Vec<_> = slots.cache.blocks().collect();
    let donated: Vec<_> = slots.blocks[..2].iter().map(|block| NonNull::from(&**block)).collect();
    assert_eq!(given_back, donated);
}

#[test]
fn a_freed_slot_comes_back_in_the_next_generation() {
    let slots = Slots::<24>::with_a_block();
    let mut all = slots.alloc_all();
    let freed = all.swap_remove(2);
    let old = freed.key();
    assert!(freed.free().is_empty());
    assert!(slots.cache.get(old).is_none(), "the old key is stale");
    let again = slots.alloc();
    assert_eq!(again.key(), PollKey { slot: old.slot, fdseq: 1 });
    assert!(slots.cache.get(again.key()).is_some() && slots.cache.get(old).is_none());
    assert!(slots.cache.alloc().is_none());
}

#[test]
fn a_dropped_registration_frees_its_slot_and_wakes_parked_tasks() {
    let slots = Slots::<24>::with_a_block();
    let (task, waker) = Task::new();
    let registration = slots.alloc();
    let old = registration.key();
    assert_eq!(registration.wait(Mode::Read, &waker).0, Wait::Parked);
    drop(registration);
    assert_eq!((task.wakes(), task.wakers(), slots.cache.parked()), (1, 1, 0));
    let again = slots.alloc();
    assert_eq!(again.key(), PollKey { slot: old.slot, fdseq: 1 });
}

/// Makes every call that a thread with the key of a former owner can make.
#[test]
fn a_stale_key_changes_nothing() {
    let slots = Slots::<24>::with_a_block();
    let (task, waker) = Task::new();
    let old = slots.alloc();
    let old_key = old.key();
    assert!(old.free().is_empty());
    let registration = slots.alloc();
    let (desc, info) = (registration.desc(), registration.desc().info());
    assert_eq!(registration.wait(Mode::Read, &waker).0, Wait::Parked);
    assert!(desc.evict(old_key.fdseq).is_empty());
    let event = Event { key: old_key, modes: Modes::BOTH, flags: EventFlags::default() };
    assert_eq!(desc.ready(event, &mut GList::<2>::new()), Delivered::Stale);
    assert!(desc.expire(usize::MAX / 4).0.is_empty(), "nothing is due");
    assert!(desc.is_parked(Mode::Read) && desc.info() == info && task.wakes() == 0);
}

#[test]
fn an_unknown_key_is_not_found() {
    let slots = Slots::<24>::with_a_block();
    let strangers = [LEN as u32, 2 * LEN as u32, u32::MAX - 1].map(|slot| PollKey { slot, fdseq: 0 });
    for key in strangers.into_iter().chain([PollKey::BREAK, PollKey { slot: 0, fdseq: 1 }]) {
        assert!(slots.cache.get(key).is_none(), "{key:?}");
    }
    assert_eq!(slots.alloc_all().len(), LEN);
}

#[test]
fn free_returns_the_wakers_of_parked_tasks() {
    let slots = Slots::<24>::with_a_block();
    let (task, waker) = Task::new();
    // Whether it was closed before or not, a task that parks meanwhile or has not been woken is evicted.
    for closed in [false, true] {
        let registration = slots.alloc();
        for mode in [Mode::Read, Mode::Write] {
            assert_eq!(registration.wait(mode, &waker).0, Wait::Parked);
        }
        let evicted = if closed { registration.evict().wake() } else { 0 };
        let woken = registration.free().wake();
        assert_eq!((evicted + woken, task.wakers(), slots.cache.parked()), (2, 1, 0));
    }
    assert_eq!(task.wakes(), 4);
}

/// The next owner finds no closing, no state of a peer, no readiness, no deadline and no armed timer of the
/// last owner.
#[test]
fn the_next_owner_inherits_nothing() {
    let slots = Slots::<24>::with_a_block();
    let (_, waker) = Task::new();
    let old = slots.alloc();
    let old_key = old.key();
    let all = EventFlags { event_err: true, read_hup: true, hup: true, err: true, urgent: true };
    let event = Event { key: old_key, modes: Modes::BOTH, flags: all };
    let mut list = GList::<2>::new();
    assert_eq!(old.desc().ready(event, &mut list), Delivered::Woken(0));
    assert!(
        old.set_deadline(Modes::BOTH, When::Expired)
            .is_ok_and(|(list, arm)| list.is_empty() && arm.is_none())
    );
    assert!(old.arm_timer(5).is_some());
    assert!(old.free().is_empty());

    let new = slots.alloc();
    assert_eq!(new.key().slot, old_key.slot);
    let desc = new.desc();
    let info = desc.info();
    assert!(!info.closing() && !info.event_err() && !info.may_have_more());
    assert_eq!([desc.deadline(Mode::Read), desc.deadline(Mode::Write)], [When::Never; 2]);
    assert_eq!(new.wait(Mode::Read, &waker).0, Wait::Parked);
    assert_eq!(desc.ready(event, &mut list), Delivered::Stale, "copied out of the kernel before the close");
    assert!(desc.is_parked(Mode::Read) && desc.info() == info);
    assert!(new.arm_timer(500).is_some(), "no timer is armed");
}

/// A key is mistaken for another after exactly 2^BITS owners of its slot, and not before.
#[test]
fn generations_wrap_at_their_width() {
    fn test<const BITS: u32>() {
        let slots = Slots::<BITS>::with_a_block();
        let mut registration = slots.alloc();
        let first = registration.key();
        for owner in 1..1u32 << BITS {
            drop(registration);
            registration = slots.alloc();
            assert_eq!(registration.key(), PollKey { slot: first.slot, fdseq: owner });
            assert!(slots.cache.get(first).is_none(), "the key is mistaken for another after {owner} owners");
        }
        let last = registration.key();
        drop(registration);
        assert!(slots.cache.get(last).is_none(), "the previous generation is never mistaken for this one");
        assert_eq!(slots.alloc().key(), first);
    }
    test::<1>();
    test::<2>();
    test::<16>();
}

#[test]
fn iter_returns_every_slot_with_its_key() {
    let mut slots = Slots::<16>::with_a_block();
    let registration = slots.alloc();
    let slot = registration.key().slot;
    drop(registration);
    let seen: Vec<PollKey> = slots.cache.iter().map(|(key, _)| key).collect();
    let fdseq = |other| u32::from(other == slot);
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
fn a_block_is_donated_as_a_static_or_initialized_in_place() {
    // The leaked block stays reachable, so that a leak checker attributes it.
    static KEPT: OnceLock<PollCache<1, LEN>> = OnceLock::new();
    static REFUSED: OnceLock<usize> = OnceLock::new();
    let cache = KEPT.get_or_init(PollCache::new);
    let place = Box::leak(Box::new(std::mem::MaybeUninit::<Block<LEN>>::uninit()));
    assert_eq!(cache.donate_static(Block::init(place)), Ok(()));
    let keys: Vec<_> = std::iter::from_fn(|| cache.alloc()).collect();
    let slots: HashSet<u32> = keys.iter().map(|registration| registration.key().slot).collect();
    assert_eq!((keys.len(), slots), (LEN, (0..LEN as u32).collect()));
    let refused = Box::leak(Box::<Block<LEN>>::default());
    REFUSED.get_or_init(|| std::ptr::from_mut(refused).expose_provenance());
    assert_eq!(cache.donate_static(refused), Err(CacheFull));
}

/// Parks, retracts, is woken by an event and by a close, in the slot's present generation.
fn lives<const BITS: u32>(generation: u32) {
    let slots = Slots::<BITS>::with_a_block();
    let registration = loop {
        let registration = slots.alloc();
        if registration.key().fdseq == generation {
            break registration;
        }
    };
    let ((task, waker), mut list) = (Task::new(), GList::<2>::new());
    let (desc, key) = (registration.desc(), registration.key());
    for mode in [Mode::Read, Mode::Write] {
        assert_eq!(registration.wait(mode, &waker).0, Wait::Parked);
        assert!(desc.is_parked(mode));
        drop(registration.retract(mode));
        assert!(!desc.is_parked(mode));
        assert_eq!((slots.cache.parked(), task.wakers(), desc.info().fdseq()), (0, 1, generation));

        assert_eq!(registration.wait(mode, &waker).0, Wait::Parked);
        let event = Event { key, modes: mode.into(), flags: EventFlags::default() };
        assert_eq!(desc.ready(event, &mut list), Delivered::Woken(1));
        list.drain().for_each(drop);
        assert!(!desc.is_parked(mode));
        assert_eq!(registration.wait(mode, &waker).0, Wait::Ready);
        let stale = Event { key: PollKey { fdseq: generation ^ 1, ..key }, ..event };
        assert_eq!(desc.ready(stale, &mut list), Delivered::Stale);
    }
    assert_eq!(registration.wait(Mode::Read, &waker).0, Wait::Parked);
    let evicted = registration.evict();
    assert_eq!((slots.cache.parked(), evicted.len()), (0, 1));
}

#[test]
fn every_generation_behaves_like_the_first() {
    for generation in [0, 1, 2, 3] {
        lives::<2>(generation);
    }
    for generation in [0, 1, 2, 255, 256, 1_000] {
        lives::<24>(generation);
        lives::<32>(generation);
    }
}

/// `PollCache::iter` returns free slots too, with the generation in which they will be allocated.
#[test]
fn the_key_of_a_free_slot_does_not_reach_its_next_owner() {
    let slots = Slots::<24>::with_a_block();
    let hup = EventFlags { hup: true, ..EventFlags::default() };
    let old: Vec<_> = slots.cache.iter().map(|(key, _)| key).collect();
    for (key, desc) in slots.cache.iter() {
        let event = Event { key, modes: Modes::BOTH, flags: hup };
        assert_eq!(desc.ready(event, &mut GList::<2>::new()), Delivered::Woken(0));
        assert!(desc.evict(key.fdseq).is_empty());
    }
    let registration = slots.alloc();
    let (task, waker) = Task::new();
    assert_eq!(registration.wait(Mode::Read, &waker).0, Wait::Parked);
    assert!(!registration.desc().info().peer_closed());
    assert!(!old.contains(&registration.key()));
    for key in old.into_iter().filter(|key| key.slot == registration.key().slot) {
        assert!(registration.desc().evict(key.fdseq).is_empty() && slots.cache.get(key).is_none());
    }
    assert!(registration.desc().is_parked(Mode::Read));
    drop(registration);
    assert_eq!((task.wakes(), task.wakers(), slots.cache.parked()), (1, 1, 0));
}
