//! A phase that runs a WASI guest: its code is found and compiled, it runs in a room, and what it
//! leaves is collected.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::fs::{MemfdFlags, OFlags};

use super::{
    Chain,
    desk::Desk,
    receipt, settings,
    shell::{Program, Service},
};
use crate::{
    crypt::{Hasher, Secret, digest},
    domain::{
        Digest, Phase, Verdict, limits,
        stack::{Limits, NetworkMode},
        verdict::bytes,
    },
    egress::BoundHeader,
    guest::{Form, bundled},
    protocol::{
        Environment, Grants, GuestCode, GuestPhase, HeaderGrant, Input, Root, StandardInput, WorkspaceGrant, file,
        guest_path, inside,
    },
    runner::{
        attend::Attended,
        fault::Fault,
        native::{self, Room, RoomView, RoomWorkspace, StopSignal, Writable, Written},
        size::Extent,
        wasi::{
            changes::{Change, Views},
            is_too_deep,
            job::{Directory, End, Job, Run, Told},
            leave, line, patch,
        },
        watch::Why,
        way_out::WayOut,
        workload,
    },
};

/// What the engine needs beside the guest's memory and files.
const ENGINE_BYTES: u64 = 256 * limits::MIB;
/// Threads of the engine: its own, and those that read and write files.
const THREADS: u32 = 64;
/// Open files: the guest's own bound is lower.
const OPEN_FILES: u32 = 1_024;
/// Links leading out of the workspace that are named; the others are counted.
const LINKS_NAMED: usize = 5;
/// The engine ends a guest on time and tells what it used; after so long the runner ends the engine.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// A guest's code, not compiled.
pub(super) struct Module {
    pub name: String,
    pub form: Form,
    pub digest: Digest,
    pub file: File,
}

impl Chain {
    pub(super) fn guest(&mut self, phase: &GuestPhase, desk: &mut Desk) -> Result<Verdict, Fault> {
        if phase.skip || self.skips(phase.phase) {
            return Ok(settings::skipped(desk));
        }
        if !self.confined() {
            return Err(Fault::Other(
                "guests run only in a jail, and this stack's executor is `unconfined`".to_owned(),
            ));
        }
        if phase.phase == Phase::Planning {
            self.forget_old_plans()?;
        }
        self.make_demanded()?;
        let module = self.module(&phase.name, &phase.code)?;
        let (stdin, mut inputs) = self.stdin(&phase.stdin)?;
        inputs.extend(self.inputs(phase));
        let mut receipt = receipt::empty(phase, module.digest.clone(), inputs);
        let verdict = match self.compiled(&module, phase.cache.as_deref(), desk)? {
            Ok(code) => {
                let program = self.guest_program(phase, &module, (code, stdin))?;
                let attended = self.run_program(program, desk)?;
                let told: Option<Told> = serde_json::from_slice(&attended.report).ok();
                let told = told.map(|told| told.bounded(|text| self.tools.masks.mask_text(text)));
                let room =
                    attended.room.as_ref().map(RoomView::written).transpose().map_err(Fault::io("count files"))?;
                let verdict = judge(phase, &attended, told.as_ref(), room);
                receipt.cpu_ms = attended.usage.cpu_ms;
                receipt.files_written = written(room, &attended).entries;
                self.note_used(&mut receipt, told, &desk.produced);
                match &attended.room {
                    Some(room) => self.collect(phase, room, verdict, desk)?,
                    None => verdict,
                }
            }
            Err(verdict) => verdict,
        };
        receipt.verdict = verdict.clone();
        desk.produced.receipt = Some(Box::new(receipt));
        Ok(verdict)
    }

    /// Relative paths begin where those of a native phase begin. It shows nothing more than the
    /// workspace's own grant, so that the receipt need not name it.
    fn home(&self, phase: &GuestPhase) -> Option<Directory> {
        let workspace = directories(phase).into_iter().find(|directory| directory.path == inside::WORKSPACE)?;
        Some(Directory { path: self.start(), at: None, writable: workspace.writable })
    }

    /// Where relative paths of a native phase begin.
    fn start(&self) -> String {
        match self.spec.run.project_root.as_str() {
            "" => inside::WORKSPACE.to_owned(),
            root => format!("{}/{root}", inside::WORKSPACE),
        }
    }

