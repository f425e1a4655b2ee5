//! What all shapes share: links, times, names in paths.

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::{
    domain::Timestamp,
    http::{Problem, Web},
};

/// A document whose links are still paths; [`finish`] makes it an answer.
#[derive(Clone, Debug)]
pub struct Hal(pub Value);

impl IntoResponse for Hal {
    fn into_response(self) -> Response {
        let mut response = ().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Makes links absolute, for the address that the client used, and gives errors the fields that
/// clients look for beside ours.
pub async fn finish(State(web): State<Web>, request: Request, next: Next) -> Response {
    let base = base_of(&web, &request);
    let mut response = next.run(request).await;
    if let Some(Hal(mut document)) = response.extensions_mut().remove::<Hal>() {
        lead_out(&mut document, &base);
        return (response.status(), Json(document)).into_response();
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let body = json!({
        "status": "error",
        "code": problem.status,
        "type": problem.kind,
        "title": problem.title,
        "message": problem.detail,
        "detail": problem.detail,
        "errors": problem.errors,
    });
    let mut answer = (response.status(), Json(body)).into_response();
    for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// The server as the client addressed it.
fn base_of(web: &Web, request: &Request) -> String {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    let scheme = if web.secure() && host != Some(DOOR) { "https" } else { "http" };
    host.map_or_else(|| web.actions.setup().public_url.clone(), |host| format!("{scheme}://{host}"))
}

/// How running tasks address the server.
const DOOR: &str = "localhost:8200";

fn lead_out(document: &mut Value, base: &str) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(|item| lead_out(item, base)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(path) if name == "href" && path.starts_with('/') => *path = format!("{base}{path}"),
                    value => lead_out(value, base),
                }
            }
        }
        _ => {}
    }
}

/// Characters of a name that stand for themselves in a path.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as a segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

pub fn project_path(project: &str) -> String {
    format!("/projects/{}", segment(project))
}

pub fn environment_path(project: &str, environment: &str) -> String {
    format!("{}/environments/{}", project_path(project), segment(environment))
}

/// `{"name": {"href": …}}`
pub fn links<const N: usize>(links: [(&str, String); N]) -> Value {
    Value::Object(links.map(|(name, href)| (name.to_owned(), json!({"href": href}))).into_iter().collect::<Map<_, _>>())
}

/// `2026-01-01T00:00:00.000000+00:00`
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let fraction = if text.contains('.') { "000" } else { ".000000" };
    format!("{}{fraction}+00:00", text.trim_end_matches('Z'))
}

/// Text for the HTML in descriptions.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_names_are_one_segment() {
        assert_eq!(time(Timestamp::from_millis(1_767_225_600_000)), "2026-01-01T00:00:00.000000+00:00");
        assert_eq!(time(Timestamp::from_millis(1_767_225_600_120)), "2026-01-01T00:00:00.120000+00:00");
        assert_eq!(environment_path("shop", "feature/x"), "/projects/shop/environments/feature%2Fx");
    }
}
