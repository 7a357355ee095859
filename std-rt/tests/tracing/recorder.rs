//! A subscriber that records every span and event of the runtime, for all tests of the program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of a span or an event, as text.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// Returns a field; an empty text if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// A span.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: u64,
    pub name: &'static str,
    pub target: &'static str,
    pub fields: Fields,
    pub entered: usize,
    /// The number of handles; the span is closed at 0.
    references: usize,
}

impl Recorded {
    pub fn is_closed(&self) -> bool {
        self.references == 0
    }
}

/// An event, and the ids of the spans around it, the outermost first.
#[derive(Clone, Debug)]
pub struct Happened {
    pub target: &'static str,
    pub fields: Fields,
    pub within: Vec<u64>,
}

#[derive(Default)]
struct State {
    spans: Vec<Recorded>,
    events: Vec<Happened>,
    /// The id of the task for which the subscriber panics, at each use of its waker.
    panics_for: Option<u64>,
}

thread_local! {
    static STACK: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The subscriber of this program.
#[derive(Clone, Copy)]
pub struct Recorder(&'static Mutex<State>);

/// Returns the recorder, which is installed by the first call.
pub fn recorder() -> Recorder {
    static STATE: Mutex<State> =
        Mutex::new(State { spans: Vec::new(), events: Vec::new(), panics_for: None });
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let recorder = Recorder(&STATE);
    INSTALLED.get_or_init(|| {
        tracing::subscriber::set_global_default(recorder).expect("the program has no other subscriber");
    });
    recorder
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the spans that satisfy a condition.
    pub fn spans(&self, is_meant: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        self.lock().spans.iter().filter(|span| is_meant(span)).cloned().collect()
    }

    /// Returns the one span that satisfies a condition.
    #[track_caller]
    pub fn span(&self, is_meant: impl Fn(&Recorded) -> bool) -> Recorded {
        let mut found = self.spans(is_meant);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// Returns the events that satisfy a condition.
    pub fn events(&self, is_meant: impl Fn(&Happened) -> bool) -> Vec<Happened> {
        self.lock().events.iter().filter(|event| is_meant(event)).cloned().collect()
    }

    /// Returns the operations on the wakers of a task, in order.
    pub fn waker_ops(&self, task: u64) -> Vec<String> {
        let of_task = |event: &Happened| {
            event.target == "tokio::task::waker" && event.fields.get("task.id") == task.to_string()
        };
        self.events(of_task).iter().map(|event| event.fields.get("op").to_owned()).collect()
    }

    /// Panics from now on at each event of a waker of this task.
    pub fn panic_for(&self, task: u64) {
        self.lock().panics_for = Some(task);
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut state = self.lock();
        let id = state.spans.len() as u64 + 1;
        let (name, target) = (span.metadata().name(), span.metadata().target());
        state.spans.push(Recorded { id, name, target, fields, entered: 0, references: 1 });
        Id::from_u64(id)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut state = self.lock();
        let panics = state.panics_for.is_some_and(|task| fields.get("task.id") == task.to_string());
        let within = STACK.with_borrow(Vec::clone);
        state.events.push(Happened { target: event.metadata().target(), fields, within });
        drop(state);
        assert!(!panics, "of the subscriber");
    }

    fn enter(&self, span: &Id) {
        self.lock().spans[span.into_u64() as usize - 1].entered += 1;
        STACK.with_borrow_mut(|stack| stack.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        assert_eq!(STACK.with_borrow_mut(Vec::pop), Some(span.into_u64()), "spans are left in reverse order");
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.lock().spans[span.into_u64() as usize - 1].references += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let state = &mut self.lock().spans[span.into_u64() as usize - 1];
        state.references -= 1;
        state.is_closed()
    }
}
