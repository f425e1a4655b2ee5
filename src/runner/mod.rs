//! The runner: the process that carries out a chain of phases.
//!
//! Owns the sandbox, the log, the managed state while phases run, and the truth about progress. It
//! was started by the server and needs it no more: everything it was told came through one pipe,
//! everything it has to say lies in the chain's directory. Must not know the store, the queue, or
//! what the server makes of a verdict.
//!
//! It reads the source's configuration file, because nobody has it before the source was fetched.
//!
//! Two threads: the first carries out the chain ([`chain`]) and attends its jails ([`attend`]); the
//! second talks ([`talk`]): `control.sock`, signals, the endpoint of the managed state, the way out.
//!
//! Invariants: nothing runs before `started` is durable; each boundary is durable before the next
//! phase begins; the jail's process is forked before a secret is read; no secret reaches a file in
//! clear; the jail dies with this process.

mod asked;
mod attend;
mod bells;
mod chain;
mod control;
mod dir;
mod fault;
mod fuzz;
mod growing;
mod journal;
pub mod native;
mod patching;
mod phase_log;
mod size;
mod start;
mod state;
mod talk;
mod tree;
mod wasi;
mod watch;
mod way_out;
mod workload;

use std::{
    os::{fd::OwnedFd, unix::net::UnixListener},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    process::DumpableBehavior,
};

#[doc(hidden)]
pub use fuzz::fuzz_patch;

use crate::{
    crypt::Key,
    domain::{Clock, Timestamp},
    mask::MaskSet,
    protocol::{ChainSecrets, ChainSpec, GitCredential, JailSpec, Record, Root, WorkspaceLeft, file},
};

use self::{
    asked::Asked,
    bells::Bells,
    chain::{Chain, Tools},
    dir::ChainDir,
    fault::Fault,
    journal::Journal,
    native::Jailer,
    start::{Handed, complain},
    state::States,
    talk::{Subjects, Talk},
};

/// Carries out the chain that the server describes on standard input. Exit code 0: there is a last
/// record. Anything else: `runner.err` says why there is none.
pub fn main() -> ExitCode {
    quiet_panics();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&fault);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Fault> {
    let mut handed = Handed::take()?;
    let jail = handed.jail_spec()?;
    let dir = Arc::new(ChainDir::open(&jail.dir)?);
    handed.check_lock(&dir)?;
    let prepared = Jailer::with_engine(&jail, wasi::engine).map_err(Fault::of).and_then(|jailer| {
        hide_memory()?;
        Ok((jailer, hold_image(&jail.root)?, handed.chain_spec()?))
    });
    match prepared {
        Ok((jailer, _image, spec)) => carry_out(jail, spec, jailer, dir, handed),
        Err(Fault::CutShort) => Err(Fault::CutShort),
        Err(fault) => refuse(&dir, fault),
    }
}

/// Keeps the server from removing an image as long as what it returns lives.
fn hold_image(root: &Root) -> Result<Option<OwnedFd>, Fault> {
    let Root::Image { path } = root else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let doing = "open the image of the jail";
    let image = rustix::fs::open(path, flags, Mode::empty()).map_err(Fault::io(doing))?;
    rustix::fs::flock(&image, FlockOperation::LockShared).map_err(Fault::io(doing))?;
    Ok(Some(image))
}

/// Nobody of the same user may look into this process from now on, and no dump is made of it.
fn hide_memory() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Fault::io("hide this process's memory"))
}

/// Nothing can be run: says so in the records, so that nobody tries the same again.
fn refuse(dir: &ChainDir, fault: Fault) -> Result<(), Fault> {
    let (bells, _) = Bells::new();
    let mut journal = Journal::open(dir, bells)?;
    dir.sync()?;
    let at = WallClock.now();
    journal.add(Record::Ended { at, workspace: WorkspaceLeft::Kept, stopped: false, fault: Some(fault.to_string()) });
    journal.commit()?;
    Err(fault)
}

fn carry_out(jail: JailSpec, spec: ChainSpec, jailer: Jailer, dir: Arc<ChainDir>, handed: Handed) -> Result<(), Fault> {
    let (bells, heard) = Bells::new();
    let journal = Journal::open(&dir, bells.clone())?;
    let asked = Arc::new(Asked::new()?);
    let (mut spec, key) = take_key(spec)?;
    let masks = MaskSet::new(secrets(&spec.secrets), spec.run.mask_well_known);
    let states =
        spec.secrets.state.take().map(|state| {
            Arc::new(States::new(Arc::clone(&dir), key.clone(), spec.run.id, state.password, state.current))
        });
    let control = listen(&dir)?;
    let talk = Talk::start(Subjects { control, bells: heard, asked: Arc::clone(&asked), states: states.clone() })?;
    let lock = handed.into_lock();
    let tools = Tools { dir, jailer, journal, bells, asked, talk, states, masks, key, clock: Arc::new(WallClock) };
    work(Chain::new(jail, spec, tools), lock)
}

/// Runs the chain; whatever happens in it, tries to leave a last record.
fn work(mut chain: Chain, lock: OwnedFd) -> Result<(), Fault> {
    let ended = match catch_unwind(AssertUnwindSafe(|| chain.run())) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => {
            complain(&fault);
            chain.break_off(&fault.to_string())
        }
        Err(_) => chain.break_off("the runner met an error of its own; runner.err says where"),
    };
    let Tools { talk, .. } = chain.into_tools();
    talk.end();
    drop(lock);
    ended
}

fn take_key(spec: ChainSpec) -> Result<(ChainSpec, Key), Fault> {
    let key = Key::from_slice(spec.secrets.chain_key.expose()).map_err(Fault::of)?;
    Ok((spec, key))
}

/// Everything that no log may show, whatever phase it is of.
fn secrets(of: &ChainSecrets) -> Vec<&[u8]> {
    let mut values: Vec<&[u8]> = Vec::new();
    let variables = of.variables.iter().chain(&of.build_variables);
    values.extend(variables.filter(|one| one.sensitive).map(|one| one.value.expose().as_bytes()));
    values.extend(of.files.iter().filter(|file| file.sensitive).map(|file| file.content.expose().as_slice()));
    values.extend(of.masks.iter().map(|mask| mask.expose().as_bytes()));
    values.extend(of.state.iter().map(|state| state.password.expose().as_bytes()));
    values.extend(of.git.iter().map(|credential| match credential {
        GitCredential::Https { token, .. } => token.expose().as_bytes(),
        GitCredential::Ssh { private_key, .. } => private_key.expose().as_bytes(),
    }));
    values
}

/// Takes over the address of a runner that never ran.
fn listen(dir: &ChainDir) -> Result<UnixListener, Fault> {
    dir.remove(file::CONTROL)?;
    let listener = UnixListener::bind(dir.short(file::CONTROL)).map_err(Fault::io("listen on control.sock"))?;
    listener.set_nonblocking(true).map_err(Fault::io("listen on control.sock"))?;
    Ok(listener)
}

/// A panic says where it was, never what it was about: that may be secret.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => complain(&format_args!("an error of its own at {}:{}", place.file(), place.line())),
        None => complain(&"an error of its own"),
    }));
}

/// The time of day.
#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}
