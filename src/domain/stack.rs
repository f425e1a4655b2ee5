//! Stacks: what a stack is made of, and the rules its settings obey.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    actor::{Actor, ActorId, ActorName, Recorded},
    guest::GuestCall,
    limits,
    name::{BranchName, Label, Note, RelativePath, StackName},
    network::{Entry, Portless},
    phase::Phase,
    refused::FieldError,
    time::Timestamp,
};

/// What people set on a stack. The API's words; unknown fields are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackSettings {
    pub name: StackName,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub labels: Vec<Label>,
    pub vendor: Vendor,
    /// Null while no source is set: such a stack has no runs.
    #[serde(default)]
    pub source: Option<Source>,
    #[serde(default)]
    pub executor: Executor,
    #[serde(default)]
    pub autodeploy: bool,
    #[serde(default)]
    pub allow_promotion: bool,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub protect_from_deletion: bool,
    /// Mask well-known shapes of secrets in logs.
    #[serde(default = "yes")]
    pub mask_well_known: bool,
    /// An unconfirmed run older than this is discarded.
    #[serde(default)]
    pub unconfirmed_expiry_days: Option<u32>,
    #[serde(default)]
    pub hooks: Hooks,
}

const fn yes() -> bool {
    true
}

/// What gives the phases their commands.
#[allow(clippy::large_enum_variant, reason = "a stack has one, and never a list of them")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Vendor {
    Terraform {
        #[serde(default)]
        binary: Option<String>,
        #[serde(default)]
        workspace: Option<String>,
    },
    #[serde(rename = "opentofu")]
    OpenTofu {
        #[serde(default)]
        binary: Option<String>,
        #[serde(default)]
        workspace: Option<String>,
    },
    /// Commands of one's own; a missing one does nothing.
    Custom {
        #[serde(default)]
        init: Option<String>,
        #[serde(default)]
        plan: Option<String>,
        #[serde(default)]
        apply: Option<String>,
        #[serde(default)]
        destroy: Option<String>,
    },
    /// WASI guests instead of commands; a missing one does nothing.
    Wasi {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        init: Option<GuestCall>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<GuestCall>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        apply: Option<GuestCall>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destroy: Option<GuestCall>,
    },
}

impl Vendor {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Terraform { .. } => "terraform",
            Self::OpenTofu { .. } => "opentofu",
            Self::Custom { .. } => "custom",
            Self::Wasi { .. } => "wasi",
        }
    }

    /// The guests that its phases run, each by the name of its field.
    pub fn guests(&self) -> Vec<(&'static str, &GuestCall)> {
        match self {
            Self::Wasi { init, plan, apply, destroy } => {
                let calls = [("init", init), ("plan", plan), ("apply", apply), ("destroy", destroy)];
                calls.into_iter().filter_map(|(name, call)| Some((name, call.as_ref()?))).collect()
            }
            Self::Terraform { .. } | Self::OpenTofu { .. } | Self::Custom { .. } => Vec::new(),
        }
    }

    /// Whether the vendor keeps a Terraform state.
    pub const fn has_state(&self) -> bool {
        matches!(self, Self::Terraform { .. } | Self::OpenTofu { .. })
    }
}

/// Where the files of a stack come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    Git {
        /// `https://…`, `ssh://…`, `user@host:path`, or a path below a directory that the operator
        /// listed in `local_sources`.
        url: String,
        branch: BranchName,
        #[serde(default = "root_path")]
        project_root: RelativePath,
        /// Further paths whose changes concern this stack.
        #[serde(default)]
        project_globs: Vec<String>,
        /// The name of a stored credential.
        #[serde(default)]
        credential: Option<String>,
        #[serde(default)]
        submodules: bool,
    },
    Upload {
        #[serde(default = "root_path")]
        project_root: RelativePath,
    },
}

fn root_path() -> RelativePath {
    RelativePath::new("").expect("the empty path is the root")
}

