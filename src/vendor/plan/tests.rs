use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::Action;

fn terraform() -> Vendor {
    Vendor::Terraform { binary: None, workspace: None }
}

fn custom() -> Vendor {
    Vendor::Custom { init: None, plan: None, apply: None, destroy: None }
}

/// A hash that a test can foresee: how many bytes it was called with.
fn hash(bytes: &[u8]) -> String {
    format!("#{}", bytes.len())
}

fn read(vendor: &Vendor, code: i32, text: &str) -> Result<PlanRead, PlanError> {
    read_plan(vendor, code, Some(&mut text.as_bytes()), &hash)
}

/// A Terraform plan with these resource changes.
fn plan(resources: &Value) -> PlanRead {
    let text =
        json!({"format_version": "1.2", "planned_values": {"x": [1]}, "resource_changes": resources}).to_string();
    read(&terraform(), 2, &text).unwrap()
}

fn one(change: &Value) -> crate::domain::ResourceChange {
    let read = plan(&json!([{"address": "a.b", "type": "a", "name": "b", "change": change}]));
    assert_eq!(read.changes.resources.len(), 1, "{change}");
    read.changes.resources.into_iter().next().unwrap()
}

#[test]
fn actions_become_words_and_nothing_is_dropped() {
    for (actions, action) in [
        (json!(["create"]), Action::Create),
        (json!(["read"]), Action::Read),
        (json!(["update"]), Action::Update),
        (json!(["delete"]), Action::Delete),
        (json!(["delete", "create"]), Action::Replace),
        (json!(["create", "delete"]), Action::Replace),
        (json!(["create", "forget"]), Action::Replace),
        (json!(["forget"]), Action::Delete),
        (json!(["something-new"]), Action::Update),
    ] {
        assert_eq!(one(&json!({"actions": actions, "before": null, "after": null})).action, action);
    }
    for actions in [json!([]), json!(["no-op"])] {
        let read = plan(&json!([{"address": "a.b", "change": {"actions": actions}}]));
        assert!(read.changes.resources.is_empty() && read.delta.is_empty());
    }
}

#[test]
fn a_plan_says_which_version_wrote_it_and_nothing_else_in_its_place() {
    let version = |version: &str| {
        let text = json!({"format_version": "1.2", "terraform_version": version}).to_string();
        read(&terraform(), 2, &text).unwrap().terraform_version
    };
    for good in ["1.9.5", "1.10.0-rc1", "1.6.0+ent"] {
        assert_eq!(version(good).as_deref(), Some(good));
    }
    for bad in ["", "latest", "1.9.5\n<b>", "1.9 5", &"1".repeat(41)] {
        assert_eq!(version(bad), None, "{bad}");
    }
    assert_eq!(read(&custom(), 0, "[]").unwrap().terraform_version, None);
}

#[test]
fn a_forgotten_resource_is_said_to_live_on() {
    let change = one(&json!({"actions": ["forget"], "before": {"a": 1}, "after": null}));
    assert_eq!(change.after, "(no longer managed, not destroyed)");
}

#[test]
fn moving_and_importing_are_shown_although_nothing_else_changes() {
    let read = plan(&json!([
        {"address": "a.new", "previous_address": "a.old", "type": "a", "change": {"actions": ["no-op"], "before": {"p": "x"}, "before_sensitive": {"p": true}}},
        {"address": "a.in", "type": "a", "change": {"actions": ["no-op"], "importing": {"id": "i-1"}}},
    ]));
    assert_eq!(read.changes.resources[0].before, "(at a.old)");
    assert_eq!(read.changes.resources[1].after, "(imported, otherwise unchanged)");
    assert_eq!(read.delta.resources.changed, 2);
}

#[test]
fn unknown_parts_say_when_they_will_be_known() {
    let change = one(&json!({
        "actions": ["update"],
        "before": {"id": "1", "list": ["a"]},
        "after": {"list": ["a"]},
        "after_unknown": {"id": true, "list": [false, true], "block": {"deep": [{"x": true}]}, "not": false},
    }));
    let unknown = "(known after apply)";
    assert_eq!(change.after, json!({"id": unknown, "list": ["a", unknown], "block": {"deep": [{"x": unknown}]}}));
    assert_eq!(one(&json!({"actions": ["create"], "after_unknown": true})).after, unknown);
}

