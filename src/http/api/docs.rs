//! The description of the API: what holds for every route is added here, and requests are held
//! against it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{MatchedPath, Request},
    http::{Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use utoipa::{
    PartialSchema as _,
    openapi::{
        Components, Content, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required,
        ResponseBuilder, Schema, SecurityRequirement,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBody,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{PREFIX, Problem, Web, words};
use crate::domain::Refused;

/// The document, as it is served.
#[derive(Clone, Debug)]
struct Document(Arc<str>);

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "An OpenAPI 3.1 document")), security(()))]
async fn openapi(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0.to_string())
}

/// The document before any route is in it.
pub(super) fn base() -> OpenApi {
    let description = "Plan, seal, confirm, apply: stacks, runs and tasks. Errors are RFC 9457 problems; lists are \
        `{items, next}` with `limit` (1 to 200, 50 by default) and `cursor`; unknown parameters and fields are \
        errors that name them; `Idempotency-Key` is honoured on every POST that creates something.";
    let info =
        InfoBuilder::new().title("Airlock").version(env!("CARGO_PKG_VERSION")).description(Some(description)).build();
    let mut components = Components::new();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("An API key's secret, or a token of `/login` or `/oauth2/token`".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.schemas.insert("Problem".to_owned(), ProblemBody::schema());
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .build()
}

/// What an error looks like.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the schema of `Problem`, which knows nothing of schemas")]
struct ProblemBody {
    /// A word that programs can tell problems apart by, such as `reauthenticate`.
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The present state of the run, where the refusal is about it.
    state: Option<String>,
    #[schema(schema_with = words::field_errors)]
    errors: Option<Vec<String>>,
    request_id: String,
}

/// Adds what every operation has: its tag, its id, the names in its path, its errors.
pub(super) fn finish(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    for (template, mut item) in paths {
        let path = template.replace("{*", "{");
        let tag = path.trim_start_matches(PREFIX).split('/').nth(1).unwrap_or_default().to_owned();
        for (method, operation) in operations(&mut item) {
            dress(operation, &tag, &path, method);
        }
        document.paths.paths.insert(path, item);
    }
    document
}

fn dress(operation: &mut Operation, tag: &str, path: &str, method: &str) {
    operation.tags = Some(vec![tag.to_owned()]);
    let name = path.trim_start_matches(PREFIX).replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    operation.operation_id = Some(format!("{method}{name}"));
    let honours_key = method == "post" && takes_key(path, operation);
    let parameters = operation.parameters.get_or_insert_default();
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        parameters.push(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(meaning(name)))
                .schema(Some(words::text()))
                .build()
                .into(),
        );
    }
    if honours_key {
        parameters.push(idempotency_key().into());
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && may_be_left_out(body)
    {
        body.required = Some(Required::False);
    }
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = status_words(status).to_owned();
        }
        if status.starts_with('4') && response.content.is_empty() {
            response.content.insert("application/problem+json".to_owned(), problem.clone().into());
        }
    }
    let problem = ResponseBuilder::new().description("A problem").content("application/problem+json", problem).build();
    operation.responses.responses.entry("default".to_owned()).or_insert_with(|| problem.into());
}

/// Whether nothing is to be said in a body.
fn may_be_left_out(body: &RequestBody) -> bool {
    let is_nothing = |schema: &RefOr<Schema>| matches!(schema, RefOr::Ref(to) if to.ref_location.ends_with("/Nothing"));
    let says_nothing = |content: &RefOr<Content>| matches!(content, RefOr::T(content) if content.schema.as_ref().is_some_and(is_nothing));
    body.content.values().any(says_nothing)
}

/// What is done once under a key although the answer is not 201. A test holds handlers against it.
const ONCE: [&str; 4] = ["/runs/{run}/comment", "/runs/{run}/review", "/users/{user}/invite", "/webhooks/{id}/test"];

/// Whether an operation honours `Idempotency-Key`: whatever makes something does.
fn takes_key(path: &str, operation: &Operation) -> bool {
    operation.responses.responses.contains_key("201") || ONCE.contains(&path.trim_start_matches(PREFIX))
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Of your choice: the same request with the same key is done once, for 24 hours"))
        .schema(Some(words::text()))
        .build()
}

/// What an answer of a status is, where nobody says more.
fn status_words(status: &str) -> &'static str {
    match status {
        "200" => "As asked for",
        "201" => "It was made",
        "202" => "It is on its way",
        "204" => "It is done",
        "206" => "The part that was asked for",
        "404" => "It does not exist, or you may not see it",
        "409" => "Not possible at the moment",
        "416" => "There is nothing in this range",
        "422" => "The input is not valid",
        _ => "An answer",
    }
}

fn meaning(name: &str) -> &'static str {
    match name {
        "stack" => "The stack's slug",
        "run" => "The run's id, `run_…`",
        "user" => "The user's id, `user_…`, or name",
        "key" => "The key's id, `key_…`",
        "session" => "The session's id, `session_…`",
        "attached" => "The attachment's id, `wstask_…`",
        "path" => "The file's path below the workspace",
        _ => "Its name",
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The names of the parameters that each operation takes, by method and path.
type Known = HashMap<(String, String), BTreeSet<String>>;

fn known(document: &mut OpenApi) -> Known {
    let mut known = Known::new();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let parameters = operation.parameters.iter().flatten().filter_map(own);
            let in_query = parameters.filter(|parameter| parameter.parameter_in == ParameterIn::Query);
            let names = in_query.map(|parameter| parameter.name.clone()).collect();
            known.insert((method.to_uppercase(), path.clone()), names);
        }
    }
    known
}

/// No parameter is described elsewhere.
fn own(parameter: &RefOr<Parameter>) -> Option<&Parameter> {
    match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    }
}

/// Serves the document, and refuses parameters that it does not name.
pub(super) fn guard(router: Router<Web>, mut document: OpenApi) -> Router<Web> {
    let json = serde_json::to_string(&document).expect("a document is JSON");
    let known = Arc::new(known(&mut document));
    let check = move |request: Request, next: Next| {
        let known = Arc::clone(&known);
        async move { checked(&known, request, next).await }
    };
    router.route_layer(middleware::from_fn(check)).layer(Extension(Document(json.into())))
}

async fn checked(known: &Known, request: Request<Body>, next: Next) -> Response {
    match unknown_parameter(known, &request) {
        Some(refused) => Problem::from(refused).into_response(),
        None => next.run(request).await,
    }
}

fn unknown_parameter(known: &Known, request: &Request<Body>) -> Option<Refused> {
    let query = request.uri().query().filter(|query| !query.is_empty())?;
    let path = request.extensions().get::<MatchedPath>()?.as_str().replace("{*", "{");
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let names = known.get(&(method.to_string(), path))?;
    let (stranger, _) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !names.contains(&**name))?;
    let stranger: String = stranger.chars().take(100).collect();
    let allowed = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let allowed = if allowed.is_empty() { "it takes none".to_owned() } else { format!("it takes {allowed}") };
    Some(Refused::field(stranger.clone(), format!("is not a parameter of this address; {allowed}")))
}
