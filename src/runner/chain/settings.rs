//! What a run's phases are set to: sealed with the workspace, and taken out of it again.
//!
//! Whoever confirms a plan confirms what was planned with: variables, hooks, commands and files as they
//! were when the run began. What the stack and its contexts say by the time the workspace is opened is
//! compared with that, and said; it serves the next run. Only `AIRLOCK_SKIP_APPLYING` holds whenever it
//! was set: it makes less happen, not more.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::{
    crypt::{Secret, digest},
    domain::{
        Phase, Verdict,
        runtime::{HookPoint, Layers},
        stack::Vendor,
    },
    protocol::{Settings, Variable},
};

use super::{Chain, desk::Desk, runtime::Settled};
use crate::runner::fault::Fault;

/// Names of the variables that say that nothing is applied.
const SKIP_APPLYING: [&str; 2] = ["AIRLOCK_SKIP_APPLYING", "SPACELIFT_SKIP_APPLYING"];

impl Chain {
    /// Puts the settings where they are sealed with the workspace.
    pub(super) fn leave_settings(&mut self) -> Result<(), Fault> {
        let Some(Settled { layers, .. }) = &self.settled else { return Ok(()) };
        let files = self.spec.secrets.files.iter();
        let settings = Settings {
            variables: std::mem::take(&mut self.spec.secrets.variables),
            layers: layers.clone(),
            vendor: self.spec.run.vendor.clone(),
            files: files.map(|file| (file.path.clone(), digest(file.content.expose()))).collect(),
        };
        let json = serde_json::to_vec(&settings).map(Zeroizing::new).map_err(Fault::of);
        self.spec.secrets.variables = settings.variables;
        self.tree()?.leave_settings(&json?)
    }

    /// Works by the settings that were sealed, and says what was set otherwise since.
    pub(super) fn keep_settings(&mut self, desk: &mut Desk) -> Result<(), Fault> {
        let Some(json) = self.tree()?.take_settings()? else { return Ok(()) };
        let Some(now) = &mut self.settled else { return Ok(()) };
        let kept: Settings = serde_json::from_slice(&json).map_err(Fault::of)?;
        let mut changed = changed_variables(&kept.variables, &self.spec.secrets.variables);
        changed.extend(changed_hooks(&kept.layers, &now.layers));
        let files = self.spec.secrets.files.iter().map(|file| (file.path.clone(), digest(file.content.expose())));
        if !files.eq(kept.files.iter().cloned()) {
            changed.push("mounted files".to_owned());
        }
        if let (Vendor::Custom { .. }, Vendor::Custom { .. }) = (&kept.vendor, &self.spec.run.vendor)
            && kept.vendor != self.spec.run.vendor
        {
            changed.push("the stack's commands".to_owned());
            self.spec.run.vendor = kept.vendor;
        }
        self.spec.run.project_root = kept.layers.project_root().0;
        now.layers = kept.layers;
        let secret = kept.variables.iter().filter(|variable| variable.sensitive);
        let words: Vec<Secret<String>> = secret.map(|variable| variable.value.clone()).collect();
        self.tools.masks.add(&words);
        self.spec.secrets.variables = kept.variables;
        if !changed.is_empty() {
            let what = changed.join(", ");
            let said = format!("changed since this run began, and not used by it: {what}");
            desk.log.note(&said);
            desk.produced.warnings.push(said);
        }
        Ok(())
    }

    /// Whether the phase is recorded only, by what was sealed.
    pub(super) fn skips(&self, phase: Phase) -> bool {
        let says = |one: &Variable| SKIP_APPLYING.contains(&one.name.as_str()) && one.value.expose() == "true";
        matches!(phase, Phase::Applying | Phase::Destroying) && self.spec.secrets.variables.iter().any(says)
    }
}

/// A phase that is recorded only.
pub(super) fn skipped(desk: &mut Desk) -> Verdict {
    desk.log.note("skipped, because the stack's environment says AIRLOCK_SKIP_APPLYING=true");
    desk.produced.skipped = true;
    Verdict::SUCCESS
}

/// Names of the variables that one side has otherwise than the other.
fn changed_variables(kept: &[Variable], now: &[Variable]) -> Vec<String> {
    let pairs = |of: &[Variable]| -> BTreeSet<(String, String, bool)> {
        let pair = |one: &Variable| (one.name.to_string(), one.value.expose().clone(), one.sensitive);
        of.iter().map(pair).collect()
    };
    let (kept, now) = (pairs(kept), pairs(now));
    let names: BTreeSet<String> = kept.symmetric_difference(&now).map(|(name, ..)| name.clone()).collect();
    names.into_iter().collect()
}

/// The points with other hooks than before.
fn changed_hooks(kept: &Layers, now: &Layers) -> Vec<String> {
    let commands = |layers: &Layers, point| -> Vec<String> {
        layers.hooks_at(point).into_iter().map(|hook| hook.command).collect()
    };
    let differs = |point: &HookPoint| commands(kept, *point) != commands(now, *point);
    HookPoint::ALL.into_iter().filter(differs).map(|point| format!("{} hooks", point.word())).collect()
}
