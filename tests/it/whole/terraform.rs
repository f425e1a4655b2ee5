//! The life cycle with a real Terraform, which must be there.

use std::process::{Command, Stdio};

use airlock::{
    actions::Decision,
    auth::{Permission, Who},
    domain::{Action, Delta, Kind, Phase, State},
    queries::{Run, Stack},
};
use serde_json::{Value, json};

use super::{
    gate::Gate,
    rig::{Rig, assert_nothing_held, files_with},
};

const SECRET: &str = "correct-horse-battery-staple";

pub fn needs_terraform() {
    let found = Command::new("terraform").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "this test needs `terraform` on the PATH; install it");
}

pub async fn stack(rig: &Rig, files: &[(&str, &str)]) -> Stack {
    needs_terraform();
    rig.stack(json!({"name": "Shop", "vendor": {"kind": "terraform"}}), files).await
}

/// Address and action of every change, by address.
fn changes(rig: &Rig, run: &Run) -> Vec<(String, Action)> {
    let changes = rig.app.queries.changes(&Who::system(), run.id).unwrap().unwrap();
    let mut found: Vec<_> = changes.resources.into_iter().map(|change| (change.address, change.action)).collect();
    found.sort();
    found
}

fn states(rig: &Rig, stack: &Stack) -> usize {
    rig.app.queries.state_versions(stack.id).unwrap().len()
}

fn counts(delta: Delta) -> Value {
    let (r, o) = (delta.resources, delta.outputs);
    json!([[r.added, r.changed, r.deleted, r.replaced], [o.added, o.changed, o.deleted]])
}

const ALL: &str = r#"
variable "secret" {
  sensitive = true
}
resource "terraform_data" "made" {
  input = "made"
  provisioner "local-exec" {
    command = "echo provisioned"
  }
}
resource "terraform_data" "updated" {
  input = "SIZE"
}
resource "terraform_data" "replaced" {
  triggers_replace = "SIZE"
}
resource "terraform_data" "secret" {
  input = var.secret
}
output "size" {
  value = terraform_data.updated.output
}
output "token" {
  value     = var.secret
  sensitive = true
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn terraform_goes_from_plan_to_applied_and_its_secrets_stay_inside() {
    let rig = Rig::new().await;
    let main = ALL.replace("SIZE", "small");
    let extra = r#"resource "terraform_data" "deleted" {}"#;
    let stack = stack(&rig, &[("main.tf", &main), ("extra.tf", extra)]).await;
    rig.set(&stack, "TF_VAR_secret", SECRET, true).await;

    let run = rig.unconfirmed(&stack).await;
    assert_eq!(counts(run.delta.unwrap()), json!([[5, 0, 0, 0], [2, 0, 0]]));
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Applying).contains("provisioned"), "{}", rig.all_logs(&run));
    assert!(states(&rig, &stack) >= 1);

    let again = rig.trigger(&stack, Kind::Tracked).await;
    let again = rig.until_state(&again, State::Finished).await;
    assert_eq!((again.changes, again.reason.as_deref()), (Some(false), Some("nothing to change")));

    rig.upload(&stack, &[("main.tf", &ALL.replace("SIZE", "large"))]).await;
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(counts(run.delta.unwrap()), json!([[0, 1, 1, 1], [0, 1, 0]]));
    let expected = [
        ("terraform_data.deleted", Action::Delete),
        ("terraform_data.replaced", Action::Replace),
        ("terraform_data.updated", Action::Update),
    ];
    assert_eq!(changes(&rig, &run), expected.map(|(address, action)| (address.to_owned(), action)));
    rig.confirm(&run).await;
    rig.until_state(&run, State::Finished).await;

    let destroy = rig.trigger(&stack, Kind::Destroy).await;
    let destroy = rig.until_state(&destroy, State::Unconfirmed).await;
    assert_eq!(counts(destroy.delta.unwrap()), json!([[0, 0, 4, 0], [0, 0, 2]]));
    rig.confirm(&destroy).await;
    rig.until_state(&destroy, State::Finished).await;
    let after = rig.trigger(&stack, Kind::Destroy).await;
    let after = rig.until_state(&after, State::Unconfirmed).await;
    assert!(after.delta.unwrap().is_empty());
    assert_eq!(files_with(&rig.data(), SECRET), Vec::<std::path::PathBuf>::new());
    rig.discard(&after).await;

    rig.until_tidy().await;
    assert_eq!(files_with(&rig.data(), SECRET), Vec::<std::path::PathBuf>::new());
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

