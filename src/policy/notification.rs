//! What a notification policy wants said, and to whom.
//!
//! The shapes are those that Spacelift documents. What does not fit them is a [`Trouble`]: a message that
//! nobody gets is worse than an error that somebody sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Trouble,
    decision::{cut, strange},
};
use crate::domain::{Severity, limits, webhook};

/// One thing that is to be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum Notification {
    Webhook(Webhook),
    Slack(Slack),
    Inbox(Inbox),
    /// Into a pull request, of which none are known yet.
    PullRequest,
}

/// A call of a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub endpoint_id: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// None: what the webhook's form gives for the event.
    #[serde(default)]
    pub payload: Option<Value>,
    #[serde(default = "post")]
    pub method: String,
}

/// A message to a webhook of the form `slack`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slack {
    #[serde(alias = "channel_id")]
    pub endpoint_id: String,
    /// None: a sentence about the event.
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub mention_users: Vec<String>,
    #[serde(default)]
    pub mention_groups: Vec<String>,
}

/// A message to people here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbox {
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "severity")]
    pub severity: Severity,
}

fn post() -> String {
    "POST".to_owned()
}

/// In capitals, as policies write it, or as it is kept.
fn severity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    let word = String::deserialize(deserializer)?;
    Severity::from_word(&word)
        .ok_or_else(|| serde::de::Error::custom(format_args!("`{word}` is not a severity: INFO, WARNING or ERROR is")))
}

impl Notification {
    /// In a line, for the samples of the policy.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Webhook(one) => format!("calls the webhook {}", one.endpoint_id),
            Self::Slack(one) => format!("writes to {}", one.endpoint_id),
            Self::Inbox(one) => format!("tells people: {}", one.title.as_deref().unwrap_or("what happened")),
            Self::PullRequest => "would write into a pull request, of which Airlock knows none yet".to_owned(),
        }
    }
}

/// What a rule gave: a set, a list, or one object.
pub(super) fn read(rule: &str, value: &Value) -> Result<Vec<Notification>, Trouble> {
    match value {
        Value::Null | Value::Bool(false) => Ok(Vec::new()),
        Value::Array(items) if items.len() > limits::POLICY_MESSAGES => Err(Trouble::new(format!(
            "the rule `{rule}` gives {} messages; at most {} are sent",
            items.len(),
            limits::POLICY_MESSAGES
        ))),
        Value::Array(items) => items.iter().map(|item| one(rule, item)).collect(),
        Value::Object(_) => Ok(vec![one(rule, value)?]),
        Value::Bool(true) => Err(strange(rule, "only true", "objects")),
        Value::Number(_) => Err(strange(rule, "a number", "objects")),
        Value::String(_) => Err(strange(rule, "a text", "objects")),
    }
}

fn one(rule: &str, value: &Value) -> Result<Notification, Trouble> {
    let unfit =
        |error: serde_json::Error| Trouble::new(format!("the rule `{rule}` gives what cannot be sent: {error}"));
    let read = match rule {
        "webhook" => Notification::Webhook(serde_json::from_value(value.clone()).map_err(unfit)?),
        "slack" => Notification::Slack(serde_json::from_value(value.clone()).map_err(unfit)?),
        "inbox" => Notification::Inbox(serde_json::from_value(value.clone()).map_err(unfit)?),
        _ => Notification::PullRequest,
    };
    checked(rule, read)
}

/// Bounded, and fit to be sent.
fn checked(rule: &str, notification: Notification) -> Result<Notification, Trouble> {
    let wrong = |why: String| Trouble::new(format!("the rule `{rule}`: {why}"));
    Ok(match notification {
        Notification::Webhook(mut one) => {
            one.method = one.method.to_uppercase();
            if !webhook::METHODS.contains(&one.method.as_str()) {
                let known = webhook::METHODS.join(", ");
                return Err(wrong(format!("`{}` is no method for messages; {known} are", cut(one.method))));
            }
            if one.headers.len() > limits::WEBHOOK_HEADERS {
                return Err(wrong(format!("more than {} headers", limits::WEBHOOK_HEADERS)));
            }
            for (name, value) in &one.headers {
                webhook::check_header(name, value).map_err(wrong)?;
            }
            Notification::Webhook(one)
        }
        Notification::Slack(one) => Notification::Slack(Slack { message: one.message.map(cut), ..one }),
        Notification::Inbox(one) => {
            let bounded = |text: Option<String>, most: usize| text.map(|text| text.chars().take(most).collect());
            Notification::Inbox(Inbox {
                title: bounded(one.title.map(cut), limits::MESSAGE_TITLE_CHARS),
                body: bounded(one.body, limits::MESSAGE_TEXT_CHARS),
                severity: one.severity,
            })
        }
        Notification::PullRequest => Notification::PullRequest,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trouble(rule: &str, value: Value) -> String {
        read(rule, &value).unwrap_err().to_string()
    }

    #[test]
    fn the_published_shapes_are_read() {
        let webhook =
            json!([{"endpoint_id": "hook", "headers": {"X-Team": "ops"}, "payload": {"a": 1}, "method": "put"}]);
        let expected = Webhook {
            endpoint_id: "hook".to_owned(),
            headers: BTreeMap::from([("X-Team".to_owned(), "ops".to_owned())]),
            payload: Some(json!({"a": 1})),
            method: "PUT".to_owned(),
        };
        assert_eq!(read("webhook", &webhook), Ok(vec![Notification::Webhook(expected)]));
        let slack = json!({"channel_id": "C01", "message": "hello", "mention_users": ["U1"]});
        let expected = Slack {
            endpoint_id: "C01".to_owned(),
            message: Some("hello".to_owned()),
            mention_users: vec!["U1".to_owned()],
            mention_groups: Vec::new(),
        };
        assert_eq!(read("slack", &slack), Ok(vec![Notification::Slack(expected)]));
        let inbox = json!([{"title": "Failed", "severity": "ERROR"}, {}]);
        assert_eq!(read("inbox", &inbox).unwrap().len(), 2);
        assert_eq!(read("pull_request", &json!([{"commit": "abc"}])), Ok(vec![Notification::PullRequest]));
        assert_eq!(read("inbox", &json!(false)), Ok(Vec::new()));
    }

    #[test]
    fn what_could_not_be_sent_is_an_error() {
        assert!(trouble("webhook", json!([{}])).contains("endpoint_id"));
        assert!(
            trouble("webhook", json!([{"endpoint_id": "x", "method": "DELETE"}])).contains("`DELETE` is no method")
        );
        let split = json!([{"endpoint_id": "x", "headers": {"X": "a\r\nHost: evil"}}]);
        assert!(trouble("webhook", split).contains("printable ASCII"));
        let own = json!([{"endpoint_id": "x", "headers": {"x-signature": "a"}}]);
        assert!(trouble("webhook", own).contains("sent by Airlock itself"));
        assert!(trouble("inbox", json!([{"severity": "grave"}])).contains("is not a severity"));
        assert!(trouble("inbox", json!(true)).contains("objects"));
        assert!(trouble("slack", json!(vec![json!({"channel_id": "x"}); 101])).contains("at most 100"));
    }
}
