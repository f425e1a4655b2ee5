//! The documents that policies are asked about, out of the store's records.
//!
//! Their fields have the names that policies written for Spacelift expect; states and kinds are in
//! capitals, times are nanoseconds. What Airlock does not have is there with its empty value, so that
//! a policy that looks at it is undefined nowhere that it would not be there. No secret is in any of
//! them: sensitive values of plans were replaced when the plan was read, those of variables are their hashes.

use serde_json::{Value, json};

use crate::{
    actions::runtime,
    auth::Who,
    domain::{
        Action, Actor, ActorKind, Changes, Kind, PolicyReceipt, RelativePath, ResourceChange, State, Timestamp,
        actor::ActorName,
        change::OutputChange,
        limits,
        run::{Signature, SourceVersion},
        run_task::ORGANIZATION,
        runtime::{HookPoint, RuntimeConfig, Used},
        stack::{Source, Vendor},
    },
    store::{
        Fault, Find, Flow, Order, Rows,
        record::{HistoryEntry, Notice, Run, Stack, Webhook},
        tables as t,
    },
};

/// What somebody said about a run.
#[derive(Clone, Debug)]
pub struct ReviewFacts {
    /// Whose word it is.
    pub author: ActorName,
    /// The same, or the key that it was given with.
    pub given_by: ActorName,
    pub address: Option<String>,
    pub at: Timestamp,
    pub approve: bool,
    pub note: Option<String>,
    /// The run's state at that time.
    pub state: State,
}

/// The reviews that count, and those from before the present state.
#[derive(Clone, Debug, Default)]
pub struct Reviews {
    pub current: Vec<ReviewFacts>,
    pub older: Vec<ReviewFacts>,
}

/// What a task would do.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskFacts {
    /// As it would be typed; empty where that is not known before the source was read.
    pub command: String,
    pub skip_initialization: bool,
    pub guest: Option<String>,
    pub declared_task: Option<String>,
}

/// What a run would change, and what it was planned with, where that is not in the store yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanFacts<'a> {
    pub changes: &'a Changes,
    pub used: Option<&'a Used>,
}

/// Before a task is created.
pub(crate) fn task(
    view: &impl Rows,
    who: &Who,
    stack: &Stack,
    task: &TaskFacts,
    now: Timestamp,
) -> Result<Value, Fault> {
    let mut request = request(who, now);
    request["command"] = json!(task.command);
    request["skip_initialization"] = json!(task.skip_initialization);
    request["guest"] = json!(task.guest);
    request["declared_task"] = json!(task.declared_task);
    Ok(json!({"request": request, "session": session(who), "stack": self::stack(view, stack)?}))
}

/// A request on a stack.
pub(crate) fn access(view: &impl Rows, who: &Who, stack: &Stack, now: Timestamp) -> Result<Value, Fault> {
    Ok(json!({"request": request(who, now), "session": session(who), "stack": self::stack(view, stack)?}))
}

/// Whether a run may go on.
pub(crate) fn approval(view: &impl Rows, stack: &Stack, run: &Run, reviews: &Reviews) -> Result<Value, Fault> {
    Ok(json!({
        "run": self::run(view, run)?,
        "stack": self::stack(view, stack)?,
        "reviews": {"current": by_decision(&reviews.current), "older": by_decision(&reviews.older)},
    }))
}

/// After planning.
pub(crate) fn plan(
    view: &impl Rows,
    stack: &Stack,
    run: &Run,
    plan: &PlanFacts<'_>,
    now: Timestamp,
) -> Result<Value, Fault> {
    let resources: Vec<Value> = plan.changes.resources.iter().map(planned).collect();
    let outputs: serde_json::Map<String, Value> =
        plan.changes.outputs.iter().map(|output| (output.name.clone(), planned_output(output))).collect();
    let mut about = json!({
        "commit": commit(view, run)?,
        "request": {"timestamp_ns": nanoseconds(now)},
        "run": run_with(view, run, changed(plan.changes), plan.used)?,
        "stack": self::stack(view, stack)?,
    });
    // Where there is none, there is no such field.
    if let Some(previous) = previous(view, run)? {
        about["previous_run"] = previous;
    }
    Ok(json!({
        "spacelift": about,
        "terraform": {
            "resource_changes": resources,
            "output_changes": outputs,
            "terraform_version": run.terraform_version,
        },
        "third_party_metadata": {"custom": {}, "infracost": null},
    }))
}

