//! Contexts, and where values of a stack come from.

use askama::Template;

use super::{
    form::{Field, Fields, form},
    frame::{Empty, Frame, Tab},
    stack::{FileForm, FileRow, VariableForm, VariableRow},
    status::{Mark, Moment},
};
use crate::domain::{runtime::Origin, stack::Hooks};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// `this stack`, `context base`, `configuration file`
    pub word: String,
    /// `priority 5`, `by label`, `stack_defaults`
    pub detail: &'static str,
    /// `5`
    pub priority: Option<i32>,
    /// The context's page, for those who may see it.
    pub href: Option<String>,
    /// `context base, stack_defaults`
    pub overrides: String,
}

impl Provenance {
    /// `links` for those who may see contexts.
    pub fn new(origin: &Origin, overrides: &[Origin], links: bool) -> Self {
        let (word, detail) = match origin {
            Origin::Trigger => ("the trigger".to_owned(), ""),
            Origin::ConfigEntry => ("configuration file".to_owned(), "the stack's entry"),
            Origin::Stack => ("this stack".to_owned(), ""),
            Origin::Context { name, .. } => (name.to_string(), "priority"),
            Origin::AutomaticContext { name } => (name.to_string(), "by label"),
            Origin::StackDefaults => ("configuration file".to_owned(), "stack_defaults"),
        };
        let priority = match origin {
            Origin::Context { priority, .. } => Some(*priority),
            Origin::Trigger
            | Origin::ConfigEntry
            | Origin::Stack
            | Origin::AutomaticContext { .. }
            | Origin::StackDefaults => None,
        };
        Self {
            word,
            detail,
            priority,
            href: origin.context().filter(|_| links).map(|name| format!("/admin/contexts/{name}")),
            overrides: overrides.iter().map(short).collect::<Vec<_>>().join(", "),
        }
    }
}

/// One word for what is overridden.
fn short(origin: &Origin) -> String {
    match origin {
        Origin::Trigger => "the trigger".to_owned(),
        Origin::ConfigEntry => "the stack's entry in the file".to_owned(),
        Origin::Stack => "this stack".to_owned(),
        Origin::Context { name, .. } | Origin::AutomaticContext { name } => name.to_string(),
        Origin::StackDefaults => "stack_defaults in the file".to_owned(),
    }
}

/// A context of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedRow {
    pub name: String,
    pub href: Option<String>,
    pub description: String,
    /// None: attached by label.
    pub priority: Option<i32>,
}

/// Hooks of one point, in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRow {
    /// `before_plan`
    pub point: &'static str,
    pub hooks: Vec<(String, Provenance)>,
}

form!(
    /// Attaches a context to a stack. Posts `do=attach`.
    AttachForm {
        context,
        priority,
    }
);

impl AttachForm {
    /// `names` are those that are not attached yet.
    pub fn new(names: &[String]) -> Self {
        use super::form::{Choice, Control};
        let choices = names.iter().map(|name| Choice::new(name, name)).collect();
        Self {
            context: Field::new("context", "Context", Control::Select(choices)).required(),
            priority: Field::code("priority", "Priority").value("0").hint("The lower number wins."),
        }
    }
}

/// A context in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextRow {
    pub name: String,
    pub description: String,
    pub labels: Vec<String>,
    /// `3 variables, 1 file, hooks`
    pub holds: String,
    /// `shop, dns`
    pub stacks: String,
    pub updated: Moment,
}

form!(
    /// Makes a context. Posts `do=create`.
    NewContextForm {
        name,
        labels,
        description,
    }
);

impl NewContextForm {
    pub fn new() -> Self {
        Self {
            name: Field::code("name", "Name")
                .hint("a-z, 0-9 and -. It stays.")
                .placeholder("aws-production")
                .required(),
            labels: labels(),
            description: Field::text("description", "Description").placeholder("Optional"),
        }
    }
}

impl Default for NewContextForm {
    fn default() -> Self {
        Self::new()
    }
}

fn labels() -> Field {
    Field::text("labels", "Labels")
        .hint(
            "Separated by blanks. autoattach:prod attaches it to every stack with the label prod, autoattach:* to all.",
        )
        .placeholder("autoattach:prod")
}

