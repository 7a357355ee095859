//! UDP: messages that may be lost, doubled and reordered.
