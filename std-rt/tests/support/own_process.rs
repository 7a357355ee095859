//! Tests that run in a process of their own, because they change what belongs to a whole process: a limit, the action of a
//! signal, the CPUs that it may use, the default runtime.
//!
//! The test starts its own program once more, for this one test. The name of the test comes from the type of a closure, so
//! each `body` below must be a closure of the test's own function.

use std::any::type_name_of_val;
use std::process::{Command, Output};

use super::{alone, each};

/// The variable that is set in the new process.
const CHILD: &str = "NETPOLL_TEST_CHILD";

/// Runs `body` in a process of its own and asserts that it succeeds there.
#[track_caller]
pub fn in_own_process(body: impl FnOnce()) {
    if let Some(ended) = output_of(&[], body) {
        assert_passed(&ended);
    }
}

/// Runs `body` as [`each`] does, in a process of its own that may have 64 descriptors.
#[track_caller]
pub fn with_few_descriptors(body: impl AsyncFn()) {
    match rerun(&["sh", "-c", "ulimit -n 64 && exec \"$0\" \"$@\""], &body) {
        Some(ended) => assert_passed(&ended),
        None => each(body),
    }
}

/// Runs `body` in a process of its own, whose command line begins with `before`. Returns how that process ended, or `None`
/// in that process itself.
pub fn output_of(before: &[&str], body: impl FnOnce()) -> Option<Output> {
    let ended = rerun(before, &body);
    if ended.is_none() {
        body();
    }
    ended
}

/// Starts the test that `body` is a closure of in a process of its own, and returns how that process ended. In the new
/// process itself this returns `None`.
pub fn rerun<F>(before: &[&str], body: &F) -> Option<Output> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let _alone = alone();
    let program = std::env::current_exe().unwrap();
    // The type of a closure is called `program::module::test::{{closure}}`.
    let (_, path) = type_name_of_val(body).split_once("::").unwrap();
    let test = path.split("::{{").next().unwrap();
    let own = [program.to_str().unwrap(), test, "--exact", "--nocapture", "--test-threads=1"];
    let words = [before, &own].concat();
    Some(Command::new(words[0]).args(&words[1..]).env(CHILD, "1").output().unwrap())
}

/// Asserts that the test has run in its own process, and has passed.
#[track_caller]
pub fn assert_passed(ended: &Output) {
    let [told, errors] = [&ended.stdout, &ended.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ended.status.success() && told.contains("1 passed"), "{}\n{told}{errors}", ended.status);
}
