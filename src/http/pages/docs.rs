//! `/docs/api`: the API for reading, from the same description as `/api/v1/openapi.json`.

use axum::{extract::State, http::StatusCode};
use serde_json::Value;

use super::{
    doors::Stranger,
    visitor::{Answer, Visitor, html},
};
use crate::http::{
    Web, api,
    view::{
        ApiDocsPage,
        docs::{Operation, OperationGroup, Parameter},
        frame::{Crumb, Place},
    },
};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// As open as the description itself.
pub async fn get(State(web): State<Web>, visitor: Option<Visitor>, stranger: Stranger) -> Answer {
    let description = api::description();
    let page =
        |frame| ApiDocsPage { frame, version: text(&description["info"]["version"]), groups: groups(&description) };
    match visitor {
        Some(visitor) => visitor.page(&page(visitor.frame(Place::Elsewhere, "API", vec![Crumb::here("API")])?)),
        None => html(StatusCode::OK, &page(stranger.frame(&web, "API", "/docs/api"))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Operations by their first tag, in the order in which the description has them.
fn groups(description: &Value) -> Vec<OperationGroup> {
    let mut groups: Vec<OperationGroup> = Vec::new();
    let paths = description["paths"].as_object().into_iter().flatten();
    for (path, item) in paths {
        for method in METHODS {
            let Some(found) = item.get(method) else { continue };
            let title = found["tags"][0].as_str().unwrap_or("Other").to_owned();
            let operation = operation(description, path, method, found);
            match groups.iter_mut().find(|group| group.title == title) {
                Some(group) => group.operations.push(operation),
                None => groups.push(OperationGroup { id: slug(&title), title, operations: vec![operation] }),
            }
        }
    }
    groups
}

fn slug(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn operation(description: &Value, path: &str, method: &str, found: &Value) -> Operation {
    let body = resolve(description, &found["requestBody"]);
    let schema = body["content"].as_object().and_then(|content| content.values().next());
    let mut parameters: Vec<Parameter> = found["parameters"].as_array().into_iter().flatten().map(parameter).collect();
    if let Some(schema) = schema {
        parameters.extend(fields(description, &schema["schema"]));
    }
    Operation {
        id: slug(&format!("{method} {path}")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&found["summary"]),
        text: text(&found["description"]),
        parameters,
        answers: answers(found),
        example: schema.and_then(|schema| schema.get("example")).and_then(|it| serde_json::to_string_pretty(it).ok()),
    }
}

fn parameter(value: &Value) -> Parameter {
    Parameter {
        name: text(&value["name"]),
        place: match value["in"].as_str() {
            Some("path") => "path",
            Some("header") => "header",
            _ => "query",
        },
        required: value["required"].as_bool().unwrap_or(false),
        text: text(&value["description"]),
    }
}

/// What a reference points to.
fn resolve<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| description.pointer(pointer)).unwrap_or(value)
}

/// The fields of a body, one level deep.
fn fields<'d>(description: &'d Value, schema: &'d Value) -> Vec<Parameter> {
    let schema = resolve(description, schema);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, value)| Parameter {
            name: name.clone(),
            place: "body",
            required: required.contains(&name.as_str()),
            text: text(&value["description"]),
        })
        .collect()
}

fn answers(found: &Value) -> Vec<(u16, String)> {
    let answers = found["responses"].as_object().into_iter().flatten();
    answers.filter_map(|(status, answer)| Some((status.parse().ok()?, text(&answer["description"])))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_becomes_groups_of_operations_with_their_fields() {
        let description = json!({
            "paths": {"/runs/{run}/confirm": {"post": {
                "tags": ["Runs"], "summary": "Confirm",
                "parameters": [{"name": "run", "in": "path", "required": true}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Confirm"}}}},
                "responses": {"200": {"description": "the run"}, "409": {"description": "not now"}}
            }}},
            "components": {"schemas": {"Confirm": {"required": [], "properties": {"note": {"description": "why"}}}}}
        });
        let groups = groups(&description);
        let operation = &groups[0].operations[0];
        assert_eq!((groups[0].title.as_str(), operation.id.as_str()), ("Runs", "post-runs-run-confirm"));
        let names: Vec<_> = operation.parameters.iter().map(|it| (it.name.as_str(), it.place)).collect();
        assert_eq!(names, [("run", "path"), ("note", "body")]);
        assert_eq!(operation.answers.len(), 2);
    }
}
