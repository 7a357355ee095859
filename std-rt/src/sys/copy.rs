//! Copies inside the kernel.
