//! What services send back: the public protocol's callback, read with the tolerance that real services
//! need, and with every bound.

use serde_json::{Map, Value};

use crate::domain::{
    FieldError, Refused, RefusedKind, ResultStatus, limits,
    run_task::{Level, Outcome, OutcomeLabel, OutcomeTag},
};

/// A callback that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Callback {
    /// Running, passed or failed.
    pub status: ResultStatus,
    pub message: Option<String>,
    pub url: Option<String>,
    /// Replaces the earlier ones, where there are any.
    pub outcomes: Option<Vec<Outcome>>,
}

type Read<T> = Result<T, Refused>;

/// One field is wrong; its name is a JSON pointer.
fn wrong(pointer: impl Into<String>, error: impl Into<String>) -> Refused {
    let (field, error) = (pointer.into(), error.into());
    let detail = format!("{field}: {error}");
    Refused { fields: vec![FieldError { field, error }], ..Refused::new(RefusedKind::Invalid, detail) }
}

impl Callback {
    pub(super) fn read(body: &[u8]) -> Read<Self> {
        let body = parse(body)?;
        let data = object(&body, "data")?;
        match data.get("type").and_then(Value::as_str) {
            Some("task-results") => {}
            _ => return Err(wrong("/data/type", "must be `task-results`")),
        }
        let attributes = data.get("attributes").and_then(Value::as_object);
        let attributes = attributes.ok_or_else(|| wrong("/data/attributes", "is missing"))?;
        let status = match attributes.get("status").and_then(Value::as_str) {
            Some("running") => ResultStatus::Running,
            Some("passed") => ResultStatus::Passed,
            Some("failed") => ResultStatus::Failed,
            _ => return Err(wrong("/data/attributes/status", "must be `running`, `passed` or `failed`")),
        };
        Ok(Self {
            status,
            message: text(attributes, "message", "/data/attributes", limits::RESULT_MESSAGE_CHARS)?,
            url: link(attributes, "/data/attributes")?,
            outcomes: outcomes_of(&body, data, attributes)?,
        })
    }
}

/// A value takes far more room than the two characters that it may be written with.
fn parse(json: &[u8]) -> Read<Value> {
    if parts(json) > limits::CALLBACK_PARTS {
        return Err(wrong("", format!("has more than {} parts", limits::CALLBACK_PARTS)));
    }
    serde_json::from_slice(json).map_err(|error| wrong("", format!("is not JSON: {error}")))
}

/// Brackets that open, braces and commas, outside of texts: at least as many as there are values.
fn parts(json: &[u8]) -> usize {
    let (mut within, mut escaped, mut parts) = (false, false, 1);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            b',' | b'[' | b'{' if !within => parts += 1,
            _ => {}
        }
    }
    parts
}

fn object<'v>(value: &'v Value, name: &str) -> Read<&'v Map<String, Value>> {
    value.get(name).and_then(Value::as_object).ok_or_else(|| wrong(format!("/{name}"), "is missing"))
}

/// A text; none when it is missing, null or blank.
fn text(of: &Map<String, Value>, name: &str, at: &str, most: usize) -> Read<Option<String>> {
    let pointer = || format!("{at}/{name}");
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => match text.chars().count() {
            long if long > most => Err(wrong(pointer(), format!("has {long} characters; at most {most} are allowed"))),
            _ => Ok(Some(text.clone())),
        },
        Some(_) => Err(wrong(pointer(), "must be a text")),
    }
}

/// An address that people may follow.
fn link(of: &Map<String, Value>, at: &str) -> Read<Option<String>> {
    let found = text(of, "url", at, limits::RESULT_URL_CHARS)?;
    match &found {
        Some(url) if !(url.starts_with("https://") || url.starts_with("http://")) => {
            Err(wrong(format!("{at}/url"), "must begin with https:// or http://"))
        }
        _ => Ok(found),
    }
}

