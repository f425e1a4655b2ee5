//! What is accepted, and what comes of it.

use std::collections::BTreeMap;

use crate::domain::{Slug, TaskName, stack::Hooks};

use super::super::{
    DeclaredTask, FALLBACKS, FILES, HookPoint, Manifest,
    declared::{
        AllowedHost, Authorization, AuthorizedAction, AuthorizedScope, ClockGrant, Files, MountSource, RandomGrant,
        Stdin, TaskCommand, TaskType, WorkspaceGrant,
    },
    load, parse, parse_runtime_config, split_command,
};

fn accepted(yaml: &str) -> Manifest {
    parse("c.yaml", yaml.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn task(manifest: &Manifest, name: &str) -> DeclaredTask {
    manifest.tasks[&TaskName::new(name).unwrap()].clone()
}

fn notes(manifest: &Manifest) -> String {
    manifest.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const EVERYTHING: &str = r#"
tasks:
  agent:
    type: wasi:python
    run:
      command: agent.py --say "it's done" ''
      timeout: 600
    source: {root: /agents/}
    hooks:
      build: |
        make all
        make check
    relationships:
      search:
      cache: "redis:tcp"
      db: {service: postgres, endpoint: main}
      files: {service: store}
    mounts:
      /cache: {source: local}
      scratch/deep: {source: temporary}
      data: {source: storage, source_path: shared/data}
      shared: {source: service, service: nfs, source_path: ""}
    variables:
      env: {Level: 3.10, country: NO, empty: "", list: [1, two]}
      app: {level: 3.10, depth: 7, on: true, none: ~, quoted: "7", map: {a: [1.5]}}
    authorizations:
      - {type: task, resource: plain, action: operate}
      - {type: task, action: view}
      - {type: env, action: view}
    airlock:
      fuel: 20000000000
      memory: 512MiB
      output: 1 MiB
      files: {count: 10, bytes: 500KB}
      network: [API.example.org, "db.internal:5432", "*.example.net", API.example.org]
      headers: {api.example.org: {Authorization: {secret: API_TOKEN}}}
      workspace: write
      env: [B, A]
      stdin: {file: prompts/first.txt}
      clock: real
      random: real
      artifacts: false
      cpu: 0.25
      run_task: {hmac_secret: HMAC}
  plain:
    type: native
    run: {command: date}
"#;

#[test]
fn every_documented_key_of_a_task_is_read() {
    let task = task(&accepted(EVERYTHING), "agent");
    assert_eq!(task.kind, TaskType::Guest("python".parse().unwrap()));
    let words = ["agent.py", "--say", "it's done", ""].map(str::to_owned).to_vec();
    assert_eq!(task.run.command, TaskCommand::Words { text: "agent.py --say \"it's done\" ''".into(), words });
    assert_eq!(task.run.timeout_seconds, 600);
    assert_eq!(task.source.root.as_str(), "agents");
    assert_eq!(task.hooks.build.as_deref(), Some("make all\nmake check\n"));
    let relationships: Vec<_> = task
        .relationships
        .iter()
        .map(|(name, to)| format!("{name} {} {}", to.service, to.endpoint.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(relationships, ["cache redis tcp", "db postgres main", "files store -", "search search -"]);
    let mounts: Vec<_> = task.mounts.iter().map(|(path, mount)| (path.as_str(), &mount.source)).collect();
    let nfs = MountSource::Service("nfs".parse().unwrap());
    let expected = [MountSource::Instance, MountSource::Storage, MountSource::Tmp, nfs];
    assert_eq!(mounts, ["cache", "data", "scratch/deep", "shared"].into_iter().zip(&expected).collect::<Vec<_>>());
    let sources: Vec<_> = task.mounts.values().map(|mount| mount.source_path.as_str()).collect();
    assert_eq!(sources, ["cache", "shared/data", "scratch/deep", ""]);
    let authorization = |scope, action| Authorization { scope, action };
    assert_eq!(
        task.authorizations,
        [
            authorization(AuthorizedScope::Task(Some("plain".parse().unwrap())), AuthorizedAction::Operate),
            authorization(AuthorizedScope::Task(None), AuthorizedAction::View),
            authorization(AuthorizedScope::Environment, AuthorizedAction::View),
        ]
    );
}

#[test]
fn text_stays_what_was_written_and_nothing_is_lost_to_a_number() {
    let variables = task(&accepted(EVERYTHING), "agent").variables;
    let env: Vec<_> = variables.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["Level=3.10", "country=NO", "empty=", "list=[1,\"two\"]"]);
    assert_eq!(
        serde_json::to_value(&variables.other["app"]).unwrap(),
        serde_json::json!({
            "level": "3.10", "depth": 7, "on": true, "none": null, "quoted": "7", "map": {"a": [1.5]}
        })
    );
}

#[test]
fn every_cap_and_grant_is_read() {
    let airlock = task(&accepted(EVERYTHING), "agent").airlock;
    assert_eq!(airlock.fuel, Some(20_000_000_000));
    assert_eq!(airlock.memory_bytes, Some(512 << 20));
    assert_eq!(airlock.output_bytes, Some(1 << 20));
    assert_eq!(airlock.files, Files { count: Some(10), bytes: Some(500_000) });
    let network: Vec<_> = airlock.network.iter().map(AllowedHost::to_string).collect();
    assert_eq!(network, ["*.example.net", "api.example.org", "db.internal:5432"]);
    let header = &airlock.headers[0];
    assert_eq!((header.host.to_string().as_str(), header.header.as_str()), ("api.example.org", "Authorization"));
    assert_eq!(header.secret.as_str(), "API_TOKEN");
    assert_eq!(airlock.workspace, WorkspaceGrant::Write);
    assert_eq!(airlock.env.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(airlock.stdin, Some(Stdin::File("prompts/first.txt".parse().unwrap())));
    assert_eq!((airlock.clock, airlock.random), (ClockGrant::Real, RandomGrant::Real));
    assert_eq!((airlock.artifacts, airlock.cpu_percent), (false, Some(25)));
    assert_eq!(airlock.run_task.unwrap().hmac_secret.as_str(), "HMAC");
}

#[test]
fn a_guest_gets_nothing_that_was_not_asked_for() {
    let manifest =
        accepted("tasks:\n  a: {type: wasi:x, run: {command: \"\"}}\n  b: {type: native, run: {command: x}}\n");
    let guest = task(&manifest, "a");
    assert_eq!(guest.run.timeout_seconds, 3_600);
    assert_eq!(guest.source.root.as_str(), "");
    let airlock = guest.airlock;
    assert!(airlock.network.is_empty() && airlock.headers.is_empty() && airlock.env.is_empty());
    assert_eq!(airlock.workspace, WorkspaceGrant::Read);
    assert_eq!((airlock.clock, airlock.random), (ClockGrant::Frozen, RandomGrant::Seeded));
    let native = task(&manifest, "b").airlock;
    assert_eq!((native.workspace, native.clock), (WorkspaceGrant::Write, ClockGrant::Real));
}

#[test]
fn each_type_of_task_is_told_apart() {
    let types = [
        "native",
        "wasi:python-3.12",
        "wasi:tools/check.wasm",
        "wasi:./check.wasm",
        "image:debian:12",
        "nodejs:22",
        "python:3.13",
    ];
    let yaml: String =
        types.iter().zip(0..).map(|(kind, n)| format!("  t{n}: {{type: \"{kind}\", run: {{command: x}}}}\n")).collect();
    let manifest = accepted(&format!("tasks:\n{yaml}"));
    let read: Vec<_> = manifest.tasks.values().map(|task| task.kind.to_string()).collect();
    let expected: Vec<_> = types.iter().map(|kind| kind.replace("./", "")).collect();
    assert_eq!(read, expected);
    assert_eq!(task(&manifest, "t2").kind, TaskType::GuestFile("tools/check.wasm".parse().unwrap()));
}

#[test]
fn a_declaration_reads_back_from_what_is_stored_of_it() {
    let task = task(&accepted(EVERYTHING), "agent");
    let stored = serde_json::to_string(&task).unwrap();
    assert_eq!(serde_json::from_str::<DeclaredTask>(&stored).unwrap(), task);
    let stored = rmp_serde::to_vec_named(&task).unwrap();
    assert_eq!(rmp_serde::from_slice::<DeclaredTask>(&stored).unwrap(), task);
}

#[test]
fn what_has_no_effect_is_said() {
    let manifest = accepted(
        r#"
version: "1"
applications:
  web:
    type: php:8.4
    web: {locations: !archive x}
    authorizations: [{type: env, action: view}]
services: {db: {type: postgresql:17}}
routes: {"https://{default}/": {type: upstream}}
tests: []
stacks:
  shop: {opentofu_version: "1.8", terragrunt: {use_run_all: true}, environment: {AIRLOCK_RUN_ID: x}}
tasks:
  a:
    type: wasi:x
    run: {command: "a | b > $(c)"}
    hooks: {deploy: x}
    relationships: {db: }
    airlock: {processes: 10}
  b: {type: native, run: {command: x}, airlock: {artifacts: true}}
"#,
    );
    insta::assert_snapshot!(notes(&manifest), @r"
    c.yaml:2:1: version: has no effect: a stack's entry in the file wins over its settings, stack_defaults do not
    c.yaml:3:1: applications: has no effect: Airlock runs no applications, only tasks
    c.yaml:7:5: applications.web.authorizations: has no effect: programs outside Airlock use an API key
    c.yaml:8:1: services: has no effect: the operator registers services
    c.yaml:9:1: routes: has no effect: nothing in Airlock can be routed to
    c.yaml:10:1: tests: has no effect: there are no modules to test here
    c.yaml:12:10: stacks.shop.opentofu_version: has no effect: the stack's vendor says which binary runs
    c.yaml:12:35: stacks.shop.terragrunt: has no effect: Terragrunt is not one of the vendors
    c.yaml:12:82: stacks.shop.environment.AIRLOCK_RUN_ID: has no effect where Airlock sets a variable of this name itself
    c.yaml:16:11: tasks.a.run.command: no shell runs for a guest: `|` `>` `$(` is passed on as text
    c.yaml:17:13: tasks.a.hooks.deploy: has no effect: a task is not deployed, only `build` is run
    c.yaml:18:5: tasks.a.relationships: a guest has no sockets: it reaches these services by HTTP only; a database wants `native`
    c.yaml:19:15: tasks.a.airlock.processes: has no effect: a guest is one process and cannot start another
    c.yaml:20:50: tasks.b.airlock.artifacts: has no effect: only WASI guests leave artifacts
    ");
    assert_eq!(manifest.declared_services.iter().map(String::as_str).collect::<Vec<_>>(), ["db", "web"]);
}

#[test]
fn the_example_that_spacelift_documents_is_read() {
    let manifest = accepted(
        r#"
version: "2"

stack_defaults:
    runner_image: your/first:runner
    before_init:
        - echo "checking formatting"
        - terraform fmt -diff

stacks:
    first-stack: &shared
        before_apply:
            - hostname
        project_root: infra
        terraform_version: 0.12.4
    second-stack:
        <<: *shared
        terraform_version: 0.13.0
        environment:
            AWS_REGION: eu-west-1
            TF_VAR_access_roles: '[productionsecurity, admin]'
"#,
    );
    assert_eq!(manifest.stack_defaults.runner_image.as_deref(), Some("your/first:runner"));
    assert_eq!(manifest.stack_defaults.hooks[&HookPoint::BeforeInit].len(), 2);
    let second = &manifest.stacks[&Slug::new("second-stack").unwrap()];
    assert_eq!(second.hooks, BTreeMap::from([(HookPoint::BeforeApply, vec!["hostname".to_owned()])]));
    assert_eq!(second.project_root.as_ref().unwrap().as_str(), "infra");
    assert_eq!(second.terraform_version.as_deref(), Some("0.13.0"));
    assert_eq!(second.environment.len(), 2);
}

#[test]
fn a_trigger_may_send_settings_by_themselves_and_an_empty_list_is_set() {
    let (config, notes) = parse_runtime_config("yaml", b"after_run: []\nproject_root: ./infra/\n").unwrap();
    assert!(notes.is_empty());
    assert_eq!(config.hooks[&HookPoint::AfterRun], Vec::<String>::new());
    assert_eq!(config.project_root.unwrap().as_str(), "infra");
    let (empty, _) = parse_runtime_config("yaml", b"").unwrap();
    assert_eq!(empty, super::super::RuntimeConfig::default());
}

#[test]
fn every_hook_point_names_its_list() {
    let mut hooks = Hooks::default();
    for point in HookPoint::ALL {
        point.of(&mut hooks).push(point.word().to_owned());
    }
    for (name, list) in hooks.lists() {
        assert_eq!(list, &[name]);
    }
}

// ── Files ───────────────────────────────────────────────────────────────────────────────────
fn from(files: &[(&str, &str)]) -> Result<Option<Manifest>, String> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    load(|path| files.get(path).map(|text| text.as_bytes().to_vec())).map_err(|error| error.to_string())
}

#[test]
fn a_source_without_a_file_has_no_configuration() {
    assert_eq!(from(&[(".upsun/config.yml", "x"), ("config.yaml", "x")]), Ok(None));
    assert_eq!(from(&[(FILES[0], "")]), Ok(Some(Manifest::default())));
}

#[test]
fn the_own_file_goes_before_the_others_and_may_not_stand_twice() {
    let ours = "tasks: {a: {type: native, run: {command: x}}}";
    let theirs = "tasks: {b: {type: native, run: {command: x}}}";
    let manifest = from(&[(FILES[1], ours), (FALLBACKS[1], theirs)]).unwrap().unwrap();
    assert_eq!(manifest.tasks.keys().map(TaskName::as_str).collect::<Vec<_>>(), ["a"]);
    insta::assert_snapshot!(from(&[(FILES[0], ours), (FILES[1], ours)]).unwrap_err(), @".airlock/config.yml:1:1: .airlock/config.yaml exists, too: a source has one configuration file (remove one of the two)");
}

#[test]
fn the_two_others_are_read_together_unless_they_contradict() {
    let stacks = "stack_defaults: {after_run: [x]}\nstacks: {shop: {}}\n";
    let tasks = "tasks: {b: {type: native, run: {command: x}}}\n";
    let manifest = from(&[(FALLBACKS[0], stacks), (FALLBACKS[1], tasks)]).unwrap().unwrap();
    assert_eq!((manifest.stacks.len(), manifest.tasks.len()), (1, 1));
    let both = format!("{stacks}{tasks}");
    insta::assert_snapshot!(from(&[(FALLBACKS[0], &both), (FALLBACKS[1], &both)]).unwrap_err(), @r"
    .upsun/config.yaml:1:1: stack_defaults: `stack_defaults` were given before: another file of this source has them, too
    .upsun/config.yaml:2:10: stacks.shop: the stack `shop` was configured before: another file of this source does it, too
    .upsun/config.yaml:3:9: tasks.b: the task `b` was declared before: another file of this source declares it, too
    ");
}

// ── Words ───────────────────────────────────────────────────────────────────────────────────
#[test]
fn a_command_is_split_as_a_shell_splits_words() {
    for (text, words) in [
        ("", &[][..]),
        ("  a \t b\n", &["a", "b"]),
        ("'a b' \"c d\"", &["a b", "c d"]),
        ("a'b'\"c\"", &["abc"]),
        ("'' \"\"", &["", ""]),
        (r"a\ b \' \\", &["a b", "'", r"\"]),
        (r#""a\"b\\c\$d\`e\nf""#, &["a\"b\\c$d`e\\nf"]),
        (r"'a\b'", &[r"a\b"]),
        ("a\\\nb \"c\\\nd\"", &["ab", "cd"]),
        ("# a", &["#", "a"]),
        ("naïve 'é'", &["naïve", "é"]),
    ] {
        let split = split_command(text).unwrap();
        assert_eq!(split.words, words, "{text:?}");
        assert!(split.shell_like.is_empty(), "{text:?}");
    }
}

#[test]
fn what_a_shell_would_have_expanded_is_told() {
    let split = split_command(r#"a|b > "$(c)" '$(d)' $HOME & `e` \| "f;" $ "$5""#).unwrap();
    assert_eq!(split.words[0], "a|b");
    assert_eq!(split.shell_like, ["|", ">", "$(", "$NAME", "&", "`"]);
    assert!(split_command(&"a ".repeat(1_001)).is_err());
}
