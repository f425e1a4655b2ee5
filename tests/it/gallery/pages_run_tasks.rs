//! Run tasks: the administration, a stack's tab, what they said about a run.

use airlock::{
    domain::{Enforcement, Look, ResultStatus, Stage, StageStatus, run_task::Level},
    http::view::{
        OutcomePage, RunPage, RunTaskPage, RunTasksPage, StackRunTasksPage,
        admin::admin_tabs,
        form::Fields,
        frame::{Crumb, Pager, Place, Tab, Theme},
        markdown::Markdown,
        run::Panel,
        run_task::{
            AttachedRow, DeliveryRow, LabelView, OutcomeView, ResultView, RunTaskForm, RunTaskRow, RunTasksView,
            StageView, Terms, UnattachedRow, VerificationRow, result_badge, stage_badge,
        },
        status::Badge,
    },
};

use super::{Page, page, pages_run, pages_stack, sample::*};

pub fn all(theme: Theme) -> Vec<Page> {
    let none = RunTasksPage { tasks: vec![], form: form(), problems: vec![], ..list(theme) };
    vec![
        page("run-tasks", &list(theme)),
        page("run-tasks-none", &none),
        page("run-task", &one(theme)),
        page("stack-run-tasks", &on_stack(theme)),
        page("run-run-tasks", &run(theme)),
        page("run-outcome", &outcome(theme)),
    ]
}

fn form() -> RunTaskForm {
    RunTaskForm::new(&["guard".to_owned(), "surveyor".to_owned()])
}

fn task(name: &str, what: &str, enabled: bool, stacks: &str) -> RunTaskRow {
    RunTaskRow {
        name: name.into(),
        href: format!("/admin/run-tasks/{name}"),
        enabled,
        trusted: name == "change_board",
        what: what.into(),
        signed: enabled && what.starts_with("http"),
        description: "What it costs, before anybody pays it".into(),
        stacks: stacks.into(),
        updated: ago(90_000),
    }
}

fn list(theme: Theme) -> RunTasksPage {
    let mut form = form();
    form.url.value = "https://checks.internal/run-task".into();
    form.url.error = Some("checks.internal:443 answered 401 to the verification request".into());
    RunTasksPage {
        frame: frame(theme, "Run tasks", Place::Admin, "/admin/run-tasks", vec![Crumb::here("Run tasks")]),
        tabs: admin_tabs("Run tasks"),
        tasks: vec![
            task("change_board", "https://changes.internal:8443", true, "on 3 stacks"),
            task("cost-check", "https://costs.example", true, "on 12 stacks"),
            task("no-deletes", "the guest guard", false, "on no stack"),
        ],
        form,
        problems: vec![],
        empty: empty("No run tasks yet", "Checks will appear here."),
    }
}

fn one(theme: Theme) -> RunTaskPage {
    let delivery = |attempt, badge, reason: &str, note: Option<&str>, may_send| DeliveryRow {
        badge,
        result: "taskrs_01K00000000000000000000042".into(),
        attempt,
        at: ago(i64::from(100 - attempt) * 9),
        took: "0.4s".into(),
        reason: reason.into(),
        stage: Stage::PostPlan.title(),
        run: "run_01K00000000000000000000042".into(),
        note: note.map(str::to_owned),
        may_send,
    };
    let mut form = form();
    form.name.value = "cost-check".into();
    form.url.value = "https://costs.example/run-task".into();
    form.keeps_key();
    let crumbs = vec![Crumb::link("Run tasks", "/admin/run-tasks"), Crumb::here("cost-check")];
    RunTaskPage {
        frame: frame(theme, "Run task cost-check", Place::Admin, "/admin/run-tasks/cost-check", crumbs),
        tabs: admin_tabs("Run tasks"),
        name: "cost-check".into(),
        id: "task_01K00000000000000000000007".into(),
        badge: good("Enabled"),
        form,
        problems: vec![],
        stacks: vec![shop(), stack("Edge network", "edge-network")],
        deliveries: vec![
            delivery(3, good("200"), "sent again by ops-lead", None, true),
            delivery(2, Badge::new(Look::Failed, "500"), "retry", Some("<h1>Internal error</h1>"), false),
            delivery(
                1,
                Badge::new(Look::Failed, "No answer"),
                "first",
                Some("costs.example:443 did not answer within 30 s"),
                false,
            ),
        ],
        verifications: vec![
            VerificationRow { badge: good("200"), at: ago(9_000), took: "0.2s".into(), note: None },
            VerificationRow {
                badge: Badge::new(Look::Failed, "401"),
                at: ago(9_900),
                took: "0.1s".into(),
                note: Some("<b>who</b> are you".into()),
            },
        ],
        pager: Pager { newest: None, older: Some("/admin/run-tasks/cost-check?cursor=50".into()) },
        is_called: true,
    }
}

