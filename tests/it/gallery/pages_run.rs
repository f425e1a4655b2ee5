//! One run in its states, its log, its changes.

use airlock::{
    domain::{Action, ActorKind, Changes, Kind, Look, OutputChange, ResourceChange, Role, State},
    http::view::{
        RunChangesPage, RunLogPage, RunPage,
        changes::{ChangesView, SHOWN},
        frame::{Crumb, Empty, Place, Tab, Theme},
        guest::{ArtifactLink, Given, GuestPart, GuestView, PatchView, Refusal, Used, patch_lines},
        log::{LogView, Nothing},
        offers::Situation,
        rows::Why,
        run::{
            Decision, Event, Fact, Failure, NoChanges, Panel, PhaseRow, PlanDigest, ReviewLine, RunHead, SourceRef,
            Timeline, Told,
        },
        status::{Badge, DeltaView},
    },
};
use askama::Template as _;
use serde_json::{Value, json};

use super::{
    Page, page,
    sample::*,
    sample_log::{log_view, long_log, searched},
};

pub const PATH: &str = "/runs/run_01K00000000000000000000042";

pub fn all(theme: Theme) -> Vec<Page> {
    let mut pages = vec![
        page("run-waiting", &waiting(theme)),
        page("run-applying", &applying(theme)),
        page("run-failed", &failed_run(theme)),
        page("run-timeline", &timeline(theme)),
        page("run-queued", &queued(theme)),
        page("run-destroy", &destroy(theme)),
        page("run-task", &task(theme)),
        page("run-lost", &lost(theme)),
        page("run-no-change", &no_change(theme)),
        page("run-unlisted", &unlisted(theme)),
        page("run-guest", &guest(theme)),
        page("run-changes", &changes_page(theme)),
        page("log", &log_page(theme, log_view())),
        page("log-search", &log_page(theme, searched())),
        page("log-long", &log_page(theme, long_log())),
    ];
    for (name, nothing) in [
        ("not-started", Nothing::NotStarted),
        ("waiting", Nothing::Waiting("behind run #41".into())),
        ("no-output", Nothing::NoOutput { still: false }),
        ("canceled", Nothing::CanceledBefore),
        ("expired", Nothing::Expired { days: 400 }),
    ] {
        let log =
            LogView { lines: vec![], nothing: Some(nothing), foot: None, earlier: None, error: None, ..log_view() };
        pages.push(page(&format!("log-{name}"), &log_page(theme, log)));
    }
    pages
}

fn resource(address: &str, action: Action, before: Value, after: Value) -> ResourceChange {
    let type_name = address.split('.').next().unwrap().to_owned();
    ResourceChange {
        address: address.into(),
        type_name,
        action,
        before,
        after,
        sensitive: vec![],
        replace_paths: vec![],
    }
}

fn changes() -> Changes {
    let mut database = resource(
        "aws_db_instance.orders",
        Action::Replace,
        json!({"storage_type": "gp2", "endpoint": "orders.c1xk2.rds.example:5432", "password": "h:7c21", "port": 5432}),
        json!({"storage_type": "gp3", "endpoint": "(known after apply)", "password": "h:90bb", "port": 5432}),
    );
    database.sensitive = vec!["/password".into()];
    database.replace_paths = vec!["/storage_type".into()];
    Changes {
        resources: vec![
            database,
            resource(
                "kubernetes_deployment.web",
                Action::Update,
                json!({"spec": {"replicas": 3, "image": "web:2.8"}, "metadata": {"labels": {"app": "web"}}}),
                json!({"spec": {"replicas": 6, "image": "web:2.8"}, "metadata": {"labels": {"app": "web"}}}),
            ),
            resource(
                "aws_cloudwatch_metric_alarm.web_latency",
                Action::Create,
                Value::Null,
                json!({"alarm_name": "web-latency", "threshold": 250, "tags": {"team": "shop"}, "arn": "(known after apply)"}),
            ),
            resource("data.aws_ami.base", Action::Read, Value::Null, json!({"id": "(known after apply)"})),
        ],
        outputs: vec![OutputChange {
            name: "web_url".into(),
            action: Action::Update,
            before: json!("https://shop.example"),
            after: json!("https://www.shop.example"),
            sensitive: false,
        }],
    }
}

