use super::*;
use crate::vendor::tests::rig::shell;

fn apply() -> Shell {
    Shell {
        before: vec!["make deps\nmake more".to_owned()],
        after: vec!["notify".to_owned(), "x".repeat(100)],
        ..shell(Phase::Applying, Command::Apply)
    }
}

fn of(reported: &str, ended: Verdict) -> Outcome {
    interpret(&apply(), reported.as_bytes(), ended)
}

#[test]
fn a_shell_that_did_not_end_by_itself_keeps_its_verdict() {
    for ended in [Verdict::Stopped, Verdict::TimedOut { seconds: 3 }, Verdict::Signalled { signal: 9 }] {
        let outcome = of("command\nexit 0\ndone\n", ended.clone());
        assert_eq!((outcome.verdict, outcome.command, outcome.complaint), (ended, Some(0), None));
    }
    let outcome = of("before 1\n", Verdict::TimedOut { seconds: 3 });
    assert_eq!(outcome.complaint.unwrap(), "before_apply hook 1 (`make deps…`) was running");
    let outcome = of("command\nexit 0\nafter 2\n", Verdict::Stopped);
    assert_eq!(outcome.complaint.unwrap(), format!("after_apply hook 2 (`{}…`) was running", "x".repeat(80)));
}

#[test]
fn no_report_means_that_the_command_never_ran() {
    for reported in ["", "comm", "command", "nonsense\n", "\u{0}\n", "exit\n", "exit x\n"] {
        let outcome = of(reported, Verdict::SUCCESS);
        let Verdict::Refused { reason } = outcome.verdict else { panic!("{reported}") };
        assert!(reason.starts_with("the command never ran"), "{reported}: {reason}");
    }
}

#[test]
fn a_command_without_a_reported_end_is_no_success() {
    assert!(matches!(of("command\n", Verdict::SUCCESS).verdict, Verdict::Refused { .. }));
    assert_eq!(of("command\nexit 0", Verdict::Exited { code: 7 }).verdict, Verdict::Exited { code: 7 });
    assert!(!of("command\nexit 0\n", Verdict::SUCCESS).verdict.is_success(), "`done` is missing");
    assert!(!of("command\nexit 0\ndone\n", Verdict::Exited { code: 3 }).verdict.is_success());
}

proptest::proptest! {
    #[test]
    fn only_a_whole_report_is_a_success(lines in proptest::collection::vec(
        proptest::sample::select(vec!["root", "before 1", "command", "exit 0", "exit 2", "after 1", "after 2", "done", "x"]), 0..7,
    )) {
        let reported = lines.join("\n") + "\n";
        let outcome = of(&reported, Verdict::SUCCESS);
        if outcome.verdict.is_success() {
            proptest::prop_assert!(lines.contains(&"exit 0") && !lines.ends_with(&["exit 2"]));
        }
        for code in [1, 2, 127] {
            let failed = !of(&reported, Verdict::Exited { code }).verdict.is_success();
            proptest::prop_assert!(failed);
        }
    }
}
