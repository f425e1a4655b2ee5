use super::*;
use crate::{
    domain::{BranchName, CommitSha},
    vendor::tests::rig::{custom, facts},
};

fn variable(name: &str, value: &str) -> Variable {
    Variable { name: EnvName::new(name).unwrap(), value: value.to_owned().into(), sensitive: true }
}

fn terraform() -> Vendor {
    Vendor::Terraform { binary: None, workspace: None }
}

fn of(vendor: Vendor, phase: Phase, variables: &[Variable], carried: &[(&str, &str)]) -> Environment {
    let mut facts = facts(vendor);
    facts.branch = Some(BranchName::new("main").unwrap().to_string());
    facts.commit = Some(CommitSha::new("a".repeat(40)).unwrap());
    facts.targets = vec!["a.b".to_owned(), "c[\"d\"]".to_owned()];
    environment(&Surroundings {
        facts: &facts,
        phase,
        places: &Places::inside(),
        variables,
        carried: &carried.iter().map(|(name, value)| (EnvName::new(*name).unwrap(), (*value).to_owned())).collect(),
        state: None,
        cli_config: true,
        final_state: (phase == Phase::Ending).then_some(State::Finished),
    })
}

fn lines(environment: &Environment) -> String {
    let lines: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={}", value.escape_debug())).collect();
    lines.join("\n")
}

