//! What a declared task is, once it was read.
//!
//! Everything here was checked; a value that could not be kept was refused with its position.
//! Origins are kept only for the checks that need to know what the operator registered; they are
//! neither compared nor written, so that a declaration is the same wherever it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::domain::{
    EnvName, GuestName, ImageName, RelativePath, ServiceName, TaskName, guest::Caps, resources::Resources,
    stack::Limits,
};

use super::error::Position;

pub use crate::domain::authorization::{Authorization, AuthorizedAction, AuthorizedScope};

/// Where something was declared. All origins are equal: where a thing stood is no part of it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub file: Arc<str>,
    pub at: Position,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

/// One entry of `tasks:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeclaredTask {
    pub name: TaskName,
    #[serde(rename = "type")]
    pub kind: TaskType,
    pub run: Run,
    pub source: TaskSource,
    pub hooks: TaskHooks,
    /// By the name that the task gives them.
    pub relationships: BTreeMap<String, Relationship>,
    /// By their path in the task.
    pub mounts: BTreeMap<RelativePath, Mount>,
    pub variables: TaskVariables,
    pub authorizations: Vec<Authorization>,
    pub airlock: Airlock,
    /// Where `type` stands.
    #[serde(skip)]
    pub origin: Origin,
}

/// What carries the task out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskType {
    /// `wasi:python`: a registered guest.
    Guest(GuestName),
    /// `wasi:tools/check.wasm`: a module in the source.
    GuestFile(RelativePath),
    /// `native`: the host's own programs, in the jail.
    Native,
    /// `image:tools`: an imported image, in the jail.
    Image(ImageName),
    /// `nodejs:22`: one of Upsun's runtimes. Which image that is, the operator says.
    Runtime { name: String, version: String },
}

impl TaskType {
    /// Whether the task runs in the WASI sandbox.
    pub const fn is_guest(&self) -> bool {
        matches!(self, Self::Guest(_) | Self::GuestFile(_))
    }
}

impl std::fmt::Display for TaskType {
    /// As it is written in the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guest(name) => write!(f, "wasi:{name}"),
            Self::GuestFile(path) => write!(f, "wasi:{path}"),
            Self::Native => f.write_str("native"),
            Self::Image(name) => write!(f, "image:{name}"),
            Self::Runtime { name, version } => write!(f, "{name}:{version}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub command: TaskCommand,
    /// 1 to 86 400.
    pub timeout_seconds: u32,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskCommand {
    /// For `sh -c`.
    Shell(String),
    /// A guest's arguments after its name, split as a shell splits words; `text` is what was written.
    Words { text: String, words: Vec<String> },
}

impl TaskCommand {
    /// What was written.
    pub fn text(&self) -> &str {
        match self {
            Self::Shell(text) | Self::Words { text, .. } => text,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSource {
    /// The directory of the source that the task sees as its own; empty for all of it.
    pub root: RelativePath,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHooks {
    /// A shell script, run once per source digest and declaration.
    pub build: Option<String>,
}

/// A way to a service, and to nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relationship {
    pub service: ServiceName,
    /// None for the service's own.
    pub endpoint: Option<String>,
    #[serde(skip)]
    pub origin: Origin,
}

/// A directory that the task may write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Where in the source the mount points; the mount's own path when nothing is said.
    pub source_path: RelativePath,
    #[serde(skip)]
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// Fresh each run. Also written `local`.
    Instance,
    /// Fresh each run. Also written `temporary`.
    Tmp,
    /// Kept from run to run.
    Storage,
    /// Kept by a service.
    Service(ServiceName),
}

/// The declaration's variables, by prefix. Not for secrets: whoever reads the source reads them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskVariables {
    /// Those under `env`: each becomes an upper-cased variable of its own.
    pub env: BTreeMap<EnvName, String>,
    /// All others, prefix → name → value, for `PLATFORM_VARIABLES`.
    pub other: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// The `airlock:` block: caps and grants. `None` is the default of whoever runs the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Airlock {
    /// Units of fuel. Guests only.
    pub fuel: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Bytes of output.
    pub output_bytes: Option<u64>,
    /// Guests only.
    pub files: Files,
    /// Where connections may go, besides the relationships.
    pub network: Vec<AllowedHost>,
    /// Headers that the runner adds to requests, by host. Guests only.
    pub headers: Vec<BoundHeader>,
    pub workspace: WorkspaceGrant,
    /// Sensitive variables that a guest gets. Guests only: native tasks get all of theirs.
    pub env: BTreeSet<EnvName>,
    pub stdin: Option<Stdin>,
    pub clock: ClockGrant,
    pub random: RandomGrant,
    /// Whether what stands in `/output` at the end is kept.
    pub artifacts: bool,
    pub processes: Option<u32>,
    /// Hundredths of one core.
    pub cpu_percent: Option<u32>,
    pub run_task: Option<RunTaskEntry>,
}

/// How much a guest may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    pub count: Option<u64>,
    pub bytes: Option<u64>,
}

/// A host of `network:`, in lower case; `*.example.org` stands for every name below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AllowedHost {
    /// An IPv6 address stands without brackets.
    pub host: String,
    /// None for the ports of the web, 443 and 80.
    pub port: Option<u16>,
}

impl std::fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v6 = self.host.contains(':');
        match (v6, self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (false, None) => f.write_str(&self.host),
        }
    }
}

