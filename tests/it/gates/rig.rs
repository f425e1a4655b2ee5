//! An installation with run tasks.

use std::{sync::Arc, time::Duration};

use airlock::{
    actions::{NewAttachment, NewRunTask, NewRunTaskKind},
    auth::{On, Permission, Permit},
    config::Config,
    crypt::Secret,
    domain::{Enforcement, RunTaskId, Stage},
    queries::{Run, Stack},
};
use serde_json::{Value, json};

use super::service::{KEY, Service};
use crate::whole::rig::Rig;

/// A server that may call this machine, and tries again at once.
pub async fn rig() -> Rig {
    rig_with(|_| {}).await
}

pub async fn rig_with(set: impl FnOnce(&mut Config)) -> Rig {
    Rig::serving(Arc::new(tempfile::tempdir().unwrap()), |config| {
        config.run_task_retry = Duration::from_millis(1);
        set(config);
    })
    .await
}

/// A stack whose plan is whatever a test says, in a few milliseconds.
pub async fn custom(rig: &Rig, name: &str, more: Value) -> Stack {
    let plan = r#"printf '[{"address":"a.b","type":"a","action":"create","before":null,"after":{"x":"shown"}}]' > "$AIRLOCK_PLAN_FILE"; exit 2"#;
    let mut settings = json!({"name": name, "vendor": {"kind": "custom", "plan": plan, "apply": "echo applied"}});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    rig.stack(settings, &[("main.txt", "the source")]).await
}

pub async fn run_task(rig: &Rig, name: &str, service: &Service) -> RunTaskId {
    run_task_trusted(rig, name, service, false).await
}

pub async fn run_task_trusted(rig: &Rig, name: &str, service: &Service, trusted: bool) -> RunTaskId {
    let new = NewRunTask {
        name: name.parse().unwrap(),
        description: String::new(),
        kind: NewRunTaskKind::Http { url: service.url.clone(), hmac_key: Some(Secret::new(KEY.to_owned())) },
        enabled: true,
        trusted,
    };
    let permit = Permit::of_system(Permission::ManageRunTasks, On::Installation);
    rig.app.actions.create_run_task(&permit, new, None).await.unwrap().id
}

pub async fn attach(rig: &Rig, stack: &Stack, run_task: RunTaskId, stages: &[Stage], enforcement: Enforcement) {
    let new = NewAttachment { run_task, stages: stages.to_vec(), enforcement };
    let permit = Permit::of_system(Permission::AttachRunTasks, On::Stack(stack.id));
    rig.app.actions.attach_run_task(&permit, stack.id, new, None).await.unwrap();
}

/// A service as a run task of a stack.
pub async fn attached(rig: &Rig, stack: &Stack, name: &str, stages: &[Stage], enforcement: Enforcement) -> Service {
    let service = Service::new().await;
    let id = run_task(rig, name, &service).await;
    attach(rig, stack, id, stages, enforcement).await;
    service
}

/// Waits until a run is checked at a stage.
pub async fn until_checking(rig: &Rig, run: &Run, stage: Stage) -> Run {
    rig.until(run, |run| run.checking == Some(stage) || run.state.is_terminal()).await
}
