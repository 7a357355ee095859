//! The attributes of the feature `macros`: `cargo test -p netpoll-rt --features macros --test macros`.

mod refused;
mod runs;
