//! Sample data: a small platform team on an ordinary afternoon.

use std::time::Duration;

use airlock::{
    domain::{ActorKind, Counts, Delta, Look, OutputCounts, State, Timestamp},
    http::view::{
        Frame,
        frame::{Crumb, Empty, Flash, Me, Place, Theme, Tone},
        live::LiveHook,
        rows::{RunRow, StackRef, StackRow, Why},
        status::{Badge, DeltaView, Mark, Moment, Took, When},
    },
};

/// 2026-02-03 14:05:09 UTC
pub const NOW: Timestamp = Timestamp::from_millis(1_770_127_509_000);

pub const fn before(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() - seconds * 1_000)
}

pub fn ago(seconds: i64) -> Moment {
    Moment::new(before(seconds), NOW)
}

pub fn took(millis: u64) -> Took {
    Took::ended(Duration::from_millis(millis))
}

pub fn since(seconds: i64) -> Took {
    Took::going_on(before(seconds), NOW)
}

pub fn person(name: &str) -> Mark {
    Mark { kind: ActorKind::User, name: name.into() }
}

pub fn mark(kind: ActorKind, name: &str) -> Mark {
    Mark { kind, name: name.into() }
}

pub fn shop() -> StackRef {
    stack("Shop", "shop")
}

pub fn stack(name: &str, slug: &str) -> StackRef {
    StackRef { slug: slug.into(), name: name.into() }
}

pub const fn delta(added: u32, changed: u32, replaced: u32, deleted: u32) -> Delta {
    Delta {
        resources: Counts { added, changed, deleted, replaced },
        outputs: OutputCounts { added: 0, changed: 1, deleted: 0 },
    }
}

pub fn frame(theme: Theme, subject: &str, place: Place, path: &str, crumbs: Vec<Crumb>) -> Frame {
    Frame {
        subject: subject.into(),
        badge: None,
        place,
        path: path.into(),
        crumbs,
        theme,
        me: Some(Me { name: "ops-lead".into(), admin: true }),
        needs_you: 2,
        flash: None,
        shortcuts: true,
        now: NOW,
        live: None,
        once: "01KB0000000000000000000000".into(),
    }
}

pub fn flash(text: &str, link: Option<(&str, &str)>) -> Flash {
    Flash { tone: Tone::Good, text: text.into(), link: link.map(|(word, href)| (word.into(), href.into())) }
}

pub fn live(url: &str) -> LiveHook {
    LiveHook::new(url)
}

pub fn empty(title: &str, text: &str) -> Empty {
    Empty { title: title.into(), text: text.into(), action: None }
}

pub fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
    items.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn row(n: u64, badge: Badge, place: (&str, &str), label: &str, title: &str) -> RunRow {
    RunRow {
        id: format!("run_01K{n:023}"),
        badge,
        stack: Some(stack(place.0, place.1)),
        label: label.into(),
        title: title.into(),
        command: false,
        why: None,
        mark: None,
        commit: None,
        delta: None,
        when: When::At(ago(720)),
    }
}

pub fn needs_you() -> Vec<RunRow> {
    vec![
        RunRow {
            why: Some(Why::new("review by a second person missing")),
            mark: Some(person("ops-lead")),
            commit: Some("4f2c1e9".into()),
            delta: Some(DeltaView::resources(delta(1, 1, 1, 0))),
            ..row(42, Badge::of(State::Unconfirmed), ("Shop", "shop"), "run #42", "Raise the replica count")
        },
        RunRow {
            why: Some(Why::new("machine restarted during apply: what it changed is unknown")),
            mark: Some(mark(ActorKind::ApiKey, "ci-deploy")),
            delta: Some(DeltaView::resources(delta(0, 2, 0, 0))),
            when: When::At(ago(3_700)),
            ..row(19, Badge::lost(), ("Billing", "billing"), "run #19", "")
        },
    ]
}

pub fn working() -> Vec<RunRow> {
    vec![
        RunRow {
            mark: Some(mark(ActorKind::Tag, "v2.8.1")),
            why: Some(Why::new("confirmed by reviewer")),
            delta: Some(DeltaView::resources(delta(4, 0, 0, 1))),
            when: When::Took(since(72)),
            ..row(107, Badge::of(State::Applying), ("Edge", "edge"), "run #107", "")
        },
        RunRow {
            command: true,
            mark: Some(person("ops-lead")),
            when: When::Took(since(8)),
            ..row(41, Badge::of(State::Performing), ("Shop", "shop"), "task #41", "terraform state list | grep cache")
        },
        RunRow {
            mark: Some(mark(ActorKind::Schedule, "nightly")),
            when: When::Took(since(21)),
            ..row(233, Badge::of(State::Planning), ("Network", "network"), "drift run #233", "")
        },
        RunRow {
            command: true,
            why: Some(Why::linked("behind task #41", "/runs/run_01K00000000000000000000041")),
            mark: Some(person("dana")),
            when: When::Took(since(3)),
            ..row(43, Badge::of(State::Queued), ("Shop", "shop"), "task #43", "terraform output -json")
        },
    ]
}

