//! What several resources show alike: actors, stacks, runs.

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{guests::ReceiptShape, run_tasks::StageShape, runtime::RuntimeShape, words};
use crate::{
    domain::{
        Approval, BlockedBy, Delta, Digest, Kind, Note, Phase, PolicyKind, PolicyName, PolicyReceipt, ReviewDecision,
        Role, RunId, Slug, State, Timestamp, Verdict,
        actor::ActorName,
        runtime::Origin,
        stack::{Lock, StackSettings},
    },
    http::{Problem, Web, extract::stack_id},
    queries::{self, PhaseRow, Review, RoleOnStack, RunDetail, StackRow, Standing},
};

/// Who did something, or what set it off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Actor)]
pub(super) struct ActorShape {
    #[schema(schema_with = words::actor_kind)]
    pub kind: &'static str,
    pub name: String,
}

impl From<&ActorName> for ActorShape {
    fn from(actor: &ActorName) -> Self {
        Self { kind: actor.kind.word(), name: actor.name.clone() }
    }
}

/// Where a value comes from: `trigger`, `config_entry` (the stack's entry in the configuration file),
/// `stack`, `context`, `automatic_context`, `stack_defaults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Source)]
pub(super) struct OriginShape {
    pub kind: &'static str,
    /// Of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

impl From<&Origin> for OriginShape {
    fn from(origin: &Origin) -> Self {
        let priority = match origin {
            Origin::Context { priority, .. } => Some(*priority),
            Origin::Trigger
            | Origin::ConfigEntry
            | Origin::Stack
            | Origin::AutomaticContext { .. }
            | Origin::StackDefaults => None,
        };
        Self { kind: origin.word(), name: origin.context().map(ToString::to_string), priority }
    }
}

/// A role on one stack, named by its slug.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoleOnStack)]
pub(super) struct RoleShape {
    #[schema(value_type = String)]
    pub stack: Slug,
    #[schema(schema_with = words::role)]
    pub role: Role,
}

impl RoleShape {
    /// Roles on stacks that still exist.
    pub(super) fn all_of(web: &Web, roles: &[RoleOnStack]) -> Result<Vec<Self>, Problem> {
        let mut shown = Vec::new();
        for role in roles {
            shown.extend(web.queries.slug_of(role.stack)?.map(|stack| Self { stack, role: role.role }));
        }
        Ok(shown)
    }

    /// The roles that an admin wrote down.
    pub(super) fn read_all(web: &Web, roles: &[Self]) -> Result<Vec<RoleOnStack>, Problem> {
        roles.iter().map(|role| Ok(RoleOnStack { stack: stack_id(web, &role.stack)?, role: role.role })).collect()
    }
}

/// Nothing is to be said: no body, `{}` or null.
#[derive(Deserialize, ToSchema)]
#[serde(from = "Option<NoFields>", deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

impl From<Option<NoFields>> for Nothing {
    fn from(_: Option<NoFields>) -> Self {
        Self {}
    }
}

/// Who keeps others from changing a stack.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lock)]
pub(super) struct LockShape {
    by: ActorShape,
    #[schema(value_type = Option<String>)]
    note: Option<Note>,
    #[schema(schema_with = words::time)]
    since: Timestamp,
}

impl From<&Lock> for LockShape {
    fn from(lock: &Lock) -> Self {
        Self { by: (&lock.by).into(), note: lock.note.clone(), since: lock.since }
    }
}

/// A stack: its settings, and how it stands.
#[derive(Debug, Serialize)]
pub(super) struct StackShape {
    slug: Slug,
    #[serde(flatten)]
    settings: StackSettings,
    /// The state of the tracked or destroy run that has the stack to itself, else of the newest; null
    /// before the first.
    state: Option<State>,
    /// Where lists show it, such as `needs_attention`.
    group: &'static str,
    lock: Option<LockShape>,
    /// The id of its newest tracked or destroy run.
    latest_run: Option<RunId>,
    created_at: Timestamp,
}

impl From<StackRow> for StackShape {
    fn from(row: StackRow) -> Self {
        let state = row.current().map(|run| run.state);
        Self {
            slug: row.stack.slug,
            settings: row.stack.settings,
            state,
            group: row.group.word(),
            lock: row.stack.lock.as_ref().map(Into::into),
            latest_run: row.latest.map(|run| run.id),
            created_at: row.stack.created_at,
        }
    }
}

impl PartialSchema for StackShape {
    fn schema() -> RefOr<Schema> {
        let further = vec![
            ("slug", words::text()),
            ("state", words::maybe_state()),
            ("group", words::text()),
            ("lock", words::maybe_lock()),
            ("latest_run", words::maybe_text()),
            ("created_at", words::time()),
        ];
        words::stack(usize::MAX, further)
    }
}

impl ToSchema for StackShape {
    fn name() -> std::borrow::Cow<'static, str> {
        "Stack".into()
    }
}

