//! Policies that mean harm, or do it by mistake: each ends within its bounds, as a trouble, and the next
//! one is asked as if nothing had been.

use airlock::{
    domain::PolicyKind,
    policy::{Answer, Ask, Evaluator, Module, Question, Trouble},
};
use serde_json::value::RawValue;

fn evaluator() -> Evaluator {
    Evaluator::new(env!("CARGO_BIN_EXE_airlock").into(), None)
}

/// What comes of a task policy with this one rule.
async fn asked(rules: &str, input: &str) -> Result<Vec<String>, Trouble> {
    let body = format!("package x\nimport rego.v1\n{rules}\n");
    let module = Module { name: "policy.rego".to_owned(), body };
    let input = RawValue::from_string(input.to_owned()).unwrap();
    let question = Question { kind: PolicyKind::Task, module, input, explain: false };
    match evaluator().ask(Ask::Decide(question)).await? {
        Answer::Decided(decision) => Ok(decision.deny),
        other => panic!("{other:?}"),
    }
}

async fn trouble(rules: &str) -> String {
    asked(rules, "{}").await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_would_say_too_much_says_nothing() {
    let long =
        "deny contains concat(\"\", [x | some n in numbers.range(1, 300000); x := sprintf(\"%d-padding\", [n])])";
    assert_eq!(asked(long, "{}").await.unwrap()[0].chars().count(), 2_001, "one text is cut short");
    let many = "deny contains sprintf(\"%d\", [n]) if some n in numbers.range(1, 50000)";
    assert_eq!(asked(many, "{}").await.unwrap().len(), 100, "a hundred are kept");
    // What a notification says is bounded as a whole.
    let body = "package x\nwebhook[{\"endpoint_id\": \"x\", \"payload\": p}] { p := [sprintf(\"%d-padding-padding\", [n]) | n := numbers.range(1, 200000)[_]] }\n";
    let module = Module { name: "policy.rego".to_owned(), body: body.to_owned() };
    let input = RawValue::from_string("{}".to_owned()).unwrap();
    let question = Question { kind: PolicyKind::Notification, module, input, explain: false };
    let said = evaluator().ask(Ask::Decide(question)).await.unwrap_err().to_string();
    assert!(said.contains("it says more than 1024 KiB"), "{said}");
}

#[tokio::test]
async fn what_would_count_to_a_billion_is_ended() {
    let said = trouble("deny contains \"x\" if count([1 | some a in numbers.range(1, 1000); some b in numbers.range(1, 1000); some c in numbers.range(1, 1000); a * b * c > 0]) > 1").await;
    assert!(said.contains("longer than 5 s") || said.contains("256 MiB"), "{said}");
}

#[tokio::test]
async fn what_would_take_a_gibibyte_is_ended() {
    // Each line doubles what is there.
    let mut rules = "s0 := \"0123456789abcdef\"\n".to_owned();
    for n in 1..=26 {
        rules.push_str(&format!("s{n} := concat(\"\", [s{0}, s{0}])\n", n - 1));
    }
    rules.push_str("deny contains \"x\" if count(s26) > 0");
    let said = trouble(&rules).await;
    assert!(said.contains("256 MiB") || said.contains("longer than 5 s"), "{said}");
}

#[tokio::test]
async fn what_calls_itself_is_ended() {
    let said = trouble("f(x) := f(x + 1)\ndeny contains \"x\" if f(0) > 0").await;
    assert!(!said.is_empty());
    let said = trouble("a := b\nb := a\ndeny contains \"x\" if a > 0").await;
    assert!(!said.is_empty());
    let deep = format!(
        "deny contains \"x\" if json.unmarshal(concat(\"\", [\"{}\", \"{}\"]))",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert!(!trouble(&deep).await.is_empty());
}

#[tokio::test]
async fn what_would_explode_in_a_regular_expression_does_not() {
    // Backtracking would never end here.
    let input = format!("{{\"text\": \"{}!\"}}", "a".repeat(40_000));
    let matched = asked("deny contains \"x\" if regex.match(`^(a+)+$`, input.text)", &input).await;
    assert_eq!(matched, Ok(Vec::new()));
    // A program that would be too large is none.
    let said = asked("deny contains \"x\" if regex.match(`((a{1000}){1000}){1000}`, input.text)", &input).await;
    assert!(said.is_err() || said == Ok(Vec::new()), "{said:?}");
}

#[tokio::test]
async fn what_would_explode_in_yaml_is_ended() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\\n".to_owned();
    for n in 1..=12 {
        let uses = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{uses}]\\n"));
    }
    let rules = format!("deny contains \"x\" if count(yaml.unmarshal(\"{bomb}\")) > 0");
    assert!(!trouble(&rules).await.is_empty());
}

#[tokio::test]
async fn builtins_of_published_policies_are_there() {
    let rules = r#"
config := yaml.unmarshal(input.file)
deny contains "yaml" if config.owners[_] == "platform"
deny contains "json" if json.patch({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}]).a == 2
deny contains "time" if time.clock([time.parse_rfc3339_ns("2026-02-03T10:00:00Z"), "Europe/Berlin"])[0] == 11
deny contains "net" if net.cidr_contains("10.0.0.0/8", "10.1.2.3")
deny contains "glob" if glob.match("infra/**", ["/"], "infra/a/b.tf")
deny contains "semver" if semver.compare("1.2.0", "1.10.0") == -1
deny contains "regex" if regex.match(`^aws_\w+$`, "aws_instance")
deny contains "base64" if base64.decode("aGk=") == "hi"
deny contains "urlquery" if urlquery.encode("a b") == "a+b"
deny contains "hex" if hex.encode("hi") == "6869"
deny contains "walk" if count([v | walk({"a": {"b": 1}}, [_, v]); v == 1]) == 1
deny contains "object" if object.get({"a": 1}, "b", 7) == 7
deny contains "strings" if strings.replace_n({"<": "&lt;"}, "<") == "&lt;"
"#;
    let said = asked(rules, r#"{"file": "owners:\n- platform\n- ops\n"}"#).await.unwrap();
    for builtin in [
        "yaml", "json", "time", "net", "glob", "semver", "regex", "base64", "urlquery", "hex", "walk", "object",
        "strings",
    ] {
        assert!(said.iter().any(|one| one == builtin), "{builtin} is not among {said:?}");
    }
}
