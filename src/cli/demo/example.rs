//! What the examples consist of.

use std::path::Path;

use serde_json::{Value, json};

use crate::crypt::random_token;

/// Directories in which phases look for programs.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A stack with a past and a present.
#[derive(Debug)]
pub struct Example {
    pub slug: &'static str,
    /// The shape of `POST /stacks`, without source.
    pub settings: Value,
    pub variables: Vec<Variable>,
    /// What was deployed first.
    pub first: Version,
    /// The task in between.
    pub task: &'static str,
    /// What the guest `patcher` edits, as an agent would, in a sandbox; its patch is proposed.
    pub agent: Option<&'static [&'static str]>,
    /// Whether a guest judges its plans.
    pub judged: bool,
    /// What waits to be confirmed.
    pub second: Version,
}

#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub value: String,
    pub sensitive: bool,
    pub description: &'static str,
}

/// A version of the source, and why.
#[derive(Debug)]
pub struct Version {
    pub message: &'static str,
    pub files: Vec<(&'static str, &'static str)>,
}

/// The examples that can run here.
pub fn all() -> Vec<Example> {
    let there = |program: &str| PROGRAMS.iter().any(|dir| Path::new(dir).join(program).exists());
    let terraform = [("terraform", "terraform"), ("opentofu", "tofu")];
    let found = terraform.into_iter().find(|(_, program)| there(program));
    [shop()].into_iter().chain(found.map(|(vendor, _)| platform(vendor))).collect()
}

fn shop() -> Example {
    Example {
        slug: "shop",
        settings: json!({
            "name": "Shop",
            "description": "A shop that is described in a text file and deployed by three shell scripts.",
            "labels": ["demo", "production"],
            "allow_promotion": true,
            "vendor": {
                "kind": "custom",
                "init": "echo \"$(wc -l < wanted.txt) lines are wanted\"",
                "plan": "sh ./plan.sh",
                "apply": "sh ./apply.sh",
                "destroy": "echo 'the shop is closed'",
            },
            "hooks": {"after_run": ["echo \"this run is $AIRLOCK_FINAL_RUN_STATE\""]},
            "executor": {"network": "none"},
        }),
        variables: vec![
            plain("SHOP_REGION", "eu-central", "Where the shop runs"),
            secret("SHOP_TOKEN", "Opens the provider; the log shows ****"),
            secret("SHOP_DB_PASSWORD", "Of the orders' database"),
        ],
        first: Version {
            message: "Open the shop",
            files: shop_files(include_str!("shop/live-1.txt"), include_str!("shop/wanted-1.txt")),
        },
        task: "sh ./report.sh",
        agent: Some(&[
            "replace",
            "wanted.txt",
            "image=web:2.3 replicas=2",
            "image=web:2.3 replicas=4",
            "append",
            "wanted.txt",
            "bucket.logs      bucket     public=false",
        ]),
        judged: true,
        second: Version {
            message: "Add search, retire the cart, move to PostgreSQL 16",
            files: shop_files(include_str!("shop/live-2.txt"), include_str!("shop/wanted-2.txt")),
        },
    }
}

fn shop_files(live: &'static str, wanted: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("README.md", include_str!("shop/README.md")),
        ("plan.sh", include_str!("shop/plan.sh")),
        ("apply.sh", include_str!("shop/apply.sh")),
        ("report.sh", include_str!("shop/report.sh")),
        ("live.txt", live),
        ("wanted.txt", wanted),
    ]
}

fn platform(vendor: &str) -> Example {
    Example {
        slug: "platform",
        settings: json!({
            "name": "Platform",
            "description": "What the shop runs on. Needs no provider and no network; its state is kept by Airlock.",
            "labels": ["demo"],
            "vendor": {"kind": vendor},
            "executor": {"network": "none"},
        }),
        variables: vec![secret("TF_VAR_registry_password", "Sensitive in the plan, too")],
        first: Version { message: "Lay the ground", files: vec![("main.tf", include_str!("platform/main-1.tf"))] },
        task: match vendor {
            "opentofu" => "tofu state list",
            _ => "terraform state list",
        },
        agent: None,
        judged: false,
        second: Version {
            message: "A third zone, monitoring instead of the bastion, a newer cluster",
            files: vec![("main.tf", include_str!("platform/main-2.tf"))],
        },
    }
}

fn plain(name: &'static str, value: &str, description: &'static str) -> Variable {
    Variable { name, value: value.to_owned(), sensitive: false, description }
}

/// A value that nobody knows.
fn secret(name: &'static str, description: &'static str) -> Variable {
    Variable { name, value: random_token().expose()[..20].to_owned(), sensitive: true, description }
}
