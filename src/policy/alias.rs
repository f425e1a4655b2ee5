//! Names that Spacelift's documentation gives to parts of an input, and that no policy defines.
//!
//! A policy that uses one gets it as a rule of its package. One that defines the name itself, imports it, or binds
//! it as a variable never comes here, because nothing is undefined then: its name means what it says.

use crate::domain::PolicyKind;

/// A name, and what it stands for: an expression over the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alias {
    pub name: &'static str,
    meaning: &'static str,
}

const TASK: [Alias; 3] = [
    Alias { name: "request", meaning: "input.request" },
    Alias { name: "session", meaning: "input.session" },
    Alias { name: "stack", meaning: "input.stack" },
];

/// A replacement is a deletion and a creation, so it is among both.
const PLAN: [Alias; 5] = [
    Alias {
        name: "affected_resources",
        meaning: r#"[r | some r in input.terraform.resource_changes;
            count({"create", "delete", "update"} & {a | some a in r.change.actions}) > 0]"#,
    },
    Alias {
        name: "created_resources",
        meaning: r#"[r | some r in input.terraform.resource_changes; "create" in r.change.actions]"#,
    },
    Alias {
        name: "deleted_resources",
        meaning: r#"[r | some r in input.terraform.resource_changes; "delete" in r.change.actions]"#,
    },
    Alias {
        name: "recreated_resources",
        meaning: r#"[r | some r in input.terraform.resource_changes;
            "create" in r.change.actions; "delete" in r.change.actions]"#,
    },
    Alias {
        name: "updated_resources",
        meaning: r#"[r | some r in input.terraform.resource_changes; "update" in r.change.actions]"#,
    },
];

/// The alias of a name; `None` as the kind looks among those of all kinds.
pub(super) fn of(kind: Option<PolicyKind>, name: &str) -> Option<Alias> {
    let known: [&[Alias]; 2] = match kind {
        Some(PolicyKind::Task) => [&TASK, &[]],
        Some(PolicyKind::Plan) => [&PLAN, &[]],
        None => [&TASK, &PLAN],
        Some(
            PolicyKind::Approval
            | PolicyKind::Push
            | PolicyKind::Trigger
            | PolicyKind::Access
            | PolicyKind::Notification,
        ) => [&[], &[]],
    };
    known.into_iter().flatten().find(|alias| alias.name == name).copied()
}

/// How many there are.
pub(super) const ALL: usize = TASK.len() + PLAN.len();

impl Alias {
    /// The module that adds it to a package, which is `a.b`.
    pub(super) fn module(self, package: &str) -> String {
        format!("package {package}\n{} := {}\n", self.name, self.meaning)
    }
}
