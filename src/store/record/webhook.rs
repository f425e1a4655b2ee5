//! Webhooks, and what is delivered to them.

use serde::{Deserialize, Serialize};

use super::DeliveryReason;
use crate::{
    crypt::Sealed,
    domain::{Label, PolicyName, RunId, Slug, State, Timestamp, WebhookForm, actor::ActorName},
};

/// Somebody outside who hears of things over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub id: Slug,
    pub name: String,
    pub url: String,
    pub form: WebhookForm,
    /// What deliveries are signed with; `vault::webhook_secret`.
    pub secret: Option<Sealed>,
    /// Their names can be seen; the values, which may be tokens, are sealed as JSON; `vault::webhook_headers`.
    pub header_names: Vec<String>,
    pub headers: Option<Sealed>,
    pub labels: Vec<Label>,
    pub enabled: bool,
    /// Why it was switched off without anybody's wish.
    pub disabled_because: Option<String>,
    /// Deliveries in a row that failed.
    pub failures: u32,
    pub created_at: Timestamp,
    pub created_by: ActorName,
    pub updated_at: Timestamp,
    pub updated_by: ActorName,
}

/// Something that is delivered to a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookDelivery {
    pub seq: u64,
    pub webhook: Slug,
    pub about: About,
    pub made_at: Timestamp,
    pub method: String,
    /// What the policy adds to the webhook's own.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// When it is tried next; none: it is done.
    pub due_at: Option<Timestamp>,
    /// Whether it arrived.
    pub delivered: bool,
    /// Why nobody tries any more.
    pub given_up: Option<String>,
    /// Tries since it was last begun.
    pub tries: u32,
    /// Who wants it sent again.
    pub again: Option<ActorName>,
    /// The newest ones.
    pub attempts: Vec<Attempt>,
}

/// What a delivery is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A run came into a state, and a policy wants it told.
    Run { run: RunId, state: State, policy: PolicyName },
    /// Somebody wants to see whether it works.
    Test { by: ActorName },
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub reason: DeliveryReason,
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// The beginning of the answer, or what went wrong.
    pub answer: String,
}