impl Source {
    pub const fn project_root(&self) -> &RelativePath {
        match self {
            Self::Git { project_root, .. } | Self::Upload { project_root } => project_root,
        }
    }
}

/// Where and under which limits native phases run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Executor {
    pub kind: ExecutorKind,
    /// `host`: the host's own programs, read-only.
    pub image: String,
    pub network: NetworkMode,
    pub limits: Limits,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            kind: ExecutorKind::Jail,
            image: "host".to_owned(),
            network: NetworkMode::Host,
            limits: Limits::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    #[default]
    Jail,
    /// No jail at all. Only where the operator allows it.
    Unconfined,
}

/// What of the network a jail sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    #[default]
    Host,
    /// Only its own loopback.
    None,
    /// Only these, as [`Entry`] reads them, through the runner's proxy.
    Allow(Vec<String>),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Allow(hosts) => write!(f, "{}", hosts.join(", ")),
        }
    }
}

/// Limits of a native phase. Zero seconds of silence means: never mind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub wall_seconds: u64,
    pub silence_seconds: u64,
    pub memory_bytes: u64,
    pub processes: u32,
    pub cpu_percent: Option<u32>,
    pub open_files: u32,
    pub file_bytes: u64,
    /// Of a workspace, and of what mounts hold that stay from run to run.
    pub workspace_bytes: u64,
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_seconds: limits::PHASE_WALL.as_secs(),
            silence_seconds: limits::PHASE_SILENCE.as_secs(),
            memory_bytes: limits::JAIL_MEMORY_BYTES,
            processes: limits::JAIL_PROCESSES,
            cpu_percent: None,
            open_files: limits::OPEN_FILES,
            file_bytes: limits::JAIL_FILE_BYTES,
            workspace_bytes: limits::WORKSPACE_BYTES,
            output_bytes: limits::OUTPUT_BYTES,
        }
    }
}

impl Limits {
    fn check(&self, errors: &mut Vec<FieldError>) {
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                errors.push(FieldError {
                    field: format!("executor.limits.{name}"),
                    error: format!("is {value}; {least} to {most} are allowed"),
                });
            }
        };
        within("wall_seconds", self.wall_seconds, 1, 7 * 86_400);
        within("silence_seconds", self.silence_seconds, 0, 7 * 86_400);
        within("memory_bytes", self.memory_bytes, 16 * limits::MIB, 1_024 * limits::GIB);
        within("processes", u64::from(self.processes), 8, 65_536);
        within("cpu_percent", u64::from(self.cpu_percent.unwrap_or(100)), 1, 100 * 512);
        within("open_files", u64::from(self.open_files), 64, 1_048_576);
        within("file_bytes", self.file_bytes, limits::MIB, 1_024 * limits::GIB);
        within("workspace_bytes", self.workspace_bytes, limits::MIB, 4_096 * limits::GIB);
        within("output_bytes", self.output_bytes, limits::KIB, 16 * limits::GIB);
    }
}

/// Commands around the phases. Before-hooks, command and after-hooks of a phase share one shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_init: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_init: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_plan: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_plan: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_apply: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_apply: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_perform: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_perform: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_destroy: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_destroy: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_run: Vec<String>,
}

