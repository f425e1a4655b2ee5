//! What the token of a call opens until its result is final: the plan, the source, the facts of the run.

use std::{collections::HashSet, net::IpAddr, path::PathBuf};

use aho_corasick::AhoCorasick;
use serde_json::{Map, Value, json};

use crate::{
    auth::token,
    crypt::{self, Purpose, Secret, Tagger},
    domain::{
        Action, Changes, Phase, Refused, RefusedKind, RunId, TaskResultId, Timestamp, limits,
        run::SourceVersion,
        run_task::{outward, workspace_id},
    },
    protocol::{self, PhaseResult},
    store::{
        Error, Find as _, Rows, Snapshot,
        record::{Chain, PhaseFile, Run, RunTask, TaskResult},
        tables as t,
    },
};

use super::super::{Actions, claim::chain_dir, missing, sealed_fault, vault};

/// A call whose token somebody showed.
#[derive(Clone, Debug)]
pub struct Opened {
    result: TaskResult,
    trusted: bool,
}

/// Where the source of a run is.
#[derive(Clone, Debug)]
pub enum OpenedSource {
    /// The archive as it was uploaded.
    Uploaded(PathBuf),
    Fetched(Fetched),
}

/// An archive that was made of what was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    run: RunId,
    place: PhaseFile,
}

/// The facts of a run as the public protocol shows them.
#[derive(Clone, Debug)]
pub struct OpenedRun(pub Value);

/// What stands for a sensitive value in a plan that is not for all eyes.
const HIDDEN: &str = "(sensitive)";

/// The verb in the audit log.
const OPEN: &str = "run_task.open";

impl Actions {
    /// The call that a token belongs to, as long as its result is not final; `about` is the id in the public
    /// protocol of what is to be opened. Who shows no token that opens it is counted.
    pub fn open_with(&self, shown: Option<&str>, about: &str, from: Option<IpAddr>) -> Result<Opened, Error> {
        let opened = self.opened_with(shown).and_then(|opened| match opened.is_about(about) {
            true => Ok(opened),
            false => Err(missing(about)),
        });
        if let Err(Error::Refused(_)) = &opened {
            self.count_stranger(from, OPEN);
        }
        opened
    }

    fn opened_with(&self, shown: Option<&str>) -> Result<Opened, Error> {
        let refused =
            || Refused::new(RefusedKind::Unauthenticated, "the access token is unknown, or its result is final");
        let hash = token::hash(shown.ok_or_else(refused)?);
        let view = self.store.read()?;
        let id = view.number(t::HASH_TO_RESULT, hash)?.ok_or_else(refused)?;
        Ok(opened(&view, id)?.ok_or_else(refused)?)
    }

    /// Where the plan can be fetched for a short time; none while there is none.
    pub fn plan_link(&self, opened: &Opened) -> Result<Option<String>, Error> {
        let view = self.store.read()?;
        let run = view.run(opened.result.run)?.ok_or_else(|| missing("the run"))?;
        if run.plan_digest.is_none() {
            return Ok(None);
        }
        let until = self.now().plus(limits::DOWNLOAD_LINK).millis();
        let id = opened.result.id;
        let tag = self.link_tag(id, until);
        Ok(Some(format!("{}/api/v2/downloads/{}/{until}/{tag}", self.setup.public_url, outward(id))))
    }

    /// The plan behind such an address.
    pub fn linked_plan(
        &self,
        id: TaskResultId,
        until: i64,
        tag: &str,
        from: Option<IpAddr>,
    ) -> Result<Secret<Vec<u8>>, Error> {
        let genuine = crypt::same(self.link_tag(id, until).as_bytes(), tag.as_bytes());
        if !genuine || Timestamp::from_millis(until) < self.now() {
            self.count_stranger(from, OPEN);
            return Err(missing("the download"));
        }
        let view = self.store.read()?;
        let opened = opened(&view, id.number())?.ok_or_else(|| missing("the download"))?;
        self.plan_json(&view, &opened)
    }

    fn link_tag(&self, id: TaskResultId, until: i64) -> String {
        let mut tagger = Tagger::new(&self.keys.get().derive(Purpose::Token, b"downloads of run tasks"));
        tagger.update(format!("{id} {until}").as_bytes());
        hex::encode(tagger.tag())
    }

