//! JSON:API: documents, pages, errors.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{
    domain::{Refused, Timestamp, limits, run_task::outward},
    http::{Problem, Web},
};

const MEDIA_TYPE: &str = "application/vnd.api+json";
/// Items of a page where nothing is said, and at most.
const PAGE: usize = 20;
const PAGE_MOST: usize = 100;

/// One resource, or what a list of them is.
#[derive(Clone, Debug)]
pub struct Document(pub Value);

impl Document {
    pub fn of(resource: Value) -> Self {
        Self(json!({"data": resource}))
    }

    /// With what was asked for beside it.
    pub fn including(mut self, included: Vec<Value>) -> Self {
        if !included.is_empty() {
            self.0["included"] = json!(included);
        }
        self
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], self.0.to_string()).into_response()
    }
}

/// Errors in the shape that clients read. What somebody may not do is not there.
pub async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let status = match problem.status() {
        StatusCode::FORBIDDEN => StatusCode::NOT_FOUND,
        status => status,
    };
    let one = |detail: &str, field: Option<&str>| {
        let title = status.canonical_reason().unwrap_or("error").to_lowercase();
        let mut error = json!({"status": status.as_u16().to_string(), "title": title, "detail": detail});
        if let Some(field) = field {
            error["source"] = json!({"pointer": format!("/data/attributes/{}", field.replace('_', "-"))});
        }
        error
    };
    let errors: Vec<Value> = match &problem.errors[..] {
        _ if status == StatusCode::NOT_FOUND => vec![one(&problem.detail, None)],
        [] => vec![one(&problem.detail, None)],
        fields => fields.iter().map(|it| one(&format!("{} {}", it.field, it.error), Some(&it.field))).collect(),
    };
    let mut answer = (status, Document(json!({"errors": errors}))).into_response();
    for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// The document of a request; an empty body is an empty one.
#[derive(Debug)]
pub struct Given(Value);

impl FromRequest<Web> for Given {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, web).await.map_err(|rejection| {
            let status = rejection.into_response().status();
            Problem::of_status(status, format!("the body has more than {} bytes", limits::BODY_BYTES))
        })?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(json!({})));
        }
        let document = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::of_status(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")))?;
        Ok(Self(document))
    }
}