/// A run with everything that belongs to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunShape {
    #[schema(value_type = String)]
    id: RunId,
    /// Counts the runs of its stack.
    number: u64,
    /// The stack's slug.
    #[schema(value_type = String)]
    stack: Slug,
    #[schema(schema_with = words::kind)]
    kind: Kind,
    #[schema(schema_with = words::state)]
    state: State,
    reason: Option<String>,
    triggered_by: ActorShape,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    /// Null for uploads, and until the branch was resolved.
    commit: Option<String>,
    message: Option<String>,
    command: Option<String>,
    skip_initialization: bool,
    exit_code: Option<i32>,
    #[schema(schema_with = words::maybe_verdict)]
    verdict: Option<Verdict>,
    #[schema(schema_with = words::maybe_delta)]
    delta: Option<Delta>,
    #[schema(value_type = Option<String>)]
    plan_digest: Option<Digest>,
    blocked_by: Option<BlockedShape>,
    prioritized: bool,
    /// Addresses of a targeted replan.
    targets: Vec<String>,
    /// The run that this one is a retry or the promotion of.
    #[schema(value_type = Option<String>)]
    retry_of: Option<RunId>,
    declared_task: Option<String>,
    /// What it was configured with and used; null before its source was fetched, if it was given none.
    runtime_config: Option<RuntimeShape>,
    warnings: Vec<String>,
    /// What policies said about it.
    policies: Vec<ReceiptOfPolicy>,
    reviews: Vec<ReviewShape>,
    /// Where it stands with its approval policies; null while nobody is to be asked.
    approval: Option<ApprovalShape>,
    comments: Vec<CommentShape>,
    phases: Vec<PhaseShape>,
    /// Every change of state, in order.
    history: Vec<HistoryShape>,
    /// What else happened to it, in order.
    remarks: Vec<RemarkShape>,
    /// The stages at which run tasks were called, in order.
    run_tasks: Vec<StageShape>,
    /// The guest that it runs, as it would be typed.
    guest: Option<String>,
    /// The run whose guest made the changes that this one is about.
    #[schema(value_type = Option<String>)]
    patched_by: Option<RunId>,
    /// Of its last guest.
    #[schema(schema_with = words::maybe_receipt)]
    receipt: Option<ReceiptShape>,
    links: Links,
}

/// What one policy said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyReceipt)]
struct ReceiptOfPolicy {
    #[schema(value_type = String)]
    name: PolicyName,
    #[schema(schema_with = words::policy_kind)]
    kind: PolicyKind,
    /// `allow`, `warn`, `deny`, `approve`, `reject`, `undecided`, `trigger`, `error`.
    decision: &'static str,
    messages: Vec<String>,
}

impl From<PolicyReceipt> for ReceiptOfPolicy {
    fn from(receipt: PolicyReceipt) -> Self {
        let PolicyReceipt { name, kind, decision, messages } = receipt;
        Self { name, kind, decision: decision.word(), messages }
    }
}

/// What a run waits for: `run` (with its id), `lock` (with who holds it), `approval`, `slot`,
/// `upstream`, `disk`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BlockedBy)]
struct BlockedShape {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<ActorShape>,
}