#[test]
fn sensitive_parts_are_hashed_wherever_they_are_nested() {
    let change = one(&json!({
        "actions": ["update"],
        "before": {"user": "ada", "password": "hunter2", "list": [{"k": "s1"}, {"k": "open"}], "a/b": {"~": "s2"}},
        "after": {"user": "ada", "password": "hunter33", "list": [{"k": "s1"}, {"k": "open"}], "a/b": {"~": "s2"}},
        "before_sensitive": {"password": true, "list": [{"k": true}], "a/b": {"~": true}},
        "after_sensitive": {"password": true, "list": [{"k": true}, {}], "a/b": {"~": true}, "absent": true},
        "after_unknown": {"absent": true},
    }));
    assert_eq!(
        change.before,
        json!({"user": "ada", "password": "(sensitive #9)", "list": [{"k": "(sensitive #4)"}, {"k": "open"}], "a/b": {"~": "(sensitive #4)"}})
    );
    assert_eq!(change.after["password"], "(sensitive #10)");
    assert_eq!(change.after["absent"], "(known after apply)");
    assert_eq!(change.sensitive, ["/absent", "/a~1b/~0", "/list/0/k", "/password"]);
}

#[test]
fn what_is_sensitive_in_one_place_is_hidden_in_every_place() {
    let read = plan(&json!([
        {"address": "a.b", "change": {"actions": ["update"],
            "before": {"input": "hunter2-long", "output": "hunter2-long", "url": "https://u:hunter2-long@h", "pin": "1234", "n": "12345"},
            "after": {"input": "hunter2-long"},
            "before_sensitive": {"input": true, "pin": true}, "after_sensitive": {"input": true}}},
        {"address": "a.c", "change": {"actions": ["create"], "after": ["1234", "hunter2-long!"]}},
    ]));
    let kept = serde_json::to_string(&read.changes).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");
    assert_eq!(read.changes.resources[0].before["output"], "(sensitive #14)");
    assert_eq!(read.changes.resources[0].before["n"], "12345");
    assert_eq!(read.changes.resources[0].sensitive, ["/input", "/output", "/pin", "/url"]);
    assert_eq!(read.changes.resources[1].sensitive, ["/0", "/1"]);
}

#[test]
fn where_value_and_mask_differ_in_shape_more_is_hidden_rather_than_less() {
    for (value, mask) in [
        (json!("secret"), json!({"a": true})),
        (json!(["secret"]), json!({"a": true})),
        (json!({"a": "secret"}), json!([true])),
        (json!(["secret"]), json!([false, true])),
        (json!("secret"), json!("odd")),
        (json!({"a": ["secret"]}), json!({"a": true})),
    ] {
        let change = one(&json!({"actions": ["create"], "after": value, "after_sensitive": mask}));
        assert!(!change.after.to_string().contains("secret"), "{value} {mask}");
    }
    let change = one(&json!({"actions": ["create"], "after": "open", "after_sensitive": {"a": [false]}}));
    assert_eq!(change.after, "open");
}

#[test]
fn paths_that_force_a_replacement_are_kept() {
    let change =
        one(&json!({"actions": ["delete", "create"], "replace_paths": [["triggers_replace"], ["rule", 0, "a/b"]]}));
    assert_eq!(change.replace_paths, ["/triggers_replace", "/rule/0/a~1b"]);
}

