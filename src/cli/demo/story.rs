//! How the examples come about: a first deployment that is confirmed, a task, a guest whose patch is
//! proposed, a change that is left waiting. Each step follows from what the store says, so that a demo
//! that was stopped goes on where it was.

use crate::{
    actions::{Decision, Error, NewGuestTask, NewRun, NewStack, NewTask, NewVariable},
    app::App,
    auth::{On, Permission, Permit, Who, permit, who},
    crypt::Secret,
    domain::{
        EnvName, GuestName, Kind, Note, RunId, Slug, StackId, State, UserName,
        guest::{GuestCall, May, WorkspaceGrant},
        stack::StackSettings,
    },
    queries::{Run, Stack},
};

use super::{
    super::{client::pack_files, output},
    example::{self, Example, Version},
    gates,
};

/// Makes all examples and says which run waits.
pub(super) async fn tell_all(app: &App, user: &UserName) {
    let who = match somebody(app, user) {
        Ok(Some(who)) => who,
        Ok(None) => return,
        Err(error) => return tracing::error!(%error, "the examples cannot be made"),
    };
    if let Err(error) = gates::for_production(app, &who).await {
        tracing::error!(%error, "what gates the examples cannot be made");
    }
    let examples = example::all();
    let told = examples.iter().map(|example| async {
        let teller = Teller { app, who: &who, example };
        match teller.tell().await {
            Ok(Some(run)) => teller.announce(&run),
            Ok(None) => {}
            Err(error) => tracing::error!(stack = example.slug, %error, "an example cannot be made"),
        }
    });
    futures_util::future::join_all(told).await;
}

/// The admin, as if they had signed in.
fn somebody(app: &App, user: &UserName) -> Result<Option<Who>, Error> {
    Ok(app.queries.user_by_name(user.as_str())?.and_then(who::of_user))
}

/// What comes next.
enum Step {
    Deploy,
    Confirm,
    Perform,
    Agent(&'static [&'static str]),
    Propose,
    Change,
    Wait,
    End,
}

struct Teller<'a> {
    app: &'a App,
    who: &'a Who,
    example: &'a Example,
}

