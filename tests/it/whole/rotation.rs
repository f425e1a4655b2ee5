//! A new master key: everything opens with it, nothing with the old one.

use std::{fs, path::Path, sync::Arc};

use airlock::{
    actions::{
        ContextText, NewContext, NewCredential, NewFile, NewRunTask, NewRunTaskKind, NewVariable, NewWebhook, Rotated,
        Secret,
    },
    app::App,
    auth::{On, Permission, Permit},
    crypt::{MasterKey, begin_rotation},
    domain::{Kind, Phase, RelativePath, State, webhook::WebhookForm},
    queries::Stack,
    scheduler,
    store::record::CredentialKind,
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    gate::Gate,
    rig::{PATIENCE, Rig, config},
    terraform,
};
use crate::run_tasks::outside::Outside;

fn permit() -> Permit {
    Permit::of_system(Permission::ManageSystem, On::Installation)
}

async fn rotate(rig: &Rig) -> Rotated {
    rig.app.actions.rotate_master_key(&permit()).await.unwrap()
}

/// A stack with a secret, and a plan that shows a hash of it.
async fn stack(rig: &Rig) -> Stack {
    let plan = r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"x":"'"$SECRET"'"}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let apply = r#"test "$SECRET" = the-secret-value && test "$(cat mounted)" = the-mounted-file && echo all there"#;
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": plan, "apply": apply}});
    let stack = rig.stack(settings, &[]).await;
    rig.set(&stack, "SECRET", "the-secret-value", true).await;
    rig.mount(&stack, "mounted", "the-mounted-file", true).await;
    for n in 0..40 {
        rig.set(&stack, &format!("MORE_{n}"), "more-than-fits-one-batch", true).await;
    }
    stack
}

/// What the old key could still open: the names of files that name its id.
fn wrapped_with(data: &Path, key: &MasterKey) -> Vec<std::path::PathBuf> {
    let id = key.id();
    let holds = |path: &std::path::PathBuf| {
        fs::read(path).is_ok_and(|bytes| memchr::memmem::find(&bytes, id.as_bytes()).is_some())
    };
    super::rig::files_below(data).into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_key_is_of_no_use_and_waiting_runs_still_confirm() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = stack(&rig).await;
    let other = rig.stack(json!({"name": "Other", "vendor": {"kind": "custom"}}), &[]).await;
    let waiting = rig.unconfirmed(&stack).await;
    let working = rig
        .task(&other, &format!("echo before; {}; echo ::add-mask late-mask; echo after", gate.command("task")))
        .await;
    let knock = gate.knock().await;
    let file = rig.data().join("master.key");
    let old = MasterKey::load(&file).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!wrapped_with(&rig.data(), &old).is_empty(), "the control: the id of the key is in the store");

    let rotated = rotate(&rig).await;
    assert!(rotated.records >= 44 && !rotated.resumed, "{rotated:?}");
    assert_eq!(rotated.key, rig.app.queries.master_key_id());
    assert_ne!(rotated.key, old.id().to_string());
    assert_eq!(wrapped_with(&rig.data(), &old), Vec::<std::path::PathBuf>::new());
    assert!(!rig.data().join("master.key.previous").exists());

    // A chain that was alive meanwhile, a run that waited, and new ones.
    knock.let_on().await;
    let working = rig.until_state(&working, State::Finished).await;
    assert_eq!(rig.log(&working, Phase::Performing), "before\n::add-mask *****\nafter\n");
    let rig = rig.restart().await;
    rig.confirm(&waiting).await;
    let applied = rig.until_state(&waiting, State::Finished).await;
    assert_eq!(rig.log(&applied, Phase::Applying), "all there\n");
    rig.applied(&stack).await;

    // With the old key in place of the new one, nothing opens.
    let waiting = rig.unconfirmed(&stack).await;
    rig.until_tidy().await;
    let dir = rig.stop().await;
    fs::write(&file, text).unwrap();
    let rig = Rig::on(dir, |_| {}).await;
    rig.confirm(&waiting).await;
    let failed = rig.until_state(&waiting, State::Failed).await;
    assert!(failed.reason.unwrap().contains("which is not loaded"));
}

