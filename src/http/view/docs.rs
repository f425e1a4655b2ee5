//! `/docs/api`: the API for reading, offline, from the same description as `/api/v1/openapi.json`.

use askama::Template;

use super::frame::Frame;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// `path`, `query`, `header`, `body`.
    pub place: &'static str,
    pub required: bool,
    pub text: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its anchor: `post-runs-run-confirm`.
    pub id: String,
    /// `POST`
    pub method: String,
    pub path: String,
    pub summary: String,
    pub text: String,
    pub parameters: Vec<Parameter>,
    /// Status and meaning.
    pub answers: Vec<(u16, String)>,
    /// An example of the body, if there is one.
    pub example: Option<String>,
}

/// Operations under one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationGroup {
    pub id: String,
    pub title: String,
    pub operations: Vec<Operation>,
}

/// `/docs/api`.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_api.html")]
pub struct ApiDocsPage {
    pub frame: Frame,
    pub version: String,
    pub groups: Vec<OperationGroup>,
}
