//! Runs of declared tasks: asked for here, carried out in two chains. The first fetches the source,
//! whose configuration files come back with it; what they say about the task decides the second.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::Permit,
    crypt::{Keyring, Secret},
    domain::{EnvName, Refused, RunId, StackId, TaskName, limits, run::Kind},
    manifest::DeclaredTask,
    store::{
        Error, Fault, Rows, Tx,
        record::{Demand, Run, Stack},
        tables as t,
    },
};

use super::{Actions, Moment, declaration, once::Once, trigger, vault};

/// A run of a declared task that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewDemand {
    pub task: TaskName,
    /// By whole name: `env:NAME`, `prefix:name`.
    pub variables: Vec<(String, Value)>,
    /// Standard input in place of the declared one.
    pub stdin: Option<String>,
    /// The call of others that it answers.
    pub call: Option<u64>,
}

/// What a trigger brought.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Input {
    pub variables: Vec<(String, Value)>,
    pub stdin: Option<String>,
    #[serde(default)]
    pub call: Option<u64>,
}

impl Actions {
    /// Runs a declared task of the stack's present source.
    pub async fn run_declared(
        &self,
        permit: &Permit,
        stack: StackId,
        new: NewDemand,
        once: Option<Once>,
    ) -> Result<Run, Error> {
        let fits = check(&new).and_then(|()| check_workload(permit, &new.task));
        let blank = fits.map(|()| trigger::Blank::of_demand(new)).map_err(Error::from);
        self.make_run(permit, "task.run", stack, blank, once).await
    }
}

/// A running task triggers only what it is authorized for.
fn check_workload(permit: &Permit, task: &TaskName) -> Result<(), Refused> {
    match permit.who().workload() {
        Some(workload) if !workload.operates(task) => {
            Err(Refused::forbidden(format!("the `authorizations` of this task do not let it run `{task}`")))
        }
        Some(_) | None => Ok(()),
    }
}

fn check(new: &NewDemand) -> Result<(), Refused> {
    let wrong = |why: String| Err(Refused::field("variables", why));
    if new.variables.len() > limits::VARIABLES_PER_STACK {
        return wrong(format!("at most {} are allowed", limits::VARIABLES_PER_STACK));
    }
    for (name, value) in &new.variables {
        check_name(name).map_err(|why| Refused::field("variables", why))?;
        let text = text_of(value);
        if text.len() > limits::VARIABLE_BYTES || text.contains('\0') {
            return wrong(format!("`{name}` is longer than {} bytes, or holds NUL", limits::VARIABLE_BYTES));
        }
    }
    if new.stdin.as_ref().is_some_and(|text| text.len() > limits::STDIN_BYTES) {
        return Err(Refused::field("stdin", format!("is longer than {} bytes", limits::STDIN_BYTES)));
    }
    Ok(())
}

/// Whether a name can be that of a variable: `env:NAME`, `prefix:name`, `name`.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if let Some(env) = name.strip_prefix("env:") {
        return EnvName::new(env).map(drop).map_err(|error| format!("`{env}` {error}"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    let fits = (1..=256).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(':');
    if fits { Ok(()) } else { Err("a name is 1 to 256 letters, digits and `_-.:/`".to_owned()) }
}

/// A value as a variable of the environment shows it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes down what a new run was asked for. What a retry asks again is copied.
pub(super) fn remember(
    tx: &Tx<'_>,
    moment: &Moment,
    stack: &Stack,
    run: &mut Run,
    asked: &NewDemand,
) -> Result<(), Error> {
    declaration::check_known(tx, stack, &run.source, &asked.task)?;
    let input = Input { variables: asked.variables.clone(), stdin: asked.stdin.clone(), call: asked.call };
    let json = Secret::new(serde_json::to_vec(&input).map_err(super::sealed_fault)?);
    let demand = Demand {
        task: asked.task.clone(),
        names: asked.variables.iter().map(|(name, _)| name.clone()).collect(),
        input: vault::demand(run.id).seal(&moment.keys.get(), json.expose()),
        declared: None,
        bounds: None,
        fault: None,
        authorizations: Vec::new(),
    };
    run.declared_task = Some(asked.task.clone());
    Ok(tx.put(t::RUN_TO_DEMAND, run.seq, &demand)?)
}

/// What a run was asked for.
pub(crate) fn demand_of(view: &impl Rows, run: &Run) -> Result<Demand, Fault> {
    let found = view.get(t::RUN_TO_DEMAND, run.seq)?;
    found.ok_or_else(|| Fault::Record { table: "RUN_TO_DEMAND", why: format!("there is none of {}", run.id) })
}

pub(crate) fn input_of(keys: &Keyring, run: RunId, demand: &Demand) -> Result<Input, Error> {
    let json = vault::demand(run).open(keys, &demand.input)?;
    serde_json::from_slice(json.expose()).map_err(super::sealed_fault)
}

/// Whether a declaration is one of a guest, which finds the caller's plan beside it.
fn judges(declared: &str) -> bool {
    serde_json::from_str::<DeclaredTask>(declared).is_ok_and(|task| task.kind.is_guest())
}

/// What an earlier run was asked for, to be asked again.
pub(super) fn again(actions: &Actions, old: &Run) -> Result<Option<NewDemand>, Error> {
    if old.kind != Kind::OnDemand {
        return Ok(None);
    }
    let demand = demand_of(&actions.store.read()?, old)?;
    let input = input_of(&actions.keys.get(), old.id, &demand)?;
    if let Some(call) = input.call
        && demand.declared.as_deref().is_some_and(judges)
        && actions.store.read()?.get(t::SEQ_TO_CALL, call)?.is_none()
    {
        let why = "the plan that it judged is not kept any more; whoever called it can call again";
        return Err(Refused::conflict(why).into());
    }
    // The call is what it judges. Its caller has heard an outcome, and hears no other.
    Ok(Some(NewDemand { task: demand.task, variables: input.variables, stdin: input.stdin, call: input.call }))
}
