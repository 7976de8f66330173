//! The state machine: `handle_*` takes bytes and time, `poll_*` gives.