/// When a run has ended: which stacks follow.
pub(crate) fn trigger(view: &impl Rows, stack: &Stack, run: &Run) -> Result<Value, Fault> {
    let mut document = self::run(view, run)?;
    document["states_history"] =
        history(view, run)?.iter().map(|entry| json!({"new_state": shout(entry.state.word())})).collect();
    let all = view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
    let stacks: Vec<Value> = all.iter().map(|other| self::stack(view, other)).collect::<Result<_, _>>()?;
    Ok(json!({"run": document, "stack": self::stack(view, stack)?, "stacks": stacks, "workflow": []}))
}

/// A run came into a state. `endpoints` are the webhooks that can be called.
pub(crate) fn notification(
    view: &impl Rows,
    stack: &Stack,
    run: &Run,
    notice: &Notice,
    endpoints: &[Webhook],
    url: &str,
) -> Result<Value, Fault> {
    let mut document = self::run(view, run)?;
    document["state"] = json!(shout(notice.state.word()));
    document["updated_at"] = json!(nanoseconds(notice.at));
    let receipt = |one: &PolicyReceipt| json!({"name": one.name, "type": shout(one.kind.word()), "outcome": one.decision.word(), "flags": []});
    document["policy_receipts"] = run.policies.iter().map(receipt).collect();
    let endpoint = |webhook: &Webhook| json!({"id": webhook.id, "labels": webhook.labels});
    Ok(json!({
        "account": {"name": ORGANIZATION},
        "run_updated": {
            "state": shout(notice.state.word()),
            "username": notice.by.name,
            "note": notice.note.clone().unwrap_or_default(),
            "run": document,
            "stack": self::stack(view, stack)?,
            "timing": timing(&history(view, run)?, notice.n),
            "urls": {"run": url},
        },
        "webhook_endpoints": endpoints.iter().map(endpoint).collect::<Vec<Value>>(),
    }))
}

/// How long each state before the n-th entry lasted.
fn timing(history: &[HistoryEntry], n: u32) -> Vec<Value> {
    let until = history.iter().take(usize::try_from(n).unwrap_or(usize::MAX));
    let pairs = until.clone().zip(until.skip(1));
    let lasted = |one: &HistoryEntry, next: &HistoryEntry| i64::try_from((next.at - one.at).as_nanos());
    let one = |(one, next): (&HistoryEntry, &HistoryEntry)| json!({"state": shout(one.state.word()), "duration": lasted(one, next).unwrap_or(i64::MAX)});
    pairs.map(one).collect()
}

fn history(view: &impl Rows, run: &Run) -> Result<Vec<HistoryEntry>, Fault> {
    view.all(t::RUN_N_TO_HISTORY, (run.seq, 0)..=(run.seq, u32::MAX))
}

fn run(view: &impl Rows, run: &Run) -> Result<Value, Fault> {
    let changes = match view.get(t::RUN_TO_CHANGES, run.seq)? {
        Some(stored) => changed(&stored.read()?),
        None => Vec::new(),
    };
    run_with(view, run, changes, None)
}

/// A run with these changes; `used` is what it is configured with, where that is not stored yet.
fn run_with(view: &impl Rows, run: &Run, changes: Vec<Value>, used: Option<&Used>) -> Result<Value, Fault> {
    let kind = if run.kind == Kind::Drift { Kind::Proposed } else { run.kind };
    Ok(json!({
        "id": run.id.to_string(),
        "number": run.number,
        "type": shout(kind.word()),
        "state": shout(run.state.word()),
        "command": run.command.as_ref().or(run.guest.as_ref()),
        "declared_task": run.declared_task,
        "branch": branch(run),
        "commit": commit(view, run)?,
        "based_on_local_workspace": matches!(run.source, SourceVersion::Upload { .. }),
        "created_at": nanoseconds(run.created_at),
        "updated_at": nanoseconds(run.updated_at),
        "creator_session": creator(view, run)?,
        "triggered_by": triggered_by(&run.triggered_by),
        "drift_detection": run.kind == Kind::Drift,
        "changes": changes,
        "flags": [],
        "plan_digest": run.plan_digest,
        "runtime_config": configured(&runtime::present(view, run, used)?),
        "user_provided_metadata": [],
    }))
}

