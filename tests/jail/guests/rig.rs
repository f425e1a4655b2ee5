//! A chain with one guest, carried out by a runner of its own.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::lchown, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
};

use airlock::{
    crypt::{Key, Secret, digest, read_file_under},
    domain::{EnvName, Kind, Phase, RelativePath, Verdict, limits, stack::NetworkMode, stack::Vendor},
    protocol::{
        AtEnd, Bell, Caps, ChainSecrets, ChainSpec, DenialKind, Grants, GuestCode, GuestPhase, JailSpec, PhaseResult,
        Produced, Receipt, Record, Request, RunFacts, StandardInput, Step, VERSION, Variable, WorkspaceGrant, file,
        read_records, result_label,
    },
};
use rustix::fs::FlockOperation;

use crate::host::{Host, Server, servers, succeeds, this_binary};

/// Instead of a jail: carries out the chain that it is told of.
pub const ARGUMENT: &str = "--as-chain";

const RUN: &str = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const STACK: &str = "stack_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const CHAIN_KEY: [u8; 32] = [7; 32];

/// A guest to be tried, and what it is given.
pub struct Guest {
    pub host: Arc<Host>,
    pub code: Vec<u8>,
    pub args: Vec<String>,
    pub plain_env: Vec<(String, String)>,
    pub stdin: StandardInput,
    pub caps: Caps,
    pub grants: Grants,
    pub variables: Vec<(String, String)>,
    pub phase: Phase,
    /// What lies in its workspace.
    files: Vec<(String, String)>,
}

/// What became of it.
pub struct Outcome {
    pub verdict: Verdict,
    pub log: String,
    pub produced: Produced,
    pub result: Option<PhaseResult>,
    pub dir: PathBuf,
    /// What the runner complained about.
    errors: String,
    /// What it left stays for as long as anybody looks at it.
    _host: Arc<Host>,
}

impl Guest {
    /// From text, on the first kind of server there is.
    pub fn wat(text: &str) -> Self {
        Self::on(servers()[0], text)
    }

    pub fn on(server: Server, text: &str) -> Self {
        let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self::bytes_on(server, code)
    }

    pub fn bytes(code: Vec<u8>) -> Self {
        Self::bytes_on(servers()[0], code)
    }

    fn bytes_on(server: Server, code: Vec<u8>) -> Self {
        Self {
            host: Arc::new(Host::new(server)),
            code,
            args: Vec::new(),
            plain_env: Vec::new(),
            stdin: StandardInput::Empty,
            caps: Caps::default(),
            grants: Grants { workspace: WorkspaceGrant::None, ..Grants::default() },
            variables: Vec::new(),
            phase: Phase::Performing,
            files: Vec::new(),
        }
    }

    pub fn caps(mut self, change: impl FnOnce(&mut Caps)) -> Self {
        change(&mut self.caps);
        self
    }

    pub fn workspace(mut self, grant: WorkspaceGrant, files: &[(&str, &str)]) -> Self {
        self.grants.workspace = grant;
        let own = |(name, content): &(&str, &str)| ((*name).to_owned(), (*content).to_owned());
        self.files = files.iter().map(own).collect();
        self
    }

    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cache(&self) -> PathBuf {
        self.host.data.path().join("cache")
    }

    /// Carries the chain out and waits for its end.
    pub fn run(&self) -> Outcome {
        self.run_with(|_| {})
    }

    /// The same, after something was done to the guest's file.
    pub fn run_with(&self, change: impl FnOnce(&Path)) -> Outcome {
        self.ended(self.start(change))
    }

