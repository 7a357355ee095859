//! Descriptors that travel with bytes.
