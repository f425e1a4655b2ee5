//! Chains from their first phase to what becomes of the workspace.

use airlock::{
    domain::{Kind, Phase, RelativePath, Verdict},
    protocol::{AtEnd, Command, Fetch, GitFetch, Open, Prepare, Record, Seal, Step, WorkspaceLeft, file},
};

use super::trial::{Trial, apply_step, init, open_step, perform, plan_step, shell};

const PLAN: &str = r#"echo '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"size":3}}]' > "$AIRLOCK_PLAN_FILE"; echo planned > marker; exit 2"#;

#[test]
fn a_task_runs_its_command_in_a_fresh_workspace_and_leaves_none() {
    let outcome = Trial::task("pwd; ls -A; echo done").run();
    assert_eq!(outcome.phases(), [Phase::Preparing, Phase::Performing]);
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::SUCCESS);
    let log = outcome.log(Phase::Performing);
    assert_eq!(log, "/workspace\nREADME\ndone\n");
    assert_eq!(outcome.phase(Phase::Performing).produced.log_bytes, log.len() as u64);
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
    assert!(!outcome.dir.join(file::TREE).exists());
    assert!(matches!(outcome.records[0], Record::Started { .. }));
}

#[test]
fn a_task_s_exit_code_is_its_verdict() {
    let outcome = Trial::task("echo 'Error: no such bucket' >&2; exit 3").run();
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::Exited { code: 3 });
    let line = outcome.phase(Phase::Performing).produced.error_line.clone().unwrap();
    assert!(line.contains("no such bucket"), "{line}");
}

