//! The HTTP API for programs: `/api/v1`, `/oauth2/token`, and Terraform's `/state/{stack}`.
//!
//! Each file owns a resource: its routes, what they take, what they answer. A route and its
//! description are one thing (`#[utoipa::path]`), so the document at `/api/v1/openapi.json` cannot
//! drift; [`docs`] adds what holds for every route, and refuses parameters that the document does not
//! name.
//!
//! | file | routes |
//! | --- | --- |
//! | `login` | `/login`, `/sessions` |
//! | `stacks`, `lock` | `/stacks`, their locks |
//! | `source`, `environment`, `state` | what belongs to a stack |
//! | `contexts` | contexts, and which stacks have them |
//! | `runs`, `verbs` | runs, and what people decide about them |
//! | `guests` | registered guests; what guests left of a run |
//! | `log`, `events` | what a run prints, at once or as it comes |
//! | `run_tasks` | outside checks, on stacks and by themselves |
//! | `webhooks` | webhooks, and what is delivered to them |
//! | `policies` | policies, their attachments, what they would say |
//! | `declared`, `resources`, `services` | declared tasks, their bounds, and what they are connected to |
//! | `users`, `keys`, `credentials`, `audit`, `master_key` | the installation |
//! | `oauth` | `/oauth2/token` |
//!
//! `shape` holds what several of them show, `words` the schemas of the domain's own types.

mod audit;
mod contexts;
mod credentials;
mod declared;
mod docs;
mod environment;
mod events;
mod guests;
mod images;
mod keys;
mod list;
mod lock;
mod log;
mod login;
mod master_key;
mod merge;
mod oauth;
mod policies;
mod resources;
mod run_tasks;
mod runs;
mod runtime;
mod services;
mod shape;
mod source;
mod stacks;
mod state;
mod users;
mod verbs;
mod webhooks;
mod words;

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use guests::download;

use super::{Problem, Web};

/// Every route of the API.
pub fn routes() -> Router<Web> {
    let (router, document) = described().split_for_parts();
    docs::guard(router, docs::finish(document)).merge(state::backend())
}

/// The description of the API.
pub fn document() -> OpenApi {
    docs::finish(described().into_openapi())
}

fn described() -> OpenApiRouter<Web> {
    let api = OpenApiRouter::new()
        .merge(login::routes())
        .merge(stacks::routes())
        .merge(lock::routes())
        .merge(source::routes())
        .merge(environment::routes())
        .merge(contexts::routes())
        .merge(state::routes())
        .merge(runs::routes())
        .merge(guests::routes())
        .merge(verbs::routes())
        .merge(log::routes())
        .merge(events::routes())
        .merge(users::routes())
        .merge(keys::routes())
        .merge(credentials::routes())
        .merge(images::routes())
        .merge(resources::routes())
        .merge(services::routes())
        .merge(policies::routes())
        .merge(declared::routes())
        .merge(run_tasks::routes())
        .merge(webhooks::routes())
        .merge(audit::routes())
        .merge(master_key::routes())
        .merge(docs::routes());
    OpenApiRouter::with_openapi(docs::base()).nest(PREFIX, api).merge(oauth::routes())
}

/// Where the API's own routes are.
const PREFIX: &str = "/api/v1";

/// What handlers answer.
type Answer<T> = Result<T, Problem>;

/// The OpenAPI description, as data.
pub fn description() -> serde_json::Value {
    serde_json::to_value(document()).unwrap_or_default()
}
