//! Messages, one at a time.
