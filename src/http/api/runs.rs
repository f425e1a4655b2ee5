//! Runs: asking for them, finding them, what they would change.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
};
use serde::Deserialize;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer,
    list::{List, Paging},
    lock::note,
    runtime::RuntimeInput,
    shape::{RunShape, run_path},
    words,
};
use crate::{
    actions::{NewGuestTask, NewRun, NewTask},
    auth::Permission,
    domain::{
        Changes, CommitSha, GuestName, Kind, Refused, RunId, Slug, StackId, State,
        guest::{GuestCall, May, Stdin},
    },
    http::{
        Problem, Web,
        extract::{Asker, At, Body, Params},
    },
    queries::{Run, RunFilter},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(of_stack, trigger))
        .routes(routes!(perform))
        .routes(routes!(all))
        .routes(routes!(show))
        .routes(routes!(changes))
}

/// A run that was just made.
pub(super) type Made = (StatusCode, [(header::HeaderName, String); 1], Json<RunShape>);

pub(super) fn made(asker: &Asker, run: Run) -> Answer<Made> {
    let place = run_path(run.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], shown(asker, run)?))
}

pub(super) fn shown(asker: &Asker, run: Run) -> Answer<Json<RunShape>> {
    Ok(Json(RunShape::new(&asker.web, asker.web.queries.detail_of(run)?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRun)]
struct RunInput {
    /// `tracked`, `proposed` or `destroy`.
    #[schema(value_type = String)]
    kind: Kind,
    /// A commit of the source other than the branch's head.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    commit: Option<CommitSha>,
    #[serde(default)]
    message: Option<String>,
    /// The run's own configuration: YAML in a text, or its keys. It wins over everything else.
    #[serde(default)]
    #[schema(schema_with = words::anything)]
    runtime_config: Option<RuntimeInput>,
}

/// Trigger a run.
#[utoipa::path(post, path = "/stacks/{stack}/runs", request_body = RunInput, responses((status = 201, body = RunShape)))]
async fn trigger(
    asker: Asker,
    At(slug): At<Slug>,
    headers: HeaderMap,
    Body { input, bytes }: Body<RunInput>,
) -> Answer<Made> {
    let (stack, permit) = asker.may_on(Permission::Trigger, &slug).await?;
    let once = asker.once(&headers, &format!("/stacks/{slug}/runs"), &bytes)?;
    let message = note("message", input.message.as_deref())?;
    let runtime_config = input.runtime_config.map(RuntimeInput::text);
    let new = NewRun { kind: input.kind, commit: input.commit, message, runtime_config };
    made(&asker, asker.web.actions.trigger(&permit, stack.id, new, once).await?)
}

/// Either `command`, or `guest` with what belongs to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTask)]
struct TaskInput {
    /// What `sh -c` performs.
    #[serde(default)]
    command: Option<String>,
    #[serde(default)]
    skip_initialization: Option<bool>,
    /// A registered guest, which works on a copy of the source.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    guest: Option<GuestName>,
    #[serde(default)]
    args: Vec<String>,
    /// A text, or `{"file": path}`.
    #[serde(default)]
    #[schema(schema_with = words::stdin)]
    stdin: Option<Stdin>,
    /// A script for an interpreter; its path is the first argument.
    #[serde(default)]
    script: Option<String>,
    /// What it may use and reach.
    #[serde(default)]
    #[schema(schema_with = words::may)]
    caps: Option<May>,
}

/// Perform one command on the stack's workspace, or one guest on a copy of it.
#[utoipa::path(post, path = "/stacks/{stack}/tasks", request_body = TaskInput, responses((status = 201, body = RunShape)))]
async fn perform(
    asker: Asker,
    At(slug): At<Slug>,
    headers: HeaderMap,
    Body { input, bytes }: Body<TaskInput>,
) -> Answer<Made> {
    let (stack, permit) = asker.may_on(Permission::Perform, &slug).await?;
    let once = asker.once(&headers, &format!("/stacks/{slug}/tasks"), &bytes)?;
    let actions = &asker.web.actions;
    let run = match input.read()? {
        Asked::Command(new) => actions.perform(&permit, stack.id, new, once).await?,
        Asked::Guest(new) => actions.perform_guest(&permit, stack.id, new, once).await?,
    };
    made(&asker, run)
}

#[allow(clippy::large_enum_variant, reason = "it lives for one request")]
enum Asked {
    Command(NewTask),
    Guest(NewGuestTask),
}

impl TaskInput {
    fn read(self) -> Result<Asked, Refused> {
        let of_guests = !self.args.is_empty() || self.stdin.is_some() || self.script.is_some() || self.caps.is_some();
        match (self.guest, self.command) {
            (Some(_), Some(_)) => Err(Refused::field("command", "a task has a command or a guest, not both")),
            (Some(_), None) if self.skip_initialization.is_some() => {
                Err(Refused::field("skip_initialization", "a guest works on the source itself; nothing is initialized"))
            }
            (Some(guest), None) => {
                let call = GuestCall { guest, args: self.args, stdin: self.stdin, may: self.caps.unwrap_or_default() };
                Ok(Asked::Guest(NewGuestTask { call, script: self.script }))
            }
            (None, Some(_)) if of_guests => {
                Err(Refused::field("guest", "is needed: `args`, `stdin`, `script` and `caps` are a guest's"))
            }
            (None, Some(command)) => Ok(Asked::Command(NewTask {
                command,
                skip_initialization: self.skip_initialization.unwrap_or_default(),
            })),
            (None, None) => Err(Refused::field("command", "is needed, or a guest")),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Kinds, with commas between.
    kind: Option<String>,
    /// States, with commas between.
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The runs of a stack, the newest first.
#[utoipa::path(get, path = "/stacks/{stack}/runs", params(ListParams), responses((status = 200, body = List<RunShape>)))]
async fn of_stack(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<RunShape>>> {
    let (stack, _) = asker.may_on(Permission::See, &slug).await?;
    list(&asker, Some(stack.id), params)
}

/// Every run that you may see, the newest first.
#[utoipa::path(get, path = "/runs", params(ListParams), responses((status = 200, body = List<RunShape>)))]
async fn all(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<RunShape>>> {
    list(&asker, None, params)
}

fn list(asker: &Asker, stack: Option<StackId>, params: ListParams) -> Answer<Json<List<RunShape>>> {
    let filter = RunFilter {
        stack,
        kinds: words_of("kind", params.kind.as_deref(), Kind::from_word)?,
        states: words_of("state", params.state.as_deref(), State::from_word)?,
        ..RunFilter::default()
    };
    let paging = Paging::new(params.limit, params.cursor)?;
    let page = asker.web.queries.runs(&asker.who, &filter, paging.cursor()?.as_ref(), paging.limit)?;
    let show = |run| Ok(RunShape::new(&asker.web, asker.web.queries.detail_of(run)?));
    Ok(Json(List::of_page(page, show)?))
}

/// Words with commas between.
fn words_of<T>(field: &str, text: Option<&str>, read: fn(&str) -> Option<T>) -> Result<Vec<T>, Refused> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let stranger: String = word.chars().take(50).collect();
            read(word).ok_or_else(|| Refused::field(field, format!("`{stranger}` is not one")))
        })
        .collect()
}

/// One run.
#[utoipa::path(get, path = "/runs/{run}", responses((status = 200, body = RunShape)))]
async fn show(asker: Asker, At(run): At<RunId>) -> Answer<Json<RunShape>> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    shown(&asker, run)
}

/// What a plan would change. Sensitive values are replaced by a short keyed hash.
struct ChangesShape;

impl PartialSchema for ChangesShape {
    fn schema() -> RefOr<Schema> {
        words::changes()
    }
}

impl ToSchema for ChangesShape {
    fn name() -> std::borrow::Cow<'static, str> {
        "Changes".into()
    }
}

/// What the run's plan would change; 404 while there is no plan.
#[utoipa::path(get, path = "/runs/{run}/changes", responses((status = 200, body = ChangesShape)))]
async fn changes(asker: Asker, At(run): At<RunId>) -> Answer<Json<Changes>> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    match asker.web.queries.changes(&asker.who, run.id)? {
        Some(changes) => Ok(Json(changes)),
        None => Err(Problem::not_found(format!("{} has no plan", run.id))),
    }
}
