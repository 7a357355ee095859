//! Models of `twins`.

use crate::harness::Model;

/// The models of this word.
pub const MODELS: &[Model] = &[];
