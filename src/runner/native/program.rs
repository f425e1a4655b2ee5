//! The program of a phase: from init's fork to exec.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use rustix::{
    fs::{FileType, Gid, Uid, fchown, fstat},
    process::setsid,
};

use super::{
    Engine, Inside, Program,
    mounts::Owner,
    privileges,
    sys::{self, Fork},
    wire::{self, Doing, Failure, InitReply, InitRequest},
};

/// The program's descriptors: 0, 1, 2, and 3 upwards.
pub(super) struct Standard {
    /// None: it is empty.
    input: Option<OwnedFd>,
    outputs: Vec<OwnedFd>,
}

impl Standard {
    /// Standard output, standard error, what the program inherits, then standard input where there is
    /// one.
    pub(super) fn new(mut descriptors: Vec<OwnedFd>, stdin: bool) -> Result<Self, Failure> {
        let input = if stdin { descriptors.pop() } else { None };
        if descriptors.len() < 2 || input.is_some() != stdin {
            return Err(Failure::new("receive the program's descriptors", &io::ErrorKind::InvalidData.into()));
        }
        Ok(Self { input, outputs: descriptors })
    }

    /// Makes pipes belong to the run's user: what is only inherited needs no owner, but programs also
    /// open `/dev/stdout` and `/dev/stderr` by name.
    pub(super) fn give_to(&self, user: Owner) -> Result<(), Failure> {
        for output in &self.outputs {
            let kind = fstat(output).doing("look at the program's outputs")?.st_mode;
            if FileType::from_raw_mode(kind) == FileType::Fifo {
                fchown(output, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
                    .doing("give the program's outputs to the run's user")?;
            }
        }
        Ok(())
    }

    /// The first number that is not the program's.
    fn end(&self) -> RawFd {
        1 + self.outputs.len() as RawFd
    }

    /// Puts every descriptor in its place: the input at 0, then the outputs. All are first moved out of
    /// the way, since any of them may sit where another one belongs.
    fn arrange(self) -> io::Result<()> {
        let end = self.end();
        let input = self.input.map_or_else(|| File::open("/dev/null").map(OwnedFd::from), Ok)?;
        let mut moved = Vec::with_capacity(1 + self.outputs.len());
        for descriptor in std::iter::once(input).chain(self.outputs) {
            moved.push(sys::duplicate_from(descriptor.as_fd(), end)?);
        }
        for (number, descriptor) in (0..).zip(&moved) {
            sys::duplicate_to(descriptor.as_fd(), number)?;
        }
        sys::close_on_exec_from(end)
    }
}

/// Forks the program off; its pid. Where `user` is given, the program becomes that user first.
pub(super) fn start(
    request: InitRequest,
    standard: Standard,
    socket: &UnixStream,
    user: Option<Owner>,
    engine: Engine,
) -> Result<i32, Failure> {
    match sys::fork().doing("fork the program")? {
        // Drops the request and the outputs: the program has its own copies, and the end of file on a
        // pipe must wait for nobody else.
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            let code = match request.program {
                Program::Exec(argv) => {
                    let request = Execute { argv, environment: request.environment, cwd: request.cwd };
                    become_program(request, standard, socket, user)
                }
                Program::Engine { instructions, .. } => become_engine(instructions, standard, engine),
            };
            sys::exit_now(code)
        }
    }
}

/// What to replace the process by.
struct Execute {
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    cwd: PathBuf,
}

/// Goes on as a part of this very program: its code is in memory already, so that the room needs
/// to show no file of the host. The exit code.
fn become_engine(instructions: String, standard: Standard, engine: Engine) -> i32 {
    const BROKEN: i32 = 126;
    let prepared = || -> io::Result<Inside> {
        setsid()?;
        let inherited = standard.end() - 3;
        standard.arrange()?;
        // Whatever init holds, the way to the runner above all, is out of reach from here on.
        let mut descriptors = sys::own_and_close_others(2 + inherited)?.into_iter();
        let (Some(stdout), Some(stderr)) = (descriptors.next(), descriptors.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        sys::reset_signals()?;
        Ok(Inside { instructions, stdout, stderr, inherited: descriptors.collect() })
    };
    // A panic must not come back into init's code.
    let run = || prepared().map_or(BROKEN, engine);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(BROKEN)
}

/// Returns only after telling the runner why the program could not be executed.
fn become_program(request: Execute, standard: Standard, socket: &UnixStream, user: Option<Owner>) -> i32 {
    const NOT_EXECUTED: i32 = 127;
    // The way to the runner moves out of the program's numbers, and exec closes it.
    let Ok(socket) = sys::duplicate_from(socket.as_fd(), standard.end()) else { return NOT_EXECUTED };
    let Err(failure) = execute(request, standard, user);
    // If the runner is gone, nobody wants to know.
    let _ = wire::send(&UnixStream::from(socket), &InitReply::Failed(failure), &[]);
    NOT_EXECUTED
}

fn execute(request: Execute, standard: Standard, user: Option<Owner>) -> Result<std::convert::Infallible, Failure> {
    // A session of its own: no terminal, and a process group that is not init's.
    setsid().doing("start a session")?;
    if let Some(user) = user {
        privileges::become_user(user)?;
    }
    standard.arrange().doing("arrange the program's descriptors")?;
    rustix::process::chdir(&request.cwd).doing(&format!("enter {}", request.cwd.display()))?;

    let argv = strings(request.argv.iter().cloned())?;
    let environment = strings(request.environment.iter().map(|(name, value)| format!("{name}={value}")))?;
    // The last step: what init ignores or blocks is not the program's business.
    sys::reset_signals().doing("reset signals")?;
    let error = sys::exec(&argv[0], &argv, &environment);
    Err(Failure::new(format!("execute {}", request.argv[0]), &error))
}

fn strings(texts: impl Iterator<Item = String>) -> Result<Vec<CString>, Failure> {
    texts.map(CString::new).collect::<Result<_, _>>().map_err(io::Error::from).doing("pass the program's arguments")
}
