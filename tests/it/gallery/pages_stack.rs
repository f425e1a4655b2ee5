//! Home, lists, stacks.

use airlock::{
    domain::{FieldError, Severity, State, runtime::Origin},
    http::view::{
        HomePage, NewStackPage, QueuePage, RunsPage, StackEnvironmentPage, StackRunsPage, StackSettingsPage,
        StackTasksPage, StacksPage, TasksPage,
        context::{AttachForm, AttachedRow, HookRow, Provenance},
        declared::{DeclaredList, DeclaredRow},
        form::Fields,
        frame::{Crumb, Pager, Place, Theme},
        lists::{CommandForm, QueueRow, RunFilter, StackFilter},
        rows::{RunList, RunRow, StackGroup},
        stack::{FileForm, FileRow, LockCard, Shown, StackHead, TriggerForm, UploadRow, VariableForm, VariableRow},
        stack_form::{SourceTest, StackForm},
        status::Badge,
        webhook::{MessageRow, severity_badge},
    },
};

use super::{Page, page, sample::*};

pub fn all(theme: Theme) -> Vec<Page> {
    let mut pages = lists(theme);
    pages.extend(stack_pages(theme));
    pages.extend(stack_forms(theme));
    pages
}

fn home(theme: Theme) -> HomePage {
    let mut frame = frame(theme, "Home", Place::Home, "/", vec![Crumb::here("Home")]);
    frame.live = Some(live("/live/home"));
    HomePage {
        frame,
        rev: 1,
        needs_you: needs_you(),
        messages: messages(),
        working: working(),
        slots_taken: 3,
        slots: 4,
        failed: failed(),
        stacks: stacks(),
        stacks_total: 14,
        may_create: true,
    }
}

fn messages() -> Vec<MessageRow> {
    let message = |number, severity, title: &str, text: &str, read| MessageRow {
        number,
        badge: severity_badge(severity),
        title: title.into(),
        text: text.into(),
        href: (number > 1).then(|| "/runs/run_01K00000000000000000000042".into()),
        policy: (number == 2).then(|| "tell-operations".into()),
        at: ago(i64::try_from(number).unwrap() * 4_000),
        read,
    };
    vec![
        message(3, Severity::Info, "Tracked run #42 of Shop is finished", "", false),
        message(2, Severity::Warning, "The cache of Shop doubles", "from 1 to 2 nodes, about 80 € a month", true),
        message(
            1,
            Severity::Error,
            "The webhook Pager was switched off",
            "10 deliveries in a row failed; the last one: HTTP 503. Mend what it calls, then switch it on again.",
            false,
        ),
    ]
}

fn lists(theme: Theme) -> Vec<Page> {
    let here = |word: &str| vec![Crumb::here(word)];
    let bare = |word: &str, place, path: &str| frame(theme, word, place, path, here(word));
    let first = HomePage {
        needs_you: vec![],
        messages: vec![],
        working: vec![],
        failed: vec![],
        stacks: vec![],
        stacks_total: 0,
        slots_taken: 0,
        ..home(theme)
    };
    let calm = HomePage { needs_you: vec![], working: vec![], failed: vec![], slots_taken: 0, ..home(theme) };
    let mut filter = RunFilter::new(&["shop".into(), "dns".into()], &["ops-lead".into(), "dana".into()]);
    filter.state.value = "finished".into();
    let runs = RunsPage {
        frame: bare("Runs", Place::Runs, "/runs"),
        rev: 1,
        filter,
        list: RunList {
            rows: needs_you().into_iter().chain(working()).chain(failed()).collect(),
            empty: empty("", ""),
        },
        pager: Pager { newest: Some("/runs".into()), older: Some("/runs?cursor=1".into()) },
        partial: true,
    };
    let no_runs = RunsPage {
        list: RunList { rows: vec![], empty: empty("No run fits", "Loosen the filters, or look at all runs.") },
        partial: false,
        pager: Pager::default(),
        ..runs.clone()
    };
    let command = CommandForm::new(&pairs(&[("shop", "Shop"), ("dns", "DNS")]));
    let tasks = TasksPage {
        frame: bare("Tasks", Place::Tasks, "/tasks"),
        rev: 1,
        command: Some(command.clone()),
        problems: vec![],
        declared: declared(),
        list: RunList { rows: tasks(), empty: empty("", "") },
        pager: Pager::default(),
    };
    let mut refused = command;
    refused.command.error = Some("must not be empty".into());
    let no_tasks = TasksPage {
        command: Some(refused),
        problems: vec![],
        list: RunList {
            rows: vec![],
            empty: empty("No tasks yet", "Commands that are run on stacks appear here, with their logs, for ever."),
        },
        ..tasks.clone()
    };
    vec![
        page("home", &home(theme)),
        page("home-first", &first),
        page("home-calm", &calm),
        page("runs", &runs),
        page("runs-none", &no_runs),
        page("tasks", &tasks),
        page("tasks-refused", &no_tasks),
        page("queue", &queue(theme)),
        page("stacks", &stacks_page(theme)),
    ]
}