    /// Mounts by their relative paths: through the home they would be what the workspace is.
    fn at_home(&self, phase: &GuestPhase) -> Vec<Directory> {
        let start = format!("{}/", self.start());
        let relative = mounts(phase).filter_map(|mount| {
            let path = mount.path.strip_prefix(&start)?.to_owned();
            Some(Directory { path, at: Some(mount.path), ..mount })
        });
        relative.collect()
    }

    pub(super) fn module(&self, name: &str, code: &GuestCode) -> Result<Module, Fault> {
        let name = name.to_owned();
        let doing = || format!("open the guest `{name}`");
        match code {
            GuestCode::Registered { path, digest } => {
                let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, 0.into());
                let mut file = File::from(opened.map_err(Fault::io(doing()))?);
                let found = sha256(&mut file).map_err(Fault::io(doing()))?;
                if found != *digest {
                    let (found, registered) = (found.short(), digest.short());
                    return Err(Fault::Other(format!(
                        "the guest `{name}` was registered as {registered} and its file is now {found}: import it again"
                    )));
                }
                Module::new(name, file, found)
            }
            GuestCode::Bundled { name: which } => {
                let guest = bundled(which).ok_or_else(|| Fault::Other(format!("there is no guest `{which}`")))?;
                let file = memory(guest.code).map_err(Fault::io(doing()))?;
                Module::new(name, file, digest(guest.code))
            }
            GuestCode::Source { path } => {
                let file = self.tree()?.workspace_file(path)?;
                let missing = || Fault::Other(format!("the source has no regular file `{path}` that could be a guest"));
                let mut file = file.ok_or_else(missing)?;
                let found = sha256(&mut file).map_err(Fault::io(doing()))?;
                Module::new(name, file, found)
            }
        }
    }

    /// Standard input, and what the receipt says of it.
    fn stdin(&self, input: &StandardInput) -> Result<(Option<OwnedFd>, Vec<Input>), Fault> {
        let Some((name, mut file)) = self.open_stdin(input)? else { return Ok((None, Vec::new())) };
        let detail = sha256(&mut file).map_err(Fault::io("read standard input"))?.to_string();
        let name = self.tools.masks.mask_text(&name);
        Ok((Some(file.into()), vec![Input { kind: "stdin".to_owned(), name, detail }]))
    }

    /// Standard input, with its name; none where it is empty.
    pub(super) fn open_stdin(&self, input: &StandardInput) -> Result<Option<(String, File)>, Fault> {
        Ok(match input {
            StandardInput::Empty => None,
            StandardInput::Text { text } => {
                let file = memory(text.as_bytes()).map_err(Fault::io("open standard input"))?;
                Some(("text".to_owned(), file))
            }
            StandardInput::File { path } => {
                let missing = || Fault::Other(format!("standard input: the workspace has no regular file `{path}`"));
                Some((path.to_string(), self.tree()?.workspace_file(path)?.ok_or_else(missing)?))
            }
        })
    }

    fn guest_program(
        &self,
        phase: &GuestPhase,
        module: &Module,
        (code, stdin): (Option<OwnedFd>, Option<OwnedFd>),
    ) -> Result<Program, Fault> {
        let caps = phase.caps;
        let (gateway, line) = self.gateway(phase)?.unzip();
        let mut run = Run {
            form: module.form,
            args: std::iter::once(&phase.name).chain(&phase.args).cloned().collect(),
            environment: self.guest_environment(phase)?,
            caps,
            directories: directories(phase).into_iter().chain(self.at_home(phase)).collect(),
            home: self.home(phase),
            clock: phase.grants.clock,
            random: phase.grants.random,
            stdin: stdin.is_some(),
            http: line.is_some(),
        };
        let judges = self.spec.secrets.plan.as_ref().filter(|_| phase.phase == Phase::Performing);
        if let Some(plan) = judges {
            self.tree()?.place_plan(plan.expose())?;
            let at = Some(guest_path::JUDGED.to_owned());
            run.directories.push(Directory { path: "/".to_owned(), at, writable: false });
            // A home would stand in front of the root: to guests' libraries both are where no name begins.
            run.home = None;
        }
        let instructions = serde_json::to_string(&Job::Run(Box::new(run))).map_err(Fault::of)?;
        let room = Room {
            workspace: match phase.grants.workspace {
                WorkspaceGrant::None => RoomWorkspace::None,
                WorkspaceGrant::Read => RoomWorkspace::Read,
                WorkspaceGrant::Write | WorkspaceGrant::Keep => RoomWorkspace::Copy,
            },
            writable: Some(Writable { bytes: caps.files_bytes, files: caps.files }),
            judged: judges.is_some(),
            fresh: phase.grants.fresh.clone(),
        };
        let memory_bytes = caps.memory_bytes.saturating_add(caps.files_bytes).saturating_add(ENGINE_BYTES);
        Ok(Program {
            what: native::Program::Engine { instructions, room },
            limits: Limits {
                memory_bytes,
                processes: THREADS,
                open_files: OPEN_FILES,
                file_bytes: caps.files_bytes.max(limits::MIB),
                ..self.jail.limits.clone()
            },
            // The engine's own is nobody's: the guest's is among what it inherits.
            stdin: None,
            inherited: [code, stdin, line].into_iter().flatten().collect(),
            environment: Environment::new(),
            network: NetworkMode::None,
            root: Some(Root::Host),
            binds: phase.grants.mounts.clone(),
            growth: Some(may_write(phase)),
            serves: gateway.into_iter().collect(),
            signal: StopSignal::Terminate,
            wall: Duration::from_secs(caps.wall_seconds).saturating_add(SPARE_TIME),
            silence: None,
        })
    }

    /// The guest's way to the hosts that it was granted, and the engine's end of its line.
    fn gateway(&self, phase: &GuestPhase) -> Result<Option<(Service, OwnedFd)>, Fault> {
        let Grants { network, headers, .. } = &phase.grants;
        let within = self.workload_door().map(workload::Door::within);
        if network.is_empty() && within.is_none() {
            return Ok(None);
        }
        let headers = headers.iter().map(|header| self.bound(header)).collect::<Result<_, _>>()?;
        let (asked, clock) = (Arc::clone(&self.tools.asked), Arc::clone(&self.tools.clock));
        let way_out = WayOut::for_guest((network, self.vouched()), headers, within, asked, clock)?;
        let (engines, ours) = line::pair().map_err(Fault::io("make the guest's line to its hosts"))?;
        Ok(Some((Service::Gateway(way_out, ours), engines)))
    }

    fn bound(&self, grant: &HeaderGrant) -> Result<BoundHeader, Fault> {
        let HeaderGrant { host, header, secret, plain } = grant;
        let variable = self.spec.secrets.variables.iter().find(|variable| variable.name == *secret);
        let missing =
            || Fault::Other(format!("the header `{header}` for {host} needs the variable {secret}, and there is none"));
        let value = variable.ok_or_else(missing)?.value.expose();
        let bound = BoundHeader::new(host, header, value).map_err(Fault::of)?;
        Ok(if *plain { bound.allow_plain() } else { bound })
    }

    /// The variables that it is to get; wherever they are set, by now it is known whether they are.
    fn guest_environment(&self, phase: &GuestPhase) -> Result<Vec<(String, String)>, Fault> {
        let mut environment = phase.plain_env.clone();
        for name in phase.named_env() {
            let variable = self.spec.secrets.variables.iter().find(|variable| variable.name == *name);
            let missing = || Fault::Other(format!("the variable {name}, which the guest is to get, does not exist"));
            environment.push((name.to_string(), variable.ok_or_else(missing)?.value.expose().clone()));
        }
        Ok(environment)
    }

    /// Takes out of the room what the phase leaves.
    fn collect(
        &mut self,
        phase: &GuestPhase,
        room: &RoomView,
        verdict: Verdict,
        desk: &mut Desk,
    ) -> Result<Verdict, Fault> {
        if phase.artifacts {
            let mut place = |n: usize| {
                let flags = OFlags::WRONLY | OFlags::TRUNC;
                self.tools.dir.file(&file::artifact(desk.number, n), flags).map_err(io::Error::other)
            };
            let collected = leave::collect(room.output.as_fd(), &phase.caps, &mut place);
            let (artifacts, warnings) = collected.map_err(Fault::io("collect the guest's artifacts"))?;
            desk.produced.artifacts = artifacts;
            desk.produced.warnings.extend(warnings);
        }
        if let Some((touched, after)) = &room.changes {
            let tree = self.tree()?;
            let before = tree.workspace();
            let views = Views::new(&before, touched, after);
            let changes = match views.changes() {
                Ok(changes) => changes,
                Err(error) if is_too_deep(&error) => return Ok(too_deep()),
                Err(error) => return Err(Fault::io("compare the workspace with the guest's copy")(error)),
            };
            let keeps = phase.grants.workspace == WorkspaceGrant::Keep;
            if keeps && is_good(phase, &verdict) {
                let size = leave::size(views, &changes).map_err(Fault::io("measure what the guest changed"))?;
                if size > phase.caps.files_bytes {
                    return Ok(file_limit(phase));
                }
                leave::keep(views, &changes, before, tree.owner())
                    .map_err(Fault::io("keep what the guest changed in the workspace"))?;
            } else if !keeps {
                self.offer(views, &changes, desk)?;
            }
        }
        match phase.phase {
            Phase::Planning if is_good(phase, &verdict) => self.read_guest_plan(room, &verdict, desk),
            _ => Ok(verdict),
        }
    }

    fn offer(&self, views: Views<'_>, changes: &[Change], desk: &mut Desk) -> Result<(), Fault> {
        let (text, mut summary) = patch::write(views, changes).map_err(Fault::io("write the patch"))?;
        if !summary.is_empty() {
            let masked = self.tools.masks.mask_text(&text);
            summary.masked = masked != text;
            let out = patch::leading_out(views, changes).map_err(Fault::io("see where the guest's links lead"))?;
            summary.leading_out = u32::try_from(out.len()).unwrap_or(u32::MAX);
            let named = out.iter().take(LINKS_NAMED).map(|(path, target)| {
                let text =
                    format!("the link `{}` leads out of the workspace, to `{}`", path.display(), target.display());
                self.tools.masks.mask_text(&text).escape_debug().to_string()
            });
            desk.produced.warnings.extend(named);
            desk.produced.patch = Some(summary);
            desk.result.patch = Some(Secret::new(masked));
        }
        Ok(())
    }

    /// A wasi stack's plan: exit 0 and no entries mean no change, entries or exit 2 mean changes.
    fn read_guest_plan(&mut self, room: &RoomView, verdict: &Verdict, desk: &mut Desk) -> Result<Verdict, Fault> {
        let root = crate::runner::wasi::Root(room.output.as_fd());
        let path = PathBuf::from(guest_path::PLAN_JSON);
        let json = match root.look(&path).map_err(Fault::io("look for the plan"))? {
            Some(_) => root.read(&path, limits::PLAN_FILE_BYTES).map_err(Fault::io("read the plan"))?,
            None => Some(b"[]".to_vec()),
        };
        let too_large = || Fault::Other(format!("plan.json is larger than {}", bytes(limits::PLAN_FILE_BYTES)));
        let json = json.ok_or_else(too_large)?;
        let entries = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(&json)
            .map_err(|error| Fault::Other(format!("plan.json is no list of changes: {error}")))?;
        let changes = *verdict == (Verdict::Exited { code: 2 }) || !entries.is_empty();
        self.tree()?.write_run_file(super::prepare::name_in_run(inside::PLAN_JSON), &json)?;
        self.read_planned(if changes { 2 } else { 0 }, desk)
    }
}

