//! Runs and stacks for people.

use serde_json::Value;

use crate::{
    cli::{
        clean,
        output::span,
        shape::{actor, delta, time},
        table::Table,
    },
    domain::{Look, State, Timestamp},
};

use super::{Client, wait::state};

/// Changes that are shown one by one.
const CHANGES: usize = 100;

/// A text of an answer, on one line.
pub fn text(value: &Value, name: &str) -> String {
    clean::line(value[name].as_str().unwrap_or_default())
}

/// `run #3 of shop`.
pub fn name(run: &Value) -> String {
    let kind = if run["kind"] == "task" { "task" } else { "run" };
    format!("{kind} #{} of {}", run["number"], text(run, "stack"))
}

/// How a run stands, in a line: `run #3 of shop: queued, behind run_01K…`.
pub fn standing(run: &Value) -> String {
    if run.is_null() {
        return "asking".to_owned();
    }
    let state = text(run, "state").replace('_', " ");
    match why(run) {
        Some(why) => format!("{}: {state}, {why}", name(run)),
        None => format!("{}: {state}", name(run)),
    }
}

/// Why a run is where it is.
fn why(run: &Value) -> Option<String> {
    let blocked = &run["blocked_by"];
    let by = || actor(&blocked["by"]);
    match blocked["kind"].as_str() {
        Some("run") => Some(format!("behind {}", text(blocked, "run"))),
        Some("lock") => Some(format!("the stack is locked by {}", clean::line(&by()))),
        Some("approval") => {
            let missing = run["approval"]["missing"].as_str().map(clean::line);
            Some(missing.unwrap_or_else(|| "waits for an approval".to_owned()))
        }
        Some("slot") => Some("waits for a free slot".to_owned()),
        Some("upstream") => Some("waits for an upstream stack".to_owned()),
        Some("disk") => Some("the server's disk is nearly full".to_owned()),
        Some(_) | None => {
            let missing = run["approval"]["missing"].as_str().or_else(|| run["reason"].as_str());
            missing.map(clean::line)
        }
    }
}

/// `approved by ada: looks right`, with a mark where it does not count any more.
fn said(review: &Value) -> String {
    let verb = if review["decision"] == "approve" { "approved" } else { "rejected" };
    let note = review["note"].as_str().map(|note| format!(": {}", clean::line(note))).unwrap_or_default();
    let older = if review["current"] == true { "" } else { " (does not count any more)" };
    format!("{verb} by {}{note}{older}", clean::line(&actor(&review["actor"])))
}

/// `guard at post_plan (advisory): failed, 2 of 7 changes are not allowed`, one for each run task and stage.
fn checks(run: &Value) -> Vec<String> {
    let stages = run["run_tasks"].as_array().into_iter().flatten();
    let results = stages.flat_map(|stage| {
        let overridden = stage["overridden_by"].as_str().map(|by| format!("; {} let the run go on", clean::line(by)));
        stage["results"].as_array().into_iter().flatten().map(move |result| {
            let message = result["message"].as_str().filter(|message| !message.is_empty());
            format!(
                "{} at {} ({}): {}{}{}",
                text(result, "run_task"),
                text(stage, "stage"),
                text(result, "enforcement"),
                text(result, "status"),
                message.map(|message| format!(", {}", clean::line(message))).unwrap_or_default(),
                overridden.clone().unwrap_or_default(),
            )
        })
    });
    results.collect()
}

