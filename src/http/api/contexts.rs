//! Contexts, and which stacks have them.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::{
    Answer, PREFIX,
    environment::{FileShape, VariableInput, VariableShape, created_if, gone},
    list::{List, Paging},
    merge,
    shape::{ActorShape, OriginShape},
    words,
};
use crate::{
    actions::{ContextText, NewContext, NewFile, NewVariable, Secret},
    auth::Permission,
    domain::{EnvName, Label, Refused, RelativePath, Slug, Timestamp, limits, runtime::Origin, stack::Hooks},
    http::{
        Web,
        extract::{Asker, At, Body, Params, at_most, whole},
    },
    queries::{Attached, Context, ContextDetail, Stack},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    // A value may be longer than bodies are elsewhere, and JSON may write a byte as six.
    let variable = at_most(6 * limits::VARIABLE_BYTES + 64 * 1_024);
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, delete))
        .routes(routes!(set_variable, delete_variable).layer(variable))
        .routes(routes!(set_file, delete_file))
        .routes(routes!(of_stack))
        .routes(routes!(attach, detach))
}

/// A context with what is in it. Sensitive values never come back.
#[derive(Serialize, ToSchema)]
#[schema(as = Context)]
struct ContextShape {
    #[schema(value_type = String)]
    name: Slug,
    description: String,
    /// `autoattach:<label>` attaches it to every stack with that label, `autoattach:*` to all.
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    #[schema(schema_with = words::hooks)]
    hooks: Hooks,
    variables: Vec<VariableShape>,
    files: Vec<FileShape>,
    /// The stacks that have it.
    stacks: Vec<HolderShape>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

/// A stack that has a context, and how it came to it.
#[derive(Serialize, ToSchema)]
#[schema(as = ContextHolder)]
struct HolderShape {
    #[schema(value_type = String)]
    stack: Slug,
    source: OriginShape,
}

impl From<ContextDetail> for ContextShape {
    fn from(detail: ContextDetail) -> Self {
        let Context { name, description, labels, hooks, created_at, updated_at, updated_by, .. } = detail.context;
        let holder = |(stack, origin): (Stack, Origin)| HolderShape { stack: stack.slug, source: (&origin).into() };
        Self {
            name,
            description,
            labels,
            hooks,
            variables: detail.variables.into_iter().map(Into::into).collect(),
            files: detail.files.into_iter().map(Into::into).collect(),
            stacks: detail.stacks.into_iter().map(holder).collect(),
            created_at,
            updated_at,
            updated_by: (&updated_by).into(),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every context, by name. For admins.
#[utoipa::path(get, path = "/contexts", params(ListParams), responses((status = 200, body = List<ContextShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<ContextShape>>> {
    asker.may_here(Permission::ManageContexts).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.contexts()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.context.name.clone(), |row| Ok(row.into()))?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContext)]
struct ContextInput {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    #[serde(default)]
    #[schema(schema_with = words::hooks)]
    hooks: Hooks,
    #[serde(default)]
    variables: Vec<NamedVariable>,
    /// Texts; other files are sent one by one.
    #[serde(default)]
    files: Vec<TextFile>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamedVariable {
    name: String,
    #[schema(value_type = String)]
    value: Secret<String>,
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TextFile {
    path: String,
    #[schema(value_type = String)]
    content: Secret<String>,
    #[serde(default)]
    sensitive: bool,
}

impl ContextInput {
    fn read(self) -> Result<NewContext, Refused> {
        let name = Slug::new(self.name).map_err(|error| Refused::field("name", error.to_string()))?;
        let variable = |(n, it): (usize, NamedVariable)| {
            let name = EnvName::new(it.name);
            let name = name.map_err(|error| Refused::field(format!("variables[{n}].name"), error.to_string()))?;
            Ok(NewVariable { name, value: it.value, sensitive: it.sensitive, description: it.description })
        };
        let file = |(n, it): (usize, TextFile)| {
            let path = RelativePath::new(it.path);
            let path = path.map_err(|error| Refused::field(format!("files[{n}].path"), error.to_string()))?;
            let content = Secret::new(it.content.expose().clone().into_bytes());
            Ok(NewFile { path, content, sensitive: it.sensitive })
        };
        Ok(NewContext {
            name,
            text: ContextText { description: self.description, labels: self.labels, hooks: self.hooks },
            variables: self.variables.into_iter().enumerate().map(variable).collect::<Result<_, Refused>>()?,
            files: self.files.into_iter().enumerate().map(file).collect::<Result<_, Refused>>()?,
        })
    }
}

/// A context that was just made.
type Made = (StatusCode, [(header::HeaderName, String); 1], Json<ContextShape>);

/// Make a context. For admins.
#[utoipa::path(post, path = "/contexts", request_body = ContextInput, responses((status = 201, body = ContextShape)))]
async fn create(asker: Asker, headers: HeaderMap, Body { input, bytes }: Body<ContextInput>) -> Answer<Made> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    let once = asker.once(&headers, "/contexts", &bytes)?;
    let made = asker.web.actions.create_context(&permit, input.read()?, once).await?;
    let place = format!("{PREFIX}/contexts/{}", made.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], shown(&asker, &made.name)?))
}

