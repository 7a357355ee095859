//! Copies drawn from seeds while the kernel refuses, shortens and interrupts calls: each byte arrives, and `Ok(n)` is the
//! number of bytes that arrived.

use crate::common::*;
use fastrand::Rng;
use netpoll_rt::internal::netpoll::Netpoll;
use netpoll_rt::internal::sys::inject::{Errno, Installed, Rule, Table};
use netpoll_rt::internal::sys::{Call, socket};

const ROUNDS: u64 = 150;

/// The calls that move bytes within the kernel.
const MOVES: [Call; 3] = [Call::SpliceIn, Call::SpliceOut, Call::SendFile];
/// The calls that move bytes to and from this process.
const CALLS: [Call; 4] = [Call::Recv, Call::Send, Call::Read, Call::Write];
/// The refusals of a kernel, or of a filter before it.
const REFUSALS: [Errno; 4] = [Errno::PERM, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];

/// Kinds of faults, in the order of [`rules`].
const KINDS: usize = 6;

fn one<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// Draws a rule of a kind.
fn rule(kind: usize, random: &mut Rng, source: Option<i32>) -> Rule {
    let any = [MOVES.as_slice(), CALLS.as_slice()].concat();
    match kind {
        0 => Rule::error(one(random, &MOVES), one(random, &REFUSALS)).nth(random.usize(1..4)),
        1 => Rule::error(one(random, &MOVES), one(random, &REFUSALS)).from(random.usize(1..4)),
        2 => Rule::error(Call::Pipe, one(random, &[Errno::MFILE, Errno::NFILE, Errno::PERM])),
        3 => Rule::error(one(random, &any), Errno::INTR).chance(0.4),
        // A pipe of the copy's own that has bytes in it never says that it has none.
        4 => match (random.bool(), source) {
            (true, Some(source)) => {
                Rule::error(one(random, &[Call::Recv, Call::Read, Call::SpliceIn]), Errno::AGAIN)
                    .on(source)
                    .chance(0.3)
            }
            _ => Rule::error(one(random, &[Call::Send, Call::Write, Call::SpliceOut]), Errno::AGAIN)
                .chance(0.3),
        },
        _ => Rule::short(one(random, &any)).chance(0.5),
    }
}

/// Closes the pipes that earlier copies left, so that a copy must make one.
fn forget_pipes() {
    let netpoll = Netpoll::current().unwrap();
    while netpoll.pipes().idle() > 0 {
        // With bytes in it, it is not kept.
        let filled =
            netpoll.pipes().take().and_then(|mut pipe| pipe.fill(|writer, _| socket::write(writer, b"x")));
        assert_eq!(filled.unwrap(), 1);
    }
}

fn faults(random: &mut Rng, source: Option<i32>) -> (Vec<usize>, Installed) {
    forget_pipes();
    let kinds: Vec<usize> = (0..KINDS).filter(|_| random.usize(..3) == 0).collect();
    let table =
        kinds.iter().fold(Table::new(random.u64(..)), |table, kind| table.rule(rule(*kind, random, source)));
    (kinds, table.install())
}

/// Adds the hits of each kind.
fn count(hits: &mut [usize; KINDS], (kinds, installed): (Vec<usize>, Installed)) {
    for (kind, hit) in kinds.into_iter().zip(installed.end()) {
        hits[kind] += hit;
    }
}

#[test]
fn every_byte_of_a_copy_arrives_whatever_fails() {
    each(async || {
        let mut hits = [0; KINDS];
        for seed in 0..ROUNDS {
            count(&mut hits, crate::common::copies::one_way(seed, faults).await);
        }
        assert!(hits.iter().all(|hits| *hits > 0), "each kind of fault was met: {hits:?}");
    });
}

#[test]
fn every_byte_of_a_copy_both_ways_arrives_whatever_fails() {
    each(async || {
        let mut hits = [0; KINDS];
        for seed in 0..ROUNDS {
            count(&mut hits, crate::common::copies::both_ways(seed, faults).await);
        }
        assert!(hits.iter().all(|hits| *hits > 0), "each kind of fault was met: {hits:?}");
    });
}
