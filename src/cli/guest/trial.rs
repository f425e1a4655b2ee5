//! One guest in a chain of its own, in a directory that is gone afterwards.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{
    actions::ToStart,
    cli::{
        clean::{Colours, Decoder, Filter},
        client,
        failure::Failure,
        output,
    },
    config::Config,
    crypt::{Hasher, Key, Secret, random_bytes, random_token, read_file_under},
    dispatch::{self, Alone},
    domain::{
        Kind, Phase, RelativePath, RunId, StackId, Verdict, limits,
        stack::{ExecutorKind, Limits, NetworkMode, Vendor},
    },
    protocol::{
        AtEnd, ChainSecrets, ChainSpec, Fetch, GuestPhase, JailSpec, PhaseResult, Prepare, Produced, Record, Root,
        RunFacts, Step, VERSION, Variable, file, result_label,
    },
    workspace::remove_tree,
};

/// The guest's phase, after the one that prepares its workspace.
const NUMBER: u32 = 2;
const CHAIN: &str = "chain";

/// A place to try a guest in.
#[derive(Debug)]
pub struct Trial {
    dir: PathBuf,
    /// Whom guests run as when this is root.
    user: Option<u32>,
    cgroup: Option<PathBuf>,
    source: client::Archive,
    grace_seconds: u64,
}

/// What is tried.
#[derive(Debug)]
pub struct Asked {
    pub phase: GuestPhase,
    pub variables: Vec<Variable>,
}

/// What became of it. The files stay for as long as this does.
#[derive(Debug)]
pub struct Ended {
    pub verdict: Verdict,
    pub produced: Produced,
    pub patch: Option<String>,
    pub log: String,
    trial: Trial,
}

