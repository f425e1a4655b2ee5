//! Run tasks: the administration's pages, a stack's tab, and what they said about a run.

use askama::Template;

use super::{
    form::{Choice, Control, Field, Fields, form},
    frame::{Empty, Frame, Pager, Tab},
    markdown::Markdown,
    rows::StackRef,
    stack::StackHead,
    status::{Badge, Moment, Took},
    words,
};
use crate::domain::{Enforcement, Look, ResultStatus, Stage, StageStatus, limits, run_task::Level};

/// How a result looks. Whether it holds the run up is said beside it.
pub fn result_badge(status: ResultStatus) -> Badge {
    let (look, word) = match status {
        ResultStatus::Pending => (Look::Waiting, "Pending"),
        ResultStatus::Running => (Look::Working, "Running"),
        ResultStatus::Passed => (Look::Succeeded, "Passed"),
        ResultStatus::Failed => (Look::Failed, "Failed"),
        ResultStatus::Errored => (Look::Failed, "Errored"),
        ResultStatus::Unreachable => (Look::Failed, "Unreachable"),
        ResultStatus::Canceled => (Look::Dropped, "Canceled"),
    };
    Badge::new(look, word)
}

/// How a stage looks of whose advisory checks some did not pass.
pub fn stage_badge_with(status: StageStatus, warnings: usize) -> Badge {
    match (status, warnings) {
        (StageStatus::Passed, n @ 1..) => {
            Badge::new(Look::NeedsYou, format!("Passed with {}", words::count(n as u64, "warning")))
        }
        _ => stage_badge(status),
    }
}

/// How a stage looks by itself.
pub fn stage_badge(status: StageStatus) -> Badge {
    let (look, word) = match status {
        StageStatus::Pending => (Look::Waiting, "Pending"),
        StageStatus::Running => (Look::Working, "Running"),
        StageStatus::Passed => (Look::Succeeded, "Passed"),
        StageStatus::Overridden => (Look::Succeeded, "Overridden"),
        StageStatus::Failed => (Look::Failed, "Failed"),
        StageStatus::Errored => (Look::Failed, "Errored"),
        StageStatus::Unreachable => (Look::Failed, "Unreachable"),
        StageStatus::Canceled => (Look::Dropped, "Canceled"),
    };
    Badge::new(look, word)
}

// ── Administration ──────────────────────────────────────────────────────────────────────────

/// A run task in the list.
#[derive(Clone, Debug)]
pub struct RunTaskRow {
    pub name: String,
    pub href: String,
    pub enabled: bool,
    pub trusted: bool,
    /// `https://checks.example`, `the guest guard`.
    pub what: String,
    pub signed: bool,
    pub description: String,
    /// `on 3 stacks`
    pub stacks: String,
    pub updated: Moment,
}

form!(
    /// Posts `do=create` or `do=save`.
    RunTaskForm {
        name,
        kind,
        url,
        hmac_key,
        guest,
        description,
        enabled,
        trusted,
    }
);

impl RunTaskForm {
    /// `guests` are those that can be chosen.
    pub fn new(guests: &[String]) -> Self {
        let kinds = vec![
            Choice::new("http", "A service").hint("Called by HTTP; speaks HCP Terraform's run-task protocol"),
            Choice::new("wasi", "A guest").hint("Runs here, sandboxed, without network; nothing leaves the machine"),
        ];
        let guests = guests.iter().map(|name| Choice::new(name, name)).collect();
        Self {
            name: Field::code("name", "Name")
                .placeholder("cost-check")
                .hint("Letters, digits, _ and -. People read it on every run.")
                .required(),
            kind: Field::new("kind", "Kind", Control::Radio(kinds)).value("http"),
            url: Field::code("url", "Address")
                .placeholder("https://checks.example/run-task")
                .hint("Called once before it is saved; it must answer 200."),
            hmac_key: Field::password("hmac_key", "HMAC key", "off")
                .hint("Signs every request, so that the service knows who calls. Never shown again."),
            guest: Field::new("guest", "Guest", Control::Select(guests)),
            description: Field::text("description", "Description").placeholder("Optional"),
            enabled: Field::toggle("enabled", "Enabled").hint("Off: no stack's runs call it.").value("on"),
            trusted: Field::toggle("trusted", "Trusted")
                .hint("It gets sensitive values of plans in clear. Off: they are replaced."),
        }
    }

