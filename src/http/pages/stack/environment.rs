//! `/stacks/{slug}/environment`: variables and mounted files.

use std::collections::BTreeSet;

use axum::{
    extract::{FromRequest as _, Multipart, Path, Request, State},
    http::StatusCode,
};

use super::{
    head::{crumbs, head},
    slug_of,
};
use crate::{
    actions::{NewVariable, Secret},
    auth::Permission,
    domain::{
        EnvName, Refused, RelativePath, Role, Slug, Timestamp, limits,
        runtime::{Hook, HookPoint, Origin},
        verdict::bytes,
    },
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Asked, Form, Sent, Wrong, is_kind},
            show::mark,
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            StackEnvironmentPage,
            context::{AttachForm, AttachedRow, HookRow, Provenance},
            form::Fields as _,
            frame::{Empty, Place},
            stack::{FileForm, FileRow, Shown, VariableForm, VariableRow},
            status::Moment,
        },
    },
    queries::{Attached, Effective, File, Layered, Variable, VariableValue},
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Asked(asked): Asked) -> Answer {
    let slug = slug_of(&slug)?;
    let mut page = page(&web, &visitor, &slug)?;
    if let Some(name) = asked.filled("edit") {
        edit(&web, &visitor, &slug, &mut page, name)?;
    }
    visitor.page(&page)
}

fn page(web: &Web, visitor: &Visitor, slug: &Slug) -> Result<StackEnvironmentPage, Problem> {
    let row = web.queries.stack_row(&visitor.who, slug)?;
    let head = head(web, &visitor.who, &row, "Environment")?;
    let now = web.queries.now();
    let writes = visitor.who.role_on(row.stack.id) >= Some(Role::Writer);
    let links = visitor.who.admin;
    let (environment, own) = (web.queries.environment(&visitor.who, slug)?, own(web, visitor, slug)?);
    let variable = |it: Effective| VariableRow {
        own: own.0.contains(&it.name),
        name: it.name.to_string(),
        value: shown(it.value),
        description: it.description,
        changed: it.updated.map(|(at, by)| (Moment::new(at, now), mark(&by))),
        from: Some(Provenance::new(&it.origin, &it.overrides, links)),
    };
    let file = |it: Layered<File>| FileRow {
        own: own.1.contains(&it.row.path),
        from: Some(Provenance::new(&it.origin, &it.overrides, links)),
        ..file_row(it.row, now)
    };
    let attached = |it: &Attached| AttachedRow {
        name: it.context.name.to_string(),
        href: links.then(|| format!("/admin/contexts/{}", it.context.name)),
        description: it.context.description.clone(),
        priority: Provenance::new(&it.origin, &[], false).priority,
    };
    let administers = visitor.who.role_on(row.stack.id) >= Some(Role::Admin);
    let crumbs = crumbs(&head, Some("Environment"));
    Ok(StackEnvironmentPage {
        frame: visitor.frame(Place::Stacks, format!("Environment · {}", head.stack.name), crumbs)?,
        contexts: environment.contexts.iter().map(attached).collect(),
        attach: if administers { attach_form(web, &environment.contexts)? } else { None },
        may_attach: administers,
        attach_problems: Vec::new(),
        hooks: environment.hooks.iter().map(|(point, hooks)| hook_row(*point, hooks, links)).collect(),
        variables: environment.variables.into_iter().map(variable).collect(),
        files: environment.files.into_iter().map(file).collect(),
        forms: writes.then(forms),
        editing: None,
        problems: (Vec::new(), Vec::new()),
        empty: Empty {
            title: "No variables yet".to_owned(),
            text: "Variables that every phase and task of this stack gets will appear here.".to_owned(),
            action: None,
        },
        head,
    })
}

/// Names and paths that are the stack's own, whatever wins over them.
fn own(web: &Web, visitor: &Visitor, slug: &Slug) -> Result<(BTreeSet<EnvName>, BTreeSet<RelativePath>), Problem> {
    let variables = web.queries.variables(&visitor.who, slug)?.into_iter().map(|row| row.name).collect();
    let files = web.queries.files(&visitor.who, slug)?.into_iter().map(|row| row.path).collect();
    Ok((variables, files))
}

/// A value as it may be shown.
pub fn shown(value: VariableValue) -> Shown {
    match value {
        VariableValue::Plain(text) => Shown::Plain(text),
        VariableValue::Sensitive { hash, .. } => Shown::Sensitive(hash),
    }
}

