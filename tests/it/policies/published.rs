//! Policies in the shapes that Spacelift documents, written anew from its input schema: they load as
//! they are, and decide what they are meant to.

use airlock::{
    domain::PolicyKind,
    policy::{Answer, Ask, Decision, Evaluator, Module, Question},
};
use serde_json::{Value, json, value::RawValue};

async fn decide(kind: PolicyKind, body: &str, input: Value) -> Decision {
    let evaluator = Evaluator::new(env!("CARGO_BIN_EXE_airlock").into(), None);
    let module = Module { name: "policy.rego".to_owned(), body: body.to_owned() };
    let checked = evaluator.ask(Ask::Check { kind, module: module.clone() }).await;
    assert_eq!(checked, Ok(Answer::Sound), "{body}");
    let input = RawValue::from_string(input.to_string()).unwrap();
    match evaluator.ask(Ask::Decide(Question { kind, module, input, explain: false })).await.unwrap() {
        Answer::Decided(decision) => *decision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tasks_for_admins_only() {
    let body = r#"package spacelift
deny["Only admins can run tasks"] { not input.session.admin }
deny[sprintf("not by %s", [login])] { login := input.session.login; not startswith(input.request.command, "terraform ") }
sample { true }
"#;
    let input = |admin: bool, command: &str| json!({"request": {"command": command, "remote_ip": "10.0.0.1", "timestamp_ns": 1}, "session": {"admin": admin, "login": "bob"}, "stack": {"id": "shop"}});
    assert_eq!(decide(PolicyKind::Task, body, input(true, "terraform plan")).await.deny, Vec::<String>::new());
    assert_eq!(decide(PolicyKind::Task, body, input(false, "ls")).await.deny.len(), 2);
}

#[tokio::test]
async fn plans_by_resource_type_and_action() {
    let body = r#"package spacelift
deny[sprintf("must not destroy %s", [r.address])] {
  r := input.terraform.resource_changes[_]
  r.type == "aws_kms_key"
  r.change.actions[_] == "delete"
}
warn[sprintf("%s is large", [r.address])] {
  some i
  r := input.terraform.resource_changes[i]
  r.change.after.instance_type == sanitized("m5.24xlarge")
}
warn["many"] { count([a | a := input.terraform.resource_changes[_].change.actions[_]; a == "create"]) > 1 }
"#;
    let resource = |kind: &str, actions: Value, after: Value| json!({"address": format!("{kind}.x"), "type": kind, "name": "x", "change": {"actions": actions, "before": null, "after": after}});
    let input = json!({"spacelift": {"run": {"type": "TRACKED"}}, "terraform": {"resource_changes": [
        resource("aws_kms_key", json!(["delete"]), json!(null)),
        resource("aws_instance", json!(["create"]), json!({"instance_type": "m5.24xlarge"})),
        resource("aws_instance", json!(["create"]), json!({"instance_type": "t3.nano"})),
    ]}});
    let decision = decide(PolicyKind::Plan, body, input).await;
    assert_eq!(decision.deny, ["must not destroy aws_kms_key.x"]);
    assert_eq!(decision.warn, ["aws_instance.x is large", "many"]);
}

#[tokio::test]
async fn approvals_by_count_and_by_state() {
    let body = r#"package spacelift
approve { input.run.state == "QUEUED" }
approve { count(input.reviews.current.approvals) > 1; not by_requester }
reject { input.reviews.current.rejections[_].session.login != "bot" }
by_requester { input.reviews.current.approvals[_].author == input.run.creator_session.login }
"#;
    let input = |state: &str, approvals: &[&str], rejections: &[&str]| {
        let review = |name: &&str| json!({"author": name, "session": {"login": name, "teams": []}, "state": state, "request": {"timestamp_ns": 1}});
        let all = |names: &[&str]| names.iter().map(review).collect::<Vec<_>>();
        json!({"run": {"state": state, "creator_session": {"login": "ann"}}, "reviews": {"current": {"approvals": all(approvals), "rejections": all(rejections)}, "older": {"approvals": [], "rejections": []}}})
    };
    let said = async |input| {
        let decision = decide(PolicyKind::Approval, body, input).await;
        (decision.approve, decision.reject)
    };
    assert_eq!(said(input("QUEUED", &[], &[])).await, (true, false));
    assert_eq!(said(input("UNCONFIRMED", &["bob"], &[])).await, (false, false));
    assert_eq!(said(input("UNCONFIRMED", &["bob", "cid"], &[])).await, (true, false));
    assert_eq!(said(input("UNCONFIRMED", &["bob", "ann"], &[])).await, (false, false));
    assert_eq!(said(input("UNCONFIRMED", &["bob", "cid"], &["dan"])).await, (true, true));
}

#[tokio::test]
async fn pushes_triggers_and_notifications() {
    let push = r#"package spacelift
track { input.push.branch == input.stack.branch; affected }
propose { not is_null(input.pull_request) }
ignore { not affected; input.push.tag == "" }
affected { some i; startswith(input.push.affected_files[i], input.stack.project_root) }
cancel[run.id] { run := input.in_progress[_]; run.type == "PROPOSED"; run.state == "QUEUED"; run.branch == input.push.branch }
"#;
    let input = json!({"push": {"branch": "main", "tag": "", "affected_files": ["infra/main.tf"]}, "pull_request": null, "stack": {"branch": "main", "project_root": "infra"}, "in_progress": [{"id": "r1", "type": "PROPOSED", "state": "QUEUED", "branch": "main"}]});
    let decision = decide(PolicyKind::Push, push, input).await;
    assert_eq!((decision.push, decision.cancel), (vec!["track".to_owned()], vec!["r1".to_owned()]));
    let trigger = r#"package spacelift
trigger[stack.id] { stack := input.stacks[_]; input.run.state == "FINISHED"; input.run.type == "TRACKED"; stack.labels[_] == concat("", ["depends-on:", input.stack.id]) }
"#;
    let input = json!({"run": {"state": "FINISHED", "type": "TRACKED"}, "stack": {"id": "base"}, "stacks": [{"id": "app", "labels": ["depends-on:base"]}, {"id": "other", "labels": []}], "workflow": []});
    assert_eq!(decide(PolicyKind::Trigger, trigger, input).await.trigger, ["app"]);
    let told = r#"package spacelift
inbox[{"title": "Run failed", "body": sprintf("%s", [input.run_updated.run.id]), "severity": "ERROR"}] { input.run_updated.state == "FAILED" }
webhook[{"endpoint_id": e.id}] { e := input.webhook_endpoints[_]; input.run_updated.run.type == "TRACKED" }
"#;
    let input = json!({"account": {"name": "a"}, "run_updated": {"state": "FAILED", "run": {"id": "r", "type": "TRACKED"}}, "webhook_endpoints": [{"id": "hook", "labels": []}]});
    assert_eq!(decide(PolicyKind::Notification, told, input).await.notifications.len(), 2);
    let access = "package spacelift\nread { input.session.teams[_] == \"Engineering\" }\nwrite { input.session.teams[_] == \"DevOps\" }\ndeny { not net.cidr_contains(\"12.34.0.0/16\", input.request.remote_ip) }\n";
    let input = json!({"session": {"teams": ["Engineering"]}, "request": {"remote_ip": "12.34.5.6"}});
    let access = decide(PolicyKind::Access, access, input).await.access;
    assert!(access.read && !access.write && !access.deny);
}

#[tokio::test]
async fn tasks_by_the_documented_aliases() {
    let body = r#"package spacelift

deny["only admins, and terraform only"] { not session.admin; not startswith(request.command, "terraform ") }
deny[sprintf("%s takes no tasks", [stack.name])] { stack.labels[_] == "quiet" }
"#;
    let input = |admin: bool, label: &str| json!({"request": {"command": "ls", "remote_ip": "", "timestamp_ns": 1}, "session": {"admin": admin, "login": "bob"}, "stack": {"name": "Shop", "labels": [label]}});
    assert_eq!(decide(PolicyKind::Task, body, input(true, "loud")).await.deny, Vec::<String>::new());
    let denied = decide(PolicyKind::Task, body, input(false, "quiet")).await.deny;
    assert_eq!(denied, ["Shop takes no tasks", "only admins, and terraform only"]);
}

#[tokio::test]
async fn plans_by_the_documented_aliases() {
    let old = r#"package spacelift

deny[sprintf("%s holds keys", [resource.address])] {
  resource := deleted_resources[_]
  resource.type == "aws_kms_key"
}
warn[sprintf("%s is made anew", [resource.address])] { resource := recreated_resources[_] }
warn["much happens"] { count(affected_resources) > 3 }
"#;
    let new = r#"package spacelift

import rego.v1

warn contains sprintf("%s changes", [resource.address]) if some resource in updated_resources
warn contains "nothing is new" if count(created_resources) == 0
warn contains "all of it is small" if every resource in affected_resources { resource.change.after.size < 3 }
"#;
    let resource = |name: &str, actions: Value| json!({"address": format!("aws_kms_key.{name}"), "type": "aws_kms_key", "name": name, "change": {"actions": actions, "before": null, "after": {"size": 2}}});
    let input = |resources: Value| json!({"spacelift": {}, "terraform": {"resource_changes": resources}});
    let all = json!([
        resource("made", json!(["create"])),
        resource("kept", json!(["no-op"])),
        resource("turned", json!(["update"])),
        resource("gone", json!(["delete"])),
        resource("anew", json!(["delete", "create"])),
    ]);
    let decision = decide(PolicyKind::Plan, old, input(all.clone())).await;
    assert_eq!(decision.deny, ["aws_kms_key.anew holds keys", "aws_kms_key.gone holds keys"]);
    assert_eq!(decision.warn, ["aws_kms_key.anew is made anew", "much happens"]);
    let decision = decide(PolicyKind::Plan, new, input(all)).await;
    assert_eq!(decision.warn, ["all of it is small", "aws_kms_key.turned changes"]);
    let decision = decide(PolicyKind::Plan, new, input(json!([]))).await;
    assert_eq!(decision.warn, ["all of it is small", "nothing is new"]);
}