impl Hooks {
    /// Every list with its name, in the order of a run.
    pub fn lists(&self) -> [(&'static str, &Vec<String>); 11] {
        [
            ("before_init", &self.before_init),
            ("after_init", &self.after_init),
            ("before_plan", &self.before_plan),
            ("after_plan", &self.after_plan),
            ("before_apply", &self.before_apply),
            ("after_apply", &self.after_apply),
            ("before_perform", &self.before_perform),
            ("after_perform", &self.after_perform),
            ("before_destroy", &self.before_destroy),
            ("after_destroy", &self.after_destroy),
            ("after_run", &self.after_run),
        ]
    }

    /// What no shell could run, and lists that are too long.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (name, hooks) in self.lists() {
            let mut wrong = |error: String| errors.push(FieldError { field: format!("hooks.{name}"), error });
            if hooks.len() > limits::HOOKS {
                wrong(format!("at most {} are allowed", limits::HOOKS));
            }
            if let Some(problem) = hooks.iter().find_map(|hook| command_problem(hook)) {
                wrong(problem);
            }
        }
        errors
    }

    /// The hooks before and after a phase's command.
    pub fn around(&self, phase: Phase) -> (&[String], &[String]) {
        match phase {
            Phase::Initializing => (&self.before_init, &self.after_init),
            Phase::Planning => (&self.before_plan, &self.after_plan),
            Phase::Applying => (&self.before_apply, &self.after_apply),
            Phase::Performing => (&self.before_perform, &self.after_perform),
            Phase::Destroying => (&self.before_destroy, &self.after_destroy),
            Phase::Ending => (&self.after_run, &[]),
            Phase::Preparing | Phase::PreparingApply | Phase::Sealing => (&[], &[]),
        }
    }
}

/// Who keeps others from changing a stack, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub by: ActorName,
    #[serde(default)]
    pub by_id: Option<ActorId>,
    pub note: Option<Note>,
    pub since: Timestamp,
}

impl Lock {
    pub fn is_held_by(&self, actor: Recorded<'_>) -> bool {
        actor.is(Recorded { name: &self.by, id: self.by_id.as_ref() })
    }

    /// As [`Lock::is_held_by`], for somebody who is there.
    pub fn is_of(&self, actor: &Actor) -> bool {
        self.is_held_by(Recorded { name: &actor.public(), id: actor.id().as_ref() })
    }
}

impl StackSettings {
    /// Every rule that is about more than one value, or about a text that other systems read.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, error: String| errors.push(FieldError { field: field.to_owned(), error });
        if self.description.chars().count() > limits::DESCRIPTION_CHARS {
            wrong("description", format!("at most {} characters are allowed", limits::DESCRIPTION_CHARS));
        }
        if self.labels.len() > limits::LABELS {
            wrong("labels", format!("at most {} are allowed", limits::LABELS));
        }
        if self.unconfirmed_expiry_days.is_some_and(|days| !(1..=365).contains(&days)) {
            wrong("unconfirmed_expiry_days", "1 to 365 are allowed".to_owned());
        }
        self.hooks.check().into_iter().for_each(|found| wrong(&found.field, found.error));
        match &self.vendor {
            Vendor::Terraform { binary, workspace } | Vendor::OpenTofu { binary, workspace } => {
                if binary.as_ref().is_some_and(|name| {
                    name.is_empty()
                        || name.chars().count() > 255
                        || name.contains(|c: char| c.is_control() || c == '\'')
                }) {
                    wrong(
                        "vendor.binary",
                        "must be the name of a program, or a path that the operator lists".to_owned(),
                    );
                }
                if workspace.as_ref().is_some_and(|name| {
                    name.is_empty()
                        || name.len() > 90
                        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                }) {
                    wrong("vendor.workspace", "only letters, digits and - _ . are allowed, at most 90".to_owned());
                }
            }
            Vendor::Custom { init, plan, apply, destroy } => {
                for (name, command) in [("init", init), ("plan", plan), ("apply", apply), ("destroy", destroy)] {
                    if let Some(problem) = command.as_deref().and_then(command_problem) {
                        wrong(&format!("vendor.{name}"), problem);
                    }
                }
            }
            Vendor::Wasi { init, plan, apply, destroy } => {
                if self.hooks != Hooks::default() {
                    wrong("hooks", "a wasi stack runs guests only, and no shell that hooks could run in".to_owned());
                }
                if self.executor.kind == ExecutorKind::Unconfined {
                    wrong("executor.kind", "guests run only in a jail".to_owned());
                }
                for (name, call) in [("init", init), ("plan", plan), ("apply", apply), ("destroy", destroy)] {
                    let found = call.iter().flat_map(|call| call.check(&format!("vendor.{name}")));
                    found.for_each(|found| wrong(&found.field, found.error));
                }
            }
        }
        if let Some(Source::Git { url, project_globs, .. }) = &self.source {
            if url.is_empty()
                || url.chars().count() > limits::URL_CHARS
                || url.chars().any(|c| c.is_control() || c == ' ')
            {
                wrong(
                    "source.url",
                    format!("must be an address of 1 to {} characters without blanks", limits::URL_CHARS),
                );
            }
            if project_globs.len() > limits::GLOBS {
                wrong("source.project_globs", format!("at most {} are allowed", limits::GLOBS));
            }
        }
        if let NetworkMode::Allow(hosts) = &self.executor.network {
            if hosts.len() > limits::ALLOWED_HOSTS {
                wrong("executor.network", format!("at most {} hosts are allowed", limits::ALLOWED_HOSTS));
            }
            for error in hosts.iter().filter_map(|host| Entry::parse(host, Portless::Https).err()) {
                wrong("executor.network", error.to_string());
            }
        }
        self.executor.limits.check(&mut errors);
        errors
    }
}