    /// Carries the chain out, and asks for its end once the guest has printed this.
    pub fn run_and_stop(&self, after: &str) -> Outcome {
        let mut child = self.start(|_| {});
        let control = loop {
            match UnixStream::connect(self.host.spec.dir.join(file::CONTROL)) {
                Ok(control) => break control,
                Err(error) => {
                    assert!(child.try_wait().unwrap().is_none(), "{error}: {}", errors(child));
                    std::thread::yield_now();
                }
            }
        };
        let printed = BufReader::new(&control).lines().any(|line| {
            let bell = serde_json::from_str::<Bell>(&line.unwrap()).unwrap();
            let log = fs::read_to_string(self.host.spec.dir.join(file::log(1, self.phase))).unwrap_or_default();
            bell.log > 0 && log.contains(after)
        });
        assert!(printed, "it never printed `{after}`: {}", errors(child));
        (&control).write_all(&serde_json::to_vec(&Request::Stop).unwrap()).unwrap();
        (&control).write_all(b"\n").unwrap();
        self.ended(child)
    }

    fn start(&self, change: impl FnOnce(&Path)) -> Child {
        let dir = &self.host.spec.dir;
        self.make_again();
        let path = self.host.data.path().join("guest.wasm");
        fs::write(&path, &self.code).unwrap();
        change(&path);
        let lock = File::create(dir.join(file::LOCK)).unwrap();
        self.give_away();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let mut child = self
            .host
            .server
            .outside(this_binary())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(OwnedFd::from(lock)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let jail: &JailSpec = &self.host.spec;
        for line in [serde_json::to_string(jail).unwrap(), serde_json::to_string(&self.spec(path)).unwrap()] {
            pipe.write_all(line.as_bytes()).unwrap();
            pipe.write_all(b"\n").unwrap();
        }
        child
    }

    fn ended(&self, child: Child) -> Outcome {
        self.outcome(errors(child))
    }

    /// A chain that ended its run took the workspace away, and left records.
    fn make_again(&self) {
        for name in ["workspace", "run"] {
            fs::create_dir_all(self.host.spec.dir.join("tree").join(name)).unwrap();
        }
        for entry in fs::read_dir(&self.host.spec.dir).unwrap().flatten() {
            if entry.file_name() != "tree" {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        for (name, content) in &self.files {
            let path = self.host.workspace().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Everything belongs to the server, the workspace to the run's user.
    fn give_away(&self) {
        if self.host.server == Server::Ordinary && crate::host::is_root() {
            let owner = format!("{0}:{0}", self.host.server.jail_uid());
            succeeds(std::process::Command::new("chown").arg("-R").arg(owner).arg(self.host.data.path()));
        } else {
            let uid = Some(self.host.server.jail_uid());
            for entry in walk(&self.host.workspace()) {
                let _ = lchown(entry, uid, uid);
            }
        }
    }

    fn spec(&self, code: PathBuf) -> ChainSpec {
        let step = GuestPhase {
            phase: self.phase,
            name: "guest".to_owned(),
            code: GuestCode::Registered { path: code, digest: digest(&self.code) },
            args: self.args.clone(),
            plain_env: self.plain_env.clone(),
            env: Vec::new(),
            stdin: self.stdin.clone(),
            caps: self.caps,
            grants: self.grants.clone(),
            cache: Some(self.cache()),
            artifacts: true,
            skip: false,
        };
        let variable = |(name, value): &(String, String)| Variable {
            name: EnvName::new(name).unwrap(),
            value: Secret::new(value.clone()),
            sensitive: true,
        };
        ChainSpec {
            version: VERSION,
            run: RunFacts {
                id: RUN.parse().unwrap(),
                number: 1,
                kind: Kind::Task,
                stack: STACK.parse().unwrap(),
                slug: "shop".parse().unwrap(),
                url: "http://localhost/runs/1".to_owned(),
                triggered_by: "ada".to_owned(),
                branch: None,
                commit: None,
                project_root: RelativePath::new("").unwrap(),
                network: NetworkMode::None,
                vendor: Vendor::Custom { init: None, plan: None, apply: None, destroy: None },
                targets: Vec::new(),
                mask_well_known: true,
            },
            chain: 1,
            first_phase: 1,
            steps: vec![Step::Guest(step)],
            // What it left in the workspace is looked at.
            at_end: AtEnd::Keep,
            ending: None,
            ends_as: None,
            decided_later: false,
            demand: None,
            runtime: None,
            stop_grace_seconds: 10,
            secrets: ChainSecrets {
                chain_key: Secret::new(CHAIN_KEY.to_vec()),
                redaction_key: Secret::new(vec![8; 32]),
                open: None,
                seal: None,
                variables: self.variables.iter().map(variable).collect(),
                files: Vec::new(),
                masks: Vec::new(),
                git: None,
                state: None,
                workload: None,
                plan: None,
                guest_key: Some(Secret::new(vec![9; 32])),
                slug_key: None,
                build_variables: Vec::new(),
            },
        }
    }

    fn outcome(&self, errors: String) -> Outcome {
        let dir = self.host.spec.dir.clone();
        let (records, _) = read_records(&fs::read(dir.join(file::RECORDS)).unwrap_or_default());
        let ended = records.iter().find_map(|record| match record {
            Record::PhaseEnded { number: 1, verdict, produced, .. } => Some((verdict.clone(), (**produced).clone())),
            _ => None,
        });
        let (verdict, produced) = ended.unwrap_or_else(|| panic!("no phase ended: {records:?}\n{errors}"));
        let result = produced.result.then(|| {
            let label = result_label(RUN.parse().unwrap(), 1);
            let path = dir.join(file::result(1));
            let json = read_file_under(&path, &Key::new(CHAIN_KEY), label.as_bytes(), limits::GIB).unwrap();
            serde_json::from_slice(json.expose()).unwrap()
        });
        let log = fs::read(dir.join(file::log(1, self.phase))).unwrap_or_default();
        Outcome {
            verdict,
            log: String::from_utf8(log).unwrap(),
            produced,
            result,
            dir,
            errors,
            _host: Arc::clone(&self.host),
        }
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}\n{:#?}\n{}\n{}", self.verdict, self.produced, self.log, self.errors)
    }
}

/// Waits for a runner's end; what it complained about.
fn errors(child: Child) -> String {
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(walk(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

impl Outcome {
    pub fn receipt(&self) -> &Receipt {
        let receipt = self.produced.receipt.as_deref().unwrap_or_else(|| panic!("no receipt: {self:#?}"));
        assert_eq!(receipt.verdict, self.verdict);
        receipt
    }

    /// The exit code; anything else is a failure of the test.
    pub fn code(&self) -> i32 {
        match self.verdict {
            Verdict::Exited { code } => code,
            _ => panic!("{self:#?}"),
        }
    }

    pub fn succeeded(&self) -> &Self {
        assert_eq!(self.code(), 0, "{self:#?}");
        self
    }

    /// Ended by its own clock after a second: the engine lived to tell what it used.
    pub fn timed_out(&self) {
        assert_eq!(self.verdict, Verdict::TimedOut { seconds: 1 }, "{self:#?}");
        let receipt = self.receipt();
        assert!(receipt.fuel_used.is_some() && receipt.wall_ms >= 1_000, "{self:#?}");
    }

    /// Whether something of this kind was refused whose text holds this.
    pub fn denied(&self, kind: DenialKind, text: &str) -> bool {
        let denials = &self.receipt().denials;
        denials.iter().any(|denial| denial.kind == kind && denial.tried.contains(text))
    }

    pub fn patch(&self) -> &str {
        self.result.as_ref().and_then(|result| result.patch.as_ref()).map_or("", |patch| patch.expose())
    }

    /// The bytes of an artifact.
    pub fn artifact(&self, path: &str) -> Option<Vec<u8>> {
        let n = self.produced.artifacts.iter().position(|artifact| artifact.path == path)?;
        Some(fs::read(self.dir.join(file::artifact(1, n + 1))).unwrap())
    }
}