fn changes_view(replan: bool) -> ChangesView {
    let changes = changes();
    ChangesView { replan, rev: 1, ..ChangesView::new(&changes, changes.delta(), SHOWN, &format!("{PATH}/changes")) }
}

fn situation(kind: Kind, state: State) -> Situation {
    Situation {
        number: 42,
        kind,
        state,
        role: Role::Admin,
        confirmed: false,
        lost: false,
        prioritized: false,
        promotable: false,
        proposes: false,
    }
}

fn head(situation: Situation) -> RunHead {
    RunHead {
        id: "run_01K00000000000000000000042".into(),
        label: situation.object(),
        title: "Raise the replica count".into(),
        command: false,
        stack: shop(),
        kind: situation.kind.word(),
        badge: Badge::of(situation.state),
        verdict: None,
        took: None,
        why: None,
        mark: person("ops-lead"),
        created: ago(760),
        source: Some(SourceRef {
            short: "4f2c1e9".into(),
            full: "4f2c1e9a77b04cc0a1d2e3f4a5b6c7d8e9f00112".into(),
            branch: Some("main".into()),
        }),
        decided: None,
        patched_by: None,
        retry_of: None,
        acts: situation.acts(),
        no_acts: None,
        warnings: vec![],
    }
}

fn phase(word: &str, look: Look, millis: Option<u64>, bar: Option<u8>) -> PhaseRow {
    PhaseRow {
        badge: Badge::new(look, word),
        took: millis.map(took),
        note: None,
        bar,
        now: false,
        ahead: look == Look::Waiting,
        href: millis.map(|_| format!("{PATH}?tab=log&phase={}", word.to_lowercase())),
    }
}

fn planned() -> Vec<PhaseRow> {
    vec![
        phase("Preparing", Look::Succeeded, Some(412), Some(1)),
        phase("Initializing", Look::Succeeded, Some(6_100), Some(20)),
        phase("Planning", Look::Succeeded, Some(31_200), Some(100)),
    ]
}

pub fn tabs(here: &str) -> Vec<Tab> {
    let tab = |word: &str| Tab::new(word, format!("{PATH}?tab={}", word.to_lowercase()), word == here);
    vec![tab("Changes").counted(4), tab("Log").counted(1_204), tab("Timeline").counted(9)]
}

pub fn waiting(theme: Theme) -> RunPage {
    let situation = situation(Kind::Tracked, State::Unconfirmed);
    let crumbs = vec![Crumb::link("Stacks", "/stacks"), Crumb::link("Shop", "/stacks/shop"), Crumb::here("run #42")];
    let mut frame = frame(theme, "run #42 · Shop", Place::Stacks, PATH, crumbs);
    frame.badge = Some(Badge::of(situation.state));
    frame.live = Some(live("/live/runs/run_01K00000000000000000000042"));
    let mut phases = planned();
    phases.push(PhaseRow { now: true, took: Some(since(722)), ..phase("Unconfirmed", Look::NeedsYou, None, None) });
    phases.push(phase("Applying", Look::Waiting, None, None));
    RunPage {
        frame,
        rev: 7,
        head: RunHead { verdict: Some("waits for a decision".into()), ..head(situation) },
        decision: Some(Decision {
            sentence: "3 resources and 1 output would change.".into(),
            detail: "The workspace is sealed; confirming applies exactly this plan.".into(),
            digest: Some(PlanDigest {
                full: format!("sha256:{}", "9c41".repeat(16)),
                short: "sha256:9c41…9c41".into(),
            }),
            missing: None,
            open: Some("1 more approval is needed, not by ops-lead.".into()),
            reviews: vec![ReviewLine {
                badge: Badge::new(Look::Succeeded, "Approved"),
                by: person("reviewer"),
                note: Some("the window is open until four".into()),
                at: ago(3),
            }],
            approve: Some("Approve run #42".into()),
            reject: Some("Reject run #42".into()),
            confirm: None,
            discard: Some("Discard run #42".into()),
            expires: None,
            warnings: vec!["plan policy “cost”: the database grows by 40 %".into()],
            delta: Some(DeltaView::resources(delta(1, 1, 1, 0))),
            destroys: false,
        }),
        failure: None,
        phases,
        facts: vec![
            Fact::new("Executor", "jail · host root · network host"),
            Fact::new("Workspace", "sealed, 214 MiB → 61 MiB"),
            Fact { copy: Some("run_01K00000000000000000000042".into()), ..Fact::code("Run id", "run_01K…0042") },
        ],
        tabs: tabs("Changes"),
        panel: Panel::Changes(Ok(changes_view(true))),
    }
}