/// Declared tasks, one of them with everything, one that cannot be run by who looks at it.
fn declared() -> DeclaredList {
    let row = |name: &str, kind: &str, command: &str, caps: &[&str], may_run| DeclaredRow {
        stack: ("shop".into(), "Shop".into()),
        name: name.into(),
        kind: kind.into(),
        command: command.into(),
        caps: caps.iter().map(|cap| (*cap).to_owned()).collect(),
        may_run,
        refused: may_run.then(|| ("A=1\nnothing".into(), "`nothing` is not NAME=value.".into())),
    };
    DeclaredList {
        rows: vec![
            row("nightly-report", "native", "python3 report.py --month", &["at most 600 s", "db → maindb"], true),
            row("check", "wasi:python", "check.py", &["at most 60 s", "20000000000 fuel", "64.0 MiB of memory"], false),
        ],
        names_stacks: true,
        mistakes: vec!["Dns: .airlock/config.yaml:3:5: `timeuot` is unknown".into()],
    }
}

fn queue(theme: Theme) -> QueuePage {
    let queued = |run: RunRow, position, prioritized| QueueRow { run, position, prioritized, may_prioritize: true };
    let mut ready = working();
    for (run, number) in ready.iter_mut().zip(901..) {
        run.id = format!("run_01K00000000000000000000{number}");
        run.badge = Badge::of(State::Ready);
        run.why = None;
    }
    QueuePage {
        frame: frame(theme, "Queue", Place::Queue, "/queue", vec![Crumb::here("Queue")]),
        rev: 1,
        slots: 4,
        working: working().into_iter().take(3).collect(),
        ready: vec![queued(ready.remove(0), Some(1), true), queued(ready.remove(0), Some(2), false)],
        blocked: vec![queued(working().remove(3), None, false)],
    }
}

fn stacks_page(theme: Theme) -> StacksPage {
    StacksPage {
        frame: frame(theme, "Stacks", Place::Stacks, "/stacks", vec![Crumb::here("Stacks")]),
        rev: 1,
        filter: StackFilter::new(&["prod".into(), "eu".into()]),
        groups: vec![
            StackGroup { title: "Needs attention", rows: attention() },
            StackGroup { title: "Finished", rows: stacks() },
            StackGroup { title: "Never deployed", rows: never_run() },
        ],
        total: 5,
        empty: empty("", ""),
        may_create: true,
        may_write: true,
        outcomes: vec![
            ("dns".into(), "is locked by you now".into(), true),
            ("mail".into(), "stays as it was: dana holds the lock".into(), false),
        ],
        pager: Pager::default(),
    }
}

pub fn head(here: &str) -> StackHead {
    StackHead {
        stack: shop(),
        description: "The web shop and its data stores.\nAsk #platform before destroying anything.".into(),
        labels: vec!["prod".into(), "team:shop".into()],
        badge: Badge::of(State::Unconfirmed),
        latest: Some(("run #42".into(), "/runs/run_01K00000000000000000000042".into())),
        vendor: "terraform",
        source: Some("main of https://git.example.org/infra.git".into()),
        uploaded: None,
        has_commits: true,
        disabled: false,
        lock: None,
        may_lock: true,
        trigger: Some(TriggerForm::new(Some("main"))),
        trigger_open: false,
        trigger_problems: vec![],
        unconfined: false,
        before_trigger: None,
        tabs: StackHead::tabs("shop", here, true),
    }
}

