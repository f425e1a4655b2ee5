//! What server and runner say to each other: the spec, the progress records, the socket's messages.
//!
//! A **chain** is an uninterrupted row of phases that one runner carries out. The server writes the
//! spec into the runner's standard input in two JSON lines: first [`JailSpec`] (no secret in it, so
//! that the jail can be forked before a secret is read), then [`ChainSpec`]. The runner answers
//! through files in the chain's directory and by bells on `control.sock`:
//!
//! | file | what |
//! | --- | --- |
//! | `chain.lock` | locked by the server, then by the runner for as long as it lives |
//! | `records` | [`Record`]s, one JSON line each, fsynced; the truth about progress |
//! | `control.sock` | [`Request`]s in, [`Bell`]s out |
//! | `tree/workspace`, `tree/run` | the open workspace; in the jail `/workspace` and `/run/airlock` |
//! | `tree/settings` | [`Settings`], only ever inside of a sealed workspace |
//! | `<NN>-<phase>.log`, `.idx` | the masked log of phase number `NN` |
//! | `<NN>.result` | [`PhaseResult`], encrypted under the chain's key |
//! | `<NN>-<n>.state` | the n-th state written in phase `NN`, encrypted under the chain's key |
//! | `<NN>.source` | the source that phase `NN` fetched, a tar.gz, encrypted under the chain's key |
//! | `<NN>-<n>.artifact` | the n-th artifact of phase `NN`, from 1, as [`Produced::artifacts`] lists them |
//! | `runner.err` | what the runner itself had to complain about |
//!
//! The runner closes the pipe's reading end as soon as it listens on `control.sock` (or is gone): a
//! server that keeps its end open sees the error condition on it and may connect. The socket ends
//! when the runner does. A chain that goes on with a workspace that an earlier one kept finds it in
//! its own `tree`; the server moves it there. Phases that the spec does not name appear in the
//! records where they are carried out: `ending`, and `sealing` when the sealing at the chain's end
//! failed.
//!
//! Results, states and sources are sealed with associated data: [`result_label`], [`state_label`],
//! [`source_label`].
//!
//! Every message carries [`VERSION`]; a server reads those of the previous release, too.

mod guest;

pub use guest::{
    Artifact, Caps, Denial, DenialKind, Grants, GuestClock, GuestCode, GuestCompile, GuestInput, GuestPhase,
    GuestRandom, HeaderGrant, HostUse, Input, PatchSummary, Receipt, WorkspaceGrant, guest_path,
};

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    crypt::Secret,
    domain::{
        Changes, CommitSha, Delta, Digest, EnvName, Kind, Phase, RelativePath, RunId, Slug, StackId, State, Timestamp,
        Verdict,
        network::{Denial as NetworkDenial, Reached},
        run::CommitFacts,
        runtime::{FileConfig, Layers, Used},
        stack::{ExecutorKind, Limits, NetworkMode, Vendor},
    },
};

/// Version of everything in this module.
pub const VERSION: u32 = 1;

/// The header by which a runner shows at the server's socket which run is its own.
pub const WORKLOAD_HEADER: &str = "x-airlock-workload";

/// File names inside a chain's directory.
pub mod file {
    pub const LOCK: &str = "chain.lock";
    pub const RECORDS: &str = "records";
    pub const CONTROL: &str = "control.sock";
    pub const TREE: &str = "tree";
    /// Below `tree`: what the jail sees as `/workspace`.
    pub const WORKSPACE: &str = "workspace";
    /// Below `tree`: what the jail sees as `/run/airlock`; plan files, carried variables.
    pub const RUN: &str = "run";
    /// Below `tree`: holds the plan that a guest is to judge.
    pub const JUDGED: &str = "judged";
    /// Below `tree`, while it is sealed: what the run's phases are set to.
    pub const SETTINGS: &str = "settings";
    pub const ERRORS: &str = "runner.err";

    use crate::domain::Phase;

    pub fn log(number: u32, phase: Phase) -> String {
        format!("{number:02}-{phase}.log")
    }

    pub fn index(number: u32, phase: Phase) -> String {
        format!("{number:02}-{phase}.idx")
    }