/// Why a text cannot be run by a shell, if it cannot.
pub fn command_problem(command: &str) -> Option<String> {
    if command.len() > limits::COMMAND_BYTES {
        return Some(format!("has {} bytes; at most {} are allowed", command.len(), limits::COMMAND_BYTES));
    }
    command.contains('\0').then(|| "must not hold a NUL character".to_owned())
}

/// Plain variables by name, as phases get them.
pub type Variables = BTreeMap<super::name::EnvName, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shape_of_a_stack_is_read_and_its_defaults_fill_in() {
        let settings: StackSettings = serde_json::from_value(serde_json::json!({
            "name": "Shop",
            "vendor": {"kind": "terraform", "binary": "terraform", "workspace": null},
            "source": {"kind": "git", "url": "https://example.org/x.git", "branch": "main", "project_root": "infra"},
            "executor": {"network": {"allow": ["db.internal:5432"]}, "limits": {"memory_bytes": 1_073_741_824}},
            "hooks": {"before_init": ["echo hello"], "after_run": []}
        }))
        .unwrap();
        assert_eq!(settings.check(), []);
        assert!(settings.enabled && settings.mask_well_known && !settings.autodeploy);
        assert_eq!(settings.executor.limits.processes, 1_024);
        assert_eq!(serde_json::to_value(NetworkMode::None).unwrap(), "none");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_value::<StackSettings>(
            serde_json::json!({"name": "a", "vendor": {"kind": "custom"}, "autodeply": true}),
        )
        .unwrap_err();
        assert!(error.to_string().contains("autodeply"), "{error}");
        let error = serde_json::from_value::<Vendor>(serde_json::json!({"kind": "custom", "aply": "x"})).unwrap_err();
        assert!(error.to_string().contains("aply"), "{error}");
    }

    #[test]
    fn a_host_that_cannot_be_listed_is_refused_with_its_reason() {
        let mut settings: StackSettings =
            serde_json::from_value(serde_json::json!({"name": "a", "vendor": {"kind": "custom"}})).unwrap();
        settings.executor.network = NetworkMode::Allow(
            ["db.internal:5432", "*.example.org", "10.0.0.0/8:80", "0x7f.1:80"].map(str::to_owned).into(),
        );
        let errors = settings.check();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].error, "`0x7f.1` is an odd spelling of an address: write 127.0.0.1");
        settings.executor.network = NetworkMode::Allow(vec!["a.example".to_owned(); limits::ALLOWED_HOSTS + 1]);
        assert_eq!(settings.check()[0].error, "at most 500 hosts are allowed");
    }

    #[test]
    fn limits_out_of_range_are_refused_with_the_range() {
        let mut settings: StackSettings =
            serde_json::from_value(serde_json::json!({"name": "a", "vendor": {"kind": "custom"}})).unwrap();
        settings.executor.limits.memory_bytes = 1;
        assert_eq!(settings.check()[0].field, "executor.limits.memory_bytes");
    }
}
