//! Images through the whole of it: imported, named by stacks and by declared tasks, removed.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use airlock::{
    auth::{On, Permission, Permit, Who},
    domain::{ImageName, Phase, State},
    queries::Stack,
};
use serde_json::json;

use super::rig::{Rig, files_below};

/// What the phases of the custom vendor need.
const PROGRAMS: [&str; 2] = ["/bin/sh", "/bin/rm"];

/// A root that holds these programs, what they need, and one file that says whose root it is.
fn small_root(says: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8], mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        tar.append_data(&mut header, path.trim_start_matches('/'), content).unwrap();
    };
    let listed = Command::new("ldd").args(PROGRAMS).output().expect("ldd is needed: it says what programs need");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    for file in libraries.chain(PROGRAMS).collect::<BTreeSet<_>>() {
        add(file, &fs::read(fs::canonicalize(file).unwrap()).unwrap(), 0o755);
    }
    add("etc/whose", says.as_bytes(), 0o644);
    tar.into_inner().unwrap()
}

impl Rig {
    fn for_images(&self) -> Permit {
        airlock::auth::permit(&Who::system(), Permission::ManageImages, On::Installation, self.app.actions.now())
            .unwrap()
    }

    async fn import_image(&self, name: &str, archive: &[u8]) -> Result<(), String> {
        let scratch = self.data().join("uploads").join("incoming-image");
        fs::write(&scratch, archive).unwrap();
        let name = ImageName::new(name).unwrap();
        let imported = self.app.actions.import_image(&self.for_images(), name, scratch, None).await;
        imported.map(drop).map_err(|error| error.to_string())
    }

    async fn remove_image(&self, name: &str) -> Result<(), String> {
        let removed = self.app.actions.remove_image(&self.for_images(), ImageName::new(name).unwrap()).await;
        removed.map_err(|error| error.to_string())
    }

    fn unpacked_images(&self) -> usize {
        fs::read_dir(self.data().join("images")).into_iter().flatten().count()
    }
}

