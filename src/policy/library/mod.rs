//! Policies to begin with, each with its tests. They are offered on the page for new ones.

use crate::domain::PolicyKind;

/// A policy that comes with Airlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    pub name: &'static str,
    pub kind: PolicyKind,
    /// What it does, in a sentence.
    pub about: &'static str,
    pub body: &'static str,
    pub tests: &'static str,
}

macro_rules! offered {
    ($name:literal, $kind:ident, $about:literal) => {
        Offered {
            name: $name,
            kind: PolicyKind::$kind,
            about: $about,
            body: include_str!(concat!($name, ".rego")),
            tests: include_str!(concat!($name, "_test.rego")),
        }
    };
}

pub const LIBRARY: [Offered; 6] = [
    offered!("no-state-surgery", Task, "Tasks that remove files or change state by hand are left to admins."),
    offered!(
        "deletes-need-two",
        Approval,
        "Two people other than the requester must approve before anything is deleted."
    ),
    offered!(
        "reviewed-by-others",
        Approval,
        "N of M people must approve, neither the requester nor the commit's author."
    ),
    offered!("working-hours", Plan, "Outside working hours a plan waits for somebody, even with autodeploy."),
    offered!("protect-resources", Plan, "Databases and buckets are never deleted or replaced."),
    offered!("frozen-stacks", Access, "Stacks labelled frozen are changed by nobody but the installation's admins."),
];