    /// For a run task that has a key.
    pub fn keeps_key(&mut self) {
        "Signs every request. Empty keeps the stored key; a single - removes it.".clone_into(&mut self.hmac_key.hint);
    }
}

/// `/admin/run-tasks`. Posts `do=create`.
#[derive(Clone, Debug, Template)]
#[template(path = "run_tasks.html")]
pub struct RunTasksPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub tasks: Vec<RunTaskRow>,
    pub form: RunTaskForm,
    pub problems: Vec<String>,
    pub empty: Empty,
}

/// One request that was sent.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// `200 OK`, `no answer`.
    pub badge: Badge,
    /// `taskrs_…`: what is sent again.
    pub result: String,
    pub attempt: u32,
    pub at: Moment,
    pub took: String,
    /// `first`, `retry`, `sent again by ops-lead`.
    pub reason: String,
    pub stage: &'static str,
    /// What it was about.
    pub run: String,
    pub note: Option<String>,
    /// The newest one of a result.
    pub may_send: bool,
}

/// One request that asked whether a run task is there.
#[derive(Clone, Debug)]
pub struct VerificationRow {
    pub badge: Badge,
    pub at: Moment,
    pub took: String,
    pub note: Option<String>,
}

/// `/admin/run-tasks/{name}`. Posts `do=save|delete|redeliver`, `result`.
#[derive(Clone, Debug, Template)]
#[template(path = "run_task.html")]
pub struct RunTaskPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub name: String,
    pub id: String,
    pub badge: Badge,
    pub form: RunTaskForm,
    pub problems: Vec<String>,
    /// The stacks that it is on: it cannot be deleted while there are any.
    pub stacks: Vec<StackRef>,
    pub deliveries: Vec<DeliveryRow>,
    pub verifications: Vec<VerificationRow>,
    pub pager: Pager,
    /// Guests are not called.
    pub is_called: bool,
}

// ── A stack's tab ───────────────────────────────────────────────────────────────────────────

/// When it is called and what that means, as it is and as it may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub stages: Vec<Stage>,
    pub enforcement: Enforcement,
}

impl Terms {
    /// What somebody who only presses *Add* gets.
    pub fn usual() -> Self {
        Self { stages: vec![Stage::PostPlan], enforcement: Enforcement::Advisory }
    }

    /// Word, title, whether chosen.
    pub fn stage_choices(&self) -> Vec<(&'static str, &'static str, bool)> {
        Stage::ALL.into_iter().map(|stage| (stage.word(), stage.title(), self.stages.contains(&stage))).collect()
    }

    pub fn enforcement_choices(&self) -> Vec<(&'static str, &'static str, bool)> {
        let words = [
            (Enforcement::Advisory, "Advisory: not passing is a warning"),
            (Enforcement::Mandatory, "Mandatory: not passing fails the run"),
        ];
        words.into_iter().map(|(it, text)| (it.word(), text, it == self.enforcement)).collect()
    }

    /// `After planning, Before applying`
    pub fn stage_words(&self) -> String {
        self.stages.iter().map(|stage| stage.title()).collect::<Vec<_>>().join(", ")
    }
}

/// A run task that is on the stack.
#[derive(Clone, Debug)]
pub struct AttachedRow {
    pub id: String,
    pub name: String,
    pub description: String,
    pub enabled: bool,
    pub terms: Terms,
}

/// A run task that could be.
#[derive(Clone, Debug)]
pub struct UnattachedRow {
    pub name: String,
    pub description: String,
    pub enabled: bool,
}

/// `/stacks/{slug}/run-tasks`. Posts `do=attach` (`run_task`), `do=save|detach` (`attached`), with
/// `stage` (repeated) and `enforcement`.
#[derive(Clone, Debug, Template)]
#[template(path = "stack_run_tasks.html")]
pub struct StackRunTasksPage {
    pub frame: Frame,
    pub head: StackHead,
    pub attached: Vec<AttachedRow>,
    /// Absent for those who may not attach.
    pub unattached: Option<Vec<UnattachedRow>>,
    /// May make new ones.
    pub may_make: bool,
    /// Terraform too old to be checked: said above the list.
    pub problem: Option<String>,
    pub empty: Empty,
}

impl StackRunTasksPage {
    /// This page has no live parts.
    pub const fn head_rev(&self) -> u64 {
        0
    }
}

