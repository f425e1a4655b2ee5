//! The pages: one template and one struct each, and the words they are made of.
//!
//! Owns what pages show and how it reads. Must not know where the values come from: every struct
//! here is plain data that queries fill, with the moment `now` already applied. Templates hold only
//! `if`, `for`, `match` and macros; what is shown to whom is decided before.
//!
//! Invariants: text is escaped everywhere (there is no `safe` filter in `templates/`); nothing is
//! styled or scripted inline; every form works without JavaScript, posts to its page's own path
//! ([`frame::Frame::path`]) and says with `do` what it wants; a refused form is rendered again with
//! [`form::Fields::keep`] and [`form::Fields::blame`].
//!
//! A live page has elements with `data-block` and `data-rev`. Their contract with the server is
//! written in [`live`]; `GET <page>?block=<name>` is answered with `page.as_<name>()`.
//!
//! | page | struct |
//! | --- | --- |
//! | `/` | [`HomePage`] |
//! | `/stacks`, `/stacks/new` | [`StacksPage`], [`NewStackPage`] |
//! | `/stacks/{slug}`, `/tasks`, `/environment`, `/run-tasks`, `/settings` | [`StackRunsPage`], [`StackTasksPage`], [`StackEnvironmentPage`], [`StackRunTasksPage`], [`StackSettingsPage`] |
//! | `/runs`, `/tasks`, `/queue`, `/audit` | [`RunsPage`], [`TasksPage`], [`QueuePage`], [`AuditPage`] |
//! | `/runs/{id}`, `/log`, `/changes` | [`RunPage`], [`RunLogPage`], [`RunChangesPage`] |
//! | `/admin/contexts`, `/admin/contexts/{name}` | [`ContextsPage`], [`ContextPage`] |
//! | `/admin/run-tasks`, `/{name}` below it, `/runs/{id}/outcomes/…` | [`RunTasksPage`], [`RunTaskPage`], [`OutcomePage`] |
//! | `/admin/policies`, `/new`, `/{name}`, `/stacks/{slug}/policies` | [`PoliciesPage`], [`NewPolicyPage`], [`PolicyPage`], [`StackPoliciesPage`] |
//! | `/admin/webhooks`, `/admin/webhooks/{id}` | [`WebhooksPage`], [`WebhookPage`] |
//! | `/admin/users`, `/keys`, `/credentials`, `/services`, `/guests`, `/images` | [`UsersPage`], [`KeysPage`], [`CredentialsPage`], [`ServicesPage`], [`GuestsPage`], [`ImagesPage`] |
//! | `/setup`, `/sign-in`, `/sign-in/again`, `/invitation`, `/account` | [`SetupPage`], [`SignInPage`], [`ReauthenticatePage`], [`InvitationPage`], [`AccountPage`] |
//! | errors, `/docs/api` | [`ErrorPage`], [`ApiDocsPage`] |

pub mod account;
pub mod admin;
pub mod changes;
pub mod context;
pub mod declared;
pub mod docs;
pub mod error;
pub mod form;
pub mod frame;
pub mod guest;
pub mod image;
pub mod lists;
pub mod live;
pub mod log;
pub mod markdown;
pub mod offers;
pub mod policy;
pub mod rows;
pub mod run;
pub mod run_task;
pub mod stack;
pub mod stack_form;
pub mod status;
pub mod webhook;
pub mod words;

pub use account::{AccountPage, InvitationPage, ReauthenticatePage, SetupPage, SignInPage};
pub use admin::{AuditPage, CredentialsPage, KeysPage, UsersPage};
pub use context::{ContextPage, ContextsPage};
pub use declared::ServicesPage;
pub use docs::ApiDocsPage;
pub use error::ErrorPage;
pub use frame::Frame;
pub use guest::GuestsPage;
pub use image::ImagesPage;
pub use lists::{HomePage, QueuePage, RunsPage, StacksPage, TasksPage};
pub use policy::{NewPolicyPage, PoliciesPage, PolicyPage, StackPoliciesPage};
pub use run::{RunChangesPage, RunLogPage, RunPage};
pub use run_task::{OutcomePage, RunTaskPage, RunTasksPage, StackRunTasksPage};
pub use stack::{StackEnvironmentPage, StackRunsPage, StackSettingsPage, StackTasksPage};
pub use stack_form::NewStackPage;
pub use webhook::{WebhookPage, WebhooksPage};
