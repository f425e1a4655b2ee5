//! `airlock guest inspect FILE`.

use serde_json::json;

use crate::{
    cli::{
        Outcome,
        args::GuestInspect,
        clean,
        failure::{Done, Failure},
        output,
    },
    domain::verdict::bytes,
    guest::{Facts, Form, inspect},
};

pub fn run(args: &GuestInspect) -> Done {
    let code = super::code(&args.file)?;
    let facts = inspect(&code)
        .map_err(|why| Failure::refused(format_args!("{} cannot be a guest: {why}", args.file.display())))?;
    if args.shown.json {
        output::json(&as_json(&facts))?;
    } else {
        output::line(&as_text(&facts))?;
    }
    Ok(Outcome::Done)
}

fn as_json(facts: &Facts) -> serde_json::Value {
    let kind = match facts.form {
        Form::Core => "core",
        Form::Component => "component",
    };
    let Facts { digest, bytes, imports, exports, functions, .. } = facts;
    json!({"kind": kind, "digest": digest, "size": bytes, "functions": functions, "imports": imports, "exports": exports})
}

fn as_text(facts: &Facts) -> String {
    let mut lines = vec![
        format!("{}, {}, {} functions", facts.form, bytes(facts.bytes), facts.functions),
        facts.digest.to_string(),
    ];
    for (what, names) in [("imports", &facts.imports), ("exports", &facts.exports)] {
        lines.push(format!("{what}:"));
        lines.extend(names.iter().map(|name| format!("  {}", clean::lines(name))));
    }
    lines.join("\n")
}
