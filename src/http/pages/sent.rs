//! What a form or an address carried: names with values, in their order.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use url::form_urlencoded;

use crate::{
    actions::Error,
    domain::{FieldError, Refused, RefusedKind},
    http::{Problem, Web, view::form::Fields},
};

/// Names and values that one form may send.
const PAIRS: usize = 5_000;

/// Names with values.
#[derive(Clone, Debug, Default)]
pub struct Sent(Vec<(String, String)>);

impl Sent {
    pub fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).take(PAIRS);
        // Browsers send every line end as CR LF; commands and values have LF.
        Self(pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n"))).collect())
    }

    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The last value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The same, empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// A value that is more than blanks, without those around it.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Every value of a name.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "on" | "true"))
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// What the form wants: the button's value.
    pub fn verb(&self) -> &str {
        self.text("do")
    }

    /// An address with everything of this but some names.
    pub fn address(&self, path: &str, but: &[&str]) -> String {
        let rest = self.0.iter().filter(|(name, value)| !but.contains(&name.as_str()) && !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

/// What stands after the `?` of an address.
#[derive(Clone, Debug)]
pub struct Asked(pub Sent);

impl FromRequestParts<Web> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        Ok(Self(Sent::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// A form's fields, as browsers send them without files.
#[derive(Clone, Debug)]
pub struct Form(pub Sent);

impl FromRequest<Web> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Problem> {
        if !is_kind(&request, "application/x-www-form-urlencoded") {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this address takes a form"));
        }
        let bytes = Bytes::from_request(request, web).await.map_err(|rejection| {
            let status = axum::response::IntoResponse::into_response(rejection).status();
            Problem::of_status(status, "the form holds more than this page takes")
        })?;
        Ok(Self(Sent::parse(&bytes)))
    }
}

/// Whether a request's body is of this kind.
pub fn is_kind(request: &Request, kind: &str) -> bool {
    let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    named.is_some_and(|named| named.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind))
}

/// Why a form comes back.
#[derive(Clone, Debug)]
pub struct Wrong {
    pub status: StatusCode,
    pub errors: Vec<FieldError>,
    detail: String,
}

impl Wrong {
    /// What an action refused because of the input, or of the state that the input met. Everything
    /// else is a problem of another kind.
    pub fn of(error: Error) -> Result<Self, Problem> {
        match error {
            Error::Refused(refused)
                if matches!(refused.kind, RefusedKind::Invalid | RefusedKind::Conflict | RefusedKind::TooLarge)
                    // A policy says no to the input, and names it.
                    || refused.kind == RefusedKind::Forbidden && !refused.fields.is_empty() =>
            {
                Ok(refused.into())
            }
            other => Err(other.into()),
        }
    }

    /// Puts errors at their fields; what has none is returned for the summary.
    pub fn blame(&self, form: &mut impl Fields) -> Vec<String> {
        let homeless = form.blame(&self.errors);
        if self.errors.is_empty() { vec![sentence(&self.detail)] } else { homeless }
    }

    /// All of it in one sentence.
    pub fn sentence(&self) -> String {
        sentence(&self.detail)
    }

    /// Gives fields the names that they have in the form.
    #[must_use]
    pub fn renamed(&self, names: &[(&str, &str)]) -> Self {
        let mut renamed = self.clone();
        for error in &mut renamed.errors {
            if let Some((_, name)) = names.iter().find(|(action, _)| *action == error.field) {
                (*name).clone_into(&mut error.field);
            }
        }
        renamed
    }
}

impl From<Refused> for Wrong {
    fn from(refused: Refused) -> Self {
        let status = Problem::from(refused.clone()).status();
        Self { status, errors: refused.fields, detail: refused.detail }
    }
}

/// A refusal's words as a sentence: they begin small, so that they fit behind others.
pub fn sentence(words: &str) -> String {
    let is_address = words.split(' ').next().is_some_and(|first| first.contains("://"));
    let mut chars = words.chars();
    match chars.next() {
        Some(first) if !is_address => format!("{}{}", first.to_uppercase(), chars.as_str()),
        Some(_) | None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital_letter_and_an_address_stays_as_it_is() {
        for (words, expected) in [("", ""), ("übel", "Übel"), ("https://x/y is away", "https://x/y is away")] {
            assert_eq!(sentence(words), expected);
        }
    }

    #[test]
    fn a_form_is_read_with_its_line_ends_as_commands_have_them() {
        let sent = Sent::parse(b"do=save&command=a%0D%0Ab&stack=x&stack=y&on=on");
        assert_eq!(sent.verb(), "save");
        assert_eq!(sent.text("command"), "a\nb");
        assert_eq!(sent.all("stack").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(sent.get("stack"), Some("y"));
        assert!(sent.is_on("on") && !sent.is_on("off"));
    }

    #[test]
    fn an_address_carries_on_what_was_asked_for() {
        let sent = Sent::parse(b"q=a b&state=&cursor=1-2");
        assert_eq!(sent.address("/runs", &["cursor"]), "/runs?q=a+b");
        assert_eq!(Sent::default().address("/runs", &[]), "/runs");
    }
}
