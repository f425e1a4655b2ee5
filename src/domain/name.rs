//! Validated text: parse once at the door, then trust.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::limits;

/// Why a text was refused as a name. The sentence names the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAName(String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Result<Self, NotAName> {
                let text = text.into();
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map_err(NotAName)?;
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

fn chars(text: &str, most: usize) -> Result<(), String> {
    match text.chars().count() {
        0 => Err("must not be empty".into()),
        n if n > most => Err(format!("has {n} characters; at most {most} are allowed")),
        _ => Ok(()),
    }
}

fn no_control(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("must not hold the control character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

fn made_of(text: &str, allowed: impl Fn(char) -> bool, rule: &str) -> Result<(), String> {
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(format!("holds `{}`; {rule}", c.escape_default())),
        None => Ok(()),
    }
}

name!(
    /// `a-z0-9-`, 1–63 characters, neither first nor last a hyphen.
    Slug,
    |text| {
        chars(text, limits::SLUG_CHARS)?;
        made_of(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-', "only a-z, 0-9 and - are allowed")?;
        if text.starts_with('-') || text.ends_with('-') {
            return Err("must begin and end with a letter or a digit".into());
        }
        Ok(())
    }
);

impl Slug {
    /// The slug that a name suggests, if any character of it survives.
    pub fn derive(name: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase) {
            match c {
                'a'..='z' | '0'..='9' => slug.push(c),
                'ä' => slug.push_str("ae"),
                'ö' => slug.push_str("oe"),
                'ü' => slug.push_str("ue"),
                'ß' => slug.push_str("ss"),
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
        }
        slug.truncate(limits::SLUG_CHARS);
        Self::new(slug.trim_end_matches('-')).ok()
    }
}

name!(
    /// What people call a stack.
    StackName,
    |text| {
        chars(text, limits::STACK_NAME_CHARS)?;
        no_control(text)?;
        if text.trim() != text {
            return Err("must not begin or end with a blank".into());
        }
        Ok(())
    }
);

name!(
    /// A label of a stack, such as `prod` or `team:payments`.
    Label,
    |text| {
        chars(text, limits::LABEL_CHARS)?;
        made_of(text, |c| !c.is_control() && !c.is_whitespace() && c != ',', "blanks and commas are not allowed")
    }
);

name!(
    /// A person's or a key's name.
    UserName,
    |text| {
        chars(text, limits::USER_NAME_CHARS)?;
        made_of(
            text,
            |c| c.is_ascii_alphanumeric() || "-_.@+".contains(c),
            "only letters, digits and - _ . @ + are allowed",
        )
    }
);

name!(
    /// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
    EnvName,
    |text| {
        chars(text, 255)?;
        made_of(text, |c| c.is_ascii_alphanumeric() || c == '_', "only letters, digits and _ are allowed")?;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("must not begin with a digit".into());
        }
        Ok(())
    }
);

/// What declared tasks, services, guests and images go by: `more` besides a-z, 0-9, - and _.
fn identifier(text: &str, more: &str, rule: &str) -> Result<(), String> {
    chars(text, limits::IDENTIFIER_CHARS)?;
    made_of(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c) || more.contains(c), rule)?;
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("must begin with a letter or a digit".into());
    }
    Ok(())
}

name!(
    /// A declared task: `a-z0-9-_`, 1–63 characters, begins with a letter or a digit.
    TaskName,
    |text| identifier(text, "", "only a-z, 0-9, - and _ are allowed")
);

name!(
    /// A service that the operator registered; the same rule as for a declared task.
    ServiceName,
    |text| identifier(text, "", "only a-z, 0-9, - and _ are allowed")
);

name!(
    /// A registered WASI guest, such as `python` or `python-3.12`.
    GuestName,
    |text| identifier(text, ".", "only a-z, 0-9, - _ and . are allowed")
);

name!(
    /// A policy; the same rule as for a declared task.
    PolicyName,
    |text| identifier(text, "", "only a-z, 0-9, - and _ are allowed")
);

name!(
    /// An imported image, such as `tools` or `debian:12`.
    ImageName,
    |text| identifier(text, ".:/", "only a-z, 0-9, - _ . : and / are allowed")
);

