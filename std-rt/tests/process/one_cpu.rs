//! A machine with one CPU still gets a default runtime with a thread.

use std::sync::mpsc;
use std::time::Duration;

use crate::common::own_process::in_own_process;
use crate::common::*;
use netpoll_rt::time::sleep;
use netpoll_rt::{JoinHandle, Runtime, spawn};

/// Waits for a task without being in `block_on`.
fn ended<T: Send + 'static>(task: JoinHandle<T>, runtime: &Runtime) -> T {
    let (tell, told) = mpsc::channel();
    drop(runtime.spawn(async move { tell.send(task.await.unwrap()).unwrap() }));
    told.recv_timeout(LIMIT).unwrap()
}

/// Starts the default runtime.
#[test]
fn tasks_run_outside_of_block_on_on_a_machine_with_one_cpu() {
    in_own_process(|| {
        if !kernel::use_one_cpu() {
            return eprintln!("this system cannot tie a thread to a CPU");
        }
        let runtime = Runtime::new().unwrap();
        assert_eq!(runtime.metrics().workers, 1);
        let watch = Watch::over(runtime.handle().clone());
        let task = runtime.spawn(async {
            let (a, b) = pair().await;
            let task = reader(&a);
            parked(1).await;
            b.write_all(b"x").await.unwrap();
            sleep(Duration::from_millis(1)).await; // time is tested
            task.await.unwrap().unwrap()
        });
        assert_eq!(ended(task, &runtime), b"x");
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
        // The default runtime.
        assert_eq!(ended(netpoll_rt::spawn(async { 2 }), &runtime), 2);
        let handle = runtime.handle().clone();
        drop(runtime);
        drop(watch);
        assert_nothing_left(&handle);
    });
}

#[test]
fn a_runtime_without_threads_is_still_to_be_had_on_a_machine_with_one_cpu() {
    in_own_process(|| {
        if !kernel::use_one_cpu() {
            return eprintln!("this system cannot tie a thread to a CPU");
        }
        let runtime = runtime(1);
        let task = runtime.spawn(async { 1 });
        let local = runtime.block_on(async { netpoll_rt::spawn_local(async { 2 }).await.unwrap() });
        assert_eq!(runtime.block_on(task).unwrap() + local, 3);
        let error = panic_message(|| {
            Runtime::new().unwrap().block_on(async { drop(netpoll_rt::spawn_local(async {})) });
        });
        assert!(error.contains("this runtime has a thread of its own for its tasks"), "{error}");
    });
}

fn panic_message(call: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(call).unwrap_err();
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}
