//! The break flag, in one thread.

use netpoll_core::poll::break_flag::BreakFlag;

#[test]
fn many_breaks_need_one_write() {
    let flag = BreakFlag::new();
    assert!(!flag.is_set());
    assert!(flag.set(), "the first one writes");
    assert!(!flag.set() && !flag.set(), "its write is under way");
    assert!(flag.is_set());
    assert!(flag.clear());
    assert!(!flag.clear(), "no break was requested");
    assert!(flag.set());
}