    pub fn result(number: u32) -> String {
        format!("{number:02}.result")
    }

    pub fn state(number: u32, n: u32) -> String {
        format!("{number:02}-{n}.state")
    }

    pub fn source(number: u32) -> String {
        format!("{number:02}.source")
    }

    pub fn artifact(number: u32, n: usize) -> String {
        format!("{number:02}-{n}.artifact")
    }
}

/// Paths that phases see.
pub mod inside {
    pub const WORKSPACE: &str = "/workspace";
    pub const RUN: &str = "/run/airlock";
    /// `NAME=value` lines that later phases get.
    pub const ENV_FILE: &str = "/run/airlock/env";
    /// Terraform's plan.
    pub const PLAN: &str = "/run/airlock/plan.tfplan";
    /// `show -json` of it; for the custom vendor what `$AIRLOCK_PLAN_FILE` names.
    pub const PLAN_JSON: &str = "/run/airlock/plan.json";
    /// Where the provider mirror is mounted.
    pub const PROVIDER_MIRROR: &str = "/run/airlock-mirror";
    /// Where the shared plug-in cache is mounted.
    pub const PLUGIN_CACHE: &str = "/run/airlock-plugins";
    /// Where operator-listed binaries are seen.
    pub const BINARIES: &str = "/run/airlock-bin";
}

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
    pub host: PathBuf,
    pub inside: PathBuf,
    pub writable: bool,
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
/// that it fetches; what it found and used is in [`PhaseResult::runtime`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runtime {
    pub layers: Layers,
    /// The operator's binaries that a version may name, by name.
    pub binaries: BTreeMap<String, PathBuf>,
}

/// What a source's configuration file said, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFound {
    pub file: FileConfig,
    pub used: Used,
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
            Self::Build(_) | Self::Compile(_) => Phase::Preparing,
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
    /// Files of the source that the server wants to see, as [`PhaseResult::files`].
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
    Git {
        url: String,
        branch: String,
        /// None: the branch's head, which is then reported in [`Produced::commit`].
        commit: Option<CommitSha>,
        submodules: bool,
        /// A directory of the host that the url names, already checked against `local_sources`.
        local: Option<PathBuf>,
    },
    Upload {
        /// The stored tar.gz.
        path: PathBuf,
        digest: Digest,
    },
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
        targets: Vec<String>,
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

