//! A chain on trial: a specification, the real binary, and what it left.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command as Process, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use airlock::{
    crypt::{Key, Secret, read_file_under},
    domain::{
        Digest, EnvName, Kind, Phase, RelativePath, Verdict, limits,
        stack::{ExecutorKind, Limits, NetworkMode, Vendor},
    },
    protocol::{
        AtEnd, Bell, ChainSecrets, ChainSpec, Command, Fetch, JailSpec, ManagedState, Open, PhaseResult, Prepare,
        Produced, Record, Request, Root, RunFacts, SealKeys, Shell, StateAccess, Step, VERSION, Variable,
        WorkspaceLeft, file, read_records, result_label, state_label,
    },
};
use rustix::{
    event::{PollFd, PollFlags},
    fs::FlockOperation,
    process::{Pid, Signal},
};
use tempfile::TempDir;

const RUN: &str = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const STACK: &str = "stack_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const CHAIN_KEY: [u8; 32] = [7; 32];

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
    pub files: Vec<airlock::protocol::MountedFile>,
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
        Step::Prepare(Prepare { source: Fetch::Upload { path, digest }, disk_floor_bytes: 1 })
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
                mask_well_known: true,
            },
            chain: self.chains,
            first_phase: self.first_phase,
            steps: self.steps.clone(),
            at_end: self.at_end,
            ending: self.ending.clone(),
            stop_grace_seconds: self.grace,
            secrets: ChainSecrets {
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
                    .map(|file| airlock::protocol::MountedFile {
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
    Step::Shell(shell(Phase::Planning, Command::Plan { targets: Vec::new(), destroy: false }))
}

pub fn apply_step() -> Step {
    Step::Shell(shell(Phase::Applying, Command::Apply))
}

pub fn perform(command: &str) -> Step {
    Step::Shell(shell(Phase::Performing, Command::Perform { command: command.to_owned() }))
}

pub fn open_step(plan_digest: Digest) -> Step {
    Step::Open(Open { plan_digest })
}

/// A runner before anything was said to it.
pub struct Raw {
    pub child: Child,
    pub pipe: File,
    dir: PathBuf,
}

pub fn spawn(dir: &Path, lock: File) -> Raw {
    let (reading, writing) = std::io::pipe().unwrap();
    let child = Process::new(env!("CARGO_BIN_EXE_airlock"))
        .arg("runner")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(reading)))
        .stdout(Stdio::from(lock))
        .stderr(Stdio::from(File::create(dir.join(file::ERRORS)).unwrap()))
        .spawn()
        .unwrap();
    Raw { child, pipe: File::from(OwnedFd::from(writing)), dir: dir.to_owned() }
}

impl Raw {
    /// Waits until the runner listens, which it says by closing its end of the pipe.
    fn connect(self, root: Arc<TempDir>) -> Runner {
        let Self { child, pipe, dir } = self;
        let mut ends = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty())];
        rustix::event::poll(&mut ends, None).unwrap();
        let errors = || fs::read_to_string(dir.join(file::ERRORS)).unwrap_or_default();
        let control =
            UnixStream::connect(dir.join(file::CONTROL)).unwrap_or_else(|_| panic!("no runner: {}", errors()));
        Runner { child, control: BufReader::new(control), dir, root }
    }

    /// Waits for the end of a runner that has nothing to say.
    pub fn end(mut self) -> (ExitStatus, Vec<Record>, String) {
        drop(self.pipe);
        let status = self.child.wait().unwrap();
        let records = fs::read(self.dir.join(file::RECORDS)).unwrap_or_default();
        (status, read_records(&records).0, fs::read_to_string(self.dir.join(file::ERRORS)).unwrap())
    }
}

/// A runner at work.
pub struct Runner {
    pub child: Child,
    control: BufReader<UnixStream>,
    dir: PathBuf,
    root: Arc<TempDir>,
}

