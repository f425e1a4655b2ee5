//! How a phase ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a phase ended: one of a closed set, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    Exited {
        code: i32,
    },
    Signalled {
        signal: i32,
    },
    /// Wall time was up.
    TimedOut {
        seconds: u64,
    },
    /// Nothing was printed for this long.
    Silent {
        seconds: u64,
    },
    OutOfFuel {
        fuel: u64,
    },
    OutOfMemory {
        limit_bytes: u64,
    },
    ProcessLimit {
        limit: u32,
    },
    OutputLimit {
        limit_bytes: u64,
    },
    FileLimit {
        limit_bytes: u64,
        what: String,
    },
    /// A guest trapped.
    Trapped {
        reason: String,
    },
    /// Somebody asked for it.
    Stopped,
    /// The runner is gone and nobody knows how the phase ended.
    Lost,
    /// The command was never run, and why.
    Refused {
        reason: String,
    },
}

impl Verdict {
    pub const SUCCESS: Self = Self::Exited { code: 0 };

    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The exit code, where the phase got as far as having one.
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit {code}"),
            Self::Signalled { signal } => write!(f, "killed by signal {signal}{}", signal_name(*signal)),
            Self::TimedOut { seconds } => write!(f, "timed out after {seconds} s"),
            Self::Silent { seconds } => write!(f, "printed nothing for {seconds} s"),
            Self::OutOfFuel { fuel } => write!(f, "out of fuel ({fuel})"),
            Self::OutOfMemory { limit_bytes } => write!(f, "out of memory (limit {})", bytes(*limit_bytes)),
            Self::ProcessLimit { limit } => write!(f, "too many processes (limit {limit})"),
            Self::OutputLimit { limit_bytes } => write!(f, "too much output (limit {})", bytes(*limit_bytes)),
            Self::FileLimit { limit_bytes, what } => write!(f, "{what} too large (limit {})", bytes(*limit_bytes)),
            Self::Trapped { reason } => write!(f, "trapped: {reason}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Lost => f.write_str("lost"),
            Self::Refused { reason } => f.write_str(reason),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS: a system call that the jail forbids)",
        _ => "",
    }
}

/// A number of bytes for people: `64 KiB`, `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() < 0.05 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_written_as_the_api_shows_them() {
        let json = |verdict: &Verdict| serde_json::to_string(verdict).unwrap();
        assert_eq!(json(&Verdict::SUCCESS), r#"{"kind":"exited","code":0}"#);
        assert_eq!(json(&Verdict::Signalled { signal: 9 }), r#"{"kind":"signalled","signal":9}"#);
        assert_eq!(json(&Verdict::Stopped), r#"{"kind":"stopped"}"#);
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(268_435_456), "256 MiB");
        assert_eq!(bytes(4 << 30), "4 GiB");
    }
}
