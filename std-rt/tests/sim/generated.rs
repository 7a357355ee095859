//! The generated operations of the state-machine test in a simulation: the same operations and the same model, with a kernel
//! that draws its answers from the seed.

#[path = "../it/state_machine/model.rs"]
mod model;
#[path = "../it/state_machine/pair.rs"]
mod pair;
#[path = "../it/state_machine/steps.rs"]
mod steps;

use netpoll_rt::{Handle, sim};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::model::World;
use self::steps::{Step, When, payload, step};

/// Makes operations on pairs of streams of this host, `count` of them, and compares each result with the model.
pub async fn operations(count: u64) -> sim::Result {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&sim::control().random().to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let handle = Handle::current();
    let mut world = World::new(&handle);
    for _ in 0..count {
        let step = step().new_tree(&mut runner).map_err(|reason| reason.to_string())?.current();
        world.take(step).await;
    }
    world.end().await;
    Ok(())
}