impl Runner {
    /// The next bell; none when the runner is gone.
    pub fn bell(&mut self) -> Option<Bell> {
        let mut line = String::new();
        (self.control.read_line(&mut line).unwrap() > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    pub fn ask(&mut self, request: Request) {
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');
        self.control.get_mut().write_all(&line).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until a phase's log holds the text.
    pub fn until_log(&mut self, number: u32, phase: Phase, text: &str) {
        let path = self.dir.join(file::log(number, phase));
        while !fs::read_to_string(&path).unwrap_or_default().contains(text) {
            assert!(self.bell().is_some(), "the runner ended before it printed `{text}`");
        }
    }

    pub fn wait(mut self) -> Outcome {
        while self.bell().is_some() {}
        self.outcome()
    }

    /// Hangs up, as a server that dies, and waits for the process.
    pub fn hang_up(self) -> Outcome {
        let Self { child, control, dir, root } = self;
        control.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
        Self { child, control, dir, root }.outcome()
    }

    fn outcome(mut self) -> Outcome {
        self.child.wait().unwrap();
        let bytes = fs::read(self.dir.join(file::RECORDS)).unwrap_or_default();
        let (records, consumed) = read_records(&bytes);
        assert_eq!(consumed, bytes.len(), "the records are whole");
        let ended = records
            .iter()
            .filter_map(|record| match record {
                Record::PhaseEnded { number, phase, verdict, produced, .. } => Some(Ended {
                    number: *number,
                    phase: *phase,
                    verdict: verdict.clone(),
                    produced: (**produced).clone(),
                }),
                _ => None,
            })
            .collect();
        Outcome { dir: self.dir, records, ended, _root: self.root }
    }
}

/// How a phase ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub number: u32,
    pub phase: Phase,
    pub verdict: Verdict,
    pub produced: Produced,
}

/// What a chain left.
#[derive(Debug)]
pub struct Outcome {
    pub dir: PathBuf,
    pub records: Vec<Record>,
    pub ended: Vec<Ended>,
    /// The directory lives for as long as anybody looks at it.
    _root: Arc<TempDir>,
}

impl Outcome {
    pub fn phase(&self, phase: Phase) -> &Ended {
        self.ended.iter().find(|ended| ended.phase == phase).unwrap_or_else(|| panic!("no {phase}: {self:?}"))
    }

    pub fn phases(&self) -> Vec<Phase> {
        // Shown when a test fails.
        eprintln!("{:#?}\n{}", self.ended.last(), self.errors());
        self.ended.iter().map(|ended| ended.phase).collect()
    }

    pub fn verdict(&self, phase: Phase) -> &Verdict {
        &self.phase(phase).verdict
    }

    pub fn log(&self, phase: Phase) -> String {
        let ended = self.phase(phase);
        fs::read_to_string(self.dir.join(file::log(ended.number, phase))).unwrap()
    }

    pub fn result(&self, phase: Phase) -> PhaseResult {
        let number = self.phase(phase).number;
        let label = result_label(RUN.parse().unwrap(), number);
        let path = self.dir.join(file::result(number));
        let json = read_file_under(&path, &Key::new(CHAIN_KEY), label.as_bytes(), limits::GIB).unwrap();
        serde_json::from_slice(json.expose()).unwrap()
    }

    pub fn state(&self, phase: Phase, n: u32) -> Vec<u8> {
        let number = self.phase(phase).number;
        let label = state_label(RUN.parse().unwrap(), number, n);
        let path = self.dir.join(file::state(number, n));
        read_file_under(&path, &Key::new(CHAIN_KEY), label.as_bytes(), limits::GIB).unwrap().expose().clone()
    }

    /// The last record: what became of the workspace, and whether somebody wanted the end.
    pub fn end(&self) -> (WorkspaceLeft, bool) {
        match self.records.last() {
            Some(Record::Ended { workspace, stopped, fault: None, .. }) => (*workspace, *stopped),
            other => panic!("{other:?} {}", self.errors()),
        }
    }

    pub fn errors(&self) -> String {
        fs::read_to_string(self.dir.join(file::ERRORS)).unwrap()
    }

    /// Whether any file of the chain holds the text.
    pub fn holds(&self, text: &str) -> bool {
        fs::read_dir(&self.dir).unwrap().any(|entry| {
            let entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.file_type().unwrap().is_file()
                && File::open(entry.path()).unwrap().read_to_end(&mut bytes).is_ok()
                && memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        })
    }
}
