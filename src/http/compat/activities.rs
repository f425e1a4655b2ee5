//! Runs of declared tasks as activities.

use axum::{
    Router,
    extract::RawQuery,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Answer, Caller, environment_of_run,
    hal::{Hal, environment_path, escaped, links, project_path, time},
};
use crate::{
    actions::Decision,
    auth::Permission,
    domain::{Kind, Phase, RunId, State, Timestamp, Verdict, limits},
    http::{Problem, Web, extract::At},
    queries::{Run, RunFilter, Stack},
};

/// The one type of activity that there is.
const TYPE: &str = "environment.task";
/// Activities of one list, when nothing is said.
const COUNT: usize = 10;

pub(super) fn routes() -> Router<Web> {
    const PROJECT: &str = "/projects/{project}/activities";
    const ENVIRONMENT: &str = "/projects/{project}/environments/{environment}/activities";
    Router::new()
        .route(PROJECT, get(of_project))
        .route(&format!("{PROJECT}/{{id}}"), get(one_of_project))
        .route(&format!("{PROJECT}/{{id}}/cancel"), post(cancel_of_project))
        .route(ENVIRONMENT, get(of_environment))
        .route(&format!("{ENVIRONMENT}/{{id}}"), get(one_of_environment))
        .route(&format!("{ENVIRONMENT}/{{id}}/cancel"), post(cancel_of_environment))
}

async fn of_project(caller: Caller, At(project): At<String>, RawQuery(query): RawQuery) -> Answer<Hal> {
    let (stack, _) = caller.may(Permission::See, &project).await?;
    list(&caller, &stack, None, &Wanted::read(query.as_deref())?)
}

async fn of_environment(
    caller: Caller,
    At((project, environment)): At<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer<Hal> {
    let (stack, _) = caller.may_in(Permission::See, &project, &environment).await?;
    list(&caller, &stack, Some(&environment), &Wanted::read(query.as_deref())?)
}

/// Which activities a list shows. Lists may be repeated fields, with or without `[]`.
#[derive(Debug, Default)]
struct Wanted {
    types: Vec<String>,
    states: Vec<String>,
    result: Option<String>,
    count: usize,
    before: Option<Timestamp>,
}

impl Wanted {
    fn read(query: Option<&str>) -> Answer<Self> {
        let mut wanted = Self { count: COUNT, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let bad = || Problem::of_status(StatusCode::BAD_REQUEST, format!("`{name}` cannot be `{value}`"));
            let base = name.split('[').next().unwrap_or_default();
            match base {
                "type" => wanted.types.push(value.into_owned()),
                "state" => wanted.states.push(value.into_owned()),
                "result" => wanted.result = Some(value.into_owned()),
                "count" => wanted.count = value.parse::<usize>().map_err(|_| bad())?.clamp(1, limits::LIST_MAX),
                // A `+` that nobody encoded came as a blank.
                "starts_at" => wanted.before = Some(value.replace(' ', "+").parse().map_err(|_| bad())?),
                // Others filter by what all of these have in common, or are not known to us.
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn fits(&self, run: &Run) -> bool {
        let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|one| one == word);
        any(&self.types, TYPE)
            && any(&self.states, state_of(run.state))
            && self.result.as_deref().is_none_or(|result| result_of(run.state) == Some(result))
            && self.before.is_none_or(|before| run.created_at < before)
    }
}

fn list(caller: &Caller, stack: &Stack, environment: Option<&str>, wanted: &Wanted) -> Answer<Hal> {
    let filter = RunFilter { stack: Some(stack.id), kinds: vec![Kind::OnDemand], ..RunFilter::default() };
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = caller.web.queries.runs(&caller.who, &filter, cursor.as_ref(), limits::PAGE_ROWS)?;
        let fits = |run: &&Run| {
            caller.sees(run) && wanted.fits(run) && environment.is_none_or(|name| environment_of_run(run) == name)
        };
        for run in page.items.iter().filter(fits).take(wanted.count - found.len()) {
            found.push(shape(&caller.web, run)?);
        }
        cursor = page.next;
        if cursor.is_none() || found.len() >= wanted.count {
            return Ok(Hal(Value::Array(found)));
        }
    }
}

async fn one_of_project(caller: Caller, At((project, id)): At<(String, String)>) -> Answer<Hal> {
    let run = find(&caller, &project, None, &id).await?;
    Ok(Hal(shape(&caller.web, &run)?))
}

async fn one_of_environment(
    caller: Caller,
    At((project, environment, id)): At<(String, String, String)>,
) -> Answer<Hal> {
    let run = find(&caller, &project, Some(&environment), &id).await?;
    Ok(Hal(shape(&caller.web, &run)?))
}

/// An activity of a project, or of one of its environments.
pub(super) async fn find(caller: &Caller, project: &str, environment: Option<&str>, id: &str) -> Answer<Run> {
    let (stack, _) = caller.may(Permission::See, project).await?;
    let missing = || Problem::not_found(format!("there is no activity `{id}`"));
    let id: RunId = id.parse().map_err(|_| missing())?;
    let run = caller.web.queries.run(&caller.who, id).map_err(|_| missing())?;
    let there = run.stack == stack.id && environment.is_none_or(|name| name == environment_of_run(&run));
    if there && caller.sees(&run) { Ok(run) } else { Err(missing()) }
}

async fn cancel_of_project(caller: Caller, At((project, id)): At<(String, String)>) -> Answer<(StatusCode, Hal)> {
    cancel(&caller, &project, None, &id).await
}

async fn cancel_of_environment(
    caller: Caller,
    At((project, environment, id)): At<(String, String, String)>,
) -> Answer<(StatusCode, Hal)> {
    cancel(&caller, &project, Some(&environment), &id).await
}

async fn cancel(caller: &Caller, project: &str, environment: Option<&str>, id: &str) -> Answer<(StatusCode, Hal)> {
    let run = find(caller, project, environment, id).await?;
    let (_, permit) = caller.may(Permission::Cancel, project).await?;
    if run.state.is_terminal() || run.stopping {
        return Err(cannot_cancel(&run));
    }
    let decided = caller.web.actions.decide(&permit, run.id, Decision::Cancel { note: None }).await;
    let run = match decided {
        Ok(run) => run,
        // It ended in the meantime.
        Err(crate::actions::Error::Refused(refused)) if refused.state.is_some() => return Err(cannot_cancel(&run)),
        Err(error) => return Err(error.into()),
    };
    let activity = shape(&caller.web, &run)?;
    let answer = json!({"status": "accepted", "code": 202, "_embedded": {"activities": [activity]}});
    Ok((StatusCode::ACCEPTED, Hal(answer)))
}

fn cannot_cancel(run: &Run) -> Problem {
    let why = format!("the activity is {} and cannot be cancelled in its current state", state_of(run.state));
    Problem::of_status(StatusCode::BAD_REQUEST, why)
}

/// How far an activity is.
pub(super) const fn state_of(state: State) -> &'static str {
    match state {
        State::Canceled | State::Stopped | State::Discarded | State::Skipped => "cancelled",
        State::Finished | State::Failed => "complete",
        state if state.is_active() => "in_progress",
        _ => "pending",
    }
}

/// What came out of it. Clients look at the state first: one that was canceled has no success.
const fn result_of(state: State) -> Option<&'static str> {
    match state {
        State::Finished => Some("success"),
        state if state.is_terminal() => Some("failure"),
        _ => None,
    }
}

