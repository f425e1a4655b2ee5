//! Why the host ended a guest.

/// Travels through Wasmtime as an error and is found again at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    #[error("the output limit is reached")]
    Output,
    #[error("the memory limit is reached")]
    Memory,
    #[error("the time is up")]
    Time,
    #[error("an end was asked for")]
    Stop,
}

/// A guest's `proc_exit` with any code; Wasmtime's own takes only those below 126.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exit {0}")]
pub struct Exit(pub i32);
