//! Guests through the whole of it: imported, run as tasks, run as a stack's vendor, proposed.

use airlock::{
    actions::{Decision, NewGuest, NewGuestTask},
    auth::{On, Permission, Permit, Who},
    domain::{
        GuestName, Kind, Phase, State, Verdict,
        guest::{GuestCall, May, WorkspaceGrant},
    },
    queries::{Run, Stack},
};
use serde_json::json;

use super::rig::Rig;

/// Writes what the workspace's file `changes.json` holds as its plan, as a person would in any language.
const PLANNER: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "changes.json")
  (data (i32.const 120) "plan.json")
  (func (export "_start")
    ;; 3 is /workspace, 5 is /output
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 12) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
    (i32.store (i32.const 16) (i32.const 1000))
    (i32.store (i32.const 20) (i32.const 4000))
    (drop (call $read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24)))
    (drop (call $open (i32.const 5) (i32.const 0) (i32.const 120) (i32.const 9) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
    (i32.store (i32.const 16) (i32.const 1000))
    (i32.store (i32.const 20) (i32.load (i32.const 24)))
    (drop (call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 28)))))"#;

impl Rig {
    fn here(&self, permission: Permission) -> Permit {
        airlock::auth::permit(&Who::system(), permission, On::Installation, self.app.actions.now()).unwrap()
    }

    async fn import(&self, name: &str, code: &[u8]) -> Result<String, String> {
        let scratch = self.data().join("uploads").join(format!("incoming-{name}"));
        std::fs::write(&scratch, code).unwrap();
        let new = NewGuest { name: GuestName::new(name).unwrap(), interpreter: false };
        let imported = self.app.actions.import_guest(&self.here(Permission::ManageGuests), new, scratch, None).await;
        imported.map(|guest| guest.digest.to_string()).map_err(|error| error.to_string())
    }

    async fn perform_guest(&self, stack: &Stack, guest: &str, args: &[&str], may: May) -> Run {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let call = GuestCall { args, may, ..GuestCall::new(GuestName::new(guest).unwrap()) };
        let new = NewGuestTask { call, script: None };
        let permit = self.permit(Permission::Perform, stack);
        self.app.actions.perform_guest(&permit, stack.id, new, None).await.unwrap()
    }
}

fn writes() -> May {
    May { workspace: Some(WorkspaceGrant::Write), ..May::default() }
}

