//! Accepting for as long as a server lives.