/// `/admin/contexts`. Posts `do=create`.
#[derive(Clone, Debug, Template)]
#[template(path = "contexts.html")]
pub struct ContextsPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub contexts: Vec<ContextRow>,
    pub form: NewContextForm,
    pub problems: Vec<String>,
    pub empty: Empty,
}

form!(
    /// What of a context is saved as a whole. Posts `do=save`.
    ContextForm {
        description,
        labels,
        before_init,
        after_init,
        before_plan,
        after_plan,
        before_apply,
        after_apply,
        before_perform,
        after_perform,
        before_destroy,
        after_destroy,
        after_run,
    }
);

impl ContextForm {
    pub fn new() -> Self {
        let hook = |name, label| Field::code_area(name, label, 2);
        Self {
            description: Field::area("description", "Description", 2),
            labels: labels(),
            before_init: hook("hooks.before_init", "Before init"),
            after_init: hook("hooks.after_init", "After init"),
            before_plan: hook("hooks.before_plan", "Before plan"),
            after_plan: hook("hooks.after_plan", "After plan"),
            before_apply: hook("hooks.before_apply", "Before apply"),
            after_apply: hook("hooks.after_apply", "After apply"),
            before_perform: hook("hooks.before_perform", "Before a task"),
            after_perform: hook("hooks.after_perform", "After a task"),
            before_destroy: hook("hooks.before_destroy", "Before destroy"),
            after_destroy: hook("hooks.after_destroy", "After destroy"),
            after_run: hook("hooks.after_run", "After every run"),
        }
    }

    /// The lists of hooks, in the order of [`Hooks::lists`].
    pub const fn hooks(&self) -> [&Field; 11] {
        [
            &self.before_init,
            &self.after_init,
            &self.before_plan,
            &self.after_plan,
            &self.before_apply,
            &self.after_apply,
            &self.before_perform,
            &self.after_perform,
            &self.before_destroy,
            &self.after_destroy,
            &self.after_run,
        ]
    }

    /// Whether any list has something in it, or something wrong.
    pub fn has_hooks(&self) -> bool {
        self.hooks().iter().any(|field| !field.value.is_empty() || field.error.is_some())
    }

    /// The form with what is there.
    #[must_use]
    pub fn filled(mut self, description: &str, labels: &[String], hooks: &Hooks) -> Self {
        description.clone_into(&mut self.description.value);
        self.labels.value = labels.join(" ");
        for (field, (_, list)) in self.fields_mut().into_iter().skip(2).zip(hooks.lists()) {
            field.value = list.join("\n");
        }
        self
    }
}

impl Default for ContextForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/contexts/{name}?edit=NAME`. Posts `do=save` (`version`), `set_variable|delete_variable` (`name`),
/// `delete_file` (`path`), `delete` (`context`); `set_file` as multipart.
#[derive(Clone, Debug, Template)]
#[template(path = "context.html")]
pub struct ContextPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub name: String,
    pub updated: Moment,
    pub by: Mark,
    /// The stacks that have it: slug, and how.
    pub stacks: Vec<(String, Provenance)>,
    pub form: ContextForm,
    /// Of the text that the form was filled from.
    pub version: u64,
    pub variables: Vec<VariableRow>,
    pub files: Vec<FileRow>,
    pub variable: VariableForm,
    pub file: FileForm,
    /// The form changes this variable instead of adding one.
    pub editing: Option<String>,
    /// What is wrong with the text, a variable, a file, and has no field.
    pub problems: (Vec<String>, Vec<String>, Vec<String>),
}

/// What a run was configured with and used.
#[derive(Clone, Debug)]
pub struct RuntimeView {
    pub rev: u64,
    /// The trigger's own configuration, key by key.
    pub given: Vec<(String, String)>,
    pub variables: Vec<VariableRow>,
    pub files: Vec<(String, Provenance)>,
    pub hooks: Vec<HookRow>,
    /// Such as the project root.
    pub values: Vec<(&'static str, String, Provenance)>,
    /// The source was not fetched yet, or never.
    pub unread: bool,
}
