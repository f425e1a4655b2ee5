//! The pages of one stack: runs, tasks, environment, settings.

use askama::Template;

use super::{
    context::{AttachForm, AttachedRow, HookRow, Provenance},
    declared::DeclaredList,
    form::{Choice, Control, Field, Fields, form},
    frame::{Empty, Frame, Pager, Tab},
    lists::CommandForm,
    rows::{RunList, StackRef},
    stack_form::{SourceTest, StackForm},
    status::{Badge, Mark, Moment},
};

/// Who keeps others from changing the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockCard {
    pub by: Mark,
    pub note: Option<String>,
    pub since: Moment,
    /// This person holds it.
    pub mine: bool,
    /// `Unlock`, or `Unlock although ops-lead holds it`; none for those who may not.
    pub unlock: Option<String>,
}

form!(
    /// *Trigger*. Posts `do=trigger`.
    TriggerForm {
        kind,
        message,
        commit,
        runtime_config,
    }
);

impl TriggerForm {
    /// `branch` is what an empty commit means; uploads have none.
    pub fn new(branch: Option<&str>) -> Self {
        let kinds = vec![
            Choice::new("tracked", "Tracked").hint("Plans, waits for a decision, applies"),
            Choice::new("proposed", "Proposed").hint("A preview: plans and ends"),
            Choice::new("destroy", "Destroy").hint("Plans the deletion of everything, always waits for a decision"),
        ];
        let hint = branch.map(|branch| format!("A whole commit id. Empty: the newest of {branch}."));
        Self {
            kind: Field::new("kind", "Kind", Control::Radio(kinds)).value("tracked"),
            message: Field::text("message", "Message").hint("Why, for those who confirm it").placeholder("Optional"),
            commit: Field::code("commit", "Commit").hint(hint.unwrap_or_default()),
            runtime_config: Field::code_area("runtime_config", "Runtime configuration", 4)
                .hint(
                    "YAML, for this run only: environment, project_root, terraform_version, hooks such as before_plan. \
                     It wins over everything else. Values are shown with the run: no place for secrets.",
                )
                .placeholder("environment:\n  TF_VAR_replicas: 6"),
        }
    }
}

/// Header and tabs that the pages of a stack share.
#[derive(Clone, Debug)]
pub struct StackHead {
    pub stack: StackRef,
    pub description: String,
    pub labels: Vec<String>,
    pub badge: Badge,
    /// `run #42`, and its address.
    pub latest: Option<(String, String)>,
    pub vendor: &'static str,
    /// `main of https://…`, none while there is no source.
    pub source: Option<String>,
    /// When its source was uploaded last.
    pub uploaded: Option<Moment>,
    pub disabled: bool,
    pub lock: Option<LockCard>,
    /// May lock.
    pub may_lock: bool,
    /// May trigger; absent without the right or without a source.
    pub trigger: Option<TriggerForm>,
    /// Its runs are of commits; those of an upload are of the latest one.
    pub has_commits: bool,
    /// The form is unfolded: after `?trigger` or a refusal.
    pub trigger_open: bool,
    /// What is wrong with the trigger and has no field.
    pub trigger_problems: Vec<String>,
    /// Phases run without a jail: said on every page of the stack.
    pub unconfined: bool,
    /// What a writer has to do before runs are possible: `Upload a source first` and where.
    pub before_trigger: Option<(String, String)>,
    pub tabs: Vec<Tab>,
}

impl StackHead {
    /// The tabs of a stack. `settings` only for its admins.
    pub fn tabs(slug: &str, here: &str, settings: bool) -> Vec<Tab> {
        let base = format!("/stacks/{slug}");
        let all = [
            ("Runs", ""),
            ("Tasks", "/tasks"),
            ("Environment", "/environment"),
            ("Run tasks", "/run-tasks"),
            ("Policies", "/policies"),
            ("Settings", "/settings"),
        ];
        all.into_iter()
            .filter(|(word, _)| settings || *word != "Settings")
            .map(|(word, below)| Tab::new(word, format!("{base}{below}"), word == here))
            .collect()
    }
}

/// `/stacks/{slug}`. Posts `do=trigger|lock|unlock`. Blocks: `head`, `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "stack_runs.html", blocks = ["head", "lists"])]
pub struct StackRunsPage {
    pub frame: Frame,
    pub rev: u64,
    pub head: StackHead,
    pub list: RunList,
    pub pager: Pager,
}

impl StackRunsPage {
    /// The number of the block `head`.
    pub const fn head_rev(&self) -> u64 {
        self.rev
    }
}

impl StackTasksPage {
    /// The number of the block `head`.
    pub const fn head_rev(&self) -> u64 {
        self.rev
    }
}

impl StackEnvironmentPage {
    /// This page has no live parts.
    pub const fn head_rev(&self) -> u64 {
        0
    }
}

impl StackSettingsPage {
    /// This page has no live parts.
    pub const fn head_rev(&self) -> u64 {
        0
    }
}