async fn stack(rig: &Rig, image: &str, tasks: &str) -> Stack {
    let read = "read -r whose < /etc/whose; echo \"$whose\"; test ! -e /usr/bin/env && echo nothing else; \
                echo x > /etc/written || echo read-only";
    let settings = json!({
        "name": "Shop",
        "vendor": {"kind": "custom", "plan": format!("{read}; exit 2"), "apply": read},
        "executor": {"image": image},
    });
    rig.stack(settings, &[(".airlock/config.yaml", tasks)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_and_a_declared_task_run_in_an_image_and_cannot_change_it() {
    let rig = Rig::new().await;
    rig.import_image("tiny:1", &small_root("of the stack\n")).await.unwrap();
    rig.import_image("other", &small_root("of the task\n")).await.unwrap();
    let tasks = "tasks:
  own: {type: 'image:other', run: {command: 'read -r whose < /etc/whose; echo $whose; echo built > built; read -r b < built; echo $b'}}
  host: {type: 'image:host', run: {command: 'test -e /etc/whose || echo the host'}}
  stacks: {type: native, run: {command: 'read -r whose < /etc/whose; echo $whose'}}
  gone: {type: 'image:gone', run: {command: 'true'}}
";
    let stack = stack(&rig, "tiny:1", tasks).await;
    let run = rig.unconfirmed(&stack).await;
    let said = rig.log(&run, Phase::Planning);
    assert!(said.starts_with("of the stack\nnothing else\n") && said.contains("read-only"), "{said}");
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Applying).starts_with("of the stack\n"));
    for (task, says) in [("own", "of the task\nbuilt\n"), ("host", "the host\n"), ("stacks", "of the stack\n")] {
        let run = rig.declared(&stack, task, &[]).await;
        let run = rig.until_state(&run, State::Finished).await;
        assert_eq!(rig.log(&run, Phase::Performing), says, "{task}");
    }
    let run = rig.declared(&stack, "gone", &[]).await;
    let run = rig.until_state(&run, State::Failed).await;
    assert!(run.reason.as_ref().unwrap().contains("there is no image `gone`"), "{run:?}");
    let images: Vec<PathBuf> = files_below(&rig.data().join("images"));
    assert!(images.iter().all(|path| !path.ends_with("written")), "{images:?}");
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_chooses_the_image_that_its_commands_run_in() {
    let rig = Rig::new().await;
    rig.import_image("tiny:1", &small_root("of the stack\n")).await.unwrap();
    rig.import_image("other", &small_root("of the source\n")).await.unwrap();
    let chooses = |image: &str| format!("stacks: {{shop: {{runner_image: '{image}'}}}}");
    let stack = stack(&rig, "tiny:1", &chooses("other")).await;
    let run = rig.unconfirmed(&stack).await;
    assert!(rig.log(&run, Phase::Planning).starts_with("of the source\n"), "{}", rig.log(&run, Phase::Planning));
    // What was planned in it is applied in it, out of the seal and by another runner.
    rig.import_image("other", &small_root("of somebody else\n")).await.unwrap();
    assert_eq!(rig.app.actions.sweep_images().unwrap(), 0);
    rig.confirm(&run).await;
    let run = rig.until_state(&run, State::Finished).await;
    assert!(rig.log(&run, Phase::Applying).starts_with("of the source\n"), "{}", rig.log(&run, Phase::Applying));
    // A task of the same source, and one that the trigger has run elsewhere.
    let task = rig.task(&stack, "read -r whose < /etc/whose; echo $whose").await;
    let task = rig.until_state(&task, State::Finished).await;
    assert_eq!(rig.log(&task, Phase::Performing), "of somebody else\n");
    rig.upload(&stack, &[(".airlock/config.yaml", chooses("host"))]).await;
    let run = rig.task(&stack, "test -e /usr/bin/env && echo the host").await;
    let run = rig.until_state(&run, State::Finished).await;
    assert_eq!(rig.log(&run, Phase::Performing), "the host\n");
    rig.upload(&stack, &[(".airlock/config.yaml", chooses("gone"))]).await;
    let run = rig.task(&stack, "true").await;
    let reason = rig.until_state(&run, State::Failed).await.reason.unwrap();
    assert!(reason.contains("there is no image `gone`") && reason.contains("airlock image import"), "{reason}");
    rig.until_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_unpacked_once_replaced_by_name_and_removed_when_nobody_needs_it() {
    let rig = Rig::new().await;
    let (one, two) = (small_root("one\n"), small_root("two\n"));
    rig.import_image("a", &one).await.unwrap();
    rig.import_image("b", &one).await.unwrap();
    assert_eq!(rig.unpacked_images(), 1);
    let tasks =
        "tasks: {wait: {type: native, run: {command: 'read -r whose < /etc/whose; echo $whose; while :; do :; done'}}}";
    let stack = stack(&rig, "a", tasks).await;
    let refused = rig.remove_image("a").await.unwrap_err();
    assert!(refused.contains("still used by shop"), "{refused}");
    // What runs in it keeps it, whatever the name means by now.
    let running = rig.declared(&stack, "wait", &[]).await;
    rig.until(&running, |run| rig.log(run, Phase::Performing).contains("one")).await;
    rig.import_image("a", &two).await.unwrap();
    rig.remove_image("b").await.unwrap();
    assert_eq!(rig.unpacked_images(), 2);
    let permit = rig.permit(Permission::Cancel, &stack);
    let cancel = airlock::actions::Decision::Cancel { note: None };
    rig.app.actions.decide(&permit, running.id, cancel).await.unwrap();
    rig.until_state(&running, State::Canceled).await;
    rig.until_tidy().await;
    assert_eq!(rig.app.actions.sweep_images().unwrap(), 1);
    assert_eq!(rig.unpacked_images(), 1);

    // What is no image leaves nothing, and says why; the host's name is taken.
    let refused = rig.import_image("c", b"nonsense").await.unwrap_err();
    assert!(refused.contains("not tar") || refused.contains("cut off"), "{refused}");
    let refused = rig.import_image("host", &one).await.unwrap_err();
    assert!(refused.contains("the host's own root"), "{refused}");
    assert_eq!(rig.unpacked_images(), 1);
    assert!(rig.remove_image("c").await.unwrap_err().contains("the image c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_planned_in_an_image_is_applied_in_it_whatever_the_name_means_by_then() {
    let rig = Rig::new().await;
    rig.import_image("a", &small_root("planned\n")).await.unwrap();
    let stack = stack(&rig, "a", "tasks: {}").await;
    let waiting = rig.unconfirmed(&stack).await;
    assert!(rig.log(&waiting, Phase::Planning).starts_with("planned\n"));
    rig.import_image("a", &small_root("moved\n")).await.unwrap();
    rig.until_tidy().await;
    assert_eq!(rig.app.actions.sweep_images().unwrap(), 0, "somebody still waits to be applied in it");

    // Not even another image of the stack changes that.
    let permit = rig.permit(Permission::EditStack, &stack);
    let mut settings = stack.settings.clone();
    settings.executor.image = "host".to_owned();
    rig.app.actions.edit_stack(&permit, stack.id, settings, None).await.unwrap();
    let rig = rig.restart().await;
    rig.confirm(&waiting).await;
    let applied = rig.until_state(&waiting, State::Finished).await;
    assert!(rig.log(&applied, Phase::Applying).starts_with("planned\n"), "{}", rig.all_logs(&applied));
    rig.until_tidy().await;
    assert_eq!(rig.app.actions.sweep_images().unwrap(), 1, "nobody needs what had the name before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_image_is_gone_says_so_and_applies_nothing() {
    let rig = Rig::new().await;
    rig.import_image("a", &small_root("planned\n")).await.unwrap();
    let stack = stack(&rig, "a", "tasks: {}").await;
    let waiting = rig.unconfirmed(&stack).await;
    rig.import_image("a", &small_root("moved\n")).await.unwrap();
    let planned = waiting.image.clone().unwrap().digest.unwrap();
    fs::remove_dir_all(rig.data().join("images").join(planned.digits())).unwrap();
    rig.confirm(&waiting).await;
    let failed = rig.until_state(&waiting, State::Failed).await;
    let reason = failed.reason.clone().unwrap();
    assert!(
        reason.contains("the image `a` that the run began with") && reason.contains("trigger the run again"),
        "{reason}"
    );
    assert_eq!(rig.log(&failed, Phase::Applying), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn runtimes_of_declared_tasks_are_the_images_that_the_operator_names() {
    let rig = Rig::on(std::sync::Arc::new(tempfile::tempdir().unwrap()), |config| {
        let of = |(runtime, image): (&str, &str)| (runtime.to_owned(), image.to_owned());
        config.runtime_images = [("nodejs:22", "exact"), ("nodejs", "any"), ("php:8.3", "gone")].map(of).into();
    })
    .await;
    rig.import_image("exact", &small_root("of this version\n")).await.unwrap();
    rig.import_image("any", &small_root("of any version\n")).await.unwrap();
    let task = |name: &str, runtime: &str| {
        format!("  {name}: {{type: '{runtime}', run: {{command: 'read -r whose < /etc/whose; echo $whose'}}}}\n")
    };
    let tasks = ["tasks:\n".to_owned(), task("exact", "nodejs:22"), task("any", "nodejs:20")].concat()
        + &task("none", "python:3.12")
        + &task("gone", "php:8.3");
    let stack = stack(&rig, "host", &tasks).await;
    for (task, says) in [("exact", "of this version\n"), ("any", "of any version\n")] {
        let run = rig.declared(&stack, task, &[]).await;
        let run = rig.until_state(&run, State::Finished).await;
        assert_eq!(rig.log(&run, Phase::Performing), says, "{task}");
    }
    for (task, why) in [
        ("none", "no image stands for `python:3.12`; the operator says which one does in `runtime_images`"),
        ("gone", "there is no image `gone`"),
    ] {
        let run = rig.declared(&stack, task, &[]).await;
        let run = rig.until_state(&run, State::Failed).await;
        assert!(run.reason.as_ref().unwrap().contains(why), "{run:?}");
        assert_eq!(rig.log(&run, Phase::Performing), "", "{task}");
    }
}
