//! Lists: filters in the address, pages by cursor, several stacks at once, the audit log.

use airlock::domain::{Kind, Role, State};

use super::rig::{Site, custom};

#[tokio::test(flavor = "multi_thread")]
async fn home_says_what_needs_somebody_and_what_failed() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let page = admin.get("/").await;
    assert_eq!(page.words("h1"), "Nothing needs you");
    assert!(page.has("a[href='/stacks/new']"));
    let (_, run) = site.waiting("Shop").await;
    let mut broken = custom("Edge");
    broken["vendor"]["plan"] = "echo 'Error: no such thing' >&2; exit 1".into();
    let edge = site.stack(broken).await;
    let failed = site.trigger(&edge, Kind::Tracked).await;
    site.until(failed.id, State::Failed).await;
    let page = admin.get("/").await;
    assert_eq!(page.words("h1"), "One thing needs you");
    assert_eq!(page.words("[data-needs-you] [data-n]"), "1");
    assert!(page.has(&format!("section[aria-labelledby=needs-you] a[href='/runs/{}']", run.id)));
    let said = page.words("section[aria-labelledby=failed]");
    assert!(said.contains("planning: exit 1 · Error: no such thing"), "{said}");
    assert_eq!(page.count("section[aria-labelledby=stacks] li"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_are_grouped_by_state_and_filtered_by_the_address() {
    let site = Site::new().await;
    site.waiting("Shop").await;
    let mut other = custom("Edge");
    other["labels"] = serde_json::json!(["lab"]);
    site.stack(other).await;
    let admin = site.admin().await;
    let page = admin.get("/stacks").await;
    assert_eq!(page.count("section.list"), 2);
    assert!(page.words("section.list").starts_with("Needs attention 1"));
    for (query, shown) in [("q=edg", 1), ("label=prod", 1), ("state=never_run", 1), ("state=failed", 0), ("q=x", 0)] {
        let page = admin.get(&format!("/stacks?{query}")).await;
        assert_eq!(page.count("li.row"), shown, "{query}");
        assert_eq!(page.has(".empty"), shown == 0, "{query}");
    }
    let page = admin.get("/stacks?q=edg&label=lab").await;
    assert_eq!(page.attribute("#q", "value").as_deref(), Some("edg"));
    assert!(page.has("#label option[value=lab][selected]"));
    let wrong = admin.get("/stacks?state=odd").await;
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.words("main").matches("is not a state of stacks.").count(), 1, "{}", wrong.words("main"));
    assert_eq!(wrong.attribute(".ways a", "href").as_deref(), Some("/stacks"), "the way on is the page itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_needs_a_person_says_so_whatever_is_queued_behind() {
    let site = Site::new().await;
    let (shop, first) = site.waiting("Shop").await;
    let behind = site.trigger(&shop, Kind::Tracked).await;
    let admin = site.admin().await;
    for path in ["/stacks", "/stacks?state=needs_attention"] {
        let page = admin.get(path).await;
        assert!(page.words("section.list").starts_with("Needs attention 1"), "{path}: {}", page.words("main"));
        assert!(page.has(&format!("section.list a[href='/runs/{}']", first.id)), "{path}");
    }
    assert_eq!(admin.get("/stacks/shop").await.words(".state-line a"), "run #1");
    assert_eq!(admin.get("/stacks?state=on_hold").await.count("li.row"), 0);
    admin.post(&format!("/runs/{}", behind.id), &[("do", "cancel")]).await;
    site.until(behind.id, State::Canceled).await;
    let page = admin.get("/stacks").await;
    assert!(page.words("section.list").starts_with("Needs attention 1"), "{}", page.words("main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_with_tasks_only_was_never_deployed_and_leads_to_the_latest() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let task = admin.post("/stacks/shop/tasks", &[("do", "perform"), ("command", "true")]).await.to();
    let page = admin.get("/stacks").await;
    assert!(page.words("section.list").starts_with("Never deployed 1"), "{}", page.words("main"));
    assert!(page.words("li.row").contains("Never deployed") && page.has(&format!("li.row a[href='{task}']")));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_stacks_are_done_at_once_and_each_says_how_it_went() {
    let site = Site::new().await;
    let (shop, run) = site.waiting("Shop").await;
    let edge = site.stack(custom("Edge")).await;
    let lab = site.stack(custom("Lab")).await;
    let will = site.person("will", false, &[(&shop, Role::Writer), (&edge, Role::Writer), (&lab, Role::Reader)]).await;
    let chosen = [("stack", "shop"), ("stack", "edge"), ("stack", "lab"), ("note", "together")];
    let all = |verb: &'static str| std::iter::once(("do", verb)).chain(chosen).collect::<Vec<_>>();
    let page = will.post_and_follow("/stacks", &all("lock")).await;
    let outcomes = page.words(".outcomes");
    assert!(outcomes.contains("shop is locked by you"), "{outcomes}");
    assert!(outcomes.contains("lab to lock you need the role writer"), "{outcomes}");
    assert_eq!(page.count(".outcomes [data-tone=good]"), 2);
    assert_eq!(page.count(".outcomes [data-tone=bad]"), 1);
    assert!(!will.get("/stacks").await.has(".outcomes"), "it is said once");
    let page = will.post_and_follow("/stacks", &all("discard")).await;
    let outcomes = page.words(".outcomes");
    assert!(outcomes.contains("shop Run #1 is discarded"), "{outcomes}");
    assert!(outcomes.contains("edge no run of it waits for a decision"), "{outcomes}");
    site.until(run.id, State::Discarded).await;
    assert_eq!(will.post("/stacks", &[("do", "lock")]).await.status, 422, "nothing was chosen");
    let admin = site.admin().await;
    let log = admin.get("/audit?verb=stack.lock").await;
    assert_eq!(log.count("tbody tr"), 3, "each one is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_filtered_and_paged_and_every_filter_lives_in_the_address() {
    let site = Site::new().await;
    let (shop, run) = site.waiting("Shop").await;
    let admin = site.admin().await;
    for n in 0..55 {
        let fields = [("do", "perform"), ("command", &*format!("echo number-{n}")), ("initialize", "on")];
        assert_eq!(admin.post("/stacks/shop/tasks", &fields).await.status, 303);
    }
    let page = admin.get("/runs").await;
    assert_eq!(page.count("li.row"), 50);
    let older = page.attribute("a[rel=next]", "href").unwrap();
    let rest = admin.get(&older).await;
    assert_eq!(rest.count("li.row"), 6);
    assert!(rest.has("a[href='/runs']"), "back to the newest");
    for (query, shown) in [
        ("kind=tracked", 1),
        ("state=unconfirmed", 1),
        ("q=number-7", 1),
        ("q=%231", 11),
        ("actor=user:ada&kind=task&q=number-1", 11),
        ("stack=shop&state=failed", 0),
        ("from=2001-01-01&to=2001-01-02", 0),
    ] {
        let page = admin.get(&format!("/runs?{query}")).await;
        assert_eq!(page.count("li.row"), shown, "{query}");
    }
    for wrong in ["kind=odd", "state=odd", "from=yesterday", "cursor=odd"] {
        assert_eq!(admin.get(&format!("/runs?{wrong}")).await.status, 422, "{wrong}");
    }
    let queue = admin.get("/queue").await;
    assert!(queue.words("section[aria-labelledby=blocked] li").contains("behind run #1"), "{}", queue.words("main"));
    assert!(queue.has(&format!("section[aria-labelledby=blocked] a[href='/runs/{}']", run.id)));
    let newest = admin.get("/tasks").await.attribute("li.row a.go", "href").unwrap();
    let id = newest.trim_start_matches("/runs/");
    let page = admin.post_and_follow("/queue", &[("do", "prioritize"), ("run", id)]).await;
    assert!(page.has("button[value=deprioritize]"), "it can be taken back");
    assert!(page.words(".flash").contains("Task #56 of shop stands in front now"), "{}", page.words(".flash"));
    assert!(page.words("section[aria-labelledby=blocked]").contains("prioritized"));
    let page = admin.post_and_follow("/queue", &[("do", "deprioritize"), ("run", id)]).await;
    assert!(page.words(".flash").contains("no longer stands in front"), "{}", page.words(".flash"));
    assert!(!page.has("button[value=deprioritize]"));
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_and_its_chain_is_checked() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    admin.post("/stacks/shop", &[("do", "lock"), ("note", "<i>why</i>")]).await;
    let page = admin.get("/audit?object=stack:shop&verb=stack.lock").await;
    assert_eq!(page.count("tbody tr"), 1);
    assert!(page.words("tbody tr").contains("ada"));
    assert!(page.words("tbody tr").contains("<i>why</i>"), "what people wrote is text");
    assert_eq!(page.words("tbody .clock").len(), "2026-02-03 14:05:09 UTC".len(), "{}", page.words("tbody .clock"));
    assert!(page.has("tbody a[href='/stacks/shop']"));
    assert!(page.words(".head").contains("Unbroken"), "{}", page.words(".head"));
    let export = page.attribute("a[download]", "href").unwrap();
    assert_eq!(export, "/api/v1/audit?verb=stack.lock&object=stack%3Ashop&format=jsonl");
    assert_eq!(admin.get("/audit?outcome=refused").await.count("tbody tr"), 0);
}
