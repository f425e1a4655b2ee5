//! A guest's compiled code: out of the cache, or out of a jailed compiler.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use super::{Chain, desk::Desk, guest::Module, shell::Program};
use crate::{
    crypt::Key,
    domain::{
        Verdict, limits,
        stack::{Limits, NetworkMode},
        verdict::bytes,
    },
    protocol::{Environment, GuestCompile, Root},
    runner::{
        attend::Attended,
        fault::Fault,
        native::{self, Room, RoomWorkspace, StopSignal},
        wasi::{
            cache::{Cache, Draft, Found, Name},
            fingerprint,
            job::{Compiled, Job},
        },
        watch::Why,
    },
};

/// Threads of the compiler, and its own.
const THREADS: u32 = 64;
const OPEN_FILES: u32 = 64;
/// Bytes of compiled code: some ten times the guest's own.
const CODE_BYTES: u64 = limits::GIB;
/// How long a guest that was too much for the compiler is not tried again: the machine may have had
/// other things to do.
const FORGIVEN_AFTER: Duration = Duration::from_hours(1);

impl Chain {
    /// Sees that a guest can be compiled; the code is kept for whoever runs it.
    pub(super) fn compile_only(&mut self, wanted: &GuestCompile, desk: &mut Desk) -> Result<Verdict, Fault> {
        // What a jail fills is measured there, though nothing comes of it.
        self.make_empty_workspace()?;
        let module = self.module(&wanted.name, &wanted.code)?;
        Ok(self.compiled(&module, Some(&wanted.cache), desk)?.map_or_else(|verdict| verdict, |_| Verdict::SUCCESS))
    }

    /// Code that may be loaded, or the verdict of a phase that cannot run.
    pub(super) fn compiled(
        &self,
        module: &Module,
        cache: Option<&Path>,
        desk: &mut Desk,
    ) -> Result<Result<Option<OwnedFd>, Verdict>, Fault> {
        let doing = "use the cache of compiled guests";
        let key = self.spec.secrets.guest_key.as_ref().ok_or(Fault::Missing("key for compiled guests"))?;
        let key = Key::from_slice(key.expose()).map_err(Fault::of)?;
        // Without a directory of the installation the code lives as long as the chain.
        let dir = cache.map_or_else(|| self.tools.dir.file_path("compiled"), Path::to_owned);
        let cache = Cache::open(&dir, key).map_err(Fault::io(doing))?;
        let name = Name::new(&module.digest, fingerprint().map_err(Fault::of)?);
        match cache.look(&name, self.tools.clock.now()).map_err(Fault::io(doing))? {
            Found::Code(code) => return Ok(Ok(Some(code.into()))),
            Found::Refused(reason) => return Ok(Err(Verdict::Refused { reason })),
            Found::Tampered => desk.log.note(&format!(
                "the compiled code of `{}` was not written by this installation, or was changed: it is compiled again",
                module.name
            )),
            Found::Nothing => {}
        }
        if let Err(verdict) = self.compile(module, &cache, &name, desk)? {
            return Ok(Err(verdict));
        }
        match cache.look(&name, self.tools.clock.now()).map_err(Fault::io(doing))? {
            Found::Code(code) => Ok(Ok(Some(code.into()))),
            Found::Refused(_) | Found::Tampered | Found::Nothing => {
                Err(Fault::Other("the code that was just compiled is no longer there".to_owned()))
            }
        }
    }

    fn compile(
        &self,
        module: &Module,
        cache: &Cache,
        name: &Name,
        desk: &mut Desk,
    ) -> Result<Result<(), Verdict>, Fault> {
        let doing = "keep compiled code";
        let began = Instant::now();
        let draft = cache.draft().map_err(Fault::io(doing))?;
        let attended = self.run_program(compiler(module, &draft, &self.jail.limits)?, desk)?;
        match outcome(&attended) {
            Outcome::Done => {
                let (now, bytes, files) =
                    (self.tools.clock.now(), limits::GUEST_CACHE_BYTES, limits::GUEST_CACHE_FILES);
                // What was compiled for a moment ago is the newest, and stays if anything does.
                cache.evict(now, bytes.saturating_sub(size(&draft)?), files).map_err(Fault::io(doing))?;
                cache.keep(name, draft).map_err(Fault::io(doing))?;
                let seconds = began.elapsed().as_secs_f32();
                desk.log.note(&format!("compiled `{}` in {seconds:.1} s", module.name));
                Ok(Ok(()))
            }
            Outcome::Ended(verdict) => Ok(Err(verdict)),
            Outcome::Refused { reason, for_good } => {
                let reason = format!("the guest `{}` cannot be run: {reason}", module.name);
                let until = (!for_good).then(|| self.tools.clock.now().plus(FORGIVEN_AFTER));
                cache.refuse(name, &reason, until).map_err(Fault::io(doing))?;
                Ok(Err(Verdict::Refused { reason }))
            }
        }
    }
}

fn size(draft: &Draft) -> Result<u64, Fault> {
    Ok(draft.file.metadata().map_err(Fault::io("keep compiled code"))?.len())
}

fn compiler(module: &Module, draft: &Draft, limits: &Limits) -> Result<Program, Fault> {
    let doing = "hand the guest to the compiler";
    let copy = |file: &File| file.try_clone().map(OwnedFd::from).map_err(Fault::io(doing));
    Ok(Program {
        what: native::Program::Engine {
            instructions: serde_json::to_string(&Job::Compile { form: module.form }).map_err(Fault::of)?,
            room: Room { workspace: RoomWorkspace::None, writable: None, judged: false, fresh: Vec::new() },
        },
        limits: Limits {
            memory_bytes: limits::COMPILE_MEMORY_BYTES,
            processes: THREADS,
            open_files: OPEN_FILES,
            file_bytes: CODE_BYTES,
            ..limits.clone()
        },
        stdin: None,
        inherited: vec![copy(&module.file)?, copy(&draft.file)?],
        environment: Environment::new(),
        network: NetworkMode::None,
        root: Some(Root::Host),
        binds: Vec::new(),
        growth: None,
        serves: Vec::new(),
        signal: StopSignal::Terminate,
        wall: limits::COMPILE_WALL,
        silence: None,
    })
}

enum Outcome {
    Done,
    Refused {
        reason: String,
        for_good: bool,
    },
    /// Somebody wanted the end.
    Ended(Verdict),
}

fn outcome(attended: &Attended) -> Outcome {
    let too_much = |reason: String| Outcome::Refused { reason, for_good: false };
    match attended.why {
        Some(Why::Wall { .. }) => {
            return too_much(format!("it takes longer than {} s to compile", limits::COMPILE_WALL.as_secs()));
        }
        Some(why) => return Outcome::Ended(why.verdict()),
        None => {}
    }
    let memory = || too_much(format!("it takes more than {} to compile", bytes(limits::COMPILE_MEMORY_BYTES)));
    match (serde_json::from_slice(&attended.report), &attended.ended) {
        (Ok(Compiled::Done), _) => Outcome::Done,
        (Ok(Compiled::Refused { reason }), _) => Outcome::Refused { reason, for_good: true },
        // What an allocation that fails ends in.
        (Err(_), Verdict::OutOfMemory { .. } | Verdict::Signalled { signal: libc::SIGABRT }) => memory(),
        (Err(_), Verdict::Signalled { signal: libc::SIGXCPU | libc::SIGKILL }) => {
            too_much("it takes too much processor time to compile".to_owned())
        }
        (Err(_), ended) => too_much(format!("its compiler ended with: {ended}")),
    }
}
