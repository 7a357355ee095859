//! The key that the kernel stores.

use netpoll_core::{Mode, Modes, PollKey};

const EDGES: [u32; 7] = [0, 1, 0xffff, 0x1_0000, 0x00ff_ffff, u32::MAX - 1, u32::MAX];

fn keys() -> impl Iterator<Item = PollKey> {
    EDGES.iter().flat_map(|&slot| EDGES.iter().map(move |&fdseq| PollKey { slot, fdseq }))
}

#[test]
fn a_key_survives_packing() {
    for key in keys() {
        assert_eq!(PollKey::from_bits(key.to_bits()), key);
    }
    for bits in [0, 1, 1 << 32, u64::MAX, 0x0123_4567_89ab_cdef] {
        assert_eq!(PollKey::from_bits(bits).to_bits(), bits);
    }
}

#[test]
fn two_keys_never_have_the_same_bits() {
    let mut bits: Vec<u64> = keys().map(PollKey::to_bits).collect();
    bits.sort_unstable();
    bits.dedup();
    assert_eq!(bits.len(), EDGES.len() * EDGES.len());
}

#[test]
fn no_descriptor_has_the_break_key() {
    for key in keys().filter(|key| key.slot <= PollKey::MAX_SLOT) {
        assert_ne!(key, PollKey::BREAK);
        assert_ne!(key.to_bits(), PollKey::BREAK.to_bits());
    }
    assert_eq!(PollKey::from_bits(PollKey::BREAK.to_bits()), PollKey::BREAK);
}

#[test]
fn one_direction_is_a_set_of_one() {
    assert_eq!(Modes::from(Mode::Read), Modes::READ);
    assert_eq!(Modes::from(Mode::Write), Modes::WRITE);
    assert_eq!(Modes::default(), Modes::NONE);
    assert_eq!(Modes { read: true, ..Modes::WRITE }, Modes::BOTH);
}

#[test]
fn a_generation_is_as_wide_as_the_word_allows() {
    let bits = netpoll_core::poll::key::FDSEQ_BITS;
    assert_eq!(bits, if size_of::<usize>() == 8 { 32 } else { 24 });
}