pub fn stack_frame(theme: Theme, below: &str) -> airlock::http::view::Frame {
    let mut crumbs = vec![Crumb::link("Stacks", "/stacks")];
    if below.is_empty() {
        crumbs.push(Crumb::here("Shop"));
    } else {
        crumbs.extend([Crumb::link("Shop", "/stacks/shop"), Crumb::here(below)]);
    }
    let path = if below.is_empty() { "/stacks/shop".into() } else { format!("/stacks/shop/{}", below.to_lowercase()) };
    let mut frame = frame(theme, "Shop", Place::Stacks, &path, crumbs);
    frame.badge = Some(Badge::of(State::Unconfirmed));
    frame
}

fn stack_pages(theme: Theme) -> Vec<Page> {
    let list = RunList { rows: history(), empty: empty("", "") };
    let pager = Pager { newest: None, older: Some("/stacks/shop?cursor=32".into()) };
    let runs = StackRunsPage { frame: stack_frame(theme, ""), rev: 3, head: head("Runs"), list, pager };
    let mut trigger = runs.clone();
    trigger.head.trigger_open = true;
    trigger.head.lock = Some(LockCard {
        by: person("dana"),
        note: Some("Moving the database, back at four".into()),
        since: ago(5_000),
        mine: false,
        unlock: Some("Unlock although dana holds it".into()),
    });
    if let Some(form) = &mut trigger.head.trigger {
        form.commit.value = "4f2c".into();
        form.commit.error = Some("must be a whole commit id: 40 or 64 hexadecimal digits".into());
    }
    let mut fresh = runs.clone();
    fresh.head.badge = Badge::never_deployed();
    fresh.head.latest = None;
    fresh.head.trigger = None;
    fresh.head.source = None;
    fresh.head.before_trigger = Some(("Upload a source first".into(), "/stacks/shop/settings#upload".into()));
    fresh.list = RunList {
        rows: vec![],
        empty: empty("No runs yet", "Every plan and every deployment of this stack will be listed here, newest first."),
    };
    fresh.pager = Pager::default();
    fresh.frame.flash =
        Some(flash("The stack Shop was created.", Some(("Change its settings", "/stacks/shop/settings"))));
    let tasks = StackTasksPage {
        frame: stack_frame(theme, "Tasks"),
        rev: 1,
        head: head("Tasks"),
        command: Some(CommandForm::new(&pairs(&[("shop", "Shop")]))),
        problems: vec![],
        declared: declared(),
        list: RunList { rows: tasks(), empty: empty("", "") },
        pager: Pager::default(),
    };
    vec![page("stack", &runs), page("stack-trigger", &trigger), page("stack-new", &fresh), page("stack-tasks", &tasks)]
}

