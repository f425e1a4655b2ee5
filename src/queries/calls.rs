//! What those hear who called a declared task as their run task.

use std::io::Read as _;

use crate::{
    auth::Who,
    domain::{Phase, RunId, State, Verdict, guest, limits},
    store::{Find as _, record::Run},
};

use super::{Queries, Result, Which, not_found};

/// How a run that answers a call stands.
#[derive(Clone, Debug)]
pub struct RunAnswer {
    pub said: Said,
    /// One line.
    pub message: String,
    /// What the run left as its `outcomes.json`, whatever that is.
    pub outcomes: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Running,
    Passed,
    Failed,
}

impl Queries {
    /// What is to be said of a run now. Blocks on its log's file.
    pub fn answer_of(&self, id: RunId) -> Result<RunAnswer> {
        let run = self.view()?.run(id)?.ok_or_else(|| not_found(id))?;
        if !run.state.is_terminal() {
            let message = format!("{} runs {}", run.slug, named(&run));
            return Ok(RunAnswer { said: Said::Running, message, outcomes: None });
        }
        let said = if run.state == State::Finished { Said::Passed } else { Said::Failed };
        let ended_itself = matches!(run.verdict, Some(Verdict::Exited { .. }));
        let last = if ended_itself { self.last_line(&run)? } else { None };
        let reason = || run.reason.clone().unwrap_or_else(|| run.state.title().to_lowercase());
        let message = last.unwrap_or_else(|| format!("{}: {}", named(&run), reason()));
        let message = message.chars().take(limits::RESULT_MESSAGE_CHARS).collect();
        Ok(RunAnswer { said, message, outcomes: self.outcomes_of(&run)? })
    }

    /// The last line that the command printed, if it printed any.
    fn last_line(&self, run: &Run) -> Result<Option<String>> {
        let Ok(text) = self.log_text(&Who::system(), run.id, Which::Named(Phase::Performing)) else { return Ok(None) };
        text.last_line()
    }

    /// What was left as the run's outcomes, as far as it is kept.
    fn outcomes_of(&self, run: &Run) -> Result<Option<Vec<u8>>> {
        let Ok((_, file)) = self.artifact(&Who::system(), run.id, guest::OUTCOMES) else { return Ok(None) };
        let mut text = Vec::new();
        let read = file.take(limits::OUTCOMES_FILE_BYTES as u64).read_to_end(&mut text);
        read.map_err(|error| crate::store::Fault::Io(error.to_string()))?;
        Ok(Some(text))
    }
}

fn named(run: &Run) -> String {
    run.declared_task.as_ref().map_or_else(|| format!("run #{}", run.number), ToString::to_string)
}
