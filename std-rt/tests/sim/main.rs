//! The simulation; empty without `--cfg netpoll_sim`. `cargo xtask sim` runs it.
#![cfg(netpoll_sim)]

mod differential;
#[path = "../../../examples/src/bin/sim_kv.rs"]
mod example;
mod generated;
mod hosts;
mod load;
mod local;
mod local_differential;
mod measure;
mod misuse;
mod signals;
mod small;
mod suite;
mod tcp;
mod udp;

use test_support as common;

#[test]
fn the_example_finds_its_bug() {
    example::main();
}
