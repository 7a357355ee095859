//! Signals, as bytes in a pipe.