impl From<BlockedBy> for BlockedShape {
    /// A held state is a lock, and so is a stack that was switched off: nobody but people releases them.
    fn from(blocked: BlockedBy) -> Self {
        let (kind, run, by) = match blocked {
            BlockedBy::Run { run, .. } => ("run", Some(run), None),
            BlockedBy::Lock { by } | BlockedBy::State { by } => ("lock", None, Some((&by).into())),
            BlockedBy::Disabled => ("lock", None, Some((&ActorName::system()).into())),
            BlockedBy::Approval => ("approval", None, None),
            BlockedBy::Slot | BlockedBy::Pool { .. } => ("slot", None, None),
            BlockedBy::Upstream { run } => ("upstream", Some(run), None),
            BlockedBy::Disk => ("disk", None, None),
        };
        Self { kind, run, by }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comment)]
struct CommentShape {
    #[schema(schema_with = words::time)]
    at: Timestamp,
    actor: ActorShape,
    text: String,
}

/// What one person said about a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Review)]
struct ReviewShape {
    #[schema(schema_with = words::time)]
    at: Timestamp,
    actor: ActorShape,
    #[schema(schema_with = words::review_decision)]
    decision: ReviewDecision,
    note: Option<String>,
    /// The state that the run was in.
    #[schema(schema_with = words::state)]
    state: State,
    /// The plan that was looked at.
    #[schema(value_type = Option<String>)]
    plan_digest: Option<Digest>,
    /// Whether it counts for what the run waits with now; one before a replan does not, and neither does
    /// one that the same person has replaced.
    current: bool,
}

impl ReviewShape {
    fn new(review: &Review, current: bool) -> Self {
        Self {
            at: review.at,
            actor: (&review.by.public()).into(),
            decision: review.decision,
            note: review.note.as_ref().map(ToString::to_string),
            state: review.state,
            plan_digest: review.plan_digest.clone(),
            current,
        }
    }
}

/// What the approval policies said: `given`, `open` or `refused`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Approval)]
struct ApprovalShape {
    decision: &'static str,
    /// What is needed, as a sentence.
    missing: Option<String>,
}

impl From<&Standing> for ApprovalShape {
    fn from(standing: &Standing) -> Self {
        let (decision, missing) = match standing.approval {
            Approval::Given => ("given", None),
            Approval::Open => ("open", Some(standing.missing(None))),
            Approval::Refused => ("refused", None),
        };
        Self { decision, missing }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Phase)]
struct PhaseShape {
    #[schema(schema_with = words::phase)]
    name: Phase,
    /// `running`, `finished`, `failed`, `stopped`.
    state: &'static str,
    #[schema(schema_with = words::time)]
    started_at: Timestamp,
    #[schema(schema_with = words::maybe_time)]
    finished_at: Option<Timestamp>,
    #[schema(schema_with = words::maybe_verdict)]
    verdict: Option<Verdict>,
    log_bytes: u64,
}

