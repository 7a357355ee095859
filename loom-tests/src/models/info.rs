//! Models of `info`: the memory that the published bits order, and that no publisher undoes another.

use std::sync::Arc;

use netpoll_core::EventFlags;
use netpoll_core::poll::info::AtomicInfo;

use super::support::{Plain, race};
use crate::harness::{Model, green};

/// The models of this file.
pub const MODELS: &[Model] = &[
    green("m03_payload_through_closing", 2, None, payload_through_closing),
    green("m03_payload_through_peer_closed", 2, None, payload_through_peer_closed),
    green("m05_closing_against_event", 2, None, closing_against_event),
    green("m21_payload_through_ended", 2, None, payload_through_ended),
    green("m21_ended_against_event", 2, None, ended_against_event),
];

fn hup() -> EventFlags {
    EventFlags { hup: true, ..EventFlags::default() }
}

fn error() -> EventFlags {
    EventFlags { event_err: true, err: true, ..EventFlags::default() }
}

struct Published {
    info: AtomicInfo,
    payload: Plain<usize>,
}

impl Published {
    fn new() -> Arc<Published> {
        Arc::new(Published { info: AtomicInfo::new(), payload: Plain::new(0) })
    }
}

fn payload_through_closing() {
    let look = |published: &Published| {
        let seen = published.info.get().closing();
        assert!(!seen || published.payload.get() == 1, "model: closing without the write before it");
    };
    race(&Published::new(), look, |published| {
        published.payload.set(1);
        assert!(published.info.publish_closing(0), "model: no other thread closes");
    });
}

fn payload_through_peer_closed() {
    let look = |published: &Published| {
        let seen = published.info.get().peer_closed();
        assert!(!seen || published.payload.get() == 1, "model: an event without the write before it");
    };
    race(&Published::new(), look, |published| {
        published.payload.set(1);
        assert!(published.info.set_event(0, hup()), "model: the event is of this generation");
    });
}

/// Two events by the poller and a close: closing and the sticky bits stay, the error bit is that of the last
/// event.
fn closing_against_event() {
    let published = Published::new();
    let events =
        |published: &Published| published.info.set_event(0, error()) && published.info.set_event(0, hup());
    let (events, first) = race(&published, events, |published| published.info.publish_closing(0));
    assert!(events && first, "model: the events are of this generation, and no other thread closes");
    let info = published.info.get();
    assert!(info.closing() && info.peer_closed() && !info.event_err(), "model: {info:?} after both");
}

fn payload_through_ended() {
    let look = |published: &Published| {
        let seen = published.info.get().ended();
        assert!(!seen || published.payload.get() == 1, "model: the end without the write before it");
    };
    race(&Published::new(), look, |published| {
        published.payload.set(1);
        assert!(!published.info.publish_ended().ended(), "model: no other thread ends it");
    });
}

/// Two events of the poller and its end: neither undoes the other's bits.
fn ended_against_event() {
    let published = Published::new();
    let events =
        |published: &Published| published.info.set_event(0, error()) && published.info.set_event(0, hup());
    let (events, _) = race(&published, events, |published| published.info.publish_ended());
    let info = published.info.get();
    assert!(events && info.ended() && info.peer_closed() && !info.event_err(), "model: {info:?} after both");
}
