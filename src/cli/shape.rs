//! Words for what the API answers with: the server's and the data directory's answers look alike.

use serde_json::{Value, json};

use super::args::RoleOn;
use crate::domain::State;

/// Roles as the API takes them.
pub fn role_words(roles: &[RoleOn]) -> Vec<Value> {
    roles.iter().map(|role| json!({"stack": role.stack, "role": role.role})).collect()
}

/// Roles in a cell.
pub fn roles(roles: &Value) -> String {
    let words = roles.as_array().into_iter().flatten().map(|role| {
        let text = |name: &str| role[name].as_str().unwrap_or_default();
        format!("{}={}", text("stack"), text("role"))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A time to the second, or a hyphen: `2026-01-31 12:00:00Z`.
pub fn time(value: &Value) -> String {
    let Some(text) = value.as_str() else { return "-".to_owned() };
    match text.split_once('T') {
        Some((day, time)) => format!("{day} {}Z", time.split(['.', 'Z']).next().unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Who, in a cell: people by name, others with what they are.
pub fn actor(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    match text("kind") {
        "user" | "system" | "" => text("name").to_owned(),
        kind => format!("{} ({})", text("name"), kind.replace('_', " ")),
    }
}

/// Numbers of a run's plan: `+1 ~2 ±1 -1, outputs +1`; nothing where nothing is known. What goes on after
/// a plan has changes, whether or not the vendor counts them.
pub fn delta(run: &Value) -> String {
    let value = &run["delta"];
    if value.is_null() {
        return String::new();
    }
    let resources = counts(&value["resources"]);
    let outputs = counts(&value["outputs"]);
    match (resources.is_empty(), outputs.is_empty()) {
        (true, true) if goes_on(&run["state"]) => "changes, not counted".to_owned(),
        (true, true) => "no changes".to_owned(),
        (false, true) => resources,
        (true, false) => format!("outputs {outputs}"),
        (false, false) => format!("{resources}, outputs {outputs}"),
    }
}

fn goes_on(state: &Value) -> bool {
    let state = state.as_str().and_then(State::from_word);
    matches!(state, Some(State::Unconfirmed | State::Confirmed | State::PreparingApply | State::Applying))
}

fn counts(value: &Value) -> String {
    let signs = [("added", "+"), ("changed", "~"), ("replaced", "±"), ("deleted", "-")];
    let some = signs.into_iter().filter_map(|(name, sign)| {
        let count = value[name].as_u64().filter(|count| *count > 0)?;
        Some(format!("{sign}{count}"))
    });
    some.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_plan_are_short_and_leave_out_what_is_zero() {
        let none = json!({"added": 0, "changed": 0, "deleted": 0, "replaced": 0});
        let some = json!({"added": 1, "changed": 2, "deleted": 0, "replaced": 3});
        assert_eq!(
            delta(&json!({"delta": {"resources": some, "outputs": {"added": 1, "changed": 0, "deleted": 4}}})),
            "+1 ~2 ±3, outputs +1 -4"
        );
        let nothing = |state: &str| json!({"state": state, "delta": {"resources": none, "outputs": none}});
        assert_eq!(delta(&nothing("finished")), "no changes");
        assert_eq!(delta(&nothing("unconfirmed")), "changes, not counted");
        assert_eq!(delta(&json!({"delta": null})), "");
    }

    #[test]
    fn times_and_actors_fit_into_cells() {
        assert_eq!(time(&json!("2026-01-31T12:00:00.123Z")), "2026-01-31 12:00:00Z");
        assert_eq!(time(&Value::Null), "-");
        assert_eq!(actor(&json!({"kind": "api_key", "name": "ci"})), "ci (api key)");
        assert_eq!(actor(&json!({"kind": "user", "name": "mia"})), "mia");
    }
}
