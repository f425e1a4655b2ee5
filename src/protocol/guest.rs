//! A phase that runs a WASI guest: what it is asked, what it may, what it left.
//!
//! Grants and caps are the `airlock:` block of a declared task in the runner's words. Nothing here is
//! secret: values of variables travel in [`super::ChainSecrets`], and a phase names those it gets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Bind;
use crate::domain::{
    Digest, EnvName, Phase, RelativePath, Verdict,
    limits::{
        GUEST_FILES, GUEST_FILES_BYTES, GUEST_FUEL, GUEST_MEMORY_BYTES, GUEST_OUTPUT_BYTES, GUEST_WALL,
        INTERPRETER_FUEL,
    },
};

/// Paths that guests see, beside `/workspace` ([`super::inside::WORKSPACE`]).
pub mod guest_path {
    /// Fresh, and gone at the end.
    pub const TMP: &str = "/tmp";
    /// Its regular files become artifacts.
    pub const OUTPUT: &str = "/output";
    /// What the `plan` guest of a wasi stack writes, below [`OUTPUT`].
    pub const PLAN_JSON: &str = "plan.json";
}

/// One phase that runs a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestPhase {
    pub phase: Phase,
    /// The name it was declared with: the guest's `argv[0]`.
    pub name: String,
    pub code: GuestCode,
    /// After `argv[0]`.
    pub args: Vec<String>,
    /// Variables with values of their own, not secret.
    #[serde(default)]
    pub plain_env: Vec<(String, String)>,
    /// Which of the chain's variables it gets, sensitive ones included.
    #[serde(default)]
    pub env: Vec<EnvName>,
    #[serde(default)]
    pub stdin: GuestInput,
    #[serde(default)]
    pub caps: Caps,
    #[serde(default)]
    pub grants: Grants,
    /// Where compiled guests are kept; none: nothing is kept.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// A phase of a wasi stack that is recorded but not run (`AIRLOCK_SKIP_APPLYING`).
    #[serde(default)]
    pub skip: bool,
}

/// Where the guest's code is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuestCode {
    /// A registered guest: a file of the host that must have this digest.
    Registered { path: PathBuf, digest: Digest },
    /// One that came with this binary.
    Bundled { name: String },
    /// A `.wasm` file of the workspace.
    Source { path: RelativePath },
}

/// A guest's standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuestInput {
    #[default]
    Empty,
    Text {
        text: String,
    },
    /// A file of the workspace.
    File {
        path: RelativePath,
    },
}

/// What a guest may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// Units of Wasmtime's fuel: roughly one a WebAssembly instruction.
    pub fuel: u64,
    /// Bytes of all its linear memories together.
    pub memory_bytes: u64,
    /// Seconds from instantiation to the end, host calls included.
    pub wall_seconds: u64,
    /// Bytes on standard output and standard error together.
    pub output_bytes: u64,
    /// Bytes and number of what it writes below `/tmp`, `/output` and a writable `/workspace`.
    pub files_bytes: u64,
    pub files: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            fuel: GUEST_FUEL,
            memory_bytes: GUEST_MEMORY_BYTES,
            wall_seconds: GUEST_WALL.as_secs(),
            output_bytes: GUEST_OUTPUT_BYTES,
            files_bytes: GUEST_FILES_BYTES,
            files: GUEST_FILES,
        }
    }
}

impl Caps {
    /// What a guest that interprets scripts gets: an instruction of a script costs many of the guest's.
    pub fn for_interpreters() -> Self {
        Self { fuel: INTERPRETER_FUEL, ..Self::default() }
    }
}

/// What a guest may reach at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    pub workspace: WorkspaceGrant,
    /// Other directories of the host.
    pub mounts: Vec<Bind>,
    /// Hosts (`host` or `host:port`) that it may send HTTP requests to.
    pub network: Vec<String>,
    /// Headers that the runner adds to requests, so that the guest uses a secret without holding it.
    pub headers: Vec<HeaderGrant>,
    pub clock: GuestClock,
    pub random: GuestRandom,
}

/// A header whose value is one of the chain's variables, for requests to one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderGrant {
    /// `host` (port 443) or `host:port`; it must be in [`Grants::network`], too.
    pub host: String,
    /// Its name, such as `Authorization`.
    pub header: String,
    pub secret: EnvName,
    /// Also over `http`, where the operator lists the host for it.
    #[serde(default)]
    pub plain: bool,
}

/// What a guest may do with `/workspace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceGrant {
    None,
    #[default]
    Read,
    /// It writes to a copy; what it changed is offered as a patch.
    Write,
    /// The same, and where the phase succeeds its changes become the workspace's: a wasi stack.
    Keep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestClock {
    /// It never moves, so that the same input costs the same fuel.
    #[default]
    Frozen,
    Real,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestRandom {
    /// The same numbers every time; for nothing that must stay secret.
    #[default]
    Seeded,
    Real,
}

/// What a guest was given, what it used, and how it ended. Masked; holds no values of variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub guest_digest: Digest,
    pub inputs: Vec<Input>,
    pub caps: Caps,
    /// None where the engine was killed before it could tell.
    pub fuel_used: Option<u64>,
    /// The most that its linear memories held at once.
    pub peak_memory_bytes: Option<u64>,
    pub wall_ms: u64,
    /// Of the whole jail, the engine included.
    pub cpu_ms: Option<u64>,
    pub output_bytes: u64,
    pub files_written: u64,
    pub hosts: Vec<HostUse>,
    /// At most [`crate::domain::limits::DENIALS`] different ones.
    pub denials: Vec<Denial>,
    /// Refusals that did not fit into `denials`.
    pub denials_dropped: u64,
    pub verdict: Verdict,
}

/// One thing that a guest was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// `argument`, `variable`, `stdin`, `directory`, `clock`, `random`, `host`.
    pub kind: String,
    /// A path, a name, a host.
    pub name: String,
    /// What of it: `read`, `write`, a digest.
    pub detail: String,
}

/// Traffic with one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUse {
    pub host: String,
    pub requests: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Something that a guest tried and was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    pub kind: DenialKind,
    /// What was tried: the call and the path, the host, the cap.
    pub tried: String,
    /// How often.
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialKind {
    /// A path that leads out of what was granted.
    Path,
    /// A change below a read-only grant.
    Write,
    /// A host that is not on the list, or an address that no list may name.
    Http,
    /// A cap that was hit.
    Cap,
}

/// A file that a guest left in `/output`: it lies in the chain's directory under
/// [`super::file::artifact`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to `/output`.
    pub path: String,
    pub bytes: u64,
    pub digest: Digest,
}

/// A patch in numbers; its text is in [`super::PhaseResult::patch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSummary {
    pub added: u32,
    pub changed: u32,
    pub deleted: u32,
    /// Of these, how many are listed only: binary, or too large to be shown.
    pub unshown: u32,
}

impl PatchSummary {
    pub const fn is_empty(&self) -> bool {
        self.added + self.changed + self.deleted == 0
    }
}
