//! Stages of runs, and what run tasks said there.

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Answer,
    document::{Document, Given, Wanted, reference, times},
    workspaces,
};
use crate::{
    auth::Permission,
    domain::{
        Enforcement, Kind, ResultStatus, Role, RunId, StageStatus, State, TaskResultId, TaskStageId,
        run_task::{outward, workspace_id},
    },
    http::{
        Web,
        extract::{Asker, At},
    },
    queries::{Run, StageDetail, TaskResult},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v2/runs/{id}/task-stages", get(of_run))
        .route("/api/v2/task-stages/{id}", get(one))
        .route("/api/v2/task-stages/{id}/actions/override", post(over))
        .route("/api/v2/task-results/{id}", get(result))
}

async fn of_run(asker: Asker, At(run): At<RunId>, wanted: Wanted) -> Answer<Document> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    let stages = asker.web.queries.stages(&run)?;
    Ok(wanted.page(stages, |stage| resource(&asker, &run, &stage)))
}

async fn one(asker: Asker, At(id): At<TaskStageId>, wanted: Wanted) -> Answer<Document> {
    let (run, stage) = asker.web.queries.stage(&asker.who, id)?;
    let mut included = Vec::new();
    if wanted.includes("run") {
        included.push(run_resource(&run));
    }
    if wanted.includes_below("run.workspace") {
        included.push(workspaces::workspace(run.stack, &run.slug));
    }
    if wanted.includes("task-results") {
        included.extend(stage.results.iter().map(|result| result_resource(&run, result)));
    }
    Ok(Document::of(resource(&asker, &run, &stage)).including(included))
}

async fn over(asker: Asker, At(id): At<TaskStageId>, given: Given) -> Answer<Document> {
    let (run, _) =
        asker.seen(Permission::OverrideRunTasks, &id.to_string(), asker.web.queries.stage(&asker.who, id)).await?;
    let (_, permit) = asker.may_on_run(Permission::OverrideRunTasks, run.id).await?;
    let comment = given.member("comment").map(str::to_owned);
    asker.web.actions.override_stage(&permit, id, comment).await?;
    let (run, stage) = asker.web.queries.stage(&asker.who, id)?;
    Ok(Document::of(resource(&asker, &run, &stage)))
}

async fn result(asker: Asker, At(id): At<TaskResultId>) -> Answer<Document> {
    let result = asker.web.queries.task_result(&asker.who, id)?;
    let run = asker.web.queries.run(&asker.who, result.run)?;
    Ok(Document::of(result_resource(&run, &result)))
}

/// Whether an admin may let the run go on: while its checks are asked, and where they can stop it.
fn is_overridable(run: &Run, stage: &StageDetail) -> bool {
    let row = &stage.row;
    row.stage.can_stop() && !row.status.is_final() && run.checking == Some(row.stage) && run.stages == row.n
}

/// Whether a check that can stop the run did not pass, while others are still asked.
fn awaits_override(stage: &StageDetail) -> bool {
    let stops = |result: &TaskResult| result.enforcement == Enforcement::Mandatory && result.status.is_final();
    stage.results.iter().any(|result| stops(result) && result.status != ResultStatus::Passed)
}