fn on_stack(theme: Theme) -> StackRunTasksPage {
    let attached = |name: &str, stages: &[Stage], enforcement, enabled| AttachedRow {
        id: format!("wstask_{name}"),
        name: name.into(),
        description: "What it costs".into(),
        enabled,
        terms: Terms { stages: stages.to_vec(), enforcement },
    };
    StackRunTasksPage {
        frame: pages_stack::stack_frame(theme, "Run tasks"),
        head: pages_stack::head("Run tasks"),
        attached: vec![
            attached("cost-check", &[Stage::PostPlan], Enforcement::Advisory, true),
            attached("change_board", &[Stage::PrePlan, Stage::PreApply], Enforcement::Mandatory, true),
            attached("old-scanner", &[Stage::PostApply], Enforcement::Advisory, false),
        ],
        unattached: Some(vec![
            UnattachedRow { name: "no-deletes".into(), description: "Refuses deletions".into(), enabled: true },
            UnattachedRow { name: "beta".into(), description: String::new(), enabled: false },
        ]),
        may_make: true,
        problem: None,
        empty: empty("", ""),
    }
}

fn label(text: &str, level: Level, coloured: bool) -> LabelView {
    LabelView { text: text.into(), level, coloured }
}

fn finding() -> OutcomeView {
    OutcomeView {
        id: "COST-0127".into(),
        description: "The database grows from 412 € to 1 904 € a month".into(),
        tags: vec![
            ("Status".into(), vec![label("Denied", Level::Error, true)]),
            ("Severity".into(), vec![label("High", Level::Warning, true), label("Budget", Level::Info, true)]),
            ("Cost Centre".into(), vec![label("IT-OPS", Level::Error, false)]),
        ],
        body: Markdown::read(
            "## Why\n\n`aws_db_instance.orders` becomes **db.r6g.2xlarge**.\n\n| | now | then |\n|-|-|-|\n| month | 412 € | 1 904 € |\n\n* [the report](https://costs.example/r/1)\n* <script>alert(1)</script>\n\n> Ask the budget's owner.\n\n```\nresource \"aws_db_instance\" \"orders\" {}\n```\n",
        ),
        whole: Some("/runs/run_01K/outcomes/taskrs_01K/0".into()),
        link: Some("https://costs.example/r/1".into()),
    }
}

fn result(name: &str, status: ResultStatus, mandatory: bool, message: &str) -> ResultView {
    ResultView {
        id: format!("taskrs_{name}"),
        name: name.into(),
        badge: result_badge(status),
        mandatory,
        message: message.into(),
        link: (status == ResultStatus::Failed).then(|| "https://costs.example/r/1".into()),
        took: Some(if status == ResultStatus::Running { since(31) } else { took(4_200) }),
        outcomes: if status == ResultStatus::Failed { vec![finding()] } else { vec![] },
        hidden: 0,
    }
}

fn run(theme: Theme) -> RunPage {
    let stage = |id: &str, stage: Stage, status, results| StageView {
        id: id.into(),
        title: stage.title(),
        word: stage.word(),
        badge: stage_badge(status),
        results,
        overridden: None,
        may_override: None,
    };
    let mut failed = stage(
        "ts_2",
        Stage::PostPlan,
        StageStatus::Failed,
        vec![
            result("cost-check", ResultStatus::Failed, true, "1 of 3 changes costs more than its budget"),
            result("scanner", ResultStatus::Running, false, "2 of 3 files scanned"),
            result("slow", ResultStatus::Unreachable, false, "slow.internal:443 did not answer within 30 s"),
        ],
    );
    failed.may_override = Some("A mandatory check did not pass. Overriding lets this run go on all the same.".into());
    let mut overridden = stage(
        "ts_1",
        Stage::PrePlan,
        StageStatus::Overridden,
        vec![result("change_board", ResultStatus::Passed, true, "")],
    );
    overridden.overridden = Some(("ops-lead".into(), ago(300), Some("agreed by phone".into())));
    let view = RunTasksView { rev: 1, stages: vec![failed, overridden], empty: String::new() };
    let mut tabs = pages_run::tabs("none");
    tabs.insert(1, Tab::new("Run tasks", format!("{}?tab=run_tasks", pages_run::PATH), true).counted(4));
    RunPage { panel: Panel::RunTasks(Box::new(view)), tabs, ..pages_run::waiting(theme) }
}

fn outcome(theme: Theme) -> OutcomePage {
    let crumbs = vec![Crumb::link("Shop", "/stacks/shop"), Crumb::here("Outcome")];
    OutcomePage {
        frame: frame(theme, "run #42 · Shop", Place::Stacks, "/runs/run_01K/outcomes/taskrs_01K/0", crumbs),
        badge: result_badge(ResultStatus::Failed),
        title: "The database grows · run #42 · Shop".into(),
        run_task: "cost-check".into(),
        run_href: "/runs/run_01K?tab=run_tasks".into(),
        outcome: OutcomeView { whole: None, ..finding() },
    }
}

#[test]
fn what_a_check_wrote_is_never_markup_of_the_page() {
    use askama::Template as _;
    let html = run(Theme::System).render().unwrap();
    assert!(!html.contains("<script>alert") && html.contains("&#60;script&#62;alert"), "{html}");
    let block = run(Theme::System).as_panel().render().unwrap();
    assert!(html.contains(block.trim()));
    assert_eq!(list(Theme::System).form.wrong().len(), 1);
}
