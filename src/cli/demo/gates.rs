//! What looks at the shop's plans before a person does: a context and a policy that come by label, and
//! a run task that is a guest. Each is made where it is missing, as is everything in a demo.

use crate::{
    actions::{
        Actions, ContextText, Error, NewAttachment, NewContext, NewPolicy, NewRunTask, NewRunTaskKind, NewVariable,
        Saving, Secret,
    },
    app::App,
    auth::{On, Permission, Permit, Who, permit},
    domain::{
        Enforcement, EnvName, GuestName, Label, PolicyKind, PolicyName, RunTaskName, Slug, StackId, Stage, stack::Hooks,
    },
};

/// Everything with this label, without anybody attaching it.
const BY_LABEL: &str = "autoattach:production";

/// Makes what gates the runs of stacks in production.
pub(super) async fn for_production(app: &App, who: &Who) -> Result<(), Error> {
    context(app, who).await?;
    policy(app, who).await
}

/// Has a guest judge each plan of a stack. Its verdict is a warning: a person decides.
pub(super) async fn judge(app: &App, who: &Who, stack: StackId) -> Result<(), Error> {
    let name = RunTaskName::new("guard").expect("the example's run task has a name");
    if app.queries.run_tasks()?.iter().any(|row| row.task.name == name) {
        return Ok(());
    }
    let new = NewRunTask {
        name,
        description: "A guest that reads the plan and nothing else: what is deleted or replaced is named.".to_owned(),
        kind: NewRunTaskKind::Wasi { guest: GuestName::new("guard").expect("the bundled guests have names") },
        enabled: true,
        trusted: false,
    };
    let manage = permitted(&app.actions, who, Permission::ManageRunTasks, On::Installation)?;
    let made = app.actions.create_run_task(&manage, new, None).await?;
    let attach = permitted(&app.actions, who, Permission::AttachRunTasks, On::Stack(stack))?;
    let new = NewAttachment { run_task: made.id, stages: vec![Stage::PostPlan], enforcement: Enforcement::Advisory };
    app.actions.attach_run_task(&attach, stack, new, None).await.map(drop)
}

async fn context(app: &App, who: &Who) -> Result<(), Error> {
    let name = Slug::new("production").expect("the example's context has a name");
    if app.queries.context_names()?.contains(&name) {
        return Ok(());
    }
    let variable = |name: &str, value: &str, description: &str| NewVariable {
        name: EnvName::new(name).expect("the example's variables have names"),
        value: Secret::new(value.to_owned()),
        sensitive: false,
        description: description.to_owned(),
    };
    let new = NewContext {
        name,
        text: ContextText {
            description: "What all stacks in production share.".to_owned(),
            labels: vec![by_label()],
            hooks: Hooks::default(),
        },
        variables: vec![
            variable("SHOP_CURRENCY", "EUR", "What prices are in"),
            variable("SHOP_REGION", "eu-west", "Where things run, unless a stack says otherwise"),
        ],
        files: Vec::new(),
    };
    let permit = permitted(&app.actions, who, Permission::ManageContexts, On::Installation)?;
    app.actions.create_context(&permit, new, None).await.map(drop)
}

async fn policy(app: &App, who: &Who) -> Result<(), Error> {
    let name = PolicyName::new("data-is-kept").expect("the example's policy has a name");
    if app.queries.policies()?.iter().any(|row| row.policy.name == name) {
        return Ok(());
    }
    let new = NewPolicy {
        name,
        kind: PolicyKind::Plan,
        body: include_str!("shop/data-is-kept.rego").to_owned(),
        labels: vec![by_label()],
        description: "Nothing that holds data goes unseen.".to_owned(),
    };
    let permit = permitted(&app.actions, who, Permission::ManagePolicies, On::Installation)?;
    app.actions.save_policy(&permit, Saving::New, new, None).await.map(drop)
}

fn by_label() -> Label {
    Label::new(BY_LABEL).expect("the examples' labels are labels")
}

fn permitted(actions: &Actions, who: &Who, permission: Permission, on: On) -> Result<Permit, Error> {
    Ok(permit(who, permission, on, actions.now())?)
}
