//! The operations, how they are drawn, and the bytes of a direction.

use std::sync::OnceLock;

use proptest::prelude::*;

/// The next operation. Indices are taken modulo the number of objects.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A new pair; the oldest goes when there are too many.
    Open,
    /// A read of this number of bytes; it stays parked when there is nothing.
    Read { handle: usize, length: usize },
    /// A write of this number of bytes.
    Write { handle: usize, length: usize },
    /// Writes until the kernel takes no more, and one write that waits.
    Fill { handle: usize },
    /// Reads all there is.
    Drain { handle: usize },
    /// A deadline for reads: over, an hour away, or none.
    ReadDeadline { handle: usize, when: When },
    /// A deadline for writes.
    WriteDeadline { handle: usize, when: When },
    /// Another handle of the same end.
    Dup { handle: usize },
    /// The writing half of an end.
    Shutdown { handle: usize },
    /// Close, and wait for it.
    Close { handle: usize },
    /// Close, and drop the future that waits for it.
    CloseAndForget { handle: usize },
    /// Drop a parked operation.
    Cancel { parked: usize },
    /// Poll a parked operation that nothing has woken.
    PollInVain { parked: usize },
}

/// A deadline.
#[derive(Clone, Copy, Debug)]
pub enum When {
    Past,
    FarAway,
    Never,
}

/// Returns the bytes of a direction from a place on; at most 64 KiB at once.
pub fn payload(direction: usize, place: usize, length: usize) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(1);
        let period: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(PERIOD).collect();
        [&period[..], &period[..]].concat()
    });
    let start = (place + direction * 7919) % PERIOD;
    &bytes[start..start + length]
}

/// Returns what draws an operation.
pub fn step() -> impl Strategy<Value = Step> {
    let handle = 0..64_usize;
    let when = || prop_oneof![1 => Just(When::Past), 1 => Just(When::FarAway), 2 => Just(When::Never)];
    prop_oneof![
        2 => Just(Step::Open),
        30 => (handle.clone(), 0..700_usize).prop_map(|(handle, length)| Step::Read { handle, length }),
        30 => (handle.clone(), 0..700_usize).prop_map(|(handle, length)| Step::Write { handle, length }),
        1 => handle.clone().prop_map(|handle| Step::Fill { handle }),
        4 => handle.clone().prop_map(|handle| Step::Drain { handle }),
        6 => (handle.clone(), when()).prop_map(|(handle, when)| Step::ReadDeadline { handle, when }),
        4 => (handle.clone(), when()).prop_map(|(handle, when)| Step::WriteDeadline { handle, when }),
        3 => handle.clone().prop_map(|handle| Step::Dup { handle }),
        2 => handle.clone().prop_map(|handle| Step::Shutdown { handle }),
        3 => handle.clone().prop_map(|handle| Step::Close { handle }),
        1 => handle.clone().prop_map(|handle| Step::CloseAndForget { handle }),
        8 => handle.clone().prop_map(|parked| Step::Cancel { parked }),
        8 => handle.prop_map(|parked| Step::PollInVain { parked }),
    ]
}
