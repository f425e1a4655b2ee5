//! The whole way with a real Terraform: init, plan, show, apply, destroy. Only `terraform_data`, so
//! that no provider is needed.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;

use super::rig::{Ran, Rig, shell};
use crate::{
    domain::{Action, Counts, Kind, OutputCounts, Phase, Verdict, stack::Vendor},
    protocol::{Command, RunFacts, Shell, Variable},
    vendor::{OVERRIDE_FILE, PlanRead, backend_override, needs_managed_state, read_plan},
};

/// A stack of a Terraform that must be there.
fn rig(workspace: Option<&str>) -> Rig {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert!(
        path.split(':').any(|dir| Path::new(dir).join("terraform").exists()),
        "this test needs terraform on {path}; install it"
    );
    Rig::new(Vendor::Terraform { binary: None, workspace: workspace.map(str::to_owned) })
}

fn succeed(ran: Ran) -> Ran {
    assert_eq!(ran.outcome.verdict, Verdict::SUCCESS, "{}", ran.log);
    ran
}

fn init(rig: &Rig) -> Ran {
    rig.run(&shell(Phase::Initializing, Command::Init))
}

fn plan_with(rig: &Rig, targets: &[&str], destroy: bool) -> PlanRead {
    let targets = targets.iter().map(|&target| target.to_owned()).collect();
    let facts = RunFacts { targets, ..rig.facts.clone() };
    let ran = succeed(rig.run_of(&facts, &shell(Phase::Planning, Command::Plan { destroy })));
    let mut json = fs::File::open(rig.places.plan_json()).unwrap();
    assert!(!ran.log.contains("format_version"), "the plan's JSON is not for the log");
    read_plan(&rig.facts.vendor, ran.outcome.command.unwrap(), Some(&mut json), &|bytes| format!("#{}", bytes.len()))
        .unwrap()
}

fn plan(rig: &Rig) -> PlanRead {
    plan_with(rig, &[], false)
}

fn apply(rig: &Rig) -> Ran {
    succeed(rig.run(&shell(Phase::Applying, Command::Apply)))
}

/// Address and action of every resource.
fn actions(read: &PlanRead) -> Vec<(&str, Action)> {
    read.changes.resources.iter().map(|change| (change.address.as_str(), change.action)).collect()
}

const FIRST: &str = r#"
variable "airlock_stack" { type = string }
variable "secret" {
  type      = string
  sensitive = true
}
resource "terraform_data" "stays" { input = var.airlock_stack }
resource "terraform_data" "changes" { input = "old" }
resource "terraform_data" "is_replaced" { triggers_replace = "old" }
resource "terraform_data" "goes" { input = { key = var.secret, open = "x" } }
output "stack" { value = terraform_data.stays.output }
output "secret" {
  value     = var.secret
  sensitive = true
}
"#;

const SECOND: &str = r#"
variable "airlock_stack" { type = string }
variable "secret" {
  type      = string
  sensitive = true
}
resource "terraform_data" "stays" { input = var.airlock_stack }
resource "terraform_data" "changes" { input = "new" }
resource "terraform_data" "is_replaced" { triggers_replace = "new" }
resource "terraform_data" "is_new" { input = [var.secret, "b"] }
output "stack" { value = terraform_data.changes.output }
"#;

fn secret_variable() -> Variable {
    Variable {
        name: crate::domain::EnvName::new("TF_VAR_secret").unwrap(),
        value: "hunter2-and-more".to_owned().into(),
        sensitive: true,
    }
}

