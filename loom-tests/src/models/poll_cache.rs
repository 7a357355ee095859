//! Models of `poll_cache`.

use crate::harness::Model;

/// The models of this word.
pub const MODELS: &[Model] = &[];
