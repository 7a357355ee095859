//! Tests of the runtime, its builder and its handles.
