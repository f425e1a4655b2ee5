//! What a planning phase left: its changes, redacted and masked, and the digest that a confirmation
//! is bound to.

use std::{fs::File, io::Read};

use serde_json::Value;

use crate::{
    crypt::{self, Hasher, Key, Secret},
    domain::{Changes, Digest, Verdict, limits},
    mask::MaskSet,
    protocol::{Planned, inside},
    vendor::{self, PlanRead},
};

use super::{Chain, desk::Desk, prepare::name_in_run};
use crate::runner::fault::Fault;

/// A plan as it lies in the workspace.
struct Found {
    read: PlanRead,
    digest: Digest,
    json: Option<Secret<String>>,
}

impl Chain {
    /// After a successful plan command.
    pub(super) fn read_planned(&mut self, code: i32, desk: &mut Desk) -> Result<Verdict, Fault> {
        let Found { read, digest, json } = self.find_plan(code)?;
        let terraform_version = read.terraform_version.filter(|version| !self.tools.masks.contains_secret(version));
        let planned = Planned { changes: read.has_changes, delta: read.delta, digest, terraform_version };
        desk.produced.warnings.extend(read.warnings);
        desk.produced.plan = Some(planned.clone());
        desk.result.changes = Some(masked(read.changes, &self.tools.masks));
        desk.result.plan_json = json;
        self.plan_digest = Some(planned.digest.clone());
        self.planned = Some(planned);
        Ok(Verdict::SUCCESS)
    }

    /// Refuses a workspace in which another plan lies than the expected one.
    pub(super) fn verify_plan(&mut self, expected: Option<&Digest>) -> Result<(), Fault> {
        let Some(expected) = expected else { return Ok(()) };
        // What the plan command's exit code was is not kept: a plan without changes has 0.
        for code in [2, 0] {
            if self.find_plan(code)?.digest == *expected {
                self.plan_digest = Some(expected.clone());
                return Ok(());
            }
        }
        Err(Fault::Other(format!(
            "the plan in the workspace is not the one that was confirmed ({}): nothing was run; plan again",
            expected.short()
        )))
    }

    /// So that what an earlier planning left is not taken for this one's.
    pub(super) fn forget_old_plans(&mut self) -> Result<(), Fault> {
        (self.planned, self.plan_digest) = (None, None);
        let tree = self.tree()?;
        tree.remove_run_file(name_in_run(inside::PLAN))?;
        tree.remove_run_file(name_in_run(inside::PLAN_JSON))
    }

    fn find_plan(&self, code: i32) -> Result<Found, Fault> {
        let vendor = &self.spec.run.vendor;
        let json = self.tree()?.read_run_file(name_in_run(inside::PLAN_JSON), limits::PLAN_JSON_BYTES)?;
        let key = Key::from_slice(self.spec.secrets.redaction_key.expose()).map_err(Fault::of)?;
        let redact = |value: &[u8]| crypt::redact(&key, value);
        let mut bytes = json.as_deref();
        let reader = bytes.as_mut().map(|bytes| bytes as &mut dyn Read);
        let read = vendor::read_plan(vendor, code, reader, &redact).map_err(Fault::of)?;
        let plan = match read.canonical {
            Some(canonical) => canonical,
            None => self.hash_plan_file()?,
        };
        let digest = vendor::plan_digest(self.commit.as_ref(), &plan, &read.changes);
        let json = json.and_then(|json| String::from_utf8(json).ok()).map(Secret::new);
        Ok(Found { read, digest, json })
    }

    fn hash_plan_file(&self) -> Result<[u8; 32], Fault> {
        let file = self.tree()?.run_file(name_in_run(inside::PLAN))?;
        let file = file.ok_or_else(|| Fault::Other("the plan command left no plan file".to_owned()))?;
        sha256(file, self.jail.limits.workspace_bytes).map_err(Fault::io("read the plan file"))
    }
}

fn sha256(file: File, most: u64) -> std::io::Result<[u8; 32]> {
    let mut hasher = Hasher::new();
    std::io::copy(&mut file.take(most), &mut hasher)?;
    Ok(hasher.finish())
}

/// Changes for other eyes: what the run masks in logs is masked here, too.
fn masked(mut changes: Changes, masks: &MaskSet) -> Changes {
    let mask = |text: &mut String| {
        if masks.contains_secret(text) {
            *text = masks.mask_text(text);
        }
    };
    for resource in &mut changes.resources {
        mask(&mut resource.address);
        mask(&mut resource.type_name);
        mask_value(&mut resource.before, &mask);
        mask_value(&mut resource.after, &mask);
        resource.sensitive.iter_mut().for_each(mask);
        resource.replace_paths.iter_mut().for_each(mask);
    }
    for output in &mut changes.outputs {
        mask(&mut output.name);
        mask_value(&mut output.before, &mask);
        mask_value(&mut output.after, &mask);
    }
    changes
}

fn mask_value(value: &mut Value, mask: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => mask(text),
        Value::Number(number) => {
            let mut text = number.to_string();
            mask(&mut text);
            if text != number.to_string() {
                *value = Value::String(text);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mask_value(value, mask)),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().map(|(mut name, mut value)| {
                mask(&mut name);
                mask_value(&mut value, mask);
                (name, value)
            }));
        }
        Value::Null | Value::Bool(_) => {}
    }
}
