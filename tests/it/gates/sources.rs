//! Sources that run tasks look into, and requests about names in every script.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use airlock::{
    actions::{NewRun, NewStack},
    auth::{On, Permission, Permit},
    config::Config,
    crypt::Secret,
    domain::{Enforcement, Kind, Note, Phase, Stage, State},
    queries::Stack,
};
use serde_json::{Value, json};

use super::{
    rig::{attached, rig_with},
    service::{Called, KEY},
};
use crate::{
    git::git,
    whole::{
        rig::{Rig, assert_nothing_held},
        terraform::needs_terraform,
    },
};

const BRANCH: &str = "größe/日本-🚪";
const PLAN: &str = r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;

/// A repository with one commit of these files.
fn repository(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    // Whoever fetches is somebody else.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    git(dir.path(), &["init", "--quiet", &format!("--initial-branch={BRANCH}")]);
    commit(dir.path(), files);
    dir
}

fn commit(dir: &Path, files: &[(&str, &[u8])]) -> String {
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "--quiet", "--message=größer ✓"]);
    git(dir, &["rev-parse", "HEAD"])
}

/// A stack on a repository, and what may be fetched for it.
async fn stack(rig: &Rig, repository: &Path, more: Value) -> Stack {
    let source = json!({"kind": "git", "url": repository, "branch": BRANCH, "project_root": "infra/größe"});
    let mut settings =
        json!({"name": "Größe 日本 🚪 \"q\" \\", "vendor": {"kind": "custom", "plan": PLAN}, "source": source});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let permit = Permit::of_system(Permission::CreateStack, On::Installation);
    let new = NewStack { slug: Some("shop".parse().unwrap()), settings: serde_json::from_value(settings).unwrap() };
    rig.app.actions.create_stack(&permit, new, None).await.unwrap()
}

/// The source that a token opens, by path.
async fn download(call: &Called) -> BTreeMap<String, String> {
    let answer = call.gets(&call.text("configuration_version_download_url")).await;
    assert_eq!(answer.status, 302);
    let answer = call.gets(&answer.location.unwrap()).await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/gzip"));
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(answer.body.as_slice()));
    let mut found = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, mut text) = (entry.path().unwrap().display().to_string(), String::new());
        entry.read_to_string(&mut text).unwrap();
        if entry.header().entry_type().is_file() {
            found.insert(path, text);
        }
    }
    found
}