#[test]
fn what_was_planned_is_sealed_opened_and_applied() {
    let mut trial = Trial::planning(PLAN, "cat main.txt marker; ls -l \"$AIRLOCK_WORKSPACE\"");
    let planned = trial.run();
    assert!(matches!(planned.end(), (WorkspaceLeft::Sealed { .. }, false)), "{planned:?}");
    assert!(!planned.dir.join(file::TREE).exists(), "nothing in clear is left");
    assert!(trial.sealed_file().exists());
    let plan = planned.phase(Phase::Planning).produced.plan.clone().unwrap();
    assert!(plan.changes);
    assert_eq!(plan.delta.resources.added, 1);
    let changes = planned.result(Phase::Planning).changes.unwrap();
    assert_eq!(changes.resources[0].address, "a.b");

    trial.steps = vec![open_step(plan.digest), apply_step()];
    trial.at_end = AtEnd::Remove;
    let applied = trial.run();
    assert_eq!(applied.phases(), [Phase::PreparingApply, Phase::Applying]);
    assert_eq!(applied.phase(Phase::Applying).number, 5);
    assert!(applied.log(Phase::Applying).contains("sourceplanned"), "{}", applied.log(Phase::Applying));
    assert_eq!(applied.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn another_plan_than_the_confirmed_one_is_not_applied() {
    let mut trial = Trial::planning(PLAN, "echo applied");
    trial.run();
    trial.steps = vec![open_step(super::trial::sha256(b"something else")), apply_step()];
    trial.at_end = AtEnd::Remove;
    let refused = trial.run();
    assert_eq!(refused.phases(), [Phase::PreparingApply]);
    assert!(matches!(refused.verdict(Phase::PreparingApply), Verdict::Refused { .. }));
    assert_eq!(refused.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_sealed_workspace_that_was_touched_is_not_opened() {
    let mut trial = Trial::planning(PLAN, "echo applied");
    let plan = trial.run().phase(Phase::Planning).produced.plan.clone().unwrap();
    let mut sealed = std::fs::read(trial.sealed_file()).unwrap();
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    std::fs::write(trial.sealed_file(), sealed).unwrap();
    trial.steps = vec![open_step(plan.digest), apply_step()];
    trial.at_end = AtEnd::Remove;
    let mut trial = trial.with_ending("echo final=$AIRLOCK_FINAL_RUN_STATE");
    let refused = trial.run();
    assert_eq!(refused.phases(), [Phase::PreparingApply, Phase::Ending]);
    assert!(refused.log(Phase::Ending).contains("final=failed"));
    assert_eq!(refused.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_plan_with_changes_is_applied_in_the_same_workspace_when_nobody_has_to_be_asked() {
    let mut trial = Trial::planning(PLAN, "cat marker");
    trial.steps.push(apply_step());
    let outcome = trial.run();
    assert_eq!(outcome.phases(), [Phase::Preparing, Phase::Initializing, Phase::Planning, Phase::Applying]);
    assert_eq!(outcome.log(Phase::Applying), "planned\n");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_plan_without_changes_is_never_applied() {
    let mut trial = Trial::planning("exit 0", "echo applied");
    trial.steps.push(apply_step());
    let outcome = trial.run();
    assert_eq!(outcome.phases(), [Phase::Preparing, Phase::Initializing, Phase::Planning]);
    assert!(!outcome.phase(Phase::Planning).produced.plan.clone().unwrap().changes);
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn nothing_follows_a_failed_phase() {
    let mut trial =
        Trial::planning("echo broken; exit 1", "echo applied").with_ending("echo final=$AIRLOCK_FINAL_RUN_STATE");
    let outcome = trial.run();
    assert_eq!(outcome.phases(), [Phase::Preparing, Phase::Initializing, Phase::Planning, Phase::Ending]);
    assert_eq!(*outcome.verdict(Phase::Planning), Verdict::Exited { code: 1 });
    assert!(outcome.log(Phase::Ending).contains("final=failed"), "{}", outcome.log(Phase::Ending));
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn hooks_at_the_end_see_the_final_state_and_change_nothing() {
    let mut trial = Trial::task("echo x > left").with_ending("cat left; echo final=$AIRLOCK_FINAL_RUN_STATE; exit 7");
    let outcome = trial.run();
    assert_eq!(outcome.log(Phase::Ending).lines().take(2).collect::<Vec<_>>(), ["x", "final=finished"]);
    assert!(!outcome.verdict(Phase::Ending).is_success());
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn hooks_at_the_end_wait_for_the_chain_that_ends_the_run() {
    let mut trial = Trial::planning(PLAN, "true").with_ending("echo never");
    assert_eq!(trial.run().phases(), [Phase::Preparing, Phase::Initializing, Phase::Planning]);
}

#[test]
fn variables_are_carried_to_later_phases_and_across_the_seal() {
    let mut trial = Trial::planning("echo got=$COLOR; exit 2", "echo got=$COLOR shape=$SHAPE");
    let Step::Shell(initializing) = &mut trial.steps[1] else { panic!() };
    initializing.before = vec!["echo COLOR=green >> $AIRLOCK_ENV".to_owned()];
    let Step::Shell(planning) = &mut trial.steps[2] else { panic!() };
    planning.before = vec!["echo SHAPE=round >> $AIRLOCK_ENV".to_owned()];
    let planned = trial.run();
    assert!(planned.log(Phase::Planning).contains("got=green"));
    let digest = planned.phase(Phase::Planning).produced.plan.clone().unwrap().digest;
    trial.steps = vec![open_step(digest), apply_step()];
    trial.at_end = AtEnd::Remove;
    assert!(trial.run().log(Phase::Applying).contains("got=green shape=round"));
}

#[test]
fn a_kept_workspace_is_gone_on_with_and_can_be_sealed_on_its_own() {
    let mut trial = Trial::planning(PLAN, "cat marker");
    trial.at_end = AtEnd::Keep;
    let kept = trial.run();
    assert_eq!(kept.end(), (WorkspaceLeft::Kept, false));
    let digest = kept.phase(Phase::Planning).produced.plan.clone().unwrap().digest;

    let lock = trial.next_dir();
    std::fs::rename(kept.dir.join(file::TREE), trial.jail.dir.join(file::TREE)).unwrap();
    trial.steps = vec![Step::Seal(Seal { plan_digest: Some(digest.clone()) })];
    trial.at_end = AtEnd::Seal;
    let sealed = trial.start_in(lock).wait();
    assert_eq!(sealed.phases(), [Phase::Sealing]);
    assert!(matches!(sealed.end(), (WorkspaceLeft::Sealed { .. }, false)));
    assert!(!sealed.dir.join(file::TREE).exists());

    trial.steps = vec![open_step(digest), apply_step()];
    trial.at_end = AtEnd::Remove;
    assert_eq!(trial.run().log(Phase::Applying), "planned\n");
}

#[test]
fn a_workspace_that_cannot_be_sealed_fails_the_run_and_is_removed() {
    let mut trial = Trial::planning(PLAN, "true").with_ending("echo final=$AIRLOCK_FINAL_RUN_STATE");
    std::fs::remove_dir(trial.root.path().join("sealed")).unwrap();
    let outcome = trial.run();
    assert_eq!(
        outcome.phases(),
        [Phase::Preparing, Phase::Initializing, Phase::Planning, Phase::Sealing, Phase::Ending]
    );
    assert!(matches!(outcome.verdict(Phase::Sealing), Verdict::Refused { .. }));
    assert!(outcome.log(Phase::Ending).contains("final=failed"));
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
    assert!(!outcome.dir.join(file::TREE).exists());
}

#[test]
fn a_skipped_phase_is_recorded_and_runs_nothing() {
    let mut trial = Trial::planning(PLAN, "echo applied");
    let mut applying = shell(Phase::Applying, Command::Apply);
    applying.skip = true;
    trial.steps.push(Step::Shell(applying));
    let outcome = trial.run();
    assert_eq!(*outcome.verdict(Phase::Applying), Verdict::SUCCESS);
    let log = outcome.log(Phase::Applying);
    assert!(log.contains("skipped") && !log.contains("applied\n"), "{log}");
}

#[test]
fn mounted_files_lie_in_the_workspace_and_replace_links_instead_of_following_them() {
    let mut trial = Trial::new();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut append = |name: &str, link: Option<&str>, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if let Some(target) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, name, target).unwrap();
        } else {
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
    };
    append("target.txt", None, "untouched");
    append("link.txt", Some("target.txt"), "");
    let prepare = trial.prepare_archive(archive.into_inner().unwrap().finish().unwrap());
    for (path, content) in [("link.txt", "mounted"), ("deep/er/file", "deep")] {
        trial.files.push(airlock::protocol::MountedFile {
            path: RelativePath::new(path).unwrap(),
            content: airlock::crypt::Secret::new(content.into()),
            sensitive: false,
        });
    }
    trial.kind = Kind::Task;
    trial.steps =
        vec![prepare, perform("cat target.txt link.txt deep/er/file; test ! -L link.txt && echo x >> link.txt")];
    let outcome = trial.run();
    assert_eq!(outcome.log(Phase::Performing), "untouchedmounteddeep\n".replace('\n', ""));
    assert_eq!(*outcome.verdict(Phase::Performing), Verdict::SUCCESS);
}

#[test]
fn a_branch_of_a_local_repository_is_checked_out_and_its_commit_reported() {
    let mut trial = Trial::new();
    let repository = trial.root.path().join("repository");
    let git = |arguments: &[&str]| crate::git::git(&repository, arguments);
    std::fs::create_dir(&repository).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(repository.join("hello.txt"), "from git\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let source = Fetch::Git(GitFetch {
        url: repository.display().to_string(),
        branch: "main".to_owned(),
        commit: None,
        submodules: false,
        local: Some(repository.clone()),
    });
    trial.kind = Kind::Task;
    trial.steps = vec![
        Step::Prepare(Prepare { source, disk_floor_bytes: 1, patch: None, shows: Vec::new(), archive: false }),
        perform("cat hello.txt; echo $AIRLOCK_COMMIT_SHA"),
    ];
    let outcome = trial.run();
    assert_eq!(*outcome.verdict(Phase::Preparing), Verdict::SUCCESS, "{}", outcome.log(Phase::Preparing));
    assert_eq!(outcome.phase(Phase::Preparing).produced.commit.as_ref().unwrap().as_str(), commit);
    assert_eq!(outcome.log(Phase::Performing), format!("from git\n{commit}\n"));
}

#[test]
fn nothing_is_prepared_on_a_disk_that_is_nearly_full() {
    let mut trial = Trial::task("true");
    let Step::Prepare(prepare) = &mut trial.steps[0] else { panic!() };
    prepare.disk_floor_bytes = u64::MAX;
    let outcome = trial.run();
    let Verdict::Refused { reason } = outcome.verdict(Phase::Preparing) else { panic!("{outcome:?}") };
    assert!(reason.contains("free"), "{reason}");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn a_source_that_is_not_the_named_one_is_not_run() {
    let mut trial = Trial::task("echo ran");
    let Step::Prepare(Prepare { source: Fetch::Upload { path, .. }, .. }) = &trial.steps[0] else { panic!() };
    std::fs::write(path, b"something else").unwrap();
    let outcome = trial.run();
    assert_eq!(outcome.phases(), [Phase::Preparing]);
    assert!(matches!(outcome.verdict(Phase::Preparing), Verdict::Refused { .. }));
}

#[test]
fn a_replan_forgets_the_plan_before_it() {
    let mut trial = Trial::planning(PLAN, "true");
    let digest = trial.run().phase(Phase::Planning).produced.plan.clone().unwrap().digest;
    trial.vendor = airlock::domain::stack::Vendor::Custom {
        init: None,
        plan: Some("exit 2".to_owned()),
        apply: None,
        destroy: None,
    };
    trial.steps = vec![open_step(digest.clone()), plan_step()];
    let again = trial.run().phase(Phase::Planning).produced.plan.clone().unwrap();
    assert!(again.changes && again.delta.is_empty(), "{again:?}");
    assert_ne!(again.digest, digest);
}

#[test]
fn a_run_that_waits_before_it_has_planned_is_sealed_and_opened_too() {
    let mut trial = Trial::planning(PLAN, "true");
    let planning = trial.steps.pop().unwrap();
    let initialized = trial.run();
    assert!(matches!(initialized.end(), (WorkspaceLeft::Sealed { .. }, false)));
    trial.steps = vec![Step::Open(Open { plan_digest: None }), planning];
    let planned = trial.run();
    assert!(planned.phase(Phase::Planning).produced.plan.clone().unwrap().changes);
    assert!(matches!(planned.end(), (WorkspaceLeft::Sealed { .. }, false)));
}

#[test]
fn a_chain_without_the_workspace_that_it_needs_says_so_in_its_last_record() {
    let mut trial = Trial::task("true");
    trial.steps.remove(0);
    let outcome = trial.run();
    let Some(Record::Ended { workspace, fault: Some(fault), .. }) = outcome.records.last() else {
        panic!("{outcome:?}")
    };
    assert_eq!(*workspace, WorkspaceLeft::Removed);
    assert!(fault.contains(file::TREE), "{fault}");
}

#[test]
fn without_a_jail_the_same_phases_run_on_the_host() {
    let mut trial = Trial::planning(PLAN, "cat marker; echo got=$COLOR");
    trial.jail.kind = airlock::domain::stack::ExecutorKind::Unconfined;
    let Step::Shell(initializing) = &mut trial.steps[1] else { panic!() };
    initializing.before = vec!["echo COLOR=green >> $AIRLOCK_ENV".to_owned()];
    trial.steps.push(apply_step());
    // Such a phase finds its way to the workspace from the root.
    std::fs::set_permissions(trial.root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = trial.run();
    assert_eq!(outcome.log(Phase::Applying), "planned\ngot=green\n");
    assert_eq!(outcome.end(), (WorkspaceLeft::Removed, false));
}

#[test]
fn an_initialization_alone_keeps_the_workspace_for_whoever_decides() {
    let mut trial = Trial::new();
    trial.steps = vec![trial.prepare(&[]), init()];
    trial.at_end = AtEnd::Keep;
    let outcome = trial.run();
    assert_eq!(outcome.end(), (WorkspaceLeft::Kept, false));
    assert!(outcome.dir.join(file::TREE).join(file::WORKSPACE).exists());
}
