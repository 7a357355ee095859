//! Tasks that stay on their thread: on a runtime of one worker, for as long as the `block_on` that runs them.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::common::*;
use netpoll_core::sync::Flag;
use netpoll_rt::time::sleep;
use netpoll_rt::{Runtime, spawn, spawn_local, yield_now};

/// Returns the message of the panic of a closure.
fn message(closure: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(closure)).unwrap_err();
    payload.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn it_shares_what_is_not_send_and_gives_it_back() {
    on(&[1], async || {
        let (a, b) = pair().await;
        let sum = Rc::new(Cell::new(0));
        let adding = spawn_local({
            let sum = sum.clone();
            async move {
                let mut buffer = [0; 8];
                while let Ok(n @ 1..) = a.read(&mut buffer).await {
                    buffer[..n].iter().for_each(|&byte| sum.set(sum.get() + u32::from(byte)));
                }
                sum
            }
        });
        let sending = spawn(async move {
            for byte in 1..=10 {
                b.write_all(&[byte]).await.unwrap();
                yield_now().await;
            }
        });
        sending.await.unwrap();
        assert!(Rc::ptr_eq(&adding.await.unwrap(), &sum));
        assert_eq!(sum.get(), 55);
    });
}

#[test]
fn it_spawns_others_sleeps_panics_and_is_aborted() {
    on(&[1], async || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let outer = spawn_local({
            let seen = seen.clone();
            async move {
                let inner = spawn_local({
                    let seen = seen.clone();
                    async move {
                        sleep(Duration::from_millis(1)).await; // time is tested
                        seen.borrow_mut().push("inner");
                    }
                });
                inner.await.unwrap();
                seen.borrow_mut().push("outer");
            }
        });
        outer.await.unwrap();
        assert_eq!(*seen.borrow(), ["inner", "outer"]);
        let panicked = spawn_local(async { panic!("on purpose") }).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(panicked.to_string(), "the task panicked: on purpose");
        let kept = Rc::new(());
        let aborted = spawn_local({
            let kept = kept.clone();
            async move {
                pending::<()>().await;
                drop(kept);
            }
        });
        yield_now().await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert_eq!(Rc::strong_count(&kept), 1);
    });
}

#[test]
fn without_a_place_it_says_what_to_do() {
    let _alone = alone();
    let nowhere = thread::spawn(|| message(|| drop(spawn_local(async {})))).join().unwrap();
    assert!(nowhere.contains("workers(1)") && nowhere.contains("no runtime's block_on"), "{nowhere}");
    let many = runtime(4);
    let message = many.block_on(async { spawn(async { message(|| drop(spawn_local(async {}))) }).await });
    assert!(message.unwrap().contains("this runtime has 4 workers"));
}

#[test]
fn another_thread_runs_the_tasks() {
    let _alone = alone();
    let runtime = Arc::new(runtime(1));
    let _watch = Watch::over(runtime.handle().clone());
    let (leave, left) = (Gate::new(), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                left.wait();
                leave.wait().await;
            });
        });
        left.wait();
        let message = runtime.block_on(async { message(|| drop(spawn_local(async {}))) });
        assert!(message.contains("another thread is in block_on"), "{message}");
        leave.open();
    });
}

/// Says on which thread it is dropped, and does something there.
struct Tells {
    to: mpsc::Sender<thread::ThreadId>,
    // Not Send.
    _stays: Rc<()>,
}

impl Tells {
    fn new(to: &mpsc::Sender<thread::ThreadId>) -> Self {
        Self { to: to.clone(), _stays: Rc::new(()) }
    }
}

impl Drop for Tells {
    fn drop(&mut self) {
        self.to.send(thread::current().id()).unwrap();
    }
}

/// A thread that wakes every waker it is sent.
struct Waking {
    waker: Arc<Mutex<Option<Waker>>>,
    stop: Arc<Flag>,
    thread: thread::JoinHandle<()>,
}