fn resource(asker: &Asker, run: &Run, stage: &StageDetail) -> Value {
    let row = &stage.row;
    let id = outward(row.id);
    let overridable = is_overridable(run, stage);
    let may = asker.who.role_on(run.stack) >= Some(Role::Admin);
    let status = match row.status {
        // Their clients know no word for it; who did it is in our own API.
        StageStatus::Overridden => StageStatus::Passed.word(),
        _ if overridable && awaits_override(stage) => "awaiting_override",
        status => status.word(),
    };
    let ended = |wanted: StageStatus| row.ended_at.filter(|_| row.status == wanted);
    json!({
        "id": id,
        "type": "task-stages",
        "attributes": {
            "stage": row.stage,
            "status": status,
            "status-timestamps": times([
                ("running-at", Some(row.created_at)),
                ("passed-at", ended(StageStatus::Passed).or(ended(StageStatus::Overridden))),
                ("failed-at", ended(StageStatus::Failed)),
                ("errored-at", ended(StageStatus::Errored).or(ended(StageStatus::Unreachable))),
                ("canceled-at", ended(StageStatus::Canceled)),
            ]),
            "created-at": row.created_at,
            "updated-at": row.ended_at.unwrap_or(row.created_at),
            "permissions": {"can-override-policy": false, "can-override-tasks": may, "can-override": may},
            "actions": {"is-overridable": overridable},
        },
        "relationships": {
            "run": {"data": reference("runs", run.id)},
            "task-results": {"data": row.results.iter().map(|id| reference("task-results", id)).collect::<Vec<_>>()},
            "policy-evaluations": {"data": []},
        },
        "links": {"self": format!("/api/v2/task-stages/{id}")},
    })
}

fn result_resource(run: &Run, result: &TaskResult) -> Value {
    let id = outward(result.id);
    let ended = |wanted: ResultStatus| result.ended_at.filter(|_| result.status == wanted);
    json!({
        "id": id,
        "type": "task-results",
        "attributes": {
            "message": result.message,
            "status": result.status,
            "status-timestamps": times([
                ("running-at", result.running_at),
                ("passed-at", ended(ResultStatus::Passed)),
                ("failed-at", ended(ResultStatus::Failed)),
                ("errored-at", ended(ResultStatus::Errored).or(ended(ResultStatus::Unreachable))),
                ("canceled-at", ended(ResultStatus::Canceled)),
            ]),
            "url": (!result.url.is_empty()).then_some(&result.url),
            "created-at": result.created_at,
            "updated-at": result.updated_at,
            "task-id": outward(result.run_task),
            "task-name": result.name,
            // The address may be a secret of the admins.
            "task-url": null,
            "stage": result.stage,
            "is-speculative": run.kind.is_speculative(),
            "workspace-task-id": outward(result.attachment),
            "workspace-task-enforcement-level": result.enforcement,
            "agent-pool-id": null,
        },
        "relationships": {"task-stage": {"data": reference("task-stages", result.stage_id)}},
        "links": {"self": format!("/api/v2/task-results/{id}")},
    })
}

/// What clients need to know of a run beside its stages.
fn run_resource(run: &Run) -> Value {
    json!({
        "id": outward(run.id),
        "type": "runs",
        "attributes": {
            "status": status_of(run),
            "message": run.message,
            "created-at": run.created_at,
            "has-changes": run.changes,
            "is-destroy": run.kind == Kind::Destroy,
            "plan-only": run.kind.is_speculative(),
        },
        "relationships": {
            "workspace": {"data": {"id": workspace_id(run.stack), "type": "workspaces"}},
        },
    })
}

/// A run's state in their words.
fn status_of(run: &Run) -> &'static str {
    use crate::domain::Stage;
    match run.state {
        State::Queued | State::Ready => "pending",
        State::Preparing | State::Initializing => "fetching",
        State::Planning | State::ReplanRequested => "planning",
        State::Checking => match run.checking {
            Some(Stage::PrePlan) => "pre_plan_running",
            Some(Stage::PostPlan) | None => "post_plan_running",
            Some(Stage::PreApply) => "pre_apply_running",
            Some(Stage::PostApply) => "applying",
        },
        State::Unconfirmed => "planned",
        State::PendingReview => "policy_checked",
        State::Confirmed => "confirmed",
        State::PreparingApply | State::Applying | State::Performing | State::Destroying => "applying",
        State::Finished if run.changes == Some(true) && run.kind.is_blocking() => "applied",
        State::Finished => "planned_and_finished",
        State::Failed => "errored",
        State::Discarded => "discarded",
        State::Canceled | State::Stopped | State::Skipped => "canceled",
    }
}
