//! Batches of messages: one of the rooms of `sys` with `unsafe` in them.
