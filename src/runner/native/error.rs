//! Why there is no jail.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::wire::Failure;

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
    #[error("cannot {doing}: {source}{}", mend_clause(*mend))]
    Setup { doing: String, source: io::Error, mend: Option<&'static str> },
    #[error("cannot {doing} {}: {source}", path.display())]
    Cgroup { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the jail was not ready after {seconds} s")]
    Slow { seconds: u64 },
    #[error("the process that makes jails is gone")]
    ZygoteGone,
}

fn mend_clause(mend: Option<&'static str>) -> String {
    mend.map(|mend| format!("; {mend}")).unwrap_or_default()
}

impl From<Failure> for JailError {
    fn from(failure: Failure) -> Self {
        let source = failure.source();
        let mend = mend(&failure.doing, failure.errno);
        Self::Setup { doing: failure.doing, source, mend }
    }
}

/// What people can do about the usual refusals of a host.
fn mend(doing: &str, errno: i32) -> Option<&'static str> {
    let about = |what: &str| doing.contains(what);
    match errno {
        libc::ENOSYS => Some("Airlock needs Linux 5.12 or newer"),
        libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EINVAL if about("clone a process") || about("inner user") => {
            Some(
                "this host lets no ordinary user make user namespaces (kernel.unprivileged_userns_clone=1, \
             user.max_user_namespaces > 0), or this container forbids namespaces; allow them or run the server as root",
            )
        }
        libc::EPERM | libc::EACCES if about("map the") || about("freeze the group") || about("make mounts private") => {
            Some(
                "this host's security module takes away what a user namespace gives \
             (kernel.apparmor_restrict_unprivileged_userns=0, or a profile that allows `userns`)",
            )
        }
        libc::EPERM if about("new proc") => Some(
            "parts of /proc are covered here, as in a container: run the container with an unmasked /proc, \
             or the server as root on the host",
        ),
        libc::EINVAL if about("change the root") => {
            Some("the root of this host is not a mount that can be exchanged (an initial ram disk, or a chroot)")
        }
        libc::ELOOP | libc::ENOTDIR if about("show `") => {
            Some("a run or its source has put a link or a file there, and no link is followed where runs can write")
        }
        libc::EACCES if about("show ") => Some("the server's user must be able to reach that path"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(doing: &str, errno: i32) -> String {
        JailError::from(Failure { doing: doing.to_owned(), errno }).to_string()
    }

    #[test]
    fn a_host_without_user_namespaces_is_told_how_to_mend_it() {
        let text = error("clone a process into new namespaces", libc::EPERM);
        assert!(text.starts_with("cannot clone a process into new namespaces: Operation not permitted"), "{text}");
        assert!(text.contains("user.max_user_namespaces"), "{text}");
    }

    #[test]
    fn an_unexpected_refusal_is_named_without_guessing() {
        assert_eq!(error("attach /tmp", libc::EIO), "cannot attach /tmp: Input/output error (os error 5)");
    }
}
