//! What outside checks said about a run: the tab, the phases beside it, one outcome as a page.

use axum::extract::{Path, State};

use super::{
    super::{
        cookies::Carried,
        sent::Sent,
        show::{Rev, Rows},
        visitor::{Answer, Visitor},
    },
    frame, id_of, subject,
};
use crate::{
    auth::Permission,
    domain::{
        Enforcement, ResultStatus, Role, RunId, TaskResultId, TaskStageId,
        run_task::{Outcome, OutcomeTag},
    },
    http::{
        Problem, Web,
        view::{
            OutcomePage,
            markdown::{self, Markdown},
            run::PhaseRow,
            run_task::{
                BODIES_SHOWN, LabelView, OUTCOMES_SHOWN, OutcomeView, ResultView, RunTasksView, StageView,
                result_badge, stage_badge_with,
            },
            status::{Moment, Took},
            words,
        },
    },
    queries::{Run, RunDetail, StageDetail, TaskResult},
};

/// Whether the tab is there at all.
pub fn has_any(detail: &RunDetail) -> bool {
    !detail.stages.is_empty()
}

/// Changes with the stack and with whatever checks say.
pub fn rev(stack_version: u64, stages: &[StageDetail]) -> u64 {
    stages
        .iter()
        .fold(Rev::default().with(stack_version), |rev, stage| {
            let results = stage.results.iter().map(|result| (result.status, result.updated_at)).collect::<Vec<_>>();
            rev.with((stage.row.status, results))
        })
        .number()
}

/// The tab's content.
pub fn view(web: &Web, visitor: &Visitor, detail: &RunDetail, rev: u64) -> Result<RunTasksView, Problem> {
    let admin = visitor.who.role_on(detail.run.stack) >= Some(Role::Admin);
    let mut bytes = BODIES_SHOWN;
    let mut stages = Vec::with_capacity(detail.stages.len());
    // The newest stage comes first: it is what somebody looks for.
    for stage in detail.stages.iter().rev() {
        stages.push(stage_view(web, &detail.run, stage, admin, &mut bytes)?);
    }
    let empty = "Run tasks of this stack say here what they think of the run, once they were called.".to_owned();
    Ok(RunTasksView { rev, stages, empty })
}

fn stage_view(web: &Web, run: &Run, stage: &StageDetail, admin: bool, bytes: &mut usize) -> Result<StageView, Problem> {
    let now = web.queries.now();
    let mut results = Vec::with_capacity(stage.results.len());
    for result in &stage.results {
        results.push(result_view(web, run, result, bytes)?);
    }
    let row = &stage.row;
    let overridden =
        row.overridden.as_ref().map(|it| (it.by.name.clone(), Moment::new(it.at, now), it.comment.clone()));
    Ok(StageView {
        id: row.id.to_string(),
        title: row.stage.title(),
        word: row.stage.word(),
        badge: stage_badge_with(row.status, warnings(stage)),
        results,
        overridden,
        may_override: (admin && may_override(run, stage)).then(|| {
            "Overriding ends this stage now: the run goes on, whatever its checks say or said. It is written to the \
             audit log with your name."
                .to_owned()
        }),
    })
}

/// Whether an admin can let the run go on: while its checks are asked, and where they can stop it.
fn may_override(run: &Run, stage: &StageDetail) -> bool {
    let row = &stage.row;
    row.stage.can_stop() && !row.status.is_final() && row.n == run.stages && run.checking == Some(row.stage)
}

fn result_view(web: &Web, run: &Run, result: &TaskResult, bytes: &mut usize) -> Result<ResultView, Problem> {
    let outcomes = web.queries.outcomes(result)?;
    let hidden = outcomes.len().saturating_sub(OUTCOMES_SHOWN);
    let shown = outcomes.iter().take(OUTCOMES_SHOWN).enumerate();
    let now = web.queries.now();
    Ok(ResultView {
        id: result.id.to_string(),
        name: result.name.to_string(),
        badge: result_badge(result.status),
        mandatory: result.enforcement == Enforcement::Mandatory && result.stage.can_stop(),
        message: markdown::visible(&result.message),
        link: markdown::address(&result.url),
        took: Some(match result.ended_at {
            Some(end) => Took::ended(end - result.created_at),
            None => Took::going_on(result.created_at, now),
        }),
        outcomes: shown.map(|(n, outcome)| outcome_view(run.id, result.id, n, outcome, bytes)).collect(),
        hidden,
    })
}

