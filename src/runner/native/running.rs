//! A jail that runs, and how it ended.

use std::{fmt, net::TcpListener};

use crate::domain::Verdict;

/// A jail that runs. Dropping it kills all that is in it.
#[derive(Debug)]
pub struct RunningJail {}

/// How a jail ended. Nothing of it is alive any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailEnd {
    /// What became of the program: exited, signalled, out of memory, process limit, file limit, or
    /// refused where it could not be executed. The caller knows better where it killed the jail.
    pub verdict: Verdict,
    pub usage: Usage,
}

/// What a jail used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most memory at once. With [`Mechanism::Poll`] as seen every 50 ms.
    pub peak_memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub limited_by: Mechanism,
}

/// What holds the limits of memory and processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Cgroup2,
    Cgroup1,
    /// The runner sums up the jail's memory every 50 ms ([`RunningJail::enforce`]); `RLIMIT_NPROC`
    /// bounds the processes.
    Poll,
}

impl Mechanism {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cgroup2 => "cgroup2",
            Self::Cgroup1 => "cgroup1",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a phase is asked to stop. After one of them the jail ends when its last process has ended,
/// not with its first: programs that a dying shell leaves behind keep their grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    Interrupt,
    Terminate,
}

impl RunningJail {
    /// The listener that [`super::PhaseJail::listen`] asked for, once.
    pub fn take_listener(&mut self) -> Option<TcpListener> {
        None
    }

    /// Sends the signal to every process of the phase.
    pub fn signal(&self, _signal: StopSignal) {}

    /// Kills every process of the jail, now.
    pub fn kill(&self) {}

    /// To be called every 50 ms where [`Usage::limited_by`] is [`Mechanism::Poll`], harmless
    /// elsewhere: sums up the jail's memory and kills the jail when it is above its limit.
    pub fn enforce(&mut self) {}

    /// Waits until every process of the jail is dead and says how it ended. Blocks; the descriptor of
    /// [`std::os::fd::AsFd`] is readable as soon as it would not.
    pub fn wait(self) -> JailEnd {
        JailEnd {
            verdict: Verdict::Lost,
            usage: Usage { peak_memory_bytes: None, cpu_ms: None, limited_by: Mechanism::Poll },
        }
    }
}
