//! Declared tasks on the pages that list them, and running one.

use std::time::Duration;

use serde_json::Value;

use super::{
    sent::{Sent, Wrong, sentence},
    visitor::Visitor,
};
use crate::{
    actions::NewDemand,
    auth::{Permission, Who},
    domain::{Refused, Role, Slug, TaskName, verdict},
    http::{
        Problem, Web,
        view::{
            declared::{DeclaredList, DeclaredRow},
            words,
        },
    },
    queries::{DeclaredTask, Run, StackFilter},
};

/// Stacks whose declarations one page reads.
const STACKS: usize = 100;

/// What all visible stacks declare.
pub fn of_all(web: &Web, who: &Who) -> Result<DeclaredList, Problem> {
    let mut list = DeclaredList { names_stacks: true, ..DeclaredList::default() };
    for row in web.queries.stacks(who, &StackFilter::default())?.into_iter().take(STACKS) {
        let of_stack = of_stack(web, who, &row.stack.slug)?;
        list.rows.extend(of_stack.rows);
        list.mistakes.extend(of_stack.mistakes);
    }
    Ok(list)
}

/// What one stack declares.
pub fn of_stack(web: &Web, who: &Who, slug: &Slug) -> Result<DeclaredList, Problem> {
    let declared = web.queries.declared(who, slug)?;
    let stack = (slug.to_string(), declared.stack.settings.name.to_string());
    let may_run = who.role_on(declared.stack.id) >= Some(Role::Writer);
    let row = |task: &DeclaredTask| DeclaredRow {
        stack: stack.clone(),
        name: task.name.to_string(),
        kind: task.kind.to_string(),
        command: task.run.command.text().to_owned(),
        caps: caps(&declared.bounded(task), declared.resources.contains_key(&task.name), slug),
        may_run,
        refused: None,
    };
    let mistakes = declared.manifest.as_ref().err().map(|error| format!("{}: {error}", stack.1));
    Ok(DeclaredList {
        rows: declared.tasks().map(row).collect(),
        names_stacks: false,
        mistakes: mistakes.into_iter().collect(),
    })
}

/// The bounds of a task and what it may reach, in words.
fn caps(task: &DeclaredTask, set: bool, slug: &Slug) -> Vec<String> {
    let airlock = &task.airlock;
    let timeout = Duration::from_secs(task.run.timeout_seconds.into());
    // First, because a narrow row cuts off the end.
    let mut caps: Vec<String> = set.then(|| "bounds set by the operator".to_owned()).into_iter().collect();
    caps.push(format!("at most {}", words::span(timeout)));
    caps.extend(airlock.fuel.map(|fuel| format!("{} fuel", words::number(fuel))));
    caps.extend(airlock.memory_bytes.map(|memory| format!("{} of memory", verdict::bytes(memory))));
    caps.extend(airlock.output_bytes.map(|output| format!("{} of output", verdict::bytes(output))));
    caps.extend(airlock.processes.map(|processes| format!("{processes} processes")));
    caps.extend(airlock.cpu_percent.map(|percent| format!("{percent} % of a core")));
    caps.extend(task.relationships.iter().map(|(name, to)| format!("{name} → {}", to.service)));
    caps.extend(airlock.network.iter().map(ToString::to_string));
    let serves = |key| format!("run task of others at /run-tasks/{slug}/{}, signed with {key}", task.name);
    caps.extend(airlock.run_task.as_ref().map(|entry| serves(&entry.hmac_secret)));
    caps
}

/// Runs a declared task out of a form; what is wrong with it comes back.
pub async fn run(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Result<Result<Run, Wrong>, Problem> {
    let (stack, permit) = visitor.may_on(Permission::RunDeclared, slug).await?;
    let task = TaskName::new(sent.text("task")).map_err(|_| Problem::not_found("there is no such task"))?;
    let variables = match variables(sent.text("variables")) {
        Ok(variables) => variables,
        Err(refused) => return Ok(Err(refused.into())),
    };
    let new = NewDemand { task, variables, stdin: None, call: None };
    match web.actions.run_declared(&permit, stack.id, new, visitor.once(sent)?).await {
        Ok(run) => Ok(Ok(run)),
        Err(error) => Ok(Err(Wrong::of(error)?)),
    }
}

/// Opens the form again that was refused, with what was in it; false if it was another form.
pub fn refill(list: &mut DeclaredList, slug: &Slug, sent: &Sent, wrong: &Wrong) -> bool {
    let errors: Vec<String> = wrong.errors.iter().map(|error| sentence(&error.error)).collect();
    let why = if errors.is_empty() { wrong.sentence() } else { errors.join(" ") };
    sent.verb() == "run" && list.keep(slug.as_str(), sent.text("task"), sent.text("variables"), why)
}

/// `NAME=value` a line.
fn variables(text: &str) -> Result<Vec<(String, Value)>, Refused> {
    let mut variables = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| {
            Refused::field("variables", format!("`{}` is not NAME=value", line.chars().take(40).collect::<String>()))
        })?;
        let name = name.trim();
        let name = if name.contains(':') { name.to_owned() } else { format!("env:{name}") };
        variables.push((name, Value::String(value.trim_end_matches('\r').to_owned())));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_variable() {
        let read = variables("A=1=2\r\n\n shop:size = 3\n").unwrap();
        assert_eq!(read, [("env:A".to_owned(), "1=2".into()), ("shop:size".to_owned(), " 3".into())]);
        assert!(variables("nothing").unwrap_err().to_string().contains("variables"));
    }
}
