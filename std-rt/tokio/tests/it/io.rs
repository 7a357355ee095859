//! Tests of descriptors and standard streams.
