//! Models of `runq`.

use crate::harness::Model;

/// The models of this word.
pub const MODELS: &[Model] = &[];
