//! Copies drawn from seeds, over every kind of source and sink and both directions: each byte arrives, and `Ok(n)` is the
//! number of bytes that arrived. `inject/copy_random.rs` does the same with faults injected.

use crate::common::*;

const ROUNDS: u64 = 100;

#[test]
fn every_byte_of_a_copy_arrives_whatever_the_ends() {
    each(async || {
        for seed in 0..ROUNDS {
            crate::common::copies::one_way(seed, |_, _| ()).await;
        }
    });
}

#[test]
fn every_byte_of_a_copy_both_ways_arrives_whatever_the_ends() {
    each(async || {
        for seed in 0..ROUNDS {
            crate::common::copies::both_ways(seed, |_, _| ()).await;
        }
    });
}
