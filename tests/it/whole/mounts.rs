//! Mounts of declared tasks: what stays from run to run, and that nothing in it leads out.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use airlock::{
    domain::{Phase, State, Verdict},
    queries::{Run, Stack},
};
use serde_json::json;

use super::rig::Rig;

const CONFIG: &str = ".airlock/config.yaml";

async fn stack(rig: &Rig) -> Stack {
    rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom", "plan": "exit 2"}}), &[]).await
}

/// Runs the task `work` of a source that declares it with these mounts.
async fn work(rig: &Rig, stack: &Stack, command: &str, mounts: &str) -> Run {
    let command = serde_json::to_string(command).unwrap();
    let tasks = format!("tasks: {{work: {{type: native, run: {{command: {command}}}, mounts: {mounts}}}}}");
    rig.upload(stack, &[(CONFIG, &tasks)]).await;
    rig.declared(stack, "work", &[]).await
}

/// What a run was refused for.
async fn refused(rig: &Rig, run: &Run) -> String {
    let run = rig.until_state(run, State::Failed).await;
    let Some(Verdict::Refused { reason }) = run.verdict else { panic!("{run:#?}") };
    reason
}

/// A directory that is none of any run's business.
fn victim(at: &Path) {
    fs::create_dir(at).unwrap();
    fs::write(at.join("secret"), "untouched").unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o700)).unwrap();
}

fn assert_untouched(victim: &Path) {
    assert_eq!(fs::symlink_metadata(victim).unwrap().permissions().mode() & 0o7777, 0o700);
    let names: Vec<_> = fs::read_dir(victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read_to_string(victim.join("secret")).unwrap(), "untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_run_left_in_a_mount_leads_no_later_run_out_of_it() {
    let rig = Rig::new().await;
    rig.service("files", "nfs", 2_049, "s3cret-s3cret").await;
    let stack = stack(&rig).await;
    let outside = rig.dir.path().join("victim");
    victim(&outside);
    // From the directory that is mounted: its owner's, the stack's, `mounts`, `data`.
    let relative = format!("{}victim", "../".repeat(5));
    for source in ["source: storage", "source: service, service: files"] {
        let mount = |path: &str| format!("{{keep: {{{source}, source_path: {path}}}}}");
        for target in [outside.to_str().unwrap(), &relative] {
            let command = format!("ln -sfn '{target}' keep/esc");
            let made = work(&rig, &stack, &command, &mount("x")).await;
            rig.until_state(&made, State::Finished).await;
            for path in ["x/esc", "x/esc/inner"] {
                let command = "cat keep/secret; echo x > keep/new";
                let reason = refused(&rig, &work(&rig, &stack, command, &mount(path)).await).await;
                assert!(reason.contains(&format!("show `{path}`")) && reason.contains("`esc`"), "{reason}");
                assert!(reason.contains("no link is followed where runs can write"), "{reason}");
                assert_untouched(&outside);
            }
        }
    }
    // The control: the link is there, and what is no link is shown and made.
    let control = work(&rig, &stack, "readlink keep/esc; pwd", "{keep: {source: storage, source_path: x}}").await;
    let control = rig.until_state(&control, State::Finished).await;
    assert_eq!(rig.log(&control, Phase::Performing), format!("{relative}\n/workspace\n"));
    let control = work(&rig, &stack, "echo x > keep/new", "{keep: {source: storage, source_path: x/a/b}}").await;
    rig.until_state(&control, State::Finished).await;
}
