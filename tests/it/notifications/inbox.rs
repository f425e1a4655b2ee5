//! Messages to people: who sees them, and what they do with them.

use std::time::Duration;

use airlock::{
    auth::Who,
    domain::{Kind, PolicyKind, Role, State},
    scheduler,
};
use tokio_util::sync::CancellationToken;

use crate::{
    approvals::rig::Team,
    pages::rig::{Browser, Site, custom},
};

const TELL: &str = r#"package spacelift
inbox[{"title": sprintf("Look at run %d", [input.run_updated.run.number]), "severity": "INFO"}] { input.run_updated.state == "UNCONFIRMED" }
"#;

/// The messages of somebody's first page.
async fn messages(browser: &Browser) -> usize {
    browser.get("/").await.count(".message")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_for_those_who_see_the_stack_and_each_reads_it_alone() {
    let team = Team::new().await;
    let stop = CancellationToken::new();
    let told = tokio::spawn(scheduler::run(team.site.app.actions.clone(), stop.clone()));
    team.policy("tell", PolicyKind::Notification, TELL).await;
    let stranger = team.site.person("sam", false, &[]).await;
    let reader = team.site.person("rita", false, &[(&team.stack, Role::Reader)]).await;
    let mut bell = team.site.app.actions.bells().hear();
    let run = team.waiting(&team.bob).await;
    while messages(&reader).await == 0 {
        bell.changed().await.unwrap();
    }
    assert_eq!(messages(&stranger).await, 0);
    let page = reader.get("/").await;
    assert!(page.words(".message").contains("Look at run 1") && page.words(".message").contains("Unread"));
    assert!(page.has(&format!(".message a[href='/runs/{}']", run.id)));
    assert!(!page.has(".message a[href^='/admin']"), "policies' pages are for admins");
    let number = page.attribute(".message input[name=message]", "value").unwrap();
    // Only who sees it can mark it, and only with a mark that there is.
    assert_eq!(stranger.post("/", &[("do", "dismiss"), ("message", &number)]).await.status, 404);
    assert_eq!(reader.post("/", &[("do", "burn"), ("message", &number)]).await.status, 422);
    let page = reader.post_and_follow("/", &[("do", "read"), ("message", &number)]).await;
    assert!(!page.words(".message").contains("Unread") && page.words(".message").contains("Look at run 1"));
    let page = reader.post_and_follow("/", &[("do", "dismiss"), ("message", &number)]).await;
    assert_eq!(page.count(".message"), 0);
    reader.post("/", &[("do", "read"), ("message", &number)]).await;
    assert_eq!(messages(&reader).await, 0, "what is gone stays gone");
    assert!(team.bob.get("/").await.words(".message").contains("Unread"), "others have their own marks");
    // Two weeks later it is history.
    team.site.pass(Duration::from_hours(14 * 24 + 1));
    let late = team.site.person("ada-two", true, &[]).await;
    assert_eq!(messages(&late).await, 0);
    stop.cancel();
    told.await.unwrap();
    assert_eq!(team.site.app.queries.run(&Who::system(), run.id).unwrap().state, State::Unconfirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_reminded_of_a_run_when_half_its_time_is_over_and_then_it_is_discarded() {
    let site = Site::new().await;
    let mut settings = custom("Shop");
    settings["unconfirmed_expiry_days"] = 4.into();
    let stack = site.stack(settings).await;
    let run = site.trigger(&stack, Kind::Tracked).await;
    let run = site.until(run.id, State::Unconfirmed).await;
    let expire = async || site.app.actions.expire().await.unwrap();
    // Sessions do not last as long as runs wait.
    let page = async |name| site.person(name, false, &[(&stack, Role::Reader)]).await.get("/").await;
    site.pass(Duration::from_hours(47));
    assert_eq!((expire().await, page("ann").await.count(".message")), (0, 0));
    site.pass(Duration::from_hours(2));
    assert_eq!((expire().await, expire().await), (0, 0));
    let told = page("ben").await;
    assert_eq!(told.count(".message"), 1, "once, however often it is looked at");
    let said = told.words(".message");
    assert!(said.contains("Run #1 of shop waits for somebody") && said.contains("discarded by itself at"), "{said}");
    // What was read and thrown away meanwhile is not told once more.
    let reminded = site.app.queries.run(&Who::system(), run.id).unwrap().reminded_for;
    assert_eq!(reminded, Some(run.state_since.plus(Duration::from_hours(96))));
    site.pass(Duration::from_hours(48));
    assert_eq!(expire().await, 1);
    let ended = site.app.queries.run(&Who::system(), run.id).unwrap();
    assert_eq!((ended.state, ended.reason.as_deref()), (State::Discarded, Some("nobody confirmed it in time")));
}