impl Module {
    pub(super) fn new(name: String, mut file: File, digest: Digest) -> Result<Self, Fault> {
        let doing = || format!("read the guest `{name}`");
        let size = file.metadata().map_err(Fault::io(doing()))?.len();
        if size > limits::GUEST_CODE_BYTES {
            let (size, limit) = (bytes(size), bytes(limits::GUEST_CODE_BYTES));
            return Err(Fault::Other(format!("the guest `{name}` has {size}; {limit} are allowed")));
        }
        let mut start = Vec::new();
        file.rewind().map_err(Fault::io(doing()))?;
        (&file).take(4_096).read_to_end(&mut start).map_err(Fault::io(doing()))?;
        file.rewind().map_err(Fault::io(doing()))?;
        match Form::of(&start) {
            Ok(form) => Ok(Self { name, form, digest, file }),
            Err(why) => Err(Fault::Other(format!("the file of the guest `{name}` cannot be one: {why}"))),
        }
    }
}

/// What it may write, wherever.
const fn may_write(phase: &GuestPhase) -> Extent {
    Extent::new(phase.caps.files_bytes, phase.caps.files)
}

/// What it wrote, in its room and beyond.
fn written(room: Option<Written>, attended: &Attended) -> Extent {
    let room = room.map_or(Extent::default(), |room| Extent::new(room.bytes, room.files));
    room.plus(attended.mounts_grew)
}

