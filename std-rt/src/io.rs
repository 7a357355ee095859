//! Copying between descriptors.