impl Given {
    /// An attribute of the resource, in either spelling; null is none.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        let attributes = self.0.pointer("/data/attributes").and_then(Value::as_object)?;
        let found = attributes.get(name).or_else(|| attributes.get(&name.replace('-', "_")))?;
        (!found.is_null()).then_some(found)
    }

    /// Whether an attribute is there at all, if only as null.
    pub fn names(&self, name: &str) -> bool {
        let attributes = self.0.pointer("/data/attributes").and_then(Value::as_object);
        attributes.is_some_and(|all| all.contains_key(name) || all.contains_key(&name.replace('-', "_")))
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Refused> {
        self.attribute(name)
            .map(|value| value.as_str().ok_or_else(|| Refused::field(name.replace('-', "_"), "must be a text")))
            .transpose()
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refused> {
        self.attribute(name)
            .map(|value| value.as_bool().ok_or_else(|| Refused::field(name.replace('-', "_"), "must be true or false")))
            .transpose()
    }

    /// The id of a related resource.
    pub fn related(&self, name: &str) -> Option<&str> {
        self.0.pointer(&format!("/data/relationships/{name}/data/id"))?.as_str()
    }

    /// A member of a document that is none of JSON:API's.
    pub fn member(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

/// Which part of a list is wanted, and what beside it.
#[derive(Clone, Debug)]
pub struct Wanted {
    number: usize,
    size: usize,
    include: Vec<String>,
    path: String,
}

impl FromRequestParts<Web> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let value = |name: &str| {
            let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
        };
        let number = |name: &str, usual: usize| match value(name).map(|text| text.parse::<usize>()) {
            None => Ok(usual),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(Problem::of_status(StatusCode::BAD_REQUEST, format!("`{name}` must be a number from 1 on"))),
        };
        Ok(Self {
            number: number("page[number]", 1)?,
            size: number("page[size]", PAGE)?.min(PAGE_MOST),
            include: value("include").unwrap_or_default().split(',').map(|it| it.trim().replace('_', "-")).collect(),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl Wanted {
    /// Whether this relationship is to be included.
    pub fn includes(&self, name: &str) -> bool {
        self.include.iter().any(|it| it == name || it.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Whether what lies behind a relationship is to be included.
    pub fn includes_below(&self, path: &str) -> bool {
        self.include.iter().any(|it| it == path)
    }

    /// The wanted part of a list.
    pub fn page<T>(&self, all: Vec<T>, shape: impl FnMut(T) -> Value) -> Document {
        let total = all.len();
        let pages = total.div_ceil(self.size).max(1);
        let from = (self.number - 1).saturating_mul(self.size);
        let items: Vec<Value> = all.into_iter().skip(from).take(self.size).map(shape).collect();
        let previous = (self.number > 1).then(|| self.number - 1);
        let next = (self.number < pages).then(|| self.number + 1);
        let link = |number: usize| format!("{}?page%5Bnumber%5D={number}&page%5Bsize%5D={}", self.path, self.size);
        Document(json!({
            "data": items,
            "links": {
                "self": link(self.number),
                "first": link(1),
                "prev": previous.map(link),
                "next": next.map(link),
                "last": link(pages),
            },
            "meta": {"pagination": {
                "current-page": self.number,
                "page-size": self.size,
                "prev-page": previous,
                "next-page": next,
                "total-pages": pages,
                "total-count": total,
            }},
        }))
    }
}

/// A reference to a resource.
pub fn reference(kind: &str, id: impl std::fmt::Display) -> Value {
    json!({"id": outward(id), "type": kind})
}

/// Times by name, without those that have not come.
pub fn times<const N: usize>(times: [(&str, Option<Timestamp>); N]) -> Value {
    let there = times.into_iter().filter_map(|(name, at)| Some((name.to_owned(), json!(at?.to_string()))));
    Value::Object(there.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(number: usize, size: usize) -> Wanted {
        Wanted { number, size, include: vec!["run.workspace".to_owned()], path: "/x".to_owned() }
    }

    #[test]
    fn pages_say_where_the_others_are() {
        let page = |number| wanted(number, 10).page((0..25).collect(), |n| json!(n)).0;
        let pagination = |number| page(number)["meta"]["pagination"].clone();
        assert_eq!(page(3)["data"], json!([20, 21, 22, 23, 24]));
        assert_eq!(
            pagination(1),
            json!({"current-page": 1, "page-size": 10, "prev-page": null, "next-page": 2, "total-pages": 3, "total-count": 25})
        );
        assert_eq!(pagination(3)["next-page"], Value::Null);
        assert_eq!(page(9)["data"], json!([]));
        assert_eq!(wanted(1, 20).page(Vec::<u8>::new(), |n| json!(n)).0["meta"]["pagination"]["total-pages"], 1);
    }

    #[test]
    fn attributes_are_found_in_either_spelling() {
        let given =
            Given(json!({"data": {"attributes": {"hmac_key": "x", "enforcement-level": "mandatory", "url": null}}}));
        assert_eq!(given.text("hmac-key"), Ok(Some("x")));
        assert_eq!(given.text("enforcement-level"), Ok(Some("mandatory")));
        assert!(given.attribute("url").is_none() && given.names("url") && !given.names("name"));
        assert!(given.flag("hmac-key").is_err());
    }

    #[test]
    fn what_is_included_may_lie_behind_something_else() {
        let wanted = wanted(1, 20);
        assert!(wanted.includes("run") && wanted.includes_below("run.workspace"));
        assert!(!wanted.includes("task-results"));
    }
}