// ── A run's tab ─────────────────────────────────────────────────────────────────────────────

/// A label of an outcome: always a word, sometimes a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelView {
    pub text: String,
    pub level: Level,
    pub coloured: bool,
}

impl LabelView {
    /// What a chip is dressed in, and the icon that says the same without colour.
    pub const fn tone(&self) -> &'static str {
        match (self.coloured, self.level) {
            (false, _) | (true, Level::None) => "plain",
            (true, Level::Info) => "info",
            (true, Level::Warning) => "need",
            (true, Level::Error) => "bad",
        }
    }

    pub const fn icon(&self) -> Option<&'static str> {
        match (self.coloured, self.level) {
            (false, _) | (true, Level::None) => None,
            (true, Level::Info) => Some("audit"),
            (true, Level::Warning) => Some("warn"),
            (true, Level::Error) => Some("s-failed"),
        }
    }

    /// Said by readers of screens before the word.
    pub const fn level_word(&self) -> Option<&'static str> {
        match (self.coloured, self.level) {
            (false, _) | (true, Level::None) => None,
            (true, level) => Some(level.word()),
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct OutcomeView {
    pub id: String,
    pub description: String,
    /// Name and labels.
    pub tags: Vec<(String, Vec<LabelView>)>,
    pub body: Markdown,
    /// Where the whole body is, where the page shows only its beginning.
    pub whole: Option<String>,
    /// The service's own page about it.
    pub link: Option<String>,
}

/// What one run task said.
#[derive(Clone, Debug)]
pub struct ResultView {
    pub id: String,
    pub name: String,
    pub badge: Badge,
    pub mandatory: bool,
    pub message: String,
    pub link: Option<String>,
    pub took: Option<Took>,
    pub outcomes: Vec<OutcomeView>,
    /// Findings that the page does not show.
    pub hidden: usize,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct StageView {
    pub id: String,
    pub title: &'static str,
    pub word: &'static str,
    pub badge: Badge,
    pub results: Vec<ResultView>,
    /// Who let the run go on, when, and why.
    pub overridden: Option<(String, Moment, Option<String>)>,
    /// An admin may let the run go on: what that does.
    pub may_override: Option<String>,
}

/// The tab *Run tasks*.
#[derive(Clone, Debug)]
pub struct RunTasksView {
    pub rev: u64,
    pub stages: Vec<StageView>,
    /// Said where nothing was called.
    pub empty: String,
}

/// `/runs/{id}/outcomes/{result}/{n}`: one finding, all of it.
#[derive(Clone, Debug, Template)]
#[template(path = "run_outcome.html")]
pub struct OutcomePage {
    pub frame: Frame,
    pub badge: Badge,
    pub title: String,
    pub run_task: String,
    pub run_href: String,
    pub outcome: OutcomeView,
}

/// Findings of one result that the run's page shows.
pub const OUTCOMES_SHOWN: usize = 50;
/// Bytes of all bodies that it shows.
pub const BODIES_SHOWN: usize = limits::MARKDOWN_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_colour_only_where_the_protocol_gives_it_one_and_always_its_word() {
        let label = |coloured, level| LabelView { text: "High".to_owned(), level, coloured };
        assert_eq!(label(true, Level::Error).tone(), "bad");
        assert_eq!(label(true, Level::Error).level_word(), Some("error"));
        assert_eq!(label(false, Level::Error).tone(), "plain");
        assert_eq!(label(false, Level::Error).icon(), None);
        assert_eq!(label(true, Level::None).tone(), "plain");
    }

    #[test]
    fn a_stage_that_only_warns_is_no_plain_success() {
        assert_eq!(stage_badge_with(StageStatus::Passed, 0), stage_badge(StageStatus::Passed));
        assert_eq!(stage_badge_with(StageStatus::Passed, 2), Badge::new(Look::NeedsYou, "Passed with 2 warnings"));
        assert_eq!(stage_badge_with(StageStatus::Failed, 1), stage_badge(StageStatus::Failed));
    }

    #[test]
    fn every_status_has_a_look_and_a_word() {
        for status in ResultStatus::ALL {
            assert_eq!(result_badge(status).word.to_lowercase(), status.word());
        }
        for status in StageStatus::ALL {
            assert_eq!(stage_badge(status).word.to_lowercase(), status.word());
        }
    }
}