/// `data-is-kept (plan): warn, database.orders holds data`.
fn policy(receipt: &Value) -> String {
    let messages = receipt["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let said = messages.map(|message| format!(", {}", clean::line(message))).collect::<String>();
    format!("{} ({}): {}{said}", text(receipt, "name"), text(receipt, "kind"), text(receipt, "decision"))
}

/// What a run came to, with the next step.
pub fn result(run: &Value) -> String {
    let mut line = standing(run);
    let planned = delta(run);
    if !planned.is_empty() {
        line.push_str(&format!(" ({planned})"));
    }
    if run["approval"]["decision"] == "open" {
        let id = text(run, "id");
        line.push_str(&format!("\n  airlock run show {id}\n  airlock run review {id} --approve"));
    } else if run["state"] == "unconfirmed" {
        let id = text(run, "id");
        line.push_str(&format!("\n  airlock run show {id}\n  airlock run confirm {id} --wait"));
    }
    line
}

/// A run that was just made or decided about.
pub fn made(client: &Client, run: &Value) -> String {
    format!("{}  {}\n  {}", text(run, "id"), standing(run), client.page(&format!("/runs/{}", text(run, "id"))))
}

/// Runs, a line each.
pub fn runs(runs: &[Value]) -> String {
    let mut table = Table::new(&["RUN", "STACK", "#", "KIND", "STATE", "PLAN", "BY", "CREATED", "WHAT"]);
    for run in runs {
        let what = if run["command"].is_null() { text(run, "message") } else { text(run, "command") };
        table.row([
            text(run, "id"),
            text(run, "stack"),
            run["number"].to_string(),
            text(run, "kind"),
            text(run, "state"),
            delta(run),
            actor(&run["triggered_by"]),
            time(&run["created_at"]),
            what.chars().take(60).collect(),
        ]);
    }
    if table.is_empty() { "there are no runs".to_owned() } else { table.to_string() }
}

/// Everything about a run that fits a screen.
pub fn run(client: &Client, run: &Value, changes: Option<&Value>) -> String {
    let id = text(run, "id");
    let mut lines = vec![format!("{}  {id}", capital(&name(run)))];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() && value != "-" {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    fact("state", [Some(text(run, "state")), why(run)].into_iter().flatten().collect::<Vec<_>>().join(": "));
    fact("kind", text(run, "kind"));
    fact("by", clean::line(&actor(&run["triggered_by"])));
    fact("created", time(&run["created_at"]));
    fact("message", text(run, "message"));
    fact("command", text(run, "command"));
    fact("exit code", run["exit_code"].as_i64().map(|code| code.to_string()).unwrap_or_default());
    fact("commit", text(run, "commit"));
    fact("retry of", text(run, "retry_of"));
    fact("plan", delta(run));
    fact("phases", phases(run));
    for check in checks(run) {
        fact("run task", check);
    }
    for receipt in run["policies"].as_array().into_iter().flatten() {
        fact("policy", policy(receipt));
    }
    for review in run["reviews"].as_array().into_iter().flatten() {
        fact("review", said(review));
    }
    for warning in run["warnings"].as_array().into_iter().flatten() {
        fact("warning", clean::line(warning.as_str().unwrap_or_default()));
    }
    fact("page", client.page(&format!("/runs/{id}")));
    if let Some(changes) = changes {
        lines.extend(changed(changes));
    }
    lines.extend(next(run).map(|next| format!("\n{next}")));
    lines.join("\n")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// `preparing 0.2 s, planning 3.1 s (failed: exit 1)`.
fn phases(run: &Value) -> String {
    let phases = run["phases"].as_array().into_iter().flatten().map(|phase| {
        let at = |name: &str| phase[name].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let took = at("started_at").zip(at("finished_at")).map(|(from, to)| to.since(from).as_millis());
        let took = took.map(|millis| format!(" {}", span(u64::try_from(millis).unwrap_or(u64::MAX))));
        let state = match phase["state"].as_str() {
            Some("finished") | None => String::new(),
            Some(state) => format!(" ({})", clean::line(state)),
        };
        format!("{}{}{state}", text(phase, "name"), took.unwrap_or_default())
    });
    phases.collect::<Vec<_>>().join(", ")
}

/// What a plan would change, a line each.
fn changed(changes: &Value) -> Vec<String> {
    let items = |name: &str| changes[name].as_array().cloned().unwrap_or_default();
    let resources = items("resources").into_iter().map(|change| (text(&change, "address"), change));
    let outputs = items("outputs").into_iter().map(|change| (format!("output {}", text(&change, "name")), change));
    let all: Vec<_> = resources.chain(outputs).collect();
    let mut lines = vec![String::new()];
    for (what, change) in all.iter().take(CHANGES) {
        lines.push(format!("  {} {what}", sign(change["action"].as_str().unwrap_or_default())));
    }
    if all.len() > CHANGES {
        lines.push(format!("  … and {} more; --json shows all", all.len() - CHANGES));
    }
    if lines.len() == 1 { Vec::new() } else { lines }
}

fn sign(action: &str) -> &'static str {
    match action {
        "create" => "+",
        "update" => "~",
        "replace" => "±",
        "delete" => "-",
        _ => "·",
    }
}

/// What somebody can do with a run now.
fn next(run: &Value) -> Option<String> {
    let id = text(run, "id");
    match state(run)? {
        State::Unconfirmed => Some(format!("Next: airlock run confirm {id} --wait\n  or: airlock run discard {id}")),
        state if state.look() == Look::Working => Some(format!("Next: airlock run logs {id} -f")),
        State::Failed => Some(format!("Next: airlock run logs {id}\n  or: airlock run retry {id} --wait")),
        _ => None,
    }
}

/// Stacks, a line each.
pub fn stacks(stacks: &[Value]) -> String {
    let mut table = Table::new(&["STACK", "NAME", "STATE", "VENDOR", "LOCK", "LABELS"]);
    for stack in stacks {
        table.row([
            text(stack, "slug"),
            text(stack, "name"),
            stack["state"].as_str().unwrap_or("never run").to_owned(),
            text(&stack["vendor"], "kind"),
            actor(&stack["lock"]["by"]),
            labels(stack),
        ]);
    }
    if table.is_empty() { "there are no stacks that you may see".to_owned() } else { table.to_string() }
}

fn labels(stack: &Value) -> String {
    let labels = stack["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
    labels.map(clean::line).collect::<Vec<_>>().join(" ")
}

/// One stack.
pub fn stack(client: &Client, stack: &Value) -> String {
    let slug = text(stack, "slug");
    let mut lines = vec![format!("{}  {slug}", text(stack, "name"))];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    fact("state", stack["state"].as_str().map_or_else(|| "never run".to_owned(), clean::line));
    fact("latest run", text(stack, "latest_run"));
    fact("lock", lock(&stack["lock"]));
    fact("vendor", text(&stack["vendor"], "kind"));
    fact("source", source(&stack["source"]));
    fact("labels", labels(stack));
    fact("autodeploy", if stack["autodeploy"] == true { "on".to_owned() } else { "off".to_owned() });
    fact("enabled", if stack["enabled"] == false { "no".to_owned() } else { String::new() });
    fact("created", time(&stack["created_at"]));
    fact("description", text(stack, "description"));
    fact("page", client.page(&format!("/stacks/{slug}")));
    lines.join("\n")
}

fn source(source: &Value) -> String {
    let root = Some(text(source, "project_root")).filter(|root| !root.is_empty()).map(|root| format!(", in {root}"));
    let root = root.unwrap_or_default();
    match source["kind"].as_str() {
        Some("git") => format!("{} branch {}{root}", text(source, "url"), text(source, "branch")),
        Some("upload") => format!("uploads{root}"),
        Some(_) | None => "none: the stack has no runs until it has one".to_owned(),
    }
}

/// `mia since 2026-01-31 12:00:00Z: moving the database`.
pub fn lock(lock: &Value) -> String {
    if lock.is_null() {
        return String::new();
    }
    let note = Some(text(lock, "note")).filter(|note| !note.is_empty()).map(|note| format!(": {note}"));
    format!("{} since {}{}", clean::line(&actor(&lock["by"])), time(&lock["since"]), note.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_says_why_it_waits() {
        let run = |blocked: Value| {
            standing(
                &json!({"kind": "tracked", "number": 3, "stack": "shop", "state": "queued", "blocked_by": blocked}),
            )
        };
        assert_eq!(run(Value::Null), "run #3 of shop: queued");
        assert_eq!(run(json!({"kind": "run", "run": "run_1"})), "run #3 of shop: queued, behind run_1");
        let lock = json!({"kind": "lock", "by": {"kind": "user", "name": "mia\u{1b}[2J"}});
        assert_eq!(run(lock), "run #3 of shop: queued, the stack is locked by mia");
    }

    #[test]
    fn a_run_that_waits_for_somebody_names_the_next_step() {
        let run = json!({"id": "run_1", "kind": "tracked", "number": 3, "stack": "shop", "state": "unconfirmed",
            "delta": {"resources": {"added": 1}, "outputs": {}}});
        assert_eq!(
            result(&run),
            "run #3 of shop: unconfirmed (+1)\n  airlock run show run_1\n  airlock run confirm run_1 --wait"
        );
    }

    #[test]
    fn changes_are_listed_by_their_sign() {
        let changes = json!({"resources": [{"address": "a.b", "action": "replace"}, {"address": "c\nd", "action": "read"}],
            "outputs": [{"name": "url", "action": "delete"}]});
        assert_eq!(changed(&changes), ["", "  ± a.b", "  · c d", "  - output url"]);
        assert!(changed(&json!({"resources": [], "outputs": []})).is_empty());
    }
}
