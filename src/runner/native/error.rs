//! Why there is no jail.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a jail could not be made. Each says what the host lacks and, where it is known, how to mend
/// it. There is no fallback.
#[derive(Debug, Error)]
pub enum JailError {
    #[error("the jail must be forked while the runner has one thread; it has {count}")]
    Threads { count: usize },
    #[error("a jail made by root needs an unprivileged user of its own; uid 0 is never one")]
    NoUser,
    #[error("only root can run a jail as uid {user}; this server is not root")]
    ForeignUser { user: u32 },
    /// The caller asked for something that cannot be.
    #[error("{what}")]
    Request { what: String },
    #[error("cannot {doing}: {source}{}", mend_clause(mend))]
    Setup { doing: String, source: io::Error, mend: Option<&'static str> },
    #[error("cannot {doing} {}: {source}", path.display())]
    Cgroup { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the jail was not ready after {seconds} s")]
    Slow { seconds: u64 },
    #[error("the process that makes jails is gone")]
    ZygoteGone,
}

fn mend_clause(mend: &Option<&'static str>) -> String {
    mend.map(|mend| format!("; {mend}")).unwrap_or_default()
}
