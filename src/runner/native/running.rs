//! A jail that runs, and how it ended.

use std::{
    fmt,
    io::Write,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::process::{Signal, pidfd_send_signal};

use super::{
    JailError, RoomView,
    cgroup::{Group, Readings},
    processes,
    sys::{self, Reaped},
    wire::{self, Failure, InitReply, order},
};
use crate::domain::{Verdict, stack::Limits};

/// A jail that runs. Dropping it kills all that is in it.
#[derive(Debug)]
pub struct RunningJail {
    jail: Starting,
    listeners: Vec<TcpListener>,
    room: Option<RoomView>,
    /// What is worth knowing about how it was made.
    notes: Vec<String>,
    /// As polled; where a cgroup counts, that knows better.
    peak_memory_bytes: u64,
    over_memory: bool,
    reaped: bool,
}

/// What a jail is made of on the runner's side.
#[derive(Debug)]
pub(super) struct Starting {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub socket: UnixStream,
    pub group: Option<Group>,
    pub limits: Limits,
    pub limited_by: Mechanism,
    pub confined: bool,
}

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
    /// bounds the processes. Not summed up are files in memory that nobody has mapped: /tmp and
    /// /dev/shm, which are bounded by themselves, and anonymous ones. Processor time is not limited.
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
    pub(super) fn new(jail: Starting) -> Self {
        let (listeners, room, notes) = (Vec::new(), None, Vec::new());
        Self { jail, listeners, room, notes, peak_memory_bytes: 0, over_memory: false, reaped: false }
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.jail.socket
    }

    pub(super) fn listen_on(&mut self, listeners: Vec<OwnedFd>) {
        self.listeners = listeners.into_iter().map(TcpListener::from).collect();
    }

    pub(super) fn show_room(&mut self, mut directories: impl Iterator<Item = OwnedFd>, files: u64) {
        let (output, upper, workspace) = (directories.next(), directories.next(), directories.next());
        self.room = output.map(|output| RoomView { output, changes: upper.zip(workspace), files });
    }

    /// What a writable room shows, once. It outlives the jail.
    pub fn take_room(&mut self) -> Option<RoomView> {
        self.room.take()
    }

    pub(super) fn note(&mut self, why: Option<Failure>) {
        let note =
            |why: Failure| format!("owners are not mapped, what is kept was given away: {}", JailError::from(why));
        self.notes.extend(why.map(note));
    }

    /// What is worth knowing about how it was made, once.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The listeners that [`super::PhaseJail::listen`] asked for, in that order, once.
    pub fn take_listeners(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.listeners)
    }

    /// Sends the signal to every process of the phase.
    pub fn signal(&self, signal: StopSignal) {
        self.order(match signal {
            StopSignal::Interrupt => order::INTERRUPT,
            StopSignal::Terminate => order::TERMINATE,
        });
    }

    /// Kills every process of the jail, now.
    pub fn kill(&self) {
        if self.jail.confined {
            // With pid 1 the kernel kills the whole pid namespace. If it is dead already, so are they.
            let _ = pidfd_send_signal(&self.jail.pidfd, Signal::KILL);
        } else {
            // Its init knows its descendants, and waits for the end of each.
            self.order(order::KILL);
        }
    }

    /// If init is gone, the jail is gone.
    fn order(&self, order: u8) {
        let _ = (&self.jail.socket).write_all(&[order]);
    }

    /// To be called every 50 ms where [`Usage::limited_by`] is [`Mechanism::Poll`], harmless
    /// elsewhere: sums up the jail's memory and kills the jail when it is above its limit.
    pub fn enforce(&mut self) {
        if self.jail.limited_by != Mechanism::Poll || self.reaped {
            return;
        }
        let used = processes::descendants(self.jail.pid).into_iter().map(processes::memory_bytes).sum();
        self.peak_memory_bytes = self.peak_memory_bytes.max(used);
        if used > self.jail.limits.memory_bytes {
            self.over_memory = true;
            self.kill();
        }
    }

    /// Waits until every process of the jail is dead and says how it ended. Blocks; the descriptor of
    /// [`AsFd`] is readable as soon as it would not.
    pub fn wait(mut self) -> JailEnd {
        let reaped = sys::wait_with_usage(self.jail.pidfd.as_fd()).ok();
        self.reaped = true;
        self.sweep();
        let told = self.told();
        let readings = self.jail.group.as_ref().map(Group::read).unwrap_or_default();
        let usage = Usage {
            peak_memory_bytes: readings.peak_memory_bytes.or_else(|| self.polled_peak(reaped.as_ref())),
            cpu_ms: readings.cpu_ms.or_else(|| reaped.as_ref().map(|reaped| reaped.cpu_ms)),
            limited_by: self.jail.limited_by,
        };
        let verdict = if self.over_memory {
            Verdict::OutOfMemory { limit_bytes: self.jail.limits.memory_bytes }
        } else {
            verdict(told, &readings, &self.jail.limits)
        };
        JailEnd { verdict, usage }
    }

    /// Without a pid namespace init can be killed and leave others behind; the group knows them.
    fn sweep(&self) {
        if let (false, Some(group)) = (self.jail.confined, &self.jail.group) {
            group.kill();
        }
    }

    /// What init still had to say; nothing blocks any more, since everyone who could speak is dead.
    fn told(&self) -> Option<InitReply> {
        let mut last = None;
        while let Ok(Some((reply, _))) = wire::receive::<InitReply>(&self.jail.socket) {
            // That the program could not be executed says more than that it ended.
            if !matches!(last, Some(InitReply::Failed(_))) {
                last = Some(reply);
            }
        }
        last
    }

    fn polled_peak(&self, reaped: Option<&Reaped>) -> Option<u64> {
        let largest = reaped.map_or(0, |reaped| reaped.largest_rss_bytes);
        Some(self.peak_memory_bytes.max(largest)).filter(|peak| *peak > 0)
    }
}

