//! The runner's handle on its zygote.

use std::{
    fmt, fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{Shutdown, shutdown},
    process::{Pid, WaitOptions, waitpid},
};

use super::{
    Engine, JailError, Mechanism, Program, RunningJail,
    cgroup::{Base, Group},
    privileges,
    running::Starting,
    sys::{self, Fork},
    wire::{self, CloneReply, CloneRequest, Doing, Failure, InitReply, InitRequest},
    zygote,
};
use crate::{
    domain::stack::{ExecutorKind, Limits, NetworkMode},
    protocol::{Bind, Environment, JailSpec, Root},
};

/// A jail takes some 2 ms to make; a host on which it takes this long has another problem.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Makes jails. Holds the zygote, which dies with this process's first thread.
#[derive(Debug)]
pub struct Jailer {
    spec: JailSpec,
    base: Option<Base>,
    pid: Pid,
    /// One request at a time.
    zygote: Mutex<UnixStream>,
    /// Jails made so far: their groups' names.
    made: AtomicU32,
}

/// What one phase runs, and with what.
pub struct PhaseJail {
    pub program: Program,
    /// The whole environment; nothing is inherited.
    pub environment: Environment,
    /// Where it starts; a path inside (unconfined: a path of the host).
    pub cwd: PathBuf,
    /// [`NetworkMode::Host`] shares the host's network; the others have only a loopback of their own.
    pub network: NetworkMode,
    /// What its root is. None: the chain's own; programs of ours have the host's.
    pub root: Option<Root>,
    /// What it sees beside its root, `/workspace` and `/run/airlock`.
    pub binds: Vec<Bind>,
    pub limits: Limits,
    /// Ports on 127.0.0.1 of the jail's network that the runner wants to serve; 0 means any.
    pub listen: Vec<u16>,
    /// None: it is empty.
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Descriptors that the program finds as 3, 4, …; the first one is usually the write end of the
    /// pipe on which the exit code of the command is reported.
    pub inherited: Vec<OwnedFd>,
}

impl fmt::Debug for PhaseJail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhaseJail").field("cwd", &self.cwd).field("network", &self.network).finish_non_exhaustive()
    }
}

impl Jailer {
    /// Forks the zygote. To be called while the process has one thread, before it has read a secret,
    /// and from the thread that lives as long as the process: all jails die with it.
    pub fn start(spec: &JailSpec) -> Result<Self, JailError> {
        Self::with_engine(spec, no_engine)
    }

    /// The same, with a part of this program that jails can hold: [`Program::Engine`].
    pub fn with_engine(spec: &JailSpec, engine: Engine) -> Result<Self, JailError> {
        check_user(spec)?;
        one_thread()?;
        let (ours, theirs) = UnixStream::pair().doing("make the zygote's socket").map_err(refused)?;
        let runner = rustix::process::getpid();
        match sys::fork().doing("fork the zygote").map_err(refused)? {
            Fork::Child => zygote::become_zygote(spec.clone(), runner, theirs, engine),
            Fork::Parent(pid) => Ok(Self {
                pid: Pid::from_raw(pid).ok_or(JailError::ZygoteGone)?,
                spec: spec.clone(),
                base: spec.cgroup.as_deref().map(Base::at),
                zygote: Mutex::new(ours),
                made: AtomicU32::new(0),
            }),
        }
    }

    /// What will hold the limits of memory and processes.
    pub fn limited_by(&self) -> Mechanism {
        self.base.as_ref().map_or(Mechanism::Poll, Base::mechanism)
    }

    /// Makes a jail and starts the phase's program in it. Blocks until the jail is complete (some
    /// 2 ms, and as long as it takes where kept directories are given away). A program that cannot be executed shows in the verdict, as `refused`.
    pub fn run(&self, phase: PhaseJail) -> Result<RunningJail, JailError> {
        self.check(&phase)?;
        let group = self.group(&phase.limits)?;
        let (socket, theirs) = UnixStream::pair().doing("make a phase's socket").map_err(refused)?;
        let private_network = phase.network != NetworkMode::Host;
        let (pid, pidfd) = self.clone_init(private_network, &theirs, group.as_ref())?;
        drop(theirs);

        let listeners = phase.listen.len();
        let request = InitRequest {
            program: phase.program,
            environment: phase.environment.into_iter().collect(),
            stdin: phase.stdin.is_some(),
            cwd: phase.cwd,
            private_network,
            root: phase.root,
            binds: phase.binds,
            limits: phase.limits.clone(),
            listen: phase.listen,
            join: group.as_ref().map(Group::join_files).unwrap_or_default(),
            counted: group.is_some(),
        };
        // From here on the jail is killed if anything goes wrong.
        let starting = Starting {
            pid,
            pidfd,
            socket,
            group,
            limits: phase.limits,
            limited_by: self.limited_by(),
            confined: self.spec.kind == ExecutorKind::Jail,
        };
        let mut jail = RunningJail::new(starting);
        let outputs = [phase.stdout.as_fd(), phase.stderr.as_fd()];
        let passed: Vec<_> =
            outputs.into_iter().chain(phase.inherited.iter().chain(&phase.stdin).map(AsFd::as_fd)).collect();
        // If init died instead of reading, its answer says more than this error.
        let sent = wire::send(jail.socket(), &request, &passed);
        match answer(&mut jail)? {
            Some((InitReply::Ready { room_files }, attached)) => {
                let mut attached = attached.into_iter();
                jail.listen_on(attached.by_ref().take(listeners).collect());
                jail.show_room(attached, room_files);
                Ok(jail)
            }
            Some((InitReply::Failed(failure), _)) => Err(refused(failure)),
            Some((InitReply::Busy(_) | InitReply::Exited(_) | InitReply::Signalled(_), _)) | None => {
                let error = sent.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                Err(refused(Failure::new("make the jail: its init was killed", &error)))
            }
        }
    }

