//! The description of the API is true, whole and public.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::server::Server;

/// Every operation of the document, as `METHOD /path`.
pub fn operations(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            found.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    found
}

/// Each `$ref` below a value.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_nothing_in_it_is_missing() {
    let server = Server::start().await;
    let served = server.anonymous().get("/openapi.json").await.expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    let document = served.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/") || path == "/oauth2/token", "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at} has no summary");
            assert_eq!(
                operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"],
                "#/components/schemas/Problem",
                "{at}"
            );
            for (status, response) in operation["responses"].as_object().unwrap() {
                let words = response["description"].as_str().unwrap_or_default();
                assert!(!words.is_empty(), "{at} does not say what {status} is");
            }
            let in_path: BTreeSet<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named: BTreeSet<&str> =
                parameters.iter().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(in_path, named, "{at}");
        }
    }
}

/// The operations of the sources that honour a key, as `METHOD /path`.
fn with_a_key() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/api")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for handler in text.split("#[utoipa::path(").filter(|handler| handler.starts_with("post, path = \"")) {
            let body = handler.split("\n}\n").next().unwrap();
            if body.contains(".once(") {
                found.insert(format!("POST /api/v1{}", handler.split('"').nth(1).unwrap()));
            }
        }
    }
    found
}

#[test]
fn keys_further_formats_and_refusals_are_described() {
    let document = serde_json::to_value(airlock::http::api::document()).unwrap();
    let takes_key = |operation: &&String| {
        let (method, path) = operation.split_once(' ').unwrap();
        let parameters = &document["paths"][path][method.to_lowercase()]["parameters"];
        parameters.as_array().unwrap().iter().any(|one| one["name"] == "Idempotency-Key" && one["in"] == "header")
    };
    let described: BTreeSet<String> = operations(&document).iter().filter(takes_key).cloned().collect();
    assert_eq!(described, with_a_key());
    let paths = &document["paths"];
    let log = &paths["/api/v1/runs/{run}/log"]["get"];
    for (at, kind) in [("200", "text/plain"), ("200", "application/jsonl"), ("206", "text/plain")] {
        assert!(log["responses"][at]["content"][kind].is_object(), "{at} {kind}");
    }
    let format = log["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "format").unwrap();
    assert!(format["description"].as_str().unwrap().contains("[airlock]"));
    assert!(paths["/api/v1/audit"]["get"]["responses"]["200"]["content"]["application/jsonl"].is_object());
    for (path, item) in paths.as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let is_problem = answer["content"]["application/problem+json"].is_object();
                // The standard of that address has errors of its own.
                let is_other = path == "/oauth2/token" && status != "default";
                assert_eq!(is_problem, !status.starts_with('2') && !is_other, "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn every_described_operation_is_there_and_no_other() {
    let server = Server::start().await;
    let document = server.anonymous().get("/openapi.json").await.expect(200).json();
    for operation in operations(&document) {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "x");
        // Whatever it answers, it is not that there is nothing, or nothing for this method.
        let answer = server.anonymous().raw(method, &format!("/{path}"), "").await;
        assert!(![404, 405].contains(&answer.status.as_u16()), "{operation}: {}", answer.text());
        for other in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            if !operations(&document).contains(&operation.replacen(method, other, 1)) {
                let status = server.anonymous().raw(other, &format!("/{path}"), "").await.status;
                assert_eq!(status, 405, "{other} instead of {operation}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_answered_is_what_is_described() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.unconfirmed("shop").await;
    let document = server.anonymous().get("/openapi.json").await.json();
    let stack = server.admin.get("/stacks/shop").await.json();
    let problem = server.admin.get("/stacks/none").await.json();
    let changes = server.admin.get(&format!("/runs/{}/changes", run["id"].as_str().unwrap())).await.json();
    for (name, value) in [("Run", run), ("Stack", stack), ("Problem", problem), ("Changes", changes)] {
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name} is not described");
        fits(&document, schema, &value, name);
    }
}

/// Every member is described, and every required one is there.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document, document.pointer(reference.trim_start_matches('#')).unwrap(), value, at);
    }
    if let Some(cases) = schema["oneOf"].as_array() {
        let case = cases.iter().find(|case| match case.pointer("/properties/kind/enum") {
            Some(kinds) => kinds.as_array().unwrap().contains(&value["kind"]),
            None => {
                (case["type"] == "null") == value.is_null()
                    && (case["type"] == "string") == value.is_string()
                    && (case["properties"].is_null() || value.is_object())
            }
        });
        return fits(document, case.unwrap_or_else(|| panic!("{at}: {value}")), value, at);
    }
    if let (Some(items), Some(of)) = (value.as_array(), schema.get("items")) {
        return items.iter().for_each(|item| fits(document, of, item, at));
    }
    let (Some(members), Some(described)) = (value.as_object(), schema["properties"].as_object()) else { return };
    for (name, value) in members {
        let member = described.get(name).unwrap_or_else(|| panic!("{at}.{name} is not described"));
        fits(document, member, value, &format!("{at}.{name}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(name.as_str().unwrap()), "{at} lacks {name}");
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
}

#[test]
fn the_document_can_be_had_without_a_server() {
    let document = serde_json::to_value(airlock::http::api::document()).unwrap();
    assert!(operations(&document).len() > 50);
    assert_eq!(document["paths"]["/api/v1/openapi.json"]["get"]["security"], json!([{}]));
}