impl Teller<'_> {
    /// Goes through the story from wherever it is. The run that waits at its end, if one does.
    async fn tell(&self) -> Result<Option<Run>, Error> {
        let stack = self.stack().await?;
        if self.example.judged {
            gates::judge(self.app, self.who, stack.id).await?;
        }
        loop {
            let newest = self.newest(&stack)?;
            // Listens before it looks: nothing falls between.
            let mut bell = newest.as_ref().map(|run| self.app.actions.bells().hear_run(run.id));
            let newest = newest.map(|run| self.app.queries.run(self.who, run.id)).transpose()?;
            match (step(newest.as_ref(), self.example.agent), &newest) {
                (Step::Deploy, _) => self.deploy(&stack, &self.example.first).await?,
                (Step::Confirm, Some(run)) => self.confirm(run.id, stack.id).await?,
                (Step::Perform, _) => self.perform(stack.id).await?,
                (Step::Agent(edits), _) => self.perform_agent(stack.id, edits).await?,
                (Step::Propose, Some(run)) => self.propose(run.id, stack.id).await?,
                (Step::Change, _) => self.deploy(&stack, &self.example.second).await?,
                (Step::Wait, _) => {
                    if let Some(bell) = &mut bell
                        && bell.changed().await.is_err()
                    {
                        return Ok(None);
                    }
                }
                (Step::End | Step::Confirm | Step::Propose, _) => {
                    return Ok(newest.filter(|run| run.state == State::Unconfirmed));
                }
            }
        }
    }

    fn permit(&self, permission: Permission, on: On) -> Result<Permit, Error> {
        Ok(permit(self.who, permission, on, self.app.actions.now())?)
    }

    async fn stack(&self) -> Result<Stack, Error> {
        let slug = Slug::new(self.example.slug).expect("the examples' slugs are slugs");
        if let Some(id) = self.app.queries.stack_id(&slug)? {
            let stack = self.app.queries.stack(self.who, &slug)?;
            self.set_variables(id).await?;
            return Ok(stack);
        }
        let permit = self.permit(Permission::CreateStack, On::Installation)?;
        let new = NewStack { slug: Some(slug), settings: settings(self.example) };
        let stack = self.app.actions.create_stack(&permit, new, None).await?;
        self.set_variables(stack.id).await?;
        Ok(stack)
    }

    /// Sets what is not set: a secret that a run has used stays what it was.
    async fn set_variables(&self, stack: StackId) -> Result<(), Error> {
        let slug = Slug::new(self.example.slug).expect("the examples' slugs are slugs");
        let set = self.app.queries.variables(self.who, &slug)?;
        let permit = self.permit(Permission::EditEnvironment, On::Stack(stack))?;
        for variable in &self.example.variables {
            let name = EnvName::new(variable.name).expect("the examples' variables have names");
            if set.iter().any(|one| one.name == name) {
                continue;
            }
            let new = NewVariable {
                name,
                value: Secret::new(variable.value.clone()),
                sensitive: variable.sensitive,
                description: variable.description.to_owned(),
            };
            self.app.actions.set_variable(&permit, stack, new).await?;
        }
        Ok(())
    }

    fn newest(&self, stack: &Stack) -> Result<Option<Run>, Error> {
        let filter = crate::queries::RunFilter { stack: Some(stack.id), ..Default::default() };
        Ok(self.app.queries.runs(self.who, &filter, None, 1)?.items.pop())
    }

    async fn deploy(&self, stack: &Stack, version: &Version) -> Result<(), Error> {
        let actions = &self.app.actions;
        let upload = self.permit(Permission::UploadSource, On::Stack(stack.id))?;
        let archive = pack_files(&version.files).map_err(|error| crate::actions::Fault::Io(error.to_string()))?;
        let mut incoming = actions.receive_upload(&upload, stack.id, Some(archive.len() as u64)).await?;
        incoming.write(&archive).await?;
        actions.upload(&upload, stack.id, incoming.finish().await?).await?;
        let permit = self.permit(Permission::Trigger, On::Stack(stack.id))?;
        let message = Some(note(version.message));
        let new = NewRun { kind: Kind::Tracked, commit: None, message, runtime_config: None };
        actions.trigger(&permit, stack.id, new, None).await.map(drop)
    }

    async fn confirm(&self, run: RunId, stack: StackId) -> Result<(), Error> {
        let permit = self.permit(Permission::Confirm, On::Stack(stack))?;
        let decision = Decision::Confirm { plan_digest: None, note: Some(note("as we agreed")) };
        self.app.actions.decide(&permit, run, decision).await.map(drop)
    }

    async fn perform(&self, stack: StackId) -> Result<(), Error> {
        let permit = self.permit(Permission::Perform, On::Stack(stack))?;
        let new = NewTask { command: self.example.task.to_owned(), skip_initialization: false };
        self.app.actions.perform(&permit, stack, new, None).await.map(drop)
    }

    /// What an agent does: it edits the source in a sandbox, and nothing but its patch comes out.
    async fn perform_agent(&self, stack: StackId, edits: &[&str]) -> Result<(), Error> {
        let permit = self.permit(Permission::Perform, On::Stack(stack))?;
        let guest = GuestName::new("patcher").expect("the bundled guests have names");
        let may = May { workspace: Some(WorkspaceGrant::Write), ..May::default() };
        let args = edits.iter().map(|&word| word.to_owned()).collect();
        let call = GuestCall { args, may, ..GuestCall::new(guest) };
        self.app.actions.perform_guest(&permit, stack, NewGuestTask { call, script: None }, None).await.map(drop)
    }

    async fn propose(&self, agent: RunId, stack: StackId) -> Result<(), Error> {
        let permit = self.permit(Permission::Trigger, On::Stack(stack))?;
        let message = Some(note("What the agent proposes: more web servers, a place for logs"));
        self.app.actions.propose(&permit, agent, message, None).await.map(drop)
    }

    fn announce(&self, run: &Run) {
        let url = &self.app.actions.setup().public_url;
        // Nobody may be reading: the server serves all the same.
        let _ = output::line(&format!("Run #{} of {} waits for you: {url}/runs/{}", run.number, run.slug, run.id));
    }
}

fn step(newest: Option<&Run>, agent: Option<&'static [&'static str]>) -> Step {
    let Some(run) = newest else { return Step::Deploy };
    match (run.number, run.state) {
        (1, State::Unconfirmed) => Step::Confirm,
        (1, state) if state.is_terminal() => Step::Perform,
        (2, state) if state.is_terminal() => agent.map_or(Step::Change, Step::Agent),
        (3, State::Finished) if run.kind == Kind::OnDemand => Step::Propose,
        (3, state) if state.is_terminal() && run.kind == Kind::OnDemand => Step::Change,
        (4, state) if state.is_terminal() && run.kind == Kind::Proposed => Step::Change,
        (3.., state) if state.is_terminal() || state == State::Unconfirmed => Step::End,
        _ => Step::Wait,
    }
}

fn note(text: &str) -> Note {
    Note::new(text).expect("the examples' notes are notes")
}

fn settings(example: &Example) -> StackSettings {
    let mut settings = example.settings.clone();
    settings["source"] = serde_json::json!({"kind": "upload"});
    serde_json::from_value(settings).expect("the examples' settings are settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_sound() {
        let names: Vec<&str> = example::all().iter().map(|example| example.slug).collect();
        assert_eq!(names[0], "shop");
        for example in example::all() {
            assert_eq!(settings(&example).check(), []);
            assert!(Slug::new(example.slug).is_ok());
            assert!(example.variables.iter().all(|variable| EnvName::new(variable.name).is_ok()));
            note(example.first.message);
            note(example.second.message);
        }
    }
}