fn environment(theme: Theme) -> StackEnvironmentPage {
    let variable = |name: &str, value, description: &str| VariableRow {
        name: name.into(),
        value,
        description: description.into(),
        changed: Some((ago(400_000), person("ops-lead"))),
        from: Some(Provenance::new(&Origin::Stack, &[Origin::StackDefaults], true)),
        own: true,
    };
    let context = |name: &str| Origin::Context { name: name.parse().unwrap(), priority: 5 };
    let shared = VariableRow {
        changed: None,
        from: Some(Provenance::new(&context("aws-production"), &[context("base")], true)),
        own: false,
        ..variable("AWS_ACCOUNT_ID", Shown::Plain("123456789012".into()), "")
    };
    let mut forms = (VariableForm::new(), FileForm::new());
    forms.0.set_prefix("variable-");
    forms.1.set_prefix("file-");
    StackEnvironmentPage {
        frame: stack_frame(theme, "Environment"),
        head: head("Environment"),
        contexts: vec![
            AttachedRow {
                name: "aws-production".into(),
                href: Some("/admin/contexts/aws-production".into()),
                description: "Account and role of production".into(),
                priority: Some(5),
            },
            AttachedRow { name: "base".into(), href: None, description: String::new(), priority: None },
        ],
        attach: Some(AttachForm::new(&["tools".into()])),
        may_attach: true,
        attach_problems: vec![],
        hooks: vec![HookRow {
            point: "before_plan",
            hooks: vec![("tflint".into(), Provenance::new(&context("base"), &[], true))],
        }],
        variables: vec![
            shared,
            variable("AWS_REGION", Shown::Plain("eu-central-1".into()), ""),
            variable("TF_VAR_replicas", Shown::Plain("6".into()), "How many web pods"),
            variable(
                "ro_AWS_ROLE_ARN",
                Shown::Plain("arn:aws:iam::123456789012:role/airlock-plan".into()),
                "Planning only",
            ),
            variable("DB_PASSWORD", Shown::Sensitive("h:7c21".into()), ""),
            variable("BANNER", Shown::Plain("first line\nsecond line\nthird line".into()), ""),
        ],
        files: vec![
            FileRow {
                path: "config/backend.hcl".into(),
                size: "412 B".into(),
                sensitive: false,
                digest: "sha256:9c41…e07b".into(),
                changed: ago(900_000),
                by: person("dana"),
                from: Some(Provenance::new(&Origin::Stack, &[], true)),
                own: true,
            },
            FileRow {
                path: "keys/deploy.pem".into(),
                size: "1.7 KiB".into(),
                sensitive: true,
                digest: "h:51d0".into(),
                changed: ago(900_000),
                by: person("dana"),
                from: Some(Provenance::new(&context("base"), &[], true)),
                own: false,
            },
        ],
        forms: Some(forms),
        editing: None,
        problems: (vec![], vec![]),
        empty: empty(
            "No variables yet",
            "They reach every phase of this stack's runs. Sensitive ones are masked in logs.",
        ),
    }
}

fn stack_forms(theme: Theme) -> Vec<Page> {
    let bare = StackEnvironmentPage {
        variables: vec![],
        files: vec![],
        contexts: vec![],
        hooks: vec![],
        attach: None,
        ..environment(theme)
    };
    let mut new = NewStackPage {
        frame: frame(
            theme,
            "New stack",
            Place::Stacks,
            "/stacks/new",
            vec![Crumb::link("Stacks", "/stacks"), Crumb::here("New")],
        ),
        form: StackForm::new(&["infra-read".into()], &["tools-2026".into()]),
        test: None,
        problems: vec![],
    };
    let fresh = page("new-stack", &new);
    new.form.name.value = "Shop".into();
    new.form.vendor_kind.value = "custom".into();
    new.form.network.value = "allow".into();
    new.test =
        Some(SourceTest { good: true, text: "main is at 4f2c1e9 “Raise the replica count”, 214 files".into() });
    let error = |field: &str, error: &str| FieldError { field: field.into(), error: error.into() };
    new.problems = new.form.blame(&[
        error("source.url", "must be an address of 1 to 2000 characters without blanks"),
        error("executor.network", "`db.internal` must be host:port"),
        error("vendor", "is not complete"),
    ]);
    let settings = StackSettingsPage {
        frame: stack_frame(theme, "Settings"),
        head: head("Settings"),
        form: StackForm::new(&["infra-read".into()], &[]),
        test: None,
        uploads: vec![],
        upload_error: None,
        delete: Some(StackSettingsPage::delete_field("shop")),
        delete_refused: None,
        problems: vec![],
        version: 7,
        may_edit: true,
    };
    let mut uploads = settings.clone();
    uploads.form.source_kind.value = "upload".into();
    uploads.upload_error = Some("the entry `../../etc/passwd` leads out of the source".into());
    uploads.delete_refused = Some("run #42 is unconfirmed: decide about it first".into());
    let upload = |digest: &str, at, current| UploadRow {
        digest: digest.into(),
        size: "61 MiB".into(),
        at: ago(at),
        by: person("ops-lead"),
        current,
    };
    uploads.uploads = vec![upload("sha256:9c41…e07b", 700, true), upload("sha256:02aa…11cd", 90_000, false)];
    vec![
        page("environment", &environment(theme)),
        page("environment-none", &bare),
        fresh,
        page("new-stack-refused", &new),
        page("settings", &settings),
        page("settings-upload", &uploads),
    ]
}
