//! Guests as files: what a file of WebAssembly is, and whether it can be a guest at all.
//!
//! Looks at bytes only. It must not know the engine: it serves the server and the command line,
//! which never load a guest, as well as the jailed compiler, which checks before it compiles.

mod bundled;
mod inspect;

use std::fmt;

pub use bundled::{BUNDLED, Bundled, bundled};
pub use inspect::{Facts, check, inspect};

/// The two forms of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A core module: WASI preview 1.
    Core,
    /// A component: WASI preview 2, `wasi:cli/command`.
    Component,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core module (WASI preview 1)",
            Self::Component => "component (WASI preview 2)",
        })
    }
}

/// Why a file cannot be a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAGuest {
    #[error("it is empty")]
    Empty,
    #[error("it is WebAssembly text (.wat): translate it first, for instance with `wasm-tools parse`")]
    Text,
    #[error("it is precompiled code (.cwasm), which is native code in disguise: give the .wasm file instead")]
    Precompiled,
    #[error("it is not WebAssembly: it does not begin with `\\0asm`")]
    Foreign,
    #[error("its binary version is {0:#x}; versions 1 (core module) and 0x1000d (component) are known")]
    Version(u32),
    #[error("it is broken: {0}")]
    Broken(String),
    #[error("it has {found} {what}; at most {limit} are allowed")]
    TooMany { what: &'static str, found: u64, limit: u64 },
    #[error("{0}")]
    NoCommand(&'static str),
}

impl Form {
    /// Told by the first eight bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, NotAGuest> {
        const ELF: &[u8] = b"\x7fELF";
        /// Version and layer of the binary format, little-endian.
        const CORE: u32 = 1;
        const COMPONENT: u32 = 0x1_000d;
        if bytes.is_empty() {
            return Err(NotAGuest::Empty);
        }
        if bytes.starts_with(ELF) {
            return Err(NotAGuest::Precompiled);
        }
        let Some(version) = bytes.strip_prefix(b"\0asm") else {
            return Err(if looks_like_text(bytes) { NotAGuest::Text } else { NotAGuest::Foreign });
        };
        match version.first_chunk().map(|version| u32::from_le_bytes(*version)) {
            Some(CORE) => Ok(Self::Core),
            Some(COMPONENT) => Ok(Self::Component),
            Some(other) => Err(NotAGuest::Version(other)),
            None => Err(NotAGuest::Broken("it ends within its header".to_owned())),
        }
    }
}

/// Takes any bytes for a guest and checks what is promised of the answers: the entry for fuzzers.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    /// Bytes of a reason: it stands in logs and on pages.
    const REASON: usize = 2_000;
    let (form, checked, inspected) = (Form::of(bytes), check(bytes), inspect(bytes));
    match (&checked, &inspected) {
        (Ok(form), Ok(facts)) => {
            assert_eq!((*form, facts.bytes), (facts.form, bytes.len() as u64));
            assert!(!facts.exports.is_empty(), "a command exports what it is started by");
        }
        (Err(one), Err(other)) => {
            let reason = one.to_string();
            assert_eq!(one, other);
            assert!(!reason.is_empty() && reason.len() <= REASON, "{} bytes", reason.len());
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
        }
        _ => panic!("{checked:?} and {inspected:?}"),
    }
    if let Err(why) = form {
        assert_eq!(checked, Err(why), "what is told by the first bytes is the reason");
    }
}

/// Text modules begin with a parenthesis, after comments and blanks.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4_096)];
    std::str::from_utf8(start).is_ok_and(|text| {
        let code = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with(";;"));
        code.is_some_and(|code| code.starts_with('('))
    })
}

#[cfg(test)]
mod tests;
