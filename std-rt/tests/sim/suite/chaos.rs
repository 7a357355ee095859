//! The sessions of `cargo xtask chaos` in a simulation: their halves move between the host's own worker, a runtime of two workers
//! and one of four, with one poller or two. Every byte is compared; at the end no runtime holds anything.

#[path = "../../../../examples/load/src/bin/chaos/session.rs"]
mod session;
#[path = "../../../../examples/load/src/bin/chaos/world.rs"]
mod world;

use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netpoll_core::sync::Counter;
use netpoll_rt::net::TcpListener;
use netpoll_rt::sim::{self, Sim};
use netpoll_rt::{Handle, Runtime};

use super::{draw, draw_faults};
use crate::common::until;
use crate::small::draw_pollers;
use session::Session;
use world::{World, begin, hold_nothing, pair};

/// The seeds of a run of all tests.
const SEEDS: u64 = 20;

/// The halves of a session.
const HALVES: usize = 4;

async fn sessions(tally: Arc<[Counter; 9]>) -> sim::Result {
    let two = Runtime::builder().workers(2).build()?;
    let four = Runtime::builder().workers(4).pollers(draw_pollers()).build()?;
    let handles = vec![Handle::current(), two.handle().clone(), four.handle().clone()];
    let ended = Arc::<Mutex<Vec<_>>>::default();
    let ends = {
        let ended = ended.clone();
        move |number, result| ended.lock().expect("no holder panics").push((number, result))
    };
    let world = Arc::new(World::new(handles.clone(), ends, false));
    let count = 1 + draw(3);
    for number in 0..count {
        let handle = &world.handles[draw(world.handles.len() as u64) as usize];
        let listener = Arc::new(handle.spawn(TcpListener::bind("127.0.0.1:0")).await??);
        let ends = handle.spawn(pair(listener)).await??;
        begin(&world, Session::new(number, sim::control().random()), ends);
    }
    until("every half has ended", || {
        let ended = ended.lock().expect("no holder panics");
        ended.len() == HALVES * count as usize || ended.iter().any(|(_, result)| result.is_err())
    })
    .await;
    for (number, result) in ended.lock().expect("no holder panics").drain(..) {
        result.map_err(|fault| format!("session {number}: {fault}"))?;
    }
    // The host's own worker runs this task, and has its timer.
    until("the runtimes hold nothing", || hold_nothing(&handles[1..]).is_ok()).await;
    for (row, (_, count)) in tally.iter().zip(world.tally.rows()) {
        row.add(count);
    }
    Ok(())
}

#[test]
fn chaos_within_a_seed() {
    let tally = Arc::<[Counter; 9]>::default();
    Sim::check(SEEDS, |sim| {
        sim.limit(Duration::from_secs(3600));
        sim.set_faults(draw_faults(sim));
        sim.client("chaos", sessions(tally.clone()));
        Ok(sim.run()?)
    });
    let counts = tally.each_ref().map(Counter::get);
    println!("chaos: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0) || env::var_os("NETPOLL_SIM_SEED").is_some(), "{counts:?}");
}