/// Everything secret. Travels only through the pipe.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChainSecrets {
    /// Encrypts results and states of this chain (AES-256-GCM, 32 bytes).
    #[serde(with = "base64_bytes")]
    pub chain_key: Secret<Vec<u8>>,
    /// Keys the short hashes that stand for sensitive values in changes (32 bytes).
    #[serde(with = "base64_bytes")]
    pub redaction_key: Secret<Vec<u8>>,
    /// What the sealed workspace is encrypted with, and where it lies; for chains that open one.
    pub open: Option<SealKeys>,
    /// The same for chains that may seal. A key seals once: after [`Self::open`] it is a new one.
    pub seal: Option<SealKeys>,
    pub variables: Vec<Variable>,
    pub files: Vec<MountedFile>,
    /// Values to mask beside the sensitive variables and files: masks added by earlier phases.
    pub masks: Vec<Secret<String>>,
    pub git: Option<GitCredential>,
    /// The managed state that the chain begins with.
    pub state: Option<ManagedState>,
    /// Authenticates compiled guests (32 bytes); for chains with guests.
    #[serde(default, with = "base64_optional")]
    pub guest_key: Option<Secret<Vec<u8>>>,
    /// Encrypts what build hooks leave (32 bytes); for chains with one.
    #[serde(default, with = "base64_optional")]
    pub slug_key: Option<Secret<Vec<u8>>>,
    /// The variables of a build hook: what it leaves serves runs that other variables are asked for with.
    #[serde(default)]
    pub build_variables: Vec<Variable>,
    /// What the runner shows at [`Workload::socket`].
    #[serde(default)]
    pub workload: Option<Secret<String>>,
    /// The plan that the chain's guest is to judge: its `/plan.json`.
    #[serde(default, with = "base64_optional")]
    pub plan: Option<Secret<Vec<u8>>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SealKeys {
    /// 32 bytes out of the run's record.
    #[serde(with = "base64_bytes")]
    pub data_key: Secret<Vec<u8>>,
    /// `sealed/<run id>.sealed`.
    pub sealed: PathBuf,
    /// `sealed/<run id>.key`: 32 bytes; written by the sealer, erased by a discard.
    pub erase: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Variable {
    pub name: EnvName,
    pub value: Secret<String>,
    pub sensitive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct MountedFile {
    /// Relative to the workspace.
    pub path: RelativePath,
    #[serde(with = "base64_bytes")]
    pub content: Secret<Vec<u8>>,
    pub sensitive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GitCredential {
    Https { user: String, token: Secret<String> },
    Ssh { private_key: Secret<String>, known_hosts: String },
}

/// The state that the chain's endpoint answers with until something newer was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct ManagedState {
    /// The newest version, if there is one; an empty one counts as none.
    #[serde(with = "base64_bytes")]
    pub current: Secret<Vec<u8>>,
    /// Password of the endpoint, made for this chain.
    pub password: Secret<String>,
}

/// One line of `records`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Before the first command runs. From here on the chain may have changed something.
    Started {
        version: u32,
        at: Timestamp,
    },
    PhaseStarted {
        number: u32,
        phase: Phase,
        at: Timestamp,
    },
    PhaseEnded {
        number: u32,
        phase: Phase,
        at: Timestamp,
        verdict: Verdict,
        produced: Box<Produced>,
    },
    /// The last line. The workspace is in the state that it names.
    Ended {
        at: Timestamp,
        workspace: WorkspaceLeft,
        /// Whether somebody asked for the end.
        stopped: bool,
        /// Why the runner broke off outside of any phase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
}

/// The records in `bytes`, and how many bytes they take. A torn last line is left for later, and so
/// is everything from a line on that is not a record.
pub fn read_records(bytes: &[u8]) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut consumed = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let Ok(record) = serde_json::from_slice(whole) else { break };
        records.push(record);
        consumed += line.len();
    }
    (records, consumed)
}

/// Takes any bytes for a chain's records and checks what is promised of them: the entry for fuzzers.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let (records, consumed) = read_records(bytes);
    let (whole, rest) = bytes.split_at(consumed);
    assert!(whole.is_empty() || whole.ends_with(b"\n"), "a torn line is not consumed");
    assert_eq!(read_records(whole), (records.clone(), consumed));
    assert!(read_records(rest).0.is_empty(), "what could be read was read");
    for record in &records {
        let line = serde_json::to_vec(record).expect("a record is JSON");
        assert!(!line.contains(&b'\n'), "a record is one line");
        let again: Record = serde_json::from_slice(&line).expect("what was written can be read");
        assert_eq!(again, *record);
    }
}

/// What a phase leaves, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Produced {
    /// The commit that a branch stood for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitSha>,
    /// What the commit says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_facts: Option<Box<CommitFacts>>,
    /// What a plan would change, in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Planned>,
    /// Whether `<NN>.result` was written.
    #[serde(default)]
    pub result: bool,
    /// Whether `<NN>.source` was written.
    #[serde(default)]
    pub source: bool,
    /// How many `<NN>-<n>.state` were written, counted from 1.
    #[serde(default)]
    pub states: u32,
    /// Bytes of masked text.
    #[serde(default)]
    pub log_bytes: u64,
    /// The most memory that the jail used at once, where it could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// What held the memory and process limits: `cgroup2`, `cgroup1`, `poll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// A line of the log that says what went wrong, masked, for people in a hurry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_line: Option<String>,
    /// What a guest was given and used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What a guest changed in its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchSummary>,
    /// Things worth knowing that did not end the phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The hosts that it reached through the runner's proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Reached>,
    /// What it tried and was refused, where the runner could see it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<NetworkDenial>,
}

/// What came out of a planning phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Whether there is anything to do. Not the same as an empty delta: a custom plan may say
    /// "changes" without listing them.
    pub changes: bool,
    pub delta: Delta,
    /// SHA-256 over commit, plan file (custom: its canonical changes) and the redacted canonical
    /// changes.
    pub digest: Digest,
}

