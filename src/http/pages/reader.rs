//! Who reads an error, and how they like their pages.

use axum::{
    body::Body,
    extract::Request,
    http::{Method, header},
};

use super::{cookies, visitor::me};
use crate::{
    auth::Who,
    http::{
        Web, extract,
        view::{Frame, frame::Theme},
    },
};

/// What a page must know of the request behind it, whoever asks.
#[derive(Clone, Debug)]
pub struct Reader {
    path: String,
    posts: bool,
    /// The address has a query.
    asks: bool,
    wants_page: bool,
    theme: Theme,
    shortcuts: bool,
    /// The session's token.
    token: Option<String>,
    address: Option<std::net::IpAddr>,
}

impl Reader {
    pub fn of(web: &Web, request: &Request<Body>) -> Self {
        let headers = request.headers();
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = request.uri().path();
        let program = ["/api/", "/oauth2/", "/static/", "/live/", "/healthz", "/readyz", "/metrics"]
            .iter()
            .any(|start| path.starts_with(start));
        let cookie = |name: &str| extract::cookie(headers, name).map(str::to_owned);
        Self {
            path: path.to_owned(),
            posts: request.method() == Method::POST,
            asks: request.uri().query().is_some(),
            wants_page: !program && accepts.contains("text/html"),
            theme: Theme::from_word(&cookie(Theme::COOKIE).unwrap_or_default()),
            shortcuts: cookie(cookies::SHORTCUTS).as_deref() != Some("off"),
            token: cookie(extract::session_cookie(web)),
            address: request.extensions().get::<crate::http::shield::From>().and_then(|from| from.0),
        }
    }

    /// Whether a person in a browser asked.
    pub const fn wants_page(&self) -> bool {
        self.wants_page
    }

    /// A form's page has the form's own path; a page that could not read its filters has one without them.
    pub fn way_back(&self, status: u16) -> Option<(String, String)> {
        let word = match (self.posts, self.asks && status == 422) {
            (true, _) => "Back",
            (false, true) => "Without these filters",
            (false, false) => return None,
        };
        Some((word.to_owned(), self.path.clone()))
    }

    fn who(&self, web: &Web) -> Option<Who> {
        web.queries.authenticate(self.token.as_deref()?, self.address).ok().flatten()
    }

    /// The frame around a page for this reader: with the navigation for those who are signed in.
    pub fn frame(&self, web: &Web, subject: &str) -> Frame {
        let mut frame = Frame::bare(subject, &self.path, self.theme, web.queries.now());
        frame.shortcuts = self.shortcuts;
        if let Some(who) = self.who(web) {
            frame.me = Some(me(&who));
            frame.needs_you = web.queries.needs(&who).unwrap_or_default() as u64;
        }
        frame
    }
}
