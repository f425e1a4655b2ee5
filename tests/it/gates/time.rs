//! Tries, time-outs, and servers that die in between.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use airlock::{
    actions::{NewAttachment, NewRunTask, NewRunTaskKind, Outside, Reply, Request},
    auth::{On, Permission, Permit, Who},
    domain::{Enforcement, Kind, ResultStatus, Stage, State},
    outbound,
};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::rig::{attached, custom, rig, rig_with};
use crate::pages;
use crate::whole::rig::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_tried_again_with_the_same_id_and_token_until_it_is_accepted() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    service.answers_with(&[500, 503, 201]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(service.called().await.raw);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "every try is the same request");
    service.answers_with(&[]).await;
    let call = serde_json::from_str::<serde_json::Value>(&bodies[0]).unwrap();
    assert_eq!(call["stage"], "post_plan");
    assert_eq!(rig.run(run.id).state, State::Checking);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_accepts_is_unreachable() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    service.answers_with(&[500; 5]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let failed = rig.until_state(&run, State::Failed).await;
    let reason = failed.reason.unwrap();
    assert_eq!(reason, "mandatory run task check is unreachable after planning: could not be reached: HTTP 500");
    assert_eq!(service.all_calls().await.iter().filter(|call| call.payload["stage"] != "test").count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_tried_again_after_two_minutes_is_unreachable_now() {
    let rig = rig_with(|config| config.run_task_retry = Duration::from_secs(200)).await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    service.answers_with(&[500]).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let failed = rig.until_state(&run, State::Failed).await;
    assert!(failed.reason.unwrap().contains("check is unreachable"));
    assert_eq!(service.all_calls().await.iter().filter(|call| call.payload["stage"] != "test").count(), 1);
}

/// A service that accepts everything, if it is given the time of a breath.
#[derive(Debug)]
struct Accepts;

impl Outside for Accepts {
    fn post<'a>(&'a self, _: &'a Request) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Reply { status: Some(200), note: None, may_pass: true, took: Duration::ZERO }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_comes_late_because_the_server_was_down_is_made() {
    let site = pages::rig::Site::new().await;
    let stack = site.stack(pages::rig::custom("Shop")).await;
    let actions = site.app.actions.clone().with_outside(Arc::new(Accepts));
    let kind = NewRunTaskKind::Http { url: "https://check.example/".to_owned(), hmac_key: None };
    let name = "check".parse().unwrap();
    let new = NewRunTask { name, description: String::new(), kind, enabled: true, trusted: false };
    let permit = Permit::of_system(Permission::ManageRunTasks, On::Installation);
    let run_task = actions.create_run_task(&permit, new, None).await.unwrap().id;
    let new = NewAttachment { run_task, stages: vec![Stage::PostPlan], enforcement: Enforcement::Mandatory };
    let permit = Permit::of_system(Permission::AttachRunTasks, On::Stack(stack.id));
    actions.attach_run_task(&permit, stack.id, new, None).await.unwrap();
    let run = site.trigger(&stack, Kind::Tracked).await;
    site.until(run.id, State::Checking).await;
    let due = actions.due_requests(&[]).unwrap().0.remove(0);
    let failed = Reply { status: Some(500), note: None, may_pass: true, took: Duration::ZERO };
    actions.request_sent(due.id, due.since, failed).await.unwrap();
    site.pass(Duration::from_mins(30));

    let stop = CancellationToken::new();
    let sending = outbound::run_tasks::run(actions.clone(), Arc::new(Accepts), TaskTracker::new(), stop.clone());
    let sending = tokio::spawn(sending);
    let mut bell = actions.bells().hear();
    let settled = async {
        loop {
            bell.mark_unchanged();
            let mut stages = site.app.queries.run_detail(&Who::system(), run.id).unwrap().stages;
            let status = stages.remove(0).results.remove(0).status;
            if status != ResultStatus::Pending {
                return status;
            }
            bell.changed().await.unwrap();
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(90), settled).await;
    assert_eq!(settled.expect("it is sent"), ResultStatus::Running);
    stop.cancel();
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_slowness_have_an_end() {
    let rig = rig_with(|config| config.run_task_progress = Duration::from_millis(300)).await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "silent", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    let failed = rig.until_state(&run, State::Failed).await;
    assert!(failed.reason.unwrap().contains("silent errored after planning: nothing was heard of it"));
    assert_eq!(call.sends(&super::service::body("passed", "")).await.status, 422, "too late");

    let rig = rig_with(|config| config.run_task_total = Duration::from_millis(800)).await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "slow", &[Stage::PostPlan], Enforcement::Advisory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    let speaking = async {
        while rig.run(run.id).state == State::Checking {
            call.says("running", "still at it").await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, speaking).await.expect("its time has an end");
    let waits = rig.until_state(&run, State::Unconfirmed).await;
    assert!(waits.warnings[0].contains("slow errored after planning: no result within"), "{:?}", waits.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_while_others_work_takes_their_answers_afterwards() {
    let rig = rig().await;
    let stack = custom(&rig, "Shop", json!({})).await;
    let service = attached(&rig, &stack, "check", &[Stage::PostPlan], Enforcement::Mandatory).await;
    let run = rig.trigger(&stack, Kind::Tracked).await;
    let call = service.called().await;
    rig.until(&run, |run| run.state == State::Checking).await;
    let rig = rig.served_again().await;
    assert_eq!(call.says("passed", "").await, 200);
    rig.until_state(&run, State::Unconfirmed).await;
}
