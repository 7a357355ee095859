//! An exhaustive search with bounds. Shuttle's own has none, so a thread that parks in a loop, and may be woken without
//! a token at any time, gives it no end.
//!
//! A preemption takes the processor from a thread that could go on. If the thread yields, waits or ends, the choice of
//! the next one costs nothing. An unfair choice is the return of a park without a token, or a thread that goes on although
//! it yields and others could run.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// Unfair choices in one schedule.
const UNFAIR: usize = 1;

/// A depth-first search of every schedule within the bounds.
pub struct Search {
    preemptions: Option<usize>,
    /// The decision at each step, and its alternatives.
    path: Vec<Choice>,
    /// The number of steps of the path that this schedule has taken.
    step: usize,
    preempted: usize,
    unfair: usize,
    begun: bool,
}

struct Choice {
    options: Vec<Choosable>,
    taken: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Choosable {
    task: TaskId,
    preempts: bool,
    is_unfair: bool,
}

impl Search {
    /// Creates a search with a number of preemptions in a schedule, or with any number.
    pub fn new(preemptions: Option<usize>) -> Self {
        Self { preemptions, path: Vec::new(), step: 0, preempted: 0, unfair: 0, begun: false }
    }

    /// Returns the threads that may run next. The thread that runs comes first, so that the first schedule is the one without preemptions.
    fn options(&self, tasks: &[&Task], current: Option<TaskId>, yields: bool) -> Vec<Choosable> {
        let goes_on = tasks.iter().any(|task| Some(task.id()) == current && task.runnable());
        let others = tasks.iter().filter(|task| task.runnable() && Some(task.id()) != current).count();
        let choosable = |task: &&Task| {
            let is_current = Some(task.id()) == current;
            let preempts = !is_current && goes_on && !yields;
            Choosable {
                task: task.id(),
                preempts,
                is_unfair: !task.runnable() || is_current && yields && others > 0,
            }
        };
        let mut options: Vec<_> = tasks.iter().map(choosable).filter(|option| self.affords(option)).collect();
        options.sort_by_key(|option| (option.preempts, option.is_unfair, Some(option.task) != current));
        options
    }

    fn affords(&self, option: &Choosable) -> bool {
        let preemption = !option.preempts || self.preemptions.is_none_or(|bound| self.preempted < bound);
        preemption && (!option.is_unfair || self.unfair < UNFAIR)
    }
}

impl Scheduler for Search {
    fn new_execution(&mut self) -> Option<Schedule> {
        if std::mem::replace(&mut self.begun, true) {
            while self.path.last().is_some_and(|choice| choice.taken + 1 == choice.options.len()) {
                self.path.pop();
            }
            self.path.last_mut()?.taken += 1;
        }
        (self.step, self.preempted, self.unfair) = (0, 0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(&mut self, tasks: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let options = self.options(tasks, current, yields);
        if self.step == self.path.len() {
            assert!(!options.is_empty(), "a thread that can run is always affordable");
            self.path.push(Choice { options, taken: 0 });
        } else {
            let known = &self.path[self.step].options;
            assert!(*known == options, "the model is not the same in each schedule");
        }
        let choice = &self.path[self.step];
        let Choosable { task, preempts, is_unfair } = choice.options[choice.taken];
        self.step += 1;
        self.preempted += usize::from(preempts);
        self.unfair += usize::from(is_unfair);
        Some(task)
    }

    fn next_u64(&mut self) -> u64 {
        panic!("a model draws nothing at random: the search could not try every value")
    }
}
