//! What hooks and commands may do to a phase, tried in every shell that is here.

use std::path::Path;

use super::rig::{Ran, Rig, custom, shell};
use crate::{
    domain::{Phase, RelativePath, Verdict, stack::Vendor},
    protocol::{Command, Shell},
};

/// The shells that phases meet: `sh` is dash on Debian, bash elsewhere.
fn shells() -> impl Iterator<Item = &'static str> {
    ["/bin/sh", "/bin/dash", "/bin/bash"].into_iter().filter(|path| Path::new(path).exists())
}

/// Applying with these hooks around the command.
fn apply(before: &[&str], command: &str, after: &[&str]) -> Vec<Ran> {
    let shell = Shell {
        before: before.iter().map(|&hook| hook.to_owned()).collect(),
        after: after.iter().map(|&hook| hook.to_owned()).collect(),
        ..shell(Phase::Applying, Command::Apply)
    };
    in_all_shells(&shell, custom(None, None, Some(command)))
}

fn in_all_shells(shell: &Shell, vendor: Vendor) -> Vec<Ran> {
    shells()
        .map(|program| {
            let mut rig = Rig::new(vendor.clone());
            rig.shell = program;
            rig.run(shell)
        })
        .collect()
}

fn plan() -> Shell {
    shell(Phase::Planning, Command::Plan { destroy: false })
}

fn perform(command: &str) -> Shell {
    shell(Phase::Performing, Command::Perform { command: command.to_owned() })
}

fn exited(code: i32) -> Verdict {
    Verdict::Exited { code }
}

fn refused(ran: &Ran) -> &str {
    match &ran.outcome.verdict {
        Verdict::Refused { reason } => reason,
        other => panic!("{other:?}\n{}", ran.log),
    }
}

#[test]
fn hooks_and_command_share_exports_and_run_in_order() {
    for ran in apply(&["export A=1", "B=2; echo before $A"], "echo command $A $B", &["echo after $A $B"]) {
        assert_eq!(ran.log, "before 1\ncommand 1 2\nafter 1 2\n");
        assert_eq!(ran.outcome.verdict, Verdict::SUCCESS);
        assert_eq!(ran.outcome.command, Some(0));
        assert_eq!(ran.outcome.complaint, None);
    }
}

#[test]
fn a_comment_in_a_hook_cannot_swallow_the_command() {
    for ran in apply(&["echo a # ; exit 0", "# nothing"], "echo command # rest", &["echo z # rest"]) {
        assert_eq!(ran.log, "a\ncommand\nz\n");
        assert!(ran.outcome.verdict.is_success());
    }
}

#[test]
fn an_exit_0_in_a_hook_means_that_the_command_never_ran() {
    for ran in apply(&["true", "exit 0"], "echo command", &[]) {
        assert_eq!(
            refused(&ran),
            "the command never ran: before_apply hook 2 (`exit 0`) ended the shell with 0",
            "{}",
            ran.log
        );
        assert_eq!(ran.log, "");
        assert_eq!(ran.outcome.command, None);
    }
}

#[test]
fn a_failing_hook_ends_the_phase_and_is_named() {
    for hook in ["false; echo not here", "set +e; false", "exit 1", "(exit 1)", "sh -c 'exit 1'"] {
        for ran in apply(&["true", hook], "echo command", &["echo after"]) {
            let expected = format!("the command never ran: before_apply hook 2 (`{hook}`) ended with 1");
            assert_eq!(refused(&ran), expected);
            assert_eq!(ran.log, "");
        }
    }
}

#[test]
fn a_hook_with_a_syntax_error_ends_the_phase() {
    for ran in apply(&["if then"], "echo command", &[]) {
        assert!(refused(&ran).starts_with("the command never ran: before_apply hook 1 (`if then`) ended with"));
    }
}

#[test]
fn what_a_hook_does_to_its_shell_does_not_make_a_success_of_a_failure() {
    for hook in [
        "set -- 1 2 3",
        "set +e",
        "IFS=0123456789",
        "set -f -u",
        "alias true=false",
        "trap 'exit 0' EXIT",
        "exec 3>&-",
        "break 2>/dev/null || true",
        "readonly airlock_told=x",
        "unset PATH",
    ] {
        for ran in apply(&[hook], "exit 5", &["echo after"]) {
            assert_eq!(ran.outcome.verdict, exited(5), "{hook}: {}", ran.log);
        }
        for ran in apply(&[hook], "echo fine", &["echo after"]) {
            assert_eq!((ran.outcome.verdict, ran.log.as_str()), (Verdict::SUCCESS, "fine\nafter\n"), "{hook}");
        }
    }
    for hook in ["set -n", "exec true", "printf() { :; }", "exec 3</dev/null; kill $$"] {
        for ran in apply(&[hook], "exit 5", &[]) {
            assert!(!ran.outcome.verdict.is_success(), "{hook}: {:?}", ran.outcome);
        }
    }
}