fn custom() -> serde_json::Value {
    json!({"name": "Shop", "allow_promotion": true,
           "vendor": {"kind": "custom", "plan": "cat a.txt; exit 2", "apply": "cat a.txt"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_guest_leaves_a_receipt_and_artifacts() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("a.txt", "one\ntwo # TODO\n"), ("b/c.md", "x\n")]).await;
    let run = rig.perform_guest(&stack, "surveyor", &["--title", "Shop"], May::default()).await;
    assert_eq!((run.kind, run.guest.as_deref()), (Kind::OnDemand, Some("surveyor --title Shop")));
    let run = rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let queries = &rig.app.queries;
    let left = queries.left(&run).unwrap();
    let receipt = left[0].receipt.as_ref().unwrap();
    assert_eq!((left[0].phase, &receipt.verdict), (Phase::Performing, &Verdict::Exited { code: 0 }));
    assert!(receipt.fuel_used.unwrap() > 1_000 && receipt.peak_memory_bytes.unwrap() >= 65_536, "{receipt:?}");
    let paths: Vec<_> = queries.artifacts(&run).unwrap().into_iter().map(|row| row.artifact.path).collect();
    assert_eq!(paths, ["report.html", "report.json"]);
    let (_, file) = queries.artifact(&Who::system(), run.id, "report.json").unwrap();
    let report: serde_json::Value = serde_json::from_reader(file).unwrap();
    assert_eq!((&report["files"], &report["marks"][0]["path"]), (&json!(2), &json!("a.txt")));
    assert_eq!(queries.patch(&run).unwrap().map(|_| ()), None, "it may only read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_guest_and_input_take_the_same_fuel_ten_times_and_after_a_restart() {
    let mut rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("a.txt", "one\n")]).await;
    let mut fuel = Vec::new();
    for n in 0..11 {
        if n == 10 {
            rig = rig.restart().await;
        }
        let run = rig.perform_guest(&stack, "surveyor", &[], May::default()).await;
        let run = rig.until_state(&run, State::Finished).await;
        fuel.push(rig.app.queries.left(&run).unwrap()[0].receipt.as_ref().unwrap().fuel_used);
    }
    assert!(fuel[0] > Some(1_000) && fuel.iter().all(|one| *one == fuel[0]), "{fuel:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_becomes_a_proposed_run_and_that_a_deployment() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("a.txt", "one\ntwo\n"), ("gone", "x\n")]).await;
    let args = ["replace", "a.txt", "two", "zwei", "write", "new/b.txt", "fresh\n", "delete", "gone"];
    let agent = rig.perform_guest(&stack, "patcher", &args, writes()).await;
    let agent = rig.until_state(&agent, State::Finished).await;
    let (left, text) = rig.app.queries.patch(&agent).unwrap().unwrap();
    let summary = left.patch.unwrap();
    assert_eq!((summary.added, summary.changed, summary.deleted), (1, 1, 1));
    assert!(text.contains("-two\n+zwei\n"), "{text}");

    // Later uploads change nothing about what was proposed.
    rig.upload(&stack, &[("a.txt", "other\n")]).await;
    let permit = rig.permit(Permission::Trigger, &stack);
    let proposed = rig.app.actions.propose(&permit, agent.id, None, None).await.unwrap();
    assert_eq!((proposed.kind, proposed.patched.as_ref().unwrap().run), (Kind::Proposed, agent.id));
    let proposed = rig.until_state(&proposed, State::Finished).await;
    assert!(rig.log(&proposed, Phase::Planning).contains("one\nzwei\n"));

    let permit = rig.permit(Permission::Promote, &stack);
    let tracked = rig.app.actions.promote(&permit, proposed.id, None).await.unwrap();
    let tracked = rig.until_state(&tracked, State::Unconfirmed).await;
    rig.confirm(&tracked).await;
    let tracked = rig.until_state(&tracked, State::Finished).await;
    assert!(rig.log(&tracked, Phase::Applying).contains("one\nzwei\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_holds_a_secret_is_masked_and_not_proposed() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("a.txt", "password = hunter22\n")]).await;
    rig.set(&stack, "PASSWORD", "hunter22", true).await;
    let agent = rig.perform_guest(&stack, "patcher", &["append", "a.txt", "more"], writes()).await;
    let agent = rig.until_state(&agent, State::Finished).await;
    let (_, text) = rig.app.queries.patch(&agent).unwrap().unwrap();
    assert!(!text.contains("hunter22") && text.contains("*****"), "{text}");
    let permit = rig.permit(Permission::Trigger, &stack);
    let refused = rig.app.actions.propose(&permit, agent.id, None, None).await.unwrap_err().to_string();
    assert!(refused.contains("holds secrets"), "{refused}");
}

/// A guest that makes links in its workspace, in place of what is there; one without a target goes.
fn linker(links: &[(&str, Option<&str>)]) -> Vec<u8> {
    let (mut data, mut body) = (String::new(), String::new());
    for (at, (path, target)) in (1_024..).step_by(512).zip(links) {
        let (to, len) = (at + 256, path.len());
        data += &format!("(data (i32.const {at}) \"{path}\")");
        body += &format!("(drop (call $unlink (i32.const 3) (i32.const {at}) (i32.const {len})))");
        if let Some(target) = target {
            data += &format!("(data (i32.const {to}) \"{target}\")");
            body += &format!(
                "(if (call $symlink (i32.const {to}) (i32.const {}) (i32.const 3) (i32.const {at}) (i32.const {len}))
                   (then (unreachable)))",
                target.len()
            );
        }
    }
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) {data}
  (func (export "_start") {body}))"#
    );
    wat::parse_str(text).unwrap()
}

