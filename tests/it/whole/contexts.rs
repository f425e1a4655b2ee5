//! Contexts, hooks and runtime configuration, from a trigger to the end.

use std::{path::PathBuf, sync::Arc};

use airlock::{
    actions::{ContextText, NewContext, NewFile, NewRun, NewVariable},
    auth::{On, Permission, Permit, Who},
    crypt::Secret,
    domain::{EnvName, Kind, Phase, RelativePath, Slug, State, Verdict, runtime::Origin, stack::Hooks},
    queries::{Run, Stack},
};
use serde_json::json;

use super::{
    gate::Gate,
    rig::{CONFIG, Rig, files_with},
};

fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

/// A context; what begins with `!` is sensitive.
struct Made<'a> {
    name: &'a str,
    labels: &'a [&'a str],
    variables: &'a [(&'a str, &'a str)],
    files: &'a [(&'a str, &'a str)],
    hooks: Hooks,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self { name: "base", labels: &[], variables: &[], files: &[], hooks: Hooks::default() }
    }
}

impl Rig {
    async fn context(&self, made: Made<'_>) {
        let plain = |text: &str| text.strip_prefix('!').unwrap_or(text).to_owned();
        let new = NewContext {
            name: slug(made.name),
            text: ContextText {
                description: String::new(),
                labels: made.labels.iter().map(|label| label.parse().unwrap()).collect(),
                hooks: made.hooks,
            },
            variables: made
                .variables
                .iter()
                .map(|(name, value)| NewVariable {
                    name: EnvName::new(*name).unwrap(),
                    value: Secret::new(plain(value)),
                    sensitive: value.starts_with('!'),
                    description: String::new(),
                })
                .collect(),
            files: made
                .files
                .iter()
                .map(|(path, content)| NewFile {
                    path: RelativePath::new(*path).unwrap(),
                    content: Secret::new(plain(content).into_bytes()),
                    sensitive: content.starts_with('!'),
                })
                .collect(),
        };
        let permit = Permit::of_system(Permission::ManageContexts, On::Installation);
        self.app.actions.create_context(&permit, new, None).await.unwrap();
    }

    async fn attach(&self, stack: &Stack, context: &str, priority: i32) {
        let permit = self.permit(Permission::AttachContext, stack);
        self.app.actions.attach_context(&permit, stack.id, slug(context), priority).await.unwrap();
    }

    async fn configured(&self, stack: &Stack, kind: Kind, config: &str) -> Result<Run, String> {
        let new = NewRun { kind, commit: None, message: None, runtime_config: Some(config.to_owned()) };
        let permit = self.permit(Permission::Trigger, stack);
        self.app.actions.trigger(&permit, stack.id, new, None).await.map_err(|error| error.to_string())
    }
}

