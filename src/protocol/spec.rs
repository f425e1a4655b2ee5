//! What a chain is to do: everything that the server tells its runner but the secrets.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{ChainSecrets, GuestCompile, GuestPhase, StandardInput, Variable};
use crate::domain::{
    CommitSha, Digest, Kind, Phase, RelativePath, RunId, Slug, StackId, State,
    runtime::{FileConfig, Layers, Used},
    stack::{ExecutorKind, Limits, NetworkMode, Vendor},
};

/// The environment of a phase, by name. Built from nothing.
pub type Environment = BTreeMap<String, String>;
/// What is needed to build jails. Holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JailSpec {
    pub version: u32,
    pub kind: ExecutorKind,
    /// The uid and gid that phases run as when the server is root; none means: this user, mapped.
    pub user: Option<u32>,
    pub limits: Limits,
    pub root: Root,
    /// The chain's directory, absolute.
    pub dir: PathBuf,
    /// Host name inside.
    pub hostname: String,
    /// Where cgroups for jails may be made, as the server found out at its start.
    pub cgroup: Option<PathBuf>,
}

/// What phases see as `/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Root {
    /// The host's programs, read-only.
    Host,
    /// An unpacked image, read-only.
    Image { path: PathBuf },
}

/// A directory or file of the host that one phase sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// No run can change what this path leads through.
    pub host: PathBuf,
    pub inside: PathBuf,
    pub writable: bool,
    /// In a directory that runs fill and that stays for later ones: what of it is shown, made where it is
    /// missing. Runs can have put anything there, so it is found without following a link.
    #[serde(default)]
    pub kept: Option<RelativePath>,
    #[serde(default)]
    pub keeps: Keeps,
}

/// What a kept directory is to runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// Theirs: only they take anything out of it.
    #[default]
    Data,
    /// Something that they can do without, and that is emptied when it is too much.
    Cache,
}

impl Bind {
    /// Something that runs cannot change.
    pub const fn read_only(host: PathBuf, inside: PathBuf) -> Self {
        Self { host, inside, writable: false, kept: None, keeps: Keeps::Data }
    }

    /// The directory at `path` in one that runs fill and that stays.
    pub const fn kept(host: PathBuf, path: RelativePath, inside: PathBuf) -> Self {
        Self { host, inside, writable: true, kept: Some(path), keeps: Keeps::Data }
    }

    /// The whole of a directory that runs fill as their cache.
    pub fn cache(host: PathBuf, inside: PathBuf) -> Self {
        let all = RelativePath::new("").expect("the empty path is the root");
        Self { keeps: Keeps::Cache, ..Self::kept(host, all, inside) }
    }
}

/// One chain: what to do, with what, and what to leave behind.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChainSpec {
    pub version: u32,
    pub run: RunFacts,
    /// Number of the chain within its run, from 1.
    pub chain: u32,
    /// Number of the first phase within the run, from 1; they count up across chains.
    pub first_phase: u32,
    pub steps: Vec<Step>,
    pub at_end: AtEnd,
    /// The `ending` phase, carried out when the chain ends the run.
    pub ending: Option<Shell>,
    /// The end that was decided already: what is left to do are the hooks that see it.
    #[serde(default)]
    pub ends_as: Option<State>,
    /// Whether others are asked about the plan: then a plan that succeeds does not end the run yet.
    #[serde(default)]
    pub decided_later: bool,
    /// Seconds between asking a phase to stop and killing it.
    pub stop_grace_seconds: u64,
    /// What a declared task is given beside.
    #[serde(default)]
    pub demand: Option<Demand>,
    /// What may be laid over hooks, variables, project root and binary.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    pub secrets: ChainSecrets,
}

/// The run's settings in layers. The runner puts them together, because one of them lies in the source
/// that it fetches; what it found and used is in [`super::PhaseResult::runtime`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runtime {
    pub layers: Layers,
    /// The operator's binaries that a version may name, by name.
    pub binaries: BTreeMap<String, PathBuf>,
    /// The images that the source may name, where it has a say.
    pub images: BTreeMap<String, ImagePlace>,
}

/// An imported image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlace {
    /// Where it lies unpacked.
    pub path: PathBuf,
    pub digest: Digest,
}

/// What a source's configuration file said, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFound {
    pub file: FileConfig,
    pub used: Used,
    /// The image that the file chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<FoundImage>,
}

/// What the jails of a run have as their root from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundImage {
    pub name: String,
    /// None: the host's own root.
    pub digest: Option<Digest>,
}

/// What a declared task finds in its jail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Directories of the workspace that are made where they are missing.
    pub directories: Vec<RelativePath>,
    /// Ports of the jail's loopback behind which services are.
    pub relays: Vec<Relay>,
    /// `host:port` that the operator vouches for, wherever their names lead.
    pub vouched: Vec<String>,
    /// Where tokens of this run come from; none for one that is authorized to nothing.
    pub workload: Option<Workload>,
    /// A native one may leave outcomes in `/output`.
    #[serde(default)]
    pub output: bool,
}

/// A way to one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// On the jail's loopback.
    pub port: u16,
    /// `host:port`
    pub to: String,
}

/// The door of the server for running tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The server's socket, absolute.
    pub socket: PathBuf,
}