/// `shell`: what was run did it. `error`: what was around it.
fn failure_of(run: &Run) -> Option<&'static str> {
    let performed = run.phases.last().is_some_and(|phase| phase.phase == Phase::Performing);
    match (run.state, &run.verdict) {
        (State::Failed, Some(Verdict::Refused { .. } | Verdict::Lost) | None) => Some("error"),
        (State::Failed, Some(_)) if performed => Some("shell"),
        (State::Failed, Some(_)) => Some("error"),
        _ => None,
    }
}

pub(super) fn shape(web: &Web, run: &Run) -> Answer<Value> {
    let (project, environment) = (run.slug.as_str(), environment_of_run(run));
    let task = run.declared_task.as_ref().map(ToString::to_string).unwrap_or_default();
    let names = web.queries.demand(run)?.map(|demand| demand.names).unwrap_or_default();
    let ended = run.state.is_terminal();
    let started = run.phases.first().map(|phase| phase.started_at);
    let (state, result) = (state_of(run.state), result_of(run.state));
    let ended_at = ended.then(|| time(run.state_since));
    let canceled_at = if state == "cancelled" { ended_at.clone() } else { None };
    let path = format!("{}/activities/{}", project_path(project), run.id);
    let mut shape_links = links([("self", path.clone()), ("log", format!("{path}/log"))]);
    if !ended && !run.stopping {
        shape_links["#cancel"] = json!({"href": format!("{path}/cancel")});
    }
    let who = &run.triggered_by.name;
    let text = format!("{who} ran task {task} on environment {environment}");
    let description = format!(
        "<user data-id=\"{0}\">{0}</user> ran task <task data-id=\"{1}\">{1}</task> on environment <environment data-id=\"{2}\">{2}</environment>",
        escaped(who),
        escaped(&task),
        escaped(environment)
    );
    let exit_code = run.exit_code.filter(|_| ended);
    let commands: Vec<Value> =
        exit_code.map(|code| json!({"app": task, "type": "task", "exit_code": code})).into_iter().collect();
    Ok(json!({
        "id": run.id,
        "type": TYPE,
        "state": state,
        "result": result,
        "failure_reason": failure_of(run),
        "created_at": time(run.created_at),
        "updated_at": time(run.updated_at),
        "started_at": started.map(time),
        "completed_at": ended_at,
        "cancelled_at": canceled_at,
        "expires_at": null,
        "completion_percent": if ended { 100 } else { 0 },
        "project": project,
        "integration": null,
        "environments": [environment],
        "parameters": {"task": task, "variables": names},
        "payload": {
            "task": task,
            "user": {"display_name": who},
            "environment": {"id": environment, "name": environment},
            "reason": run.reason,
        },
        "timings": timings(run, web.queries.now()),
        "log": "",
        "text": text,
        "description": description,
        "commands": commands,
        "_links": shape_links,
        "_embedded": {"environment": {"href": environment_path(project, environment)}},
    }))
}

/// Seconds that the activity has waited, built and executed.
fn timings(run: &Run, now: Timestamp) -> Value {
    let end = if run.state.is_terminal() { run.state_since } else { now };
    let started = run.phases.first().map_or(end, |phase| phase.started_at);
    let seconds = |wanted: fn(Phase) -> bool| {
        let spent = run.phases.iter().filter(|row| wanted(row.phase));
        spent.map(|row| (row.finished_at.unwrap_or(end) - row.started_at).as_secs_f64()).sum::<f64>()
    };
    json!({
        "wait": (started - run.created_at).as_secs_f64(),
        "build": seconds(|phase| phase == Phase::Preparing),
        "deploy": 0.0,
        "execute": seconds(|phase| phase == Phase::Performing),
    })
}
