//! The process that an evaluation happens in: what it is kept from, and how its end is told.

use std::time::{Duration, Instant};

use airlock::{
    domain::PolicyKind,
    policy::{Answer, Ask, Evaluator, Module, Question, Trouble},
};
use serde_json::value::RawValue;

fn evaluator() -> Evaluator {
    Evaluator::new(env!("CARGO_BIN_EXE_airlock").into(), None)
}

fn question(kind: PolicyKind, body: &str, input: &str) -> Ask {
    Ask::Decide(Question {
        kind,
        module: Module { name: "policy.rego".to_owned(), body: body.to_owned() },
        input: RawValue::from_string(input.to_owned()).unwrap(),
        explain: false,
    })
}

async fn trouble(body: &str) -> Trouble {
    evaluator().ask(question(PolicyKind::Task, body, "{}")).await.unwrap_err()
}

#[tokio::test]
async fn a_question_is_answered_by_another_process() {
    let body = "package x\nimport rego.v1\ndeny contains input.why if input.no\n";
    let answer = evaluator().ask(question(PolicyKind::Task, body, r#"{"no": true, "why": "because"}"#)).await.unwrap();
    let Answer::Decided(decision) = answer else { panic!("{answer:?}") };
    assert_eq!(decision.deny, ["because"]);
}

#[tokio::test]
async fn an_endless_policy_is_ended_after_five_seconds() {
    let body = "package x\nimport rego.v1\ndeny contains \"x\" if {\n  some a in numbers.range(1, 20000)\n  \
                some b in numbers.range(1, 20000)\n  some c in numbers.range(1, 20000)\n  a + b + c == 0\n}\n";
    let began = Instant::now();
    let trouble = trouble(body).await;
    assert_eq!(trouble.message, "it takes longer than 5 s and was ended");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_policy_that_wants_all_memory_is_ended() {
    let body = "package x\nimport rego.v1\nbig := [sprintf(\"%d-%s\", [a, \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]) | \
                some a in numbers.range(1, 50000000)]\ndeny contains \"x\" if count(big) > 0\n";
    let trouble = trouble(body).await;
    assert!(trouble.message.contains("256 MiB of memory") || trouble.message.contains("longer than 5 s"), "{trouble}");
}

#[tokio::test]
async fn what_is_no_rego_is_told_with_its_place() {
    let trouble = trouble("package x\nimport rego.v1\ndeny contains \"a\" if {\n").await;
    assert!(trouble.line.is_some(), "{trouble}");
}

#[tokio::test]
async fn a_body_that_nests_without_end_is_ended_too() {
    let body = format!(
        "package x\nimport rego.v1\ndeny contains \"x\" if {}1{} == 2\n",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let trouble = trouble(&body).await;
    assert!(!trouble.message.is_empty());
}

#[tokio::test]
async fn a_program_that_is_none_of_ours_is_a_trouble() {
    let evaluator = Evaluator::new("/bin/true".into(), None);
    assert!(evaluator.ask(question(PolicyKind::Task, "package x\n", "{}")).await.is_err());
    let evaluator = Evaluator::new("/nothing/there".into(), None);
    let trouble = evaluator.ask(question(PolicyKind::Task, "package x\n", "{}")).await.unwrap_err();
    assert!(trouble.message.contains("cannot be evaluated"), "{trouble}");
}
