//! The part of HCP Terraform's API that is about run tasks: `/api/v2`, JSON:API, so that clients of
//! theirs manage ours. Attribute names, ids and paging are as HashiCorp documents them (2025–2026).
//!
//! | theirs | here |
//! | --- | --- |
//! | organization | the installation |
//! | workspace, `ws-…` | a stack, also by its slug |
//! | task, `task-…` | a run task |
//! | workspace task, `wstask-…` | a run task on a stack |
//! | task stage, task result | as here |
//!
//! What an actor may not do does not exist for them: 404, as their clients expect. Both `-` and `_` are
//! understood in ids and in names of attributes.
//!
//! | file | routes |
//! | --- | --- |
//! | `tasks` | `/organizations/{org}/tasks`, `/tasks/{id}` |
//! | `workspaces` | `/workspaces/{ws}/tasks`, and what is below |
//! | `stages` | stages and results of runs, override |
//! | `document` | JSON:API itself: documents, pages, errors |

mod document;
mod stages;
mod tasks;
mod workspaces;

use axum::{Router, middleware};

use super::{Problem, Web};

/// The installation, as their clients name it.
pub const ORGANIZATION: &str = "airlock";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(tasks::routes())
        .merge(workspaces::routes())
        .merge(stages::routes())
        .layer(middleware::from_fn(document::finish))
}

type Answer<T> = Result<T, Problem>;

/// An organization that is not this one is none.
fn check_organization(name: &str) -> Answer<()> {
    if name == ORGANIZATION {
        return Ok(());
    }
    Err(Problem::not_found(format!("there is no organization `{name}`; this installation's is `{ORGANIZATION}`")))
}
