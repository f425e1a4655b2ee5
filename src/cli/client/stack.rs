//! `airlock stack`: list, show, create, upload to, lock.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    cli::{
        Outcome,
        args::{self, How, NewStack, StackVerb, VendorKind},
        failure::{Done, Failure},
        offline, output,
    },
    domain::{Slug, limits},
};

use super::{Client, pack, show};

pub fn run(args: &args::Stack) -> Done {
    offline::block_on(async {
        match &args.verb {
            StackVerb::List { state, label, search, how } => {
                let mut query = Vec::new();
                query.extend(state.map(|state| ("state", state.word().to_owned())));
                query.extend(label.as_ref().map(|label| ("label", label.to_string())));
                query.extend(search.as_ref().map(|words| ("q", words.clone())));
                list(&query, how).await
            }
            StackVerb::Show { stack, how } => show_one(stack, how).await,
            StackVerb::Create(new) => create(new).await,
            StackVerb::Upload { stack, path, how } => upload(stack, path, how).await,
            StackVerb::Lock { stack, note, how } => lock(stack, note.as_deref(), how).await,
            StackVerb::Unlock { stack, how } => unlock(stack, how).await,
        }
    })?;
    Ok(Outcome::Done)
}

async fn list(query: &[(&str, String)], how: &How) -> Result<(), Failure> {
    let stacks = Client::new(&how.reach)?.list("/stacks", query, usize::MAX).await?;
    if how.shown.json {
        return output::json(&json!({"items": stacks, "next": null}));
    }
    output::line(&show::stacks(&stacks))
}

async fn show_one(stack: &Slug, how: &How) -> Result<(), Failure> {
    let client = Client::new(&how.reach)?;
    let shown = client.get(&format!("/stacks/{stack}"), &[]).await?;
    tell(&shown, how, || show::stack(&client, &shown))
}

fn tell(answer: &Value, how: &How, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if how.shown.json { output::json(answer) } else { output::line(&text()) }
}

async fn create(new: &NewStack) -> Result<(), Failure> {
    let body = match &new.file {
        Some(path) => read_stack(path)?,
        None => described(new),
    };
    let client = Client::new(&new.how.reach)?;
    // Packed before anything is made: a directory that cannot be read leaves no stack behind.
    let archive = new.upload.as_deref().map(pack::archive).transpose()?;
    let stack = client.create("/stacks", &body).await?;
    let slug = show::text(&stack, "slug");
    if let Some(archive) = archive {
        client.upload(&format!("/stacks/{slug}/source"), archive.path()).await.map_err(|failure| {
            failure.next(format_args!("the stack {slug} is made; try again: `airlock stack upload {slug} PATH`"))
        })?;
    }
    tell(&stack, &new.how, || {
        let page = client.page(&format!("/stacks/{slug}"));
        format!("{slug} is made\n  {page}\n  airlock run trigger {slug} --wait")
    })
}

/// The shape of `POST /stacks`, from flags.
fn described(new: &NewStack) -> Value {
    let mut stack = json!({
        "name": new.name,
        "labels": new.labels,
        "vendor": vendor(new),
        "autodeploy": new.autodeploy,
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            stack[name] = value;
        }
    };
    set("slug", new.slug.as_ref().map(|slug| json!(slug)));
    set("description", new.description.as_ref().map(|text| json!(text)));
    set("source", source(new));
    stack
}

fn vendor(new: &NewStack) -> Value {
    match new.vendor {
        Some(VendorKind::Terraform) => json!({"kind": "terraform", "binary": new.binary}),
        Some(VendorKind::OpenTofu) => json!({"kind": "opentofu", "binary": new.binary}),
        Some(VendorKind::Custom) | None => json!({
            "kind": "custom", "init": new.init, "plan": new.plan, "apply": new.apply, "destroy": new.destroy,
        }),
    }
}

fn source(new: &NewStack) -> Option<Value> {
    let root = new.project_root.as_ref().map_or("", |root| root.as_str());
    if let Some(url) = &new.git {
        return Some(json!({"kind": "git", "url": url, "branch": new.branch, "project_root": root}));
    }
    let uploads = new.upload.is_some() || new.project_root.is_some();
    uploads.then(|| json!({"kind": "upload", "project_root": root}))
}

fn read_stack(path: &Path) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(limits::BODY_BYTES).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(limits::BODY_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::file("read", path, &error))?;
    serde_json::from_str(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}

async fn upload(stack: &Slug, path: &Path, how: &How) -> Result<(), Failure> {
    let client = Client::new(&how.reach)?;
    let archive = pack::archive(path)?;
    let upload = client.upload(&format!("/stacks/{stack}/source"), archive.path()).await?;
    tell(&upload, how, || {
        let size = crate::domain::verdict::bytes(upload["size"].as_u64().unwrap_or(0));
        format!("{stack} has a new source, {size}: {}", show::text(&upload, "digest"))
    })
}

async fn lock(stack: &Slug, note: Option<&str>, how: &How) -> Result<(), Failure> {
    let client = Client::new(&how.reach)?;
    let lock = client.put(&format!("/stacks/{stack}/lock"), &json!({"note": note})).await?;
    tell(&lock, how, || format!("{stack} is locked by {}", show::lock(&lock)))
}

async fn unlock(stack: &Slug, how: &How) -> Result<(), Failure> {
    let client = Client::new(&how.reach)?;
    client.delete(&format!("/stacks/{stack}/lock")).await?;
    tell(&json!({"stack": stack, "lock": null}), how, || format!("{stack} is not locked any more"))
}
