//! Runs stand for the commit that their branch had when they were made, however long they wait.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use airlock::{
    actions::NewStack,
    auth::{On, Permission, Permit, Who},
    domain::{Kind, Phase, Role, State},
    queries::{Run, Stack},
};
use serde_json::json;

use super::rig::{Rig, assert_nothing_held};
use crate::git::git;

fn commit(dir: &Path, text: &str) -> String {
    fs::write(dir.join("main.txt"), text).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "--quiet", "--message", text]);
    git(dir, &["rev-parse", "HEAD"])
}

struct Locked {
    rig: Rig,
    stack: Stack,
    repository: tempfile::TempDir,
    first: String,
    ann: Who,
}

/// A stack on a repository, locked by somebody: whatever others trigger has to wait.
async fn locked() -> Locked {
    let repository = tempfile::tempdir().unwrap();
    // Whoever fetches is somebody else.
    fs::set_permissions(repository.path(), fs::Permissions::from_mode(0o755)).unwrap();
    git(repository.path(), &["init", "--quiet", "--initial-branch=main"]);
    let first = commit(repository.path(), "one");
    let rig = Rig::on(Arc::new(tempfile::tempdir().unwrap()), |config| {
        config.local_sources = vec![repository.path().to_owned()];
    })
    .await;
    let source = json!({"kind": "git", "url": repository.path(), "branch": "main"});
    let settings = json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "cat main.txt"}, "source": source});
    let new = NewStack { slug: None, settings: serde_json::from_value(settings).unwrap() };
    let permit = Permit::of_system(Permission::CreateStack, On::Installation);
    let stack = rig.app.actions.create_stack(&permit, new, None).await.unwrap();
    let ann = rig.person("ann", &stack, Role::Writer).await;
    rig.app.actions.lock_stack(&rig.permit_of(&ann, Permission::Lock, &stack), stack.id, None).await.unwrap();
    Locked { rig, stack, repository, first, ann }
}

impl Locked {
    async fn unlock(&self) {
        let permit = self.rig.permit_of(&self.ann, Permission::Lock, &self.stack);
        self.rig.app.actions.unlock_stack(&permit, self.stack.id).await.unwrap();
    }

    async fn planned(&self, run: &Run) -> String {
        let run = self.rig.until_state(run, State::Finished).await;
        self.rig.log(&run, Phase::Planning)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_keeps_the_commit_that_it_was_made_for() {
    let it = locked().await;
    let run = it.rig.trigger(&it.stack, Kind::Tracked).await;
    let pinned = it.rig.until(&run, |run| run.source.commit().is_some()).await;
    assert_eq!((pinned.state, pinned.source.commit().unwrap().as_str()), (State::Queued, it.first.as_str()));
    let second = commit(it.repository.path(), "two");
    let later = it.rig.trigger(&it.stack, Kind::Tracked).await;
    let later = it.rig.until(&later, |run| run.source.commit().is_some()).await;
    assert_eq!(later.source.commit().unwrap().as_str(), second);
    commit(it.repository.path(), "three");

    it.unlock().await;
    assert!(it.planned(&run).await.contains("one"));
    assert!(it.planned(&later).await.contains("two"));
    it.rig.until_tidy().await;
    let dir = it.rig.stop().await;
    assert_nothing_held(&dir.path().join("data"), 0);
    let left: Vec<_> = fs::read_dir(dir.path().join("data/runs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_repository_is_away_while_it_waits_says_so_and_is_pinned_when_it_prepares() {
    let it = locked().await;
    let away = it.repository.path().join("away");
    fs::rename(it.repository.path().join(".git"), &away).unwrap();
    let run = it.rig.trigger(&it.stack, Kind::Tracked).await;
    let waits = it.rig.until(&run, |run| run.remarks > 0).await;
    assert_eq!((waits.state, waits.source.commit()), (State::Queued, None));
    let detail = it.rig.app.queries.detail_of(waits).unwrap();
    let remark = &detail.remarks[0];
    assert!(remark.text.contains("cannot be looked up yet"), "{remark:?}");
    assert!(remark.note.as_ref().is_some_and(|why| why.contains("no repository")), "{remark:?}");

    fs::rename(&away, it.repository.path().join(".git")).unwrap();
    it.unlock().await;
    assert!(it.planned(&run).await.contains("one"));
    assert_eq!(it.rig.run(run.id).source.commit().unwrap().as_str(), it.first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_again_pins_what_waits_and_removes_what_its_predecessor_left() {
    let it = locked().await;
    let away = it.repository.path().join("away");
    fs::rename(it.repository.path().join(".git"), &away).unwrap();
    let run = it.rig.trigger(&it.stack, Kind::Tracked).await;
    it.rig.until(&run, |run| run.remarks > 0).await;
    let dir = it.rig.stop().await;
    let stray = dir.path().join("data/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::create_dir_all(stray.join("1/tree/workspace")).unwrap();
    fs::rename(&away, it.repository.path().join(".git")).unwrap();

    let repository = it.repository.path().to_owned();
    let rig = Rig::on(dir, |config| config.local_sources = vec![repository]).await;
    assert!(!stray.exists());
    let pinned = rig.until(&run, |run| run.source.commit().is_some()).await;
    assert_eq!((pinned.state, pinned.source.commit().unwrap().as_str()), (State::Queued, it.first.as_str()));
}
