//! `/stacks/{slug}/environment`: variables and mounted files.

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
    domain::{EnvName, Refused, RelativePath, Role, Slug, limits, verdict::bytes},
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
            form::Fields as _,
            frame::{Empty, Place},
            stack::{FileForm, FileRow, Shown, VariableForm, VariableRow},
            status::Moment,
        },
    },
    queries::{File, Variable, VariableValue},
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
    let variable = |it: Variable| VariableRow {
        name: it.name.to_string(),
        value: match it.value {
            VariableValue::Plain(text) => Shown::Plain(text),
            VariableValue::Sensitive { hash, .. } => Shown::Sensitive(hash),
        },
        description: it.description,
        changed: Moment::new(it.updated_at, now),
        by: mark(&it.updated_by),
    };
    let file = |it: File| FileRow {
        path: it.path.to_string(),
        size: bytes(it.size),
        sensitive: it.sensitive,
        digest: short(&it.hash),
        changed: Moment::new(it.updated_at, now),
        by: mark(&it.updated_by),
    };
    let crumbs = crumbs(&head, Some("Environment"));
    Ok(StackEnvironmentPage {
        frame: visitor.frame(Place::Stacks, format!("Environment · {}", head.stack.name), crumbs)?,
        variables: web.queries.variables(&visitor.who, slug)?.into_iter().map(variable).collect(),
        files: web.queries.files(&visitor.who, slug)?.into_iter().map(file).collect(),
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

/// A digest as people compare it.
fn short(hash: &str) -> String {
    crate::domain::Digest::new(hash).map_or_else(|_| hash.to_owned(), |digest| digest.short())
}

fn forms() -> (VariableForm, FileForm) {
    let (mut variable, mut file) = (VariableForm::new(), FileForm::new());
    variable.set_prefix("variable-");
    file.set_prefix("file-");
    (variable, file)
}

/// Fills the form with a variable that is there; never with a sensitive value.
fn edit(web: &Web, visitor: &Visitor, slug: &Slug, page: &mut StackEnvironmentPage, name: &str) -> Result<(), Problem> {
    let found = web.queries.variables(&visitor.who, slug)?.into_iter().find(|it| it.name.as_str() == name);
    let found = found.ok_or_else(|| Problem::not_found("there is no such variable"))?;
    let Some((form, _)) = &mut page.forms else { return Ok(()) };
    form.name.value = found.name.to_string();
    form.description.value = found.description;
    match found.value {
        VariableValue::Plain(text) => form.value.value = text,
        VariableValue::Sensitive { .. } => {
            "on".clone_into(&mut form.sensitive.value);
            form.value.hint = "The present value is not shown. What you write takes its place.".to_owned();
        }
    }
    page.editing = Some(form.name.value.clone());
    Ok(())
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

// ── Files ───────────────────────────────────────────────────────────────────────────────────

/// Fields and the file of a form; none when no file was chosen.
async fn receive(web: &Web, request: Request) -> Result<(Sent, Option<Vec<u8>>), Problem> {
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

fn new_file(sent: &Sent, content: Option<Vec<u8>>) -> Result<(RelativePath, Secret<Vec<u8>>), Wrong> {
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
