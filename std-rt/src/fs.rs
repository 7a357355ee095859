//! Files, on threads that may block.
