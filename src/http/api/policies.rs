//! Policies: what they are, where they are attached, what they would say.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::{
    Answer,
    list::{List, Paging, newest_first},
    merge,
    shape::{ActorShape, Nothing},
    words,
};
use crate::{
    actions::{NewPolicy, Saving, Tried},
    auth::Permission,
    domain::{Label, PolicyKind, PolicyName, Refused, RunId, Slug, Timestamp, limits},
    http::{
        Web,
        extract::{Asker, At, Body, Params, at_most},
    },
    queries::{PolicyRow, SampleRow},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    // An input may be that of a large plan.
    let large = at_most(limits::POLICY_TRIED_BYTES);
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, edit, delete))
        .routes(routes!(evaluate).layer(large))
        .routes(routes!(samples))
        .routes(routes!(attach, detach))
}

/// A policy, and the stacks that it is attached to.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyShape {
    #[schema(value_type = String)]
    name: PolicyName,
    #[schema(schema_with = words::policy_kind)]
    kind: PolicyKind,
    /// Rego.
    body: String,
    /// `autoattach:<label>` attaches it to every stack with that label, `autoattach:*` to all.
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    description: String,
    /// Another one with every change.
    version: u64,
    /// Stacks that somebody attached it to.
    #[schema(value_type = Vec<String>)]
    stacks: Vec<Slug>,
    /// Stacks that it attaches itself to.
    #[schema(value_type = Vec<String>)]
    attached_by_label: Vec<Slug>,
    #[schema(schema_with = words::time)]
    created_at: Timestamp,
    #[schema(schema_with = words::time)]
    updated_at: Timestamp,
    updated_by: ActorShape,
}