/// What became of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkspaceLeft {
    Removed,
    Kept,
    /// Bytes before and after.
    Sealed {
        tree_bytes: u64,
        sealed_bytes: u64,
    },
}

/// What a phase leaves that is not for everybody's eyes; encrypted under the chain's key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PhaseResult {
    /// Redacted.
    pub changes: Option<Changes>,
    /// The vendor's own plan JSON, values in clear.
    pub plan_json: Option<Secret<String>>,
    /// Masks added by `::add-mask`.
    pub masks: Vec<Secret<String>>,
    /// What a guest changed in its workspace, as a unified diff.
    #[serde(default)]
    pub patch: Option<Secret<String>>,
    /// Of `preparing`: what the run is configured with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Box<RuntimeFound>>,
    /// What [`Prepare::shows`] asked for, as far as it is there; cut off after
    /// [`crate::domain::limits::MANIFEST_BYTES`] + 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShownFile>,
}

/// A file of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownFile {
    pub path: RelativePath,
    #[serde(with = "base64_plain")]
    pub content: Vec<u8>,
}

/// Associated data of `<NN>.result`.
pub fn result_label(run: RunId, number: u32) -> String {
    format!("airlock result 1 {run} {number}")
}

/// Associated data of `<NN>.source`.
pub fn source_label(run: RunId, number: u32) -> String {
    format!("airlock source 1 {run} {number}")
}

/// Associated data of `<NN>-<n>.state`. An empty state means that it was deleted.
pub fn state_label(run: RunId, number: u32, n: u32) -> String {
    format!("airlock state 1 {run} {number} {n}")
}

/// What the server asks a runner, one JSON line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Ask the phase to stop; kill it after the grace period.
    Stop,
    /// Kill it now.
    Kill,
}

/// What a runner tells everybody who is connected, one JSON line each: only how far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bell {
    /// Bytes of `records`.
    pub records: u64,
    /// The present phase's number; 0 before the first.
    pub phase: u32,
    /// Bytes of its log.
    pub log: u64,
}

/// The state that an ended chain gives its run if nobody else decides; `after_run` hooks see it.
///
/// `planned` is what the planning phase produced; `last` how the last phase ended.
pub fn ends_as(
    kind: Kind,
    last_phase: Phase,
    last: &Verdict,
    planned: Option<&Planned>,
    stopped: bool,
) -> Option<State> {
    if stopped {
        return Some(if kind == Kind::OnDemand { State::Canceled } else { State::Stopped });
    }
    if !last.is_success() {
        return Some(State::Failed);
    }
    match last_phase {
        Phase::Applying | Phase::Performing | Phase::Destroying => Some(State::Finished),
        Phase::Planning => match kind {
            Kind::Proposed | Kind::Drift => Some(State::Finished),
            Kind::Tracked if planned.is_some_and(|plan| !plan.changes) => Some(State::Finished),
            Kind::Tracked | Kind::Destroy | Kind::Task | Kind::OnDemand => None,
        },
        Phase::Preparing | Phase::Initializing | Phase::PreparingApply | Phase::Sealing | Phase::Ending => None,
    }
}

/// Bytes as base64 text: JSON would write each as a number.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use zeroize::Zeroizing;

    use crate::crypt::Secret;

    pub(super) fn serialize<S: Serializer>(bytes: &Secret<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(bytes.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<Vec<u8>>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The decoder's own error would show a part of the secret.
        STANDARD.decode(text.as_bytes()).map(Secret::new).map_err(|_| D::Error::custom("bytes are not base64"))
    }
}

/// The same for bytes that may be missing.
mod base64_optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::crypt::Secret;

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super::base64_bytes")] Secret<Vec<u8>>);

    #[allow(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Secret<Vec<u8>>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Wrapped).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<Vec<u8>>>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|Wrapped(bytes)| bytes))
    }
}

/// The same for bytes that are no secret.
mod base64_plain {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The environment of a phase, by name. Built from nothing.
pub type Environment = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
