//! The echo server of [`netpoll_bare::echo`] on embassy-executor. The tasks are the same, and so are the interrupt handlers:
//! core's words park a waker of whichever executor polls.

#![no_std]
#![no_main]

use critical_section::RawRestoreState;
use embassy_executor::raw::Executor;
use netpoll_bare::cpu;
use netpoll_bare::echo::{self, Server};
use netpoll_bare::net::CONNECTIONS;
use netpoll_core::sync::Flag;
use static_cell::StaticCell;

static EXECUTOR: StaticCell<Executor> = StaticCell::new();
/// Set when a task is runnable.
static PENDING: Flag = Flag::new();

#[unsafe(no_mangle)]
extern "C" fn sys_tick() {
    echo::on_tick();
}

#[unsafe(no_mangle)]
extern "C" fn ethernet() {
    echo::on_frame();
}

/// Reports a runnable task, from a task or a handler.
#[unsafe(export_name = "__pender")]
fn pend(_context: *mut ()) {
    PENDING.set();
}

struct Mask;
critical_section::set_impl!(Mask);

// SAFETY: There is one core (INV-101), so nothing else runs between `acquire` and `release`. They nest, as `release` restores
// what `acquire` found.
unsafe impl critical_section::Impl for Mask {
    unsafe fn acquire() -> RawRestoreState {
        cpu::mask()
    }

    unsafe fn release(masked: RawRestoreState) {
        cpu::restore(masked);
    }
}

#[embassy_executor::task(pool_size = CONNECTIONS)]
async fn serve(server: &'static Server, socket: usize) {
    server.serve(socket).await;
}

#[embassy_executor::task]
async fn drive(server: &'static Server) {
    server.drive().await;
    server.finish()
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let server = Server::start();
    let executor: &'static Executor = EXECUTOR.init_with(|| Executor::new(core::ptr::null_mut()));
    let spawner = executor.spawner();
    spawner.spawn(drive(server).expect("the task is spawned once"));
    for socket in 0..CONNECTIONS {
        spawner.spawn(serve(server, socket).expect("the pool has a place for each socket"));
    }
    loop {
        // SAFETY: `main` is entered once, and nothing else polls this executor.
        unsafe { executor.poll() };
        cpu::sleep_unless(|| PENDING.clear());
    }
}
