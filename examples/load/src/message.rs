//! The messages of the load.

/// The size of the buffers that server and client read into.
pub const BUFFER: usize = 4096;

/// The length of the longest message.
pub const LONGEST_MESSAGE: usize = 16 * 1024;

const POOL: usize = 1024 * 1024;

/// A megabyte of random bytes, the same in every run. Each message is a part of it.
pub struct MessagePool(Vec<u8>);

impl Default for MessagePool {
    fn default() -> Self {
        let mut pool = vec![0; POOL];
        fastrand::Rng::with_seed(0).fill(&mut pool);
        Self(pool)
    }
}

impl MessagePool {
    /// Draws a message: 4 of 5 are up to 256 bytes long, 1 of 20 up to 16 KiB.
    pub fn draw(&self, rng: &mut fastrand::Rng) -> &[u8] {
        let longest = match rng.u8(..100) {
            0..80 => 256,
            80..95 => BUFFER,
            _ => LONGEST_MESSAGE,
        };
        let length = rng.usize(1..=longest);
        let start = rng.usize(..=POOL - length);
        &self.0[start..start + length]
    }
}