/// A header whose value is a secret that the guest never holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundHeader {
    /// One of `network:`.
    pub host: AllowedHost,
    /// As it was written, such as `Authorization`.
    pub header: String,
    /// The sensitive variable whose value it gets.
    pub secret: EnvName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceGrant {
    None,
    Read,
    /// On a copy; what changed is offered as a patch.
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockGrant {
    Real,
    Frozen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomGrant {
    Real,
    Seeded,
}

/// Where standard input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    Text(String),
    /// A file of the source.
    File(RelativePath),
}

/// The task may be called as a run task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTaskEntry {
    /// The sensitive variable that verifies the caller's signature.
    pub hmac_secret: EnvName,
}

impl DeclaredTask {
    /// Takes the bounds that an operator set in place of its own.
    pub fn set(&mut self, to: &Resources) {
        let airlock = &mut self.airlock;
        airlock.fuel = to.fuel.or(airlock.fuel);
        airlock.memory_bytes = to.memory_bytes.or(airlock.memory_bytes);
        airlock.output_bytes = to.output_bytes.or(airlock.output_bytes);
        airlock.files.bytes = to.files_bytes.or(airlock.files.bytes);
        airlock.files.count = to.files.or(airlock.files.count);
        airlock.processes = to.processes.or(airlock.processes);
        airlock.cpu_percent = to.cpu_percent.or(airlock.cpu_percent);
        self.run.timeout_seconds = to.timeout_seconds.unwrap_or(self.run.timeout_seconds);
    }

    /// The bounds of a guest, where `usual` stands for what nobody has said.
    pub fn caps(&self, usual: Caps) -> Caps {
        let airlock = &self.airlock;
        Caps {
            fuel: airlock.fuel.unwrap_or(usual.fuel),
            memory_bytes: airlock.memory_bytes.unwrap_or(usual.memory_bytes),
            wall_seconds: u64::from(self.run.timeout_seconds),
            output_bytes: airlock.output_bytes.unwrap_or(usual.output_bytes),
            files_bytes: airlock.files.bytes.unwrap_or(usual.files_bytes),
            files: airlock.files.count.unwrap_or(usual.files),
        }
    }

    /// The bounds of a native task, likewise.
    pub fn limits(&self, usual: Limits) -> Limits {
        let airlock = &self.airlock;
        Limits {
            wall_seconds: u64::from(self.run.timeout_seconds),
            silence_seconds: 0,
            memory_bytes: airlock.memory_bytes.unwrap_or(usual.memory_bytes),
            processes: airlock.processes.unwrap_or(usual.processes),
            cpu_percent: airlock.cpu_percent.or(usual.cpu_percent),
            output_bytes: airlock.output_bytes.unwrap_or(usual.output_bytes),
            ..usual
        }
    }
}
