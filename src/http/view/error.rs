//! Error pages: what happened, what you can do, links on, the request's id.

use askama::Template;

use super::frame::Frame;

/// Every error is one of our pages.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub frame: Frame,
    pub status: u16,
    pub title: &'static str,
    /// What happened, in this case: the refusal's sentence.
    pub detail: String,
    /// What the reader can do.
    pub advice: &'static str,
    /// Fields of the input that are wrong: name and error.
    pub fields: Vec<(String, String)>,
    /// Word and address.
    pub ways: Vec<(String, String)>,
    pub request_id: String,
}

impl ErrorPage {
    /// The page for a status, in the frame of the person who asked or in [`Frame::bare`].
    pub fn new(frame: Frame, status: u16, detail: impl Into<String>, request_id: impl Into<String>) -> Self {
        let (title, advice) = words(status);
        let detail: String = detail.into();
        let said = detail.trim_end_matches('.') == title;
        Self {
            frame: Frame { subject: title.to_owned(), ..frame },
            status,
            title,
            detail: if said { String::new() } else { whole(&detail) },
            advice,
            fields: Vec::new(),
            ways: ways(status),
            request_id: request_id.into(),
        }
    }

    /// Fields that are wrong. What stands at them is not said before them, too, and what was said before them is
    /// not said at them.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<(String, String)>) -> Self {
        let all: Vec<String> = fields.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        if !fields.is_empty() && self.detail.trim_end_matches('.') == all.join("; ") {
            self.detail.clear();
        }
        let unsaid = fields.into_iter().filter(|(_, error)| !self.detail.contains(error));
        self.fields = unsaid.map(|(name, error)| (name, whole(&error))).collect();
        self
    }
}

/// A whole sentence.
pub fn whole(text: &str) -> String {
    let text = text.trim_end();
    let ended = text.is_empty() || text.ends_with(['.', '!', '?', '…', ':']);
    if ended { text.to_owned() } else { format!("{text}.") }
}

const fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("That could not be read", "Nothing was changed. Go back and send it again."),
        401 => ("You are not signed in", "Sign in, and you come back here."),
        403 => ("You may not do this", "Someone with the role that is named above can do it, or give it to you."),
        404 => ("There is nothing here", "It may have been deleted, or you may not see it. Look for it in the lists."),
        405 | 415 => ("This address does not take that", "Nothing was changed. Go back and use the page's own forms."),
        408 => ("That took too long", "Nothing was changed. Try again."),
        409 => ("Not possible at the moment", "Nothing was changed. Look at the present state and try again."),
        413 => ("That is too large", "Nothing was stored. Send less; the limit is named above."),
        422 => ("Something is not right yet", "Nothing was changed. Go back, mend it and send it again."),
        429 => ("Too many requests", "Wait a moment, then try again."),
        503 => ("Airlock cannot do this now", "Running work goes on. Try again in a moment."),
        _ => {
            ("Something went wrong", "It has been logged under the id below. Try again, or tell your operator the id.")
        }
    }
}

fn ways(status: u16) -> Vec<(String, String)> {
    let way = |word: &str, href: &str| (word.to_owned(), href.to_owned());
    match status {
        401 => vec![way("Sign in", "/sign-in")],
        403 => vec![way("Home", "/"), way("Your account", "/account")],
        404 => vec![way("Stacks", "/stacks"), way("Runs", "/runs"), way("Home", "/")],
        409 => vec![way("Queue", "/queue"), way("Home", "/")],
        _ => vec![way("Home", "/")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Timestamp, http::view::frame::Theme};

    fn page(status: u16, detail: &str) -> ErrorPage {
        ErrorPage::new(Frame::bare("", "/", Theme::System, Timestamp::default()), status, detail, "req-1")
    }

    #[test]
    fn nothing_is_said_twice() {
        let fields = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(name, error)| ((*name).to_owned(), (*error).to_owned())).collect()
        };
        let wrong = fields(&[("do", "`x` is nothing that this page does"), ("name", "must not be empty")]);
        let whole = fields(&[("do", "`x` is nothing that this page does."), ("name", "must not be empty.")]);
        let all = page(422, "do: `x` is nothing that this page does; name: must not be empty");
        let all = all.with_fields(wrong.clone());
        assert_eq!((all.detail.as_str(), &all.fields), ("", &whole));
        let denied = page(403, "the task was not created: no rm").with_fields(fields(&[("command", "no rm")]));
        assert_eq!((denied.detail.as_str(), denied.fields.len()), ("the task was not created: no rm.", 0));
        let more = page(422, "the form does not fit").with_fields(wrong);
        assert_eq!((more.detail.as_str(), &more.fields), ("the form does not fit.", &whole));
    }

    #[test]
    fn only_what_is_our_fault_is_said_to_be_logged() {
        for status in [400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503] {
            assert!(!page(status, "x").advice.contains("logged"), "{status}");
        }
        assert!(page(500, "x").advice.contains("logged"));
    }

    #[test]
    fn every_status_says_what_can_be_done_and_leads_on() {
        for status in [400, 401, 403, 404, 409, 413, 422, 429, 500, 503] {
            let page = page(status, "run #12 is applying");
            assert!(!page.advice.is_empty() && !page.ways.is_empty(), "{status}");
            assert_eq!(page.detail, "run #12 is applying.");
            let page = ErrorPage::new(page.frame, status, page.title, "req-1");
            assert_eq!(page.detail, "", "{status} says its title twice");
        }
    }
}