fn shown(asker: &Asker, name: &Slug) -> Answer<Json<ContextShape>> {
    Ok(Json(asker.web.queries.context(name)?.into()))
}

/// One context. For admins.
#[utoipa::path(get, path = "/contexts/{name}", responses((status = 200, body = ContextShape)))]
async fn one(asker: Asker, At(name): At<Slug>) -> Answer<Json<ContextShape>> {
    asker.may_here(Permission::ManageContexts).await?;
    shown(&asker, &name)
}

/// What a merge patch may change.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ContextPatch)]
#[derive(Default)]
struct TextInput {
    description: String,
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    #[schema(schema_with = words::hooks)]
    hooks: Hooks,
}

/// Change description, labels or hooks: a JSON merge patch (RFC 7396). Variables and files have
/// addresses of their own. For admins.
#[utoipa::path(patch, path = "/contexts/{name}", request_body = TextInput, responses((status = 200, body = ContextShape)))]
async fn change(
    asker: Asker,
    At(name): At<Slug>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<ContextShape>> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    let edit = move |old: &Context| patched(old, patch.clone());
    let row = asker.web.actions.edit_context(&permit, name, edit).await?;
    shown(&asker, &row.name)
}

fn patched(old: &Context, patch: Map<String, Value>) -> Result<ContextText, Refused> {
    let before =
        TextInput { description: old.description.clone(), labels: old.labels.clone(), hooks: old.hooks.clone() };
    let before = serde_json::to_value(before).expect("texts are JSON");
    let after: TextInput = merge::patched(before, patch)?;
    Ok(ContextText { description: after.description, labels: after.labels, hooks: after.hooks })
}

/// Delete a context with everything in it; 409 while it is attached to a stack. For admins.
#[utoipa::path(delete, path = "/contexts/{name}", responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(name): At<Slug>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    asker.web.actions.delete_context(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a variable of a context, new or in place of the one of that name. For admins.
#[utoipa::path(put, path = "/contexts/{name}/environment/{variable}", request_body = VariableInput, responses((status = 200, body = VariableShape), (status = 201, body = VariableShape)))]
async fn set_variable(
    asker: Asker,
    At((context, name)): At<(Slug, String)>,
    Body { input, .. }: Body<VariableInput>,
) -> Answer<(StatusCode, Json<VariableShape>)> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    let name = EnvName::new(name).map_err(|error| Refused::field("name", error.to_string()))?;
    let is_new = asker.web.actions.set_context_variable(&permit, context.clone(), input.named(name.clone())).await?;
    let row = asker.web.queries.context(&context)?.variables.into_iter().find(|row| row.name == name);
    Ok((created_if(is_new), Json(row.ok_or_else(gone)?.into())))
}