const THREE: &str = r#"
resource "terraform_data" "a" {}
resource "terraform_data" "b" {}
resource "terraform_data" "c" {}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_targeted_replan_applies_one_of_three() {
    let rig = Rig::new().await;
    let stack = stack(&rig, &[("main.tf", THREE)]).await;
    let run = rig.unconfirmed(&stack).await;
    let old = run.plan_digest.clone();
    let stranger = Decision::Replan { targets: vec!["terraform_data.z".to_owned()] };
    let refused = rig.decide(&run, Permission::Replan, stranger).await.unwrap_err();
    assert!(refused.contains("`terraform_data.z` is not one of the run's changes"), "{refused}");

    let targets = Decision::Replan { targets: vec!["terraform_data.b".to_owned()] };
    rig.decide(&run, Permission::Replan, targets).await.unwrap();
    let run = rig.until(&run, |run| run.state == State::Unconfirmed && run.plan_digest != old).await;
    assert_eq!(changes(&rig, &run), [("terraform_data.b".to_owned(), Action::Create)]);
    let stale = Decision::Confirm { plan_digest: old, note: None };
    let refused = rig.decide(&run, Permission::Confirm, stale).await.unwrap_err();
    assert!(refused.contains("not the one that was shown"), "{refused}");
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Applying).contains("1 added, 0 changed, 0 destroyed"), "{}", rig.all_logs(&run));

    let rest = rig.unconfirmed(&stack).await;
    assert_eq!(counts(rest.delta.unwrap())[0], json!([2, 0, 0, 0]));
    rig.discard(&rest).await;
    rig.until_tidy().await;
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_is_stopped_while_it_plans_and_the_stack_is_free_again() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = stack(&rig, &[("main.tf", THREE)]).await;
    let mut settings = stack.settings.clone();
    settings.hooks.before_plan = vec![gate.command("planning")];
    let permit = rig.permit(Permission::EditStack, &stack);
    rig.app.actions.edit_stack(&permit, stack.id, settings, None).await.unwrap();

    let run = rig.trigger(&stack, Kind::Tracked).await;
    let knock = gate.knock().await;
    rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
    knock.gone().await;
    let run = rig.until_state(&run, State::Stopped).await;
    assert!(rig.log(&run, Phase::Planning).contains("a stop was asked for: SIGINT now"), "{}", rig.all_logs(&run));

    let next = rig.trigger(&stack, Kind::Proposed).await;
    gate.knock().await.let_on().await;
    let next = rig.until_state(&next, State::Finished).await;
    assert_eq!(counts(next.delta.unwrap())[0], json!([3, 0, 0, 0]));
    rig.until_tidy().await;
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terraform_that_is_not_there_is_named() {
    let rig = Rig::new().await;
    let settings = json!({"name": "Shop", "vendor": {"kind": "terraform", "binary": "terraform-9"}});
    let stack = rig.stack(settings, &[("main.tf", THREE)]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert_eq!(run.reason.as_deref(), Some("initializing: the command never ran: its program was not found"));
    let log = rig.log(&run, Phase::Initializing);
    assert!(log.starts_with("airlock: there is no program `terraform-9` here"), "{log}");
    assert_eq!(log.matches("its program was not found").count(), 1, "{log}");
}