/// The tracked run before this one on its stack, if it is not too far back; without the values that it
/// changed, because an input is bounded.
fn previous(view: &impl Rows, run: &Run) -> Result<Option<Value>, Fault> {
    let Some(before) = tracked_before(view, run)? else { return Ok(None) };
    let mut document = self::run(view, &before)?;
    for change in document["changes"].as_array_mut().into_iter().flatten() {
        change["entity"]["data"] = Value::Null;
    }
    Ok(Some(document))
}

fn tracked_before(view: &impl Rows, run: &Run) -> Result<Option<Run>, Fault> {
    let id = run.stack.number();
    let mut seqs = Vec::new();
    view.walk_index(t::STACK_RUN, (id, 0)..(id, run.seq), Order::Down, |(_, seq)| {
        seqs.push(seq);
        Ok(if seqs.len() < limits::LIST_MAX { Flow::Continue(()) } else { Flow::Break(()) })
    })?;
    for seq in seqs {
        let before: Option<Run> = view.get(t::SEQ_TO_RUN, seq)?;
        if let Some(before) = before.filter(|before| matches!(before.kind, Kind::Tracked | Kind::Destroy)) {
            return Ok(Some(before));
        }
    }
    Ok(None)
}

/// What a run is configured with. Every list of hooks is there, in the order in which they run.
fn configured(config: &RuntimeConfig) -> Value {
    let root = config.project_root.as_ref().map(RelativePath::as_str).filter(|root| !root.is_empty());
    let mut document = json!({
        "project_root": root,
        "runner_image": config.runner_image,
        "terraform_version": config.terraform_version,
        "environment": config.environment,
    });
    for point in HookPoint::ALL {
        document[point.word()] = json!(config.hooks.get(&point).map_or(&[][..], Vec::as_slice));
    }
    document
}

pub(crate) fn stack(view: &impl Rows, stack: &Stack) -> Result<Value, Fault> {
    let settings = &stack.settings;
    let latest = stack.latest_tracked.map(|id| view.run(id)).transpose()?.flatten();
    let (branch, repository) = match &settings.source {
        Some(Source::Git { url, branch, .. }) => (Some(branch.as_str()), url.as_str()),
        Some(Source::Upload { .. }) | None => (None, ""),
    };
    let root =
        settings.source.as_ref().map(Source::project_root).map(RelativePath::as_str).filter(|root| !root.is_empty());
    let workspace = match &settings.vendor {
        Vendor::Terraform { workspace, .. } | Vendor::OpenTofu { workspace, .. } => workspace.clone(),
        Vendor::Custom { .. } | Vendor::Wasi { .. } => None,
    };
    Ok(json!({
        "id": stack.slug,
        "name": settings.name,
        "namespace": "",
        "description": settings.description,
        "labels": settings.labels,
        "administrative": false,
        "roles": [],
        "autodeploy": settings.autodeploy,
        "autoretry": false,
        "branch": branch,
        "repository": repository,
        "project_root": root,
        "locked_by": stack.lock.as_ref().map(|lock| lock.by.name.clone()),
        "state": latest.as_ref().map_or_else(|| "NONE".to_owned(), |run| shout(run.state.word())),
        "terraform_version": stack.terraform_version,
        "terraform_workspace": workspace,
        "vendor": settings.vendor.word(),
        "tracked_commit": latest.as_ref().map_or(Ok(Value::Null), |run| commit(view, run))?,
        "space": {"id": "root", "labels": [], "name": "root"},
        "worker_pool": {"id": "local", "labels": [], "name": "local", "public": false},
    }))
}

/// The stored changes as entities, each with what happens to it. A replacement is both.
fn changed(changes: &Changes) -> Vec<Value> {
    let entity = |action: &str, address: &str, type_name: &str, data: Value| {
        json!({
            "action": action,
            "phase": "plan",
            "entity": {
                "address": address,
                "name": name_of(address),
                "type": type_name,
                "entity_type": if type_name == "output" { "output" } else { "resource" },
                "entity_vendor": "terraform",
                "data": data,
            },
        })
    };
    let mut found = Vec::new();
    for change in &changes.resources {
        let data = json!({"values": if change.after.is_null() { &change.before } else { &change.after }});
        for action in words(change.action) {
            found.push(entity(action, &change.address, &change.type_name, data.clone()));
        }
    }
    for change in &changes.outputs {
        for action in words(change.action) {
            found.push(entity(action, &change.name, "output", json!({"sensitive": change.sensitive})));
        }
    }
    found
}

