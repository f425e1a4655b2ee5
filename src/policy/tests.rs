//! What Rego comes to, in this process: the child has its own tests.

use serde_json::{Value, json, value::RawValue};

use super::{Answer, Ask, Decision, LIBRARY, Module, Notification, Question, TestOutcome, Trouble, engine};
use crate::domain::{PolicyKind, PolicyOutcome};

fn module(body: &str) -> Module {
    Module { name: "policy.rego".to_owned(), body: body.to_owned() }
}

fn decide(kind: PolicyKind, body: &str, input: Value) -> Result<Decision, Trouble> {
    let input = RawValue::from_string(input.to_string()).unwrap();
    engine::decide(&Question { kind, module: module(body), input, explain: true })
}

fn check(kind: PolicyKind, body: &str) -> Answer {
    engine::answer(Ask::Check { kind, module: module(body) })
}

fn trouble(answer: Answer) -> Trouble {
    match answer {
        Answer::Trouble(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

const OLD: &str = r#"package spacelift

# No state surgery.
deny[sprintf("%s must not touch the state", [input.session.login])] {
  contains(input.request.command, "state rm")
}

deny["not on Fridays"] { input.friday }
"#;

const NEW: &str = r#"package airlock.tasks

import rego.v1

deny contains msg if {
  some word in ["rm", "destroy"]
  contains(input.request.command, word)
  msg := sprintf("%s is not allowed", [word])
}
"#;

#[test]
fn both_syntaxes_are_read_and_any_package() {
    let input = json!({"request": {"command": "terraform state rm x"}, "session": {"login": "bob"}});
    let old = decide(PolicyKind::Task, OLD, input.clone()).unwrap();
    assert_eq!(old.deny, ["bob must not touch the state"]);
    let new = decide(PolicyKind::Task, NEW, input).unwrap();
    assert_eq!(new.deny, ["rm is not allowed"]);
    let silent =
        decide(PolicyKind::Task, OLD, json!({"request": {"command": "ls"}, "session": {"login": "b"}})).unwrap();
    assert_eq!(silent.outcome(PolicyKind::Task), PolicyOutcome::Allow);
}

#[test]
fn a_decision_says_which_definition_it_came_from() {
    let input = json!({"request": {"command": "terraform state rm x"}, "session": {"login": "bob"}, "friday": true});
    let decision = decide(PolicyKind::Task, OLD, input).unwrap();
    let origins: Vec<_> = decision.origins.iter().map(|one| (one.line, one.gave.join(","))).collect();
    assert_eq!(origins, [(4, "bob must not touch the state".to_owned()), (8, "not on Fridays".to_owned())]);
    let one = decide(PolicyKind::Task, OLD, json!({"friday": true})).unwrap();
    assert_eq!(one.origins.iter().map(|one| one.line).collect::<Vec<_>>(), [8]);
    assert!(one.reached.contains(&5), "{:?}", one.reached);
}

#[test]
fn a_mistake_is_told_with_its_place_in_the_syntax_that_it_was_written_in() {
    let old = trouble(check(PolicyKind::Task, "package spacelift\n\ndeny[msg] {\n  msg := \n}\n"));
    assert!(old.line.is_some() && !old.message.contains("keyword"), "{old}");
    let new = trouble(check(PolicyKind::Task, "package x\nimport rego.v1\ndeny contains \"a\" if {\n  1 ==\n}\n"));
    assert_eq!(new.line, Some(5), "{new}");
    let free = "package x\nimport rego.v1\ndeny contains msg if {\n  input.a\n}\n";
    let free = decide(PolicyKind::Task, free, json!({"a": 1})).unwrap_err();
    assert!(free.line == Some(3) && free.message.contains("msg is unsafe"), "{free}");
}

/// What task policies see.
fn task() -> Value {
    json!({"request": {"command": "rm"}, "session": {"login": "bob"}, "stack": {"id": "shop"}})
}

#[test]
fn a_documented_alias_is_there_and_changes_no_place_of_anything() {
    let body =
        "package a.b\n\ndeny[\"x\"] { request.command == \"rm\" }\n\ndeny[stack.id] { session.login == \"ann\" }\n";
    assert_eq!(check(PolicyKind::Task, body), Answer::Sound);
    let decision = decide(PolicyKind::Task, body, task()).unwrap();
    assert_eq!(decision.deny, ["x"]);
    assert_eq!(decision.origins.iter().map(|one| one.line).collect::<Vec<_>>(), [3]);
    assert!(decision.reached.contains(&3) && decision.reached.iter().all(|line| *line <= 5), "{:?}", decision.reached);
    let wrong = "package x\n\ndeny[\"x\"] { request.command == \"rm\" }\ndeny[\"y\"] { nothing.at == 1 }\n";
    let wrong = trouble(check(PolicyKind::Task, wrong));
    assert!(wrong.line == Some(4) && wrong.message.contains("`nothing`"), "{wrong}");
    let late = "package x\ndeny[\"x\"] { to_number(request.command) > 1 }\n";
    assert_eq!(decide(PolicyKind::Task, late, task()).unwrap_err().line, Some(2));
}

#[test]
fn an_alias_takes_no_name_away_from_a_policy() {
    let own = "package x\nstack := {\"id\": \"mine\"}\ndeny[stack.id] { request.command == \"rm\" }\n";
    assert_eq!(decide(PolicyKind::Task, own, task()).unwrap().deny, ["mine"]);
    let bound = "package x\ndeny[stack] { stack = input.request.command }\n";
    assert_eq!(decide(PolicyKind::Task, bound, task()).unwrap().deny, ["rm"]);
    let imported = "package x\nimport input.session as request\ndeny[request.login] { true }\n";
    assert_eq!(decide(PolicyKind::Task, imported, task()).unwrap().deny, ["bob"]);
    let function = "package x\nrequest(x) = y { y := x }\ndeny[request(\"a\")] { true }\n";
    assert_eq!(decide(PolicyKind::Task, function, task()).unwrap().deny, ["a"]);
    // It is of its kind only.
    let foreign = trouble(check(PolicyKind::Approval, "package x\napprove { request.command == \"rm\" }\n"));
    assert!(foreign.message.contains("undefined variable `request`"), "{foreign}");
}

#[test]
fn tests_of_a_policy_know_its_aliases() {
    let body = "package x\nimport rego.v1\ndeny contains r.address if some r in deleted_resources\n";
    let tests = r#"package x_test

import data.x
import rego.v1

test_deleted if {
  x.deny == {"a"} with input as {"terraform": {"resource_changes": [{"address": "a", "change": {"actions": ["delete"]}}]}}
}
"#;
    let modules = vec![
        Module { name: "x.rego".to_owned(), body: body.to_owned() },
        Module { name: "x_test.rego".to_owned(), body: tests.to_owned() },
    ];
    let Answer::Tested(tested) = engine::answer(Ask::Test { modules }) else { panic!("no tests") };
    assert_eq!(tested.len(), 1);
    assert_eq!(tested[0].outcome, TestOutcome::Passed);
}

#[test]
fn an_access_policy_that_grants_nothing_is_told_from_one_that_denies_everything() {
    let keeps =
        |rules: &str| decide(PolicyKind::Access, &format!("package x\n{rules}\n"), json!({})).unwrap().access.keeps;
    assert!(keeps("deny { false }") && keeps("deny_write { true }"));
    assert!(!keeps("read { false }") && !keeps("deny { false }\nwrite { false }"));
}

#[test]
fn a_policy_that_decides_nothing_is_refused() {
    let none = trouble(check(PolicyKind::Task, "package x\ndenny[\"a\"] { true }\n"));
    assert_eq!(none.message, "it decides nothing: a policy of the kind task needs one of the rules `deny`");
    assert_eq!(check(PolicyKind::Approval, "package x\nimport rego.v1\napprove if true\n"), Answer::Sound);
    assert_eq!(check(PolicyKind::Plan, "package spacelift\nwarn[\"a\"] { true }\n"), Answer::Sound);
}

#[test]
fn what_reaches_out_of_a_policy_is_disabled() {
    for call in
        ["time.now_ns() > 0", "http.send({\"method\": \"get\", \"url\": \"x\"})", "opa.runtime()", "trace(\"x\")"]
    {
        let body = format!("package x\nimport rego.v1\ndeny contains \"a\" if {call}\n");
        let trouble = decide(PolicyKind::Task, &body, json!({})).unwrap_err();
        assert!(trouble.message.contains("is not allowed"), "{call}: {trouble}");
        assert_eq!(trouble.line, Some(3), "{call}: {trouble}");
    }
    let parse = "package x\nimport rego.v1\ndeny contains \"a\" if rego.parse_module(\"a\", \"package a\")\n";
    assert!(decide(PolicyKind::Task, parse, json!({})).is_err());
    let mocked = "package x\nimport rego.v1\nnow := time.now_ns()\ntest_now if now == 3 with time.now_ns as 3\n";
    let tested = engine::answer(Ask::Test { modules: vec![module(mocked)] });
    assert!(matches!(&tested, Answer::Tested(all) if all[0].outcome == TestOutcome::Passed), "{tested:?}");
}

#[test]
fn an_unknown_function_is_a_trouble_and_not_silence() {
    let body = "package x\nimport rego.v1\ndeny contains \"a\" if contians(input.a, \"b\")\n";
    let trouble = decide(PolicyKind::Task, body, json!({"a": "b"})).unwrap_err();
    assert_eq!(trouble.line, Some(3), "{trouble}");
}

#[test]
fn approvals_read_as_flags_as_sets_and_with_notes() {
    let kind = PolicyKind::Approval;
    let outcome = |body: &str| decide(kind, body, json!({"n": 2})).unwrap().outcome(kind);
    assert_eq!(outcome("package spacelift\napprove { input.n > 1 }\n"), PolicyOutcome::Approve);
    assert_eq!(outcome("package spacelift\napprove { input.n > 2 }\n"), PolicyOutcome::Undecided);
    assert_eq!(outcome("package spacelift\napprove { true }\nreject { true }\n"), PolicyOutcome::Reject);
    let noted =
        "package x\nimport rego.v1\ndefault approve := false\napprove_with_note contains \"fine\" if input.n == 2\n";
    let decision = decide(kind, noted, json!({"n": 2})).unwrap();
    assert_eq!((decision.approve, decision.notes), (true, vec!["fine".to_owned()]));
    assert!(decide(kind, "package x\napprove = 1\n", json!({})).is_err());
}

#[test]
fn every_other_kind_reads_its_own_rules() {
    let trigger = "package spacelift\ntrigger[stack.id] { stack := input.stacks[_]; stack.labels[_] == \"a\" }\nflag[\"x\"] { true }\n";
    let input = json!({"stacks": [{"id": "one", "labels": ["a"]}, {"id": "two", "labels": []}]});
    let decision = decide(PolicyKind::Trigger, trigger, input).unwrap();
    assert_eq!((decision.trigger, decision.flags), (vec!["one".to_owned()], vec!["x".to_owned()]));
    let access =
        decide(PolicyKind::Access, "package spacelift\nread { true }\ndeny_write { true }\n", json!({})).unwrap();
    assert!(access.access.read && access.access.deny_write && !access.access.deny);
    let push = "package spacelift\ntrack { input.push.branch == \"main\" }\ncancel[\"r\"] { true }\n";
    let decision = decide(PolicyKind::Push, push, json!({"push": {"branch": "main"}})).unwrap();
    assert_eq!((decision.push, decision.cancel), (vec!["track".to_owned()], vec!["r".to_owned()]));
    let told = "package spacelift\ninbox[{\"title\": \"x\", \"severity\": \"INFO\"}] { true }\n";
    let decision = decide(PolicyKind::Notification, told, json!({})).unwrap();
    let Notification::Inbox(inbox) = &decision.notifications[0] else { panic!("{decision:?}") };
    assert_eq!(inbox.title.as_deref(), Some("x"));
}

#[test]
fn sanitized_leaves_values_as_the_input_shows_them() {
    let body = "package spacelift\ndeny[\"x\"] { input.after == sanitized(\"secret\") }\n";
    assert_eq!(decide(PolicyKind::Plan, body, json!({"after": "secret"})).unwrap().deny, ["x"]);
}

#[test]
fn tests_are_run_by_name_each_with_its_place() {
    let tests = r#"package airlock.tasks_test

import rego.v1
import data.airlock.tasks

test_rm_is_denied if {
  count(tasks.deny) == 1 with input as {"request": {"command": "rm x"}}
}

test_ls_is_denied if {
  count(tasks.deny) == 1 with input as {"request": {"command": "ls"}}
}

test_broken if nothing.at.all("x")
"#;
    let modules = vec![
        Module { name: "tasks.rego".to_owned(), body: NEW.to_owned() },
        Module { name: "tasks_test.rego".to_owned(), body: tests.to_owned() },
    ];
    let Answer::Tested(tested) = engine::answer(Ask::Test { modules }) else { panic!("no tests") };
    let names: Vec<_> = tested.iter().map(|one| (one.name.as_str(), one.line)).collect();
    assert_eq!(names, [("test_rm_is_denied", 6), ("test_ls_is_denied", 10), ("test_broken", 14)]);
    assert_eq!(tested[0].outcome, TestOutcome::Passed);
    assert_eq!(tested[1].outcome, TestOutcome::Failed);
    assert!(matches!(&tested[2].outcome, TestOutcome::Trouble(trouble) if trouble.line == Some(14)), "{:?}", tested[2]);
}

#[test]
fn messages_are_bounded_and_hold_no_control_characters() {
    let body = "package x\nimport rego.v1\ndeny contains sprintf(\"%d %s\", [i, input.long]) if some i in numbers.range(1, 500)\n";
    let decision = decide(PolicyKind::Task, body, json!({"long": "\u{1b}[31m".repeat(1_000)})).unwrap();
    assert_eq!(decision.deny.len(), 100);
    assert!(decision.deny[0].chars().count() <= 2_001 && !decision.deny[0].contains('\u{1b}'));
}

#[test]
fn every_policy_of_the_library_is_sound_and_passes_its_tests() {
    for offered in LIBRARY {
        assert_eq!(check(offered.kind, offered.body), Answer::Sound, "{}", offered.name);
        let modules = vec![
            Module { name: "policy.rego".to_owned(), body: offered.body.to_owned() },
            Module { name: "tests.rego".to_owned(), body: offered.tests.to_owned() },
        ];
        let answer = engine::answer(Ask::Test { modules });
        let Answer::Tested(tested) = answer else { panic!("{}: {answer:?}", offered.name) };
        assert!(tested.len() > 2, "{}", offered.name);
        for one in tested {
            assert_eq!(one.outcome, TestOutcome::Passed, "{}: {}", offered.name, one.name);
        }
    }
}