fn outcome_view(run: RunId, result: TaskResultId, n: usize, outcome: &Outcome, bytes: &mut usize) -> OutcomeView {
    let body = Markdown::read_at_most(&outcome.body, *bytes);
    *bytes = bytes.saturating_sub(outcome.body.len());
    let whole = body.cut.then(|| format!("/runs/{run}/outcomes/{result}/{n}"));
    OutcomeView { body, whole, ..bare(outcome) }
}

/// Everything of an outcome but its body.
fn bare(outcome: &Outcome) -> OutcomeView {
    let labels = |tag: &OutcomeTag| {
        let coloured = tag.is_coloured();
        let label = |it: &crate::domain::run_task::OutcomeLabel| LabelView {
            text: markdown::visible(&it.label),
            level: it.level,
            coloured,
        };
        (markdown::visible(&tag.name), tag.labels.iter().map(label).collect())
    };
    OutcomeView {
        id: markdown::visible(&outcome.outcome_id),
        description: markdown::visible(&outcome.description),
        tags: outcome.tags.iter().map(labels).collect(),
        body: Markdown::default(),
        whole: None,
        link: markdown::address(&outcome.url),
    }
}

/// `/runs/{id}/outcomes/{result}/{n}`
pub async fn get_outcome(
    State(web): State<Web>,
    visitor: Visitor,
    Path((id, result, n)): Path<(String, String, usize)>,
) -> Answer {
    let run = web.queries.run(&visitor.who, id_of(&id)?)?;
    let missing = || Problem::not_found("there is no such outcome");
    let result: TaskResultId = result.parse().map_err(|_| missing())?;
    let result = web.queries.task_result(&visitor.who, result)?;
    if result.run != run.id {
        return Err(missing());
    }
    let outcome = web.queries.outcomes(&result)?.into_iter().nth(n).ok_or_else(missing)?;
    let rows = Rows { now: web.queries.now(), names: super::super::lists::names_of(&web, [&run])? };
    let shown = OutcomeView { body: Markdown::read(&outcome.body), ..bare(&outcome) };
    let page = OutcomePage {
        frame: frame(&visitor, &rows, &run, Some("Outcome"))?,
        badge: result_badge(result.status),
        title: format!("{} · {}", shown.description, subject(&run, &rows.stack(&run).name)),
        run_task: result.name.to_string(),
        run_href: format!("/runs/{}?tab=run_tasks", run.id),
        outcome: shown,
    };
    visitor.page(&page)
}

/// How many of a stage's checks did not pass: where the stage itself did, these only warn.
fn warnings(stage: &StageDetail) -> usize {
    let bad = |result: &&TaskResult| {
        matches!(result.status, ResultStatus::Failed | ResultStatus::Errored | ResultStatus::Unreachable)
    };
    stage.results.iter().filter(bad).count()
}

/// `2 passed, 1 failed`
fn counts(stage: &StageDetail) -> String {
    let count = |status: ResultStatus| stage.results.iter().filter(|result| result.status == status).count();
    let parts = ResultStatus::ALL.map(|status| (count(status), status.word()));
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{} {word}", words::number(n as u64)))
        .collect();
    parts.join(", ")
}

/// A stage among the phases.
pub fn phase_row(run: &Run, stage: &StageDetail) -> PhaseRow {
    let mut badge = stage_badge_with(stage.row.status, warnings(stage));
    badge.word = format!("Checks {}", stage.row.stage.title().to_lowercase());
    PhaseRow {
        badge,
        took: None,
        note: Some(counts(stage)),
        bar: None,
        now: !stage.row.status.is_final(),
        ahead: false,
        href: Some(format!("/runs/{}?tab=run_tasks", run.id)),
    }
}

/// Lets a run go on although a mandatory check did not pass.
pub async fn override_stage(web: &Web, visitor: &Visitor, id: RunId, sent: &Sent) -> Answer {
    let (run, permit) = visitor.may_on_run(Permission::OverrideRunTasks, id).await?;
    let stage: TaskStageId = sent.text("stage").parse().map_err(|_| Problem::not_found("there is no such stage"))?;
    let (of, _) = web.queries.stage(&visitor.who, stage)?;
    if of.id != run.id {
        return Err(Problem::not_found("the run has no such stage"));
    }
    web.actions.override_stage(&permit, stage, sent.filled("note").map(str::to_owned)).await?;
    let text = "The stage was overridden: the run goes on, whatever its checks say.";
    visitor.done(&format!("/runs/{id}?tab=run_tasks"), Carried::good(text))
}