#[test]
fn outputs_are_read_and_sensitive_ones_are_hashed() {
    let text = json!({"format_version": "1.2", "output_changes": {
        "same": {"actions": ["no-op"], "before": "x", "after": "x"},
        "new": {"actions": ["create"], "before": null, "after": {"a": 1}, "after_unknown": false, "before_sensitive": false, "after_sensitive": false},
        "key": {"actions": ["update"], "before": "old", "after": "newer", "before_sensitive": true, "after_sensitive": true},
        "gone": {"actions": ["delete"], "before": 1, "after": null},
        "later": {"actions": ["update"], "before": 1, "after_unknown": true, "after_sensitive": true},
    }});
    let read = read(&terraform(), 2, &text.to_string()).unwrap();
    let names: Vec<_> = read.changes.outputs.iter().map(|output| (output.name.as_str(), output.sensitive)).collect();
    assert_eq!(names.len(), 4);
    let of = |name: &str| read.changes.outputs.iter().find(|output| output.name == name).unwrap();
    assert_eq!((&of("key").before, &of("key").after), (&json!("(sensitive #5)"), &json!("(sensitive #7)")));
    assert!(of("key").sensitive && of("later").sensitive && !of("new").sensitive);
    assert_eq!(of("later").after, "(known after apply)");
    assert_eq!(read.delta.outputs, crate::domain::OutputCounts { added: 1, changed: 2, deleted: 1 });
}

#[test]
fn drift_alone_is_no_change() {
    let text = json!({"format_version": "1.2", "resource_changes": [], "resource_drift": [
        {"address": "a.b", "type": "a", "change": {"actions": ["update"], "before": 1, "after": 2}}
    ]});
    let read = read(&terraform(), 0, &text.to_string()).unwrap();
    assert!(!read.has_changes && read.delta.is_empty());
}

