//! The points at which a simulation lets another thread go on: before each access to an atomic. Compiled only with
//! `--cfg netpoll_sim`.

extern crate std;

use core::cell::Cell;

std::thread_local! {
    static HOOK: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Sets the function that this thread calls before each access.
pub fn set(hook: Option<fn()>) {
    // A thread that ends is not interleaved any more.
    let _ = HOOK.try_with(|place| place.set(hook));
}

/// Calls the function of this thread.
pub(super) fn reach() {
    if let Ok(Some(hook)) = HOOK.try_with(Cell::get) {
        hook();
    }
}
