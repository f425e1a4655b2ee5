//! Use cases that read: everything that pages, the API and the command line show, each from one
//! snapshot, each only as far as the asking actor may see.
//!
//! | file | what |
//! | --- | --- |
//! | `runs` | one run, lists of runs by filter and cursor, timelines, changes |
//! | `stacks` | stacks, their environment, files, uploads |
//! | `home` | what needs somebody, what works, what failed, the queue |
//! | `contexts` | contexts, and everything that stacks get with where it comes from |
//! | `declared` | what sources declare, and what declared tasks are given |
//! | `run_tasks` | outside checks: where they are attached, what they said, how calling them went |
//! | `calls` | what those hear who called a declared task |
//! | `access` | users, keys, sessions, credentials |
//! | `webhooks`, `inbox` | webhooks and their deliveries; messages to people |
//! | `policies` | policies, what they are attached to, what they were asked about |
//! | `guests` | registered guests; what a run's guests may do and left |
//! | `audit` | the audit log, its chain |
//! | `log_text` | the logs of a run as one text, or line by line |
//! | `follow` | a log that grows, piece by piece |
//! | `figures` | numbers for whoever watches the installation |
//! | `states` | versions and lock of managed states |
//! | `logs`, `log_page` | where a phase's log lies, and which of its lines are shown |
//!
//! What an actor may not see does not exist here: the answer is `None`, never a hint.

use std::{path::PathBuf, sync::Arc};

use crate::{
    auth::Who,
    crypt::Keys,
    domain::{Clock, Refused, StackId, Timestamp},
    log::Shared,
    store::{Fault, Snapshot, Store},
};

mod access;
mod audit;
mod calls;
mod contexts;
mod declared;
mod figures;
mod follow;
mod guests;
mod home;
mod images;
mod inbox;
mod log_page;
mod log_text;
mod logs;
mod policies;
mod run_tasks;
mod runs;
mod stacks;
mod states;
mod webhooks;

pub use access::{Access, CredentialRow, SessionRow};
pub use audit::{AuditFilter, AuditPage};
pub use calls::{RunAnswer, Said};
pub use contexts::{ContextDetail, Effective, Environment};
pub use declared::Declared;
pub use figures::Figures;
pub use follow::{Follower, LogPoint, Piece};
pub use guests::{ArtifactRow, GuestRow, RunGuests};
pub use home::{Home, Queue, Waiting, blocked_by};
pub use images::ImageRow;
pub use inbox::MessageRow;
pub use log_page::{LogLine, LogMark, LogPart, LogSpan, LogWindow};
pub use log_text::{LogLines, LogText, TextLine, Which};
pub use logs::{LogPlace, PhaseLog};
pub use policies::{AttachedPolicy, PolicyRow, SampleRow};
pub use run_tasks::{AttachmentRow, DeliveryRow, OnStack, RunTaskRow, StageDetail};
pub use runs::{Cursor, Page, RunDetail, RunFilter};
pub use stacks::{StackFilter, StackGroup, StackRow};

pub use crate::manifest::{DeclaredTask, declared as declaration, declared::MountSource};
pub use crate::policy::{LIBRARY, Offered, Origin};
pub use crate::store::layers::{Attached, Layered};
pub use crate::store::record::{
    About, ApiKey, Attachment, Attempt, AuditEntry, Comment, Context, Credential, CredentialKind, Delivery,
    DeliveryReason, File, HistoryEntry, Holder, Image, Left, Outcome, Patched, PhaseRow, Remark, Review, RoleOnStack,
    Run, RunRuntime, RunTask, RunTaskKind, Service, Session, SessionKind, Setting, SettingLevel, Stack, StageRow,
    Standing, StateLock, StateVersion, TaskResources, TaskResult, Upload, User, Variable, VariableValue, Verification,
    Webhook, WebhookDelivery, current_reviews,
};

/// Everything that queries read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queries {
    store: Store,
    clock: Arc<dyn Clock>,
    keys: Keys,
    data: PathBuf,
    slots: usize,
    /// Encoded pieces of live logs.
    pieces: Arc<Shared>,
}

/// What a query can answer instead.
pub type Result<T> = std::result::Result<T, crate::store::Error>;

impl Queries {
    pub fn new(store: Store, clock: Arc<dyn Clock>, keys: Keys, data: PathBuf, slots: usize) -> Self {
        Self { store, clock, keys, data, slots, pieces: Arc::default() }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub const fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) fn view(&self) -> std::result::Result<Snapshot, Fault> {
        self.store.read()
    }

    /// Who holds a token.
    pub fn authenticate(&self, token: &str, address: Option<std::net::IpAddr>) -> Result<Option<Who>> {
        Ok(crate::auth::who::authenticate(&self.view()?, token, address, self.now())?)
    }

    /// The same actor with what they may do now; none when their access is over.
    pub fn again(&self, who: &Who) -> Result<Option<Who>> {
        Ok(who.again(&self.view()?, self.now())?)
    }

    /// The id of the key that new secrets are encrypted with.
    pub fn master_key_id(&self) -> String {
        self.keys.get().present_id().to_string()
    }
}

/// Whether an actor may know of a stack.
fn sees(who: &Who, stack: StackId) -> bool {
    who.role_on(stack).is_some()
}

/// The answer for what does not exist, or may not be seen.
fn not_found(what: impl std::fmt::Display) -> crate::store::Error {
    Refused::not_found(what).into()
}
