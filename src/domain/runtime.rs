//! Runtime configuration: what a trigger and a configuration file set for a run, what lies around
//! it, and which of it wins.
//!
//! | from high to low | |
//! | --- | --- |
//! | the trigger | a run's own configuration |
//! | the stack's entry | `stacks.<slug>` of the configuration file |
//! | the stack | its variables, files, hooks, project root, binary |
//! | attached contexts | the lower priority number wins, then the name |
//! | automatic contexts | by name |
//! | the defaults | `stack_defaults` of the configuration file |
//!
//! Variables, files and single values are taken from the highest that has them. A list of hooks that
//! is set higher takes the place of the stack's own; hooks of contexts always run around it, before
//! hooks outermost first: attached contexts by priority, automatic ones against the alphabet, the
//! stack; after hooks the other way round.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    name::{EnvName, RelativePath, Slug},
    phase::Phase,
    stack::{Hooks, Variables},
};

/// Settings of a run. What is absent was not set; an empty list was, and replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeConfig {
    pub hooks: BTreeMap<HookPoint, Vec<String>>,
    pub environment: Variables,
    pub project_root: Option<RelativePath>,
    /// The name of an image; whether it exists, the operator says.
    pub runner_image: Option<String>,
    /// One of the operator's listed binaries, else refused by whoever knows the list.
    pub terraform_version: Option<String>,
}

/// Where hooks may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    BeforeInit,
    AfterInit,
    BeforePlan,
    AfterPlan,
    BeforeApply,
    AfterApply,
    BeforePerform,
    AfterPerform,
    BeforeDestroy,
    AfterDestroy,
    AfterRun,
}

impl HookPoint {
    pub const ALL: [Self; 11] = [
        Self::BeforeInit,
        Self::AfterInit,
        Self::BeforePlan,
        Self::AfterPlan,
        Self::BeforeApply,
        Self::AfterApply,
        Self::BeforePerform,
        Self::AfterPerform,
        Self::BeforeDestroy,
        Self::AfterDestroy,
        Self::AfterRun,
    ];

    /// The key in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BeforeInit => "before_init",
            Self::AfterInit => "after_init",
            Self::BeforePlan => "before_plan",
            Self::AfterPlan => "after_plan",
            Self::BeforeApply => "before_apply",
            Self::AfterApply => "after_apply",
            Self::BeforePerform => "before_perform",
            Self::AfterPerform => "after_perform",
            Self::BeforeDestroy => "before_destroy",
            Self::AfterDestroy => "after_destroy",
            Self::AfterRun => "after_run",
        }
    }

    /// Those around a phase's command.
    pub const fn around(phase: Phase) -> (Option<Self>, Option<Self>) {
        match phase {
            Phase::Initializing => (Some(Self::BeforeInit), Some(Self::AfterInit)),
            Phase::Planning => (Some(Self::BeforePlan), Some(Self::AfterPlan)),
            Phase::Applying => (Some(Self::BeforeApply), Some(Self::AfterApply)),
            Phase::Performing => (Some(Self::BeforePerform), Some(Self::AfterPerform)),
            Phase::Destroying => (Some(Self::BeforeDestroy), Some(Self::AfterDestroy)),
            Phase::Ending => (Some(Self::AfterRun), None),
            Phase::Preparing | Phase::PreparingApply | Phase::Sealing => (None, None),
        }
    }

    const fn is_before(self) -> bool {
        matches!(
            self,
            Self::BeforeInit | Self::BeforePlan | Self::BeforeApply | Self::BeforePerform | Self::BeforeDestroy
        )
    }

    /// The list that this point names.
    pub const fn list(self, hooks: &Hooks) -> &Vec<String> {
        match self {
            Self::BeforeInit => &hooks.before_init,
            Self::AfterInit => &hooks.after_init,
            Self::BeforePlan => &hooks.before_plan,
            Self::AfterPlan => &hooks.after_plan,
            Self::BeforeApply => &hooks.before_apply,
            Self::AfterApply => &hooks.after_apply,
            Self::BeforePerform => &hooks.before_perform,
            Self::AfterPerform => &hooks.after_perform,
            Self::BeforeDestroy => &hooks.before_destroy,
            Self::AfterDestroy => &hooks.after_destroy,
            Self::AfterRun => &hooks.after_run,
        }
    }

    /// The list of a stack's hooks that this point names.
    pub const fn of(self, hooks: &mut Hooks) -> &mut Vec<String> {
        match self {
            Self::BeforeInit => &mut hooks.before_init,
            Self::AfterInit => &mut hooks.after_init,
            Self::BeforePlan => &mut hooks.before_plan,
            Self::AfterPlan => &mut hooks.after_plan,
            Self::BeforeApply => &mut hooks.before_apply,
            Self::AfterApply => &mut hooks.after_apply,
            Self::BeforePerform => &mut hooks.before_perform,
            Self::AfterPerform => &mut hooks.after_perform,
            Self::BeforeDestroy => &mut hooks.before_destroy,
            Self::AfterDestroy => &mut hooks.after_destroy,
            Self::AfterRun => &mut hooks.after_run,
        }
    }
}