/// Stores a secret of every kind that belongs to no stack.
async fn keep_secrets(rig: &Rig) {
    let on = |permission| Permit::of_system(permission, On::Installation);
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    let actions = &rig.app.actions;
    let webhook = NewWebhook {
        name: "Pager".to_owned(),
        url: "http://127.0.0.1:9/".to_owned(),
        form: WebhookForm::Json,
        secret: secret("signing"),
        headers: [("authorization".to_owned(), secret("Bearer header"))].into(),
        labels: Vec::new(),
        enabled: true,
    };
    actions.create_webhook(&on(Permission::ManageWebhooks), None, webhook, None).await.unwrap();
    // A run task has to answer before it is stored.
    let outside = Outside::open().await;
    let run_task = NewRunTask {
        name: "cost".parse().unwrap(),
        description: String::new(),
        kind: NewRunTaskKind::Http { url: format!("{}/check", outside.url), hmac_key: secret("hmac") },
        enabled: true,
        trusted: true,
    };
    actions.create_run_task(&on(Permission::ManageRunTasks), run_task, None).await.unwrap();
    let credential = NewCredential {
        name: "git".parse().unwrap(),
        kind: CredentialKind::Https,
        user: "ada".to_owned(),
        known_hosts: String::new(),
        secret: secret("token"),
        stacks: Vec::new(),
    };
    actions.put_credential(&on(Permission::ManageCredentials), credential).await.unwrap();
    rig.service("db", "postgresql", 5_432, "password").await;
    let context = NewContext {
        name: "base".parse().unwrap(),
        text: ContextText::default(),
        variables: vec![NewVariable {
            name: "TOKEN".parse().unwrap(),
            value: Secret::new("variable".to_owned()),
            sensitive: true,
            description: String::new(),
        }],
        files: vec![NewFile {
            path: RelativePath::new("id").unwrap(),
            content: Secret::new(b"file".to_vec()),
            sensitive: true,
        }],
    };
    actions.create_context(&on(Permission::ManageContexts), context, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_holds_a_secret_is_sealed_anew() {
    let rig = Rig::serving(Arc::new(tempfile::tempdir().unwrap()), |_| {}).await;
    let before = rotate(&rig).await.records;
    keep_secrets(&rig).await;
    let old = MasterKey::load(&rig.data().join("master.key")).unwrap();
    // A webhook has two secrets, and is one record.
    assert_eq!(rotate(&rig).await.records, before + 6);
    assert_eq!(wrapped_with(&rig.data(), &old), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_states_are_read_after_a_rotation() {
    let rig = Rig::new().await;
    let stack = terraform::stack(&rig, &[("main.tf", "resource \"terraform_data\" \"a\" {}\n")]).await;
    rig.applied(&stack).await;
    rotate(&rig).await;
    rotate(&rig).await;
    let again = rig.trigger(&stack, Kind::Tracked).await;
    let again = rig.until_state(&again, State::Finished).await;
    assert_eq!(again.changes, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_reads_go_on_during_rotations() {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = async {
        let mut n = 0;
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            rig.set(&stack, &format!("BUSY_{}", n % 7), &format!("value-{n}"), true).await;
            n += 1;
        }
        n
    };
    let rotating = async {
        for _ in 0..5 {
            rotate(&rig).await;
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (written, ()) = tokio::join!(writing, rotating);
    assert!(written > 0);
    let old = MasterKey::load(&rig.data().join("master.key")).unwrap();
    rotate(&rig).await;
    assert_eq!(wrapped_with(&rig.data(), &old), Vec::<std::path::PathBuf>::new());
    // Every variable opens.
    let run = rig.task(&stack, r#"test "$(env | grep -c '^BUSY_.=value-')" = 7"#).await;
    rig.until_state(&run, State::Finished).await;
}

/// An installation with a stack and a waiting run, closed.
async fn closed() -> (Arc<TempDir>, airlock::queries::Run) {
    let rig = Rig::new().await;
    let stack = stack(&rig).await;
    let waiting = rig.unconfirmed(&stack).await;
    rig.until_tidy().await;
    (rig.stop().await, waiting)
}

/// Starts again, sees the rotation finished, and confirms the run that waited.
async fn goes_on(dir: Arc<TempDir>, waiting: &airlock::queries::Run, old: &MasterKey) {
    let rig = Rig::on(dir, |_| {}).await;
    assert!(!rig.data().join("master.key.previous").exists());
    assert!(!rig.data().join("airlock.fresh.redb").exists());
    assert_eq!(wrapped_with(&rig.data(), old), Vec::<std::path::PathBuf>::new());
    rig.confirm(waiting).await;
    let applied = rig.until_state(waiting, State::Finished).await;
    assert_eq!(rig.log(&applied, Phase::Applying), "all there\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_broken_off_is_finished_at_the_next_start() {
    // After the new key was written, before anything was sealed anew.
    let (dir, waiting) = closed().await;
    let file = dir.path().join("data/master.key");
    let old = MasterKey::load(&file).unwrap();
    drop(begin_rotation(&file).unwrap());
    goes_on(dir, &waiting, &old).await;

    // Half sealed anew, and a fresh file half written.
    let (dir, waiting) = closed().await;
    let file = dir.path().join("data/master.key");
    let old = MasterKey::load(&file).unwrap();
    drop(begin_rotation(&file).unwrap());
    let app = App::open(config(dir.path(), |_| {})).unwrap();
    let stack = app.actions.setup().data.clone();
    drop(app);
    fs::write(stack.join("airlock.fresh.redb"), b"half a file").unwrap();
    goes_on(dir, &waiting, &old).await;

    // Everything done but erasing the old key.
    let (dir, waiting) = closed().await;
    let file = dir.path().join("data/master.key");
    let old = MasterKey::load(&file).unwrap();
    let text = fs::read(&file).unwrap();
    let rig = Rig::on(dir, |_| {}).await;
    rotate(&rig).await;
    let previous = rig.data().join("master.key.previous");
    let dir = rig.stop().await;
    fs::write(&previous, text).unwrap();
    fs::set_permissions(&previous, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    goes_on(dir, &waiting, &old).await;
}

/// Set for the process that rotates until it is killed.
const CHILD: &str = "AIRLOCK_TEST_ROTATES";

/// Rotates again and again, in a process that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run, and killed, by another test"]
async fn rotates_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let app = App::open(config(Path::new(&dir), |_| {})).unwrap();
    scheduler::recover(&app.actions).await.unwrap();
    loop {
        eprintln!("rotates");
        app.actions.rotate_master_key(&permit()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_survives_sigkill_at_any_moment() {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
        time::Instant,
    };
    let (dir, waiting) = closed().await;
    let previous = dir.path().join("data/master.key.previous");
    let mut left_behind = 0;
    for n in 0..24_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "whole::rotation::rotates_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "rotates");
        // Each child is looked at more often than the one before: the kills fall all over a rotation.
        let (mut seen, began) = (0, Instant::now());
        while seen < 1 + 40 * n * n {
            assert!(child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "no rotation is seen");
            seen += u32::from(previous.exists());
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        left_behind += u32::from(previous.exists());
    }
    assert!(left_behind > 0, "no kill fell into a rotation");
    let rig = Rig::on(dir, |_| {}).await;
    // Nothing is left to be done.
    assert_eq!(rig.app.actions.resume_rotation().await.unwrap(), None);
    assert!(!rig.data().join("master.key.previous").exists());
    rig.confirm(&waiting).await;
    let applied = rig.until_state(&waiting, State::Finished).await;
    assert_eq!(rig.log(&applied, Phase::Applying), "all there\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_permit_to_manage_the_system_rotates_and_one_at_a_time() {
    let rig = Rig::new().await;
    let wrong = Permit::of_system(Permission::SeeSystem, On::Installation);
    assert!(rig.app.actions.rotate_master_key(&wrong).await.is_err());
    let (one, other) = {
        let permit = permit();
        tokio::join!(rig.app.actions.rotate_master_key(&permit), rig.app.actions.rotate_master_key(&permit))
    };
    assert!(one.is_ok() || other.is_ok());
    for outcome in [one, other].into_iter().filter_map(Result::err) {
        assert_eq!(outcome.to_string(), "somebody is rotating the master key already");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_salt_their_hashes_with_outlives_every_master_key() {
    let rig = Rig::new().await;
    let tasks = "tasks: {salt: {type: native, run: {command: 'echo $PLATFORM_PROJECT_ENTROPY'}}}";
    let (mut rig, mut salts) = (rig, Vec::new());
    let mut stacks = Vec::new();
    for name in ["Shop", "Other"] {
        let settings = json!({"name": name, "vendor": {"kind": "custom"}});
        stacks.push(rig.stack(settings, &[(".airlock/config.yaml", tasks)]).await);
    }
    for round in 0..3 {
        for stack in &stacks {
            let run = rig.declared(stack, "salt", &[]).await;
            let run = rig.until_state(&run, State::Finished).await;
            salts.push(rig.log(&run, Phase::Performing).trim().to_owned());
        }
        if round == 0 {
            rotate(&rig).await;
        } else {
            rig = rig.restart().await;
        }
    }
    assert!(salts.iter().all(|salt| salt.len() == 56), "{salts:?}");
    assert_ne!(salts[0], salts[1]);
    assert_eq!((&salts[..2], &salts[..2]), (&salts[2..4], &salts[4..]));
}
