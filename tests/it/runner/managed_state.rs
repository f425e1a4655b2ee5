//! Terraform's state, kept by Airlock: with the real program.

use airlock::{
    domain::{
        Phase, Verdict,
        stack::{NetworkMode, Vendor},
    },
    protocol::{AtEnd, Request, StateAccess, Step, WorkspaceLeft},
};

use super::{
    process::Outcome,
    trial::{Trial, apply_step, init, open_step, plan_step},
};
use crate::whole::terraform::needs_terraform;

const MAIN: &str = r#"
variable "size" {
  default = 1
}
resource "terraform_data" "box" {
  input = var.size
}
output "size" {
  value = terraform_data.box.output
}
"#;

fn at_state(step: Step, access: StateAccess) -> Step {
    match step {
        Step::Shell(mut shell) => {
            shell.state = access;
            Step::Shell(shell)
        }
        other => other,
    }
}

fn planning(network: NetworkMode, state: &[u8]) -> Trial {
    needs_terraform();
    let mut trial = Trial::new();
    trial.vendor = Vendor::Terraform { binary: None, workspace: None };
    trial.network = network;
    trial.state = Some(state.to_vec());
    let prepare = trial.prepare(&[("main.tf", MAIN)]);
    trial.steps = vec![prepare, at_state(init(), StateAccess::Read), at_state(plan_step(), StateAccess::Write)];
    trial.at_end = AtEnd::Seal;
    trial
}

fn apply(trial: &mut Trial, planned: &Outcome) -> Outcome {
    let digest = planned.phase(Phase::Planning).produced.plan.clone().unwrap().digest;
    trial.steps = vec![open_step(digest), at_state(apply_step(), StateAccess::Write)];
    trial.at_end = AtEnd::Remove;
    trial.run()
}

fn round_trip(network: NetworkMode) {
    let mut trial = planning(network.clone(), b"");
    let planned = trial.run();
    assert!(
        matches!(planned.end(), (WorkspaceLeft::Sealed { .. }, false)),
        "{planned:?}\n{}",
        planned.log(*planned.phases().last().unwrap())
    );
    let plan = planned.phase(Phase::Planning).produced.plan.clone().unwrap();
    assert_eq!((plan.delta.resources.added, plan.delta.outputs.added), (1, 1));
    assert!(planned.result(Phase::Planning).plan_json.is_some());
    assert!(!planned.holds("state-password"));

    let applied = apply(&mut trial, &planned);
    assert_eq!(*applied.verdict(Phase::Applying), Verdict::SUCCESS, "{}", applied.log(Phase::Applying));
    let states = applied.phase(Phase::Applying).produced.states;
    assert!(states >= 1, "{applied:?}");
    let state = applied.state(Phase::Applying, states);
    let json: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(json["outputs"]["size"]["value"], 1);

    // A run that begins with this state has nothing to do, and writes nothing.
    let mut again = planning(network, &state);
    let unchanged = again.run();
    assert!(
        !unchanged.phase(Phase::Planning).produced.plan.clone().unwrap().changes,
        "{}",
        unchanged.log(Phase::Planning)
    );
    assert_eq!(unchanged.phase(Phase::Planning).produced.states, 0);
    assert_eq!(unchanged.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn terraform_s_state_survives_plan_seal_open_and_apply() {
    round_trip(NetworkMode::Host);
}

#[test]
fn terraform_s_state_is_there_without_any_network() {
    round_trip(NetworkMode::None);
}

#[test]
fn terraform_s_state_does_not_go_through_the_proxy_of_a_listed_network() {
    round_trip(NetworkMode::Allow(vec!["registry.example:443".to_owned()]));
}

#[test]
fn a_phase_that_may_only_read_cannot_write_the_state() {
    let mut trial = planning(NetworkMode::None, b"");
    trial.at_end = AtEnd::Keep;
    trial.steps.push(at_state(apply_step(), StateAccess::Read));
    let outcome = trial.run();
    assert!(!outcome.verdict(Phase::Applying).is_success());
    assert!(outcome.log(Phase::Applying).contains("403"), "{}", outcome.log(Phase::Applying));
    assert_eq!(outcome.phase(Phase::Applying).produced.states, 0);
}

#[test]
fn terraform_stops_in_an_orderly_way_and_its_state_is_kept() {
    let mut trial = planning(NetworkMode::None, b"");
    let slow = r#"
resource "terraform_data" "done" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.done]
  provisioner "local-exec" {
    command = "echo provisioning; exec sleep 3600"
  }
}
"#;
    trial.steps[0] = trial.prepare(&[("main.tf", slow)]);
    trial.steps.push(at_state(apply_step(), StateAccess::Write));
    trial.at_end = AtEnd::Remove;
    let mut runner = trial.start();
    runner.until_log(4, Phase::Applying, "provisioning");
    runner.ask(Request::Stop);
    let outcome = runner.wait();
    assert_eq!(*outcome.verdict(Phase::Applying), Verdict::Stopped);
    let log = outcome.log(Phase::Applying);
    assert!(log.contains("SIGINT now") && !log.contains(": SIGKILL"), "{log}");
    let states = outcome.phase(Phase::Applying).produced.states;
    let state = String::from_utf8(outcome.state(Phase::Applying, states)).unwrap();
    assert!(state.contains("\"done\""), "{state}");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, true));
}

#[test]
fn a_missing_program_is_named() {
    let mut trial = planning(NetworkMode::None, b"");
    trial.vendor = Vendor::Terraform { binary: Some("no-such-terraform".to_owned()), workspace: None };
    let outcome = trial.run();
    assert!(!outcome.verdict(Phase::Initializing).is_success());
    assert!(outcome.log(Phase::Initializing).contains("no-such-terraform"), "{}", outcome.log(Phase::Initializing));
}
