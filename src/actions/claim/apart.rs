//! Chains that belong to no run: something is done in a jail, apart from every queue.

use std::path::PathBuf;

use super::{ToStart, chain_dir};
use crate::{
    actions::Actions,
    crypt,
    domain::{
        RelativePath, RunId, Slug, StackId,
        run::Kind,
        stack::{ExecutorKind, Limits, NetworkMode, Vendor},
    },
    protocol::{AtEnd, ChainSecrets, ChainSpec, JailSpec, Root, RunFacts, Step, VERSION},
};

/// What is done, and as whom.
pub(in crate::actions) struct Apart {
    /// Names the chain's directory; no run has it.
    pub own: RunId,
    /// Whom it is done for.
    pub slug: Slug,
    pub user: Option<u32>,
    pub steps: Vec<Step>,
    pub secrets: ChainSecrets,
}

impl Apart {
    pub(in crate::actions) fn chain(self, actions: &Actions) -> ToStart {
        let setup = &actions.setup;
        let dir = apart_dir(actions, self.own);
        let jail = JailSpec {
            version: VERSION,
            kind: ExecutorKind::Jail,
            user: self.user,
            limits: Limits::default(),
            root: Root::Host,
            dir: dir.clone(),
            hostname: "airlock".to_owned(),
            cgroup: setup.cgroup.clone(),
        };
        let spec = ChainSpec {
            version: VERSION,
            run: facts(self.own, self.slug),
            chain: 1,
            first_phase: 1,
            steps: self.steps,
            at_end: AtEnd::Remove,
            ending: None,
            ends_as: None,
            decided_later: false,
            stop_grace_seconds: setup.stop_grace.as_secs(),
            demand: None,
            runtime: None,
            secrets: self.secrets,
        };
        ToStart { run: self.own, chain: 1, dir, goes_on_from: None, jail, spec }
    }
}

/// Where such a chain keeps its files.
pub(in crate::actions) fn apart_dir(actions: &Actions, own: RunId) -> PathBuf {
    chain_dir(&actions.setup.data, own, 1)
}

/// Keys that nobody else has, and nothing to keep.
pub(in crate::actions) fn no_secrets() -> ChainSecrets {
    ChainSecrets {
        chain_key: crypt::Key::random().to_secret(),
        redaction_key: crypt::Key::random().to_secret(),
        open: None,
        seal: None,
        variables: Vec::new(),
        files: Vec::new(),
        masks: Vec::new(),
        git: None,
        state: None,
        guest_key: None,
        slug_key: None,
        build_variables: Vec::new(),
        workload: None,
        plan: None,
    }
}

fn facts(own: RunId, slug: Slug) -> RunFacts {
    RunFacts {
        id: own,
        number: 0,
        kind: Kind::OnDemand,
        stack: StackId::from_number(own.number()),
        slug,
        url: String::new(),
        triggered_by: String::new(),
        branch: None,
        commit: None,
        project_root: RelativePath::new("").expect("the empty path is the root"),
        network: NetworkMode::None,
        vendor: Vendor::Custom { init: None, plan: None, apply: None, destroy: None },
        targets: Vec::new(),
        mask_well_known: true,
    }
}