const fn words(action: Action) -> &'static [&'static str] {
    match action {
        Action::Create => &["added"],
        Action::Update => &["changed"],
        Action::Replace => &["deleted", "added"],
        Action::Delete => &["deleted"],
        Action::Read => &[],
    }
}

/// One change in the shape of Terraform's own plan.
fn planned(change: &ResourceChange) -> Value {
    let (module, rest) = module_of(&change.address);
    let mode = if rest.starts_with("data.") { "data" } else { "managed" };
    json!({
        "address": change.address,
        "module_address": module,
        "mode": mode,
        "type": change.type_name,
        "name": name_of(&change.address),
        "provider_name": null,
        "change": {
            "actions": actions(change.action),
            "before": change.before,
            "after": change.after,
            "replace_paths": change.replace_paths,
        },
    })
}

fn planned_output(change: &OutputChange) -> Value {
    json!({"actions": actions(change.action), "before": change.before, "after": change.after})
}

const fn actions(action: Action) -> &'static [&'static str] {
    match action {
        Action::Create => &["create"],
        Action::Update => &["update"],
        Action::Replace => &["delete", "create"],
        Action::Delete => &["delete"],
        Action::Read => &["read"],
    }
}

/// `module.a.module.b` and the rest of an address.
fn module_of(address: &str) -> (Option<&str>, &str) {
    let mut end = 0;
    while let Some(rest) = address[end..].strip_prefix("module.") {
        let Some(next) = after_part(rest) else { break };
        end = address.len() - rest.len() + next;
    }
    match end {
        0 => (None, address),
        end => (Some(address[..end].trim_end_matches('.')), &address[end..]),
    }
}