/// What phases are told about their run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunFacts {
    pub id: RunId,
    pub number: u64,
    pub kind: Kind,
    pub stack: StackId,
    pub slug: Slug,
    pub url: String,
    pub triggered_by: String,
    pub branch: Option<String>,
    pub commit: Option<CommitSha>,
    pub project_root: RelativePath,
    pub network: NetworkMode,
    pub vendor: Vendor,
    /// Addresses that a targeted replan chose.
    pub targets: Vec<String>,
    pub mask_well_known: bool,
}

/// One step of a chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "a chain has a handful of steps")]
pub enum Step {
    /// Phase `preparing`: the workspace is made fresh.
    Prepare(Prepare),
    /// Phase `preparing_apply`: the sealed workspace is opened and verified.
    Open(Open),
    /// A phase that runs commands in the workspace.
    Shell(Shell),
    /// Phase `preparing`: a declared task's build hook, unless an earlier run has done it already.
    Build(Build),
    /// A phase that runs a WASI guest.
    Guest(GuestPhase),
    /// Phase `preparing` of no run: a guest is compiled, so that one that cannot be is refused early.
    Compile(GuestCompile),
    /// Phase `preparing` of no run: which commit a branch stands for is asked, and nothing is fetched.
    LookUp(GitFetch),
    /// Phase `sealing`: nothing but sealing the workspace that an earlier chain kept.
    Seal(Seal),
}

impl Step {
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Prepare(_) => Phase::Preparing,
            Self::Open(_) => Phase::PreparingApply,
            Self::Shell(shell) => shell.phase,
            Self::Guest(guest) => guest.phase,
            Self::Build(_) | Self::Compile(_) | Self::LookUp(_) => Phase::Preparing,
            Self::Seal(_) => Phase::Sealing,
        }
    }
}

/// Where the files of the workspace come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepare {
    pub source: Fetch,
    /// The file system's free bytes below which nothing is prepared.
    pub disk_floor_bytes: u64,
    /// Changes that are made in the source before anybody sees it.
    #[serde(default)]
    pub patch: Option<PatchFile>,
    /// Files of the source that the server wants to see, as [`super::PhaseResult::files`].
    #[serde(default)]
    pub shows: Vec<RelativePath>,
    /// Whether the source is kept as `<NN>.source`, for others to look into.
    #[serde(default)]
    pub archive: bool,
}

/// What a run works with from its first phase on. It is sealed with the workspace: what is applied is
/// set as it was when it was planned, whatever became of the stack and its contexts meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settings {
    pub variables: Vec<Variable>,
    pub layers: Layers,
    /// The stack's own commands, where it has such.
    pub vendor: Vendor,
    /// The mounted files, which the workspace holds, by their digests.
    pub files: Vec<(RelativePath, Digest)>,
}

/// The changes of another run's guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFile {
    pub path: PathBuf,
    /// What the person saw who proposed it.
    pub digest: Digest,
    /// The number of the run that left it.
    pub run: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fetch {
    Git(GitFetch),
    Upload {
        /// The stored tar.gz.
        path: PathBuf,
        digest: Digest,
    },
}

/// A commit of a repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GitFetch {
    pub url: String,
    pub branch: String,
    /// None: the branch's head, which is then reported in [`super::Produced::commit`].
    pub commit: Option<CommitSha>,
    pub submodules: bool,
    /// A directory of the host that the url names, already checked against `local_sources`.
    pub local: Option<PathBuf>,
}

/// The sealed workspace that a chain begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// What the person who confirmed was shown. It must be what is in there. None for a run that
    /// waited before it had planned.
    pub plan_digest: Option<Digest>,
}

/// The workspace that an earlier chain kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// What its planning phase produced, if it got as far. It must be what is in there.
    pub plan_digest: Option<Digest>,
}

/// One phase that runs `sh` in the workspace's project root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shell {
    pub phase: Phase,
    /// Run by `eval` under `set -e`, before and after the command, in the same shell.
    pub before: Vec<String>,
    pub command: Command,
    pub after: Vec<String>,
    #[serde(default)]
    pub stdin: StandardInput,
    /// Seconds of wall time; the rest of the limits is in [`JailSpec`].
    pub wall_seconds: u64,
    pub binds: Vec<Bind>,
    /// Whether the phase may read and write the managed state.
    pub state: StateAccess,
    /// Applying is skipped (`AIRLOCK_SKIP_APPLYING`): the phase is recorded, the command is not run.
    pub skip: bool,
}

/// A build hook, and where its result is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Build {
    pub shell: Shell,
    #[serde(default)]
    pub slug: Option<SlugPlace>,
}

/// The place of what a build hook leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugPlace {
    /// The directory of all of them.
    pub dir: PathBuf,
    /// What it is built from: source, declaration, variables.
    pub of: Digest,
}

/// What a phase runs. The vendor turns it into shell text inside the runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// The vendor's init.
    Init,
    Plan {
        destroy: bool,
    },
    Apply,
    Destroy,
    /// A task's command, by `sh -c`.
    Perform {
        command: String,
    },
    /// Nothing between the hooks.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateAccess {
    /// The stack has no managed state.
    None,
    Read,
    Write,
}

/// What becomes of the workspace when the chain ends without ending the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// The server goes on with it at once; no waiting state can follow.
    Keep,
    /// The run waits for a person.
    Seal,
    /// The run ends here, whatever comes out.
    Remove,
}