/// A custom stack that prints in every phase, and plans changes.
fn printing(command: &str) -> serde_json::Value {
    json!({"name": "Shop", "labels": ["prod"], "vendor": {
        "kind": "custom", "init": command, "plan": format!("{command}; exit 2"), "apply": command
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_is_taken_from_the_highest_layer_and_the_run_says_which() {
    let rig = Rig::new().await;
    let file = "stack_defaults:
  environment: {A: defaults, F: defaults}
stacks:
  shop:
    environment: {A: entry, E: entry}
";
    let stack = rig.stack(printing("echo A=$A B=$B C=$C D=$D E=$E F=$F G=$G H=$H"), &[(CONFIG, file)]).await;
    let all = [("A", "c1"), ("B", "c1"), ("C", "c1"), ("D", "c1")];
    rig.context(Made { name: "first", variables: &all, ..Made::default() }).await;
    let all = [("A", "c2"), ("C", "c2"), ("D", "c2"), ("G", "c2"), ("F", "c2")];
    rig.context(Made { name: "second", variables: &all, ..Made::default() }).await;
    let all = [("D", "auto"), ("G", "auto"), ("H", "auto")];
    rig.context(Made { name: "third", labels: &["autoattach:prod"], variables: &all, ..Made::default() }).await;
    let all = [("H", "elsewhere")];
    rig.context(Made { name: "another", labels: &["autoattach:dev"], variables: &all, ..Made::default() }).await;
    rig.attach(&stack, "first", 5).await;
    rig.attach(&stack, "second", 1).await;
    rig.set(&stack, "A", "stack", false).await;
    rig.set(&stack, "E", "stack", false).await;
    rig.set(&stack, "B", "stack", false).await;

    let run = rig.configured(&stack, Kind::Tracked, "environment: {E: trigger}").await.unwrap();
    let run = rig.until_state(&run, State::Unconfirmed).await;
    let expected = "A=entry B=stack C=c2 D=c2 E=trigger F=c2 G=c2 H=auto\n";
    assert_eq!(rig.log(&run, Phase::Initializing), expected);
    assert_eq!(rig.log(&run, Phase::Planning), expected);
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Applying), expected, "a later chain is told what the file said");

    let used = rig.app.queries.run_detail(&Who::system(), run.id).unwrap().runtime.unwrap().used.unwrap();
    let of = |name: &str| used.environment.iter().find(|variable| variable.name.as_str() == name).unwrap();
    let context = |name: &str, priority| Origin::Context { name: slug(name), priority };
    assert_eq!(of("A").origin, Origin::ConfigEntry);
    assert_eq!(of("A").overrides, [Origin::Stack, context("second", 1), context("first", 5), Origin::StackDefaults]);
    assert_eq!((&of("E").origin, of("E").value.as_deref()), (&Origin::Trigger, Some("trigger")));
    assert_eq!(of("E").overrides, [Origin::ConfigEntry, Origin::Stack]);
    assert_eq!(of("C").origin, context("second", 1));
    assert_eq!(
        (&of("H").origin, of("H").value.as_deref()),
        (&Origin::AutomaticContext { name: slug("third") }, Some("auto"))
    );
    assert_eq!(of("D").overrides, [context("first", 5), Origin::AutomaticContext { name: slug("third") }]);

    let shown = rig.app.queries.environment(&Who::system(), &stack.slug).unwrap();
    let of = |name: &str| shown.variables.iter().find(|variable| variable.name.as_str() == name).unwrap();
    assert_eq!(of("A").origin, Origin::ConfigEntry, "the file as it was read last");
    assert_eq!(of("E").origin, Origin::ConfigEntry, "the trigger's was for that run only");
    let again = rig.app.actions.retry(&rig.permit(Permission::Trigger, &stack), run.id, None).await.unwrap();
    let again = rig.until_state(&again, State::Unconfirmed).await;
    assert!(rig.log(&again, Phase::Planning).contains("E=trigger"), "a retry is given the same");
    rig.discard(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensitive_values_and_files_of_contexts_are_masked_in_every_form() {
    let rig = Rig::new().await;
    let secret = "c0ntext/s3cret+value";
    let command = "echo $TOKEN; printf %s \"$TOKEN\" | base64; cat keys/id; echo $PLAIN";
    let stack = rig.stack(printing(command), &[]).await;
    rig.context(Made {
        variables: &[("TOKEN", &format!("!{secret}")), ("PLAIN", "open")],
        files: &[("keys/id", "!file-of-the-context-0815\n")],
        ..Made::default()
    })
    .await;
    rig.attach(&stack, "base", 0).await;
    let run = rig.unconfirmed(&stack).await;
    let log = rig.log(&run, Phase::Planning);
    assert!(log.contains("open\n") && log.matches("*****").count() >= 3, "{log}");
    for form in [secret, "Yzbu", "file-of-the-context"] {
        assert!(!log.contains(form), "{form} in {log}");
        assert_eq!(files_with(&rig.data(), form), Vec::<PathBuf>::new(), "{form}");
    }
    let used = rig.app.queries.run_detail(&Who::system(), run.id).unwrap().runtime.unwrap().used.unwrap();
    let token = used.environment.iter().find(|variable| variable.name.as_str() == "TOKEN").unwrap();
    let stored = rig.app.queries.environment(&Who::system(), &stack.slug).unwrap();
    assert!(token.value.is_none() && token.hash.is_some() && token.sensitive);
    assert!(format!("{stored:?}").contains(token.hash.as_deref().unwrap()), "the same hash as on the stack's page");
    rig.discard(&run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_master_key_keeps_contexts_readable() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("test \"$TOKEN\" = hunter2-hunter2 && cat keys/id | wc -c"), &[]).await;
    rig.context(Made {
        variables: &[("TOKEN", "!hunter2-hunter2")],
        files: &[("keys/id", "!0123456789")],
        ..Made::default()
    })
    .await;
    rig.attach(&stack, "base", 0).await;
    let hash = |rig: &Rig| format!("{:?}", rig.app.queries.context(&slug("base")).unwrap().variables[0].value);
    let before = hash(&rig);
    let permit = Permit::of_system(Permission::ManageSystem, On::Installation);
    rig.app.actions.rotate_master_key(&permit).await.unwrap();
    assert_ne!(hash(&rig), before);
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(rig.log(&run, Phase::Planning), "10\n");
    rig.discard(&run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_contexts_lie_around_the_stacks_own_in_the_documented_order() {
    let rig = Rig::new().await;
    let say = |word: &str| Hooks {
        before_plan: vec![format!("echo before {word}")],
        after_plan: vec![format!("echo after {word}")],
        after_run: vec![format!("echo over {word} $AIRLOCK_FINAL_RUN_STATE")],
        ..Hooks::default()
    };
    let mut settings = printing("true");
    settings["vendor"]["plan"] = json!("echo plan");
    settings["hooks"] = serde_json::to_value(say("stack")).unwrap();
    let stack = rig.stack(settings, &[]).await;
    for (name, labels) in [("c", &[][..]), ("d", &[]), ("a", &["autoattach:*"]), ("b", &["autoattach:prod"])] {
        rig.context(Made { name, labels, hooks: say(name), ..Made::default() }).await;
    }
    rig.attach(&stack, "d", 5).await;
    rig.attach(&stack, "c", 0).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Finished).await;
    let words = |phase| rig.log(&run, phase).replace(['\n'], " ");
    assert_eq!(
        words(Phase::Planning),
        "before c before d before b before a before stack plan after stack after a after b after d after c "
    );
    assert_eq!(
        words(Phase::Ending),
        "over stack finished over a finished over b finished over d finished over c finished "
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_hook_is_seen_a_failing_hook_ends_the_phase_and_after_run_sees_how_it_ended() {
    let rig = Rig::new().await;
    let mut settings = printing("echo \"in $AIRLOCK_PHASE: $FROM_HOOK\"");
    settings["hooks"] = json!({
        "before_plan": ["export FROM_HOOK=seen"],
        "before_apply": ["echo about to fail", "false", "echo went on"],
        "after_run": ["echo \"over: $AIRLOCK_FINAL_RUN_STATE $TF_VAR_spacelift_final_run_state\""],
    });
    let stack = rig.stack(settings, &[]).await;
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(rig.log(&run, Phase::Planning), "in planning: seen\n");
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Failed).await;
    let log = rig.log(&run, Phase::Applying);
    assert!(log.starts_with("about to fail\n") && !log.contains("went on") && !log.contains("in applying"), "{log}");
    let reason = "the command never ran: before_apply hook 2 (`false`) ended with 1".to_owned();
    assert_eq!(run.verdict, Some(Verdict::Refused { reason }));
    assert_eq!(rig.log(&run, Phase::Ending), "over: failed failed\n");

    let run = rig.unconfirmed(&stack).await;
    rig.discard(&run).await;
    let run = rig.until_state(&run, State::Discarded).await;
    assert!(run.phases.iter().all(|phase| phase.phase != Phase::Ending), "nothing runs after a discard");
}

#[tokio::test(flavor = "multi_thread")]
async fn ro_reaches_reading_phases_wo_applying_and_both_are_masked_everywhere() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("echo \"TOKEN=$TOKEN ro=$ro_TOKEN wo=$wo_TOKEN $CLEAR\""), &[]).await;
    rig.context(Made {
        variables: &[
            ("ro_TOKEN", "!read-credential"),
            ("wo_TOKEN", "!write-credential"),
            ("CLEAR", "write-credential"),
        ],
        ..Made::default()
    })
    .await;
    rig.attach(&stack, "base", 0).await;
    let run = rig.unconfirmed(&stack).await;
    // The write credential is masked although this phase is not given it.
    for phase in [Phase::Initializing, Phase::Planning] {
        assert_eq!(rig.log(&run, phase), "TOKEN=***** ro=***** wo= *****\n", "{phase}");
    }
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Applying), "TOKEN=***** ro= wo=***** *****\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_runtime_configuration_makes_no_run_and_says_where_it_is_wrong() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("true"), &[]).await;
    let refused = async |config: &str| rig.configured(&stack, Kind::Tracked, config).await.unwrap_err();
    let wrong = refused("before_init: [a]\nbefor_plan: [b]\nenvironment: {1A: x}\n").await;
    assert!(wrong.contains("line 2:1") && wrong.contains("did you mean `before_plan`"), "{wrong}");
    assert!(wrong.contains("line 3:15"), "{wrong}");
    let wrong = refused("terraform_version: 1.9.5").await;
    assert!(wrong.contains("no meaning for a stack of the vendor custom"), "{wrong}");
    let wrong = refused("runner_image: debian:12").await;
    assert!(wrong.contains("there is no image `debian:12`"), "{wrong}");
    let infra = rig.stack(json!({"name": "Infra", "vendor": {"kind": "terraform"}}), &[]).await;
    let wrong = rig.configured(&infra, Kind::Tracked, "terraform_version: 1.9.5").await.unwrap_err();
    assert!(wrong.contains("there is no binary `1.9.5`"), "{wrong}");
    assert!(rig.app.queries.active_runs(&Who::system(), stack.id).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_file_fails_the_run_with_line_and_column() {
    let rig = Rig::new().await;
    let file = "stacks:\n  shop:\n    before_paln: [echo x]\n";
    let stack = rig.stack(printing("true"), &[(CONFIG, file)]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Failed).await;
    let Some(Verdict::Refused { reason }) = &run.verdict else { panic!("{run:#?}") };
    assert!(reason.contains(".airlock/config.yaml:3:5: stacks.shop.before_paln"), "{reason}");
    assert!(reason.contains("did you mean `before_plan`"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_sets_root_and_hooks_and_a_label_switches_it_off() {
    let rig = Rig::new().await;
    let file = "stack_defaults:
  project_root: infra
  after_run: ['echo from the defaults']
stacks:
  shop:
    before_plan: ['echo from the entry']
    project_root: deep/er
";
    let files = [(".spacelift/config.yml", file), ("infra/x", "1"), ("deep/er/x", "2")];
    let mut settings = printing("cat x");
    settings["hooks"] = json!({"before_plan": ["echo from the stack"]});
    let stack = rig.stack(settings.clone(), &files).await;
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(rig.log(&run, Phase::Planning), "from the entry\n2");
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(
        (rig.log(&run, Phase::Applying), rig.log(&run, Phase::Ending)),
        ("2".to_owned(), "from the defaults\n".to_owned())
    );

    settings["name"] = json!("Other");
    settings["labels"] = json!(["feature:ignore_runtime_config"]);
    let other = rig.stack(settings, &[(".spacelift/config.yml", "nonsense: 1\n"), ("x", "3")]).await;
    let run = rig.unconfirmed(&other).await;
    assert_eq!(rig.log(&run, Phase::Planning), "from the stack\n3");
    rig.discard(&run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_any_layer_says_that_nothing_is_applied() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("echo ran"), &[]).await;
    rig.context(Made { variables: &[("AIRLOCK_SKIP_APPLYING", "true")], ..Made::default() }).await;
    rig.attach(&stack, "base", 0).await;
    let run = rig.applied(&stack).await;
    assert!(!rig.log(&run, Phase::Applying).contains("ran"));
    assert_eq!(run.reason.as_deref(), Some(SKIPPED));
    let run = rig.configured(&stack, Kind::Tracked, "environment: {AIRLOCK_SKIP_APPLYING: 'false'}").await.unwrap();
    let run = rig.until_state(&run, State::Unconfirmed).await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Applying), "ran\n");
    assert_eq!(run.reason, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_that_nothing_is_applied_may_be_sensitive() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("echo ran"), &[]).await;
    let before = rig.unconfirmed(&stack).await;
    rig.set(&stack, "SPACELIFT_SKIP_APPLYING", "true", true).await;
    rig.confirm(&before).await;
    let before = rig.until_state(&before, State::Finished).await;
    for run in [before, rig.applied(&stack).await] {
        assert!(!rig.log(&run, Phase::Applying).contains("ran"));
        assert_eq!(run.reason.as_deref(), Some(SKIPPED));
        assert!(run.phases.iter().any(|phase| phase.phase == Phase::Applying && phase.skipped));
    }
}

/// The reason of a run that applied nothing.
const SKIPPED: &str = "applying was skipped: the environment says AIRLOCK_SKIP_APPLYING=true";

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_task_gets_what_its_stacks_contexts_hold() {
    let rig = Rig::new().await;
    let tasks = "tasks: {say: {type: native, run: {command: 'echo $REGION $TOKEN'}}}";
    let stack = rig.stack(printing("true"), &[(CONFIG, tasks)]).await;
    rig.context(Made { variables: &[("REGION", "north"), ("TOKEN", "!hunter2-hunter2")], ..Made::default() }).await;
    rig.attach(&stack, "base", 0).await;
    let run = rig.declared(&stack, "say", &[]).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), "north *****\n");
}

/// Changes everything that a run works with: its values, files, hooks and commands.
async fn change_everything(rig: &Rig, stack: &Stack, word: &str) {
    rig.set(stack, "PLAIN", word, false).await;
    rig.set(stack, "SECRET", &format!("{word}-secret-value"), true).await;
    rig.mount(stack, "key", word, false).await;
    let mut settings = stack.settings.clone();
    settings.hooks.before_apply = vec![format!("echo hook {word}")];
    settings.hooks.after_run = vec![format!("echo over {word}")];
    let apply =
        format!("echo apply {word} $PLAIN $NEW; cat key; test \"$SECRET\" = \"$PLAIN-secret-value\" && echo same");
    settings.vendor = serde_json::from_value(json!({"kind": "custom", "plan": "exit 2", "apply": apply})).unwrap();
    let permit = rig.permit(Permission::EditStack, stack);
    rig.app.actions.edit_stack(&permit, stack.id, settings, None).await.unwrap();
}

const PLANNED: &str = "hook planned\napply planned planned\nplannedsame\n";

/// What the run says about changes that it did not use: on its page, in its timeline, in the log.
fn assert_says_what_changed(rig: &Rig, run: &Run) {
    let said = "changed since this run began, and not used by it: NEW, PLAIN, SECRET, before_apply hooks, after_run \
                hooks, mounted files, the stack's commands";
    assert_eq!(run.warnings, [said]);
    assert!(rig.log(run, Phase::PreparingApply).contains(said), "{}", rig.all_logs(run));
    let timeline = rig.app.queries.run_detail(&Who::system(), run.id).unwrap().remarks;
    let found = timeline.iter().filter(|remark| remark.text == said).count();
    assert_eq!(found, 1, "{timeline:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_set_as_it_was_planned_whatever_was_changed_since() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("true"), &[("x", "")]).await;
    change_everything(&rig, &stack, "planned").await;
    let stack = rig.app.queries.stack(&Who::system(), &stack.slug).unwrap();
    let run = rig.unconfirmed(&stack).await;
    change_everything(&rig, &stack, "changed").await;
    rig.set(&stack, "NEW", "changed", false).await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Applying), PLANNED, "{}", rig.all_logs(&run));
    assert_eq!(rig.log(&run, Phase::Ending), "over planned\n");
    assert_says_what_changed(&rig, &run);

    let next = rig.unconfirmed(&stack).await;
    rig.confirm(&next).await;
    let next = rig.until_state(&next, State::Finished).await;
    assert_eq!(rig.log(&next, Phase::Applying), "hook changed\napply changed changed changed\nchangedsame\n");
    assert_eq!(next.warnings, [] as [&str; 0]);
    rig.until_tidy().await;
    for secret in ["planned-secret-value", "changed-secret-value"] {
        assert_eq!(files_with(&rig.data(), secret), Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_between_confirmation_and_apply_is_not_used_either() {
    let rig = Rig::on(Arc::new(tempfile::tempdir().unwrap()), |config| config.slots = 1).await;
    let gate = Gate::new().await;
    let stack = rig.stack(printing("true"), &[("x", "")]).await;
    change_everything(&rig, &stack, "planned").await;
    let stack = rig.app.queries.stack(&Who::system(), &stack.slug).unwrap();
    let run = rig.unconfirmed(&stack).await;
    let other = rig.stack(json!({"name": "Other", "vendor": {"kind": "custom"}}), &[]).await;
    let busy = rig.task(&other, &gate.command("busy")).await;
    let knock = gate.knock().await;
    rig.confirm(&run).await;
    assert_eq!(rig.run(run.id).state, State::Confirmed, "no slot is free");
    change_everything(&rig, &stack, "changed").await;
    rig.set(&stack, "NEW", "changed", false).await;
    knock.let_on().await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Applying), PLANNED, "{}", rig.all_logs(&run));
    assert_says_what_changed(&rig, &run);
    rig.until_state(&busy, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_still_say_that_a_planned_change_is_not_applied() {
    let rig = Rig::new().await;
    let stack = rig.stack(printing("echo ran"), &[]).await;
    let run = rig.unconfirmed(&stack).await;
    rig.set(&stack, "AIRLOCK_SKIP_APPLYING", "true", false).await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(!rig.log(&run, Phase::Applying).contains("ran"));
    // What was planned as skipped is not applied by taking that back.
    let run = rig.unconfirmed(&stack).await;
    rig.set(&stack, "AIRLOCK_SKIP_APPLYING", "false", false).await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(!rig.log(&run, Phase::Applying).contains("ran"));
}