/// Where a value comes from, the highest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    Trigger,
    /// `stacks.<slug>` of the configuration file.
    ConfigEntry,
    Stack,
    Context {
        name: Slug,
        priority: i32,
    },
    AutomaticContext {
        name: Slug,
    },
    /// `stack_defaults` of the configuration file.
    StackDefaults,
}

impl Origin {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::ConfigEntry => "config_entry",
            Self::Stack => "stack",
            Self::Context { .. } => "context",
            Self::AutomaticContext { .. } => "automatic_context",
            Self::StackDefaults => "stack_defaults",
        }
    }

    /// The context, if it is one.
    pub const fn context(&self) -> Option<&Slug> {
        match self {
            Self::Context { name, .. } | Self::AutomaticContext { name } => Some(name),
            Self::Trigger | Self::ConfigEntry | Self::Stack | Self::StackDefaults => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger => f.write_str("the trigger"),
            Self::ConfigEntry => f.write_str("the stack's entry in the configuration file"),
            Self::Stack => f.write_str("the stack"),
            Self::Context { name, priority } => write!(f, "context {name}, priority {priority}"),
            Self::AutomaticContext { name } => write!(f, "context {name}, attached by label"),
            Self::StackDefaults => f.write_str("stack_defaults in the configuration file"),
        }
    }
}

/// What the source's configuration file says about one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileConfig {
    pub entry: RuntimeConfig,
    pub defaults: RuntimeConfig,
}

/// A variable of the stack or of its contexts, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub origin: Origin,
    /// Those of the same name that it wins over, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Origin>,
    /// What people see of a sensitive value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The hooks of one context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextHooks {
    pub origin: Origin,
    pub hooks: Hooks,
}

/// The image of a stack that names none: the host's own root.
pub const HOST: &str = "host";

/// Everything that a run's settings are made of, layer by layer; no values of stored variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    pub trigger: RuntimeConfig,
    /// None until the source was fetched.
    pub file: Option<FileConfig>,
    /// The stack's own.
    pub hooks: Hooks,
    /// The attached ones by priority, then the automatic ones by name.
    pub contexts: Vec<ContextHooks>,
    /// The stack's own; none: the source's root.
    pub project_root: Option<RelativePath>,
    /// What the jails have as their root: the trigger's or the stack's.
    #[serde(default)]
    pub image: String,
    /// The stack's own, as it stands in its settings.
    pub binary: Option<String>,
    pub variables: BTreeMap<EnvName, Known>,
    /// Mounted files.
    pub files: Vec<(RelativePath, Origin)>,
}

/// Where the value of a variable is to be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// None: it is one of [`Layers::variables`].
    pub value: Option<&'a str>,
    pub origin: Origin,
    pub overrides: Vec<Origin>,
}

/// A command with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub command: String,
    pub origin: Origin,
}

/// A single value with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub value: String,
    pub origin: Origin,
}

/// What a run was given, and where each part came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub environment: Vec<UsedVariable>,
    pub files: Vec<(RelativePath, Origin)>,
    /// In the order in which they run; only points that have any.
    pub hooks: Vec<(HookPoint, Vec<Hook>)>,
    pub project_root: Chosen,
    pub terraform_version: Option<Chosen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedVariable {
    pub name: EnvName,
    /// None: sensitive, or longer than is kept.
    pub value: Option<String>,
    pub hash: Option<String>,
    pub sensitive: bool,
    pub origin: Origin,
    pub overrides: Vec<Origin>,
}

impl Layers {
    fn entry(&self) -> Option<&RuntimeConfig> {
        self.file.as_ref().map(|file| &file.entry)
    }

    fn defaults(&self) -> Option<&RuntimeConfig> {
        self.file.as_ref().map(|file| &file.defaults)
    }

    /// The trigger and the stack's entry: what wins over the stack.
    fn above(&self) -> impl Iterator<Item = (Origin, &RuntimeConfig)> {
        let entry = self.entry().map(|config| (Origin::ConfigEntry, config));
        std::iter::once((Origin::Trigger, &self.trigger)).chain(entry)
    }

    /// Whether trigger or entry set any hooks.
    pub fn sets_hooks(&self) -> bool {
        self.above().any(|(_, config)| config.hooks.values().any(|list| !list.is_empty()))
    }

    /// The commands of a point, in the order in which they run.
    pub fn hooks_at(&self, point: HookPoint) -> Vec<Hook> {
        let of = |layer: &ContextHooks| named(&layer.origin, point.list(&layer.hooks));
        let (attached, automatic): (Vec<_>, Vec<_>) =
            self.contexts.iter().partition(|layer| matches!(layer.origin, Origin::Context { .. }));
        let own = self.own(point);
        if point.is_before() {
            let around = attached.into_iter().chain(automatic.into_iter().rev());
            around.flat_map(of).chain(own).collect()
        } else {
            let around = automatic.into_iter().chain(attached.into_iter().rev()).flat_map(of);
            own.into_iter().chain(around).collect()
        }
    }