    fn check(&self, phase: &PhaseJail) -> Result<(), JailError> {
        let request = |what: String| Err(JailError::Request { what });
        match &phase.program {
            Program::Exec(argv) => match argv.first() {
                None => return request("a phase without a program".to_owned()),
                Some(program) if !program.starts_with('/') => {
                    return request(format!("the program `{program}` is not an absolute path"));
                }
                Some(_) => {}
            },
            Program::Engine { .. } if self.spec.kind == ExecutorKind::Unconfined => {
                return request("guests run only in a jail: this stack's executor is `unconfined`".to_owned());
            }
            Program::Engine { .. } => {}
        }
        if let Some(bind) = phase.binds.iter().find(|bind| !bind.inside.is_absolute() || !bind.host.is_absolute()) {
            return request(format!("the grant {} is not absolute", bind.inside.display()));
        }
        if self.spec.kind == ExecutorKind::Unconfined {
            if phase.network != NetworkMode::Host {
                return request("an unconfined phase cannot have a network of its own".to_owned());
            }
            if !phase.binds.is_empty() {
                return request("an unconfined phase sees the host's own paths: it can be granted none".to_owned());
            }
        }
        Ok(())
    }

    fn group(&self, limits: &Limits) -> Result<Option<Group>, JailError> {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        self.base.as_ref().map(|base| Group::create(base, &self.spec.dir, n, limits)).transpose()
    }

    fn clone_init(
        &self,
        private_network: bool,
        socket: &UnixStream,
        group: Option<&Group>,
    ) -> Result<(i32, OwnedFd), JailError> {
        let directory = group.map(Group::directory).transpose()?.flatten();
        let passed: Vec<_> =
            [Some(socket.as_fd()), directory.as_ref().map(AsFd::as_fd)].into_iter().flatten().collect();
        let zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        // If it cannot hear any more, it may have left a last word.
        let _ = wire::send(&zygote, &CloneRequest { private_network }, &passed);
        match wire::receive(&zygote).map_err(|_| JailError::ZygoteGone)? {
            Some((CloneReply::Cloned { pid }, mut attached)) => Ok((pid, attached.pop().ok_or(JailError::ZygoteGone)?)),
            Some((CloneReply::Failed(failure), _)) => Err(refused(failure)),
            None => Err(JailError::ZygoteGone),
        }
    }
}

impl Drop for Jailer {
    /// Jails that run go on: they are children of this process, not of the zygote.
    fn drop(&mut self) {
        let zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends when it hears no more; neither call can fail in a way that matters then.
        let _ = shutdown(&*zygote, Shutdown::Both);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// What a jailer without an engine answers with: as a shell does for a command that is not there.
fn no_engine(_: super::Inside) -> i32 {
    127
}

/// Root needs an unprivileged user for the jail, and nobody else can have one.
fn check_user(spec: &JailSpec) -> Result<(), JailError> {
    let root = privileges::own().uid == 0;
    match spec.user {
        None if root => Err(JailError::NoUser),
        Some(0) => Err(JailError::NoUser),
        Some(user) if !root => Err(JailError::ForeignUser { user }),
        None | Some(_) => Ok(()),
    }
}

/// Code that is not made for it must not run in the fork of a process with several threads.
fn one_thread() -> Result<(), JailError> {
    let count = fs::read_dir("/proc/self/task").doing("count this process's threads").map_err(refused)?.count();
    if count == 1 { Ok(()) } else { Err(JailError::Threads { count }) }
}

/// The first that says more than that the jail is being made.
fn answer(jail: &mut RunningJail) -> Result<Option<(InitReply, Vec<OwnedFd>)>, JailError> {
    loop {
        wait_for_answer(jail.socket().as_fd())?;
        match wire::receive(jail.socket()).doing("hear from init").map_err(refused)? {
            Some((InitReply::Busy(why), _)) => jail.note(why),
            answer => return Ok(answer),
        }
    }
}

fn wait_for_answer(socket: BorrowedFd<'_>) -> Result<(), JailError> {
    let timeout = Timespec { tv_sec: READY_WITHIN.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(JailError::Slow { seconds: READY_WITHIN.as_secs() }),
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

fn refused(failure: Failure) -> JailError {
    JailError::from(failure)
}
