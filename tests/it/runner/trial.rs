//! A chain on trial: its specification, written by hand.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use airlock::{
    crypt::Secret,
    domain::{
        Digest, EnvName, Kind, Phase, RelativePath, limits,
        stack::{ExecutorKind, Limits, NetworkMode, Vendor},
    },
    protocol::{
        AtEnd, ChainSecrets, ChainSpec, Command, Fetch, JailSpec, ManagedState, MountedFile, Open, Prepare, Root,
        RunFacts, SealKeys, Shell, StandardInput, StateAccess, Step, VERSION, Variable, file,
    },
};
use rustix::fs::FlockOperation;
use tempfile::TempDir;

use super::process::{Outcome, Runner, spawn};

pub const RUN: &str = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const STACK: &str = "stack_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
pub const CHAIN_KEY: [u8; 32] = [7; 32];

/// As root, every chain gets a user of its own, as from the server.
fn user() -> Option<u32> {
    static NEXT: AtomicU32 = AtomicU32::new(61_000);
    rustix::process::geteuid().is_root().then(|| NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The pieces of a run: its directory, and the specification of the next chain.
pub struct Trial {
    pub root: Arc<TempDir>,
    pub jail: JailSpec,
    pub kind: Kind,
    pub vendor: Vendor,
    pub network: NetworkMode,
    pub project_root: &'static str,
    pub steps: Vec<Step>,
    pub at_end: AtEnd,
    pub ending: Option<Shell>,
    pub grace: u64,
    pub variables: Vec<Variable>,
    pub files: Vec<MountedFile>,
    pub masks: Vec<Secret<String>>,
    /// The managed state that the next chain begins with.
    pub state: Option<Vec<u8>>,
    pub commit: Option<airlock::domain::CommitSha>,
    chains: u32,
    pub first_phase: u32,
}

impl Trial {
    /// A tracked run of a custom stack, without any phase yet.
    pub fn new() -> Self {
        let root = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(root.path().join("sealed")).unwrap();
        let jail = JailSpec {
            version: VERSION,
            kind: ExecutorKind::Jail,
            user: user(),
            limits: Limits::default(),
            root: Root::Host,
            dir: PathBuf::new(),
            hostname: "airlock".to_owned(),
            cgroup: None,
        };
        Self {
            root,
            jail,
            kind: Kind::Tracked,
            vendor: Vendor::Custom { init: None, plan: None, apply: None, destroy: None },
            network: NetworkMode::None,
            project_root: "",
            steps: Vec::new(),
            at_end: AtEnd::Remove,
            ending: None,
            grace: 10,
            variables: Vec::new(),
            files: Vec::new(),
            masks: Vec::new(),
            state: None,
            commit: None,
            chains: 0,
            first_phase: 1,
        }
    }

    /// A task: prepared, not initialized, one command.
    pub fn task(command: &str) -> Self {
        let mut trial = Self::new();
        trial.kind = Kind::Task;
        trial.steps = vec![trial.prepare(&[]), perform(command)];
        trial
    }

    /// A custom stack with these commands, up to its plan.
    pub fn planning(plan: &str, apply: &str) -> Self {
        let mut trial = Self::new();
        trial.vendor =
            Vendor::Custom { init: None, plan: Some(plan.to_owned()), apply: Some(apply.to_owned()), destroy: None };
        let prepare = trial.prepare(&[("main.txt", "source")]);
        trial.steps = vec![prepare, init(), plan_step()];
        trial.at_end = AtEnd::Seal;
        trial
    }

    pub fn sensitive(mut self, name: &str, value: &str) -> Self {
        self.variables.push(Variable {
            name: EnvName::new(name).unwrap(),
            value: Secret::new(value.to_owned()),
            sensitive: true,
        });
        self
    }

    pub fn with_ending(mut self, hook: &str) -> Self {
        let mut ending = shell(Phase::Ending, Command::Nothing);
        ending.before = vec![hook.to_owned()];
        self.ending = Some(ending);
        self
    }

    /// A step that prepares an upload with these files.
    pub fn prepare(&self, files: &[(&str, &str)]) -> Step {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, content) in files.iter().chain(&[("README", "read me\n")]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        self.prepare_archive(archive.into_inner().unwrap().finish().unwrap())
    }

    pub fn prepare_archive(&self, bytes: Vec<u8>) -> Step {
        let digest = sha256(&bytes);
        let path = self.root.path().join(digest.digits());
        fs::write(&path, bytes).unwrap();
        Step::Prepare(Prepare {
            source: Fetch::Upload { path, digest },
            disk_floor_bytes: 1,
            patch: None,
            shows: Vec::new(),
            archive: false,
        })
    }

    pub fn sealed_file(&self) -> PathBuf {
        self.root.path().join("sealed/run.sealed")
    }

    /// Every chain seals with a key of its own.
    fn seal_keys(&self, chain: u32) -> SealKeys {
        SealKeys {
            data_key: Secret::new(vec![u8::try_from(chain).unwrap(); 32]),
            sealed: self.sealed_file(),
            erase: self.root.path().join("sealed/run.key"),
        }
    }

    fn chain_spec(&self) -> ChainSpec {
        ChainSpec {
            version: VERSION,
            run: RunFacts {
                id: RUN.parse().unwrap(),
                number: 12,
                kind: self.kind,
                stack: STACK.parse().unwrap(),
                slug: "shop".parse().unwrap(),
                url: "http://localhost/runs/12".to_owned(),
                triggered_by: "ada".to_owned(),
                branch: None,
                commit: self.commit.clone(),
                project_root: RelativePath::new(self.project_root).unwrap(),
                network: self.network.clone(),
                vendor: self.vendor.clone(),
                targets: Vec::new(),
                mask_well_known: true,
            },
            chain: self.chains,
            first_phase: self.first_phase,
            steps: self.steps.clone(),
            at_end: self.at_end,
            ending: self.ending.clone(),
            ends_as: None,
            decided_later: false,
            stop_grace_seconds: self.grace,
            demand: None,
            runtime: None,
            secrets: ChainSecrets {
                workload: None,
                plan: None,
                chain_key: Secret::new(CHAIN_KEY.to_vec()),
                redaction_key: Secret::new(vec![8; 32]),
                open: self.chains.checked_sub(1).map(|before| self.seal_keys(before)),
                seal: Some(self.seal_keys(self.chains)),
                variables: self
                    .variables
                    .iter()
                    .map(|one| Variable { name: one.name.clone(), value: one.value.clone(), sensitive: one.sensitive })
                    .collect(),
                files: self
                    .files
                    .iter()
                    .map(|file| MountedFile {
                        path: file.path.clone(),
                        content: file.content.clone(),
                        sensitive: file.sensitive,
                    })
                    .collect(),
                masks: self.masks.clone(),
                git: None,
                state: self.state.as_ref().map(|state| ManagedState {
                    current: Secret::new(state.clone()),
                    password: Secret::new("state-password".to_owned()),
                }),
                guest_key: Some(Secret::new(vec![9; 32])),
                slug_key: None,
                build_variables: Vec::new(),
            },
        }
    }

    /// The two lines of the specification.
    pub fn lines(&self) -> (Vec<u8>, Vec<u8>) {
        let line = |mut json: Vec<u8>| {
            json.push(b'\n');
            json
        };
        (line(serde_json::to_vec(&self.jail).unwrap()), line(serde_json::to_vec(&self.chain_spec()).unwrap()))
    }

    /// A fresh directory for the next chain, with its lock held.
    pub fn next_dir(&mut self) -> File {
        self.chains += 1;
        self.jail.dir = self.root.path().join(format!("chain-{}", self.chains));
        fs::create_dir(&self.jail.dir).unwrap();
        let lock = File::create(self.jail.dir.join(file::LOCK)).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        lock
    }

    /// Starts the next chain, as the server does, and connects to it.
    pub fn start(&mut self) -> Runner {
        let lock = self.next_dir();
        self.start_in(lock)
    }

    pub fn start_in(&mut self, lock: File) -> Runner {
        let (jail, chain) = self.lines();
        let mut raw = spawn(&self.jail.dir, lock);
        raw.pipe.write_all(&jail).unwrap();
        raw.pipe.write_all(&chain).unwrap();
        raw.connect(Arc::clone(&self.root))
    }

    pub fn run(&mut self) -> Outcome {
        let outcome = self.start().wait();
        self.first_phase += u32::try_from(outcome.ended.len()).unwrap();
        outcome
    }
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap())
}

pub fn shell(phase: Phase, command: Command) -> Shell {
    Shell {
        phase,
        before: Vec::new(),
        command,
        after: Vec::new(),
        stdin: StandardInput::Empty,
        wall_seconds: limits::PHASE_WALL.as_secs(),
        binds: Vec::new(),
        state: StateAccess::None,
        skip: false,
    }
}

pub fn init() -> Step {
    Step::Shell(shell(Phase::Initializing, Command::Init))
}

pub fn plan_step() -> Step {
    Step::Shell(shell(Phase::Planning, Command::Plan { destroy: false }))
}

pub fn apply_step() -> Step {
    Step::Shell(shell(Phase::Applying, Command::Apply))
}

pub fn perform(command: &str) -> Step {
    Step::Shell(shell(Phase::Performing, Command::Perform { command: command.to_owned() }))
}

pub fn open_step(plan_digest: Digest) -> Step {
    Step::Open(Open { plan_digest: Some(plan_digest) })
}