/// A planning guest may say with exit code 2 that there are changes.
fn is_good(phase: &GuestPhase, verdict: &Verdict) -> bool {
    verdict.is_success() || (phase.phase == Phase::Planning && *verdict == Verdict::Exited { code: 2 })
}

/// What made the guest end, else what the engine saw, else how the jail ended.
fn judge(phase: &GuestPhase, attended: &Attended, told: Option<&Told>, room: Option<Written>) -> Verdict {
    let caps = phase.caps;
    let full = room.is_some_and(|room| room.full) || told.is_some_and(|told| told.files_refused);
    let out_of_memory = Verdict::OutOfMemory { limit_bytes: caps.memory_bytes };
    match attended.why {
        Some(Why::Wall { .. }) => return Verdict::TimedOut { seconds: caps.wall_seconds },
        Some(why) => return why.verdict(),
        None => {}
    }
    let end = match (told, &attended.ended) {
        (_, Verdict::OutOfMemory { .. }) => return out_of_memory,
        (Some(told), _) => told.end.clone(),
        (None, Verdict::Signalled { signal }) => {
            return Verdict::Trapped { reason: format!("the engine was ended by signal {signal}") };
        }
        (None, _) => return Verdict::Refused { reason: "the engine could not start; the log says why".to_owned() },
    };
    let mounts_grew = attended.mounts_grew != Extent::default();
    match end {
        // Told that there is no more room, most programs fail, each in its own way.
        End::Exited { code } if code != 0 && full && !is_good(phase, &Verdict::Exited { code }) => file_limit(phase),
        End::Trapped { .. } if full => file_limit(phase),
        // Neither its room nor its mounts were too full.
        End::Exited { .. } if mounts_grew && written(room, attended).exceeds(may_write(phase)) => {
            Why::Written { limit_bytes: caps.files_bytes, files: caps.files }.verdict()
        }
        End::Exited { code } => Verdict::Exited { code },
        End::OutOfFuel => Verdict::OutOfFuel { fuel: caps.fuel },
        End::OutOfMemory => out_of_memory,
        End::TimedOut => Verdict::TimedOut { seconds: caps.wall_seconds },
        End::OutputLimit => Verdict::OutputLimit { limit_bytes: caps.output_bytes },
        End::Trapped { reason } => Verdict::Trapped { reason },
        End::Stopped => Verdict::Stopped,
        End::Refused { reason } => Verdict::Refused { reason },
    }
}

