use serde_json::json;

use super::*;

fn update(before: Value, after: Value) -> ResourceChange {
    ResourceChange {
        address: "x.y".into(),
        type_name: "x".into(),
        action: Action::Update,
        before,
        after,
        sensitive: Vec::new(),
        replace_paths: Vec::new(),
    }
}

fn rows(change: ResourceChange) -> Vec<(String, Cell, Cell)> {
    resource(&change, true).attributes.into_iter().map(|a| (a.path, a.before, a.after)).collect()
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

#[test]
fn only_what_differs_is_shown_under_its_path() {
    let before = json!({"spec": {"replicas": 3, "image": "a"}, "tags": {"a b": "1"}, "ports": [80, 443]});
    let after = json!({"spec": {"replicas": 6, "image": "a"}, "tags": {"a b": "2"}, "ports": [80]});
    assert_eq!(
        rows(update(before.clone(), after.clone())),
        [
            ("ports[1]".into(), text("443"), Cell::Absent),
            ("spec.replicas".into(), text("3"), text("6")),
            ("tags[\"a b\"]".into(), text("1"), text("2")),
        ]
    );
    assert_eq!(resource(&update(before, after), true).note, "3 of 5 attributes");
}

#[test]
fn a_sensitive_part_is_never_shown_whatever_is_inside_it() {
    let mut change = update(json!({"login": {"password": "hash-1"}}), json!({"login": {"password": "hash-2"}}));
    change.sensitive = vec!["/login".into()];
    assert_eq!(rows(change), [("login".into(), Cell::Sensitive(String::new()), Cell::Sensitive(String::new()))]);
}

#[test]
fn what_forces_a_replacement_comes_first_and_is_named() {
    let mut change = update(json!({"a": 1, "z": "gp2"}), json!({"a": UNKNOWN, "z": "gp3"}));
    change.action = Action::Replace;
    change.replace_paths = vec!["/z".into()];
    let item = resource(&change, true);
    assert_eq!(item.note, "z forces replacement");
    assert_eq!(item.attributes[0].path, "z");
    assert_eq!(item.attributes[1].after, Cell::Unknown);
}

#[test]
fn a_large_plan_shows_a_bounded_part_and_leads_to_the_rest() {
    let changes =
        Changes { resources: (0..30).map(|n| update(json!({"n": n}), json!({"n": n + 1}))).collect(), outputs: vec![] };
    let view = ChangesView::new(&changes, changes.delta(), 20, "/runs/x/changes");
    assert_eq!(view.groups[0].items.len(), 20);
    assert_eq!(view.more, Some(("10 resources not shown here.".into(), "/runs/x/changes".into())));
    assert!(!view.groups[0].items[0].open, "many changes come folded");
}