/// Where services put outcomes: where the protocol's sample has them, beside `data`, or among the
/// attributes.
fn outcomes_of(body: &Value, data: &Map<String, Value>, attributes: &Map<String, Value>) -> Read<Option<Vec<Outcome>>> {
    let places = [
        ("/data/relationships/outcomes", data.get("relationships").and_then(|of| of.get("outcomes"))),
        ("/relationships/outcomes", body.get("relationships").and_then(|of| of.get("outcomes"))),
        ("/data/attributes/outcomes", attributes.get("outcomes")),
    ];
    let Some((at, found)) = places.into_iter().find_map(|(at, found)| found.map(|found| (at, found))) else {
        return Ok(None);
    };
    let (at, list) = match found {
        Value::Null => return Ok(None),
        Value::Object(held) => match held.get("data") {
            Some(list) => (format!("{at}/data"), list),
            None => (at.to_owned(), found),
        },
        other => (at.to_owned(), other),
    };
    let Value::Array(list) = list else {
        return if list.is_null() { Ok(None) } else { Err(wrong(at, "must be a list")) };
    };
    if list.len() > limits::OUTCOMES {
        return Err(wrong(at, format!("has {} outcomes; at most {} are allowed", list.len(), limits::OUTCOMES)));
    }
    let outcomes: Vec<Outcome> =
        list.iter().enumerate().map(|(n, item)| outcome(item, &format!("{at}/{n}"))).collect::<Read<_>>()?;
    let bytes: usize = outcomes.iter().map(|outcome| outcome.body.len()).sum();
    match bytes > limits::OUTCOMES_BYTES {
        true => {
            Err(wrong(at, format!("the bodies have {bytes} bytes; at most {} are allowed", limits::OUTCOMES_BYTES)))
        }
        false => Ok(Some(outcomes)),
    }
}

fn outcome(item: &Value, at: &str) -> Read<Outcome> {
    let Value::Object(item) = item else { return Err(wrong(at, "must be an object")) };
    let (fields, at) = match item.get("attributes") {
        Some(Value::Object(attributes)) => (attributes, format!("{at}/attributes")),
        Some(_) => return Err(wrong(format!("{at}/attributes"), "must be an object")),
        None => (item, at.to_owned()),
    };
    let id = match text(fields, "outcome-id", &at, limits::OUTCOME_ID_CHARS)? {
        Some(id) => Some(id),
        None => text(fields, "outcome_id", &at, limits::OUTCOME_ID_CHARS)?,
    };
    let body = text(fields, "body", &at, usize::MAX)?.unwrap_or_default();
    if body.len() > limits::OUTCOME_BODY_BYTES {
        let why = format!("has {} bytes; at most {} are allowed", body.len(), limits::OUTCOME_BODY_BYTES);
        return Err(wrong(format!("{at}/body"), why));
    }
    Ok(Outcome {
        outcome_id: id.unwrap_or_default(),
        description: text(fields, "description", &at, limits::OUTCOME_DESCRIPTION_CHARS)?.unwrap_or_default(),
        body,
        url: link(fields, &at)?.unwrap_or_default(),
        tags: tags(fields.get("tags"), &format!("{at}/tags"))?,
    })
}

fn tags(tags: Option<&Value>, at: &str) -> Read<Vec<OutcomeTag>> {
    let tags = match tags {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(wrong(at, "must be an object of names")),
    };
    if tags.len() > limits::OUTCOME_TAGS {
        return Err(wrong(at, format!("has {} names; at most {} are allowed", tags.len(), limits::OUTCOME_TAGS)));
    }
    tags.iter()
        .map(|(name, labels)| {
            let at = format!("{at}/{name}");
            if name.is_empty() || name.chars().count() > limits::OUTCOME_TAG_CHARS {
                return Err(wrong(at, format!("a name has 1 to {} characters", limits::OUTCOME_TAG_CHARS)));
            }
            let Value::Array(labels) = labels else { return Err(wrong(at, "must be a list of labels")) };
            if labels.len() > limits::OUTCOME_LABELS {
                return Err(wrong(at, format!("at most {} labels are allowed", limits::OUTCOME_LABELS)));
            }
            let labels = labels.iter().enumerate().map(|(n, item)| label(item, &format!("{at}/{n}")));
            Ok(OutcomeTag { name: name.clone(), labels: labels.collect::<Read<_>>()? })
        })
        .collect()
}

fn label(item: &Value, at: &str) -> Read<OutcomeLabel> {
    let Value::Object(item) = item else { return Err(wrong(at, "must be an object with a `label`")) };
    let label = text(item, "label", at, limits::OUTCOME_LABEL_CHARS)?;
    let label = label.ok_or_else(|| wrong(format!("{at}/label"), "is missing"))?;
    let level = match item.get("level") {
        None | Some(Value::Null) => Level::None,
        Some(level) => level
            .as_str()
            .and_then(Level::from_word)
            .ok_or_else(|| wrong(format!("{at}/level"), "must be `none`, `info`, `warning` or `error`"))?,
    };
    Ok(OutcomeLabel { label, level })
}