impl From<PolicyRow> for PolicyShape {
    fn from(row: PolicyRow) -> Self {
        Self {
            updated_by: (&row.policy.updated_by).into(),
            name: row.policy.name,
            kind: row.policy.kind,
            body: row.policy.body,
            labels: row.policy.labels,
            description: row.policy.description,
            version: row.policy.version,
            stacks: row.by_hand,
            attached_by_label: row.by_label,
            created_at: row.policy.created_at,
            updated_at: row.policy.updated_at,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Every policy, by name. For admins.
#[utoipa::path(get, path = "/policies", params(ListParams), responses((status = 200, body = List<PolicyShape>)))]
async fn list(asker: Asker, Params(params): Params<ListParams>) -> Answer<Json<List<PolicyShape>>> {
    asker.may_here(Permission::ManagePolicies).await?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.policies()?;
    Ok(Json(List::by_key(rows, &paging, |row| row.policy.name.clone(), |row| Ok(row.into()))?))
}

/// One policy. For admins.
#[utoipa::path(get, path = "/policies/{name}", responses((status = 200, body = PolicyShape)))]
async fn one(asker: Asker, At(name): At<PolicyName>) -> Answer<Json<PolicyShape>> {
    asker.may_here(Permission::ManagePolicies).await?;
    shown(&asker, &name)
}

fn shown(asker: &Asker, name: &PolicyName) -> Answer<Json<PolicyShape>> {
    Ok(Json(asker.web.queries.policy(name)?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPolicy)]
struct PolicyInput {
    /// `a-z`, `0-9`, `-` and `_`, at most 63.
    name: String,
    #[schema(schema_with = words::policy_kind)]
    kind: PolicyKind,
    /// Rego, of either syntax and any package. Task policies may use Spacelift's aliases `request`, `session` and
    /// `stack`, plan policies `affected_resources`, `created_resources`, `deleted_resources`,
    /// `recreated_resources` and `updated_resources`, unless they define the name themselves. An access policy
    /// narrows roles: with neither of the rules `read` and `write` it takes away what it denies and nothing else;
    /// with one of them it leaves only what these grant.
    body: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    description: String,
}

/// What a merge patch may change.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyChange)]
struct PolicyEdit {
    #[schema(required = false)]
    body: String,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    labels: Vec<Label>,
    #[serde(default)]
    description: String,
}

/// Save a new policy. A body that cannot be read is refused with line and column. For admins.
#[utoipa::path(post, path = "/policies", request_body = PolicyInput, responses((status = 201, body = PolicyShape)))]
async fn create(
    asker: Asker,
    headers: HeaderMap,
    Body { input, bytes }: Body<PolicyInput>,
) -> Answer<(StatusCode, [(HeaderName, String); 1], Json<PolicyShape>)> {
    let permit = asker.may_here(Permission::ManagePolicies).await?;
    let once = asker.once(&headers, "/policies", &bytes)?;
    let name = PolicyName::new(input.name).map_err(|error| Refused::field("name", error.to_string()))?;
    let new = NewPolicy {
        name: name.clone(),
        kind: input.kind,
        body: input.body,
        labels: labels(input.labels)?,
        description: input.description,
    };
    asker.web.actions.save_policy(&permit, Saving::New, new, once).await?;
    let place = format!("{}/policies/{name}", super::PREFIX);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], shown(&asker, &name)?))
}

/// Change a policy: a JSON merge patch (RFC 7396). Its kind stays. Evaluations that have begun are not believed any more. For admins.
#[utoipa::path(patch, path = "/policies/{name}", request_body = PolicyEdit, responses((status = 200, body = PolicyShape)))]
async fn edit(
    asker: Asker,
    At(name): At<PolicyName>,
    Body { input: patch, .. }: Body<Map<String, Value>>,
) -> Answer<Json<PolicyShape>> {
    let permit = asker.may_here(Permission::ManagePolicies).await?;
    let present = asker.web.queries.policy(&name)?.policy;
    let before = PolicyEdit { body: present.body, labels: present.labels, description: present.description };
    let before = serde_json::to_value(before).expect("texts are JSON");
    let PolicyEdit { body, labels, description } = merge::patched(before, patch)?;
    let new = NewPolicy { name: name.clone(), kind: present.kind, body, labels, description };
    asker.web.actions.save_policy(&permit, Saving::Change, new, None).await?;
    shown(&asker, &name)
}

fn labels(labels: Vec<String>) -> Result<Vec<Label>, Refused> {
    let read = |label: String| Label::new(label).map_err(|error| Refused::field("labels", error.to_string()));
    labels.into_iter().map(read).collect()
}

/// Delete a policy, its attachments and its samples. For admins.
#[utoipa::path(delete, path = "/policies/{name}", responses((status = 204, description = "It is gone")))]
async fn delete(asker: Asker, At(name): At<PolicyName>) -> Answer<StatusCode> {
    let permit = asker.may_here(Permission::ManagePolicies).await?;
    asker.web.actions.delete_policy(&permit, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EvaluateInput {
    /// What the policy is asked about.
    #[schema(schema_with = words::anything)]
    input: Box<RawValue>,
    /// Another body than the saved one.
    #[serde(default)]
    body: Option<String>,
}

/// What a policy says, and where in it that comes from.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyEvaluation)]
struct EvaluationShape {
    /// `allow`, `warn`, `deny`, `approve`, `reject`, `undecided`, `trigger`, or `error`, which counts as
    /// a no.
    decision: &'static str,
    messages: Vec<String>,
    /// What each of its rules gave.
    #[schema(schema_with = words::anything)]
    result: Value,
    /// The definitions that gave something, each with its line.
    origins: Vec<OriginShape>,
    /// Lines that were evaluated, and lines that were not.
    reached: Vec<u32>,
    unreached: Vec<u32>,
    printed: Vec<String>,
    error: Option<TroubleShape>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PolicyOrigin)]
struct OriginShape {
    rule: String,
    line: u32,
    gave: Vec<String>,
}

/// Why a policy cannot be read or evaluated.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyError)]
struct TroubleShape {
    message: String,
    line: Option<u32>,
    column: Option<u32>,
}

impl From<Tried> for EvaluationShape {
    fn from(tried: Tried) -> Self {
        let decision = tried.word();
        match tried.outcome {
            Ok(said) => Self {
                decision,
                messages: said.said(),
                result: serde_json::to_value(said.by_rule(tried.kind)).unwrap_or_default(),
                origins: said
                    .origins
                    .into_iter()
                    .map(|one| OriginShape { rule: one.rule, line: one.line, gave: one.gave })
                    .collect(),
                reached: said.reached,
                unreached: said.unreached,
                printed: said.printed,
                error: None,
            },
            Err(trouble) => Self {
                decision,
                messages: vec![trouble.to_string()],
                result: Value::Null,
                origins: Vec::new(),
                reached: Vec::new(),
                unreached: Vec::new(),
                printed: Vec::new(),
                error: Some(TroubleShape { message: trouble.message, line: trouble.line, column: trouble.column }),
            },
        }
    }
}

/// What a policy would say about an input. Nothing follows from it. For admins.
#[utoipa::path(post, path = "/policies/{name}/evaluate", request_body = EvaluateInput, responses((status = 200, body = EvaluationShape)))]
async fn evaluate(
    asker: Asker,
    At(name): At<PolicyName>,
    Body { input, .. }: Body<EvaluateInput>,
) -> Answer<Json<EvaluationShape>> {
    let permit = asker.may_here(Permission::ManagePolicies).await?;
    let tried = asker.web.actions.try_policy(&permit, &name, input.body, input.input.get().to_owned()).await?;
    Ok(Json(tried.into()))
}

/// An input that a policy was asked about.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicySample)]
struct SampleShape {
    number: u64,
    #[schema(schema_with = words::time)]
    at: Timestamp,
    #[schema(value_type = String)]
    stack: Slug,
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    decision: &'static str,
    messages: Vec<String>,
    #[schema(schema_with = words::anything)]
    input: Box<RawValue>,
}

/// The last 100 inputs of a policy, the newest first, for seven days. For admins.
#[utoipa::path(get, path = "/policies/{name}/samples", params(ListParams), responses((status = 200, body = List<SampleShape>)))]
async fn samples(
    asker: Asker,
    At(name): At<PolicyName>,
    Params(params): Params<ListParams>,
) -> Answer<Json<List<SampleShape>>> {
    asker.may_here(Permission::ManagePolicies).await?;
    asker.web.queries.policy(&name)?;
    let paging = Paging::new(params.limit, params.cursor)?;
    let rows = asker.web.queries.samples(&name)?;
    let key = |row: &SampleRow| newest_first(u128::from(row.number));
    let show = |row: SampleRow| {
        let input = asker.web.queries.sample_input(&name, row.number)?;
        let input = RawValue::from_string(input).map_err(|_| Refused::not_found("the sample"))?;
        Ok(SampleShape {
            number: row.number,
            at: row.at,
            stack: row.stack,
            run: row.run,
            decision: row.decision.word(),
            messages: row.messages,
            input,
        })
    };
    Ok(Json(List::by_key(rows, &paging, key, show)?))
}

/// Attach a policy to a stack.
#[utoipa::path(put, path = "/stacks/{stack}/policies/{name}", request_body = Nothing, responses((status = 204, description = "It is attached")))]
async fn attach(asker: Asker, At((slug, name)): At<(Slug, PolicyName)>, _: Body<Nothing>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    asker.web.actions.attach_policy(&permit, stack.id, name, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Detach a policy from a stack. One that attaches itself by label stays: 409.
#[utoipa::path(delete, path = "/stacks/{stack}/policies/{name}", responses((status = 204, description = "It is detached")))]
async fn detach(asker: Asker, At((slug, name)): At<(Slug, PolicyName)>) -> Answer<StatusCode> {
    let (stack, permit) = asker.may_on(Permission::EditStack, &slug).await?;
    asker.web.actions.attach_policy(&permit, stack.id, name, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
