//! Which actions a run's page offers: those that fit the state and the person, and no others.
//!
//! The rule is the table "What a person may do" of the product's run specification. The machine and
//! the permits decide for good; this only keeps impossible buttons away.

use crate::domain::{Kind, Role, State};

/// What decides which actions make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    pub number: u64,
    pub kind: Kind,
    pub state: State,
    /// The person's role on the stack.
    pub role: Role,
    /// A person or autodeploy has accepted the plan already.
    pub confirmed: bool,
    /// Failed without anybody knowing how it ended, and nobody acknowledged it yet.
    pub lost: bool,
    pub prioritized: bool,
    /// The stack lets previews be made tracked runs.
    pub promotable: bool,
    /// A guest left changes that a run can be made of.
    pub proposes: bool,
}

/// What a form asks before it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteRule {
    None,
    Optional,
    Required,
}

/// How loud a button is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Plain,
    Primary,
    Danger,
}

impl Weight {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Primary => "primary",
            Self::Danger => "danger",
        }
    }
}

/// A button that names what it does to what. It posts `do=<verb>` to the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub verb: &'static str,
    pub label: String,
    pub weight: Weight,
    /// What will happen, shown with a second button before it does; `None` acts at once.
    pub sure: Option<String>,
    pub note: NoteRule,
}

impl Act {
    fn plain(verb: &'static str, label: String) -> Self {
        Self { verb, label, weight: Weight::Plain, sure: None, note: NoteRule::None }
    }

    fn sure(verb: &'static str, label: String, what: &str, note: NoteRule) -> Self {
        Self { verb, label, weight: Weight::Danger, sure: Some(what.to_owned()), note }
    }
}

impl Situation {
    /// `run #42`, `task #41`.
    pub fn object(self) -> String {
        label(self.kind, self.number)
    }

    /// The buttons beside the title. Confirm, discard and replan stand in the decision box.
    pub fn acts(self) -> Vec<Act> {
        if self.role < Role::Writer {
            return Vec::new();
        }
        let object = self.object();
        let mut acts = Vec::new();
        if self.waits() && !self.prioritized {
            acts.push(Act::plain("prioritize", format!("Prioritize {object}")));
        }
        if self.waits() && self.prioritized {
            acts.push(Act::plain("deprioritize", format!("Put {object} back into its order")));
        }
        if self.may_cancel() {
            let what = "It will not start, and its place in the queue is gone.";
            let what = if self.state.is_active() { "Its command is ended now." } else { what };
            acts.push(Act::sure("cancel", format!("Cancel {object}"), what, NoteRule::Optional));
        }
        if self.may_stop() {
            let what = "The phase gets SIGTERM, and SIGKILL after the grace period. Nothing has been applied.";
            acts.push(Act::sure("stop", format!("Stop {object}"), what, NoteRule::Optional));
        }
        if self.may_force_stop() {
            let what = "All processes are killed at once. What has been changed by then is unknown; \
                        the stack will need attention.";
            acts.push(Act::sure("force_stop", format!("Force stop {object}"), what, NoteRule::Required));
        }
        if self.lost {
            acts.push(Act {
                weight: Weight::Primary,
                note: NoteRule::Optional,
                sure: Some("You have checked what it changed. The stack stops asking for attention.".to_owned()),
                ..Act::plain("acknowledge", format!("Acknowledge {object}"))
            });
        }
        if self.promotable && self.kind == Kind::Proposed && self.state == State::Finished {
            acts.push(Act::plain("promote", format!("Promote {object}")));
        }
        if self.state.is_terminal() {
            acts.push(Act::plain("retry", format!("Retry {object}")));
        }
        if self.proposes {
            acts.push(Act { weight: Weight::Primary, ..Act::plain("propose", "Propose these changes".to_owned()) });
        }
        acts
    }

    /// Whether the decision box belongs on the page: where somebody confirms, and where an approval is
    /// `open`.
    pub fn decides(self, open: bool) -> bool {
        let waits = matches!(self.state, State::Unconfirmed | State::PendingReview);
        self.role >= Role::Writer && (waits || (open && self.state == State::Queued))
    }

    const fn waits(self) -> bool {
        matches!(self.state, State::Queued | State::Ready | State::Confirmed | State::ReplanRequested)
    }

