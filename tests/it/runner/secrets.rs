//! What nobody may see, and where a phase's environment comes from.

use airlock::{
    domain::{Phase, Verdict},
    protocol::{AtEnd, file},
};

use super::trial::{Trial, apply_step, init, open_step, perform};

#[test]
fn a_sensitive_value_is_in_no_file_of_the_chain() {
    let secret = "correct horse battery";
    let command = "echo \"$TOKEN\"; printf %s \"$TOKEN\" | base64; echo \"$TOKEN\" >&2; exit 9";
    let outcome = Trial::task(command).sensitive("TOKEN", secret).run();
    let log = outcome.log(Phase::Performing);
    assert_eq!(log.matches("*****").count(), 3, "{log}");
    assert!(!outcome.holds(secret), "{log}");
    assert!(!outcome.holds("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"), "{log}");
}

#[test]
fn masks_that_a_phase_adds_hold_in_later_phases_and_chains() {
    let mut trial = Trial::planning("echo late=s3cr3t-word; exit 2", "echo later=s3cr3t-word");
    let airlock::protocol::Step::Shell(initializing) = &mut trial.steps[1] else { panic!() };
    initializing.before = vec!["echo ::add-mask s3cr3t-word".to_owned()];
    let planned = trial.run();
    assert!(planned.log(Phase::Planning).contains("late=*****"), "{}", planned.log(Phase::Planning));
    assert!(!planned.holds("s3cr3t-word"));
    trial.masks = planned.result(Phase::Planning).masks;
    trial.steps = vec![open_step(planned.phase(Phase::Planning).produced.plan.clone().unwrap().digest), apply_step()];
    trial.at_end = AtEnd::Remove;
    let applied = trial.run();
    assert!(applied.log(Phase::Applying).contains("later=*****"));
}

#[test]
fn a_sensitive_variable_that_a_phase_sets_anew_stays_secret() {
    let mut trial = Trial::planning("echo now=$TOKEN; exit 2", "true").sensitive("TOKEN", "first-secret");
    let airlock::protocol::Step::Shell(initializing) = &mut trial.steps[1] else { panic!() };
    initializing.before =
        vec!["echo TOKEN=second-secret >> $AIRLOCK_ENV; echo PLAIN=visible-word >> $AIRLOCK_ENV".to_owned()];
    let outcome = trial.run();
    assert_eq!(outcome.log(Phase::Planning), "now=*****\n");
    assert!(!outcome.holds("second-secret"));
}

#[test]
fn masked_values_are_masked_in_changes_too() {
    let plan = r#"echo '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"user":"admin","url":"https://correct-horse@host"}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let planned = Trial::planning(plan, "true").sensitive("PASSWORD", "correct-horse").run();
    let changes = planned.result(Phase::Planning).changes.unwrap();
    assert_eq!(changes.resources[0].after["url"], "https://*****@host");
    assert_eq!(changes.resources[0].after["user"], "admin");
}

#[test]
fn a_phase_sees_what_it_was_given_and_nothing_else() {
    let mut trial = Trial::task("env | cut -d= -f1 | sort; cat /proc/1/environ | tr '\\0' '\\n'")
        .sensitive("TOKEN", "correct horse");
    trial.steps.insert(1, init());
    trial.steps.truncate(2);
    trial.steps.push(perform("env | cut -d= -f1 | sort; id -u; ls /proc/self/fd | wc -l"));
    let outcome = trial.run();
    let log = outcome.log(Phase::Performing);
    for name in ["AIRLOCK", "AIRLOCK_RUN_ID", "AIRLOCK_PHASE", "AIRLOCK_ENV", "CI", "HOME", "PATH", "TOKEN"] {
        assert!(log.lines().any(|line| line == name), "{name}: {log}");
    }
    for name in ["SHELL", "USER", "CARGO_BIN_EXE_airlock", "LS_COLORS"] {
        assert!(!log.lines().any(|line| line == name), "{name}: {log}");
    }
    assert!(!log.lines().any(|line| line == "0"), "never uid 0: {log}");
}

#[test]
fn a_plan_file_that_is_a_link_is_not_followed() {
    let outcome = Trial::planning("ln -s /etc/passwd \"$AIRLOCK_PLAN_FILE\"; exit 2", "true").run();
    assert!(!outcome.holds("root:x:0:0"));
    let ended = outcome.phase(Phase::Planning);
    assert!(ended.verdict == Verdict::SUCCESS && ended.produced.plan.as_ref().unwrap().delta.is_empty(), "{ended:?}");
}

#[test]
fn carried_variables_behind_a_link_or_a_pipe_are_not_read() {
    for trick in ["ln -s /proc/self/environ", "mkfifo"] {
        let mut trial = Trial::task(&format!("rm -f $AIRLOCK_ENV; {trick} $AIRLOCK_ENV"));
        trial.steps.push(perform("echo ok"));
        let outcome = trial.run();
        assert_eq!(*outcome.verdict(Phase::Performing), Verdict::SUCCESS, "{trick}: {outcome:?}");
    }
}

#[test]
fn the_chain_s_directory_holds_no_plaintext_after_the_seal() {
    let plan = "echo very-private-note > note; exit 2";
    let outcome = Trial::planning(plan, "true").run();
    assert!(!outcome.dir.join(file::TREE).exists());
    assert!(!outcome.holds("very-private-note"));
}
