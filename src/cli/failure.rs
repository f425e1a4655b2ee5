//! How a verb fails: an exit code, and a text that names the thing, the reason and the next step.

use std::{fmt::Display, io};

use crate::{
    actions::{Error, Fault},
    app::AppError,
    domain::{Refused, RefusedKind},
};

use super::{Outcome, clean};

/// What a verb comes to.
pub type Done = Result<Outcome, Failure>;

/// Why a verb did not come to its end.
#[derive(Debug)]
pub struct Failure {
    pub outcome: Outcome,
    /// What, and why; nothing when nobody listens any more.
    text: Option<String>,
    /// What to do next.
    next: Option<String>,
}

impl Failure {
    pub fn new(outcome: Outcome, text: impl Display) -> Self {
        Self { outcome, text: Some(clean::lines(&text.to_string())), next: None }
    }

    pub fn failed(text: impl Display) -> Self {
        Self::new(Outcome::Failed, text)
    }

    pub fn refused(text: impl Display) -> Self {
        Self::new(Outcome::Refused, text)
    }

    pub fn usage(text: impl Display) -> Self {
        Self::new(Outcome::Usage, text)
    }

    /// A file or a directory that could not be worked with.
    pub fn file(what: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let outcome = if error.kind() == io::ErrorKind::NotFound { Outcome::NotFound } else { Outcome::Failed };
        Self::new(outcome, format_args!("cannot {what} {}: {error}", path.display()))
    }

    /// Whoever read the output is gone: there is nobody to tell.
    pub const fn unheard() -> Self {
        Self { outcome: Outcome::Failed, text: None, next: None }
    }

    #[must_use]
    pub fn next(self, step: impl Display) -> Self {
        Self { next: Some(clean::lines(&step.to_string())), ..self }
    }

    /// The lines for standard error, without the program's name.
    pub fn lines(&self) -> Option<String> {
        let text = self.text.as_ref()?;
        Some(match &self.next {
            Some(next) => format!("{text}\n  {next}"),
            None => text.clone(),
        })
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(fault) => fault.into(),
            AppError::Action(error) => error.into(),
            other => Self::failed(other),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Held(_) => Self::refused(&fault),
            _ => Self::failed(&fault),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let outcome = if refused.kind == RefusedKind::NotFound { Outcome::NotFound } else { Outcome::Refused };
        Self::new(outcome, refused)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refused) => refused.into(),
            Error::Fault(fault) => fault.into(),
        }
    }
}