/// A file of whoever shows it.
pub fn file_row(row: File, now: Timestamp) -> FileRow {
    FileRow {
        path: row.path.to_string(),
        size: bytes(row.size),
        sensitive: row.sensitive,
        digest: short(&row.hash),
        changed: Moment::new(row.updated_at, now),
        by: mark(&row.updated_by),
        from: None,
        own: true,
    }
}

pub fn hook_row(point: HookPoint, hooks: &[Hook], links: bool) -> HookRow {
    let one = |hook: &Hook| (hook.command.clone(), Provenance::new(&hook.origin, &[], links));
    HookRow { point: point.word(), hooks: hooks.iter().map(one).collect() }
}

/// The form that attaches one of the contexts that are left.
fn attach_form(web: &Web, attached: &[Attached]) -> Result<Option<AttachForm>, Problem> {
    let is_attached =
        |name: &Slug| attached.iter().any(|it| it.context.name == *name && matches!(it.origin, Origin::Context { .. }));
    let names = web.queries.context_names()?.into_iter().filter(|name| !is_attached(name));
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    Ok((!names.is_empty()).then(|| AttachForm::new(&names)))
}

/// A digest as people compare it.
fn short(hash: &str) -> String {
    crate::domain::Digest::new(hash).map_or_else(|_| hash.to_owned(), |digest| digest.short())
}

pub fn forms() -> (VariableForm, FileForm) {
    let (mut variable, mut file) = (VariableForm::new(), FileForm::new());
    variable.set_prefix("variable-");
    file.set_prefix("file-");
    (variable, file)
}

fn edit(web: &Web, visitor: &Visitor, slug: &Slug, page: &mut StackEnvironmentPage, name: &str) -> Result<(), Problem> {
    let found = web.queries.variables(&visitor.who, slug)?.into_iter().find(|it| it.name.as_str() == name);
    let found = found.ok_or_else(|| Problem::not_found("there is no such variable"))?;
    let Some((form, _)) = &mut page.forms else { return Ok(()) };
    fill(form, found);
    page.editing = Some(form.name.value.clone());
    Ok(())
}

