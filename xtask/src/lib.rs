//! The parts of the project's tools that the commands and the verifier share: running programs, reading Rust files.

pub mod cmd;
pub mod source;

/// The result of a command. An error is printed as one line; an empty one stands for what was printed before.
pub type Outcome = Result<(), String>;