/// Delete a variable of a context. For admins.
#[utoipa::path(delete, path = "/contexts/{name}/environment/{variable}", responses((status = 204, description = "It is gone")))]
async fn delete_variable(asker: Asker, At((context, name)): At<(Slug, EnvName)>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    asker.web.actions.delete_context_variable(&permit, context, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FileParams {
    /// Whether its content is masked in logs.
    #[serde(default)]
    sensitive: bool,
}

/// Mount a file: the body as it is, at most 2 MB. For admins.
#[utoipa::path(put, path = "/contexts/{name}/files/{*path}", params(FileParams), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, body = FileShape), (status = 201, body = FileShape)))]
async fn set_file(
    asker: Asker,
    At((context, path)): At<(Slug, String)>,
    Params(params): Params<FileParams>,
    body: axum::body::Body,
) -> Answer<(StatusCode, Json<FileShape>)> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    let path = RelativePath::new(path).map_err(|error| Refused::field("path", error.to_string()))?;
    let content = whole(body, limits::FILE_BYTES).await?;
    let new = NewFile { path: path.clone(), content, sensitive: params.sensitive };
    let is_new = asker.web.actions.set_context_file(&permit, context.clone(), new).await?;
    let row = asker.web.queries.context(&context)?.files.into_iter().find(|row| row.path == path);
    Ok((created_if(is_new), Json(row.ok_or_else(gone)?.into())))
}

/// Unmount a file of a context. For admins.
#[utoipa::path(delete, path = "/contexts/{name}/files/{*path}", responses((status = 204, description = "It is gone")))]
async fn delete_file(asker: Asker, At((context, path)): At<(Slug, RelativePath)>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManageContexts).await?;
    asker.web.actions.delete_context_file(&permit, context, path).await?;
    Ok(StatusCode::NO_CONTENT)
}

// ── On a stack ──────────────────────────────────────────────────────────────────────────────

/// A context of a stack.
#[derive(Serialize, ToSchema)]
#[schema(as = AttachedContext)]
struct AttachedShape {
    #[schema(value_type = String)]
    name: Slug,
    description: String,
    /// Null: attached by label.
    priority: Option<i32>,
    automatic: bool,
    /// Its place: what stands first wins.
    rank: usize,
}

impl AttachedShape {
    fn new((rank, attached): (usize, Attached)) -> Self {
        let source = OriginShape::from(&attached.origin);
        Self {
            name: attached.context.name,
            description: attached.context.description,
            automatic: source.priority.is_none(),
            priority: source.priority,
            rank,
        }
    }
}

/// The contexts of a stack, attached or by label; what stands first wins.
#[utoipa::path(get, path = "/stacks/{stack}/contexts", params(ListParams), responses((status = 200, body = List<AttachedShape>)))]
async fn of_stack(
    asker: Asker,
    At(slug): At<Slug>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<AttachedShape>>> {
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.contexts_of(&asker.who, &slug)?.into_iter().enumerate().map(AttachedShape::new);
    Ok(Json(List::by_key(rows.collect(), &paging, |row| format!("{:06}", row.rank), Ok)?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Attachment)]
struct AttachInput {
    /// The lower number wins; 0 where nothing is said.
    #[serde(default)]
    priority: i32,
}

/// Attach a context to a stack, or change its priority there.
#[utoipa::path(put, path = "/stacks/{stack}/contexts/{name}", request_body = AttachInput, responses((status = 200, body = AttachedShape), (status = 201, body = AttachedShape)))]
async fn attach(
    asker: Asker,
    At((slug, name)): At<(Slug, Slug)>,
    Body { input, .. }: Body<AttachInput>,
) -> Answer<(StatusCode, Json<AttachedShape>)> {
    let (stack, permit) = asker.may_on(Permission::AttachContext, &slug).await?;
    let is_new = asker.web.actions.attach_context(&permit, stack.id, name.clone(), input.priority).await?;
    let rows = asker.web.queries.contexts_of(&asker.who, &slug)?;
    let row = rows.into_iter().enumerate().map(AttachedShape::new).find(|row| row.name == name);
    Ok((created_if(is_new), Json(row.ok_or_else(gone)?)))
}

/// Take a context away from a stack. One that is attached by label stays.
#[utoipa::path(delete, path = "/stacks/{stack}/contexts/{name}", responses((status = 204, description = "It is gone")))]
async fn detach(asker: Asker, At((slug, name)): At<(Slug, Slug)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::AttachContext, &slug).await?;
    asker.web.actions.detach_context(&permit, stack.id, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
