//! Who may use whom.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module with the modules that it may use. `src/lib.rs` explains them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain", "crypt"]),
    ("machine", &["domain", "protocol"]),
    ("crypt", &["domain"]),
    ("live", &["domain"]),
    ("manifest", &["domain"]),
    ("egress", &["domain"]),
    ("policy", &["domain"]),
    ("mask", &["domain", "crypt"]),
    ("protocol", &["domain", "crypt"]),
    ("workspace", &["domain", "crypt"]),
    ("store", &["domain", "crypt"]),
    ("log", &["domain", "mask"]),
    ("vendor", &["domain", "protocol"]),
    ("archive", &[]),
    ("source", &["domain", "archive", "workspace"]),
    ("image", &["domain", "crypt", "archive", "workspace"]),
    ("guest", &["domain", "crypt"]),
    (
        "runner",
        &[
            "domain",
            "protocol",
            "crypt",
            "mask",
            "log",
            "workspace",
            "source",
            "image",
            "vendor",
            "egress",
            "guest",
            "manifest",
        ],
    ),
    ("auth", &["domain", "store", "crypt", "policy"]),
    (
        "actions",
        &[
            "domain",
            "machine",
            "protocol",
            "crypt",
            "mask",
            "store",
            "auth",
            "policy",
            "vendor",
            "source",
            "image",
            "workspace",
            "manifest",
            "guest",
            "live",
        ],
    ),
    ("queries", &["domain", "machine", "crypt", "store", "auth", "policy", "log", "manifest", "guest"]),
    ("dispatch", &["domain", "protocol", "crypt", "log", "workspace", "live", "actions", "queries"]),
    ("outbound", &["domain", "egress", "live", "actions", "queries"]),
    ("scheduler", &["domain", "live", "actions", "queries", "dispatch"]),
    ("http", &["domain", "config", "auth", "actions", "queries", "live"]),
];

/// Crates that only one module may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("axum", &["http", "app"]),
    ("askama", &["http"]),
    ("wasmtime", &["runner"]),
    ("wasmtime_wasi", &["runner"]),
    ("regorus", &["policy"]),
];

fn source_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with the name of the top-level module that it belongs to.
fn modules() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap().to_path_buf();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = code(&fs::read_to_string(&path).unwrap());
            (module, relative, text)
        })
        .collect()
}

/// A file without its comments, so that docs may link anywhere.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether `text` names `crate::<module>`, directly or inside `crate::{…}`.
fn uses(text: &str, module: &str) -> bool {
    let direct = text.match_indices("crate::").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        rest.strip_prefix(module).is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    });
    direct || text.split("crate::{").skip(1).any(|group| top_level_names(group).any(|name| name == module))
}

/// The first path segments of a `{a::b, c::{d, e}}` group whose opening brace was cut off.
fn top_level_names(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut start = 0;
    let mut names = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names.into_iter().map(|item| item.trim().split([':', ' ']).next().unwrap_or_default())
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for (module, path, text) in modules() {
        if ["lib", "main", "cli", "app"].contains(&module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: `{module}` is not in the table", path.display()));
            continue;
        };
        if path.file_name().is_some_and(|name| name == "tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests")
        {
            continue; // A test may furnish what its module only reads.
        }
        let others = MAY_USE.iter().map(|(name, _)| *name).chain(["app", "cli"]);
        for other in others.filter(|other| *other != module && !allowed.contains(other)) {
            if uses(&text, other) {
                wrong.push(format!("{}: `{module}` must not use `{other}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn some_crates_have_one_door() {
    let mut wrong = Vec::new();
    for (module, path, text) in modules() {
        for (name, allowed) in ONLY_IN {
            let named = text.contains(&format!("{name}::")) || text.contains(&format!("use {name}"));
            if named && !allowed.contains(&module.as_str()) {
                wrong.push(format!("{}: only {} may name `{name}`", path.display(), allowed.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_only_in_the_jail() {
    for (_, path, text) in modules() {
        let jail = path.starts_with("runner/native");
        assert!(jail || !text.contains("allow(unsafe_code)"), "{} must not hold unsafe code", path.display());
    }
}

#[test]
fn the_direction_test_sees_what_it_should() {
    assert!(uses("use crate::store::Tx;", "store"));
    assert!(!uses("use crate::storefront::X;", "store"));
    assert!(uses("use crate::{domain::{Phase, State}, store};", "store"));
    assert!(!uses("use crate::{domain::store::X};", "store"));
}
