//! The runtime, its builder and its handle.