#[test]
fn terraform_plans_applies_and_destroys() {
    let mut rig = rig(None);
    rig.variables.push(secret_variable());
    rig.write("main.tf", FIRST);
    succeed(init(&rig));

    let first = plan(&rig);
    assert!(first.has_changes);
    assert_eq!(first.delta.resources, Counts { added: 4, ..Counts::default() });
    assert_eq!(first.delta.outputs, OutputCounts { added: 2, changed: 0, deleted: 0 });
    assert!(!serde_json::to_string(&first.changes).unwrap().contains("hunter2"));
    let goes = first.changes.resources.iter().find(|change| change.address == "terraform_data.goes").unwrap();
    assert_eq!(goes.after["input"], json!({"key": "(sensitive #18)", "open": "x"}));
    assert_eq!(goes.after["id"], "(known after apply)");
    assert!(goes.sensitive.contains(&"/input/key".to_owned()), "{:?}", goes.sensitive);
    apply(&rig);

    let again = plan(&rig);
    assert!(!again.has_changes && again.changes.resources.is_empty(), "{:?}", again.changes);

    rig.write("main.tf", SECOND);
    let second = plan(&rig);
    assert_eq!(
        actions(&second),
        [
            ("terraform_data.changes", Action::Update),
            ("terraform_data.goes", Action::Delete),
            ("terraform_data.is_new", Action::Create),
            ("terraform_data.is_replaced", Action::Replace),
        ]
    );
    assert_eq!(second.changes.resources[3].replace_paths, ["/triggers_replace"]);
    assert_eq!(second.changes.resources[0].before["input"], "old");
    assert_eq!(second.changes.resources[0].after["output"], "(known after apply)");
    assert_eq!(second.delta.outputs, OutputCounts { added: 0, changed: 1, deleted: 1 });
    assert!(!serde_json::to_string(&second.changes).unwrap().contains("hunter2"));

    let targeted = plan_with(&rig, &["terraform_data.is_new", "terraform_data.changes"], false);
    assert_eq!(actions(&targeted).len(), 2);
    apply(&rig);

    let destroy = plan_with(&rig, &[], true);
    assert!(actions(&destroy).iter().all(|(_, action)| *action == Action::Delete));
    succeed(rig.run(&shell(Phase::Destroying, Command::Destroy)));
    assert!(!plan_with(&rig, &[], true).has_changes);
}

#[test]
fn a_change_of_an_output_alone_is_a_change() {
    let rig = rig(None);
    rig.write("main.tf", "output \"o\" { value = 1 }");
    succeed(init(&rig));
    assert!(plan(&rig).has_changes);
    apply(&rig);
    rig.write("main.tf", "output \"o\" { value = 2 }");
    let read = plan(&rig);
    assert!(read.has_changes && read.changes.resources.is_empty());
    assert_eq!((&read.changes.outputs[0].before, &read.changes.outputs[0].after), (&json!(1), &json!(2)));
}

#[test]
fn moving_and_forgetting_a_resource_is_shown() {
    let rig = rig(None);
    rig.write("main.tf", "resource \"terraform_data\" \"a\" {}\nresource \"terraform_data\" \"b\" {}");
    succeed(init(&rig));
    plan(&rig);
    apply(&rig);
    rig.write(
        "main.tf",
        "resource \"terraform_data\" \"c\" {}\nmoved {\n from = terraform_data.a\n to = terraform_data.c\n}\n\
         removed {\n from = terraform_data.b\n lifecycle { destroy = false }\n}",
    );
    let read = plan(&rig);
    assert!(read.has_changes);
    assert_eq!(actions(&read), [("terraform_data.b", Action::Delete), ("terraform_data.c", Action::Update)]);
    assert_eq!(read.changes.resources[0].after, "(no longer managed, not destroyed)");
    assert_eq!(read.changes.resources[1].before, "(at terraform_data.a)");
    apply(&rig);
    assert!(!plan(&rig).has_changes);
}

#[test]
fn a_failing_plan_fails_the_phase_with_terraforms_code() {
    let rig = rig(None);
    rig.write("main.tf", "resource \"terraform_data\" \"a\" { input = nothing.here }");
    succeed(init(&rig));
    let ran = rig.run(&shell(Phase::Planning, Command::Plan { destroy: false }));
    assert_eq!(ran.outcome.verdict, Verdict::Exited { code: 1 });
    assert!(!Path::new(&rig.places.plan_json()).exists());
    let ran = rig.run(&shell(Phase::Applying, Command::Apply));
    assert_eq!(ran.outcome.verdict, Verdict::Exited { code: 1 }, "{}", ran.log);
}