/// Where the part after the next dot begins; dots in brackets do not count.
fn after_part(text: &str) -> Option<usize> {
    let mut within = false;
    for (at, c) in text.char_indices() {
        match c {
            '[' => within = true,
            ']' => within = false,
            '.' if !within => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name of a resource: the last part of its address without an index.
fn name_of(address: &str) -> &str {
    let mut rest = address;
    while let Some(at) = after_part(rest) {
        rest = &rest[at..];
    }
    rest.split('[').next().unwrap_or(rest)
}

fn by_decision(reviews: &[ReviewFacts]) -> Value {
    let of =
        |approve: bool| -> Vec<Value> { reviews.iter().filter(|one| one.approve == approve).map(review).collect() };
    json!({"approvals": of(true), "rejections": of(false)})
}

fn review(one: &ReviewFacts) -> Value {
    json!({
        "author": one.author.name,
        "author_roles": [],
        "note": one.note,
        "request": {"remote_ip": one.address.clone().unwrap_or_default(), "timestamp_ns": nanoseconds(one.at)},
        "session": {
            "login": one.author.name,
            "name": one.given_by.name,
            "teams": [],
            "machine": one.given_by.kind != ActorKind::User,
        },
        "state": shout(one.state.word()),
    })
}

fn request(who: &Who, now: Timestamp) -> Value {
    let address = who.address.map(|address| address.to_string()).unwrap_or_default();
    json!({"remote_ip": address, "timestamp_ns": nanoseconds(now)})
}

fn session(who: &Who) -> Value {
    json!({
        "admin": who.admin,
        "creator_ip": who.address.map(|address| address.to_string()).unwrap_or_default(),
        "login": who.actor.name(),
        "name": who.actor.name(),
        "teams": [],
        "machine": !matches!(who.actor, Actor::User { .. }),
    })
}

/// Who asked for a run, if a person or a key did.
fn creator(view: &impl Rows, run: &Run) -> Result<Value, Fault> {
    let by = &run.triggered_by;
    let machine = match by.kind {
        ActorKind::User => false,
        ActorKind::ApiKey => true,
        ActorKind::Commit
        | ActorKind::Tag
        | ActorKind::Policy
        | ActorKind::Schedule
        | ActorKind::Run
        | ActorKind::Task
        | ActorKind::System => return Ok(Value::Null),
    };
    let admin = !machine && view.user_by_name(&by.name)?.is_some_and(|user| user.admin);
    Ok(json!({
        "admin": admin,
        "creator_ip": "",
        "login": run.requester().name,
        "name": by.name,
        "teams": [],
        "machine": machine,
    }))
}

/// `policy/<name>`, `user/<name>`, …; null where nobody asked.
pub(crate) fn triggered_by(by: &ActorName) -> Value {
    match by.kind {
        ActorKind::System => Value::Null,
        ActorKind::User => json!(by.name),
        ActorKind::Policy => json!(format!("trigger/{}", by.name)),
        ActorKind::ApiKey
        | ActorKind::Commit
        | ActorKind::Tag
        | ActorKind::Schedule
        | ActorKind::Run
        | ActorKind::Task => json!(format!("{}/{}", by.kind.word(), by.name)),
    }
}

pub(crate) fn branch(run: &Run) -> Option<&str> {
    match &run.source {
        SourceVersion::Git { branch, .. } => Some(branch.as_str()),
        SourceVersion::Upload { .. } => None,
    }
}

/// What is known of the commit, or of the upload.
fn commit(view: &impl Rows, run: &Run) -> Result<Value, Fault> {
    let (hash, branch) = match &run.source {
        SourceVersion::Git { commit: None, .. } => return Ok(Value::Null),
        SourceVersion::Git { branch, commit: Some(commit) } => (commit.to_string(), Some(branch)),
        SourceVersion::Upload { digest } => (digest.to_string(), None),
    };
    let facts = run.commit_facts.as_ref();
    let login = |who: Option<&Signature>| who.map_or_else(|| Ok(String::new()), |who| login(view, who));
    let name = |who: Option<&Signature>| who.map(|who| who.name.clone()).unwrap_or_default();
    let (author, committer) = (facts.map(|facts| &facts.author), facts.map(|facts| &facts.committer));
    let requested = || run.message.as_ref().map(ToString::to_string).unwrap_or_default();
    let message = facts.map(|facts| facts.message.clone()).filter(|message| !message.is_empty());
    Ok(json!({
        "hash": hash,
        "branch": branch,
        "author": login(author)?,
        "author_name": name(author),
        "committer": login(committer)?,
        "committer_name": name(committer),
        "message": message.unwrap_or_else(requested),
        "created_at": nanoseconds(facts.map_or(run.created_at, |facts| facts.at)),
        "url": null,
    }))
}

/// What whoever is named in a commit is called here: the user whose name is the address, or what stands
/// before its `@`, or the name. Else the name as it is.
pub(crate) fn login(view: &impl Rows, who: &Signature) -> Result<String, Fault> {
    for name in who.candidates().filter(|name| !name.is_empty()) {
        if let Some(user) = view.user_by_name(name)? {
            return Ok(user.name.to_string());
        }
    }
    Ok(who.name.clone())
}

pub(crate) fn shout(word: &str) -> String {
    word.to_uppercase()
}

fn nanoseconds(at: Timestamp) -> i64 {
    at.millis().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_into_module_and_name() {
        assert_eq!(module_of("aws_instance.web"), (None, "aws_instance.web"));
        assert_eq!(module_of("module.a.aws_instance.web[0]"), (Some("module.a"), "aws_instance.web[0]"));
        let nested = r#"module.a["x.y"].module.b.data.aws_ami.latest["k.l"]"#;
        assert_eq!(module_of(nested), (Some(r#"module.a["x.y"].module.b"#), r#"data.aws_ami.latest["k.l"]"#));
        assert_eq!(name_of(nested), "latest");
        assert_eq!(name_of("aws_instance.web[0]"), "web");
    }

    #[test]
    fn a_replacement_is_a_deletion_and_an_addition() {
        let change = ResourceChange {
            address: "aws_db_instance.main".to_owned(),
            type_name: "aws_db_instance".to_owned(),
            action: Action::Replace,
            before: json!({"size": 1}),
            after: json!({"size": 2}),
            sensitive: Vec::new(),
            replace_paths: vec!["/size".to_owned()],
        };
        assert_eq!(planned(&change)["change"]["actions"], json!(["delete", "create"]));
        let changes = Changes { resources: vec![change], outputs: Vec::new() };
        let actions: Vec<_> = changed(&changes).iter().map(|one| one["action"].clone()).collect();
        assert_eq!(actions, ["deleted", "added"]);
    }
}
