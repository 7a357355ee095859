//! Signals of the process, as futures.
