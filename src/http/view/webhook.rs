//! Webhooks: the administration's pages; messages in the inbox.

use askama::Template;

use super::{
    form::{Choice, Control, Field, Fields as _, form},
    frame::{Empty, Frame, Pager, Tab},
    status::{Badge, Moment},
};
use crate::domain::{Look, Severity};

/// A webhook in the list.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    pub id: String,
    pub name: String,
    pub href: String,
    pub badge: Badge,
    /// `https://hooks.example`
    pub host: String,
    /// `any JSON`, `Slack`
    pub form: &'static str,
    pub signed: bool,
    pub labels: Vec<String>,
    pub updated: Moment,
}

form!(
    /// Posts `do=create` or `do=save`.
    WebhookForm {
        name,
        id,
        form,
        url,
        secret,
        headers,
        labels,
        enabled,
    }
);

impl WebhookForm {
    pub fn new() -> Self {
        let forms = vec![
            Choice::new("json", "JSON").hint("What the policy gives as payload, else the run's event"),
            Choice::new("slack", "Slack").hint("An incoming webhook of Slack, or of what understands the same"),
        ];
        Self {
            name: Field::text("name", "Name").placeholder("Operations channel").required(),
            id: Field::code("id", "Id")
                .placeholder("operations-channel")
                .hint("What policies call it: endpoint_id. Empty takes the one that the name suggests. It stays."),
            form: Field::new("form", "Understands", Control::Radio(forms)).value("json"),
            url: Field::code("url", "Address")
                .placeholder("https://hooks.example/airlock")
                .hint("This machine itself is called only where the operator lists it (outbound_allow).")
                .required(),
            secret: Field::password("secret", "Secret", "off")
                .hint("Signs every delivery: X-Signature and X-Signature-256. Never shown again."),
            headers: Field::code_area("headers", "Headers", 3)
                .placeholder("Authorization: Bearer …")
                .hint("One a line, sent along with every delivery. Their values are never shown again."),
            labels: Field::text("labels", "Labels")
                .placeholder("ops, prod")
                .hint("With commas between. Policies can choose webhooks by them."),
            enabled: Field::toggle("enabled", "Enabled").hint("Off: nothing is delivered.").value("on"),
        }
    }

    /// For a webhook that is there: its id stays, and what is secret about it is kept.
    pub fn keeps(&mut self, secret: bool, headers: &[String]) {
        if secret {
            "Signs every delivery. Empty keeps the stored secret; a single - removes it."
                .clone_into(&mut self.secret.hint);
        }
        if !headers.is_empty() {
            self.headers.hint = format!(
                "Sent now: {}. A line sets one, a line without a value removes it; the others stay.",
                headers.join(", ")
            );
        }
    }
}

impl Default for WebhookForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/webhooks`. Posts `do=create`.
#[derive(Clone, Debug, Template)]
#[template(path = "webhooks.html")]
pub struct WebhooksPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub webhooks: Vec<WebhookRow>,
    pub form: WebhookForm,
    pub problems: Vec<String>,
    pub empty: Empty,
}

/// One try of a delivery.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    pub at: Moment,
    /// `200`, `no answer`
    pub status: String,
    pub took: String,
    /// `first`, `retry`, `sent again by ops-lead`
    pub reason: String,
    pub answer: String,
}

/// A delivery with its tries.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    pub number: u64,
    pub badge: Badge,
    /// `Shop run #12, failed`, `a test by ops-lead`
    pub what: String,
    pub run: Option<String>,
    pub policy: Option<String>,
    pub made: Moment,
    pub method: String,
    pub body: String,
    pub attempts: Vec<AttemptRow>,
    /// Why nobody tries any more.
    pub reason: Option<String>,
    pub may_send: bool,
}

/// `/admin/webhooks/{id}`. Posts `do=save|test|redeliver|delete`, `delivery`.
#[derive(Clone, Debug, Template)]
#[template(path = "webhook.html")]
pub struct WebhookPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub name: String,
    pub id: String,
    pub badge: Badge,
    /// Why it is off.
    pub why: Option<String>,
    /// `3 deliveries in a row failed`
    pub failing: Option<String>,
    pub enabled: bool,
    pub form: WebhookForm,
    pub problems: Vec<String>,
    pub deliveries: Vec<DeliveryRow>,
    pub pager: Pager,
}

/// A message in the inbox.
#[derive(Clone, Debug)]
pub struct MessageRow {
    pub number: u64,
    pub badge: Badge,
    pub title: String,
    pub text: String,
    pub href: Option<String>,
    pub policy: Option<String>,
    pub at: Moment,
    pub read: bool,
}

/// How grave a message is, as it is shown.
pub fn severity_badge(severity: Severity) -> Badge {
    let (look, word) = match severity {
        Severity::Info => (Look::Succeeded, "Info"),
        Severity::Warning => (Look::NeedsYou, "Warning"),
        Severity::Error => (Look::Failed, "Error"),
    };
    Badge::new(look, word)
}
