//! One door at a time: serialization on a stack, slots, locks, priorities.

use airlock::{
    actions::{Decision, NewReview, NewRun, NewTask},
    auth::{Permission, Who},
    domain::{BlockedBy, Kind, PolicyKind, ReviewDecision, Role, RunId, State},
    queries::{Run, Stack, blocked_by},
};
use serde_json::json;

use super::{
    gate::Gate,
    rig::{Rig, as_root},
};

fn named(name: &str, gate: &Gate) -> serde_json::Value {
    json!({
        "name": name,
        "vendor": {"kind": "custom", "plan": format!("{}; exit 2", gate.command("plan")), "apply": gate.command("apply")}
    })
}

async fn task_of(rig: &Rig, who: &Who, stack: &Stack, command: &str) -> Run {
    let new = NewTask { command: command.to_owned(), skip_initialization: true };
    rig.app.actions.perform(&rig.permit_of(who, Permission::Perform, stack), stack.id, new, None).await.unwrap()
}

/// From when to when a run worked, in milliseconds.
fn worked(rig: &Rig, run: RunId) -> (i64, i64) {
    let run = rig.run(run);
    let begin = run.phases.first().unwrap().started_at.millis();
    (begin, run.phases.last().unwrap().finished_at.unwrap().millis())
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_a_tracked_run_of_one_stack_never_overlap() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(named("Shop", &gate), &[]).await;
    let first = rig.task(&stack, &gate.command("first")).await;
    let tracked = rig.trigger(&stack, Kind::Tracked).await;
    let second = rig.task(&stack, &gate.command("second")).await;

    let knock = gate.knock().await;
    assert_eq!(knock.name, "first");
    for waits in [&tracked, &second] {
        let waits = rig.run(waits.id);
        assert_eq!(waits.state, State::Queued);
        assert_eq!(waits.blocked_by, Some(BlockedBy::Run { run: first.id, number: first.number }));
    }
    knock.let_on().await;
    for name in ["plan", "apply", "second"] {
        let knock = gate.knock().await;
        assert_eq!(knock.name, name);
        knock.let_on().await;
        if name == "plan" {
            let tracked = rig.until_state(&tracked, State::Unconfirmed).await;
            assert_eq!(rig.run(second.id).state, State::Queued, "an unconfirmed run holds the stack");
            rig.confirm(&tracked).await;
        }
    }
    for run in [&first, &tracked, &second] {
        rig.until_state(run, State::Finished).await;
    }
    let (first, tracked, second) = (worked(&rig, first.id), worked(&rig, tracked.id), worked(&rig, second.id));
    assert!(first.1 <= tracked.0 && tracked.1 <= second.0, "{first:?} {tracked:?} {second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_different_stacks_go_side_by_side_and_proposed_ones_beside_everything() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let (one, two) = (rig.stack(named("One", &gate), &[]).await, rig.stack(named("Two", &gate), &[]).await);
    let runs = [
        rig.task(&one, &gate.command("one")).await,
        rig.task(&two, &gate.command("two")).await,
        rig.trigger(&one, Kind::Proposed).await,
    ];
    // All three stand at the gate at once.
    let mut knocks = [gate.knock().await, gate.knock().await, gate.knock().await];
    knocks.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(knocks.each_ref().map(|knock| knock.name.as_str()), ["one", "plan", "two"]);
    for knock in knocks {
        knock.let_on().await;
    }
    for run in &runs {
        rig.until_state(run, State::Finished).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_off_everybody_else_and_says_whose_it_is() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(named("Shop", &gate), &[]).await;
    let (ada, bob) = (rig.person("ada", &stack, Role::Writer).await, rig.person("bob", &stack, Role::Writer).await);
    let of_bob = rig.permit_of(&bob, Permission::Lock, &stack);
    let planned = rig.trigger(&stack, Kind::Tracked).await;
    gate.knock().await.let_on().await;
    let planned = rig.until_state(&planned, State::Unconfirmed).await;
    let note = Some("moving the database".parse().unwrap());
    rig.app.actions.lock_stack(&rig.permit_of(&ada, Permission::Lock, &stack), stack.id, note).await.unwrap();

    let refused = rig.app.actions.lock_stack(&of_bob, stack.id, None).await.unwrap_err().to_string();
    assert!(refused.contains("locked by ada (moving the database)"), "{refused}");
    let refused = rig.app.actions.unlock_stack(&of_bob, stack.id).await.unwrap_err().to_string();
    assert!(refused.contains("locked by ada"), "{refused}");
    let confirm = Decision::Confirm { plan_digest: None, note: None };
    let permit = rig.permit_of(&bob, Permission::Confirm, &stack);
    let refused = rig.app.actions.decide(&permit, planned.id, confirm.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("locked by ada: moving the database"), "{refused}");
    let permit = rig.permit_of(&ada, Permission::Confirm, &stack);
    rig.app.actions.decide(&permit, planned.id, confirm).await.unwrap();
    gate.knock().await.let_on().await;
    rig.until_state(&planned, State::Finished).await;

    let theirs = task_of(&rig, &bob, &stack, "true").await;
    assert_eq!(theirs.state, State::Queued);
    assert!(matches!(&theirs.blocked_by, Some(BlockedBy::Lock { by }) if by.name == "ada"), "{theirs:?}");
    let own = task_of(&rig, &ada, &stack, "true").await;
    rig.until_state(&own, State::Finished).await;
    assert_eq!(rig.run(theirs.id).state, State::Queued);
    rig.app.actions.unlock_stack(&rig.permit_of(&ada, Permission::Lock, &stack), stack.id).await.unwrap();
    rig.until_state(&theirs, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_stack_takes_no_runs_and_lets_waiting_ones_wait() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(named("Shop", &gate), &[]).await;
    let first = rig.task(&stack, &gate.command("first")).await;
    let waits = rig.task(&stack, "true").await;
    let knock = gate.knock().await;
    let permit = rig.permit(Permission::EditStack, &stack);
    let enable = async |enabled| {
        let settings = airlock::domain::stack::StackSettings { enabled, ..stack.settings.clone() };
        rig.app.actions.edit_stack(&permit, stack.id, settings, None).await.unwrap();
    };
    enable(false).await;
    knock.let_on().await;
    rig.until_state(&first, State::Finished).await;
    assert_eq!(rig.run(waits.id).blocked_by, Some(BlockedBy::Disabled));
    let new = NewRun { kind: Kind::Tracked, commit: None, message: None, runtime_config: None };
    let permit_to_trigger = rig.permit(Permission::Trigger, &stack);
    let refused = rig.app.actions.trigger(&permit_to_trigger, stack.id, new, None).await.unwrap_err().to_string();
    assert!(refused.contains("the stack is disabled"), "{refused}");
    enable(true).await;
    rig.until_state(&waits, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_bound_what_works_at_once_and_prioritized_runs_go_first() {
    let rig = Rig::on(std::sync::Arc::new(tempfile::tempdir().unwrap()), |config| config.slots = 2).await;
    let gate = Gate::new().await;
    let mut stacks = Vec::new();
    for name in ["a", "b", "c", "d"] {
        stacks.push(rig.stack(named(name, &gate), &[]).await);
    }
    let mut runs = Vec::new();
    for (stack, name) in stacks.iter().zip(["a", "b", "c", "d"]) {
        runs.push(rig.task(stack, &gate.command(name)).await);
    }
    let first = [gate.knock().await, gate.knock().await];
    assert_eq!(rig.app.queries.slots_used().unwrap(), 2);
    assert_eq!([rig.run(runs[2].id).state, rig.run(runs[3].id).state], [State::Ready; 2]);
    let decision = Decision::Prioritize { prioritized: true };
    rig.decide(&runs[3], Permission::Prioritize, decision).await.unwrap();
    let [one, other] = first;
    one.let_on().await;
    let next = gate.knock().await;
    assert_eq!(next.name, "d");
    next.let_on().await;
    let last = gate.knock().await;
    assert_eq!(last.name, "c");
    last.let_on().await;
    other.let_on().await;
    for run in &runs {
        rig.until_state(run, State::Finished).await;
    }
    assert_eq!(rig.app.queries.slots_used().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_an_end_wait_for_a_slot_as_everything_does() {
    let rig = Rig::on(std::sync::Arc::new(tempfile::tempdir().unwrap()), |config| config.slots = 2).await;
    let gate = Gate::new().await;
    let body = "package spacelift\napprove { input.run.state == \"QUEUED\" }\nreject { count(input.reviews.current.rejections) > 0 }\n";
    rig.policy("one-no", PolicyKind::Approval, body).await;
    let mut settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}});
    settings["hooks"] = json!({"after_run": [gate.command("over")]});
    let shop = rig.stack(settings, &[]).await;
    let run = rig.unconfirmed(&shop).await;
    let (one, two) = (rig.stack(named("one", &gate), &[]).await, rig.stack(named("two", &gate), &[]).await);
    let busy = [rig.task(&one, &gate.command("one")).await, rig.task(&two, &gate.command("two")).await];
    let [first, second] = [gate.knock().await, gate.knock().await];

    let ada = rig.person("ada", &shop, Role::Writer).await;
    let no = NewReview { decision: ReviewDecision::Reject, note: None, plan_digest: None };
    let permit = rig.permit_of(&ada, Permission::Review, &shop);
    rig.app.actions.review(&permit, run.id, no, None).await.unwrap();
    let waits = rig.until(&run, |run| run.ending.is_some()).await;
    assert_eq!(rig.app.queries.slots_used().unwrap(), 2);
    assert_eq!(blocked_by(&waits), Some(BlockedBy::Slot));
    assert!(rig.app.actions.live_chains().unwrap().iter().all(|chain| chain.run != run.id), "no runner begins");
    let queue = rig.app.queries.queue(&Who::system()).unwrap();
    assert_eq!(queue.waiting.iter().map(|waiting| waiting.run.id).collect::<Vec<_>>(), [run.id]);

    first.let_on().await;
    let hooks = gate.knock().await;
    assert_eq!(hooks.name, "over");
    assert_eq!(rig.app.queries.slots_used().unwrap(), 2);
    hooks.let_on().await;
    second.let_on().await;
    rig.until_state(&run, State::Failed).await;
    for run in &busy {
        rig.until_state(run, State::Finished).await;
    }
    assert_eq!(rig.app.queries.slots_used().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_wait_for_a_user_when_all_are_leased() {
    as_root("only its server leases users");
    let one_user = |config: &mut airlock::config::Config| config.uid_range.last = config.uid_range.first;
    let rig = Rig::on(std::sync::Arc::new(tempfile::tempdir().unwrap()), one_user).await;
    let vendor = json!({"kind": "custom", "plan": "exit 2"});
    let one = rig.stack(json!({"name": "One", "vendor": vendor}), &[]).await;
    let two = rig.stack(json!({"name": "Two", "vendor": vendor}), &[]).await;
    let first = rig.unconfirmed(&one).await;
    let second = rig.trigger(&two, Kind::Tracked).await;
    assert_eq!(second.state, State::Ready, "its user is still the first one's");
    rig.confirm(&first).await;
    rig.until_state(&first, State::Finished).await;
    rig.until_state(&second, State::Unconfirmed).await;
}