impl AsFd for RunningJail {
    /// Readable when every process of the jail is dead.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.jail.pidfd.as_fd()
    }
}

impl Drop for RunningJail {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // So that nothing is alive, no zombie stays and the group can be removed. An error can only
            // say that somebody else has waited.
            let _ = sys::wait_with_usage(self.jail.pidfd.as_fd());
            self.sweep();
        }
    }
}

/// What became of the program. The kernel's count of killed processes goes before what the program
/// made of it: with cgroup v2 the whole jail would have ended there.
fn verdict(told: Option<InitReply>, readings: &Readings, limits: &Limits) -> Verdict {
    /// A shell's way to say that its command died of a signal.
    const BY_SIGNAL: i32 = 128;
    if readings.out_of_memory_kills > 0 {
        return Verdict::OutOfMemory { limit_bytes: limits.memory_bytes };
    }
    let file_limit = || Verdict::FileLimit { limit_bytes: limits.file_bytes, what: "a file".to_owned() };
    match told {
        Some(InitReply::Failed(failure)) => {
            Verdict::Refused { reason: format!("cannot {}: {}", failure.doing, failure.source()) }
        }
        Some(InitReply::Exited(0)) => Verdict::SUCCESS,
        Some(InitReply::Signalled(libc::SIGXFSZ)) => file_limit(),
        Some(InitReply::Exited(code)) if code == BY_SIGNAL + libc::SIGXFSZ => file_limit(),
        Some(InitReply::Exited(_) | InitReply::Signalled(_)) if readings.refused_forks > 0 => {
            Verdict::ProcessLimit { limit: limits.processes }
        }
        Some(InitReply::Exited(code)) => Verdict::Exited { code },
        Some(InitReply::Signalled(signal)) => Verdict::Signalled { signal },
        // Init was killed, by the runner or by somebody outside, and everything with it.
        Some(InitReply::Ready { .. } | InitReply::Busy(_)) | None => Verdict::Signalled { signal: libc::SIGKILL },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(told: Option<InitReply>, readings: Readings) -> Verdict {
        verdict(told, &readings, &Limits::default())
    }

    #[test]
    fn a_jail_in_which_the_kernel_had_to_kill_is_out_of_memory_whatever_its_program_says() {
        let readings = Readings { out_of_memory_kills: 1, ..Readings::default() };
        let expected = Verdict::OutOfMemory { limit_bytes: Limits::default().memory_bytes };
        for told in [Some(InitReply::Exited(0)), Some(InitReply::Signalled(9)), None] {
            assert_eq!(judge(told, readings), expected);
        }
    }

    #[test]
    fn refused_forks_matter_only_to_a_phase_that_failed() {
        let readings = Readings { refused_forks: 2, ..Readings::default() };
        assert_eq!(judge(Some(InitReply::Exited(0)), readings), Verdict::SUCCESS);
        let limit = Limits::default().processes;
        assert_eq!(judge(Some(InitReply::Exited(2)), readings), Verdict::ProcessLimit { limit });
    }

    #[test]
    fn a_program_that_cannot_be_executed_was_refused_and_says_why() {
        let failure = Failure { doing: "execute /bin/nope".to_owned(), errno: libc::ENOENT };
        let reason = "cannot execute /bin/nope: No such file or directory (os error 2)".to_owned();
        assert_eq!(judge(Some(InitReply::Failed(failure)), Readings::default()), Verdict::Refused { reason });
    }

    #[test]
    fn a_file_that_grew_too_large_is_named_even_through_a_shell() {
        for told in [InitReply::Signalled(25), InitReply::Exited(153)] {
            assert!(matches!(judge(Some(told), Readings::default()), Verdict::FileLimit { .. }));
        }
    }

    #[test]
    fn an_init_that_cannot_tell_any_more_was_killed() {
        assert_eq!(judge(None, Readings::default()), Verdict::Signalled { signal: 9 });
    }
}
