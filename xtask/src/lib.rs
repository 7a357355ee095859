//! The parts that the commands, `tidy` and the verifier share.

pub mod cmd;

use std::process::ExitCode;

/// The result of a command. An error is printed as one line; an empty one stands for lines that were printed before.
pub type Outcome = Result<(), String>;

/// Prints the error of a command and returns the exit code of the program.
pub fn exit_code(word: &str, outcome: Outcome) -> ExitCode {
    let Err(reason) = outcome else { return ExitCode::SUCCESS };
    if !reason.is_empty() {
        eprintln!("{word}: {reason}");
    }
    ExitCode::FAILURE
}