impl Waking {
    fn start() -> Self {
        let (waker, stop) = (Arc::new(Mutex::new(None::<Waker>)), Arc::new(Flag::new()));
        let thread = thread::spawn({
            let (waker, stop) = (waker.clone(), stop.clone());
            move || {
                while !stop.is_set() {
                    let waker = waker.lock().unwrap().clone();
                    waker.inspect(Waker::wake_by_ref);
                }
            }
        });
        Self { waker, stop, thread }
    }

    fn end(self) {
        self.stop.set();
        self.thread.join().unwrap();
    }
}

/// Starts waiting tasks: one waits for a socket, one sleeps, one is woken by another thread again and again, one spawns
/// another when it is dropped; all are polled once.
async fn waiting(waking: &Waking, tell: &mpsc::Sender<thread::ThreadId>) {
    let (a, b) = pair().await;
    let flag = Tells::new(tell);
    drop(spawn_local(async move {
        a.read(&mut [0]).await.unwrap();
        drop((flag, b));
    }));
    let flag = Tells::new(tell);
    drop(spawn_local(async move {
        sleep(Duration::from_secs(3600)).await; // time is tested
        drop(flag);
    }));
    let (flag, waker) = (Tells::new(tell), waking.waker.clone());
    drop(spawn_local(poll_fn(move |cx| {
        let _flag = &flag;
        *waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    })));
    let (flag, more) = (Tells::new(tell), Tells::new(tell));
    let spawns = SpawnsOnDrop(Some(Box::new(move || {
        drop(spawn_local(async move { drop(more) }));
    })));
    drop(spawn_local(async move {
        pending::<()>().await;
        drop((spawns, flag));
    }));
    parked(1).await;
}

#[test]
fn all_are_dropped_on_their_thread_when_block_on_ends() {
    let _alone = alone();
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    let _watch = Watch::over(handle.clone());
    for _ in 0..50 {
        let (tell, told) = mpsc::channel();
        let waking = Waking::start();
        let [other] = runtime.block_on(async {
            waiting(&waking, &tell).await;
            let flag = Tells::new(&tell);
            let aborted = spawn_local(async move {
                pending::<()>().await;
                drop(flag);
            });
            // In the queue, and never polled.
            let flag = Tells::new(&tell);
            drop(spawn_local(async move { drop(flag) }));
            aborted.abort();
            // Any thread may run this one, later.
            [spawn(async { 7 })]
        });
        drop(tell);
        let threads: Vec<_> = told.iter().collect();
        assert_eq!(threads, [thread::current().id(); 7]);
        let on_another = thread::scope(|scope| scope.spawn(|| runtime.block_on(other)).join().unwrap());
        assert_eq!(on_another.unwrap(), 7, "a task that may go anywhere does");
        waking.end();
        assert_eq!(handle.metrics().tasks, 0);
    }
    drop(runtime);
    assert_nothing_left(&handle);
}

struct SpawnsOnDrop(Option<Box<dyn FnOnce()>>);

impl Drop for SpawnsOnDrop {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

#[test]
fn a_drop_that_panics_affects_no_other_task() {
    let _alone = alone();
    let runtime = runtime(1);
    let (tell, told) = mpsc::channel();
    runtime.block_on(async {
        for _ in 0..3 {
            let flag = Tells::new(&tell);
            drop(spawn_local(async move {
                let _flag = flag;
                let _panics = SpawnsOnDrop(Some(Box::new(|| panic!("on purpose"))));
                pending::<()>().await;
            }));
        }
        yield_now().await;
    });
    drop(tell);
    assert_eq!(told.iter().count(), 3);
    assert_eq!(runtime.metrics().tasks, 0);
    assert_eq!(runtime.block_on(async { spawn_local(async { 1 }).await.unwrap() }), 1);
}

#[test]
fn they_outlive_a_block_on_within() {
    let _alone = alone();
    let runtime = Arc::new(Runtime::builder().workers(1).build().unwrap());
    let inner = runtime.clone();
    let value = runtime.block_on(async move {
        let gate = Gate::new();
        let [task] = inner.block_on(async {
            let gate = gate.clone();
            [spawn_local(async move {
                gate.wait().await;
                Rc::new(5)
            })]
        });
        gate.open();
        task.await.map(|value| *value)
    });
    assert_eq!(value.unwrap(), 5);
}