/// `/stacks/{slug}/tasks`. Posts `do=perform`. Blocks: `head`, `lists`.
#[derive(Clone, Debug, Template)]
#[template(path = "stack_tasks.html", blocks = ["head", "lists"])]
pub struct StackTasksPage {
    pub frame: Frame,
    pub rev: u64,
    pub head: StackHead,
    /// Its field `stack` is not shown.
    pub command: Option<CommandForm>,
    /// What is wrong with the command and has no field.
    pub problems: Vec<String>,
    pub declared: DeclaredList,
    pub list: RunList,
    pub pager: Pager,
}

/// A variable's value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Plain(String),
    /// A short keyed hash, to compare by.
    Sensitive(String),
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableRow {
    pub name: String,
    pub value: Shown,
    pub description: String,
    /// None: it comes out of the configuration file.
    pub changed: Option<(Moment, Mark)>,
    /// Where it comes from; none on a page where that is plain.
    pub from: Option<Provenance>,
    /// It can be changed here.
    pub own: bool,
}

/// A mounted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    pub path: String,
    /// `1.2 KiB`
    pub size: String,
    pub sensitive: bool,
    /// A short digest, or the keyed hash of a sensitive one.
    pub digest: String,
    pub changed: Moment,
    pub by: Mark,
    /// Where it comes from; none on a page where that is plain.
    pub from: Option<Provenance>,
    /// It can be changed here.
    pub own: bool,
}

form!(
    /// Adds or changes a variable. Posts `do=set_variable`.
    VariableForm {
        name,
        value,
        description,
        sensitive,
    }
);

impl VariableForm {
    pub fn new() -> Self {
        Self {
            name: Field::code("name", "Name")
                .hint("Letters, digits and _. Names with ro_ reach only planning, with wo_ only applying.")
                .placeholder("TF_VAR_region")
                .required(),
            value: Field::code_area("value", "Value", 2),
            description: Field::text("description", "Description").placeholder("Optional"),
            sensitive: Field::toggle("sensitive", "Sensitive")
                .hint("Write-only: masked in logs, never shown again, not even to you."),
        }
    }
}

impl Default for VariableForm {
    fn default() -> Self {
        Self::new()
    }
}

form!(
    /// Adds or replaces a mounted file. Posts `do=set_file` as multipart.
    FileForm {
        path,
        file,
        sensitive,
    }
);

impl FileForm {
    pub fn new() -> Self {
        Self {
            path: Field::code("path", "Path")
                .hint("Below the workspace's root.")
                .placeholder("config/backend.hcl")
                .required(),
            file: Field::new("file", "File", Control::File { accept: "" }).hint("At most 2 MB.").required(),
            sensitive: Field::toggle("sensitive", "Sensitive").hint("Its lines are masked in logs."),
        }
    }
}

impl Default for FileForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/stacks/{slug}/environment?edit=NAME`. Posts `do=set_variable|delete_variable` (`name`),
/// `set_file|delete_file` (`path`), `attach|detach` (`context`).
#[derive(Clone, Debug, Template)]
#[template(path = "stack_environment.html")]
pub struct StackEnvironmentPage {
    pub frame: Frame,
    pub head: StackHead,
    pub variables: Vec<VariableRow>,
    pub files: Vec<FileRow>,
    /// Absent for readers. Set by the `prefix` `variable-` and `file-`, for both have `sensitive`.
    pub forms: Option<(VariableForm, FileForm)>,
    /// The form changes this variable instead of adding one.
    pub editing: Option<String>,
    /// What is wrong with a variable, with a file, and has no field.
    pub problems: (Vec<String>, Vec<String>),
    pub empty: Empty,
    /// The highest first.
    pub contexts: Vec<AttachedRow>,
    /// For those who may attach contexts, where there are any that are not attached.
    pub attach: Option<AttachForm>,
    /// May take contexts away.
    pub may_attach: bool,
    /// What is wrong with attaching and has no field.
    pub attach_problems: Vec<String>,
    pub hooks: Vec<HookRow>,
}

/// An uploaded source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// `sha256:9c41…e07b`
    pub digest: String,
    pub size: String,
    pub at: Moment,
    pub by: Mark,
    /// The one that new runs use.
    pub current: bool,
}

/// `/stacks/{slug}/settings`. Posts `do=save|test_source|upload|delete`; `upload` is multipart with
/// the file `source`; `delete` sends `confirm`, the typed slug.
#[derive(Clone, Debug, Template)]
#[template(path = "stack_settings.html")]
pub struct StackSettingsPage {
    pub frame: Frame,
    pub head: StackHead,
    pub form: StackForm,
    pub test: Option<SourceTest>,
    pub uploads: Vec<UploadRow>,
    /// Why an upload was refused.
    pub upload_error: Option<String>,
    /// The field for the slug, with its error; absent for those who may not delete.
    pub delete: Option<Field>,
    /// Why the stack cannot be deleted now.
    pub delete_refused: Option<String>,
    pub problems: Vec<String>,
    /// Of the settings that the form was filled from: somebody else's change is not overwritten.
    pub version: u64,
    /// The settings themselves; writers of a stack with uploads see only those.
    pub may_edit: bool,
}

impl StackSettingsPage {
    /// The field that asks for the slug.
    pub fn delete_field(slug: &str) -> Field {
        Field::code("confirm", "Slug").hint(format!("Type {slug} to delete the stack.")).required()
    }
}