#[test]
fn nobody_inherits_the_report_descriptor() {
    let forge = "(echo command; echo exit 0; echo done) 2>/dev/null >&3; exit 5";
    for ran in apply(&[], forge, &[]) {
        assert_eq!(ran.outcome.verdict, exited(5), "{}", ran.log);
    }
    for ran in apply(&["(echo command; echo exit 0; echo done) 2>/dev/null >&3"], "true", &[]) {
        assert!(!ran.outcome.verdict.is_success(), "{}", ran.log);
    }
}

#[test]
fn a_failing_command_keeps_its_code_and_after_hooks_do_not_run() {
    for ran in apply(&[], "echo command; exit 3", &["echo after"]) {
        assert_eq!(ran.log, "command\n");
        assert_eq!(ran.outcome.verdict, exited(3));
        assert_eq!(ran.outcome.command, Some(3));
        assert_eq!(ran.outcome.complaint, None);
    }
}

#[test]
fn a_failing_after_hook_fails_the_phase_and_is_named() {
    for ran in apply(&[], "echo command", &["true", "exit 4", "echo never"]) {
        assert_eq!(ran.outcome.verdict, exited(4));
        assert_eq!(ran.outcome.complaint.as_deref(), Some("after_apply hook 2 (`exit 4`) ended with 4"));
        assert_eq!(ran.outcome.command, Some(0));
    }
}

#[test]
fn an_exit_0_in_an_after_hook_must_not_swallow_the_next() {
    for ran in apply(&[], "true", &["exit 0", "echo never"]) {
        assert_eq!(refused(&ran), "after_apply hook 1 (`exit 0`) ended the shell with 0");
    }
    for ran in apply(&[], "true", &["echo once", "exit 0"]) {
        assert_eq!(ran.outcome.verdict, Verdict::SUCCESS);
    }
}

#[test]
fn a_custom_command_runs_in_a_subshell_of_its_own() {
    for ran in apply(&["f() { echo \"f $X\"; }; X=1"], "X=2; f; cd /; exit 0", &["echo $X; [ \"$PWD\" != / ]"]) {
        assert_eq!(ran.log, "f 2\n1\n");
        assert_eq!(ran.outcome.verdict, Verdict::SUCCESS);
    }
    for ran in apply(&[], "false\necho the shell goes on", &[]) {
        assert_eq!(ran.log, "the shell goes on\n");
    }
}

#[test]
fn quotes_newlines_and_dollars_arrive_as_they_were_written() {
    let text = "printf '%s\\n' \"a  b\" '$HOME' \"`echo c`\"\nprintf '%s\\n' \"$#\" '\\'\"'\"";
    for ran in apply(&[text], text, &[text]) {
        assert_eq!(ran.log, "a  b\n$HOME\nc\n0\n\\'\n".repeat(3));
    }
}

#[test]
fn exit_code_2_of_a_plan_is_a_success_and_after_hooks_run() {
    let shell = Shell { after: vec!["echo after".to_owned()], ..plan() };
    for ran in in_all_shells(&shell, custom(None, Some("exit 2"), None)) {
        assert_eq!(ran.outcome.verdict, Verdict::SUCCESS);
        assert_eq!(ran.outcome.command, Some(2));
        assert_eq!(ran.log, "after\n");
    }
    for ran in in_all_shells(&plan(), custom(None, Some("exit 1"), None)) {
        assert_eq!(ran.outcome.verdict, exited(1));
    }
    for ran in apply(&[], "exit 2", &[]) {
        assert_eq!(ran.outcome.verdict, exited(2));
    }
}

#[test]
fn a_syntax_error_in_a_plan_is_not_taken_for_changes() {
    for ran in in_all_shells(&plan(), custom(None, Some("echo a; if"), None)) {
        assert_eq!(refused(&ran), "the command never ran: the shell does not understand it");
        assert!(!ran.log.is_empty());
    }
}