fn in_state(theme: Theme, situation: Situation) -> RunPage {
    let mut page = waiting(theme);
    page.frame.badge = Some(Badge::of(situation.state));
    page.head = head(situation);
    page.decision = None;
    page.phases = planned();
    page
}

fn applying(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Tracked, State::Applying));
    page.head.took = Some(since(72));
    page.head.decided = Some((person("reviewer"), "confirmed", Some("go".into())));
    page.phases.push(PhaseRow { note: Some("reviewer".into()), ..phase("Confirmed", Look::Succeeded, None, None) });
    let row = phase("Applying", Look::Working, Some(1), Some(100));
    page.phases.push(PhaseRow { now: true, took: Some(since(72)), ..row });
    page.tabs = tabs("Log");
    page.panel = Panel::Log(Box::new(LogView {
        live: true,
        full: Some(format!("{PATH}/log")),
        foot: None,
        error: None,
        ..log_view()
    }));
    page
}

fn failed_run(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Tracked, State::Failed));
    page.head.verdict = Some("exit 1 in planning".into());
    page.failure = Some(Failure {
        phase: "Planning",
        verdict: "exit 1".into(),
        line: Some((
            "Error: Reference to undeclared resource \"aws_vpc.main\" on main.tf line 14".into(),
            "#L1195".into(),
        )),
    });
    page.phases[2].badge = Badge::new(Look::Failed, "Planning");
    page.phases[2].now = true;
    page.tabs = tabs("Log");
    let mut log = LogView { full: Some(format!("{PATH}/log")), ..log_view() };
    log.phase = "planning";
    log.lines[7].error = true;
    page.panel = Panel::Log(Box::new(log));
    page
}

fn timeline(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Tracked, State::Finished));
    let event = |state: State, who, at, reason: Option<&str>, note: Option<&str>| Event {
        told: Told::Decided(Badge::of(state)),
        actor: who,
        at: ago(at),
        after: Some("0.6s".into()),
        reason: reason.map(Into::into),
        note: note.map(Into::into),
    };
    let system = || mark(ActorKind::System, "Airlock");
    let mut events = vec![
        event(State::Queued, person("ops-lead"), 900, Some("triggered on 4f2c1e9"), None),
        event(State::Ready, system(), 900, None, None),
        event(State::Preparing, system(), 898, Some("slot 2 of 4"), None),
        event(State::Planning, system(), 890, None, None),
        event(State::Unconfirmed, system(), 850, Some("3 resources and 1 output would change"), None),
        event(State::Confirmed, person("reviewer"), 300, None, Some("go, the cache is warm")),
        event(State::Applying, system(), 298, None, None),
        event(State::Finished, system(), 120, Some("exit 0"), None),
    ];
    let comment = Event {
        told: Told::Comment,
        ..event(
            State::Queued,
            person("dana"),
            400,
            None,
            Some("Is the replica set large enough?\nAsked the shop team."),
        )
    };
    let text = "the variable REGION was changed: this run goes on with what it began with";
    let remark = Event { told: Told::Remark, ..event(State::Unconfirmed, person("dana"), 390, Some(text), None) };
    events.insert(5, comment);
    events.insert(6, remark);
    page.tabs = tabs("Timeline");
    page.panel = Panel::Timeline(Timeline { rev: 9, events, may_comment: true });
    page.frame.flash = Some(flash("run #42 was confirmed.", None));
    page
}

