//! The spans and events of the feature `tracing`: `cargo test -p netpoll-rt --features tracing --test tracing`.

mod recorder;

use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use netpoll_rt::net::{TcpListener, TcpStream};
use netpoll_rt::time::sleep;
use netpoll_rt::{Runtime, spawn_local};
use recorder::{Recorded, Recorder, recorder};

/// Returns runtimes whose tasks run on the calling thread, and on others.
fn runtimes() -> [Runtime; 2] {
    [1, 2].map(|workers| Runtime::builder().workers(workers).build().expect("a runtime"))
}

#[track_caller]
fn task(recorder: Recorder, name: &str) -> Recorded {
    recorder.span(|span| span.name == "runtime.spawn" && span.fields.get("task.name") == name)
}

#[test]
fn a_task_has_a_span_with_its_name_and_location() {
    let recorder = recorder();
    for (runtime, name) in runtimes().iter().zip(["one", "two"]) {
        let line = line!() + 1;
        let handle = runtime.spawn_named(name, async move {
            netpoll_rt::yield_now().await;
            name
        });
        let ended = runtime.spawn(async move { name });
        assert_eq!(runtime.block_on(ended).expect("no panic"), name);
        runtime.block_on(async {
            while !task(recorder, name).is_closed() {
                netpoll_rt::yield_now().await
            }
        });
        let span = task(recorder, name);
        assert_eq!((span.target, span.fields.get("kind")), ("tokio::task", "task"));
        assert_eq!(span.fields.get("loc.file"), file!());
        assert_eq!(span.fields.get("loc.line"), line.to_string());
        assert!(!span.fields.get("loc.col").is_empty());
        assert_ne!(span.fields.get("task.id"), "");
        assert_eq!(span.entered, 2, "one poll before the yield, one after it");
        // The span is closed although the handle is kept.
        assert_eq!(runtime.block_on(handle).expect("no panic"), name);
    }
}

#[test]
fn a_span_ends_with_a_task_that_is_aborted_before_it_runs() {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let handle = runtime.spawn_named("aborted", std::future::pending::<()>());
    handle.abort();
    assert!(runtime.block_on(handle).expect_err("it was aborted").is_cancelled());
    let span = task(recorder, "aborted");
    assert!(span.is_closed());
    assert_eq!(span.entered, 0);
}

#[test]
fn each_kind_of_task_has_its_name() {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let (mut local, mut blocking) = (0, 0);
    let block_on = line!() + 1;
    runtime.block_on(async {
        local = line!() + 1;
        spawn_local(async {}).await.expect("no panic");
        blocking = line!() + 1;
        netpoll_rt::spawn_blocking(|| ()).await.expect("no panic");
    });
    for (kind, line) in [("local", local), ("blocking", blocking), ("block_on", block_on)] {
        let here = |span: &Recorded| {
            span.fields.get("loc.line") == line.to_string() && span.fields.get("loc.file") == file!()
        };
        let span = recorder.span(here);
        assert_eq!((span.name, span.fields.get("kind")), ("runtime.spawn", kind));
        assert!(span.entered > 0 && span.is_closed(), "{span:?}");
    }
}

/// Spawns a task that leaves a clone of its waker in the slot until it is woken.
fn sleeper(runtime: &Runtime, name: &str) -> (Arc<Mutex<Option<Waker>>>, netpoll_rt::JoinHandle<()>) {
    let slot = Arc::new(Mutex::new(None));
    let shared = slot.clone();
    let mut polled = false;
    let handle = runtime.spawn_named(
        name,
        poll_fn(move |cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            *shared.lock().expect("no panic") = Some(cx.waker().clone());
            Poll::Pending
        }),
    );
    runtime.block_on(async {
        while slot.lock().expect("no panic").is_none() {
            netpoll_rt::yield_now().await;
        }
    });
    (slot, handle)
}

