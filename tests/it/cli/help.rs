//! Help, usage, completions, manual pages.

use super::rig::Desk;

/// Every verb.
const VERBS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["demo"],
    &["check"],
    &["user"],
    &["user", "add"],
    &["user", "passwd"],
    &["user", "list"],
    &["user", "disable"],
    &["api-key"],
    &["api-key", "create"],
    &["api-key", "list"],
    &["api-key", "revoke"],
    &["audit"],
    &["audit", "verify"],
    &["audit", "export"],
    &["login"],
    &["stack"],
    &["stack", "list"],
    &["stack", "show"],
    &["stack", "create"],
    &["stack", "upload"],
    &["stack", "lock"],
    &["stack", "unlock"],
    &["run"],
    &["run", "trigger"],
    &["run", "list"],
    &["run", "show"],
    &["run", "confirm"],
    &["run", "review"],
    &["run", "discard"],
    &["run", "stop"],
    &["run", "cancel"],
    &["run", "retry"],
    &["run", "logs"],
    &["task"],
    &["task", "perform"],
    &["task", "run"],
    &["task", "list"],
    &["guest"],
    &["guest", "run"],
    &["guest", "inspect"],
    &["policy"],
    &["policy", "test"],
    &["image"],
    &["image", "import"],
    &["completions"],
    &["man"],
];

#[test]
fn every_verb_has_help_that_somebody_has_read() {
    let desk = Desk::new();
    let mut all = String::new();
    for verb in VERBS {
        let help = desk.run(&[verb, &["--help"][..]].concat()).expect(0).out;
        all.push_str(&format!("$ airlock {}\n{help}\n", [verb, &["--help"][..]].concat().join(" ")));
    }
    let long = all.lines().find(|line| line.chars().count() > 100);
    assert_eq!(long, None);
    insta::assert_snapshot!(all);
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    let desk = Desk::new();
    desk.run(&["--version"]).expect(0);
    desk.run(&["-h"]).expect(0);
    for wrong in [&[][..], &["srve"], &["serve", "--slots", "many"], &["run", "show", "12"], &["stack", "show"]] {
        let ran = desk.run(wrong).expect(64);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    }
    assert!(desk.run(&["srve"]).err.contains("serve"), "what is near is named");
}

#[test]
fn shells_and_man_get_what_they_read() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.run(&["completions", shell]).expect(0).out.contains("api-key"));
    }
    assert!(desk.run(&["man"]).expect(0).out.contains(".TH airlock 1"));
    desk.run(&["man", "--dir", &desk.at("pages")]).expect(0);
    assert!(desk.path("pages/airlock-run-trigger.1").exists());
}

#[test]
fn output_that_nobody_reads_is_no_crash() {
    let desk = Desk::new();
    let mut command = desk.command(&["completions", "zsh"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(1));
}