/// A guest's `outcomes.json`: a list, or what a service would send.
pub fn guest_outcomes(json: &[u8]) -> Result<Vec<Outcome>, Refused> {
    let json = parse(json)?;
    let list =
        if json.is_array() { json } else { json.get("outcomes").or(json.get("data")).cloned().unwrap_or_default() };
    let attributes = Map::from_iter([("outcomes".to_owned(), list)]);
    Ok(outcomes_of(&Value::Null, &Map::new(), &attributes)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Read<Callback> {
        Callback::read(body.to_string().as_bytes())
    }

    fn with(attributes: Value) -> Value {
        json!({"data": {"type": "task-results", "attributes": attributes}})
    }

    #[test]
    fn outcomes_are_found_wherever_services_put_them() {
        let outcome = json!({"type": "task-result-outcomes", "attributes": {
            "outcome-id": "ONE", "description": "d", "body": "# md", "url": "https://x.example",
            "tags": {"Status": [{"label": "Denied", "level": "error"}], "Cost Centre": [{"label": "IT"}]}}});
        let mut sample = with(json!({"status": "running", "message": "x"}));
        sample["data"]["relationships"] = json!({"outcomes": {"data": [outcome]}});
        let mut beside = with(json!({"status": "running"}));
        beside["relationships"] = json!({"outcomes": {"data": [outcome]}});
        let among = with(json!({"status": "running", "outcomes": [
            {"outcome_id": "ONE", "description": "d", "body": "# md", "url": "https://x.example",
             "tags": {"Status": [{"label": "Denied", "level": "error"}], "Cost Centre": [{"label": "IT"}]}}]}));
        let read: Vec<_> = [sample, beside, among].iter().map(|body| read(body).unwrap().outcomes.unwrap()).collect();
        assert_eq!(read[0].len(), 1);
        assert_eq!(read[0][0].outcome_id, "ONE");
        assert!(read[0][0].tags.iter().any(|tag| tag.is_coloured() && tag.labels[0].level == Level::Error));
        assert!(read.iter().all(|other| *other == read[0]), "{read:#?}");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        let cases = [
            (json!({}), "/data"),
            (json!({"data": {"type": "x", "attributes": {"status": "passed"}}}), "/data/type"),
            (with(json!({"status": "errored"})), "/data/attributes/status"),
            (with(json!({"status": "passed", "message": "x".repeat(1_001)})), "/data/attributes/message"),
            (with(json!({"status": "passed", "url": "javascript:alert(1)"})), "/data/attributes/url"),
            (
                with(json!({"status": "passed", "outcomes": [{"tags": {"a": [{"label": "x", "level": "bad"}]}}]})),
                "/data/attributes/outcomes/0/tags/a/0/level",
            ),
            (with(json!({"status": "passed", "outcomes": vec![json!({}); 251]})), "/data/attributes/outcomes"),
            (
                with(json!({"status": "passed", "outcomes": [{"body": "x".repeat((1 << 20) + 1)}]})),
                "/data/attributes/outcomes/0/body",
            ),
            (
                with(json!({"status": "passed", "outcomes": vec![json!({"body": "x".repeat(1 << 20)}); 6]})),
                "/data/attributes/outcomes",
            ),
        ];
        for (body, place) in cases {
            assert_eq!(read(&body).unwrap_err().fields[0].field, place);
        }
        assert!(Callback::read(b"{").is_err());
        let hollow = format!("[{}]", vec!["[]"; limits::CALLBACK_PARTS].join(","));
        assert!(Callback::read(hollow.as_bytes()).unwrap_err().detail.contains("parts"));
        let commas = with(json!({"status": "passed", "outcomes": [{"body": "\\\",[{".repeat(100_000)}]}));
        assert!(read(&commas).is_ok());
        assert_eq!(read(&with(json!({"status": "passed", "message": null, "url": ""}))).unwrap().message, None);
    }

    #[test]
    fn a_guest_leaves_a_list_or_what_a_service_would_send() {
        let list = json!([{"outcome-id": "A"}]);
        for left in [list.clone(), json!({"outcomes": list}), json!({"data": list})] {
            assert_eq!(guest_outcomes(left.to_string().as_bytes()).unwrap()[0].outcome_id, "A");
        }
        assert!(guest_outcomes(b"nonsense").is_err());
    }
}