async fn serving(repository: &Path, set: impl FnOnce(&mut Config)) -> Rig {
    rig_with(|config| {
        config.local_sources = vec![repository.to_owned()];
        set(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_source_can_be_downloaded_by_whom_its_run_asks_and_holds_no_secret() {
    let repository = repository(&[("infra/größe/main.txt", b"one"), (".gitignore", b"x")]);
    let rig = serving(repository.path(), |_| {}).await;
    let stack = stack(&rig, repository.path(), json!({})).await;
    rig.mount(&stack, "infra/größe/key.pem", "hunter22-hunter22", true).await;
    let stages = [Stage::PrePlan, Stage::PostPlan, Stage::PreApply];
    let service = attached(&rig, &stack, "check", &stages, Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let expected = [(".gitignore", "x"), ("infra/größe/main.txt", "one")];
    let expected = BTreeMap::from(expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    for stage in stages {
        if stage == Stage::PreApply {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            // What comes later is no business of this run.
            commit(repository.path(), &[("infra/größe/main.txt", b"two")]);
            rig.confirm(&waits).await;
        }
        let call = service.called().await;
        assert_eq!((&call.payload["stage"], &call.payload["vcs_branch"]), (&json!(stage.word()), &json!(BRANCH)));
        assert_eq!(download(&call).await, expected, "{stage}");
        let version = call.text("configuration_version_download_url");
        assert_eq!(call.asks(reqwest::Method::GET, &version, Some("art_other"), None).await.status, 401);
        assert_eq!(call.says("passed", "").await, 200);
        assert_eq!(call.gets(&version).await.status, 401, "the token has died");
    }
    rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let dir = rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_too_large_is_planned_and_not_offered() {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = (0..9_000_000).flat_map(|_| next()).collect();
    let repository = repository(&[("infra/größe/noise", &noise)]);
    let rig = serving(repository.path(), |_| {}).await;
    let stack = stack(&rig, repository.path(), json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    assert_eq!(call.payload["configuration_version_download_url"], Value::Null);
    assert_eq!(call.payload["configuration_version_id"], Value::Null);
    assert_eq!(call.says("passed", "").await, 200);
    let waits = rig.until_state(&run, State::Unconfirmed).await;
    assert!(waits.warnings[0].contains("run tasks cannot download the source"), "{:?}", waits.warnings);
    rig.discard(&waits).await;
}

/// Runs a program with the key and the signature, the body on its standard input.
fn verified_by(program: &str, arguments: &[&str], call: &Called) {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .args([KEY, &call.signature])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs `{program}` on the PATH: {error}"));
    child.stdin.take().unwrap().write_all(call.raw.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "raw True\nagain True\n", "{program}: {}", call.raw);
}

/// As services in Python do it, with the bytes and with what they make of them.
const PYTHON: &str = r#"
import hashlib, hmac, json, sys
key, signature = sys.argv[1].encode(), sys.argv[2]
raw = sys.stdin.buffer.read()
again = json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":")).encode()
for name, body in (("raw", raw), ("again", again)):
    print(name, hmac.compare_digest(hmac.new(key, body, hashlib.sha512).hexdigest(), signature))
"#;

/// As services in JavaScript do it.
const NODE: &str = r"
const crypto = require('crypto');
const [key, signature] = process.argv.slice(1);
const raw = require('fs').readFileSync(0);
const again = JSON.stringify(JSON.parse(raw.toString('utf8')));
for (const [name, body] of [['raw', raw], ['again', again]]) {
  const found = crypto.createHmac('sha512', key).update(body).digest('hex');
  console.log(name, found === signature ? 'True' : 'False');
}
";

#[tokio::test(flavor = "multi_thread")]
async fn python_and_javascript_verify_what_they_wrote_again_in_every_script() {
    let repository = repository(&[("infra/größe/main.txt", b"one")]);
    let rig = serving(repository.path(), |_| {}).await;
    let stack = stack(&rig, repository.path(), json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let message = "größer – 日本語 العربية עברית हिन्दी 한국어 🚪👩‍👩‍👧 \"quoted\" \\ back / slash\n\ttab \u{2028}\u{85a0}\u{feff} é e\u{301} <&>";
    for message in ["plain", message] {
        let new = NewRun {
            kind: Kind::Proposed,
            commit: None,
            message: Some(Note::new(message).unwrap()),
            runtime_config: None,
        };
        let permit = rig.permit(Permission::Trigger, &stack);
        let run = rig.app.actions.trigger(&permit, stack.id, new, None).await.unwrap();
        let call = service.called().await;
        for (field, value) in [
            ("vcs_branch", BRANCH),
            ("workspace_name", stack.settings.name.as_str()),
            ("workspace_working_directory", "infra/größe"),
        ] {
            assert_eq!(call.payload[field], value, "{field}");
            assert!(value.contains('"') || call.raw.contains(value), "unescaped: {}", call.raw);
        }
        verified_by("python3", &["-c", PYTHON], &call);
        verified_by("node", &["-e", NODE], &call);
        assert!(airlock::crypt::is_signed(&Secret::new(KEY.to_owned()), call.raw.as_bytes(), &call.signature));
        assert_eq!(call.says("passed", "größer ✓ 日本 🚪").await, 200);
        rig.until_state(&run, State::Finished).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_terraform_and_a_file_of_the_source_serve_a_run_that_is_checked_first() {
    needs_terraform();
    let real = Command::new("sh").args(["-c", "command -v terraform"]).output().unwrap();
    let real = fs::canonicalize(String::from_utf8(real.stdout).unwrap().trim()).unwrap();
    let config = r#"
stacks:
  shop:
    terraform_version: "1.11-listed"
    project_root: infra
    environment: {TF_VAR_size: large, FROM_FILE: seen}
    before_init: ['echo "init: $FROM_FILE"']
    before_plan: ['export TF_VAR_name="planned $AIRLOCK_PHASE"']
    after_apply: ['echo "applied in $PWD: $FROM_FILE"']
    after_run: ['echo "over: $AIRLOCK_FINAL_RUN_STATE"']
"#;
    let main = r#"
variable "size" {}
variable "name" {}
resource "terraform_data" "a" {
  input = "${var.size} ${var.name}"
}
"#;
    let files: [(&str, &[u8]); 2] = [(".airlock/config.yaml", config.as_bytes()), ("infra/main.tf", main.as_bytes())];
    let repository = repository(&files);
    let listed = real.clone();
    let rig = serving(repository.path(), move |config| {
        config.binaries.insert("terraform-1.11-listed".to_owned(), listed);
    })
    .await;
    let more = json!({"vendor": {"kind": "terraform"}});
    let stack = stack(&rig, repository.path(), more).await;
    let service = attached(&rig, &stack, "check", &Stage::ALL, Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    for stage in Stage::ALL {
        if stage == Stage::PreApply {
            let waits = rig.until_state(&run, State::Unconfirmed).await;
            assert_eq!(waits.delta.unwrap().resources.added, 1);
            rig.confirm(&waits).await;
        }
        let call = service.called().await;
        assert_eq!(call.payload["stage"], stage.word());
        if stage == Stage::PostPlan {
            let link = call.gets(&call.text("plan_json_api_url")).await.location.unwrap();
            let plan = call.gets(&link).await.json();
            assert_eq!(
                plan["planned_values"]["root_module"]["resources"][0]["values"]["input"],
                "large planned planning"
            );
        }
        assert_eq!(call.says("passed", "").await, 200);
    }
    let ended = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Initializing).starts_with("init: seen\n"), "{}", rig.all_logs(&run));
    assert!(rig.log(&run, Phase::Applying).contains("/infra: seen\n"), "{}", rig.all_logs(&run));
    assert_eq!(rig.log(&run, Phase::Ending), "over: finished\n");
    let used =
        rig.app.queries.run_detail(&airlock::auth::Who::system(), ended.id).unwrap().runtime.unwrap().used.unwrap();
    assert_eq!(used.terraform_version.unwrap().value, "1.11-listed");
    assert_eq!(used.project_root.value, "infra");

    // One that nobody listed is named with those that are.
    let wrong = config.replace("1.11-listed", "0.9");
    commit(repository.path(), &[(".airlock/config.yaml", wrong.as_bytes())]);
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let failed = rig.until_state(&run, State::Failed).await;
    let reason = failed.reason.unwrap();
    assert!(reason.contains("there is no binary `0.9`; the operator lists terraform-1.11-listed"), "{reason}");
}
