//! The corrections of loom 0.7.2. `loom-tests self-test` has programs that miss an outcome without corrections 1, 2 and 3.
//! It has none that needs 4 or 5.
//!
//! | # | loom 0.7.2 | corrected |
//! |---|---|---|
//! | 1 | One last access per atomic. A thread's own load hides the loads of the others before it, so its next write is not tried in front of them. | A write depends on the last write and on every thread's last load since then; a load depends on the last write. |
//! | 2 | `fence(SeqCst)` is no operation: it happens with the access before it, and no other order of two fences is tried. | It is an operation, and each depends on the one before it. |
//! | 3 | Within a preemption bound: once the bound is used up, no other thread is tried even where the running one has blocked or ended, although that is no preemption. | Such a switch is free. |
//! | 4 | A thread that has just yielded counts as enabled when an order is to be tried, and then is not. | The other threads are tried, so that it comes to run by way of them. |
//! | 5 | `Notify::notify` hands its causality to a thread that is itself about to notify. | Only to one that waits. |
//!
//! One change is for speed alone: the stacks of an execution's threads serve the next execution. It had mapped new
//! ones for each, which was two thirds of the time.
//!
//! Upstream: tokio-rs/loom#166 and #392 are number 1.

use std::path::PathBuf;

use super::edit::Edit;

type Sources = Vec<(PathBuf, Vec<u8>)>;

/// Silences the compiler about a package that cargo takes for one of ours.
pub fn quiet(sources: &mut Sources) -> Result<(), String> {
    let edit = Edit::of(sources, "src/lib.rs")?;
    let deny = "#![deny(missing_debug_implementations, missing_docs, rust_2018_idioms)]";
    put(sources, edit.replace(deny, 1, "#![allow(warnings)]")?.done())
}

/// Corrects everything.
pub fn apply(sources: &mut Sources) -> Result<(), String> {
    for correct in [atomic, object, execution, path, notify, fences, scheduler] {
        put(sources, correct(sources)?)?;
    }
    sources.push((PathBuf::from("src/rt/fence.rs"), FENCE.as_bytes().to_vec()));
    Ok(())
}

fn put(sources: &mut Sources, (name, text): (PathBuf, Vec<u8>)) -> Result<(), String> {
    let place = sources.iter_mut().find(|(path, _)| *path == name);
    place.ok_or("a file that was read is not there")?.1 = text;
    Ok(())
}

/// Makes correction 1, and the call of correction 2.
fn atomic(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/atomic.rs")?
        .replace(" last_access: Option<Access>,", 1, " last_access: [Option<Access>; MAX_THREADS],")?
        .replace(" last_access: None,", 1, " last_access: Default::default(),")?
        .function("pub(super) fn last_dependent_access(", ATOMIC_DEPENDENT)?
        .function("pub(super) fn set_last_access(", ATOMIC_SET)?
        .replace("rt::synchronize(|execution| match ordering {", 1, FENCE_IS_AN_OPERATION)?
        .done())
}

const ATOMIC_DEPENDENT: &str = "
pub(super) fn dependent_accesses(&self, action: Action) -> [Option<&Access>; MAX_THREADS + 1] {
    let mut found = [None; MAX_THREADS + 1];
    found[MAX_THREADS] = self.last_non_load_access.as_ref();
    if action != Action::Load {
        for (found, load) in found.iter_mut().zip(&self.last_access) {
            *found = load.as_ref();
        }
    }
    found
}
";

/// Forgets the loads before a write: an access that comes later, but not after them, does not come after the write
/// either.
const ATOMIC_SET: &str = "
pub(super) fn set_last_access(
    &mut self,
    action: Action,
    thread: usize,
    path_id: usize,
    version: &VersionVec,
) {
    if action == Action::Load {
        Access::set_or_create(&mut self.last_access[thread], path_id, version);
    } else {
        self.last_access = Default::default();
        Access::set_or_create(&mut self.last_non_load_access, path_id, version);
    }
}
";