#[test]
fn a_custom_phase_has_exactly_the_documented_environment() {
    insta::assert_snapshot!(lines(&of(custom(None, None, None), Phase::Planning, &[], &[])), @r#"
    AIRLOCK=true
    AIRLOCK_COMMIT_BRANCH=main
    AIRLOCK_COMMIT_SHA=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    AIRLOCK_ENV=/run/airlock/env
    AIRLOCK_PHASE=planning
    AIRLOCK_PLAN_FILE=/run/airlock/plan.json
    AIRLOCK_RUN_ID=run_00000000000000000000000007
    AIRLOCK_RUN_KIND=tracked
    AIRLOCK_RUN_URL=http://127.0.0.1:7070/runs/3
    AIRLOCK_STACK=shop
    AIRLOCK_TARGETS=a.b\nc[\"d\"]
    AIRLOCK_TRIGGERED_BY=ada
    AIRLOCK_WORKSPACE=/workspace
    CI=true
    HOME=/tmp/home
    LANG=C.UTF-8
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    TMPDIR=/tmp
    "#);
}

#[test]
fn a_terraform_phase_has_exactly_the_documented_environment() {
    insta::assert_snapshot!(lines(&of(terraform(), Phase::Applying, &[], &[])), @r"
    AIRLOCK=true
    AIRLOCK_COMMIT_BRANCH=main
    AIRLOCK_COMMIT_SHA=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    AIRLOCK_ENV=/run/airlock/env
    AIRLOCK_PHASE=applying
    AIRLOCK_RUN_ID=run_00000000000000000000000007
    AIRLOCK_RUN_KIND=tracked
    AIRLOCK_RUN_URL=http://127.0.0.1:7070/runs/3
    AIRLOCK_STACK=shop
    AIRLOCK_TRIGGERED_BY=ada
    AIRLOCK_WORKSPACE=/workspace
    CHECKPOINT_DISABLE=1
    CI=true
    HOME=/tmp/home
    LANG=C.UTF-8
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    TF_CLI_CONFIG_FILE=/run/airlock/terraform.rc
    TF_INPUT=0
    TF_IN_AUTOMATION=1
    TF_VAR_airlock_commit_branch=main
    TF_VAR_airlock_commit_sha=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    TF_VAR_airlock_phase=applying
    TF_VAR_airlock_run_id=run_00000000000000000000000007
    TF_VAR_airlock_run_kind=tracked
    TF_VAR_airlock_run_url=http://127.0.0.1:7070/runs/3
    TF_VAR_airlock_stack=shop
    TF_VAR_airlock_triggered_by=ada
    TF_VAR_airlock_workspace=/workspace
    TMPDIR=/tmp
    ");
}

#[test]
fn the_stack_may_set_anything_but_the_facts() {
    let variables = [
        variable("PATH", "/opt/bin"),
        variable("CI", ""),
        variable("AIRLOCK_PHASE", "applying"),
        variable("TF_VAR_airlock_stack", "other"),
        variable("AIRLOCK_SKIP_APPLYING", "true"),
        variable("TF_CLI_CONFIG_FILE", "/workspace/own.rc"),
    ];
    let environment = of(terraform(), Phase::Planning, &variables, &[("PATH", "/carried"), ("AIRLOCK_STACK", "x")]);
    assert_eq!(environment["PATH"], "/carried");
    assert_eq!(environment["CI"], "");
    assert_eq!(environment["AIRLOCK_PHASE"], "planning");
    assert_eq!(environment["AIRLOCK_STACK"], "shop");
    assert_eq!(environment["TF_VAR_airlock_stack"], "shop");
    assert_eq!(environment["AIRLOCK_SKIP_APPLYING"], "true");
    assert_eq!(environment["TF_CLI_CONFIG_FILE"], "/workspace/own.rc");
}

#[test]
fn ro_and_wo_variables_reach_their_phases_only() {
    let variables = [variable("ro_TOKEN", "read"), variable("wo_TOKEN", "write"), variable("ro_1", "x")];
    for phase in Phase::ALL {
        let environment = of(terraform(), phase, &variables, &[]);
        let read = matches!(phase, Phase::Initializing | Phase::Planning);
        let write = matches!(phase, Phase::Applying | Phase::Destroying);
        assert_eq!(environment.contains_key("ro_TOKEN"), read, "{phase}");
        assert_eq!(environment.contains_key("wo_TOKEN"), write, "{phase}");
        let bare = environment.get("TOKEN").map(String::as_str);
        assert_eq!(
            bare,
            if read {
                Some("read")
            } else if write {
                Some("write")
            } else {
                None
            },
            "{phase}"
        );
        assert!(!environment.contains_key("1"));
    }
}

#[test]
fn a_variable_set_under_the_bare_name_wins_over_the_prefixed_one() {
    let variables = [variable("TOKEN", "own"), variable("ro_TOKEN", "read"), variable("ro_AIRLOCK_PHASE", "x")];
    let environment = of(terraform(), Phase::Planning, &variables, &[]);
    assert_eq!((environment["TOKEN"].as_str(), environment["ro_TOKEN"].as_str()), ("own", "read"));
    assert_eq!(environment["AIRLOCK_PHASE"], "planning");
}

#[test]
fn the_ending_phase_knows_how_the_run_ends() {
    assert_eq!(of(terraform(), Phase::Ending, &[], &[])["AIRLOCK_FINAL_RUN_STATE"], "finished");
    assert!(!of(terraform(), Phase::Applying, &[], &[]).contains_key("AIRLOCK_FINAL_RUN_STATE"));
}

#[test]
fn a_managed_state_is_not_to_be_turned_elsewhere() {
    let facts = facts(terraform());
    let environment = environment(&Surroundings {
        facts: &facts,
        phase: Phase::Applying,
        places: &Places::inside(),
        variables: &[variable("TF_HTTP_ADDRESS", "http://elsewhere.example")],
        carried: &BTreeMap::new(),
        state: Some(StateEndpoint { address: "http://127.0.0.1:1/s", user: "run", password: "pw", lock: false }),
        cli_config: false,
        final_state: None,
    });
    assert_eq!(environment["TF_HTTP_ADDRESS"], "http://127.0.0.1:1/s");
    assert_eq!(environment["TF_HTTP_PASSWORD"], "pw");
    assert!(!environment.contains_key("TF_HTTP_LOCK_ADDRESS"));
}
