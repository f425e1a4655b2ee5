//! The pages: parameters, view, handler.
//!
//! | file | pages |
//! | --- | --- |
//! | `doors` | `/setup`, `/invitation`, `/sign-in`, `/sign-in/again`, `/sign-out` |
//! | `home`, `stacks`, `runs`, `tasks`, `queue`, `audit`, `account`, `docs` | the page of that name |
//! | `stack` | `/stacks/new`, `/stacks/{slug}` and what is below it |
//! | `run` | `/runs/{id}`, its log, its changes, decisions |
//! | `admin` | `/admin/…` |
//! | `declared` | declared tasks on the pages of tasks |
//! | `live` | `/live/…`: one stream for each open page |
//! | `visitor`, `reader` | who reads, and the frame around every page |
//! | `sent`, `cookies` | what browsers send, and what they keep |
//! | `show`, `lists` | from records to rows |
//!
//! Every form posts to its page's own path and is answered with 303, or with the page again. Nothing
//! is shown that the visitor may not see, and nothing is done without a permit.

mod account;
mod admin;
mod audit;
mod cookies;
mod declared;
mod docs;
mod doors;
mod home;
mod lists;
mod live;
mod queue;
mod reader;
mod run;
mod runs;
mod sent;
mod show;
mod stack;
mod stacks;
mod tasks;
mod visitor;

use askama::Template as _;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};

pub use audit::ChainCheck;
pub use reader::Reader;

use super::{Problem, Web, view::ErrorPage};
use crate::domain::limits;

/// Bytes of a form with long texts: variables, commands, hooks. Browsers write up to three bytes for one.
const LONG_FORM_BYTES: usize = 1 << 20;
/// Bytes around a mounted file in its form.
const AROUND_FILE: u64 = 64 * limits::KIB;

/// Every page and form.
pub fn routes(_: &Web) -> Router<Web> {
    let long = DefaultBodyLimit::max(LONG_FORM_BYTES);
    let with_file = usize::try_from(limits::FILE_BYTES + AROUND_FILE).unwrap_or(usize::MAX);
    // An upload is bounded while it is written to its file.
    let settings = get(stack::settings::get).post(stack::settings::post).layer(DefaultBodyLimit::disable());
    let guests = get(admin::guests::get).post(admin::guests::post).layer(DefaultBodyLimit::disable());
    let workbench = get(admin::policies::get_one).post(admin::policies::post_one);
    // Browsers write up to three bytes for one.
    let workbench = workbench.layer(DefaultBodyLimit::max(3 * limits::POLICY_TRIED_BYTES));
    let images = get(admin::images::get).post(admin::images::post).layer(DefaultBodyLimit::disable());
    let environment =
        get(stack::environment::get).post(stack::environment::post).layer(DefaultBodyLimit::max(with_file));
    let context = get(admin::contexts::get_one).post(admin::contexts::post_one).layer(DefaultBodyLimit::max(with_file));
    Router::new()
        .route("/", get(home::get).post(home::post))
        .route("/setup", get(doors::setup).post(doors::post_setup))
        .route("/invitation", get(doors::invitation).post(doors::post_invitation))
        .route("/sign-in", get(doors::sign_in).post(doors::post_sign_in))
        .route("/sign-in/again", get(doors::get_again).post(doors::post_again))
        .route("/sign-out", post(doors::sign_out))
        .route("/stacks", get(stacks::get).post(stacks::post))
        .route("/stacks/new", get(stack::new::get).post(stack::new::post).layer(long))
        .route("/stacks/{slug}", get(stack::get).post(stack::post).layer(long))
        .route("/stacks/{slug}/tasks", get(stack::get_tasks).post(stack::post_tasks).layer(long))
        .route("/stacks/{slug}/environment", environment)
        .route("/stacks/{slug}/run-tasks", get(stack::run_tasks::get).post(stack::run_tasks::post))
        .route("/stacks/{slug}/policies", get(stack::policies::get).post(stack::policies::post))
        .route("/stacks/{slug}/settings", settings)
        .route("/runs", get(runs::get))
        .route("/runs/{id}", get(run::get).post(run::decide::post).layer(long))
        .route("/runs/{id}/log", get(run::get_log))
        .route("/runs/{id}/outcomes/{result}/{n}", get(run::run_tasks::get_outcome))
        .route("/runs/{id}/patch", get(run::guest::get_patch))
        .route("/runs/{id}/artifacts/{*path}", get(run::guest::get_artifact))
        .route("/runs/{id}/changes", get(run::get_changes).post(run::decide::post).layer(long))
        .route("/tasks", get(tasks::get).post(tasks::post).layer(long))
        .route("/queue", get(queue::get).post(queue::post))
        .route("/audit", get(audit::get))
        .route("/admin/users", get(admin::users::get).post(admin::users::post))
        .route("/admin/keys", get(admin::keys::get).post(admin::keys::post))
        .route("/admin/contexts", get(admin::contexts::get).post(admin::contexts::post))
        .route("/admin/contexts/{name}", context)
        .route("/admin/credentials", get(admin::credentials::get).post(admin::credentials::post))
        .route("/admin/guests", guests)
        .route("/admin/run-tasks", get(admin::run_tasks::get).post(admin::run_tasks::post))
        .route("/admin/run-tasks/{name}", get(admin::run_tasks::get_one).post(admin::run_tasks::post_one))
        .route("/admin/images", images)
        .route("/admin/services", get(admin::services::get).post(admin::services::post))
        .route("/admin/policies", get(admin::policies::get).post(admin::policies::post))
        .route("/admin/policies/new", get(admin::policies::get_new).post(admin::policies::post_new).layer(long))
        .route("/admin/policies/{name}", workbench)
        .route("/admin/webhooks", get(admin::webhooks::get).post(admin::webhooks::post))
        .route("/admin/webhooks/{id}", get(admin::webhooks::get_one).post(admin::webhooks::post_one))
        .route("/account", get(account::get).post(account::post))
        .route("/docs/api", get(docs::get))
        .merge(live_routes())
}

fn live_routes() -> Router<Web> {
    Router::new()
        .route("/live/home", get(live::get_home))
        .route("/live/stacks", get(live::get_stacks))
        .route("/live/stacks/{slug}", get(live::get_stack))
        .route("/live/stacks/{slug}/tasks", get(live::get_stack_tasks))
        .route("/live/runs", get(live::get_runs))
        .route("/live/runs/{id}", get(run::stream::get))
        .route("/live/tasks", get(live::get_tasks))
        .route("/live/queue", get(live::get_queue))
}

/// A problem as a page in the reader's own frame.
pub fn error_page(web: &Web, reader: &Reader, problem: &Problem) -> Response {
    let fields = problem.errors.iter().map(|error| (error.field.clone(), error.error.clone())).collect();
    let page = ErrorPage::new(reader.frame(web, ""), problem.status, &problem.detail, &problem.request_id);
    let mut page = page.with_fields(fields);
    page.detail = sent::sentence(&page.detail);
    if let Some(way) = reader.way_back(problem.status) {
        page.ways.insert(0, way);
    }
    match page.render() {
        Ok(html) => (problem.status(), Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "an error page could not be rendered");
            problem.clone().into_response()
        }
    }
}
