//! No secret reaches a log, in whatever form it is printed.

use std::path::PathBuf;

use airlock::domain::{Phase, State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::rig::{Rig, files_with};

const TOKEN: &str = "s3cr3t/with+odd&chars=";
const LINES: &str = "first-line-of-the-key\nsecond-line-of-the-key\n";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_in_every_form_and_never_were_on_the_disk() {
    let rig = Rig::new().await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    rig.set(&stack, "TOKEN", TOKEN, true).await;
    rig.set(&stack, "PEM", LINES, true).await;
    rig.set(&stack, "PLAIN", "nothing to hide", false).await;
    rig.mount(&stack, "config/password", "file-secret-0815", true).await;
    let forms = r#"
        env | sort
        printf %s "$TOKEN" | base64
        printf %s "x:$TOKEN" | base64
        printf %s "$TOKEN" | od -An -tx1 | tr -d ' \n'; echo
        printf %s "$TOKEN" | sed 's,/,%2F,g; s,+,%2B,g; s,&,%26,g; s,=,%3D,g'; echo
        i=0; while [ $i -lt ${#TOKEN} ]; do printf %s "$TOKEN" | tail -c +$((i+1)) | head -c 1; i=$((i+1)); done; echo
        cat config/password; echo
        printf '%s' "$PEM" | tail -n 1
    "#;
    let run = rig.task(&stack, forms).await;
    let run = rig.until_state(&run, State::Finished).await;
    let log = rig.log(&run, Phase::Performing);
    assert!(log.contains("TOKEN=*****\n") && log.contains("PLAIN=nothing to hide\n"), "{log}");
    let encoded = STANDARD.encode(TOKEN);
    for form in [TOKEN, "first-line-of", "second-line-of", "file-secret", "s3cr3t", &encoded[..12], "%2Bodd"] {
        assert!(!log.contains(form), "{form} in:\n{log}");
        assert_eq!(files_with(&rig.data(), form), Vec::<PathBuf>::new(), "{form}");
    }
    assert!(log.matches("*****").count() >= 8, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_that_a_phase_adds_holds_in_every_later_one_and_across_the_seal() {
    let rig = Rig::new().await;
    let found = "found-while-planning";
    let settings = json!({
        "name": "Shop",
        "vendor": {
            "kind": "custom",
            "init": format!("echo ::add-mask {found}; echo FOUND={found} >> \"$AIRLOCK_ENV\"; echo init $AIRLOCK_PHASE {found}"),
            "plan": format!("echo plan $FOUND {found}; exit 2"),
            "apply": "echo apply $FOUND"
        }
    });
    let stack = rig.stack(settings, &[]).await;
    let run = rig.unconfirmed(&stack).await;
    let rig = rig.restart().await;
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Planning), "plan ***** *****\n");
    assert_eq!(rig.log(&run, Phase::Applying), "apply *****\n");
    rig.until_tidy().await;
    assert!(!rig.all_logs(&run).contains(found));
    // The stack's settings hold the word, because somebody wrote it there; no log does.
    assert_eq!(files_with(&rig.data().join("logs"), found), Vec::<PathBuf>::new());
    assert_eq!(files_with(&rig.data().join("runs"), found), Vec::<PathBuf>::new());
}
