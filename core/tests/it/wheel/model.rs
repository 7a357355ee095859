//! A wheel and a sorted model that do everything together and compare.

use std::collections::BTreeSet;

use netpoll_core::timer::{Entry, Memory, OPEN_AT_ONCE, TimerId, Wheel};

/// The memory of a wheel that grows.
#[derive(Debug)]
pub struct Growing<T>(Vec<Entry<T>>);

impl<T: Default> Memory for Growing<T> {
    type Payload = T;

    fn entries(&self) -> &[Entry<T>] {
        &self.0
    }

    fn entries_mut(&mut self) -> &mut [Entry<T>] {
        &mut self.0
    }

    fn push(&mut self, entry: Entry<T>) -> Result<(), Entry<T>> {
        self.0.push(entry);
        Ok(())
    }

    fn pop(&mut self) {
        assert!(self.0.pop().is_some(), "an entry is popped once");
    }
}

pub fn new_wheel<T: Default>(now: u64) -> Wheel<Growing<T>> {
    Wheel::new(now, Growing(Vec::new()))
}

/// An outstanding timer, as the model knows it.
pub struct Timer {
    id: TimerId,
    at: u64,
    serial: u64,
    /// Its deadline had passed when it was set.
    late: bool,
}

/// A wheel and its model.
pub struct Pair {
    pub wheel: Wheel<Growing<u64>>,
    pub now: u64,
    pub timers: Vec<Timer>,
    /// (deadline, serial) of each.
    pub order: BTreeSet<(u64, u64)>,
    /// The index in `timers` of each serial.
    positions: Vec<usize>,
    /// The last deadline handed out in time; `None` once the clock has stepped back and order is no longer asked for.
    last: Option<u64>,
    pub fired: usize,
}

impl Pair {
    pub fn new(now: u64) -> Self {
        let (timers, positions) = (Vec::new(), Vec::new());
        Pair {
            wheel: new_wheel(now),
            now,
            timers,
            order: BTreeSet::new(),
            positions,
            last: Some(0),
            fired: 0,
        }
    }

    pub fn insert(&mut self, at: u64) {
        let serial = self.positions.len() as u64;
        let id = self.wheel.insert(at, serial).unwrap();
        self.order.insert((at, serial));
        self.positions.push(self.timers.len());
        self.timers.push(Timer { id, at, serial, late: at <= self.now });
    }

    pub fn edit(&mut self, position: usize, at: u64) {
        let timer = &mut self.timers[position];
        assert!(self.wheel.edit(timer.id, at));
        self.order.remove(&(timer.at, timer.serial));
        timer.at = at;
        timer.late = at <= self.now;
        self.order.insert((at, timer.serial));
    }

    fn forget(&mut self, position: usize) -> Timer {
        let timer = self.timers.swap_remove(position);
        self.order.remove(&(timer.at, timer.serial));
        if let Some(moved) = self.timers.get(position) {
            self.positions[moved.serial as usize] = position;
        }
        timer
    }

    pub fn remove(&mut self, position: usize) {
        let timer = self.forget(position);
        assert_eq!(self.wheel.remove(timer.id), Some(timer.serial));
        self.refused(timer.id);
    }

    fn refused(&mut self, id: TimerId) {
        assert!(!self.wheel.edit(id, 0));
        assert_eq!(self.wheel.remove(id), None);
    }

    pub fn earliest(&self) -> Option<u64> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Pops one timer at the present time; returns false if none is due.
    pub fn pop(&mut self) -> bool {
        let Some((id, serial)) = self.wheel.pop(self.now) else { return false };
        let timer = self.forget(self.positions[serial as usize]);
        assert_eq!((timer.id, timer.serial), (id, serial), "what fires was outstanding");
        assert!(timer.at <= self.now, "{} fired early, at {}", timer.at, self.now);
        if let (Some(last), false) = (self.last, timer.late) {
            assert!(last <= timer.at, "{} fired behind {last}", timer.at);
            self.last = Some(timer.at);
        }
        self.refused(id);
        self.fired += 1;
        true
    }

    /// Pops up to `at_most` timers, or all that are due, and compares what is left.
    pub fn turn(&mut self, now: u64, at_most: usize) {
        if now < self.now {
            self.last = None;
        }
        self.now = now;
        let mut left = at_most;
        while left > 0 && (self.pop() || self.wheel.next().is_some_and(|next| next <= now)) {
            left -= 1;
        }
        if left > 0 {
            assert!(self.earliest().is_none_or(|at| at > now), "{:?} is lost at {now}", self.earliest());
        }
        self.compare();
    }

    pub fn compare(&self) {
        assert_eq!(self.wheel.len(), self.timers.len());
        assert_eq!(self.wheel.is_empty(), self.timers.is_empty());
        assert_eq!(self.wheel.next().is_some(), self.earliest().is_some());
        assert!(self.wheel.next() <= self.earliest(), "sleeps past {:?}", self.earliest());
    }

    pub fn drain(&mut self) {
        self.turn(u64::MAX, usize::MAX);
        assert!(self.wheel.is_empty());
    }

    /// Performs one random operation. Deadlines lie up to `span` ahead; the larger `pace`, the shorter the turns, and so the
    /// more timers are outstanding.
    pub fn step(&mut self, random: &mut fastrand::Rng, span: u64, pace: u32) {
        let at = self.now.saturating_add(any_scale(random, span)).saturating_sub(random.u64(0..3));
        let position = random.usize(0..self.timers.len().max(1));
        match random.u32(0..16) {
            0..=5 => self.insert(at),
            6 | 7 if !self.timers.is_empty() => self.edit(position, at),
            8 if !self.timers.is_empty() => self.remove(position),
            9 if random.u32(0..8) == 0 => self.edit_some_away(random, at),
            9 if random.u32(0..200) == 0 => self.crowd(random, at, span),
            _ => {
                let ahead = any_scale(random, span) >> pace;
                self.turn(self.now.saturating_add(ahead), random.usize(1..40));
            }
        }
    }

    /// Puts more timers into a narrow span than one `pop` moves.
    fn crowd(&mut self, random: &mut fastrand::Rng, at: u64, span: u64) {
        let width = any_scale(random, span);
        for _ in 0..3 * OPEN_AT_ONCE {
            self.insert(at.saturating_add(any_scale(random, width)));
        }
    }

    /// Takes the earliest timers away, so that the wheel remembers deadlines that are none any more.
    fn edit_some_away(&mut self, random: &mut fastrand::Rng, at: u64) {
        for _ in 0..random.usize(1..4) {
            let Some((_, serial)) = self.order.first() else { return };
            self.edit(self.positions[*serial as usize], at);
        }
        self.compare();
    }
}

/// Returns a number below 2^n where n is random: every order of magnitude is as likely.
pub fn any_scale(random: &mut fastrand::Rng, limit: u64) -> u64 {
    let scale = u64::MAX >> random.u32(0..64);
    random.u64(0..=limit.min(scale))
}