    /// The source that the run works on, as it was uploaded or fetched.
    pub fn opened_source(&self, opened: &Opened) -> Result<OpenedSource, Error> {
        let view = self.store.read()?;
        let run = view.run(opened.result.run)?.ok_or_else(|| missing("the run"))?;
        match &run.source {
            SourceVersion::Upload { digest } => Ok(OpenedSource::Uploaded(self.upload_path(digest))),
            SourceVersion::Git { .. } => {
                let place = view.get(t::RUN_TO_SECRETS, run.seq)?.and_then(|secrets| secrets.source);
                let place = place.ok_or_else(|| missing("the configuration version"))?;
                Ok(OpenedSource::Fetched(Fetched { run: run.id, place }))
            }
        }
    }

    /// The tar.gz of a source that was fetched.
    pub fn fetched_source(&self, fetched: &Fetched) -> Result<Secret<Vec<u8>>, Error> {
        let Fetched { run, place } = fetched;
        let key = vault::chain_key(*run, place.chain).open_key(&self.keys.get(), &place.key)?;
        let path = chain_dir(&self.setup.data, *run, place.chain).join(protocol::file::source(place.phase));
        let label = protocol::source_label(*run, place.phase);
        // A little more than what is in it.
        let most = 2 * limits::SOURCE_ARCHIVE_BYTES as u64;
        crypt::read_file_under(&path, &key, label.as_bytes(), most).map_err(sealed_fault)
    }

    /// The run of a call.
    pub fn opened_run(&self, opened: &Opened) -> Result<Run, Error> {
        self.store.read()?.run(opened.result.run)?.ok_or_else(|| missing("the run"))
    }

    /// As the public protocol shows a run.
    pub fn show_run(&self, opened: &Opened) -> Result<OpenedRun, Error> {
        let run = self.opened_run(opened)?;
        let plan = super::payload::named_after(run.id, "plan");
        Ok(OpenedRun(json!({"data": {
            "id": outward(run.id),
            "type": "runs",
            "attributes": {
                "created-at": run.created_at.to_string(),
                "has-changes": run.changes.unwrap_or(false),
                "is-destroy": run.kind == crate::domain::Kind::Destroy,
                "message": run.message.as_ref().map_or("", |message| message.as_str()),
                "plan-only": run.kind == crate::domain::Kind::Proposed,
                "source": "tfe-api",
                "status": status_word(opened.result.stage),
                "trigger-reason": "manual",
            },
            "relationships": {
                "plan": {"data": {"id": plan, "type": "plans"}, "links": {"related": format!("/api/v2/runs/{}/plan", outward(run.id))}},
                "workspace": {"data": {"id": workspace_id(run.stack), "type": "workspaces"}},
            },
            "links": {"self": format!("/api/v2/runs/{}", outward(run.id))},
        }})))
    }

    /// As the public protocol shows a plan.
    pub fn show_plan(&self, opened: &Opened) -> Result<OpenedRun, Error> {
        let run = self.opened_run(opened)?;
        let id = super::payload::named_after(run.id, "plan");
        let delta = run.delta.unwrap_or_default();
        Ok(OpenedRun(json!({"data": {
            "id": id,
            "type": "plans",
            "attributes": {
                "has-changes": run.changes.unwrap_or(false),
                "resource-additions": delta.resources.added + delta.resources.replaced,
                "resource-changes": delta.resources.changed,
                "resource-destructions": delta.resources.deleted + delta.resources.replaced,
                "status": if run.plan_digest.is_some() { "finished" } else { "pending" },
            },
            "links": {
                "self": format!("/api/v2/plans/{id}"),
                "json-output": format!("/api/v2/plans/{id}/json-output"),
            },
        }})))
    }

    /// The plan: Terraform's own, or for other vendors the changes in its shape. Sensitive values are
    /// in clear only for a run task that an admin trusts.
    pub(super) fn plan_json(&self, view: &Snapshot, opened: &Opened) -> Result<Secret<Vec<u8>>, Error> {
        let run = view.run(opened.result.run)?.ok_or_else(|| missing("the run"))?;
        let stack = view.stack(run.stack)?.ok_or_else(|| missing("the stack of the run"))?;
        let secrets = view.get(t::RUN_TO_SECRETS, run.seq)?.unwrap_or_default();
        if stack.settings.vendor.has_state()
            && let Some(place) = &secrets.plan
            && let Some(json) = self.raw_plan(run.id, place)?
        {
            if opened.trusted {
                return Ok(Secret::new(json.expose().clone().into_bytes()));
            }
            let mut plan: Value = serde_json::from_str(json.expose()).map_err(sealed_fault)?;
            hide(&mut plan);
            return serde_json::to_vec(&plan).map(Secret::new).map_err(sealed_fault);
        }
        let changes = view.get(t::RUN_TO_CHANGES, run.seq)?.ok_or_else(|| missing("the plan"))?.read()?;
        serde_json::to_vec(&in_terraform_s_shape(&changes)).map(Secret::new).map_err(sealed_fault)
    }