fn too_deep() -> Verdict {
    let reason = "the guest left more directories within each other than can be followed; nothing of it was kept";
    Verdict::Refused { reason: reason.to_owned() }
}

fn file_limit(phase: &GuestPhase) -> Verdict {
    let what = format!("what was written ({} files at most)", phase.caps.files);
    Verdict::FileLimit { limit_bytes: phase.caps.files_bytes, what }
}

pub(super) fn directories(phase: &GuestPhase) -> Vec<Directory> {
    let own = |path: &str, writable| Directory { path: path.to_owned(), at: None, writable };
    let workspace = match phase.grants.workspace {
        WorkspaceGrant::None => None,
        WorkspaceGrant::Read => Some(own(inside::WORKSPACE, false)),
        WorkspaceGrant::Write | WorkspaceGrant::Keep => Some(own(inside::WORKSPACE, true)),
    };
    let always = [own(guest_path::TMP, true), own(guest_path::OUTPUT, true)];
    workspace.into_iter().chain(always).chain(mounts(phase)).collect()
}

/// Those that it was granted by name.
fn mounts(phase: &GuestPhase) -> impl Iterator<Item = Directory> {
    let Grants { mounts, fresh, .. } = &phase.grants;
    let shown = mounts.iter().map(|bind| (&bind.inside, bind.writable)).chain(fresh.iter().map(|path| (path, true)));
    shown.map(|(path, writable)| Directory { path: path.display().to_string(), at: None, writable })
}

fn sha256(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(file, &mut hasher)?;
    file.rewind()?;
    Ok(hasher.digest())
}

/// A file that is nowhere but in memory.
fn memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(c"airlock", MemfdFlags::CLOEXEC)?);
    io::Write::write_all(&mut file, content)?;
    file.rewind()?;
    Ok(file)
}
