//! The API that clients of Upsun's tasks know: projects, environments, tasks, activities, logs,
//! variables. The shapes are theirs (on-demand tasks, June 2026); what is behind them is ours.
//!
//! | theirs | here |
//! | --- | --- |
//! | project | a stack, by its slug |
//! | environment | the branch of its source; `main` for uploads |
//! | task | a declared task |
//! | activity | a run of one |
//! | variable `env:NAME` of the environment | the stack's variable NAME |
//! | other variables | the stack's settings, which only declared tasks get |
//!
//! Fields of a body that mean nothing here are ignored, as clients expect. Errors are problems like
//! everywhere; `detail` holds the words that clients look for.
//!
//! | file | routes |
//! | --- | --- |
//! | `projects` | projects, environments, users |
//! | `tasks` | declared tasks, and running one |
//! | `activities`, `log` | runs, canceling one, its log as a stream |
//! | `variables` | on both levels |
//! | `door` | the socket for running tasks, and their tokens |

mod activities;
mod door;
mod hal;
mod log;
mod projects;
mod tasks;
mod variables;

use axum::{Router, extract::FromRequestParts, http::request::Parts, middleware};

pub use door::{Doorway, open_door, serve_door};
#[doc(hidden)]
pub use log::fuzz as fuzz_log;

use super::{Problem, Web, extract};
use crate::{
    auth::{On, Permission, Permit},
    domain::{Refused, Slug, run::SourceVersion, stack::Source},
    queries::{Run, Stack},
};

/// Every route of the compatible API.
pub fn routes(web: &Web) -> Router<Web> {
    Router::new()
        .merge(projects::routes())
        .merge(tasks::routes())
        .merge(activities::routes())
        .merge(log::routes())
        .merge(variables::routes())
        .layer(middleware::from_fn_with_state(web.clone(), hal::finish))
}

type Answer<T> = Result<T, Problem>;

/// Somebody who asks: a person, a key, or a running task by its token.
#[derive(Clone, Debug)]
struct Caller(extract::Asker);

impl std::ops::Deref for Caller {
    type Target = extract::Asker;

    fn deref(&self) -> &extract::Asker {
        &self.0
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        extract::Asker::by_any_token(parts, web, extract::token(web, &parts.headers)).await.map(Self)
    }
}

impl Caller {
    /// A project, and the permit to do something to it. A running task that asks about another one is
    /// told that it may not, not that there is none.
    async fn may(&self, permission: Permission, project: &str) -> Answer<(Stack, Permit)> {
        let slug = Slug::new(project).map_err(|_| Problem::not_found(format!("there is no project `{project}`")))?;
        if let Some(workload) = self.who.workload() {
            let stack = self.web.queries.stack_id(&slug)?;
            if stack != Some(workload.stack) {
                let why = "the `authorizations` of this task are about its own environment";
                let refused = Refused::forbidden(why);
                self.web.actions.refused(&self.who, permission.verb(), &format!("stack:{slug}"), &refused).await;
                return Err(refused.into());
            }
            // Without any authorization nothing is visible, but the refusal is the same.
            let object = format!("stack:{slug}");
            self.0.may(permission, On::Stack(workload.stack), &object).await?;
        }
        self.may_on(permission, &slug).await
    }

    /// The same of one environment.
    async fn may_in(&self, permission: Permission, project: &str, environment: &str) -> Answer<(Stack, Permit)> {
        let (stack, permit) = self.may(permission, project).await?;
        if environment == environment_of(&stack) {
            return Ok((stack, permit));
        }
        let why = format!("the project `{project}` has no environment `{environment}`");
        match self.who.workload() {
            Some(_) => Err(Refused::forbidden(why).into()),
            None => Err(Problem::not_found(why)),
        }
    }

    /// Refuses what only somebody authorized for the environment as a whole may see.
    fn sees_environment(&self) -> Answer<()> {
        match self.who.workload() {
            Some(workload) if !workload.views_environment() => {
                Err(Refused::forbidden("the `authorizations` of this task do not include its environment").into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an activity is the caller's to see.
    fn sees(&self, run: &Run) -> bool {
        let Some(task) = &run.declared_task else { return false };
        match self.who.workload() {
            None => true,
            Some(workload) => workload.views_environment() || workload.authorizations.iter().any(|one| one.names(task)),
        }
    }
}

/// What a stack's environment is called.
fn environment_of(stack: &Stack) -> &str {
    match &stack.settings.source {
        Some(Source::Git { branch, .. }) => branch.as_str(),
        Some(Source::Upload { .. }) | None => UPLOADED,
    }
}

/// What the environment of a run was called.
fn environment_of_run(run: &Run) -> &str {
    match &run.source {
        SourceVersion::Git { branch, .. } => branch.as_str(),
        SourceVersion::Upload { .. } => UPLOADED,
    }
}

/// The environment of a stack without branches.
const UPLOADED: &str = "main";
