//! What a session knows: which bytes it sends, how many, and whether one of its ends was cut off.

use std::sync::{Arc, OnceLock};

pub struct Session {
    pub number: u64,
    seed: u64,
    /// How many bytes each direction had, set before its half-close.
    pub totals: [OnceLock<u64>; 2],
    /// An end was closed or reset, or is about to be: from now on errors and early ends are no faults.
    cut: OnceLock<()>,
}

impl Session {
    pub fn new(number: u64, seed: u64) -> Arc<Self> {
        Arc::new(Self { number, seed, totals: Default::default(), cut: OnceLock::new() })
    }

    /// The byte at a place of a direction.
    pub fn byte(&self, direction: usize, at: u64) -> u8 {
        let mixed = (at ^ self.seed.rotate_left(32 * direction as u32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).to_be_bytes()[0]
    }

    /// The bytes from a place on.
    pub fn fill(&self, direction: usize, at: u64, buffer: &mut [u8]) {
        for (byte, at) in buffer.iter_mut().zip(at..) {
            *byte = self.byte(direction, at);
        }
    }

    /// The first of the bytes that is wrong.
    pub fn wrong(&self, direction: usize, at: u64, bytes: &[u8]) -> Option<u64> {
        (at..).zip(bytes).find(|&(at, &byte)| byte != self.byte(direction, at)).map(|(at, _)| at)
    }

    /// Says so before it happens.
    pub fn cut(&self) {
        self.cut.get_or_init(|| ());
    }

    pub fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }
}
