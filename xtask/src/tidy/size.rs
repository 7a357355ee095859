//! Files and functions that a reader can hold in the head.

use super::Looked;
use super::files::{Files, Finding};
use super::tables::{FILE_LINES, FUNCTION_LINES};

/// Every Rust file of the five packages, tests too.
pub fn sizes(files: &Files, out: &mut Vec<Finding>) -> Looked {
    let (mut functions, mut longest_file, mut longest_function) = (0, 0, 0);
    for source in &files.rust {
        let lines = source.raw.len();
        longest_file = longest_file.max(lines);
        if lines > FILE_LINES {
            out.push(source.finding(FILE_LINES, format!("{lines} lines, at most {FILE_LINES}")));
        }
        for function in &source.functions {
            let lines = function.last - function.first + 1;
            longest_function = longest_function.max(lines);
            functions += 1;
            if lines > FUNCTION_LINES {
                let message = format!("fn {} has {lines} lines, at most {FUNCTION_LINES}", function.name);
                out.push(source.finding(function.first, message));
            }
        }
    }
    let files = files.rust.len();
    let told =
        format!("{files} files (longest {longest_file}), {functions} functions (longest {longest_function})");
    Looked(functions, told)
}
