//! The digest that ties a confirmation to what was shown.
//!
//! `SHA-256("airlock plan v1" | commit | SHA-256(plan file) | SHA-256(canonical changes))`, every part
//! behind its length (u64, big endian); no commit is an empty part.
//!
//! Canonical changes are JSON without blanks: keys sorted by their bytes, resources, outputs and
//! lists of paths sorted, so that two equal sets of changes give the same bytes whoever wrote them.

use std::io::{self, Read};

use serde::Serialize as _;
use serde_json::Value;

use crate::{
    crypt::Hasher,
    domain::{Changes, CommitSha, Digest},
};

/// Binds a commit, the plan file's bytes and the redacted changes. A custom vendor has no plan file
/// of its own: give the canonical changes of its unredacted file in its place.
pub fn plan_digest(
    commit: Option<&CommitSha>,
    plan_file: &mut dyn Read,
    canonical_changes: &[u8],
) -> io::Result<Digest> {
    let mut plan = Hasher::new();
    io::copy(plan_file, &mut plan)?;
    let mut changes = Hasher::new();
    changes.update(canonical_changes);
    let mut whole = Hasher::new();
    let commit = commit.map_or("", CommitSha::as_str);
    for part in [b"airlock plan v1".as_slice(), commit.as_bytes(), &plan.finish(), &changes.finish()] {
        whole.update(&(part.len() as u64).to_be_bytes());
        whole.update(part);
    }
    Ok(whole.digest())
}

/// The one JSON text of a set of changes.
pub fn canonical_changes(changes: &Changes) -> Vec<u8> {
    let mut value = changes.serialize(serde_json::value::Serializer).expect("changes have text keys only");
    for (list, sets) in [("resources", ["sensitive", "replace_paths"].as_slice()), ("outputs", &[])] {
        let Some(items) = value.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for item in items.iter_mut() {
            for set in sets {
                if let Some(items) = item.get_mut(*set).and_then(Value::as_array_mut) {
                    items.sort_by_cached_key(canonical);
                }
            }
        }
        items.sort_by_cached_key(canonical);
    }
    canonical(&value)
}

fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            text.push(b'[');
            for (at, item) in items.iter().enumerate() {
                comma(at, text);
                write(item, text);
            }
            text.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push(b'{');
            for (at, (name, field)) in fields.into_iter().enumerate() {
                comma(at, text);
                leaf(name, text);
                text.push(b':');
                write(field, text);
            }
            text.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => leaf(value, text),
    }
}

fn comma(at: usize, text: &mut Vec<u8>) {
    if at > 0 {
        text.push(b',');
    }
}

fn leaf(value: &(impl serde::Serialize + ?Sized), text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("a text, a number, true, false or null is JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, OutputChange, ResourceChange};

    fn resource(address: &str, after: &str, sensitive: &[&str]) -> ResourceChange {
        ResourceChange {
            address: address.into(),
            type_name: "t".into(),
            action: Action::Create,
            before: Value::Null,
            after: serde_json::from_str(after).unwrap(),
            sensitive: sensitive.iter().map(ToString::to_string).collect(),
            replace_paths: Vec::new(),
        }
    }

    fn changes(resources: Vec<ResourceChange>) -> Changes {
        let output = OutputChange {
            name: "url".into(),
            action: Action::Update,
            before: Value::from(1),
            after: Value::from("a\"\n"),
            sensitive: false,
        };
        Changes { resources, outputs: vec![output] }
    }

    #[test]
    fn equal_changes_have_one_text() {
        let one = changes(vec![
            resource("a", r#"{"x":1,"b":[2,{"d":0,"c":1.5}]}"#, &["/x", "/b"]),
            resource("b", "null", &[]),
        ]);
        let other = changes(vec![
            resource("b", "null", &[]),
            resource("a", r#"{"b":[2,{"c":1.5,"d":0}],"x":1}"#, &["/b", "/x"]),
        ]);
        assert_eq!(canonical_changes(&one), canonical_changes(&other));
        let different = changes(vec![
            resource("a", r#"{"x":1,"b":[{"d":0,"c":1.5},2]}"#, &["/x", "/b"]),
            resource("b", "null", &[]),
        ]);
        assert_ne!(canonical_changes(&one), canonical_changes(&different));
    }

    #[test]
    fn the_text_is_the_same_in_every_release() {
        let text = canonical_changes(&changes(vec![resource("a", r#"{"x":1,"b":"ü"}"#, &["/b"])]));
        assert_eq!(
            String::from_utf8(text).unwrap(),
            concat!(
                r#"{"outputs":[{"action":"update","after":"a\"\n","before":1,"name":"url","sensitive":false}],"#,
                r#""resources":[{"action":"create","address":"a","after":{"b":"ü","x":1},"before":null,"sensitive":["/b"],"type":"t"}]}"#
            )
        );
    }

    #[test]
    fn every_part_counts_and_none_runs_into_another() {
        let commit = CommitSha::new("a".repeat(40)).unwrap();
        let digest = |commit, plan: &[u8], changes: &[u8]| plan_digest(commit, &mut &*plan, changes).unwrap();
        let shown = digest(Some(&commit), b"plan", b"{}");
        assert_eq!(shown, digest(Some(&commit), b"plan", b"{}"));
        assert_ne!(shown, digest(None, b"plan", b"{}"));
        assert_ne!(shown, digest(Some(&commit), b"plan{", b"}"));
        assert_ne!(shown, digest(Some(&commit), b"Plan", b"{}"));
        assert_ne!(digest(None, b"", b"x"), digest(None, b"x", b""));
        assert_eq!(shown.digits(), "6a8bddf5bf26907e5de52959b7d4adbb7294a4d7cf8da8071a048ccb645a74d5");
    }

    #[test]
    fn a_plan_that_cannot_be_read_has_no_digest() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        assert!(plan_digest(None, &mut Broken, b"{}").is_err());
    }
}
