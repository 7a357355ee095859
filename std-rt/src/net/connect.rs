//! Connecting by name: several addresses, raced.