#[test]
fn operations_on_wakers_are_events_of_the_task() {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let (slot, handle) = sleeper(&runtime, "sleeper");
    let id = task(recorder, "sleeper").id;
    // The runtime's own list of tasks that wait is not reported.
    assert_eq!(recorder.waker_ops(id), ["waker.clone"]);
    let waker = slot.lock().expect("no panic").take().expect("a waker");
    drop(waker.clone());
    waker.wake_by_ref();
    waker.wake();
    let before_its_end = recorder.waker_ops(id);
    runtime.block_on(handle).expect("no panic");
    let expected = ["clone", "clone", "drop", "wake_by_ref", "wake"].map(|op| format!("waker.{op}"));
    assert_eq!(before_its_end, expected);
}

#[test]
fn a_panic_of_the_subscriber_does_not_concern_the_thread_that_wakes() {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let (slot, handle) = sleeper(&runtime, "panics");
    recorder.panic_for(task(recorder, "panics").id);
    let waker = slot.lock().expect("no panic").take().expect("a waker");
    waker.wake_by_ref();
    drop(waker);
    runtime.block_on(handle).expect("the task is woken all the same");
}

#[test]
fn a_read_is_an_operation_of_its_socket_and_its_task() -> io::Result<()> {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let local = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        let local = server.local_addr()?;
        let reader = async move { server.read(&mut [0; 8]).await };
        let reader = netpoll_rt::spawn_named("reader", reader);
        netpoll_rt::yield_now().await;
        client.write_all(b"hello").await?;
        assert_eq!(reader.await.expect("no panic")?, 5);
        io::Result::Ok(local)
    })?;
    let task = task(recorder, "reader");
    let polls: Vec<_> = recorder
        .events(|event| event.target == "runtime::resource::poll_op" && event.within.contains(&task.id))
        .into_iter()
        .collect();
    let ready: Vec<&str> = polls.iter().map(|poll| poll.fields.get("is_ready")).collect();
    assert_eq!(ready, ["false", "true"], "it waits, and then has the bytes");
    let [_, resource, op, poll] = polls[0].within[..] else { panic!("{polls:?}") };
    let span = |id| recorder.span(|span| span.id == id);
    assert_eq!(span(resource).name, "runtime.resource");
    assert_eq!(span(resource).fields.get("concrete_type"), "TcpStream");
    assert_eq!(span(op).name, "runtime.resource.async_op");
    assert_eq!(span(op).fields.get("source"), "read");
    assert_eq!(span(poll).name, "runtime.resource.async_op.poll");
    assert_eq!(polls[1].within[..3], polls[0].within[..3], "both polls are of one operation");
    assert!([resource, op, poll].iter().all(|id| span(*id).is_closed()), "the socket is closed");
    let has_address = recorder.events(|event| {
        event.target == "runtime::resource::state_update"
            && event.within.ends_with(&[resource])
            && event.fields.get("local") == local.to_string()
    });
    assert_eq!(has_address.len(), 1);
    let listeners = recorder.spans(|span| span.fields.get("concrete_type") == "TcpListener");
    assert!(!listeners.is_empty() && listeners.iter().all(Recorded::is_closed));
    Ok(())
}

#[test]
fn a_sleep_is_a_timer_of_its_caller() {
    let recorder = recorder();
    let [runtime, _] = runtimes();
    let line = line!() + 1;
    runtime.block_on(async { sleep(Duration::from_millis(1)).await }); // time is tested
    let here = |span: &Recorded| {
        span.fields.get("concrete_type") == "Sleep" && span.fields.get("loc.line") == line.to_string()
    };
    let timer = recorder.span(here);
    assert_eq!((timer.name, timer.fields.get("kind")), ("runtime.resource", "timer"));
    assert!(timer.is_closed());
    let polls = recorder
        .events(|event| event.target == "runtime::resource::poll_op" && event.within.contains(&timer.id));
    assert_eq!(polls[0].fields.get("op_name"), "poll_elapsed");
    let ready: Vec<&str> = polls.iter().map(|poll| poll.fields.get("is_ready")).collect();
    assert!(ready.len() > 1 && ready.iter().rposition(|ready| *ready == "false") == Some(ready.len() - 2));
    assert_eq!(ready.last(), Some(&"true"));
}