const FENCE_IS_AN_OPERATION: &str = "if ordering == Ordering::SeqCst {
        super::fence::operation();
    }
    rt::synchronize(|execution| match ordering {";

/// Makes corrections 1 and 2: every object says which accesses an operation depends on. On all objects but atomics and
/// `Arc` any operation depends on any other, so the last one stands for those before it.
fn object(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/object.rs")?
        .function("pub(super) fn last_dependent_access(", OBJECT_DEPENDENT)?
        .function("pub(super) fn set_last_access(", OBJECT_SET)?
        .replace("    Cell(rt::cell::State),", 1, "    Cell(rt::cell::State),\n    Fence(rt::fence::State),")?
        .done())
}

const OBJECT_DEPENDENT: &str = "
pub(super) fn dependent_accesses(
    &self,
    operation: Operation,
) -> [Option<&Access>; rt::MAX_THREADS + 1] {
    let last = match &self.entries[operation.obj.index] {
        Entry::Atomic(entry) => return entry.dependent_accesses(operation.action.into()),
        Entry::Arc(entry) => entry.last_dependent_access(operation.action.into()),
        Entry::Channel(entry) => entry.last_dependent_access(operation.action.into()),
        Entry::Condvar(entry) => entry.last_dependent_access(),
        Entry::Fence(entry) => entry.last_access.as_ref(),
        Entry::Mutex(entry) => entry.last_dependent_access(),
        Entry::Notify(entry) => entry.last_dependent_access(),
        Entry::RwLock(entry) => entry.last_dependent_access(),
        Entry::Alloc(_) | Entry::Cell(_) => unreachable!(\"no operation on this is scheduled\"),
    };
    let mut found = [None; rt::MAX_THREADS + 1];
    found[0] = last;
    found
}
";

const OBJECT_SET: &str = "
pub(super) fn set_last_access(
    &mut self,
    operation: Operation,
    thread: usize,
    path_id: usize,
    dpor_vv: &VersionVec,
) {
    let action = operation.action;
    match &mut self.entries[operation.obj.index] {
        Entry::Atomic(entry) => entry.set_last_access(action.into(), thread, path_id, dpor_vv),
        Entry::Arc(entry) => entry.set_last_access(action.into(), path_id, dpor_vv),
        Entry::Channel(entry) => entry.set_last_access(action.into(), path_id, dpor_vv),
        Entry::Condvar(entry) => entry.set_last_access(path_id, dpor_vv),
        Entry::Fence(entry) => Access::set_or_create(&mut entry.last_access, path_id, dpor_vv),
        Entry::Mutex(entry) => entry.set_last_access(path_id, dpor_vv),
        Entry::Notify(entry) => entry.set_last_access(path_id, dpor_vv),
        Entry::RwLock(entry) => entry.set_last_access(path_id, dpor_vv),
        Entry::Alloc(_) | Entry::Cell(_) => unreachable!(\"no operation on this is scheduled\"),
    }
}
";

/// Makes correction 1 in the scheduling of an operation: each access is treated as the one was.
fn execution(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/execution.rs")?
        .replace(
            "if let Some(access) = self.objects.last_dependent_access(operation) {",
            2,
            "for access in self.objects.dependent_accesses(operation).into_iter().flatten() {",
        )?
        .replace(
            "set_last_access(operation, path_id,",
            1,
            "set_last_access(operation, th_id.as_usize(), path_id,",
        )?
        .done())
}

/// Makes corrections 3 and 4.
fn path(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/path.rs")?
        .replace(
            "if self.preemptions == bound {",
            1,
            "if self.preemptions == bound && self.initial_active.is_some() {",
        )?
        .replace("let mut initial_active = active;", 1, FIRST_SWITCH)?
        .function(
            "fn is_enabled(",
            "fn is_enabled(&self) -> bool {\n    !matches!(self, Thread::Disabled | Thread::Yield)\n}",
        )?
        .done())
}

/// The main thread runs before the first switch.
const FIRST_SWITCH: &str = "let mut initial_active = active.filter(|thread| prev.is_some() || *thread == 0);";

/// Makes correction 5.
fn notify(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/notify.rs")?
        .replace(
            "if obj == Some(self.state.erase()) {",
            1,
            "if obj == Some(self.state.erase()) && thread.is_blocked() {",
        )?
        .done())
}

/// Makes correction 2.
fn fences(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/mod.rs")?
        .replace("mod execution;\n", 1, "mod execution;\nmod fence;\n")?
        .done())
}

/// Keeps a thread whose function has returned: it waits for the next function.
fn scheduler(sources: &Sources) -> Result<(PathBuf, Vec<u8>), String> {
    Ok(Edit::of(sources, "src/rt/scheduler.rs")?
        .replace("    max_threads: usize,\n}", 1, "    max_threads: usize,\n    idle: Vec<Thread>,\n}")?
        .replace("max_threads: capacity,", 1, "max_threads: capacity,\n            idle: Vec::new(),")?
        .replace("spawn_thread(Box::new(f), None)", 1, "self.thread(Box::new(f), None)")?
        .replace(
            "threads.push(spawn_thread(f, stack_size));",
            1,
            "threads.push(self.thread(f, stack_size));",
        )?
        .replace(
            "for thread in &mut threads {",
            1,
            "self.idle.append(&mut threads);\n                for thread in &mut threads {",
        )?
        .append(REUSE)
        .done())
}

const REUSE: &str = "
impl Scheduler {
    fn thread(&mut self, f: Box<dyn FnOnce()>, stack_size: Option<usize>) -> Thread {
        match (self.idle.pop(), stack_size) {
            (Some(mut thread), None) => {
                thread.set_para(Some(f));
                thread
            }
            _ => spawn_thread(f, stack_size),
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        for thread in &mut self.idle {
            thread.resume();
        }
    }
}
";

/// All sequentially consistent fences of an execution are operations on one object, made by the first of them.
const FENCE: &str = "
use crate::rt::{self, object, Access, Location};

#[derive(Debug)]
pub(super) struct State {
    pub(super) last_access: Option<Access>,
}

pub(super) fn operation() {
    let fences = rt::execution(|execution| {
        let known = execution.objects.iter_ref::<State>().next();
        known.unwrap_or_else(|| execution.objects.insert(State { last_access: None }))
    });
    fences.branch_action(object::Action::Opaque, Location::disabled());
}
";
