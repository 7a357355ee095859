//! Threads that the kernel refuses: the error of the pool.

use crate::common::*;
use crate::support::*;
use netpoll_rt::fs::File;
use netpoll_rt::internal::sys::Call;
use netpoll_rt::internal::sys::inject::{Errno, Rule, Table};
use netpoll_rt::{Handle, spawn_blocking};

#[test]
fn the_first_thread_of_a_pool_is_asked_for_anew_by_each_job() {
    each(async || {
        let installed = Table::new(0).rule(Rule::error(Call::StartThread, Errno::AGAIN).first(2)).install();
        assert_errno(File::open("/etc/passwd").await.map(drop), Errno::AGAIN);
        assert!(spawn_blocking(|| ()).await.unwrap_err().is_refused());
        assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
        assert_eq!(installed.calls(Call::StartThread), 3, "never twice for one job");
        drop(installed);
        assert_eq!(Handle::try_current().unwrap().metrics().blocking_threads_refused, 2);
    });
}
