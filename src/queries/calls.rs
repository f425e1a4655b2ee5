//! What those hear who called a declared task as their run task.

use std::io::Read as _;

use serde_json::Value;

use crate::{
    auth::Who,
    domain::{Phase, RunId, State, Verdict, limits},
    store::{Find as _, record::Run},
};

use super::{Queries, Result, Which, not_found};

/// How a run that answers a call stands.
#[derive(Clone, Debug)]
pub struct RunAnswer {
    pub said: Said,
    /// One line.
    pub message: String,
    /// In the protocol's own shape, as far as the run left any.
    pub outcomes: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Running,
    Passed,
    Failed,
}

/// Where a guest leaves its outcomes, below its output.
const OUTCOMES: &str = "outcomes.json";
/// Bytes at a log's end that are looked through for its last line.
const END_OF_LOG: u64 = 16 * limits::KIB;

impl Queries {
    /// What is to be said of a run now. Blocks on its log's file.
    pub fn answer_of(&self, id: RunId) -> Result<RunAnswer> {
        let run = self.view()?.run(id)?.ok_or_else(|| not_found(id))?;
        if !run.state.is_terminal() {
            let message = format!("{} runs {}", run.slug, named(&run));
            return Ok(RunAnswer { said: Said::Running, message, outcomes: Vec::new() });
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
        let end = text.read(text.len().saturating_sub(END_OF_LOG), END_OF_LOG as usize)?;
        let end = String::from_utf8_lossy(&end);
        let lines = end.lines().rev().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
        Ok(lines.map(|line| line.trim().to_owned()).find(|line| !line.is_empty()))
    }

    /// What a guest left as its outcomes: a list, bare or under `data`. What is none is left out.
    fn outcomes_of(&self, run: &Run) -> Result<Vec<Value>> {
        let Ok((row, mut file)) = self.artifact(&Who::system(), run.id, OUTCOMES) else { return Ok(Vec::new()) };
        if row.artifact.bytes > limits::OUTCOMES_BYTES as u64 {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        let read = file.by_ref().take(limits::OUTCOMES_BYTES as u64).read_to_end(&mut text);
        read.map_err(|error| crate::store::Fault::Io(error.to_string()))?;
        let list = match serde_json::from_slice(&text) {
            Ok(Value::Array(list)) => list,
            Ok(Value::Object(mut document)) => match document.remove("data") {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        Ok(list.into_iter().filter(Value::is_object).take(limits::OUTCOMES).collect())
    }
}

fn named(run: &Run) -> String {
    run.declared_task.as_ref().map_or_else(|| format!("run #{}", run.number), ToString::to_string)
}
