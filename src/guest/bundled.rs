//! The guests that come with the binary.
//!
//! Their sources are in `guests/`, which is a workspace of its own, so that building Airlock needs
//! no compiler for WebAssembly; a test builds them again and compares.

/// A guest that is always there.
#[derive(Debug)]
pub struct Bundled {
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    pub code: &'static [u8],
}

/// By name.
pub const BUNDLED: &[Bundled] = &[
    Bundled {
        name: "guard",
        about: "judges a plan: refuses to delete or replace what is protected",
        code: include_bytes!("../../guests/built/guard.wasm"),
    },
    Bundled {
        name: "patcher",
        about: "edits files of the workspace by rules, so that the changes come back as a patch",
        code: include_bytes!("../../guests/built/patcher.wasm"),
    },
    Bundled {
        name: "surveyor",
        about: "walks through the workspace and writes a report",
        code: include_bytes!("../../guests/built/surveyor.wasm"),
    },
];

/// Looks one up.
pub fn bundled(name: &str) -> Option<&'static Bundled> {
    BUNDLED.iter().find(|guest| guest.name == name)
}
