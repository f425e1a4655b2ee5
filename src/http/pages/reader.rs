//! Who reads a page, and how they like it.

use axum::{body::Body, extract::Request, http::header};

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
    wants_page: bool,
    theme: Theme,
    token: Option<String>,
    address: Option<std::net::IpAddr>,
}

impl Reader {
    pub fn of(request: &Request<Body>) -> Self {
        let headers = request.headers();
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = request.uri().path();
        let program =
            ["/api/", "/oauth2/", "/static/", "/healthz", "/readyz"].iter().any(|start| path.starts_with(start));
        Self {
            path: path.to_owned(),
            wants_page: !program && accepts.contains("text/html"),
            theme: Theme::from_word(extract::cookie(headers, Theme::COOKIE).unwrap_or_default()),
            token: extract::token(headers).map(str::to_owned),
            address: request.extensions().get::<crate::http::shield::From>().and_then(|from| from.0),
        }
    }

    /// Whether a person in a browser asked.
    pub const fn wants_page(&self) -> bool {
        self.wants_page
    }

    /// Who reads, if they are signed in.
    pub fn who(&self, web: &Web) -> Option<Who> {
        let token = self.token.as_deref()?;
        web.queries.authenticate(token, self.address).ok().flatten()
    }

    /// The frame around a page for this reader.
    pub fn frame(&self, web: &Web, subject: &str) -> Frame {
        Frame::bare(subject, &self.path, self.theme, web.queries.now())
    }
}
