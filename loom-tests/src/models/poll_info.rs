//! Models of `poll_info`.

use crate::harness::Model;

/// The models of this word.
pub const MODELS: &[Model] = &[];
