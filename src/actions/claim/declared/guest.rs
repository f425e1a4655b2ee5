//! A declared task that is a guest: its `airlock:` block in the runner's words.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Laid, Told, inside_of, joined, upper};
use crate::{
    actions::{
        claim::Reading,
        guest::code::{self, wanted},
    },
    domain::{
        EnvName, Phase, Refused,
        guest::{Caps, GuestClock, GuestRandom, WorkspaceGrant},
        network::AllowList,
    },
    manifest::declared::{
        BoundHeader, ClockGrant, MountSource, RandomGrant, TaskCommand, TaskType, WorkspaceGrant as Declared,
    },
    protocol::{Bind, Grants, GuestCode, GuestPhase, HeaderGrant, Variable},
    store::Error,
};

impl Reading<'_> {
    /// The phase of a task whose type is `wasi:…`; none for the others.
    pub(super) fn guest_of(&self, told: &Told, run: &Laid, binds: &[Bind]) -> Result<Option<GuestPhase>, Error> {
        let data = &self.actions.setup.data;
        let (name, code, interpreter) = match &told.task.kind {
            TaskType::Guest(name) => {
                let found = wanted(&self.view, name, "type")?;
                (name.to_string(), code::code(data, &found)?, found.interpreter)
            }
            TaskType::GuestFile(path) => {
                let path = joined(&told.task.source.root, path);
                let name = path.as_str().rsplit('/').next().unwrap_or_default().trim_end_matches(".wasm").to_owned();
                (name, GuestCode::Source { path }, false)
            }
            TaskType::Native | TaskType::Image(_) | TaskType::Runtime { .. } => return Ok(None),
        };
        told.check_wanted(run)?;
        let usual = Caps::usual(interpreter);
        Ok(Some(GuestPhase {
            phase: Phase::Performing,
            name,
            code,
            args: arguments(&told.task.run.command),
            plain_env: self.guest_facts(Phase::Performing, &told.task.source.root),
            env: names(told, run),
            stdin: told.stdin(),
            caps: told.task.caps(usual),
            grants: told.grants(binds, &self.actions.setup.outbound_allow)?,
            cache: Some(code::cache(data)),
            artifacts: told.task.airlock.artifacts,
            skip: false,
        }))
    }
}

impl Told {
    /// What the guest may reach.
    fn grants(&self, binds: &[Bind], operator: &AllowList) -> Result<Grants, Error> {
        let airlock = &self.task.airlock;
        Ok(Grants {
            workspace: match airlock.workspace {
                Declared::None => WorkspaceGrant::None,
                Declared::Read => WorkspaceGrant::Read,
                Declared::Write => WorkspaceGrant::Write,
            },
            mounts: binds.to_vec(),
            fresh: self.fresh(),
            network: self.hosts()?,
            clock: match airlock.clock {
                ClockGrant::Real => GuestClock::Real,
                ClockGrant::Frozen => GuestClock::Frozen,
            },
            random: match airlock.random {
                RandomGrant::Real => GuestRandom::Real,
                RandomGrant::Seeded => GuestRandom::Seeded,
            },
            headers: airlock
                .headers
                .iter()
                .map(|bound| {
                    HeaderGrant::new(bound.host.to_string(), bound.header.clone(), upper(&bound.secret), operator)
                })
                .collect(),
        })
    }

    /// Its mounts that nothing is kept of. To a native task they are directories of its workspace, which is as
    /// fresh as they are.
    fn fresh(&self) -> Vec<PathBuf> {
        let fresh = self.task.mounts.iter().filter(|(_, mount)| match mount.source {
            MountSource::Instance | MountSource::Tmp => true,
            MountSource::Storage | MountSource::Service(_) => false,
        });
        fresh.map(|(path, _)| inside_of(&self.task, path)).collect()
    }

    /// The secrets that reach a guest's chain at all: those it gets, and those that are bound to its
    /// requests.
    pub(super) fn lets_in(&self, name: &str) -> bool {
        let bound = |bound: &BoundHeader| bound.secret.as_str().eq_ignore_ascii_case(name);
        !self.task.kind.is_guest() || self.wants(name) || self.task.airlock.headers.iter().any(bound)
    }

    /// Whether a guest asks for a variable by name.
    fn wants(&self, name: &str) -> bool {
        self.task.airlock.env.iter().any(|wanted| wanted.as_str().eq_ignore_ascii_case(name))
    }

    /// Refuses a name that stands for nothing: the guest would go without and nobody would know why.
    fn check_wanted(&self, laid: &Laid) -> Result<(), Refused> {
        match self.task.airlock.env.iter().find(|wanted| !laid.has(wanted.as_str())) {
            None => Ok(()),
            Some(name) => Err(Refused::conflict(format!(
                "the variable {name}, which `airlock.env` lists, does not exist, is switched off, or is not visible \
                 to running tasks"
            ))),
        }
    }
}

/// Which of its chain's variables a guest gets: what the platform says, what the trigger and the
/// declaration say, and what it asks for by name. A name alone makes nothing the platform's.
fn names(told: &Told, laid: &Laid) -> Vec<EnvName> {
    let trigger = told.input.variables.iter().filter_map(|(name, _)| name.strip_prefix("env:"));
    let declared = told.task.variables.env.keys().map(EnvName::as_str);
    let said: BTreeSet<String> = trigger.chain(declared).map(str::to_ascii_uppercase).collect();
    let facts = |name: &str| ["PLATFORM_", "AIRLOCK_"].iter().any(|prefix| name.starts_with(prefix));
    let gets = |variable: &&Variable| {
        let name = variable.name.as_str();
        (facts(name) && laid.platforms.contains(name))
            || told.wants(name)
            || (!variable.sensitive && said.contains(name))
    };
    laid.variables.iter().filter(gets).map(|variable| variable.name.clone()).collect()
}

fn arguments(command: &TaskCommand) -> Vec<String> {
    match command {
        TaskCommand::Words { words, .. } => words.clone(),
        TaskCommand::Shell(text) => vec![text.clone()],
    }
}