name!(
    /// `A-Za-z0-9_-`: a run task, as the public protocol names it.
    RunTaskName,
    |text| {
        chars(text, limits::RUN_TASK_NAME_CHARS)?;
        made_of(
            text,
            |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
            "only letters, digits, _ and - are allowed",
        )
    }
);

name!(
    /// What a person wrote about something they did.
    Note,
    |text| {
        chars(text, limits::NOTE_CHARS)?;
        made_of(text, |c| !c.is_control() || c == '\n' || c == '\t' || c == '\r', "control characters are not allowed")
    }
);

impl Note {
    /// An optional note out of a form or a request: blank means none.
    pub fn optional(text: Option<&str>) -> Result<Option<Self>, NotAName> {
        match text.map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => Self::new(text).map(Some),
        }
    }
}

name!(
    /// A path below some root: no `..`, not absolute, no empty part. The empty path is the root.
    RelativePath,
    |text| {
        if text.is_empty() {
            return Ok(());
        }
        chars(text, 1_024)?;
        no_control(text)?;
        if text.starts_with('/') {
            return Err("must be relative".into());
        }
        if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err("must not hold an empty part, `.` or `..`".into());
        }
        Ok(())
    }
);

name!(
    /// A branch of a git repository.
    BranchName,
    |text| {
        chars(text, 255)?;
        made_of(
            text,
            |c| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c),
            "it is not allowed in the name of a branch",
        )?;
        if text.starts_with(['-', '/']) || text.ends_with(['/', '.']) || text.contains("..") || text.contains("@{") {
            return Err("is not the name of a branch".into());
        }
        Ok(())
    }
);

name!(
    /// A commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    CommitSha,
    |text| {
        if !matches!(text.len(), 40 | 64) {
            return Err("must be a whole commit id: 40 or 64 hexadecimal digits".into());
        }
        made_of(text, |c| c.is_ascii_digit() || ('a'..='f').contains(&c), "only 0-9 and a-f are allowed")
    }
);

impl CommitSha {
    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

name!(
    /// `sha256:` and 64 lower-case hexadecimal digits.
    Digest,
    |text| {
        let Some(digits) = text.strip_prefix("sha256:") else {
            return Err("must begin with `sha256:`".into());
        };
        if digits.len() != 64 {
            return Err("must have 64 hexadecimal digits".into());
        }
        made_of(digits, |c| c.is_ascii_digit() || ('a'..='f').contains(&c), "only 0-9 and a-f are allowed")
    }
);

impl Digest {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// The digits without the prefix: a file's name.
    pub fn digits(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// Enough of it for people to compare: `sha256:9c41…e07b`.
    pub fn short(&self) -> String {
        let digits = self.digits();
        format!("sha256:{}…{}", &digits[..4], &digits[60..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_its_slug() {
        for (name, slug) in [
            ("Shop", "shop"),
            ("Edge (EU) #2", "edge-eu-2"),
            ("Größe", "groesse"),
            ("  a  b  ", "a-b"),
            ("日本 x", "x"),
        ] {
            assert_eq!(Slug::derive(name).unwrap().as_str(), slug);
        }
        assert_eq!(Slug::derive("日本"), None);
        assert!(Slug::derive(&"a-".repeat(60)).is_some());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        assert_eq!(Slug::new("Shop").unwrap_err().to_string(), "holds `S`; only a-z, 0-9 and - are allowed");
        assert!(Slug::new("-a").is_err());
        assert!(Slug::new("a".repeat(64)).unwrap_err().to_string().contains("at most 63"));
        assert!(RelativePath::new("a/../b").is_err());
        assert!(RelativePath::new("/etc").is_err());
        assert!(RelativePath::new("").is_ok());
        assert!(EnvName::new("1A").is_err());
        assert!(EnvName::new("A B").is_err());
        assert!(BranchName::new("--upload-pack=x").is_err());
        assert!(BranchName::new("feature/x").is_ok());
        assert!(CommitSha::new("abc").is_err());
        assert!(Note::new("a\u{1b}[31m").is_err());
        assert!(TaskName::new("nightly_report-2").is_ok() && TaskName::new("-a").is_err());
        assert!(TaskName::new("a.b").is_err() && GuestName::new("python-3.12").is_ok());
        assert!(ImageName::new("debian:12").is_ok() && ServiceName::new("a:b").is_err());
        assert_eq!(Note::optional(Some("  ")).unwrap(), None);
    }
}
