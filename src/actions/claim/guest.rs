//! Phases that run guests: a task's guest, and those of a wasi stack.

use crate::{
    crypt,
    domain::{
        GuestName, Phase, Refused, RelativePath, RunId, Slug,
        guest::{Caps, GuestCall, Stdin, WorkspaceGrant},
        network::AllowList,
        stack::Vendor,
    },
    protocol::{ChainSecrets, Grants, GuestCompile, GuestPhase, HeaderGrant, MountedFile, StandardInput, Step},
    store::{
        Error, Rows,
        record::{GuestTask, PinnedGuest},
        tables as t,
    },
};

use super::{
    Reading, ToStart,
    apart::{Apart, no_secrets},
};
use crate::{
    actions::{Actions, ToCompile, guest::code},
    vendor::{self, TARGETS},
};

/// Where a task's script lies in the workspace.
const SCRIPT: &str = ".airlock/script";

impl Reading<'_> {
    /// What a task performs, if it performs a guest.
    pub(super) fn guest_task(&self) -> Result<Option<GuestTask>, Error> {
        Ok(self.view.get(t::RUN_TO_GUESTS, self.run.seq)?.and_then(|guests| guests.task))
    }

    /// A task's only phase.
    pub(super) fn perform_guest(&self, task: &GuestTask) -> Result<Step, Error> {
        let mut call = task.call.clone();
        if task.script.is_some() {
            call.args.insert(0, format!("{}/{SCRIPT}", crate::protocol::inside::WORKSPACE));
        }
        let workspace = call.may.workspace.unwrap_or_default();
        let scripted = task.script.is_some();
        Ok(Step::Guest(self.guest_phase(Phase::Performing, &call, workspace, scripted)?))
    }

    /// A task's script, as a file of its workspace.
    pub(super) fn script(task: &GuestTask) -> Option<MountedFile> {
        let content = crypt::Secret::new(task.script.clone()?.into_bytes());
        let path = RelativePath::new(SCRIPT).expect("it is a relative path");
        Some(MountedFile { path, content, sensitive: false })
    }

    /// A phase of a wasi stack; none where the stack has no guest for it, or is none.
    pub(super) fn vendor_guest(&self, phase: Phase) -> Result<Option<Step>, Error> {
        let Vendor::Wasi { init, plan, apply, destroy } = &self.stack.settings.vendor else { return Ok(None) };
        let call = match phase {
            Phase::Initializing => init,
            Phase::Planning => plan,
            Phase::Applying => apply,
            Phase::Destroying => destroy,
            Phase::Preparing | Phase::PreparingApply | Phase::Performing | Phase::Sealing | Phase::Ending => &None,
        };
        let Some(call) = call else { return Ok(None) };
        let workspace = match call.may.workspace {
            None | Some(WorkspaceGrant::Write | WorkspaceGrant::Keep) => WorkspaceGrant::Keep,
            Some(narrow @ (WorkspaceGrant::None | WorkspaceGrant::Read)) => narrow,
        };
        let phase = self.guest_phase(phase, call, workspace, false)?;
        let changes = matches!(phase.phase, Phase::Applying | Phase::Destroying);
        let phase = self.told_targets(phase);
        Ok(Some(Step::Guest(GuestPhase { skip: changes && self.skips_applying()?, ..phase })))
    }

    /// A guest that plans or changes learns what was chosen, as a command does.
    fn told_targets(&self, mut guest: GuestPhase) -> GuestPhase {
        if vendor::is_told_targets(guest.phase) && !self.run.targets.is_empty() {
            guest.plain_env.push((TARGETS.to_owned(), self.run.targets.join("\n")));
        }
        guest
    }

    fn guest_phase(
        &self,
        phase: Phase,
        call: &GuestCall,
        workspace: WorkspaceGrant,
        scripted: bool,
    ) -> Result<GuestPhase, Error> {
        let pinned = self.pinned(&call.guest)?;
        let data = &self.actions.setup.data;
        let usual = Caps::usual(pinned.interpreter || scripted);
        Ok(GuestPhase {
            phase,
            name: call.guest.to_string(),
            code: code::code(data, &pinned)?,
            args: call.args.clone(),
            plain_env: self.guest_facts(phase, &self.project_root()),
            env: call.may.env.clone(),
            stdin: match &call.stdin {
                None => StandardInput::Empty,
                Some(Stdin::Text(text)) => StandardInput::Text { text: text.clone() },
                Some(Stdin::File(file)) => StandardInput::File { path: file.file.clone() },
            },
            caps: call.may.caps(usual),
            grants: Grants {
                workspace,
                network: call.may.network.clone(),
                clock: call.may.clock.unwrap_or_default(),
                random: call.may.random.unwrap_or_default(),
                headers: headers(call, &self.actions.setup.outbound_allow),
                mounts: Vec::new(),
                fresh: Vec::new(),
            },
            cache: Some(code::cache(data)),
            artifacts: true,
            skip: false,
        })
    }

    /// The guest that the run began with.
    fn pinned(&self, name: &GuestName) -> Result<PinnedGuest, Error> {
        let guests = self.view.get(t::RUN_TO_GUESTS, self.run.seq)?.unwrap_or_default();
        let pinned = guests.pinned.into_iter().find(|pinned| pinned.name == *name);
        pinned.ok_or_else(|| {
            let why = format!("the run began before the stack named the guest `{name}`; start a new run");
            Refused::conflict(why).into()
        })
    }

    /// What a guest is told about its run; each of a fixed length for one stack, so that the same guest
    /// and input take the same fuel.
    pub(super) fn guest_facts(&self, phase: Phase, root: &RelativePath) -> Vec<(String, String)> {
        let facts = [
            ("AIRLOCK", "true".to_owned()),
            ("AIRLOCK_RUN_ID", self.run.id.to_string()),
            ("AIRLOCK_RUN_KIND", self.run.kind.to_string()),
            ("AIRLOCK_STACK", self.stack.slug.to_string()),
            ("AIRLOCK_PHASE", phase.to_string()),
            ("AIRLOCK_WORKSPACE", crate::protocol::inside::WORKSPACE.to_owned()),
            ("AIRLOCK_PROJECT_ROOT", root.to_string()),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What the runner adds to the guest's requests.
fn headers(call: &GuestCall, operator: &AllowList) -> Vec<HeaderGrant> {
    let bound = call.may.headers.iter().flat_map(|(host, bound)| bound.iter().map(move |one| (host, one)));
    bound
        .map(|(host, (header, bound))| HeaderGrant::new(host.clone(), header.clone(), bound.secret.clone(), operator))
        .collect()
}

/// What a runner gets that compiles a guest and runs nothing.
pub(in crate::actions) fn compiling(actions: &Actions, guest: &ToCompile) -> ToStart {
    let setup = &actions.setup;
    let compile =
        GuestCompile { name: guest.name.to_string(), code: guest.code.clone(), cache: code::cache(&setup.data) };
    Apart {
        own: RunId::from_number(guest.id),
        slug: Slug::new("guest").expect("it is a slug"),
        user: setup.apart_uid(),
        steps: vec![Step::Compile(compile)],
        secrets: ChainSecrets { guest_key: Some(code::key(&actions.keys.get())), ..no_secrets() },
    }
    .chain(actions)
}
