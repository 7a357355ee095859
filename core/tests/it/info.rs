//! The published state of a descriptor: its sticky bits, and the generation of an event.

use netpoll_core::poll::info::AtomicInfo;
use netpoll_core::poll::key::FDSEQ_BITS;
use netpoll_core::{Delivered, Event, EventFlags, GList, Mode, Modes, PollErr, When};

const NOTHING: EventFlags =
    EventFlags { event_err: false, read_hup: false, hup: false, err: false, urgent: false };
const EVENT_ERR: EventFlags = EventFlags { event_err: true, ..NOTHING };

#[test]
fn a_new_word_has_nothing_published() {
    let info = AtomicInfo::default().get();
    assert!(!info.closing() && !info.event_err() && !info.peer_closed() && !info.may_have_more());
    assert_eq!(info.fdseq(), 0);
}

#[test]
fn the_state_of_the_peer_is_sticky() {
    let gone = [
        EventFlags { read_hup: true, ..NOTHING },
        EventFlags { hup: true, ..NOTHING },
        EventFlags { err: true, ..NOTHING },
    ];
    for flags in gone {
        let info = AtomicInfo::new();
        assert!(info.set_event(0, flags));
        assert!(info.get().peer_closed() && info.get().may_have_more(), "{flags:?}");
        assert!(info.set_event(0, NOTHING));
        assert!(info.get().peer_closed(), "a plain event has cleared {flags:?}");
        assert!(!info.get().closing() && !info.get().event_err());
    }
}

#[test]
fn an_urgent_mark_is_sticky_and_is_not_peer_closed() {
    let info = AtomicInfo::new();
    assert!(info.set_event(0, EventFlags { urgent: true, ..NOTHING }));
    assert!(info.set_event(0, NOTHING));
    assert!(info.get().may_have_more() && !info.get().peer_closed());
}

#[test]
fn event_err_is_that_of_the_last_event() {
    let info = AtomicInfo::new();
    assert!(info.set_event(0, EVENT_ERR));
    assert!(info.get().event_err());
    assert!(info.set_event(0, EventFlags { err: true, ..EVENT_ERR }));
    assert!(info.get().event_err() && info.get().peer_closed());
    assert!(info.set_event(0, NOTHING));
    assert!(!info.get().event_err() && info.get().peer_closed());
}

#[test]
fn a_stale_event_changes_nothing() {
    let info = AtomicInfo::new();
    let before = info.get();
    let wrapped = 1u32.checked_shl(FDSEQ_BITS).unwrap_or(u32::MAX);
    for fdseq in [1, 2, 1 << 16, wrapped, u32::MAX] {
        assert!(!info.set_event(fdseq, EventFlags { hup: true, ..EVENT_ERR }), "generation {fdseq}");
    }
    assert_eq!(info.get(), before);
}

#[test]
fn closing_is_published_for_its_generation_and_outlives_events() {
    let info = AtomicInfo::new();
    assert!(!info.publish_closing(1) && !info.get().closing(), "the key is of another generation");
    assert!(info.publish_closing(0) && info.publish_closing(0), "it may be repeated");
    assert!(info.set_event(0, NOTHING));
    assert!(info.get().closing());
    assert_eq!(info.get().fdseq(), 0);
}

/// Closing comes before a timeout, and an error that came alone refuses no call.
#[test]
fn closing_comes_before_timeout() {
    let slots = crate::common::Slots::<1, 24>::new();
    let registration = slots.alloc();
    let (desc, key) = (registration.desc(), registration.key());
    let mut list = GList::<2>::new();
    let error = Event { key, modes: Modes::BOTH, flags: EVENT_ERR };
    let check = || (desc.check_err(Mode::Read), desc.check_err(Mode::Write));
    assert_eq!(check(), (Ok(()), Ok(())));

    assert_eq!(desc.ready(error, &mut list), Delivered::Woken(0));
    assert!(desc.info().event_err());
    assert_eq!(check(), (Ok(()), Ok(())));

    assert!(
        registration
            .set_deadline(Modes::BOTH, When::Expired)
            .is_ok_and(|(list, arm)| list.is_empty() && arm.is_none())
    );
    assert_eq!(check(), (Err(PollErr::Timeout), Err(PollErr::Timeout)));

    assert!(registration.evict().is_empty());
    assert_eq!(check(), (Err(PollErr::Closing), Err(PollErr::Closing)));
}
