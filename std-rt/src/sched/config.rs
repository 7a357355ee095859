//! The settings of a runtime's workers, and the functions of the user that its threads call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::foreign;

/// The settings by which a worker divides its time.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Tasks between two looks at the kernel.
    pub event_interval: u32,
    /// Events taken from the kernel at a time, at most.
    pub events_per_poll: usize,
    /// Set if a task that the running one makes ready comes before those that are queued already.
    pub lifo_slot: bool,
    /// True if the runtime has a monitor.
    pub monitored: bool,
    /// Operations on descriptors that a task makes in one turn, at most.
    pub budget: u64,
    /// Nanoseconds that a worker keeps looking before it sleeps, at most.
    pub spin: u64,
    /// Workers that may be awake while one of them only looks: the others need a processor too.
    pub crowd: usize,
    /// Set if the end of the runtime waits for closures that block, and so leaves their tasks alone.
    pub waits_for_blocking: bool,
    /// The most threads that `block_in_place` starts.
    pub most_successors: usize,
    /// The time for which a thread waits to become a worker.
    pub keep_alive: Duration,
    /// The bytes of the stack of a worker's thread.
    pub stack_size: Option<usize>,
}

/// A function of the user that a thread calls. A panic is caught: the panic hook has reported it.
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<dyn Fn() + Send + Sync>>);

impl Hook {
    /// Creates the hook of a function.
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    /// Returns whether there is a function.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Calls the function; returns whether there is one.
    #[inline]
    pub fn call(&self) -> bool {
        let Some(call) = &self.0 else { return false };
        foreign::catch_panic(|| call());
        true
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

/// A function that calls its argument.
type Scope = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// A function of the user in which a worker's thread runs.
#[derive(Clone, Default)]
pub struct Around(Option<Arc<Scope>>);

impl Around {
    /// Creates the hook of a function.
    pub fn new(call: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    /// Calls the body once: within the function, or after it if the function has not called it.
    pub fn call(&self, body: impl FnOnce()) {
        let mut body = Some(body);
        let mut once = || body.take().into_iter().for_each(|body| body());
        if let Some(call) = &self.0 {
            foreign::catch_panic(|| call(&mut once));
        }
        once();
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Around").field(&self.0.is_some()).finish()
    }
}

/// The names of the threads of a runtime.
#[derive(Clone)]
pub enum ThreadNames {
    /// The defaults, which differ for workers and the pool.
    Default,
    /// A name that the threads are numbered after.
    Numbered(String),
    /// A function that returns the name of each thread.
    Each(Arc<dyn Fn() -> String + Send + Sync>),
}

impl ThreadNames {
    /// Returns the name of thread `number` of a kind: `default` is the name of that kind, and `suffix` follows the user's.
    pub fn get(&self, default: &str, suffix: &str, number: usize) -> String {
        match self {
            Self::Default => format!("{default}-{number}"),
            Self::Numbered(name) => format!("{name}{suffix}-{number}"),
            // A thread cannot have a name with a null.
            Self::Each(name) => name().replace('\0', ""),
        }
    }
}

impl fmt::Debug for ThreadNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::Numbered(name) => f.debug_tuple("Numbered").field(name).finish(),
            Self::Each(_) => f.write_str("Each"),
        }
    }
}

/// The hooks of a runtime's threads.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Runs a worker's thread.
    pub around: Around,
    /// Called by a thread that has started.
    pub start: Hook,
    /// Called by a thread that is about to end.
    pub stop: Hook,
    /// Called by a worker before it sleeps.
    pub park: Hook,
    /// Called by a worker after it has slept.
    pub unpark: Hook,
}

impl Hooks {
    /// Calls the hook of a thread that has started, and that of its end when the guard is dropped.
    pub fn enter_thread(&self) -> ThreadGuard<'_> {
        self.start.call();
        ThreadGuard(self)
    }
}

/// The guard of a thread that has called the hook of its start.
#[must_use]
pub struct ThreadGuard<'a>(&'a Hooks);

impl Drop for ThreadGuard<'_> {
    fn drop(&mut self) {
        self.0.stop.call();
    }
}
