//! The web: axum and askama, and only here.
//!
//! | file | what |
//! | --- | --- |
//! | `serve` | sockets, TLS, graceful end |
//! | `shield` | headers, request ids, limits, forms from elsewhere: around every request |
//! | `unread` | connections that end because a body was not read |
//! | `extract` | who asks, from where; input that says what is wrong with it |
//! | `problem` | refusals and faults as answers: problem+json, or a page |
//! | [`api`] | `/api/v1`, `/oauth2/token`, `/state/{stack}` |
//! | [`compat`] | `/projects/…`, for clients of Upsun's tasks; the socket for running ones |
//! | `callbacks` | what run tasks come back for |
//! | `v2` | `/api/v2`, for clients of HCP Terraform's run tasks |
//! | `run_task_door` | `/run-tasks/…`: Airlock as a run task of others |
//! | [`pages`] | the pages and their forms; [`view`] what they show |
//! | `events` | server-sent events |
//! | `metrics` | `/metrics` |
//! | [`assets`] | files of `static/` |
//!
//! Must not know the store, the log's files, the machine or any process: it reads through queries
//! and changes through actions.

pub mod api;
pub mod assets;
mod callbacks;
pub mod compat;
mod extract;
mod metrics;
pub mod pages;
mod problem;
mod run_task_door;
mod serve;
mod shield;
mod unread;
mod v2;
pub mod view;

use std::sync::Arc;

use axum::{Router, routing::get};
use tokio_util::sync::CancellationToken;

pub use problem::Problem;
pub use serve::{Listening, ServeError, check_certificate, listen, serve};

use crate::{actions::Actions, config::Config, queries::Queries};

/// The file beside the data that holds the link for the first set-up.
pub const SETUP_LINK: &str = "setup-link";

/// What every handler works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Web {
    pub actions: Actions,
    pub queries: Queries,
    pub config: Arc<Config>,
    /// Ends streams when the server ends.
    pub stop: CancellationToken,
    rates: Arc<shield::Rates>,
    answered: Arc<metrics::Answered>,
    /// How far the audit log was checked.
    chain: Arc<pages::ChainCheck>,
}

impl Web {
    pub fn new(actions: Actions, queries: Queries, config: Arc<Config>, stop: CancellationToken) -> Self {
        Self { actions, queries, config, stop, rates: Arc::default(), answered: Arc::default(), chain: Arc::default() }
    }

    /// Whether cookies may only travel encrypted.
    pub fn secure(&self) -> bool {
        self.actions.setup().public_url.starts_with("https://")
    }
}

/// Everything that the server answers.
pub fn router(web: Web) -> Router {
    let routes = Router::new()
        .merge(pages::routes(&web))
        .merge(api::routes())
        .merge(compat::routes(&web))
        .merge(callbacks::routes())
        .merge(run_task_door::routes())
        .merge(v2::routes())
        .route("/static/{name}", get(assets::serve))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics));
    shield::around(routes, &web).with_state(web)
}

/// Whether the store answers and has room.
async fn ready(axum::extract::State(web): axum::extract::State<Web>) -> Result<&'static str, Problem> {
    web.queries.slots_used()?;
    if web.actions.has_room() { Ok("ok\n") } else { Err(Problem::unavailable("the disk is nearly full")) }
}
