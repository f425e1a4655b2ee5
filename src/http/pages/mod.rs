//! The pages: parameters, view, handler.

mod reader;

use axum::{
    Router,
    response::{Html, IntoResponse as _, Response},
};

pub use reader::Reader;

use super::{Problem, Web, view::ErrorPage};
use askama::Template as _;

/// Every page and form.
pub fn routes(_web: &Web) -> Router<Web> {
    Router::new()
}

/// A problem as a page in the reader's own frame.
pub fn error_page(web: &Web, reader: &Reader, problem: &Problem) -> Response {
    let mut page = ErrorPage::new(reader.frame(web, ""), problem.status, &problem.detail, &problem.request_id);
    page.fields = problem.errors.iter().map(|error| (error.field.clone(), error.error.clone())).collect();
    match page.render() {
        Ok(html) => (problem.status(), Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "an error page could not be rendered");
            problem.clone().into_response()
        }
    }
}
