//! Stacks: making, finding, changing, deleting.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer, PREFIX,
    list::{List, Paging},
    merge,
    shape::StackShape,
    words,
};
use crate::{
    actions::NewStack,
    auth::Permission,
    domain::{Label, Refused, Slug, State, stack::StackSettings},
    http::{
        Web,
        extract::{Asker, At, Body, Params},
    },
    queries::{Stack, StackFilter, StackGroup, StackRow},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change, delete))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// A run's state, or a group: `needs_attention`, `in_progress`, `failed`, `on_hold`, `finished`,
    /// `never_run`.
    state: Option<String>,
    label: Option<String>,
    /// Words out of name, slug or description.
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl ListParams {
    fn filter(&self) -> Result<StackFilter, Refused> {
        let mut filter = StackFilter { words: self.q.clone().unwrap_or_default(), ..StackFilter::default() };
        if let Some(word) = &self.state {
            filter.group = StackGroup::ALL.into_iter().find(|group| group.word() == word);
            filter.state = if filter.group.is_some() { None } else { State::from_word(word) };
            if filter.group.is_none() && filter.state.is_none() {
                return Err(Refused::field("state", "is neither the state of a run nor a group of stacks"));
            }
        }
        let label = self.label.clone().map(Label::new).transpose();
        filter.label = label.map_err(|error| Refused::field("label", error.to_string()))?;
        Ok(filter)
    }
}

/// Every stack that you may see, by name.
#[utoipa::path(get, path = "/stacks", params(ListParams), responses((status = 200, body = List<StackShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<StackShape>>> {
    let filter = params.filter()?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.stacks(&asker.who, &filter)?;
    let key = |row: &StackRow| format!("{}/{}", row.stack.settings.name.as_str().to_lowercase(), row.stack.slug);
    Ok(Json(List::by_key(rows, &paging, key, |row| Ok(row.into()))?))
}

/// A stack that is asked for: its settings, and its slug where the name should not give it.
struct StackInput {
    slug: Option<Slug>,
    settings: StackSettings,
}

impl StackInput {
    fn read(mut fields: Map<String, Value>) -> Result<Self, Refused> {
        let slug = match fields.remove("slug") {
            None | Some(Value::Null) => None,
            Some(slug) => Some(Slug::deserialize(slug).map_err(|error| Refused::field("slug", error.to_string()))?),
        };
        Ok(Self { slug, settings: merge::read(Value::Object(fields))? })
    }
}

impl PartialSchema for StackInput {
    fn schema() -> RefOr<Schema> {
        words::stack(2, vec![("slug", words::maybe_text())])
    }
}

impl ToSchema for StackInput {
    fn name() -> std::borrow::Cow<'static, str> {
        "NewStack".into()
    }
}

/// Make a stack. Only global admins may.
#[utoipa::path(post, path = "/stacks", request_body = StackInput, responses((status = 201, body = StackShape)))]
async fn create(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<Map<String, Value>>,
) -> Answer<(StatusCode, [(header::HeaderName, String); 1], Json<StackShape>)> {
    let permit = asker.may_here(Permission::CreateStack).await?;
    let once = asker.once(&headers, "/stacks", &bytes)?;
    let StackInput { slug, settings } = StackInput::read(input)?;
    let new = NewStack { slug, settings };
    let stack = asker.web.actions.create_stack(&permit, new, once).await?;
    let place = format!("{PREFIX}/stacks/{}", stack.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], shown(&asker, &stack)?))
}

fn shown(asker: &Asker, stack: &Stack) -> Answer<Json<StackShape>> {
    Ok(Json(asker.web.queries.stack_row(&asker.who, &stack.slug)?.into()))
}

/// One stack.
#[utoipa::path(get, path = "/stacks/{stack}", responses((status = 200, body = StackShape)))]
async fn show(asker: Asker, At(slug): At<Slug>) -> Answer<Json<StackShape>> {
    let (stack, _) = asker.may_on(Permission::See, &slug).await?;
    shown(&asker, &stack)
}

/// A merge patch of settings.
struct StackPatch;

impl PartialSchema for StackPatch {
    fn schema() -> RefOr<Schema> {
        words::stack(0, vec![("slug", words::text())])
    }
}

impl ToSchema for StackPatch {}

/// Change settings: a JSON merge patch (RFC 7396). Where it gives `vendor` or `source` another `kind`,
/// nothing of the old one is kept.
#[utoipa::path(patch, path = "/stacks/{stack}", request_body = StackPatch, responses((status = 200, body = StackShape)))]
async fn change(
    asker: Asker,
    At(slug): At<Slug>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<StackShape>> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    let stack =
        asker.web.actions.edit_stack_with(&permit, stack.id, move |stack| patched(stack, patch.clone())).await?;
    shown(&asker, &stack)
}

fn patched(stack: &Stack, mut patch: Map<String, Value>) -> Result<StackSettings, Refused> {
    if patch.remove("slug").is_some_and(|slug| slug != stack.slug.as_str()) {
        return Err(Refused::field("slug", "never changes"));
    }
    let before = serde_json::to_value(&stack.settings).expect("settings are JSON");
    merge::refuse_unknown(&before, &patch)?;
    merge::read(merge::merge_tagged(before, Value::Object(patch), &["vendor", "source"]))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteParams {
    /// The stack's slug, once more.
    #[serde(default)]
    confirm: String,
}

/// Delete a stack. Its runs and audit entries stay.
#[utoipa::path(delete, path = "/stacks/{stack}", params(DeleteParams), responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(slug): At<Slug>, Params(params): Params<DeleteParams>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::DeleteStack, &slug).await?;
    asker.web.actions.delete_stack(&permit, stack.id, &params.confirm).await?;
    Ok(StatusCode::NO_CONTENT)
}
