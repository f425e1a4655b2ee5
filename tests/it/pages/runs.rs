//! The pages of a run, through its whole life.

use airlock::{
    actions::{Decision, NewDemand, NewService},
    auth::{On, Permission},
    domain::{Kind, Role, State},
};

use super::{
    checks,
    rig::{Site, custom},
};
use crate::whole::rig::tar_gz;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_confirmed_and_applied() {
    let site = Site::new().await;
    let (_, run) = site.waiting("Shop").await;
    let admin = site.admin().await;
    let path = format!("/runs/{}", run.id);
    let page = admin.get(&path).await;
    assert_eq!(page.words("title"), "⏸ run #1 · Shop · Airlock");
    assert!(page.words(".verdict").contains("Unconfirmed — waits for a decision"));
    assert!(page.words(".decide").contains("1 resource would change. +1~0±0−0"), "{}", page.words(".decide"));
    assert_eq!(page.words(".change summary code"), "a.b");
    let begun = admin.get(&format!("{path}?tab=log")).await.words(".log-phases");
    assert!(begun.contains("Planning") && !begun.contains("Applying"), "{begun}");
    assert!(page.text.contains("&#60;b&#62;1"), "values are text");
    assert!(page.has(".change input"), "whatever the vendor: a plan command finds the chosen ones in AIRLOCK_TARGETS");
    let digest = page.attribute("input[name=plan_digest]", "value").unwrap();
    let other = format!("{}{}", &digest[..digest.len() - 1], if digest.ends_with('0') { '1' } else { '0' });
    let stale = admin.post(&path, &[("do", "confirm"), ("plan_digest", &other)]).await;
    assert_eq!(stale.status, 409);
    assert!(stale.words("main").contains("not the one that was shown"), "{}", stale.words("main"));
    assert!(stale.has(&format!("main a[href='{path}']")), "the way back");
    let fields = [("do", "confirm"), ("plan_digest", digest.as_str()), ("note", "go")];
    let page = admin.post_and_follow(&path, &fields).await;
    assert_eq!(page.words(".flash"), "Run #1 was confirmed.");
    assert_eq!(admin.post(&path, &fields).await.status, 409, "a second confirmation changes nothing");
    site.until(run.id, State::Finished).await;
    let page = admin.get(&path).await;
    assert!(page.words(".head .meta").contains("confirmed by ada"), "{}", page.words(".head .meta"));
    assert_eq!(page.words("[data-log]").matches("applied").count(), 1, "{}", page.words("[data-log]"));
    assert!(page.words(".log-foot").contains("exit 0"));
    assert_eq!(page.verbs(), ["retry"]);
    let timeline = admin.get(&format!("{path}?tab=timeline")).await;
    let events = timeline.words(".timeline");
    assert!(
        timeline.has(".timeline .clock") && timeline.count(".timeline .after") + 1 == timeline.count(".timeline > li")
    );
    for word in ["Queued", "Planning", "Unconfirmed", "Confirmed", "Applying", "Finished"] {
        assert!(events.contains(word), "{events}");
    }
    let retried = admin.post_and_follow(&path, &[("do", "retry")]).await;
    assert!(retried.words(".flash").starts_with("Run #2 retries run #1."), "{}", retried.words(".flash"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_lists_nothing_is_never_said_to_change_nothing() {
    let site = Site::new().await;
    let mut silent = custom("Shop");
    silent["vendor"]["plan"] = "echo 'it will all be different'; exit 2".into();
    let stack = site.stack(silent).await;
    let run = site.trigger(&stack, Kind::Tracked).await;
    site.until(run.id, State::Unconfirmed).await;
    let admin = site.admin().await;
    let path = format!("/runs/{}", run.id);
    let page = admin.get(&path).await;
    assert!(page.words(".decide").contains("Something would change"), "{}", page.words(".decide"));
    assert_eq!(page.words("section[data-block=panel] .title"), "The plan does not list its changes");
    assert!(!page.has(".tabs [aria-current] .count") && !page.has(".delta"), "numbers would be a guess");
    let log = admin.get(&page.attribute("section[data-block=panel] a", "href").unwrap()).await;
    assert!(log.words("[data-lines]").contains("it will all be different"));
    for list in ["/", "/runs", "/stacks", "/stacks/shop"] {
        assert!(!admin.get(list).await.has(".delta"), "{list}");
    }
    let alone = admin.get(&format!("{path}/changes")).await;
    assert_eq!((alone.status, alone.words(".title").as_str()), (200, "The plan does not list its changes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_lock_takes_the_confirm_button_away_and_says_whose_it_is() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let (ada, will) = (site.admin().await, site.person("will", false, &[(&stack, Role::Writer)]).await);
    ada.post_and_follow("/stacks/shop", &[("do", "lock"), ("note", "moving house")]).await;
    let path = format!("/runs/{}", run.id);
    let page = will.get(&path).await;
    assert!(page.words(".decide").contains("the stack is locked by ada (moving house)"), "{}", page.words(".decide"));
    assert_eq!(page.verbs(), ["discard", "replan"]);
    assert_eq!(will.post(&path, &[("do", "confirm")]).await.status, 409);
    let card = will.get("/stacks/shop").await;
    assert!(card.words(".lockcard").contains("Locked by ada"));
    let held = card.words(".held");
    assert!(held.starts_with("Locked by ada ") && held.ends_with(": moving house"), "{held}");
    assert!(!card.verbs().contains(&"unlock".to_owned()));
    will.post("/stacks/shop", &[("do", "trigger"), ("kind", "proposed")]).await;
    let queue = will.get("/queue").await;
    assert!(queue.words("main").contains("the stack is locked by ada"), "{}", queue.words("main"));
    assert!(
        ada.post_and_follow("/stacks/shop", &[("do", "unlock")]).await.words(".flash").contains("not locked any more")
    );
    assert!(will.get(&path).await.verbs().contains(&"confirm".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_shows_its_phase_its_exit_code_and_the_line_without_a_click() {
    let site = Site::new().await;
    let mut broken = custom("Edge");
    broken["vendor"]["init"] = "echo fine; echo 'Error: <no> such bucket' >&2; exit 3".into();
    let stack = site.stack(broken).await;
    let run = site.trigger(&stack, Kind::Tracked).await;
    site.until(run.id, State::Failed).await;
    let admin = site.admin().await;
    let page = admin.get(&format!("/runs/{}", run.id)).await;
    assert_eq!(page.words(".failure b"), "Initializing failed: exit 3");
    assert_eq!(page.words(".failure a"), "Error: <no> such bucket");
    assert_eq!(page.attribute("[data-log]", "data-phase").as_deref(), Some("initializing"));
    let href = page.attribute(".failure a", "href").unwrap();
    assert_eq!(page.words(&format!(".ln{href} > span")), "Error: <no> such bucket");
    assert!(page.words(".log-foot").contains("exit 3"));
    assert_eq!(checks::problems(&page.text), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_written_on_the_page_and_its_exit_code_is_kept() {
    let site = Site::new().await;
    let (shop, will) = {
        let stack = site.stack(custom("Shop")).await;
        let will = site.person("will", false, &[(&stack, Role::Writer)]).await;
        (stack, will)
    };
    let empty =
        will.post("/tasks", &[("do", "perform"), ("stack", "shop"), ("command", " "), ("initialize", "on")]).await;
    assert_eq!((empty.status, empty.count("#command-error")), (422, 1));
    for (initialize, phases) in [(true, "Initializing"), (false, "Performing")] {
        let mut fields = vec![("do", "perform"), ("stack", "shop"), ("command", "echo performed; exit 7")];
        if initialize {
            fields.push(("initialize", "on"));
        }
        let to = will.post("/tasks", &fields).await.to();
        let id = to.trim_start_matches("/runs/").parse().unwrap();
        site.until(id, State::Failed).await;
        let page = will.get(&to).await;
        assert_eq!(page.words("h1"), "echo performed; exit 7");
        assert!(page.words(".verdict").contains("performing: exit 7"), "{}", page.words(".verdict"));
        assert!(page.words(".phases").contains(phases));
        assert_eq!(page.words(".phases").contains("Initializing"), initialize);
        assert!(page.words("[data-lines]").contains("performed"));
    }
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_and_what_people_wrote_stand_in_the_timeline_as_text() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let reader = site.person("rea", false, &[(&stack, Role::Reader)]).await;
    let path = format!("/runs/{}", run.id);
    let page = reader.post_and_follow(&path, &[("do", "comment"), ("text", "<script>alert(1)</script>")]).await;
    assert!(page.words(".timeline blockquote").contains("<script>alert(1)</script>"));
    assert_eq!(checks::problems(&page.text), Vec::<String>::new());
    let admin = site.admin().await;
    admin.post(&path, &[("do", "discard"), ("note", "not today")]).await;
    site.until(run.id, State::Discarded).await;
    let page = admin.get(&path).await;
    assert!(page.words(".head .meta").contains("discarded by ada"), "{}", page.words(".head .meta"));
    let timeline = admin.get(&format!("{path}?tab=timeline")).await;
    assert!(timeline.words(".timeline").contains("not today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_its_end_backwards_searched_and_linked() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let command = "seq -f 'line %g' 1 2500; printf '\\033[32mgreen\\033[0m <tag>\\n'";
    let to = admin.post("/stacks/shop/tasks", &[("do", "perform"), ("command", command)]).await.to();
    site.until(to.trim_start_matches("/runs/").parse().unwrap(), State::Finished).await;
    let page = admin.get(&to).await;
    assert_eq!(page.count(".ln"), 1_000);
    assert!(page.has("#L2501") && page.has("#L1502") && !page.has("#L1501"));
    assert_eq!(page.words("#L2501 .g"), "green");
    assert!(page.words("#L2501").contains("<tag>"));
    assert!(page.words(".log-foot").contains("2 501 lines"), "{}", page.words(".log-foot"));
    let earlier = page.attribute("[data-earlier] a", "href").unwrap();
    let before = admin.get(&earlier).await;
    assert!(before.has("#L1501") && before.has("#L502") && !before.has("#L1502"));
    let block = admin.get(&format!("{earlier}&block=lines")).await;
    assert!(!block.text.contains("<html") && block.count(".ln") == 1_000);
    assert_eq!(
        page.attribute("#L2501 > a", "href").as_deref(),
        Some("#L2501"),
        "a line has an address without scripts"
    );
    let raw = admin.get(&page.attribute(".log-tools > a[href*=number]", "href").unwrap()).await;
    assert_eq!(raw.text.lines().count(), 2_501, "of this phase alone");
    let around = admin.get(&format!("{to}/log?phase=performing&line=42")).await;
    assert!(around.has("#L42") && around.has("#L1") && around.has(".log-note"));
    let found = admin.get(&format!("{to}/log?phase=performing&q=line%20199")).await;
    assert_eq!(found.count(".ln"), 11);
    assert_eq!(found.words(".ln .h"), "line 199");
    assert!(found.words(".log-note").contains("11 of 2 501 lines hold “line 199”"), "{}", found.words(".log-note"));
    assert_eq!(admin.get(&format!("{to}/log?q=nowhere")).await.count(".ln"), 0);
    drop(stack);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_of_nothing_are_told_apart() {
    let site = Site::new().await;
    let (stack, waiting) = site.waiting("Shop").await;
    let admin = site.admin().await;
    let path = format!("/runs/{}", waiting.id);
    let page = admin.get(&format!("{path}?tab=log&phase=applying")).await;
    assert_eq!(page.words(".log .empty .title"), "Waiting");
    assert!(page.words(".log .empty").contains("waits for a decision"));
    let behind = site.trigger(&stack, Kind::Tracked).await;
    let path = format!("/runs/{}", behind.id);
    let page = admin.get(&format!("{path}?tab=log")).await;
    assert!(page.words(".log .empty").contains("behind run #1"), "{}", page.words(".log .empty"));
    assert!(page.words(".verdict").contains("behind run #1"));
    admin.post(&path, &[("do", "cancel")]).await;
    let page = admin.get(&path).await;
    assert_eq!(page.words(".log .empty .title"), "Never started");
    let task = admin.post("/stacks/shop/tasks", &[("do", "perform"), ("command", "true")]).await.to();
    admin.post(&format!("/runs/{}", waiting.id), &[("do", "discard")]).await;
    site.until(task.trim_start_matches("/runs/").parse().unwrap(), State::Finished).await;
    let page = admin.get(&task).await;
    assert_eq!(page.words(".log .empty .title"), "No output");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_page_is_the_same_as_in_the_page() {
    let site = Site::new().await;
    let (_, run) = site.waiting("Shop").await;
    let admin = site.admin().await;
    let path = format!("/runs/{}", run.id);
    for (page, blocks) in [
        ("/".to_owned(), vec!["lists"]),
        ("/stacks".to_owned(), vec!["lists"]),
        ("/stacks/shop".to_owned(), vec!["head", "lists"]),
        ("/stacks/shop/tasks".to_owned(), vec!["head", "lists"]),
        ("/runs".to_owned(), vec!["lists"]),
        ("/tasks".to_owned(), vec!["lists"]),
        ("/queue".to_owned(), vec!["lists"]),
        (path.clone(), vec!["head", "aside", "tabs", "panel"]),
        (format!("{path}?tab=log"), vec!["head", "aside", "tabs", "panel"]),
    ] {
        let whole = admin.get(&page).await;
        assert!(whole.has("main[data-live]"), "{page} hears of changes");
        for name in blocks {
            let sign = if page.contains('?') { '&' } else { '?' };
            let block = admin.get(&format!("{page}{sign}block={name}")).await;
            assert!(!block.text.contains("<html"), "{page} {name}");
            let rev = |it: &super::rig::Page| it.attribute(&format!("[data-block={name}]"), "data-rev");
            assert_eq!(rev(&block), rev(&whole), "{page} {name}");
            assert!(rev(&block).is_some(), "{page} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_declared_task_may_do_stands_on_its_run_while_it_runs() {
    let site = Site::new().await;
    let stack = site.bare_stack(custom("Shop")).await;
    let tasks = "tasks:
  native:
    type: native
    run: {command: 'sleep 60', timeout: 90}
    relationships: {db: 'maindb:main'}
    mounts: {keep: {source: storage}}
    airlock: {network: [api.example], cpu: 0.5, processes: 40}
  guest:
    type: wasi:spin.wasm
    run: {command: --title Stock}
    variables: {env: {WANTED: x}}
    authorizations: [{type: task, resource: native, action: operate}]
    airlock: {workspace: none, network: [api.example], env: [WANTED], memory: 64MiB, fuel: 1000000000000}
";
    let spin = wat::parse_str(include_str!("../../../guests/hostile/spin.wat")).unwrap();
    let archive = tar_gz(&[(".airlock/config.yaml", tasks.as_bytes()), ("spin.wasm", &spin[..])]);
    let (scratch, on) = (site.data().join("uploads").join("incoming-test"), On::Stack(stack.id));
    std::fs::write(&scratch, archive).unwrap();
    site.app.actions.upload(&site.permit(Permission::UploadSource, on), stack.id, scratch).await.unwrap();
    let service = NewService {
        name: "maindb".parse().unwrap(),
        scheme: "postgresql".to_owned(),
        host: "db.example".to_owned(),
        port: 5432,
        path: String::new(),
        username: String::new(),
        password: None,
    };
    site.app.actions.put_service(&site.permit(Permission::ManageServices, On::Installation), service).await.unwrap();
    let admin = site.admin().await;

    let native = [
        ("Runs", "sleep 60"),
        ("Type", "native"),
        ("Mount", "keep (kept from run to run)"),
        ("Service", "db → maindb"),
        ("Host", "api.example"),
        ("Wall time", "90 s"),
        ("Processes", "40"),
        ("CPU", "50 % of a core"),
    ];
    let guest = [
        ("Runs", "--title Stock"),
        ("Type", "wasi:spin.wasm"),
        ("Workspace", "none"),
        ("Clock", "frozen"),
        ("Host", "api.example"),
        ("Token", "operates the task native"),
        ("Variable", "WANTED"),
        ("Memory", "64 MiB"),
    ];
    for (task, tab, granted) in [("native", "Grants", native), ("guest", "Guest", guest)] {
        let new = NewDemand { task: task.parse().unwrap(), variables: Vec::new(), stdin: None, call: None };
        let permit = site.permit(Permission::RunDeclared, on);
        let run = site.app.actions.run_declared(&permit, stack.id, new, None).await.unwrap();
        site.until(run.id, State::Performing).await;
        let page = admin.get(&format!("/runs/{}?tab=guest", run.id)).await;
        assert!(page.words(".tabs").contains(tab), "{}", page.words(".tabs"));
        let words = page.words(".guest");
        assert!(words.contains("What this run may do"), "{words}");
        for (name, value) in granted {
            assert!(words.contains(&format!("{name}{value}")), "{task}: {name} {value}: {words}");
        }
        let permit = site.permit(Permission::Cancel, on);
        site.app.actions.decide(&permit, run.id, Decision::Cancel { note: None }).await.unwrap();
        site.until(run.id, State::Canceled).await;
    }
}