#[test]
fn an_interrupted_terraform_gets_to_write_its_state() {
    let rig = rig(None);
    rig.write(
        "main.tf",
        "resource \"terraform_data\" \"a\" {\n provisioner \"local-exec\" { command = \"kill -INT -$GROUP\" }\n}\n\
         resource \"terraform_data\" \"b\" { depends_on = [terraform_data.a] }",
    );
    succeed(init(&rig));
    plan(&rig);
    let shell = Shell { before: vec!["export GROUP=$$".to_owned()], ..shell(Phase::Applying, Command::Apply) };
    let ran = rig.run(&shell);
    assert_eq!(ran.outcome.verdict, Verdict::Exited { code: 1 }, "{}", ran.log);
    let state = fs::read_to_string(rig.path("terraform.tfstate")).unwrap();
    assert!(state.contains("\"name\": \"a\"") && !state.contains("\"name\": \"b\""), "{state}");
}

#[test]
fn a_workspace_is_selected_or_made() {
    let rig = rig(Some("prod-1"));
    rig.write("main.tf", "output \"w\" { value = terraform.workspace }");
    for _ in 0..2 {
        succeed(init(&rig));
        assert_eq!(plan(&rig).changes.outputs[0].after, "prod-1");
        fs::remove_file(rig.path(".terraform/environment")).unwrap();
    }
    succeed(init(&rig));
    plan(&rig);
    apply(&rig);
    assert!(rig.path("terraform.tfstate.d/prod-1").is_dir());
}

#[test]
fn previews_do_not_lock_and_deployments_do() {
    let mut rig = rig(None);
    rig.write("main.tf", "output \"o\" { value = 1 }");
    rig.write(OVERRIDE_FILE, backend_override());
    let server = StateServer::start();
    rig.state = Some((server.address.clone(), "pw".to_owned()));
    succeed(init(&rig));
    for (kind, locks) in [(Kind::Proposed, false), (Kind::Drift, false), (Kind::Tracked, true), (Kind::Destroy, true)] {
        server.requests.lock().unwrap().clear();
        rig.facts.kind = kind;
        plan(&rig);
        assert_eq!(server.requests.lock().unwrap().iter().any(|request| request.starts_with("LOCK")), locks, "{kind}");
    }
}

#[test]
fn the_state_is_managed_where_the_configuration_names_no_backend() {
    let mut rig = rig(None);
    rig.variables.push(secret_variable());
    rig.write("main.tf", FIRST);
    assert!(needs_managed_state(&rig.facts.vendor, [("main.tf", FIRST.as_bytes())]));
    rig.write(OVERRIDE_FILE, backend_override());
    let server = StateServer::start();
    rig.state = Some((server.address.clone(), "first-password".to_owned()));
    succeed(init(&rig));
    plan(&rig);
    // Between planning and applying, address and password change.
    let second = StateServer::start();
    rig.state = Some((second.address.clone(), "second-password".to_owned()));
    apply(&rig);
    let state = second.state.lock().unwrap().clone();
    assert!(String::from_utf8(state).unwrap().contains("terraform_data"));
    assert!(!rig.path("terraform.tfstate").exists());
    let basic = "Basic cnVuOnNlY29uZC1wYXNzd29yZA=="; // run:second-password
    assert!(second.requests.lock().unwrap().iter().all(|request| request.ends_with(basic)));
    assert!(server.requests.lock().unwrap().iter().all(|request| !request.starts_with("POST")));
    for file in [rig.path(".terraform/terraform.tfstate"), rig.places.plan().into()] {
        let content = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        assert!(!content.contains("password") || !content.contains("first-password"));
    }
}

/// A backend as Terraform's http backend wants it, until the test ends.
struct StateServer {
    address: String,
    state: Arc<Mutex<Vec<u8>>>,
    /// `METHOD authorization`
    requests: Arc<Mutex<Vec<String>>>,
}

impl StateServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/state", listener.local_addr().unwrap());
        let (state, requests) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let server = Self { address, state: state.clone(), requests: requests.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &state, &requests);
            }
        });
        server
    }
}

fn answer(stream: TcpStream, state: &Mutex<Vec<u8>>, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let Some(first) = head.first() else { return };
    let method = first.split(' ').next().unwrap();
    requests.lock().unwrap().push(format!("{method} {}", header("authorization").unwrap_or_default()));
    let mut state = state.lock().unwrap();
    if method == "POST" {
        *state = body;
    }
    let answer = if method == "GET" { state.clone() } else { Vec::new() };
    let status = if method == "GET" && state.is_empty() { "204 No Content" } else { "200 OK" };
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len()).unwrap();
    stream.write_all(&answer).unwrap();
}
