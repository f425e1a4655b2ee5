//! JSON merge patches, RFC 7396.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{domain::Refused, http::extract::misfit};

/// What `before`, which has every member that there can be, becomes by a patch.
pub(super) fn patched<T: DeserializeOwned>(before: Value, patch: Map<String, Value>) -> Result<T, Refused> {
    refuse_unknown(&before, &patch)?;
    read(merge(before, Value::Object(patch)))
}

/// Refuses names that `before` does not have: with null, they would merge into nothing.
pub(super) fn refuse_unknown(before: &Value, patch: &Map<String, Value>) -> Result<(), Refused> {
    let Some(stranger) = patch.keys().find(|name| before.get(name).is_none()) else { return Ok(()) };
    let known = before.as_object().into_iter().flat_map(Map::keys);
    let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Err(Refused::field(stranger, format!("unknown field `{stranger}`, expected one of {known}")))
}

/// Reads what came of a merge.
pub(super) fn read<T: DeserializeOwned>(merged: Value) -> Result<T, Refused> {
    serde_path_to_error::deserialize(merged).map_err(|error| misfit(&error))
}

/// What `target` becomes by `patch`.
pub(super) fn merge(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        match (target.remove(&name), value) {
            (_, Value::Null) => {}
            (before, value) => {
                target.insert(name, merge(before.unwrap_or_default(), value));
            }
        }
    }
    Value::Object(target)
}

/// As [`merge`]; where the patch gives a member of `tagged` another `kind`, nothing of the old kind is
/// kept: its members mean nothing in the new one.
pub(super) fn merge_tagged(mut target: Value, patch: Value, tagged: &[&str]) -> Value {
    for name in tagged {
        let kind = |value: &Value| value.get(name).and_then(|member| member.get("kind")).cloned();
        if let (Some(before), Some(after)) = (kind(&target), kind(&patch))
            && before != after
        {
            target[*name] = Value::Null;
        }
    }
    merge(target, patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (target, patch, expected) in cases {
            assert_eq!(merge(target.clone(), patch.clone()), expected, "{target} by {patch}");
        }
    }

    #[test]
    fn another_kind_keeps_nothing_of_the_old_one() {
        let target = json!({"vendor": {"kind": "terraform", "binary": "tf"}, "source": {"kind": "upload"}});
        let patch = json!({"vendor": {"kind": "custom", "plan": "x"}, "source": {"project_root": "a"}});
        let expected =
            json!({"vendor": {"kind": "custom", "plan": "x"}, "source": {"kind": "upload", "project_root": "a"}});
        assert_eq!(merge_tagged(target, patch, &["vendor", "source"]), expected);
    }
}
