//! What can go wrong with the store itself.

use crate::domain::Refused;

/// The infrastructure failed; nothing of the action was kept.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("another server holds the store {0}; stop it, or use another --data directory")]
    Held(String),
    #[error(
        "the store was written by a newer release (schema {found}, this one reads up to {known}); start that release, or restore a backup made by this one"
    )]
    Newer { found: u64, known: u64 },
    #[error("the store cannot be opened: {0}")]
    Open(String),
    #[error("the store failed: {0}")]
    Io(String),
    #[error("the disk is full or nearly full: {0}")]
    Full(String),
    #[error("a stored record cannot be read: {table}: {why}")]
    Record { table: &'static str, why: String },
    #[error("an action failed inside the store: {0}")]
    Panicked(String),
    #[error("the server is shutting down")]
    Closed,
    #[error("too many changes are waiting to be written; try again")]
    Busy,
    /// An action refused after it had written: the batch is undone, the refusal stands.
    #[error("refused after writing")]
    Refusing,
}

/// What an action or a query can answer instead: a refusal of the domain, or a fault of the infrastructure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Fault {
    /// Whether the store must be opened again before anything can be written.
    pub(super) const fn needs_reopening(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Full(_))
    }
}

pub(super) fn io(error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::Full(error.to_string()),
        _ => Fault::Io(error.to_string()),
    }
}

impl From<redb::StorageError> for Fault {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) => io(&error),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::TableError> for Fault {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Fault {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::DatabaseError> for Fault {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Held(String::new()),
            redb::DatabaseError::Storage(redb::StorageError::Io(error)) => io(&error),
            other => Self::Open(other.to_string()),
        }
    }
}