    /// What the planning phase left, as long as its directory is there.
    fn raw_plan(&self, run: RunId, place: &PhaseFile) -> Result<Option<Secret<String>>, Error> {
        let key = vault::chain_key(run, place.chain).open_key(&self.keys.get(), &place.key)?;
        let dir = chain_dir(&self.setup.data, run, place.chain);
        let path = dir.join(protocol::file::result(place.phase));
        let label = protocol::result_label(run, place.phase);
        let most = 2 * limits::PLAN_JSON_BYTES;
        let bytes = crypt::read_file_under(&path, &key, label.as_bytes(), most).map_err(sealed_fault)?;
        let result: PhaseResult = serde_json::from_slice(bytes.expose()).map_err(sealed_fault)?;
        Ok(result.plan_json)
    }
}

pub(super) fn opened(view: &Snapshot, id: u128) -> Result<Option<Opened>, Error> {
    let Some(result) = view.get(t::RESULT_ID_TO_RESULT, id)?.filter(|result: &TaskResult| !result.status.is_final())
    else {
        return Ok(None);
    };
    let task: Option<RunTask> = view.get(t::RUN_TASK_ID_TO_RUN_TASK, result.run_task.number())?;
    Ok(Some(Opened { trusted: task.is_some_and(|task| task.trusted), result }))
}

impl Opened {
    pub const fn run(&self) -> RunId {
        self.result.run
    }

    /// Whether an id of the public protocol (`run-…`, `plan-…`, `cv-…`) is this run's.
    fn is_about(&self, id: &str) -> bool {
        let run = self.result.run.to_string();
        let number = run.rsplit('_').next().unwrap_or_default();
        id.split_once(['-', '_']).is_some_and(|(kind, rest)| ["run", "plan", "cv"].contains(&kind) && rest == number)
    }
}

const fn status_word(stage: crate::domain::Stage) -> &'static str {
    match stage {
        crate::domain::Stage::PrePlan => "pre_plan_running",
        crate::domain::Stage::PostPlan => "post_plan_running",
        crate::domain::Stage::PreApply => "pre_apply_running",
        crate::domain::Stage::PostApply => "post_apply_running",
    }
}

/// Replaces every value that the plan itself marks as sensitive: beside `before`, `after`, `values` and
/// `value`, and variables that the configuration declares so.
fn hide(plan: &mut Value) {
    let declared: Vec<String> = plan
        .pointer("/configuration/root_module/variables")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, variable)| variable.get("sensitive") == Some(&Value::Bool(true)))
        .map(|(name, _)| name.clone())
        .collect();
    let mut found = Vec::new();
    if let Some(Value::Object(variables)) = plan.get_mut("variables") {
        for name in &declared {
            if let Some(variable) = variables.get_mut(name).and_then(Value::as_object_mut) {
                conceal(variable.get_mut("value"), &Value::Bool(true), &mut found);
            }
        }
    }
    hide_marked(plan, &mut found);
    sweep(plan, &found);
}