/// A source with links, as `tar` makes one.
fn with_links(links: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, text) in [("a.txt", "one\n"), ("b/c.txt", "two\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_a_guest_makes_changes_and_deletes_are_in_the_proposed_workspace() {
    let rig = Rig::new().await;
    let plan = "cat moved file; readlink made b/moved file; test -h gone || echo gone; exit 2";
    let vendor = json!({"kind": "custom", "plan": plan, "apply": "cat moved; readlink made"});
    let stack = rig.stack(json!({"name": "Shop", "allow_promotion": true, "vendor": vendor}), &[]).await;
    let source = with_links(&[("moved", "a.txt"), ("b/moved", "../a.txt"), ("gone", "a.txt"), ("file", "a.txt")]);
    rig.upload_archive(&stack, &source).await;
    let edits = [("made", Some("b/c.txt")), ("moved", Some("b/c.txt")), ("b/moved", Some("c.txt")), ("gone", None)];
    rig.import("linker", &linker(&edits)).await.unwrap();
    let agent = rig.perform_guest(&stack, "linker", &[], writes()).await;
    let agent = rig.until_state(&agent, State::Finished).await;
    let (left, text) = rig.app.queries.patch(&agent).unwrap().unwrap();
    let summary = left.patch.unwrap();
    assert_eq!((summary.added, summary.changed, summary.deleted, summary.leading_out), (1, 2, 1, 0), "{text}");

    let permit = rig.permit(Permission::Trigger, &stack);
    let proposed = rig.app.actions.propose(&permit, agent.id, None, None).await.unwrap();
    let proposed = rig.until_state(&proposed, State::Finished).await;
    let said = rig.log(&proposed, Phase::Planning);
    assert!(said.starts_with("two\none\nb/c.txt\nc.txt\na.txt\n") && said.contains("\ngone\n"), "{said}");

    // Sealed, confirmed and opened again, they are what they were.
    let permit = rig.permit(Permission::Promote, &stack);
    let tracked = rig.app.actions.promote(&permit, proposed.id, None).await.unwrap();
    let tracked = rig.until_state(&tracked, State::Unconfirmed).await;
    rig.confirm(&tracked).await;
    let tracked = rig.until_state(&tracked, State::Finished).await;
    assert!(rig.log(&tracked, Phase::Applying).contains("two\nb/c.txt\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_out_of_the_workspace_is_not_proposed() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("a.txt", "one\n"), ("b/c.txt", "two\n")]).await;
    rig.import("linker", &linker(&[("b/out", Some("../../run")), ("in", Some("b/c.txt"))])).await.unwrap();
    let agent = rig.perform_guest(&stack, "linker", &[], writes()).await;
    let agent = rig.until_state(&agent, State::Finished).await;
    assert_eq!(agent.warnings, ["the link `b/out` leads out of the workspace, to `../../run`"]);
    let permit = rig.permit(Permission::Trigger, &stack);
    let refused = rig.app.actions.propose(&permit, agent.id, None, None).await.unwrap_err().to_string();
    assert!(refused.contains("1 lead out of the workspace"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wasi_stack_is_planned_sealed_confirmed_and_applied_by_guests() {
    let rig = Rig::new().await;
    rig.import("planner", &wat::parse_str(PLANNER).unwrap()).await.unwrap();
    let vendor = json!({"kind": "wasi", "plan": {"guest": "planner", "fuel": 1_000_000_000, "memory": "64MiB"},
                        "apply": {"guest": "patcher", "args": ["append", "a.txt", "applied"]}});
    let changes =
        r#"[{"address": "file.a", "type": "file", "action": "update", "before": {"lines": 1}, "after": {"lines": 2}}]"#;
    let stack =
        rig.stack(json!({"name": "Agents", "vendor": vendor}), &[("a.txt", "one\n"), ("changes.json", changes)]).await;
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(run.delta.unwrap().resources.changed, 1);
    // Whatever is imported under that name meanwhile, the run goes on with what it began with.
    let digest = rig.app.queries.guests_of(&run).unwrap().pinned.into_iter().find(|pinned| !pinned.bundled).unwrap();
    rig.import(
        "planner",
        &wat::parse_str(r#"(module (func (export "_start")) (memory (export "memory") 1))"#).unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(
        rig.app.queries.guests_of(&run).unwrap().pinned.into_iter().find(|pinned| !pinned.bundled),
        Some(digest)
    );
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    let phases: Vec<_> = rig.app.queries.left(&run).unwrap().into_iter().map(|left| left.phase).collect();
    assert_eq!(phases, [Phase::Planning, Phase::Applying]);

    // The guest that is registered now writes no plan: nothing to do, nobody is asked.
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(run.reason.as_deref(), Some("nothing to change"));
}

/// Prints its environment.
const TELLER: &str = r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 64) (i32.const 4096)))
    (i32.store (i32.const 8) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_a_wasi_stack_gets_a_variable_that_only_the_source_sets() {
    let rig = Rig::new().await;
    rig.import("teller", &wat::parse_str(TELLER).unwrap()).await.unwrap();
    let vendor = |name: &str| json!({"kind": "wasi", "plan": {"guest": "teller", "env": [name]}});
    let file = "stacks:\n  agents:\n    environment: {FROM_FILE: seen, OTHER: unseen}\n";
    let files = [(".airlock/config.yaml", file), ("a", "")];
    let stack = rig.stack(json!({"name": "Agents", "vendor": vendor("FROM_FILE")}), &files).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Finished).await;
    let log = rig.log(&run, Phase::Planning);
    assert!(log.contains("FROM_FILE=seen") && !log.contains("OTHER"), "{log:?}");

    let mut settings = stack.settings.clone();
    settings.vendor = serde_json::from_value(vendor("NOWHERE")).unwrap();
    let permit = rig.permit(Permission::EditStack, &stack);
    rig.app.actions.edit_stack(&permit, stack.id, settings, None).await.unwrap();
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Failed).await;
    let reason = run.reason.unwrap();
    assert!(reason.contains("the variable NOWHERE, which the guest is to get, does not exist"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_guest_is_refused_with_the_reason_and_leaves_nothing() {
    let rig = Rig::new().await;
    let valid_but_broken =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start") (drop (i32.const 1))))"#)
            .unwrap();
    // A body that reads well and does not type: only the compiler can tell.
    let mut broken = valid_but_broken.clone();
    let constant = broken.windows(2).rposition(|pair| pair == [0x41, 0x01]).unwrap();
    broken[constant] = 0x1a;
    for (code, why) in [
        (b"(module)".to_vec(), "WebAssembly text"),
        (b"\x7fELF....".to_vec(), "precompiled"),
        (b"hello".to_vec(), "not WebAssembly"),
        (wat::parse_str("(module)").unwrap(), "no function `_start`"),
        (broken, "cannot be"),
    ] {
        let refused = rig.import("x", &code).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let refused = rig.import("guard", &valid_but_broken).await.unwrap_err();
    assert!(refused.contains("comes with Airlock"), "{refused}");
    assert_eq!(std::fs::read_dir(rig.data().join("guests")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(rig.data().join("runs")).unwrap().count(), 0);
    assert_eq!(rig.app.queries.guests(&Who::system()).unwrap().len(), 3, "only those that come along");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_a_stack_names_stays_and_one_that_nobody_names_goes_with_its_file() {
    let rig = Rig::new().await;
    let code = wat::parse_str(r#"(module (func (export "_start")) (memory (export "memory") 1))"#).unwrap();
    rig.import("idle", &code).await.unwrap();
    let vendor = json!({"kind": "wasi", "plan": {"guest": "idle"}});
    let stack = rig.stack(json!({"name": "Agents", "vendor": vendor}), &[("a", "")]).await;
    let permit = rig.here(Permission::ManageGuests);
    let remove = || rig.app.actions.remove_guest(&permit, GuestName::new("idle").unwrap());
    assert_eq!(remove().await.unwrap_err().to_string(), "still used by agents");
    let run = rig.trigger(&stack, Kind::Tracked).await;
    rig.until_state(&run, State::Finished).await;
    let delete = rig.permit(Permission::DeleteStack, &stack);
    rig.app.actions.delete_stack(&delete, stack.id, "agents").await.unwrap();
    remove().await.unwrap();
    assert_eq!(std::fs::read_dir(rig.data().join("guests")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_was_planned_not_to_apply_does_not() {
    let rig = Rig::new().await;
    rig.import("planner", &wat::parse_str(PLANNER).unwrap()).await.unwrap();
    let vendor = json!({"kind": "wasi", "plan": {"guest": "planner"},
                        "apply": {"guest": "patcher", "args": ["append", "a.txt", "applied"]}});
    let changes = r#"[{"address": "file.a", "type": "file", "action": "update", "before": 1, "after": 2}]"#;
    let stack =
        rig.stack(json!({"name": "Agents", "vendor": vendor}), &[("a.txt", "one\n"), ("changes.json", changes)]).await;
    rig.set(&stack, "AIRLOCK_SKIP_APPLYING", "true", false).await;
    let run = rig.unconfirmed(&stack).await;
    rig.set(&stack, "AIRLOCK_SKIP_APPLYING", "false", false).await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(run.reason.as_ref().is_some_and(|reason| reason.starts_with("applying was skipped")));
    let phases: Vec<_> = rig.app.queries.left(&run).unwrap().into_iter().map(|left| left.phase).collect();
    assert_eq!(phases, [Phase::Planning]);
}

/// [`PLANNER`], which prints its environment when it is done.
fn telling_planner() -> Vec<u8> {
    let imports = r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (memory"#;
    let tells = r"(i32.const 28)))
    (drop (call $sizes (i32.const 40) (i32.const 52)))
    (drop (call $get (i32.const 8192) (i32.const 12288)))
    (i32.store (i32.const 48) (i32.const 12288))
    (drop (call $write (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 56)))))";
    let planner = PLANNER.replacen("(memory", imports, 1).replacen("(i32.const 28)))))", tells, 1);
    wat::parse_str(planner).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_plans_again_is_told_for_what() {
    let rig = Rig::new().await;
    rig.import("planner", &telling_planner()).await.unwrap();
    let vendor = json!({"kind": "wasi", "plan": {"guest": "planner"}});
    let changes = r#"[{"address": "file.a", "type": "file", "action": "update", "before": 1, "after": 2}]"#;
    let stack = rig.stack(json!({"name": "Agents", "vendor": vendor}), &[("changes.json", changes)]).await;
    let run = rig.unconfirmed(&stack).await;
    let log = rig.log(&run, Phase::Planning);
    assert!(log.contains("AIRLOCK_PHASE=planning") && !log.contains("AIRLOCK_TARGETS"), "{log:?}");
    let replan = Decision::Replan { targets: vec!["file.a".to_owned()] };
    rig.decide(&run, Permission::Replan, replan).await.unwrap();
    let run = rig.until(&run, |run| run.state == State::Unconfirmed && run.round == 2).await;
    let log = rig.log(&run, Phase::Planning);
    assert!(log.contains("AIRLOCK_TARGETS=file.a"), "{log:?}");
    rig.discard(&run).await;
    rig.until_tidy().await;
}