pub fn failed() -> Vec<RunRow> {
    vec![RunRow {
        why: Some(Why::new("planning · exit 1 · Error: Reference to undeclared resource")),
        mark: Some(mark(ActorKind::Commit, "lee")),
        commit: Some("c0ffee1".into()),
        when: When::At(ago(90_000)),
        ..row(88, Badge::of(State::Failed), ("Network", "network"), "run #88", "")
    }]
}

/// A run that is over: number, state, message, who set it off, delta.
type Past = (u64, State, &'static str, ActorKind, &'static str, Option<Delta>);

/// The history of one stack.
pub fn history() -> Vec<RunRow> {
    let mut rows = vec![needs_you().remove(0), working().remove(1), working().remove(3)];
    rows[0].title = "Raise the replica count".into();
    let past: [Past; 9] = [
        (40, State::Finished, "Bump the cache to r7g.large", ActorKind::Commit, "dana", Some(delta(0, 1, 0, 0))),
        (39, State::Failed, "Bump the cache to r7g.large", ActorKind::Commit, "dana", None),
        (38, State::Finished, "Rotate the signing key", ActorKind::User, "ops-lead", Some(delta(1, 0, 0, 1))),
        (37, State::Discarded, "wrong region", ActorKind::User, "lee", Some(delta(7, 0, 0, 0))),
        (36, State::Skipped, "", ActorKind::Run, "network #87", None),
        (35, State::Canceled, "", ActorKind::Schedule, "nightly", None),
        (34, State::Stopped, "Try the new module", ActorKind::User, "lee", None),
        (33, State::Finished, "", ActorKind::Policy, "after-network", Some(delta(0, 0, 0, 0))),
        (
            32,
            State::Finished,
            "Tag everything with the cost centre, as finance asked in the meeting last week",
            ActorKind::Tag,
            "v2.8.0",
            Some(delta(0, 34, 0, 0)),
        ),
    ];
    rows.extend(past.into_iter().map(|(n, state, title, kind, name, delta)| RunRow {
        mark: Some(mark(kind, name)),
        commit: Some(format!("{:07x}", n * 7_654_321)),
        delta: delta.map(DeltaView::resources),
        when: When::At(ago((42 - n as i64) * 20_000)),
        ..row(n, Badge::of(state), ("Shop", "shop"), &format!("run #{n}"), title)
    }));
    for row in &mut rows {
        row.stack = None;
    }
    rows
}

pub fn tasks() -> Vec<RunRow> {
    let mut rows = vec![working().remove(1), working().remove(3)];
    for (n, state, command, why) in [
        (40_u64, State::Finished, "terraform state rm module.legacy", None),
        (39, State::Failed, "terraform import aws_s3_bucket.logs shop-logs", Some("exit 1")),
        (38, State::Finished, "./scripts/drain.sh pool-b && kubectl get nodes -o wide --selector pool=b", None),
    ] {
        rows.push(RunRow {
            command: true,
            mark: Some(person("dana")),
            why: why.map(Why::new),
            when: When::At(ago(n as i64 * 4_000)),
            ..row(n, Badge::of(state), ("Shop", "shop"), &format!("task #{n}"), command)
        });
    }
    rows
}

fn stack_row(badge: Badge, place: (&str, &str), detail: &str, vendor: &'static str) -> StackRow {
    StackRow {
        stack: stack(place.0, place.1),
        badge,
        detail: detail.into(),
        run: Some("/runs/run_01K00000000000000000000310".into()),
        vendor,
        labels: Vec::new(),
        locked_by: None,
        disabled: false,
        delta: None,
        when: Some(When::At(ago(7_300))),
    }
}

pub fn stacks() -> Vec<StackRow> {
    vec![
        StackRow {
            labels: vec!["prod".into()],
            locked_by: Some("dana".into()),
            ..stack_row(Badge::of(State::Finished), ("DNS", "dns"), "run #310 · nothing to change", "terraform")
        },
        StackRow {
            labels: vec!["prod".into(), "eu".into()],
            delta: Some(DeltaView::resources(delta(2, 1, 0, 0))),
            when: Some(When::At(ago(90_000))),
            ..stack_row(
                Badge::of(State::Finished),
                ("Edge EU", "edge-eu"),
                "run #96 · confirmed by reviewer",
                "opentofu",
            )
        },
        StackRow {
            delta: Some(DeltaView::resources(delta(7, 0, 0, 0))),
            when: Some(When::At(ago(200_000))),
            ..stack_row(Badge::of(State::Discarded), ("Mail", "mail"), "run #12 · “wrong region” ops-lead", "custom")
        },
    ]
}

pub fn attention() -> Vec<StackRow> {
    vec![StackRow {
        labels: vec!["prod".into(), "team:shop".into(), "tier:one".into(), "eu".into()],
        locked_by: Some("a-rather-long-name@example.org".into()),
        delta: Some(DeltaView::resources(delta(1, 1, 1, 0))),
        when: Some(When::At(ago(720))),
        ..stack_row(Badge::of(State::Unconfirmed), ("Shop", "shop"), "run #42 · Raise the replica count", "terraform")
    }]
}

pub fn never_run() -> Vec<StackRow> {
    vec![StackRow {
        run: None,
        when: None,
        disabled: true,
        ..stack_row(Badge::never_deployed(), ("Playground", "playground"), "no source yet", "custom")
    }]
}

pub fn good(words: &str) -> Badge {
    Badge::new(Look::Succeeded, words)
}