fn queued(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Tracked, State::Queued));
    page.head.why = Some(Why::linked("behind run #41", "/runs/run_01K00000000000000000000041"));
    page.phases = vec![phase("Preparing", Look::Waiting, None, None), phase("Planning", Look::Waiting, None, None)];
    page.panel = Panel::Changes(Err(NoChanges {
        rev: 1,
        empty: empty("No plan yet", "It appears here once the run has planned."),
    }));
    page
}

fn destroy(theme: Theme) -> RunPage {
    let mut page = waiting(theme);
    page.head = head(situation(Kind::Destroy, State::Unconfirmed));
    page.head.title = "Take the shop down".into();
    if let Some(decision) = &mut page.decision {
        decision.destroys = true;
        decision.sentence = "38 resources would be deleted.".into();
        decision.confirm = Some("Delete 38 resources of Shop".into());
        decision.discard = Some("Discard destroy run #42".into());
        decision.expires = Some(ago(-300_000));
        decision.warnings.clear();
        decision.reviews.clear();
        (decision.open, decision.approve, decision.reject) = (None, None, None);
    }
    page
}

fn task(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Task, State::Performing));
    page.head.title = "terraform state list | grep cache".into();
    page.head.command = true;
    page.head.took = Some(since(8));
    page.head.warnings = vec!["the vendor's init was skipped".into()];
    page.tabs = vec![tabs("Log").remove(1), tabs("").remove(2)];
    let nothing = Some(Nothing::NoOutput { still: true });
    page.panel = Panel::Log(Box::new(LogView {
        live: true,
        lines: vec![],
        nothing,
        foot: None,
        earlier: None,
        error: None,
        ..log_view()
    }));
    page
}

fn lost(theme: Theme) -> RunPage {
    let mut page = in_state(theme, Situation { lost: true, ..situation(Kind::Tracked, State::Failed) });
    page.head.badge = Badge::lost();
    page.head.why = Some(Why::new("the machine restarted during apply: what it changed is unknown"));
    page.decision = None;
    page
}

fn no_change(theme: Theme) -> RunPage {
    let mut page = in_state(theme, situation(Kind::Proposed, State::Finished));
    page.head.verdict = Some("nothing to change".into());
    page.panel = Panel::Changes(Ok(ChangesView::new(&Changes::default(), delta(0, 0, 0, 0), SHOWN, "")));
    page
}

fn unlisted(theme: Theme) -> RunPage {
    let mut page = waiting(theme);
    if let Some(decision) = &mut page.decision {
        decision.sentence = "Something would change; the plan does not list what.".into();
        decision.warnings = vec!["Only aws_db_instance.orders was planned. What else would change is left out.".into()];
        decision.delta = None;
    }
    let empty = Empty {
        action: Some(("Log of Planning".into(), format!("{PATH}?tab=log&phase=planning"))),
        ..empty("The plan does not list its changes", "What it would do is in the words of its own log.")
    };
    page.panel = Panel::Changes(Err(NoChanges { rev: 1, empty }));
    page
}

