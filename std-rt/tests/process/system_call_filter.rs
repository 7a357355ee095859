//! A filter that kills the process for a system call that it does not know.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::common::fork::forked;
use crate::common::seccomp::{BAD_CALL, EPOLL_PWAIT2, forbid};
use crate::common::*;
use netpoll_rt::internal::sys::Poller;
use netpoll_rt::{Runtime, time};

/// Asserts that a runtime works: it sleeps for as long as it should, and sees bytes.
fn works(runtime: &Runtime) {
    runtime.block_on(async {
        // So long that it is waited for with a timeout, and not over before the first wait.
        let (start, asked) = (Instant::now(), Duration::from_millis(200));
        time::sleep(asked).await; // time is tested
        assert!(start.elapsed() >= asked);
        let (a, b) = pair().await;
        let task = reader(&a);
        parked(1).await;
        b.write_all(b"told").await.unwrap();
        assert_eq!(task.await.unwrap().unwrap(), b"told");
    });
}

#[test]
fn a_runtime_told_of_the_filter_makes_no_call_that_it_does_not_know() {
    let _alone = alone();
    for workers in [1, 4] {
        let under_filter = |told: bool| {
            forked(|| {
                forbid(EPOLL_PWAIT2);
                works(&Runtime::builder().workers(workers).system_call_filter(told).build().unwrap());
            })
        };
        under_filter(true).well();
        let probed = under_filter(false).status;
        // Only epoll has something to probe.
        let expected = (Poller::NAME == "epoll").then_some(BAD_CALL);
        assert_eq!(probed.signal(), expected, "{workers} workers, without the setting: {probed:?}");
    }
}
