//! What goes wrong around a run: disks, networks, floods, limits, damage.

use std::{fs, io::Write as _, path::Path, process::Command, sync::Arc, time::Duration};

use airlock::{
    actions::{Decision, Error, NewRun},
    app::App,
    auth::Permission,
    domain::{Kind, Phase, State, Verdict},
};
use serde_json::json;

use super::{
    gate::Gate,
    rig::{Rig, as_root, assert_nothing_held, config},
    server::until_runners_are_gone,
};

/// Set for the process that has a small disk of its own.
const SMALL_DISK: &str = "AIRLOCK_TEST_SMALL_DISK";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_things_up_and_breaks_nothing() {
    as_root("it mounts a small disk");
    let dir = tempfile::tempdir().unwrap();
    // The disk is in a mount namespace of its own, so that it goes with the process.
    let script = r#"mount -t tmpfs -o size=160m none "$1" && shift && exec "$@""#;
    let child = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "whole::faults::on_a_small_disk", "--ignored", "--nocapture"])
        .env(SMALL_DISK, dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
    assert!(child.status.success() && told.contains("went through"), "{told}");
}

/// Runs where the disk is small.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by another test"]
async fn on_a_small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else { return };
    let rig = Rig::on(Arc::new(tempfile::tempdir_in(&disk).unwrap()), |_| {}).await;
    let gate = Gate::new().await;
    let vendor = json!({"kind": "custom", "plan": "exit 2", "apply": format!("{}; seq 1 200000; echo applied", gate.command("apply"))});
    let stack = rig.stack(json!({"name": "Shop", "vendor": vendor}), &[]).await;
    let run = rig.unconfirmed(&stack).await;
    rig.confirm(&run).await;
    let knock = gate.knock().await;

    let filler = Path::new(&disk).join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let block = vec![7_u8; 64 << 10];
    while file.write_all(&block).is_ok() {}
    let new = NewRun { kind: Kind::Proposed, commit: None, message: None, runtime_config: None };
    let permit = rig.permit(Permission::Trigger, &stack);
    let refused = rig.app.actions.trigger(&permit, stack.id, new, None).await.unwrap_err();
    assert!(matches!(&refused, Error::Fault(airlock::actions::Fault::Full(_))), "{refused}");
    knock.let_on().await;
    // The runner ends; what it has to say cannot be stored yet, and nothing is made up.
    until_runners_are_gone(&rig.data()).await;
    assert_eq!(rig.run(run.id).state, State::Applying);

    drop(file);
    fs::remove_file(&filler).unwrap();
    let run = rig.until_state(&run, State::Finished).await;
    assert!(run.warnings.iter().any(|warning| warning.contains("the log is not complete")), "{:?}", run.warnings);
    let next = rig.task(&stack, "echo goes on").await;
    rig.until_state(&next, State::Finished).await;
    rig.until_tidy().await;
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
    eprintln!("went through");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_server_that_does_not_answer_can_be_stopped_and_one_that_is_not_there_is_named() {
    let rig = Rig::new().await;
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (silent_at, nobody_at) = (silent.local_addr().unwrap(), nobody.local_addr().unwrap());
    drop(nobody);
    let of = |address: std::net::SocketAddr| {
        let source = json!({"kind": "git", "url": format!("https://{address}/shop.git"), "branch": "main"});
        serde_json::from_value(json!({"name": "Shop", "vendor": {"kind": "custom"}, "source": source})).unwrap()
    };
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    let permit = rig.permit(Permission::EditStack, &stack);
    rig.app.actions.edit_stack(&permit, stack.id, of(silent_at), None).await.unwrap();
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let (held, _) = silent.accept().await.unwrap();
    rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
    rig.until_state(&run, State::Stopped).await;
    drop(held);

    rig.app.actions.edit_stack(&permit, stack.id, of(nobody_at), None).await.unwrap();
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let run = rig.until_state(&run, State::Failed).await;
    let reason = run.reason.unwrap();
    assert!(reason.starts_with("preparing: ") && reason.contains("127.0.0.1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_prints_three_hundred_megabytes_is_cut_and_still_read() {
    let rig = Rig::new().await;
    let plan = r#"yes "a line of a plan that talks too much" | head -c 300000000; printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": plan}}), &[]).await;
    let run = rig.unconfirmed(&stack).await;
    assert_eq!(run.delta.unwrap().resources.added, 1);
    assert!(run.warnings.iter().any(|warning| warning.contains("of output were dropped")), "{:?}", run.warnings);
    let log = run.phases.iter().find(|phase| phase.phase == Phase::Planning).unwrap().log_bytes;
    assert!((250 << 20..=257 << 20).contains(&log), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_waits_for_the_grace_period_and_then_kills() {
    let rig =
        Rig::on(Arc::new(tempfile::tempdir().unwrap()), |config| config.stop_grace = Duration::from_secs(1)).await;
    let gate = Gate::new().await;
    let plan = format!("trap '' TERM; {}; sleep 1000", gate.command("plan"));
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": plan}}), &[]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let knock = gate.knock().await;
    knock.let_on().await;
    rig.decide(&run, Permission::Stop, Decision::Stop { note: None }).await.unwrap();
    let run = rig.until_state(&run, State::Stopped).await;
    let log = rig.log(&run, Phase::Planning);
    assert!(log.contains("SIGTERM now, SIGKILL in 1 s") && log.contains("a stop was asked for: SIGKILL"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_wall_time_end_a_phase_and_are_its_verdict() {
    let grace = |config: &mut airlock::config::Config| config.stop_grace = Duration::from_secs(1);
    let rig = Rig::on(Arc::new(tempfile::tempdir().unwrap()), grace).await;
    for (limits, command, verdict) in [
        (json!({"silence_seconds": 1}), "sleep 1000", Verdict::Silent { seconds: 1 }),
        (json!({"wall_seconds": 1}), "while :; do echo busy; sleep 0.05; done", Verdict::TimedOut { seconds: 1 }),
    ] {
        let name = format!("stack {verdict}");
        let stack =
            rig.stack(json!({"name": name, "vendor": {"kind": "custom"}, "executor": {"limits": limits}}), &[]).await;
        let run = rig.task(&stack, command).await;
        let run = rig.until_state(&run, State::Failed).await;
        assert_eq!(run.reason, Some(format!("performing: {verdict}")));
        assert_eq!(run.verdict, Some(verdict));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_refused_with_a_sentence() {
    let rig = Rig::new().await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    let run = rig.task(&stack, "true").await;
    rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let data = rig.data();
    let dir = rig.stop().await;
    let path = data.join("airlock.redb");
    let whole = fs::read(&path).unwrap();
    let damages: [fn(&[u8]) -> Vec<u8>; 4] = [
        |_| b"not a database at all".to_vec(),
        |whole| whole[..whole.len() / 3].to_vec(),
        |whole| [&[0; 512], &whole[512..]].concat(),
        |whole| whole.iter().enumerate().map(|(at, byte)| if at > 4_096 { byte ^ 0xff } else { *byte }).collect(),
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        fs::write(&path, damage(&whole)).unwrap();
        let opened = App::open(config(dir.path(), |_| {}));
        let error = opened.err().unwrap_or_else(|| panic!("damage {n} went unnoticed")).to_string();
        assert!(error.starts_with("the store"), "damage {n}: {error}");
    }
    fs::write(&path, &whole).unwrap();
    let rig = Rig::on(dir, |_| {}).await;
    assert_eq!(rig.run(run.id).state, State::Finished);
}
