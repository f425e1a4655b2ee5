//! What waits for a person is sealed, and opens only as itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use airlock::{
    domain::{Kind, State},
    queries::Run,
};
use serde_json::json;

use super::rig::{Rig, assert_nothing_held, files_below, files_with};

const MARKER: &str = "marker-7f3a-only-in-the-workspace";

fn custom() -> serde_json::Value {
    json!({
        "name": "Shop",
        "vendor": {
            "kind": "custom",
            "plan": "i=0; while [ $i -lt 2000 ]; do echo 'marker-7f3a''-only-in-the-workspace'-$i; i=$((i+1)); done > made-by-plan; exit 2",
            "apply": "test $(grep -c marker made-by-plan) = 2000"
        }
    })
}

/// The files that a sealed run waits with.
fn sealed(rig: &Rig, run: &Run) -> (PathBuf, PathBuf) {
    let path = |ending| rig.data().join("sealed").join(format!("{}.{ending}", run.id));
    (path("sealed"), path("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_waiting_workspace_is_in_clear_and_nothing_of_a_discarded_one_is_left() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[("source", "not compressible enough to hide")]).await;
    let run = rig.unconfirmed(&stack).await;
    rig.until_tidy().await;
    assert_eq!(files_with(&rig.data(), MARKER), Vec::<PathBuf>::new());
    let (file, key) = sealed(&rig, &run);
    assert!(file.exists() && key.exists());
    rig.discard(&run).await;
    rig.until_tidy().await;
    assert!(!file.exists() && !key.exists());
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}

/// Damages what an unconfirmed run waits with, confirms it, and gives the reason of its failure.
async fn confirmed_after(damage: impl FnOnce(&Rig, &Run)) -> String {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[]).await;
    let run = rig.unconfirmed(&stack).await;
    damage(&rig, &run);
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Failed).await;
    let next = rig.unconfirmed(&stack).await;
    rig.discard(&next).await;
    rig.until_tidy().await;
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
    run.reason.unwrap()
}

fn flip_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_refused_with_a_reason() {
    let reason = confirmed_after(|rig, run| flip_middle(&sealed(rig, run).0)).await;
    assert!(reason.starts_with("preparing_apply: ") && reason.contains("damaged"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_short_is_refused_with_a_reason() {
    let reason = confirmed_after(|rig, run| {
        let (file, _) = sealed(rig, run);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    })
    .await;
    assert!(reason.starts_with("preparing_apply: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_file_is_refused_with_a_reason() {
    let reason = confirmed_after(|rig, run| fs::remove_file(sealed(rig, run).1).unwrap()).await;
    assert!(reason.starts_with("preparing_apply: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sealed_workspace_of_another_run_is_refused() {
    let rig = Rig::new().await;
    let mut other = custom();
    other["name"] = json!("Other");
    let (one, two) = (rig.stack(custom(), &[]).await, rig.stack(other, &[]).await);
    let (one, two) = tokio::join!(rig.unconfirmed(&one), rig.unconfirmed(&two));
    for (from, to) in [(sealed(&rig, &one).0, sealed(&rig, &two).0), (sealed(&rig, &one).1, sealed(&rig, &two).1)] {
        fs::copy(from, to).unwrap();
    }
    rig.confirm(&two).await;
    let two = rig.until_state(&two, State::Failed).await;
    assert!(two.reason.unwrap().starts_with("preparing_apply: "));
    rig.confirm(&one).await;
    rig.until_state(&one, State::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_run_cannot_be_opened_even_with_copies_of_everything_but_its_erase_secret() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[]).await;
    let run = rig.unconfirmed(&stack).await;
    let (file, key) = sealed(&rig, &run);
    let bytes = fs::read(&file).unwrap();
    // An open descriptor sees what an undelete of the file would find.
    let kept = fs::File::open(&key).unwrap();
    let data = rig.data();
    let dir = rig.stop().await;
    let database = fs::read(data.join("airlock.redb")).unwrap();

    let rig = Rig::on(dir, |_| {}).await;
    rig.discard(&run).await;
    rig.until_tidy().await;
    let dir = rig.stop().await;
    let mut erased = Vec::new();
    std::io::Read::read_to_end(&mut &kept, &mut erased).unwrap();
    assert!(erased.iter().all(|byte| *byte == 0) || erased.is_empty(), "the erase secret was overwritten");

    // Everything that can survive somewhere is put back: the older database, the sealed bytes, and
    // the key file as it was found.
    fs::write(data.join("airlock.redb"), database).unwrap();
    fs::write(&file, bytes).unwrap();
    fs::write(&key, &erased).unwrap();
    let rig = Rig::on(dir, |_| {}).await;
    let run = rig.run(run.id);
    assert_eq!(run.state, State::Unconfirmed);
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert!(run.reason.unwrap().starts_with("preparing_apply: "));
    rig.until_tidy().await;
    assert_eq!(files_with(&data, MARKER), Vec::<PathBuf>::new());
    assert_eq!(files_below(&data.join("sealed")), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_run_leaves_no_workspace() {
    let rig = Rig::new().await;
    let stack = rig.stack(custom(), &[]).await;
    let run = rig.trigger(&stack, Kind::Proposed).await;
    rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    assert_eq!(files_with(&rig.data(), MARKER), Vec::<PathBuf>::new());
    let data = rig.data();
    let _dir = rig.stop().await;
    assert_nothing_held(&data, 0);
}