fn hide_marked(value: &mut Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hide_marked(item, found)),
        Value::Object(fields) => {
            for (name, mark) in
                [("before", "before_sensitive"), ("after", "after_sensitive"), ("values", "sensitive_values")]
            {
                if let Some(mark) = fields.get(mark).cloned() {
                    conceal(fields.get_mut(name), &mark, found);
                }
            }
            if fields.get("sensitive") == Some(&Value::Bool(true)) {
                for name in ["value", "before", "after", "default"] {
                    conceal(fields.get_mut(name), &Value::Bool(true), found);
                }
            }
            fields.values_mut().for_each(|field| hide_marked(field, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Hides the parts of a value that a mark of the same shape calls sensitive.
fn conceal(value: Option<&mut Value>, mark: &Value, found: &mut Vec<String>) {
    let Some(value) = value.filter(|value| !value.is_null()) else { return };
    match (mark, value) {
        (Value::Bool(true), value) => {
            remember(value, found);
            *value = Value::String(HIDDEN.to_owned());
        }
        (Value::Object(marks), Value::Object(fields)) => {
            marks.iter().for_each(|(name, mark)| conceal(fields.get_mut(name), mark, found));
        }
        (Value::Array(marks), Value::Array(items)) => {
            marks.iter().enumerate().for_each(|(n, mark)| conceal(items.get_mut(n), mark, found));
        }
        _ => {}
    }
}

fn remember(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.chars().count() >= limits::SECRET_MIN_CHARS && text != HIDDEN => {
            if found.len() < limits::CHANGES {
                found.push(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| remember(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| remember(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What was sensitive in one place is hidden in every place; short texts only where they are all of it.
fn sweep(plan: &mut Value, found: &[String]) {
    let long = found.iter().filter(|text| text.len() >= limits::SECRET_LINE_CHARS);
    // Too many patterns for an automaton cannot be: their number is bounded.
    let Ok(inside) = AhoCorasick::new(long) else { return };
    let whole: HashSet<&str> = found.iter().map(String::as_str).collect();
    if !whole.is_empty() {
        sweep_value(plan, &whole, &inside);
    }
}

fn sweep_value(value: &mut Value, whole: &HashSet<&str>, inside: &AhoCorasick) {
    match value {
        Value::String(text) => {
            if whole.contains(text.as_str()) || inside.is_match(text.as_str()) {
                *text = HIDDEN.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| sweep_value(item, whole, inside)),
        Value::Object(fields) => fields.values_mut().for_each(|field| sweep_value(field, whole, inside)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Changes as Terraform's plan has them, for services that know no other shape.
fn in_terraform_s_shape(changes: &Changes) -> Value {
    let resources: Vec<Value> = changes
        .resources
        .iter()
        .map(|change| {
            let name = change.address.rsplit('.').next().unwrap_or(&change.address);
            json!({
                "address": change.address,
                "mode": if change.action == Action::Read { "data" } else { "managed" },
                "type": change.type_name,
                "name": name,
                "provider_name": "airlock",
                "change": {
                    "actions": actions(change.action),
                    "before": change.before,
                    "after": change.after,
                    "after_unknown": {},
                    "before_sensitive": false,
                    "after_sensitive": !change.sensitive.is_empty(),
                },
            })
        })
        .collect();
    let outputs: Map<String, Value> = changes
        .outputs
        .iter()
        .map(|change| {
            let shown = json!({
                "actions": actions(change.action),
                "before": change.before,
                "after": change.after,
                "after_unknown": false,
                "before_sensitive": change.sensitive,
                "after_sensitive": change.sensitive,
            });
            (change.name.clone(), shown)
        })
        .collect();
    json!({
        "format_version": "1.2",
        "terraform_version": "",
        "resource_changes": resources,
        "output_changes": outputs,
        "configuration": {"root_module": {}},
        "planned_values": {"root_module": {}},
    })
}

fn actions(action: Action) -> Value {
    match action {
        Action::Create => json!(["create"]),
        Action::Update => json!(["update"]),
        Action::Replace => json!(["delete", "create"]),
        Action::Delete => json!(["delete"]),
        Action::Read => json!(["read"]),
    }
}

/// Where a planning phase left its plan, from now on.
pub(crate) fn plan_file(chain: &Chain, number: u32, phase: Phase) -> Option<PhaseFile> {
    (phase == Phase::Planning).then(|| left_by(chain, number))
}

/// What a phase of a chain left.
pub(crate) fn left_by(chain: &Chain, number: u32) -> PhaseFile {
    PhaseFile { chain: chain.number, phase: number, key: chain.key.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plan_calls_sensitive_is_hidden_everywhere_in_it() {
        let mut plan = json!({
            "variables": {"password": {"value": "s3cret-word"}, "region": {"value": "eu"}},
            "configuration": {"root_module": {"variables": {"password": {"sensitive": true}}}},
            "planned_values": {"root_module": {"resources": [
                {"address": "a.b", "values": {"name": "x", "token": "t0ken-value"}, "sensitive_values": {"token": true}}]},
                "outputs": {"o": {"sensitive": true, "value": "t0ken-value"}}},
            "resource_changes": [{"address": "a.b", "change": {
                "before": null, "after": {"name": "x", "token": "t0ken-value", "list": ["a", "hidden-one"], "echo": "is t0ken-value"},
                "before_sensitive": false, "after_sensitive": {"token": true, "list": [false, true]}}}],
        });
        hide(&mut plan);
        let text = plan.to_string();
        for secret in ["s3cret-word", "t0ken-value", "hidden-one"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(plan["variables"]["region"]["value"], "eu");
        assert_eq!(plan["resource_changes"][0]["change"]["after"]["name"], "x");
    }
}
