//! Small programs of a few threads, operations and words, drawn at random or written out.

use netpoll_core::sync::Ordering;

/// The largest number of words of a program.
pub const WORDS: usize = 3;

/// One operation. The values that the operations read are the outcome of a program.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    Load(usize, Ordering),
    Store(usize, u8, Ordering),
    /// Reads the word and adds one.
    Add(usize, Ordering),
    /// Writes the third field if the word holds the second. A failure reads with the same ordering without
    /// its release.
    CompareExchange(usize, u8, u8, Ordering),
    Fence(Ordering),
    /// Takes the lock of a counter that all threads share, reads it and adds one.
    AddLocked,
}

/// The operations of each thread; the first is the main thread, which starts the others before and joins them
/// after.
pub type Program = Vec<Vec<Op>>;

/// The values that the reading operations have read, of the first thread in order, then of the second, and so
/// on.
pub type Outcome = Vec<u8>;

/// A generator of numbers that are the same in every run (xorshift).
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Draws a program of two threads of up to four operations, or of three threads of up to three.
    pub fn program(&mut self, threads: usize) -> Program {
        let most = if threads == 2 { 4 } else { 3 };
        let words = 1 + self.below(WORDS - 1) + usize::from(threads == 3 && self.below(3) == 0);
        (0..threads)
            .map(|_| {
                let length = 1 + self.below(most);
                (0..length).map(|_| self.op(words)).collect()
            })
            .collect()
    }

    fn op(&mut self, words: usize) -> Op {
        use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
        let word = self.below(words);
        let value = 1 + u8::try_from(self.below(3)).unwrap_or(0);
        match self.below(12) {
            0..=3 => Op::Load(word, self.of(&[Relaxed, Acquire])),
            4 | 5 => Op::Store(word, value, self.of(&[Relaxed, Release])),
            6 | 7 => Op::Add(word, self.of(&[Relaxed, Acquire, Release, AcqRel])),
            8 => {
                let current = u8::try_from(self.below(3)).unwrap_or(0);
                Op::CompareExchange(
                    word,
                    current,
                    current + value,
                    self.of(&[Relaxed, Acquire, Release, AcqRel]),
                )
            }
            9 => Op::Fence(SeqCst),
            10 => Op::Fence(self.of(&[Acquire, Release, AcqRel, SeqCst])),
            _ => Op::AddLocked,
        }
    }
}