impl PhaseShape {
    fn new(row: &PhaseRow, log_bytes: u64) -> Self {
        let state = match &row.verdict {
            None if row.finished_at.is_none() => "running",
            Some(Verdict::Stopped) => "stopped",
            // A plan with changes exits with 2.
            Some(Verdict::Exited { code: 2 }) if row.phase == Phase::Planning => "finished",
            Some(verdict) if verdict.is_success() => "finished",
            Some(_) | None => "failed",
        };
        Self {
            name: row.phase,
            state,
            started_at: row.started_at,
            finished_at: row.finished_at,
            verdict: row.verdict.clone(),
            log_bytes,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
struct HistoryShape {
    #[schema(schema_with = words::state)]
    state: State,
    #[schema(schema_with = words::time)]
    at: Timestamp,
    actor: ActorShape,
    note: Option<String>,
    reason: Option<String>,
}

/// Something that happened to a run and left it in its state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Remark)]
struct RemarkShape {
    #[schema(schema_with = words::time)]
    at: Timestamp,
    actor: ActorShape,
    text: String,
    note: Option<String>,
}

/// Where to go on from a run.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    stack: String,
    changes: String,
    log: String,
    events: String,
    artifacts: String,
    receipt: String,
    patch: String,
    /// For people.
    page: String,
}

impl RunShape {
    pub(super) fn new(web: &Web, detail: RunDetail) -> Self {
        let blocked_by = queries::blocked_by(&detail.run).map(Into::into);
        let links = Links::of(web, &detail.run);
        let phases = detail.run.phases.iter().zip(&detail.log_bytes);
        let phases = phases.map(|(row, bytes)| PhaseShape::new(row, *bytes)).collect();
        let counts = queries::current_reviews(&detail.reviews, &detail.run);
        let counts = |review: &Review| counts.iter().any(|one| std::ptr::eq(*one, review));
        let reviews = detail.reviews.iter().map(|review| ReviewShape::new(review, counts(review))).collect();
        let run = detail.run;
        Self {
            id: run.id,
            number: run.number,
            kind: run.kind,
            state: run.state,
            reason: run.reason,
            triggered_by: (&run.triggered_by).into(),
            created_at: run.created_at,
            updated_at: run.updated_at,
            commit: run.source.commit().map(ToString::to_string),
            stack: run.slug,
            message: run.message.map(|message| message.to_string()),
            command: run.command,
            skip_initialization: run.skip_initialization,
            exit_code: run.exit_code,
            verdict: run.verdict,
            delta: run.delta,
            plan_digest: run.plan_digest,
            blocked_by,
            prioritized: run.prioritized,
            targets: run.targets,
            retry_of: run.retry_of,
            declared_task: run.declared_task.as_ref().map(ToString::to_string),
            runtime_config: detail.runtime.map(Into::into),
            warnings: run.warnings,
            policies: run.policies.into_iter().map(Into::into).collect(),
            reviews,
            approval: detail.standing.as_ref().map(ApprovalShape::from),
            comments: detail.comments.iter().map(CommentShape::from).collect(),
            phases,
            history: detail.history.into_iter().map(HistoryShape::from).collect(),
            remarks: detail.remarks.into_iter().map(RemarkShape::from).collect(),
            run_tasks: detail.stages.into_iter().map(StageShape::from).collect(),
            guest: run.guest,
            patched_by: run.patched.map(|patched| patched.run),
            receipt: ReceiptShape::last(detail.left),
            links,
        }
    }
}

impl From<&queries::Comment> for CommentShape {
    fn from(comment: &queries::Comment) -> Self {
        Self { at: comment.at, actor: (&comment.actor).into(), text: comment.text.to_string() }
    }
}

impl From<queries::HistoryEntry> for HistoryShape {
    fn from(entry: queries::HistoryEntry) -> Self {
        Self { state: entry.state, at: entry.at, actor: (&entry.actor).into(), note: entry.note, reason: entry.reason }
    }
}

impl From<queries::Remark> for RemarkShape {
    fn from(remark: queries::Remark) -> Self {
        Self { at: remark.at, actor: (&remark.actor).into(), text: remark.text, note: remark.note }
    }
}

impl Links {
    fn of(web: &Web, run: &queries::Run) -> Self {
        let this = run_path(run.id);
        Self {
            stack: format!("{}/stacks/{}", super::PREFIX, run.slug),
            changes: format!("{this}/changes"),
            log: format!("{this}/log"),
            events: format!("{this}/events"),
            artifacts: format!("{this}/artifacts"),
            receipt: format!("{this}/receipt"),
            patch: format!("{this}/patch"),
            page: format!("{}/runs/{}", web.actions.setup().public_url, run.id),
            this,
        }
    }
}

pub(super) fn run_path(run: RunId) -> String {
    format!("{}/runs/{run}", super::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_waits_for_is_one_of_the_documented_words() {
        let by = ActorName::system;
        let cases = [
            (BlockedBy::Run { run: RunId::from_number(1), number: 1 }, "run"),
            (BlockedBy::Lock { by: by() }, "lock"),
            (BlockedBy::State { by: by() }, "lock"),
            (BlockedBy::Disabled, "lock"),
            (BlockedBy::Approval, "approval"),
            (BlockedBy::Slot, "slot"),
            (BlockedBy::Pool { most: 3 }, "slot"),
            (BlockedBy::Upstream { run: RunId::from_number(1) }, "upstream"),
            (BlockedBy::Disk, "disk"),
        ];
        for (blocked, word) in cases {
            assert_eq!(BlockedShape::from(blocked).kind, word);
        }
    }
}
