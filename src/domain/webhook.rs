//! Webhooks: where messages go and in which form; and how grave a message is.

use serde::{Deserialize, Serialize};

use super::limits;

/// What a webhook understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookForm {
    /// Whatever a policy gives as payload; else the event of a run in the shape that Spacelift publishes.
    Json,
    /// An incoming webhook as Slack has them: `{"text": …}`.
    Slack,
}

impl WebhookForm {
    pub const ALL: [Self; 2] = [Self::Json, Self::Slack];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.word() == word)
    }
}

/// The methods that a message may be sent with.
pub const METHODS: [&str; 3] = ["POST", "PUT", "PATCH"];

/// How grave a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    #[default]
    Info,
    Warning,
    Error,
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// In whatever case policies write it.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word().eq_ignore_ascii_case(word))
    }
}

/// Headers that are Airlock's own to send.
const OWN: [&str; 11] = [
    "host",
    "user-agent",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "expect",
    "te",
    "x-signature",
    "x-signature-256",
    "x-airlock-delivery",
];

/// Whether a header may be sent along with messages; why not where it may not.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !(1..=limits::HEADER_NAME_CHARS).contains(&name.len()) || !name.chars().all(token) {
        let most = limits::HEADER_NAME_CHARS;
        return Err(format!("`{}` is not the name of a header (1 to {most} letters, digits and `-`)", shown(name)));
    }
    if OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}` is sent by Airlock itself"));
    }
    if value.len() > limits::HEADER_VALUE_CHARS || !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        let most = limits::HEADER_VALUE_CHARS;
        return Err(format!("the value of `{name}` must have at most {most} printable ASCII characters"));
    }
    Ok(())
}

/// A stranger's text in an error.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_agree_with_serde() {
        for form in WebhookForm::ALL {
            assert_eq!(WebhookForm::from_word(form.word()), Some(form));
            assert_eq!(serde_json::to_value(form).unwrap(), form.word());
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_word(&severity.word().to_uppercase()), Some(severity));
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.word());
        }
    }

    #[test]
    fn a_header_cannot_break_out_nor_speak_for_airlock() {
        assert!(check_header("X-Team", "platform, ops").is_ok());
        assert!(check_header("Authorization", "Bearer abc").is_ok());
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("X\r\nY", "x"),
            ("X-Y", "a\r\nHost: b"),
            ("X-Y", "é"),
            ("host", "x"),
            ("X-Signature-256", "x"),
        ] {
            assert!(check_header(name, value).is_err(), "{name:?} {value:?}");
        }
    }
}