    const fn may_cancel(self) -> bool {
        match self.state {
            State::Queued | State::Ready | State::PendingReview => true,
            State::Preparing | State::Performing => matches!(self.kind, Kind::OnDemand),
            _ => false,
        }
    }

    const fn may_stop(self) -> bool {
        match self.state {
            State::Preparing if matches!(self.kind, Kind::OnDemand) => false,
            State::Preparing | State::Initializing | State::Planning => true,
            State::Checking => !self.confirmed,
            _ => false,
        }
    }

    fn may_force_stop(self) -> bool {
        let stuck = match self.state {
            State::Applying | State::Destroying => true,
            State::Performing => self.kind == Kind::Task,
            _ => false,
        };
        stuck && self.role == Role::Admin
    }
}

/// What a run is called in a sentence: `run #42`, `task #41`, `preview #7`.
pub fn label(kind: Kind, number: u64) -> String {
    let noun = match kind {
        Kind::Tracked | Kind::OnDemand => "run",
        Kind::Proposed => "preview",
        Kind::Task => "task",
        Kind::Destroy => "destroy run",
        Kind::Drift => "drift run",
    };
    format!("{noun} #{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verbs(kind: Kind, state: State, role: Role) -> Vec<&'static str> {
        let situation = Situation {
            number: 42,
            kind,
            state,
            role,
            confirmed: false,
            lost: false,
            prioritized: false,
            promotable: false,
            proposes: false,
        };
        situation.acts().into_iter().map(|act| act.verb).collect()
    }

    #[test]
    fn a_reader_is_offered_nothing_in_any_state() {
        for state in State::ALL {
            assert_eq!(verbs(Kind::Tracked, state, Role::Reader), [""; 0]);
        }
    }

    #[test]
    fn a_performing_task_can_only_be_force_stopped_and_only_by_an_admin() {
        assert_eq!(verbs(Kind::Task, State::Performing, Role::Writer), [""; 0]);
        assert_eq!(verbs(Kind::Task, State::Performing, Role::Admin), ["force_stop"]);
        assert_eq!(verbs(Kind::OnDemand, State::Performing, Role::Writer), ["cancel"]);
    }

    #[test]
    fn what_is_confirmed_cannot_be_stopped_any_more() {
        assert_eq!(verbs(Kind::Tracked, State::Confirmed, Role::Writer), ["prioritize"]);
        assert_eq!(verbs(Kind::Tracked, State::PreparingApply, Role::Admin), [""; 0]);
        let mut checking = Situation {
            number: 1,
            kind: Kind::Tracked,
            state: State::Checking,
            role: Role::Writer,
            confirmed: true,
            lost: false,
            prioritized: false,
            promotable: false,
            proposes: false,
        };
        assert_eq!(checking.acts(), []);
        checking.confirmed = false;
        assert_eq!(checking.acts()[0].label, "Stop run #1");
    }

    #[test]
    fn prioritizing_can_be_taken_back_and_what_a_guest_changed_is_proposed_first() {
        let mut it = Situation {
            number: 7,
            kind: Kind::OnDemand,
            state: State::Queued,
            role: Role::Writer,
            confirmed: false,
            lost: false,
            prioritized: true,
            promotable: false,
            proposes: false,
        };
        assert_eq!(it.acts().iter().map(|act| act.verb).collect::<Vec<_>>(), ["deprioritize", "cancel"]);
        (it.state, it.proposes) = (State::Finished, true);
        let acts = it.acts();
        assert_eq!(acts.last().map(|act| (act.verb, act.weight)), Some(("propose", Weight::Primary)));
    }

    #[test]
    fn a_terminal_run_can_be_retried_and_a_lost_one_acknowledged() {
        assert_eq!(verbs(Kind::Tracked, State::Finished, Role::Writer), ["retry"]);
        let lost = Situation {
            number: 19,
            kind: Kind::Tracked,
            state: State::Failed,
            role: Role::Writer,
            confirmed: true,
            lost: true,
            prioritized: false,
            promotable: false,
            proposes: false,
        };
        assert_eq!(lost.acts().iter().map(|act| act.verb).collect::<Vec<_>>(), ["acknowledge", "retry"]);
    }
}