#[test]
fn a_plan_does_not_see_what_an_earlier_one_wrote() {
    for program in shells() {
        let mut rig =
            Rig::new(custom(None, Some("[ ! -e \"$AIRLOCK_PLAN_FILE\" ] && echo '[]' >\"$AIRLOCK_PLAN_FILE\""), None));
        rig.shell = program;
        for _ in 0..2 {
            assert_eq!(rig.run(&plan()).outcome.verdict, Verdict::SUCCESS);
        }
    }
}

#[test]
fn a_missing_custom_command_does_nothing_but_hooks_run() {
    let shell = Shell { before: vec!["echo before".to_owned()], ..plan() };
    for ran in in_all_shells(&shell, custom(None, None, None)) {
        assert_eq!((ran.log.as_str(), ran.outcome.command), ("before\n", Some(0)));
        assert!(ran.outcome.verdict.is_success());
    }
}

#[test]
fn a_task_sees_what_hooks_exported_and_ends_with_its_code() {
    let shell = Shell { before: vec!["export A=1; B=2".to_owned()], ..perform("echo $A-$B-$0; exit 9") };
    for ran in in_all_shells(&shell, custom(None, None, None)) {
        assert_eq!(ran.log, "1--/bin/sh\n");
        assert_eq!(ran.outcome.verdict, exited(9));
    }
    for ran in in_all_shells(&perform("kill -9 $$"), custom(None, None, None)) {
        assert_eq!(ran.outcome.command, Some(137));
    }
}

#[test]
fn phases_begin_in_the_project_root() {
    for program in shells() {
        let mut rig = Rig::new(custom(None, None, None));
        rig.shell = program;
        rig.facts.project_root = RelativePath::new("infra/a b").unwrap();
        let ran = rig.run(&perform("pwd"));
        assert_eq!(refused(&ran), "the command never ran: the source has no such project root");
        std::fs::create_dir_all(rig.path("infra/a b")).unwrap();
        assert_eq!(rig.run(&perform("pwd")).log.trim_end(), rig.path("infra/a b").to_str().unwrap());
    }
}

#[test]
fn a_missing_program_is_named_with_where_it_was_looked_for() {
    for (binary, named) in
        [("no-such-terraform", "`no-such-terraform`"), ("/opt/none/terraform", "`/opt/none/terraform`")]
    {
        let vendor = Vendor::Terraform { binary: Some(binary.to_owned()), workspace: None };
        for ran in in_all_shells(&shell(Phase::Initializing, Command::Init), vendor) {
            assert_eq!(refused(&ran), "the command never ran: its program was not found");
            assert!(ran.log.contains(named) && ran.log.contains("/usr/local/sbin:"), "{}", ran.log);
        }
    }
}

#[test]
fn a_skipped_phase_runs_nothing_and_succeeds() {
    let shell = Shell { skip: true, before: vec!["echo before".to_owned()], ..shell(Phase::Applying, Command::Apply) };
    for ran in in_all_shells(&shell, custom(None, None, Some("echo command"))) {
        assert_eq!(ran.outcome.verdict, Verdict::SUCCESS);
        assert!(ran.log.starts_with("airlock: skipped") && ran.log.lines().count() == 1, "{}", ran.log);
    }
}

#[test]
fn hooks_after_the_run_stand_before_nothing() {
    let shell =
        Shell { before: vec!["echo $AIRLOCK_PHASE; false".to_owned()], ..shell(Phase::Ending, Command::Nothing) };
    for ran in in_all_shells(&shell, custom(None, None, None)) {
        assert_eq!(ran.log, "ending\n");
        assert!(refused(&ran).contains("after_run hook 1"), "{:?}", ran.outcome);
    }
}

#[test]
fn a_command_may_stop_in_its_own_time_when_its_group_is_interrupted() {
    for signal in ["INT", "TERM"] {
        let command = format!("trap 'echo tidying; exit 6' {signal}; kill -{signal} 0; sleep 5");
        for program in shells() {
            let mut rig = Rig::new(custom(None, None, Some(&command)));
            rig.shell = program;
            let ran = rig.run(&shell(Phase::Applying, Command::Apply));
            assert_eq!((ran.log.as_str(), ran.outcome.verdict), ("tidying\n", exited(6)), "{signal} in {program}");
        }
    }
}