impl Trial {
    /// An empty directory that nobody else may enter.
    pub fn make(config: &Config) -> Result<Self, Failure> {
        let dir = env::temp_dir().join(format!("airlock-guest-{}", random_token().expose()));
        let fault = |error: io::Error| Failure::file("make", &dir, &error);
        DirBuilder::new().mode(0o700).create(&dir).map_err(fault)?;
        let dir = dir.canonicalize().map_err(fault)?;
        let source = dir.join("nothing.tar.gz");
        // An archive must hold something; where nothing is granted, nobody sees it.
        let nothing = client::pack_files(&[("nothing", "")]).map_err(fault)?;
        fs::write(&source, nothing).map_err(fault)?;
        Ok(Self {
            dir,
            user: rustix::process::geteuid().is_root().then_some(config.uid_range.last),
            cgroup: None,
            source: client::Archive::Given(source),
            grace_seconds: config.stop_grace.as_secs(),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn use_cgroup(&mut self, cgroup: Option<PathBuf>) {
        self.cgroup = cgroup;
    }

    /// Writes a file beside the chain.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.dir.join(name);
        fs::write(&path, content).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(path)
    }

    /// What lies in this directory is what the workspace begins with.
    pub fn copy_workspace(&mut self, from: &Path) -> Result<(), Failure> {
        self.source = client::pack(from)?;
        Ok(())
    }

    /// Carries it out; where wanted, prints what the guest prints as it comes.
    pub async fn run(self, asked: Asked, print: bool) -> Result<Ended, Failure> {
        let failed = |error: io::Error| Failure::failed(format_args!("the runner cannot be started: {error}"));
        let run = RunId::from_number(u128::from_be_bytes(random_bytes()));
        let key = random_bytes::<32>();
        let chain = self.chain(run, key, asked)?;
        let mut alone = dispatch::start_alone(Path::new("/proc/self/exe"), &chain).await.map_err(failed)?;
        let mut follower = Follower::new(self.log(), print);
        self.follow(&mut alone, &mut follower).await?;
        follower.go_on()?;
        let records = alone.records().map_err(failed)?;
        let ended = records.into_iter().rev().find_map(|record| match record {
            Record::PhaseEnded { number, verdict, produced, .. } => Some((number, verdict, *produced)),
            Record::Started { .. } | Record::PhaseStarted { .. } | Record::Ended { .. } => None,
        });
        let lost = || Failure::failed(format_args!("the runner was lost: {}", alone.complaint()));
        let (number, verdict, produced) = ended.ok_or_else(lost)?;
        let patch = if number == NUMBER && produced.result { self.patch(run, key)? } else { None };
        Ok(Ended { verdict, produced, patch, log: follower.text, trial: self })
    }

    /// Until the runner is gone; the first interruption asks the guest to stop.
    async fn follow(&self, alone: &mut Alone, follower: &mut Follower) -> Result<(), Failure> {
        loop {
            let goes_on = tokio::select! {
                goes_on = alone.bell() => goes_on,
                _ = tokio::signal::ctrl_c() => {
                    let asked = alone.stop().await;
                    asked.map_err(|error| Failure::failed(format_args!("the guest cannot be stopped: {error}")))?;
                    true
                }
            };
            if !goes_on {
                return Ok(());
            }
            follower.go_on()?;
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.join(CHAIN).join(file::log(NUMBER, Phase::Performing))
    }

    fn patch(&self, run: RunId, key: [u8; 32]) -> Result<Option<String>, Failure> {
        let path = self.dir.join(CHAIN).join(file::result(NUMBER));
        let label = result_label(run, NUMBER);
        let json = read_file_under(&path, &Key::new(key), label.as_bytes(), limits::GIB).map_err(Failure::failed)?;
        let result: PhaseResult = serde_json::from_slice(json.expose()).map_err(Failure::failed)?;
        Ok(result.patch.map(|patch| patch.expose().clone()))
    }

    fn chain(&self, run: RunId, key: [u8; 32], asked: Asked) -> Result<ToStart, Failure> {
        let dir = self.dir.join(CHAIN);
        let jail = JailSpec {
            version: VERSION,
            kind: ExecutorKind::Jail,
            user: self.user,
            limits: Limits::default(),
            root: Root::Host,
            dir: dir.clone(),
            hostname: "airlock".to_owned(),
            cgroup: self.cgroup.clone(),
        };
        let spec = ChainSpec {
            version: VERSION,
            run: facts(run)?,
            chain: 1,
            first_phase: 1,
            steps: vec![Step::Prepare(self.prepare()?), Step::Guest(asked.phase)],
            at_end: AtEnd::Remove,
            ending: None,
            ends_as: None,
            decided_later: false,
            demand: None,
            runtime: None,
            stop_grace_seconds: self.grace_seconds,
            secrets: ChainSecrets {
                chain_key: Secret::new(key.to_vec()),
                redaction_key: Secret::new(random_bytes::<32>().to_vec()),
                open: None,
                seal: None,
                variables: asked.variables,
                files: Vec::new(),
                masks: Vec::new(),
                git: None,
                state: None,
                workload: None,
                plan: None,
                guest_key: Some(Secret::new(random_bytes::<32>().to_vec())),
                slug_key: None,
                build_variables: Vec::new(),
            },
        };
        Ok(ToStart { run, chain: 1, dir, goes_on_from: None, jail, spec })
    }

    fn prepare(&self) -> Result<Prepare, Failure> {
        let path = self.source.path();
        let path = path.canonicalize().map_err(|error| Failure::file("read", path, &error))?;
        let mut hasher = Hasher::new();
        File::open(&path)
            .and_then(|mut archive| io::copy(&mut archive, &mut hasher))
            .map_err(|error| Failure::file("read", &path, &error))?;
        Ok(Prepare {
            source: Fetch::Upload { path, digest: hasher.digest() },
            disk_floor_bytes: 0,
            patch: None,
            shows: Vec::new(),
            archive: false,
        })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            output::note(&format!("airlock: {error}"));
        }
    }
}

/// What phases are told of their run; guests are not.
fn facts(id: RunId) -> Result<RunFacts, Failure> {
    Ok(RunFacts {
        id,
        number: 1,
        kind: Kind::Task,
        stack: StackId::from_number(u128::from_be_bytes(random_bytes())),
        slug: "guest".parse().map_err(Failure::failed)?,
        url: String::new(),
        triggered_by: "guest run".to_owned(),
        branch: None,
        commit: None,
        project_root: RelativePath::new("").map_err(Failure::failed)?,
        network: NetworkMode::None,
        vendor: Vendor::Custom { init: None, plan: None, apply: None, destroy: None },
        targets: Vec::new(),
        mask_well_known: true,
    })
}

impl Ended {
    /// Copies artifacts and the patch.
    pub fn save(&self, to: &Path) -> Result<(), Failure> {
        let fault = |error: io::Error| Failure::file("save to", to, &error);
        fs::create_dir_all(to).map_err(fault)?;
        for (n, artifact) in (1..).zip(&self.produced.artifacts) {
            // Paths of artifacts were made by walking; nothing in them leads upwards.
            let target = to.join("output").join(&artifact.path);
            fs::create_dir_all(target.parent().unwrap_or(to)).map_err(fault)?;
            fs::copy(self.trial.dir.join(CHAIN).join(file::artifact(NUMBER, n)), target).map_err(fault)?;
        }
        self.patch.iter().try_for_each(|patch| fs::write(to.join("changes.patch"), patch).map_err(fault))
    }
}

/// Reads a log that grows.
struct Follower {
    path: PathBuf,
    offset: u64,
    text: String,
    decoder: Decoder,
    /// None: nothing is printed.
    filter: Option<Filter>,
}

impl Follower {
    fn new(path: PathBuf, print: bool) -> Self {
        let colours = if output::colourful(&io::stdout()) { Colours::Kept } else { Colours::Dropped };
        let filter = print.then(|| Filter::new(colours));
        Self { path, offset: 0, text: String::new(), decoder: Decoder::default(), filter }
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.offset))?;
            log.read_to_end(&mut bytes)
        });
        match read {
            Ok(read) => self.offset += read as u64,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::file("read", &self.path, &error)),
        }
        let text = self.decoder.push(&bytes);
        if let Some(filter) = &mut self.filter {
            return output::raw(filter.push(&text).as_bytes());
        }
        self.text.push_str(&text);
        Ok(())
    }
}
