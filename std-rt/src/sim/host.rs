//! A host: a runtime of one worker that the simulation drives in steps.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use netpoll_core::sync::Flag;

use super::Result;
use crate::coop;
use crate::dump::Dump;
use crate::runtime::Runtime;
use crate::sched::SchedHandle;
use crate::sys::sim::Kernel;
use crate::sys::sim::world::{HostId, SimJob};
use crate::task::end_turn;
use crate::worker::Worker;

/// The future of a host.
pub type Main = Pin<Box<dyn Future<Output = Result>>>;

/// A host that runs.
pub struct Running {
    host: HostId,
    kernel: Arc<Kernel>,
    /// `None` once it has ended.
    main: Option<Main>,
    main_waker: Arc<MainWaker>,
    worker: Rc<Worker>,
    sched: Arc<SchedHandle>,
    runtime: Option<Runtime>,
}

/// The waker of the future of a host.
struct MainWaker {
    woken: Flag,
    /// Ends the run of tasks.
    stop: Arc<Flag>,
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.set();
        self.stop.set();
    }
}

impl Running {
    /// Starts a host whose future `main` makes within its runtime.
    pub fn start(kernel: &Arc<Kernel>, host: HostId, main: impl FnOnce() -> Main) -> io::Result<Self> {
        kernel.lock().set_current(host);
        let runtime = Runtime::builder()
            .workers(1)
            .spin_before_park(Duration::ZERO)
            .timer_slack(Duration::ZERO)
            // A thread of the pool runs within a step: it ends when it has no job.
            .thread_keep_alive(Duration::ZERO)
            .build()?;
        let sched = runtime.handle().clone().into_sched();
        let worker = Rc::new(Worker::new(&sched, 0));
        let main_waker = Arc::new(MainWaker { woken: Flag::new(), stop: kernel.lock().stop_flag(host) });
        main_waker.woken.set();
        let mut this = Self {
            host,
            kernel: kernel.clone(),
            main: None,
            main_waker,
            worker,
            sched,
            runtime: Some(runtime),
        };
        this.main = Some(this.within(main));
        Ok(this)
    }

    /// Calls `call` on the worker of the host.
    fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        let _entered = self.sched.enter();
        let _worker = self.worker.enter();
        // A turn of a host is no part of a task.
        let _budget = coop::replace_budget(coop::UNLIMITED);
        call()
    }

    /// Returns whether the host has something to do that its poller does not know.
    pub fn has_work(&self) -> bool {
        self.sched.has_work() || self.sched.has_next() || self.main_waker.woken.is_set()
    }

    /// Runs the host until it sleeps, or has had a share of the processor. Returns the result of its future once that has
    /// ended.
    pub fn step(&mut self, jobs: Vec<SimJob>) -> Option<Result> {
        // As on threads of their own, which no worker is.
        for SimJob(job) in jobs {
            job();
        }
        let mut main = self.main.take();
        let waker = Waker::from(self.main_waker.clone());
        let result = self.within(|| {
            let mut result = None;
            coop::set_budget(self.sched.config().budget);
            if self.main_waker.woken.clear()
                && let Some(future) = &mut main
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                main = None;
                result = Some(value);
            }
            end_turn();
            self.run_tasks();
            result
        });
        self.main = main;
        result
    }

    /// Runs the tasks that are runnable, and the poller until it has nothing.
    fn run_tasks(&self) {
        self.main_waker.stop.clear();
        if self.main_waker.woken.is_set() {
            // It has yielded: every task that is runnable has a turn first.
            self.worker.run_ready();
        } else {
            self.worker.run(Some(&self.main_waker.stop));
            self.worker.run_queued();
        }
    }

    /// Returns the state of the runtime.
    pub fn dump(&self) -> Dump {
        Dump::of(&self.sched)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kernel.lock().set_current(self.host);
        let (main, runtime) = (self.main.take(), self.runtime.take());
        self.within(|| {
            drop(main);
            self.worker.drop_locals();
        });
        drop(runtime);
    }
}
