//! A phase that runs a WASI guest: what it is asked, what it may, what it left.
//!
//! Grants and caps are the `airlock:` block of a declared task in the runner's words. Nothing here is
//! secret: values of variables travel in [`super::ChainSecrets`], and a phase names those it gets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Bind;
pub use crate::domain::guest::{
    Artifact, Caps, Denial, DenialKind, GuestClock, GuestRandom, HostUse, Input, PatchSummary, Receipt, WorkspaceGrant,
};
use crate::domain::{
    Digest, EnvName, Phase, RelativePath,
    network::{AllowList, Destination},
};

/// Paths that guests see, beside `/workspace` ([`super::inside::WORKSPACE`]).
pub mod guest_path {
    /// Fresh, and gone at the end.
    pub const TMP: &str = "/tmp";
    /// Its regular files become artifacts.
    pub const OUTPUT: &str = "/output";
    /// Below [`OUTPUT`]: what a run task found.
    pub const OUTCOMES: &str = crate::domain::guest::OUTCOMES;
    /// Where the room has the directory that a guest sees as `/`, with the plan that it is to judge.
    pub const JUDGED: &str = "/judged";
    /// What the `plan` guest of a wasi stack writes, below [`OUTPUT`]; and what a judging one reads, below
    /// its `/`.
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
    /// Which of the chain's variables it is to get, sensitive ones included: see [`Self::named_env`].
    #[serde(default)]
    pub env: Vec<EnvName>,
    #[serde(default)]
    pub stdin: StandardInput,
    #[serde(default)]
    pub caps: Caps,
    #[serde(default)]
    pub grants: Grants,
    /// Where compiled guests are kept; none: nothing is kept.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// Whether the files of `/output` are kept as artifacts.
    #[serde(default = "yes")]
    pub artifacts: bool,
    /// A phase of a wasi stack that is recorded but not run (`AIRLOCK_SKIP_APPLYING`).
    #[serde(default)]
    pub skip: bool,
}

const fn yes() -> bool {
    true
}

impl GuestPhase {
    /// Those of the chain's variables that it gets. What it is told anyway, nobody says in its place.
    pub fn named_env(&self) -> impl Iterator<Item = &EnvName> {
        self.env.iter().filter(|name| self.plain_env.iter().all(|(told, _)| told != name.as_str()))
    }
}

/// A guest that is compiled and not run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestCompile {
    pub name: String,
    pub code: GuestCode,
    /// Where compiled guests are kept.
    pub cache: PathBuf,
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

/// Standard input of a guest, or of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StandardInput {
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

/// What a guest may reach at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    pub workspace: WorkspaceGrant,
    /// Other directories of the host.
    pub mounts: Vec<Bind>,
    /// Directories that are empty at the beginning and gone at the end, by absolute path.
    pub fresh: Vec<PathBuf>,
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
    /// Also over `http`: see [`Self::new`].
    #[serde(default)]
    pub plain: bool,
}

impl HeaderGrant {
    /// It goes over `http`, too, where the operator's list has the host.
    pub fn new(host: String, header: String, secret: EnvName, operator: &AllowList) -> Self {
        const HTTPS: u16 = 443;
        let plain = Destination::parse(&host, Some(HTTPS)).is_ok_and(|host| operator.lists(&host));
        Self { host, header, secret, plain }
    }
}