    /// Those in the stack's place.
    fn own(&self, point: HookPoint) -> Vec<Hook> {
        let set = self.above().find_map(|(origin, config)| Some((origin, config.hooks.get(&point)?)));
        let stack = point.list(&self.hooks);
        let (origin, commands) = match set {
            Some(set) => set,
            None if !stack.is_empty() => (Origin::Stack, stack),
            None => match self.defaults().and_then(|config| config.hooks.get(&point)) {
                Some(commands) => (Origin::StackDefaults, commands),
                None => return Vec::new(),
            },
        };
        named(&origin, commands)
    }

    pub fn project_root(&self) -> (RelativePath, Origin) {
        let set = self.above().find_map(|(origin, config)| Some((config.project_root.clone()?, origin)));
        let stack = || self.project_root.clone().map(|root| (root, Origin::Stack));
        let defaults = || Some((self.defaults()?.project_root.clone()?, Origin::StackDefaults));
        let root = || (RelativePath::new("").expect("the empty path is the root"), Origin::Stack);
        set.or_else(stack).or_else(defaults).unwrap_or_else(root)
    }

    /// The version that trigger or file ask for; the stack's own binary wins over the defaults.
    pub fn version(&self) -> Option<(&str, Origin)> {
        let set = self.above().find_map(|(origin, config)| Some((config.terraform_version.as_deref()?, origin)));
        let defaults = self.defaults().filter(|_| self.binary.is_none());
        set.or_else(|| Some((defaults?.terraform_version.as_deref()?, Origin::StackDefaults)))
    }

    /// The image that only the file asks for, which nobody knows before the source is fetched. The stack's
    /// own wins over the defaults.
    pub fn image_of_file(&self) -> Option<(&str, Origin)> {
        if self.trigger.runner_image.is_some() {
            return None;
        }
        let entry = self.entry().and_then(|config| Some((config.runner_image.as_deref()?, Origin::ConfigEntry)));
        let defaults = self.defaults().filter(|_| self.image == HOST);
        let defaults = defaults.and_then(|config| Some((config.runner_image.as_deref()?, Origin::StackDefaults)));
        entry.or(defaults).filter(|(image, _)| *image != self.image)
    }

    /// Every variable, from where it is to be taken.
    pub fn environment(&self) -> BTreeMap<EnvName, Placed<'_>> {
        let mut all: BTreeMap<EnvName, Placed<'_>> = BTreeMap::new();
        for (origin, config) in self.above() {
            lay(&mut all, &origin, &config.environment);
        }
        for (name, known) in &self.variables {
            match all.get_mut(name) {
                Some(placed) => {
                    placed.overrides.push(known.origin.clone());
                    placed.overrides.extend(known.overrides.iter().cloned());
                }
                None => {
                    let placed =
                        Placed { value: None, origin: known.origin.clone(), overrides: known.overrides.clone() };
                    all.insert(name.clone(), placed);
                }
            }
        }
        if let Some(defaults) = self.defaults() {
            lay(&mut all, &Origin::StackDefaults, &defaults.environment);
        }
        all
    }
}

/// Puts variables below those that are there.
fn lay<'a>(all: &mut BTreeMap<EnvName, Placed<'a>>, origin: &Origin, variables: &'a Variables) {
    for (name, value) in variables {
        match all.get_mut(name) {
            Some(placed) => placed.overrides.push(origin.clone()),
            None => {
                let placed = Placed { value: Some(value), origin: origin.clone(), overrides: Vec::new() };
                all.insert(name.clone(), placed);
            }
        }
    }
}

fn named(origin: &Origin, commands: &[String]) -> Vec<Hook> {
    commands.iter().map(|command| Hook { command: command.clone(), origin: origin.clone() }).collect()
}

/// The operator's binary that a version names: `1.9.5` is `1.9.5`, `terraform-1.9.5` or `tofu-1.9.5`.
pub fn binary_of<'a, V>(listed: &'a BTreeMap<String, V>, program: &str, version: &str) -> Option<(&'a str, &'a V)> {
    let whole = format!("{program}-{version}");
    [version, &whole].into_iter().find_map(|name| listed.get_key_value(name)).map(|(name, path)| (name.as_str(), path))
}

/// Why a version cannot be had: which ones can.
pub fn no_such_binary<V>(listed: &BTreeMap<String, V>, version: &str) -> String {
    let names: Vec<&str> = listed.keys().map(String::as_str).collect();
    match names.as_slice() {
        [] => format!("there is no binary `{version}`: the operator lists none (`binaries` in the configuration)"),
        names => format!("there is no binary `{version}`; the operator lists {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
