//! Models of `poll_info`: what the published bits carry with them, and that no publisher undoes another.

use std::sync::Arc;

use netpoll_core::EventFlags;
use netpoll_core::poll::info::AtomicInfo;

use super::support::{Plain, race};
use crate::harness::{Expect, Model};

/// The models of this word.
pub const MODELS: &[Model] = &[
    green("m03_payload_through_closing", 2, payload_through_closing),
    green("m03_payload_through_peer_closed", 2, payload_through_peer_closed),
    green("m05_closing_against_event", 2, closing_against_event),
];

const fn green(name: &'static str, threads: usize, body: fn()) -> Model {
    Model { name, threads, bound: None, expect: Expect::Green, body }
}

fn hup() -> EventFlags {
    EventFlags { hup: true, ..EventFlags::default() }
}

fn error() -> EventFlags {
    EventFlags { event_err: true, err: true, ..EventFlags::default() }
}

struct Rig {
    info: AtomicInfo<2>,
    payload: Plain<usize>,
}

impl Rig {
    fn new() -> Arc<Rig> {
        Arc::new(Rig { info: AtomicInfo::new(), payload: Plain::new(0) })
    }
}

fn payload_through_closing() {
    let look = |rig: &Rig| {
        let seen = rig.info.get().closing();
        assert!(!seen || rig.payload.get() == 1, "model: closing without what came before it");
    };
    race(&Rig::new(), look, |rig| {
        rig.payload.set(1);
        assert!(rig.info.publish_closing(0), "model: nobody else closes");
    });
}

fn payload_through_peer_closed() {
    let look = |rig: &Rig| {
        let seen = rig.info.get().peer_closed();
        assert!(!seen || rig.payload.get() == 1, "model: an event without what came before it");
    };
    race(&Rig::new(), look, |rig| {
        rig.payload.set(1);
        assert!(rig.info.set_event(0, hup()), "model: the event is of this generation");
    });
}

/// Two events by the poller and a close: closing and the sticky bits stay, the error is as the last event said.
fn closing_against_event() {
    let rig = Rig::new();
    let events = |rig: &Rig| rig.info.set_event(0, error()) && rig.info.set_event(0, hup());
    let (events, first) = race(&rig, events, |rig| rig.info.publish_closing(0));
    assert!(events && first, "model: the events are of this generation, and nobody else closes");
    let info = rig.info.get();
    assert!(info.closing() && info.peer_closed() && !info.event_err(), "model: {info:?} after both");
}
