//! Outside ids: a ULID behind a prefix that says what it names (`run_01K…`).
//!
//! Rows are ordered by a sequence number, never by these: a ULID's time is only a hint.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use ulid::Ulid;

/// Why a text is not an id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what} id (expected `{prefix}_` and 26 characters)")]
pub struct NotAnId {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            pub const fn new(ulid: Ulid) -> Self {
                Self(ulid)
            }

            /// The number behind the text, for keys.
            pub const fn number(self) -> u128 {
                self.0.0
            }

            pub const fn from_number(number: u128) -> Self {
                Self(Ulid(number))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Accepts `-` for `_`, because the run-task API writes ids that way.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix(['_', '-']))
                    .and_then(|rest| Ulid::from_string(rest).ok())
                    .map(Self)
                    .ok_or_else(|| NotAnId { text: text.chars().take(64).collect(), what: $what, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// Names a run.
    RunId, "run", "run"
);
id!(
    /// Names a stack on the inside; outside it goes by its slug.
    StackId, "stack", "stack"
);
id!(
    /// Names a person.
    UserId, "user", "user"
);
id!(
    /// Names an API key.
    KeyId, "key", "API key"
);
id!(
    /// Names a sign-in.
    SessionId, "session", "session"
);
id!(
    /// Names a stored credential for a source.
    CredentialId, "cred", "credential"
);

id!(
    /// Names a run task.
    RunTaskId, "task", "run task"
);
id!(
    /// Names the attachment of a run task to a stack.
    AttachmentId, "wstask", "attached run task"
);
id!(
    /// Names a stage of a run in which run tasks are called.
    TaskStageId, "ts", "task stage"
);
id!(
    /// Names one call of one run task.
    TaskResultId, "taskrs", "task result"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_wrote_and_refuses_another_kind() {
        let id = RunId::from_number(42);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().replace('_', "-").parse(), Ok(id));
        assert!(id.to_string().parse::<StackId>().is_err());
        assert!("run_".parse::<RunId>().is_err());
        assert!("run_01K!".parse::<RunId>().is_err());
    }
}
