//! Guests: what one is asked to do, what it may use and reach, and what it leaves.
//!
//! The words that people write are those of a declared task's `airlock:` block.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    limits::{
        self, GIB, GUEST_FILES, GUEST_FILES_BYTES, GUEST_FUEL, GUEST_MEMORY_BYTES, GUEST_OUTPUT_BYTES, GUEST_WALL,
        INTERPRETER_FUEL, KIB, MIB,
    },
    name::{Digest, EnvName, GuestName, RelativePath},
    network::{Entry, Portless},
    refused::FieldError,
    size::Size,
    verdict::Verdict,
};

/// Below its output: what a task that serves as a run task found.
pub const OUTCOMES: &str = "outcomes.json";

/// One guest that somebody wants to be run, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestCall {
    pub guest: GuestName,
    /// After `argv[0]`, which is the guest's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,
    #[serde(flatten)]
    pub may: May,
}

/// A guest's standard input: a text, or a file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stdin {
    Text(String),
    File(StdinFile),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdinFile {
    pub file: RelativePath,
}

/// What a guest may use and reach, in people's words; what is not said has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct May {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Seconds of wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceGrant>,
    /// Hosts that it may send HTTP requests to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// Host, header, variable: what is added to requests without the guest holding it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, BTreeMap<String, BoundSecret>>,
    /// Variables of the stack that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<GuestClock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<GuestRandom>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Size>,
}

/// A header's value: a variable of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSecret {
    pub secret: EnvName,
}

impl GuestCall {
    pub fn new(guest: GuestName) -> Self {
        Self { guest, args: Vec::new(), stdin: None, may: May::default() }
    }

    /// How it would be typed: for lists.
    pub fn line(&self) -> String {
        std::iter::once(self.guest.as_str()).chain(self.args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// What is wrong with it, each by the name of its field below `at`.
    pub fn check(&self, at: &str) -> Vec<FieldError> {
        let mut errors = self.may.check(at);
        let bytes: usize = self.args.iter().map(String::len).sum();
        if self.args.len() > limits::GUEST_ARGUMENTS || bytes > limits::COMMAND_BYTES {
            let (count, most) = (limits::GUEST_ARGUMENTS, limits::COMMAND_BYTES);
            errors.push(wrong(at, "args", format!("at most {count} of at most {most} bytes together are allowed")));
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            errors.push(wrong(at, "args", "must not hold a NUL character"));
        }
        if matches!(&self.stdin, Some(Stdin::Text(text)) if text.len() > limits::GUEST_INPUT_BYTES) {
            errors.push(wrong(at, "stdin", format!("at most {} bytes are allowed", limits::GUEST_INPUT_BYTES)));
        }
        errors
    }
}

impl May {
    /// What is wrong with it, each by the name of its field below `at`.
    pub fn check(&self, at: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut within = |name: &str, value: Option<u64>, least: u64, most: u64| {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                errors.push(wrong(at, name, format!("is {value}; {least} to {most} are allowed")));
            }
        };
        let files = self.files.unwrap_or(Files { count: None, bytes: None });
        within("fuel", self.fuel, 1, limits::GUEST_FUEL_MOST);
        within("memory", self.memory.map(|size| size.0), MIB, 64 * GIB);
        within("output", self.output.map(|size| size.0), KIB, 16 * GIB);
        within("files.count", files.count, 0, limits::WORKSPACE_ENTRIES);
        within("files.bytes", files.bytes.map(|size| size.0), 0, limits::JAIL_FILE_BYTES);
        within("timeout", self.timeout, 1, limits::TASK_WALL_MAX.as_secs());
        if self.workspace == Some(WorkspaceGrant::Keep) {
            errors.push(wrong(at, "workspace", "must be none, read or write"));
        }
        if self.network.len() > limits::ALLOWED_HOSTS {
            errors.push(wrong(at, "network", format!("at most {} hosts are allowed", limits::ALLOWED_HOSTS)));
        }
        let strange = self.network.iter().filter_map(|host| Entry::parse(host, Portless::Https).err());
        errors.extend(strange.map(|error| wrong(at, "network", error.to_string())));
        for host in self.headers.keys().filter(|host| !self.network.contains(host)) {
            errors.push(wrong(at, "headers", format!("`{host}` is not in `network`, so that it cannot be reached")));
        }
        let names = self.headers.values().flat_map(BTreeMap::keys);
        for name in names.filter(|name| name.is_empty() || !name.bytes().all(is_token)) {
            errors.push(wrong(at, "headers", format!("`{}` is not the name of a header", name.escape_default())));
        }
        errors
    }

    /// What it comes to, with what stands for the rest.
    pub fn caps(&self, rest: Caps) -> Caps {
        let files = self.files.unwrap_or(Files { count: None, bytes: None });
        Caps {
            fuel: self.fuel.unwrap_or(rest.fuel),
            memory_bytes: self.memory.map_or(rest.memory_bytes, |size| size.0),
            wall_seconds: self.timeout.unwrap_or(rest.wall_seconds),
            output_bytes: self.output.map_or(rest.output_bytes, |size| size.0),
            files_bytes: files.bytes.map_or(rest.files_bytes, |size| size.0),
            files: files.count.unwrap_or(rest.files),
        }
    }
}

/// What names of headers are made of (RFC 9110).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

fn wrong(at: &str, name: &str, error: impl Into<String>) -> FieldError {
    let field = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    FieldError { field, error: error.into() }
}

/// The two forms of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestKind {
    /// A core module: WASI preview 1.
    Core,
    /// A component: WASI preview 2.
    Component,
}

impl GuestKind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Component => "component",
        }
    }
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
    /// Bytes and number of what it writes below `/tmp`, `/output`, a writable `/workspace` and its mounts.
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
    /// What a guest gets where nothing else is said. For one that interprets scripts an instruction of a
    /// script costs many of its own.
    pub fn usual(interpreter: bool) -> Self {
        let usual = Self::default();
        if interpreter { Self { fuel: INTERPRETER_FUEL, ..usual } } else { usual }
    }
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

/// A file that a guest left in `/output`: copied before the jail is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to `/output`.
    pub path: String,
    pub bytes: u64,
    pub digest: Digest,
}

/// A patch in numbers; its text is in what the runner leaves beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSummary {
    pub added: u32,
    pub changed: u32,
    pub deleted: u32,
    /// Of these, how many are listed only: binary, or too large to be shown.
    pub unshown: u32,
    /// How many links that came or changed lead out of the workspace.
    #[serde(default)]
    pub leading_out: u32,
    /// It holds secrets, which are masked: it cannot be applied.
    #[serde(default)]
    pub masked: bool,
}

impl PatchSummary {
    pub const fn is_empty(&self) -> bool {
        self.added + self.changed + self.deleted == 0
    }

    /// Why it cannot be proposed, if it cannot.
    pub fn objection(&self) -> Option<String> {
        let Self { unshown, leading_out, masked, .. } = *self;
        if masked {
            return Some("the patch holds secrets, which are masked; it cannot be proposed".to_owned());
        }
        if unshown > 0 {
            let why = "binary or too large to be looked at; what nobody can look at cannot be proposed";
            return Some(format!("of the changed files, {unshown} are {why}"));
        }
        let why = "out of the workspace, as the run's warnings say; such a patch cannot be proposed";
        (leading_out > 0).then(|| format!("of the changed links, {leading_out} lead {why}"))
    }
}
