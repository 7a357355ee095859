//! The pages of the servers.

/// The page `/`.
pub const SMALL: &[u8] = b"Hello, world!";

/// The length of the page `/large`.
const LARGE: usize = 100 << 10;

/// Returns the page `/large`, whose bytes tell their places.
pub fn large() -> Vec<u8> {
    (0..LARGE).map(|at| b'!' + (at % 89) as u8).collect()
}

/// Returns the path of one of the two.
pub fn path(large: bool) -> &'static str {
    if large { "/large" } else { "/" }
}

/// Returns the bytes of one of the two.
pub fn bytes(large: bool) -> Vec<u8> {
    if large { self::large() } else { SMALL.to_vec() }
}
