//! Cache lines of one's own.

/// On cache lines of its own: what beside it is only read stays in everybody's cache while this is written. Two lines,
/// since some processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub T);