#[test]
fn changes_that_only_the_exit_code_knows_are_changes() {
    assert!(read(&terraform(), 2, r#"{"format_version":"1.2"}"#).unwrap().has_changes);
    assert!(!read(&terraform(), 0, r#"{"format_version":"1.2","resource_changes":null}"#).unwrap().has_changes);
}

#[test]
fn deferred_changes_are_mentioned() {
    let read = read(&terraform(), 2, r#"{"format_version":"1.2","deferred_changes":[{"reason":"x"},{}]}"#).unwrap();
    assert_eq!(read.warnings, ["2 changes are deferred to a later plan"]);
}

#[test]
fn an_unknown_format_is_refused_with_its_number() {
    let error = read(&terraform(), 2, r#"{"format_version":"2.0","resource_changes":{"new": "shape"}}"#).unwrap_err();
    assert!(matches!(&error, PlanError::Version(found) if found == "2.0"), "{error}");
    assert!(matches!(read(&terraform(), 2, "{}"), Err(PlanError::NotAPlan)));
    assert!(read(&terraform(), 2, r#"{"format_version":"0.2"}"#).is_ok());
}

#[test]
fn what_is_no_plan_is_refused_with_line_and_column() {
    let error = read(&terraform(), 2, "{\"format_version\":\"1.2\",\n \"resource_changes\": [{]}").unwrap_err();
    assert!(error.to_string().contains("line 2 column"), "{error}");
    assert!(matches!(read_plan(&terraform(), 2, None, &hash), Err(PlanError::Missing("terraform"))));
    assert!(matches!(read(&terraform(), 1, "{}"), Err(PlanError::Failed(1))));
}

#[test]
fn values_give_way_text_by_text_and_then_as_a_whole() {
    let long = "x".repeat(70_000);
    let change = one(&json!({"actions": ["create"], "after": {"name": "n", "body": long}}));
    assert_eq!(change.after, json!({"name": "n", "body": "(68.4 KiB, not shown, #70000)"}));
    let many: Vec<u32> = (100_000..120_000).collect();
    let change = one(&json!({"actions": ["create"], "after": many}));
    assert_eq!(change.after, "(137 KiB, not shown, #140001)");
    let huge = "x".repeat(2_000_000);
    let change = one(&json!({"actions": ["create"], "after": {"secret": huge}, "after_sensitive": {"secret": true}}));
    assert_eq!(change.after, "(1.9 MiB, not shown)");
    let change = one(&json!({"actions": ["create"], "after": {"secret": long}, "after_sensitive": {"secret": true}}));
    assert_eq!(change.after, json!({"secret": "(sensitive #70002)"}));
}

#[test]
fn deep_nesting_is_not_shown_and_does_no_harm() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (place, other) in [("after", "after_sensitive"), ("after_sensitive", "after"), ("planned_values", "after")] {
        let text = format!(
            r#"{{"format_version":"1.2","planned_values":{deep},"resource_changes":[{{"address":"a","change":{{"actions":["create"],"{place}":{deep},"{other}":"secret"}}}}]}}"#
        );
        let read = read(&terraform(), 2, &text).unwrap();
        let after = read.changes.resources[0].after.to_string();
        assert!(after.contains("not shown") || place == "planned_values", "{place}: {after}");
        assert!(place != "after_sensitive" || !after.contains("secret"));
    }
}

#[test]
fn a_plan_that_is_too_large_is_refused_with_the_limit() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let start: &[u8] = if self.0 == 0 { b"[" } else { b"" };
            buffer.fill(b' ');
            buffer[..start.len()].copy_from_slice(start);
            self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
    let error = read_plan(&custom(), 2, Some(&mut Endless(0)), &hash).unwrap_err();
    assert!(error.to_string().ends_with("is larger than 16 MiB"), "{error}");
}

#[test]
fn a_custom_plan_lists_its_changes() {
    let text = r#"[
      {"address": "vm.a", "type": "vm", "action": "create", "before": null, "after": {"size": 2, "password": "hunter2"}, "sensitive": ["/password"]},
      {"address": "vm.b", "type": "vm", "action": "replace", "before": {"size": 1}, "after": {"size": 2}},
      {"address": "vm.c", "action": "delete", "before": {"key": "hunter2"}, "sensitive": true, "note": "passed over"},
      {"address": "vm.d", "type": "vm", "action": "read"},
      {"address": "vm.e", "type": "vm", "action": "update", "before": [1], "after": [2]}
    ]"#;
    let read = read(&custom(), 2, text).unwrap();
    assert!(read.has_changes && read.warnings.is_empty());
    assert_eq!(read.delta.resources, crate::domain::Counts { added: 1, changed: 1, deleted: 1, replaced: 1 });
    assert_eq!(read.changes.resources[0].after, json!({"size": 2, "password": "(sensitive #9)"}));
    assert_eq!(read.changes.resources[2].before, "(sensitive #17)");
    assert_eq!(read.changes.resources[2].sensitive, [""]);
    assert_eq!(read.changes.resources[2].after, Value::Null);
}

#[test]
fn the_exit_code_of_a_custom_plan_outweighs_its_file() {
    let text = r#"[{"address": "a", "action": "create"}]"#;
    let read = read(&custom(), 0, text).unwrap();
    assert!(!read.has_changes && read.changes.resources.is_empty() && read.delta.is_empty());
    assert!(read.warnings[0].contains("is ignored"), "{:?}", read.warnings);
    for read in [read_plan(&custom(), 2, None, &hash).unwrap(), super::tests::read(&custom(), 2, "[]").unwrap()] {
        assert!(read.has_changes && read.delta.is_empty());
    }
    assert!(!read_plan(&custom(), 0, None, &hash).unwrap().has_changes);
    assert!(matches!(read_plan(&custom(), 3, None, &hash), Err(PlanError::Failed(3))));
}

#[test]
fn a_custom_plan_that_is_wrong_fails_with_line_and_column() {
    for (text, said) in [
        ("", "is empty"),
        ("{}", "expected a JSON array of changes at line 1"),
        ("[{\"address\": \"a\",\n \"action\": \"noop\"}]", "unknown variant `noop`, expected one of"),
        ("[{\"action\": \"create\"}]", "missing field `address` at line 1"),
        ("[\n{\"address\": \"\", \"action\": \"create\"}]", "`address` must not be empty at line 2"),
        (
            "[{\"address\": \"a\", \"action\": \"create\", \"sensitive\": [\"password\"]}]",
            "`password` under `sensitive` must",
        ),
        ("[{\"address\": \"a\", \"action\": \"create\", \"sensitive\": 3}]", "must be a list of paths, or true"),
        ("[{\"address\": \"a\", \"action\": \"create\", \"before\": [1,}]", "line 1 column"),
        ("[] []", "trailing characters"),
        ("[", "EOF while parsing"),
    ] {
        let error = read(&custom(), 2, text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_sensitive_path_that_names_nothing_is_warned_about() {
    let text = r#"[{"address": "a", "action": "create", "after": {"pasword": "x"}, "sensitive": ["/password"]}]"#;
    let read = read(&custom(), 2, text).unwrap();
    assert_eq!(read.warnings, ["1 paths under `sensitive` name nothing in `before` or `after`"]);
}

#[test]
fn canonical_changes_are_the_same_for_the_same_meaning_only() {
    let canonical = |text: &str| read(&custom(), 2, text).unwrap().canonical.unwrap();
    let first = canonical(r#"[{"address":"a","action":"create","after":{"x":1,"y":"s"},"sensitive":["/y"]}]"#);
    let spelled = r#" [ {"action" : "create", "after": {"y": "s", "x": 1}, "address": "a" } ] "#;
    assert_eq!(first, canonical(spelled));
    for other in [
        r#"[{"address":"a","action":"create","after":{"x":1,"y":"t"},"sensitive":["/y"]}]"#,
        r#"[{"address":"b","action":"create","after":{"x":1,"y":"s"}}]"#,
        r#"[{"address":"a","action":"update","after":{"x":1,"y":"s"}}]"#,
        r#"[{"address":"a","action":"create","before":{"x":1,"y":"s"}}]"#,
        "[]",
    ] {
        assert_ne!(first, canonical(other), "{other}");
    }
}

#[test]
fn the_plan_digest_depends_on_commit_plan_and_changes() {
    let changes =
        plan(&json!([{"address": "a.b", "change": {"actions": ["create"], "after": {"z": 1, "a": 2}}}])).changes;
    let commit = CommitSha::new("a".repeat(40)).unwrap();
    let digest = plan_digest(Some(&commit), &[1; 32], &changes);
    let stored: Changes = serde_json::from_str(&serde_json::to_string(&changes).unwrap()).unwrap();
    assert_eq!(digest, plan_digest(Some(&commit), &[1; 32], &stored), "storing does not change it");
    assert_ne!(digest, plan_digest(None, &[1; 32], &changes));
    assert_ne!(digest, plan_digest(Some(&commit), &[2; 32], &changes));
    assert_ne!(digest, plan_digest(Some(&commit), &[1; 32], &Changes::default()));
}

/// Any JSON that is not too large.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z~/]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_plan(&terraform(), 2, Some(&mut bytes.as_slice()), &hash);
        let _ = read_plan(&custom(), 2, Some(&mut bytes.as_slice()), &hash);
    }

    #[test]
    fn no_shape_makes_the_reader_panic(a in any_json(), b in any_json(), c in any_json(), d in any_json()) {
        let change = json!({"actions": ["update"], "before": a, "after": a, "after_unknown": b, "before_sensitive": c, "after_sensitive": d, "replace_paths": b});
        one(&change);
        let text = json!({"format_version": "1.0", "resource_changes": a, "output_changes": b, "deferred_changes": c}).to_string();
        let _ = read(&terraform(), 2, &text);
        let _ = read(&custom(), 2, &json!([{"address": "a", "action": "create", "before": a, "after": b, "sensitive": c}]).to_string());
    }

    #[test]
    fn a_secret_under_a_mask_never_comes_through(shape in any_json(), mask in any_json()) {
        // Wherever the mask says true, the value at that place is the secret.
        fn plant(mask: &Value, shape: &Value) -> Value {
            match (mask, shape) {
                (Value::Bool(true), _) => json!({"deep": ["SECRET"]}),
                (Value::Object(masks), _) => {
                    Value::Object(masks.iter().map(|(key, mask)| (key.clone(), plant(mask, shape))).collect())
                }
                (Value::Array(masks), _) => Value::Array(masks.iter().map(|mask| plant(mask, shape)).collect()),
                _ => shape.clone(),
            }
        }
        let value = plant(&mask, &shape);
        let change = one(&json!({"actions": ["create"], "after": value, "after_sensitive": mask, "before": value, "before_sensitive": mask}));
        let kept = serde_json::to_string(&change).unwrap();
        prop_assert!(!kept.contains("SECRET"), "{kept}");
    }
}