/// Fills a form with a variable that is there; never with a sensitive value.
pub fn fill(form: &mut VariableForm, found: Variable) {
    form.name.value = found.name.to_string();
    form.description.value = found.description;
    match found.value {
        VariableValue::Plain(text) => form.value.value = text,
        VariableValue::Sensitive { .. } => {
            "on".clone_into(&mut form.sensitive.value);
            form.value.hint = "The present value is not shown. What you write takes its place.".to_owned();
        }
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, request: Request) -> Answer {
    let slug = slug_of(&slug)?;
    if is_kind(&request, "multipart/form-data") {
        let (stack, permit) = visitor.may_on(Permission::EditEnvironment, &slug).await?;
        let (sent, content) = receive(&web, request).await?;
        let wrong = match new_file(&sent, content) {
            Err(wrong) => wrong,
            Ok((path, content)) => {
                let is_new = web.actions.set_file(&permit, stack.id, path.clone(), content, sent.is_on("sensitive"));
                match is_new.await {
                    Ok(true) => return done(&visitor, format!("The file {path} is mounted from the next run on.")),
                    Ok(false) => return done(&visitor, format!("The file {path} was replaced.")),
                    Err(error) => Wrong::of(error)?.renamed(&[("content", "file")]),
                }
            }
        };
        return refuse_file(&web, &visitor, &slug, &sent, &wrong);
    }
    let Form(sent) = Form::from_request(request, &web).await?;
    match sent.verb() {
        "set_variable" => set_variable(&web, &visitor, &slug, &sent).await,
        "delete_variable" => delete_variable(&web, &visitor, &slug, &sent).await,
        "delete_file" => delete_file(&web, &visitor, &slug, &sent).await,
        "attach" => attach(&web, &visitor, &slug, &sent).await,
        "detach" => detach(&web, &visitor, &slug, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

fn done(visitor: &Visitor, text: String) -> Answer {
    visitor.done(&visitor.path, Carried::good(text))
}

async fn set_variable(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::EditEnvironment, slug).await?;
    let wrong: Wrong = match EnvName::new(sent.text("name").trim()) {
        Err(error) => Refused::field("name", error.to_string()).into(),
        Ok(name) => {
            let new = NewVariable {
                name: name.clone(),
                value: Secret::new(sent.text("value").to_owned()),
                sensitive: sent.is_on("sensitive"),
                description: sent.text("description").trim().to_owned(),
            };
            match web.actions.set_variable(&permit, stack.id, new).await {
                Ok(true) => return done(visitor, format!("The variable {name} was added.")),
                Ok(false) => return done(visitor, format!("The variable {name} was changed.")),
                Err(error) => Wrong::of(error)?,
            }
        }
    };
    let mut page = page(web, visitor, slug)?;
    if let Some((form, _)) = &mut page.forms {
        form.keep(sent.pairs());
        if form.sensitive.is_on() {
            form.value.value.clear();
        }
        page.problems.0 = wrong.blame(form);
    }
    visitor.page_with(wrong.status, &page)
}

async fn delete_variable(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::EditEnvironment, slug).await?;
    let name = EnvName::new(sent.text("name")).map_err(|_| Problem::not_found("there is no such variable"))?;
    web.actions.delete_variable(&permit, stack.id, name.clone()).await?;
    done(visitor, format!("The variable {name} was deleted."))
}

async fn delete_file(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::EditEnvironment, slug).await?;
    let path = RelativePath::new(sent.text("path")).map_err(|_| Problem::not_found("there is no such file"))?;
    web.actions.delete_file(&permit, stack.id, path.clone()).await?;
    done(visitor, format!("The file {path} was deleted."))
}

// ── Contexts ────────────────────────────────────────────────────────────────────────────────

async fn attach(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::AttachContext, slug).await?;
    let priority = match sent.text("priority").trim() {
        "" => Ok(0),
        text => text.parse().map_err(|_| Refused::field("priority", "must be a whole number, such as 0 or 10")),
    };
    let name = Slug::new(sent.text("context")).map_err(|_| Refused::field("context", "choose one"));
    let wrong: Wrong = match (name, priority) {
        (Err(refused), _) | (_, Err(refused)) => refused.into(),
        (Ok(name), Ok(priority)) => match web.actions.attach_context(&permit, stack.id, name.clone(), priority).await {
            Ok(_) => return done(visitor, format!("The context {name} is attached with priority {priority}.")),
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor, slug)?;
    if let Some(form) = &mut page.attach {
        form.keep(sent.pairs());
        page.attach_problems = wrong.blame(form);
    }
    visitor.page_with(wrong.status, &page)
}

async fn detach(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::AttachContext, slug).await?;
    let name = Slug::new(sent.text("context")).map_err(|_| Problem::not_found("there is no such context"))?;
    web.actions.detach_context(&permit, stack.id, name.clone()).await?;
    done(visitor, format!("The context {name} was taken away."))
}

// ── Files ───────────────────────────────────────────────────────────────────────────────────

/// Fields and the file of a form; none when no file was chosen.
pub async fn receive(web: &Web, request: Request) -> Result<(Sent, Option<Vec<u8>>), Problem> {
    let unreadable = |text: String| Refused::invalid(format!("the form cannot be read: {text}"));
    let mut form = Multipart::from_request(request, web).await.map_err(|error| unreadable(error.body_text()))?;
    let mut sent = Sent::default();
    let mut content = None;
    while let Some(mut field) = form.next_field().await.map_err(|error| too_large(error.status(), error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| too_large(error.status(), error.body_text()))? {
            bytes.extend_from_slice(&piece);
        }
        match name.as_str() {
            "file" => content = (!bytes.is_empty()).then_some(bytes),
            _ => sent.push(name, String::from_utf8_lossy(&bytes)),
        }
    }
    Ok((sent, content))
}

fn too_large(status: StatusCode, text: String) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::of_status(status, format!("a mounted file has at most {}", bytes(limits::FILE_BYTES)));
    }
    Refused::invalid(format!("the form cannot be read: {text}")).into()
}

pub fn new_file(sent: &Sent, content: Option<Vec<u8>>) -> Result<(RelativePath, Secret<Vec<u8>>), Wrong> {
    let path = RelativePath::new(sent.text("path").trim());
    match (path, content) {
        (Err(error), _) => Err(Refused::field("path", error.to_string()).into()),
        (Ok(_), None) => Err(Refused::field("file", "choose a file that is not empty").into()),
        (Ok(path), Some(content)) => Ok((path, Secret::new(content))),
    }
}

fn refuse_file(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent, wrong: &Wrong) -> Answer {
    let mut page = page(web, visitor, slug)?;
    if let Some((_, form)) = &mut page.forms {
        form.keep(sent.pairs());
        page.problems.1 = wrong.blame(form);
    }
    visitor.page_with(wrong.status, &page)
}