fn guest(theme: Theme) -> RunPage {
    let mut page = in_state(theme, Situation { proposes: true, ..situation(Kind::OnDemand, State::Finished) });
    page.head.title = "patcher: pin provider versions".into();
    page.head.verdict = Some("exit 0".into());
    let used = |name, used: &str, of: &str, share| Used {
        name,
        used: used.into(),
        of: of.into(),
        share,
        exact: format!("{used} of {of}"),
    };
    let patch = "diff --git a/infra/versions.tf b/infra/versions.tf\n--- a/infra/versions.tf\n+++ b/infra/versions.tf\n\
                 @@ -2,3 +2,4 @@\n required_providers {\n-  aws = { version = \">= 4.0\" }\n+  aws = { version = \"~> 5.94.1\" }\n\
                 +  # pinned by patcher, see report.md\n }\n";
    let (lines, hidden) = patch_lines(patch);
    let part = GuestPart {
        phase: "Performing",
        name: Some("python".into()),
        digest: Some(("sha256:51d0…9c41".into(), format!("sha256:{}", "51d0".repeat(16)))),
        may: vec![
            Given::code("Runs", "python patch.py --pin"),
            Given::code("Directory", "/workspace").noted("read, write"),
            Given::code("Host", "api.model.example:443").noted("7 requests, 3.1 KiB out, 88.0 KiB in"),
            Given::code("Header with a secret", "api.model.example")
                .noted("Authorization: MODEL_KEY, never shown to it"),
        ],
        verdict: Some("exit 0".into()),
        good: true,
        used: vec![
            used("Fuel", "3.12 G", "10 G", 31),
            used("Memory", "61.0 MiB", "256.0 MiB", 23),
            used("Wall time", "21.40 s", "300 s", 7),
            used("Output", "15.1 MiB", "16.0 MiB", 94),
        ],
        refusals: vec![
            Refusal { kind: "host", tried: "packages.example:443".into(), count: 1 },
            Refusal { kind: "path", tried: "../../etc/passwd".into(), count: 2 },
        ],
        refusals_dropped: 0,
    };
    page.tabs = vec![Tab::new("Guest", format!("{PATH}?tab=guest"), true).counted(1), tabs("").remove(1)];
    page.panel = Panel::Guest(Box::new(GuestView {
        rev: 1,
        parts: vec![part],
        artifacts: vec![ArtifactLink {
            path: "report.md".into(),
            href: format!("{PATH}/artifacts/report.md"),
            size: "2.1 KiB".into(),
            digest: "sha256:0a1b…".into(),
        }],
        expired: false,
        patch: Some(PatchView {
            sentence: "1 file changed.".into(),
            lines,
            hidden,
            href: format!("{PATH}/patch"),
            no_propose: None,
            expired: false,
        }),
    }));
    page
}

fn changes_page(theme: Theme) -> RunChangesPage {
    let resources = (0..300).map(|n| {
        resource(&format!("module.cell[{n}].random_pet.name"), Action::Create, Value::Null, json!({"length": n}))
    });
    let changes = Changes { resources: resources.collect(), outputs: vec![] };
    RunChangesPage {
        frame: waiting(theme).frame,
        badge: Badge::of(State::Unconfirmed),
        title: "Changes of run #42".into(),
        run_href: PATH.into(),
        changes: Ok(ChangesView::new(&changes, changes.delta(), SHOWN, &format!("{PATH}/changes?from=200"))),
    }
}

pub fn hostile(theme: Theme) -> RunPage {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
    let mut page = waiting(theme);
    page.head.title = evil.into();
    page.head.mark = person(evil);
    page.head.warnings = vec![evil.into()];
    if let Some(decision) = &mut page.decision {
        decision.missing = Some(Why::new(evil));
        decision.confirm = None;
    }
    let changes = Changes {
        resources: vec![resource(evil, Action::Update, json!({evil: evil}), json!({evil: 1}))],
        outputs: vec![],
    };
    let view = ChangesView::new(&changes, changes.delta(), SHOWN, PATH);
    page.panel = Panel::Changes(Ok(ChangesView { replan: true, ..view }));
    page
}

fn log_page(theme: Theme, log: LogView) -> RunLogPage {
    let mut frame = waiting(theme).frame;
    frame.path = format!("{PATH}/log");
    RunLogPage { frame, badge: Badge::of(State::Failed), title: "Log of run #42".into(), run_href: PATH.into(), log }
}

#[test]
fn what_is_proposed_is_the_primary_action_and_stands_once() {
    let html = guest(Theme::System).render().unwrap();
    assert_eq!(html.matches("value=\"propose\"").count(), 1);
    let (head, rest) = html.split_once("class=\"two\"").unwrap();
    assert!(head.contains("value=\"propose\"") && rest.contains("meters"), "it stands at the top");
}

/// Keeps the delta's words in one place.
#[test]
fn the_sample_changes_count_as_their_page_says() {
    let view = changes_view(true);
    assert_eq!(view.resources_delta, DeltaView::resources(changes().delta()));
    assert_eq!(
        view.groups.iter().map(|group| group.title).collect::<Vec<_>>(),
        ["Replace", "Update", "Create", "Read"]
    );
}
