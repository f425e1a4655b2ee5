//! patcher: edits files of the workspace as its arguments say, so that the changes come back as a patch.
//!
//!     patcher EDIT…
//!
//! | edit | what it does |
//! | --- | --- |
//! | `replace FILE OLD NEW` | every OLD in FILE becomes NEW; fails where there is none |
//! | `append FILE LINE` | LINE becomes the last line of FILE, which is made where it is missing |
//! | `write FILE TEXT` | FILE holds TEXT and nothing else |
//! | `delete FILE` | FILE is gone |
//!
//! FILE is relative to the project root. Needs a workspace that it may write to.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.is_empty() {
        fail(64, "say what to edit: replace FILE OLD NEW, append FILE LINE, write FILE TEXT, delete FILE");
    }
    let mut rest = args.as_slice();
    let mut edits = 0;
    while !rest.is_empty() {
        rest = match edit(rest) {
            Ok(rest) => rest,
            Err((code, why)) => fail(code, &why),
        };
        edits += 1;
    }
    println!("{} edits made", edits);
}

fn fail(code: i32, why: &str) -> ! {
    eprintln!("patcher: {}", why);
    process::exit(code)
}

/// Makes the first edit; gives what follows.
fn edit(args: &[String]) -> Result<&[String], (i32, String)> {
    let usage = |what: &str| (64, format!("{} is not complete", what));
    let (verb, rest) = (args[0].as_str(), &args[1..]);
    let (path, rest) = rest.split_first().ok_or_else(|| usage(verb))?;
    let place = place(path)?;
    let io = |error: std::io::Error| (1, format!("{}: {}", path, error));
    match verb {
        "replace" => {
            let (old, rest) = rest.split_first().ok_or_else(|| usage(verb))?;
            let (new, rest) = rest.split_first().ok_or_else(|| usage(verb))?;
            let text = fs::read_to_string(&place).map_err(io)?;
            let found = if old.is_empty() { 0 } else { text.matches(old.as_str()).count() };
            if found == 0 {
                return Err((1, format!("{} holds no `{}`", path, old)));
            }
            fs::write(&place, text.replace(old.as_str(), new)).map_err(io)?;
            println!("replaced {} times in {}", found, path);
            Ok(rest)
        }
        "append" => {
            let (line, rest) = rest.split_first().ok_or_else(|| usage(verb))?;
            let mut text = if place.exists() { fs::read_to_string(&place).map_err(io)? } else { String::new() };
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
            write(&place, &text).map_err(io)?;
            println!("appended a line to {}", path);
            Ok(rest)
        }
        "write" => {
            let (text, rest) = rest.split_first().ok_or_else(|| usage(verb))?;
            write(&place, text).map_err(io)?;
            println!("wrote {}", path);
            Ok(rest)
        }
        "delete" => {
            fs::remove_file(&place).map_err(io)?;
            println!("deleted {}", path);
            Ok(rest)
        }
        other => Err((64, format!("`{}` is no edit; replace, append, write and delete are", other))),
    }
}

fn write(place: &Path, text: &str) -> std::io::Result<()> {
    if let Some(above) = place.parent() {
        fs::create_dir_all(above)?;
    }
    fs::write(place, text)
}

fn place(path: &str) -> Result<PathBuf, (i32, String)> {
    let workspace = env::var("AIRLOCK_WORKSPACE").unwrap_or_else(|_| "/workspace".to_owned());
    let project = env::var("AIRLOCK_PROJECT_ROOT").unwrap_or_default();
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err((64, format!("`{}` is not a path below the project root", path)));
    }
    Ok(Path::new(&workspace).join(project).join(path))
}
