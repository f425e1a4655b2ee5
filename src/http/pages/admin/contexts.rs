//! `/admin/contexts` and `/admin/contexts/{name}`: bundles of variables, files and hooks.

use axum::extract::{FromRequest as _, Path, Request, State};

use crate::{
    actions::{ContextText, NewContext, NewFile, NewVariable, Secret},
    auth::{Permission, Permit},
    domain::{EnvName, FieldError, Label, Refused, RelativePath, Slug, runtime::Origin, stack::Hooks},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Asked, Form, Sent, Wrong, is_kind},
            show::mark,
            stack::environment::{file_row, fill, forms, new_file, receive, shown},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            ContextPage, ContextsPage,
            admin::admin_tabs,
            context::{ContextForm, ContextRow, NewContextForm, Provenance},
            form::{Field, Fields as _},
            frame::{Empty, Place},
            stack::VariableRow,
            status::Moment,
            words,
        },
    },
    queries::{ContextDetail, Stack, Variable},
};

const PATH: &str = "/admin/contexts";

// ── The list ────────────────────────────────────────────────────────────────────────────────

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageContexts).await?;
    visitor.page(&list(&web, &visitor)?)
}

fn list(web: &Web, visitor: &Visitor) -> Result<ContextsPage, Problem> {
    let now = web.queries.now();
    let row = |detail: ContextDetail| ContextRow {
        holds: holds(&detail),
        stacks: stacks(&detail.stacks),
        labels: detail.context.labels.iter().map(ToString::to_string).collect(),
        updated: Moment::new(detail.context.updated_at, now),
        name: detail.context.name.to_string(),
        description: detail.context.description,
    };
    Ok(ContextsPage {
        frame: visitor.frame(Place::Admin, "Contexts", super::crumbs("Contexts"))?,
        tabs: admin_tabs("Contexts"),
        contexts: web.queries.contexts()?.into_iter().map(row).collect(),
        form: NewContextForm::new(),
        problems: Vec::new(),
        empty: Empty {
            title: "No contexts yet".to_owned(),
            text:
                "Variables, mounted files and hooks that several stacks share will appear here, bundled under a name."
                    .to_owned(),
            action: None,
        },
    })
}

/// `3 variables, 1 file, hooks`
fn holds(detail: &ContextDetail) -> String {
    let mut parts = Vec::new();
    if !detail.variables.is_empty() {
        parts.push(words::count(detail.variables.len() as u64, "variable"));
    }
    if !detail.files.is_empty() {
        parts.push(words::count(detail.files.len() as u64, "file"));
    }
    if detail.context.hooks != Hooks::default() {
        parts.push("hooks".to_owned());
    }
    if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") }
}

fn stacks(with: &[(Stack, Origin)]) -> String {
    const NAMED: usize = 5;
    let names: Vec<&str> = with.iter().take(NAMED).map(|(stack, _)| stack.slug.as_str()).collect();
    match (names.as_slice(), with.len().saturating_sub(NAMED)) {
        ([], _) => "no stack has it".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageContexts).await?;
    if sent.verb() != "create" {
        return Err(unknown_verb(sent.verb()));
    }
    let wrong: Wrong = match new_context(&sent) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.create_context(&permit, new, visitor.once(&sent)?).await {
            Ok(made) => {
                let text = format!("The context {} was made. Put something into it.", made.name);
                return visitor.done(&format!("{PATH}/{}", made.name), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = list(&web, &visitor)?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_context(sent: &Sent) -> Result<NewContext, Refused> {
    let mut errors = Vec::new();
    let name = Slug::new(sent.text("name").trim()).map_err(|error| errors.push(at("name", error)));
    let labels = labels(sent, &mut errors);
    let Ok(name) = name else { return Err(Refused::fields(errors)) };
    if !errors.is_empty() {
        return Err(Refused::fields(errors));
    }
    let description = sent.text("description").trim().to_owned();
    let text = ContextText { description, labels, hooks: Hooks::default() };
    Ok(NewContext { name, text, variables: Vec::new(), files: Vec::new() })
}

fn at(field: &str, error: impl std::fmt::Display) -> FieldError {
    FieldError { field: field.to_owned(), error: error.to_string() }
}

fn labels(sent: &Sent, errors: &mut Vec<FieldError>) -> Vec<Label> {
    let mut labels = Vec::new();
    for word in sent.text("labels").split_whitespace() {
        match Label::new(word) {
            Ok(label) => labels.push(label),
            Err(error) => errors.push(at("labels", format_args!("`{word}` {error}"))),
        }
    }
    labels
}

// ── One ─────────────────────────────────────────────────────────────────────────────────────

fn name_of(text: &str) -> Result<Slug, Problem> {
    Slug::new(text).map_err(|_| Problem::not_found("there is no such context"))
}

pub async fn get_one(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
    Asked(asked): Asked,
) -> Answer {
    visitor.may_here(Permission::ManageContexts).await?;
    let name = name_of(&name)?;
    let mut page = one(&web, &visitor, &name)?;
    if let Some(wanted) = asked.filled("edit") {
        let found = web.queries.context(&name)?.variables.into_iter().find(|row| row.name.as_str() == wanted);
        fill(&mut page.variable, found.ok_or_else(|| Problem::not_found("there is no such variable"))?);
        page.editing = Some(wanted.to_owned());
    }
    visitor.page(&page)
}

fn one(web: &Web, visitor: &Visitor, name: &Slug) -> Result<ContextPage, Problem> {
    let ContextDetail { context, variables, files, stacks } = web.queries.context(name)?;
    let now = web.queries.now();
    let variable = |row: Variable| VariableRow {
        name: row.name.to_string(),
        value: shown(row.value),
        description: row.description,
        changed: Some((Moment::new(row.updated_at, now), mark(&row.updated_by))),
        from: None,
        own: true,
    };
    let labels: Vec<String> = context.labels.iter().map(ToString::to_string).collect();
    let (form_variable, form_file) = forms();
    let crumbs = super::crumbs_below("Contexts", PATH, name.as_str());
    Ok(ContextPage {
        frame: visitor.frame(Place::Admin, format!("{name} · Contexts"), crumbs)?,
        tabs: admin_tabs("Contexts"),
        name: name.to_string(),
        updated: Moment::new(context.updated_at, now),
        by: mark(&context.updated_by),
        stacks: stacks
            .iter()
            .map(|(stack, origin)| (stack.slug.to_string(), Provenance::new(origin, &[], false)))
            .collect(),
        form: ContextForm::new().filled(&context.description, &labels, &context.hooks),
        version: context.version,
        variables: variables.into_iter().map(variable).collect(),
        files: files.into_iter().map(|row| file_row(row, now)).collect(),
        variable: form_variable,
        file: form_file,
        editing: None,
        problems: (Vec::new(), Vec::new(), Vec::new()),
    })
}

pub async fn post_one(State(web): State<Web>, visitor: Visitor, Path(name): Path<String>, request: Request) -> Answer {
    let permit = visitor.may_here(Permission::ManageContexts).await?;
    let name = name_of(&name)?;
    if is_kind(&request, "multipart/form-data") {
        let (sent, content) = receive(&web, request).await?;
        return set_file(&web, &visitor, &permit, &name, &sent, content).await;
    }
    let Form(sent) = Form::from_request(request, &web).await?;
    match sent.verb() {
        "save" => save(&web, &visitor, &permit, name, &sent).await,
        "set_variable" => set_variable(&web, &visitor, &permit, &name, &sent).await,
        "delete_variable" => {
            let gone = EnvName::new(sent.text("name")).map_err(|_| Problem::not_found("there is no such variable"))?;
            web.actions.delete_context_variable(&permit, name, gone.clone()).await?;
            visitor.done(&visitor.path, Carried::good(format!("The variable {gone} was deleted.")))
        }
        "delete_file" => {
            let gone = RelativePath::new(sent.text("path")).map_err(|_| Problem::not_found("there is no such file"))?;
            web.actions.delete_context_file(&permit, name, gone.clone()).await?;
            visitor.done(&visitor.path, Carried::good(format!("The file {gone} was deleted.")))
        }
        "delete" => {
            web.actions.delete_context(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The context {name} was deleted.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn save(web: &Web, visitor: &Visitor, permit: &Permit, name: Slug, sent: &Sent) -> Answer {
    let mut form = ContextForm::new();
    form.keep(sent.pairs());
    let mut errors = Vec::new();
    let labels = labels(sent, &mut errors);
    let wrong: Wrong = if errors.is_empty() {
        let (asked, description) = (form.clone(), sent.text("description").trim().to_owned());
        let version: u64 = sent.text("version").parse().unwrap_or_default();
        let edit = move |old: &crate::queries::Context| {
            if old.version != version {
                let why = "somebody changed this context meanwhile; look at their changes and make yours again";
                return Err(Refused::conflict(why));
            }
            Ok(ContextText {
                description: description.clone(),
                labels: labels.clone(),
                hooks: hooks(&asked.hooks(), &old.hooks),
            })
        };
        match web.actions.edit_context(permit, name.clone(), edit).await {
            Ok(_) => return visitor.done(&visitor.path, Carried::good(format!("The context {name} was saved."))),
            Err(error) => Wrong::of(error)?,
        }
    } else {
        Refused::fields(errors).into()
    };
    let mut page = one(web, visitor, &name)?;
    page.problems.0 = wrong.blame(&mut form);
    page.form = form;
    visitor.page_with(wrong.status, &page)
}

/// One hook a line. A list that was not touched stays as it is, with hooks of several lines.
fn hooks(fields: &[&Field; 11], before: &Hooks) -> Hooks {
    let mut hooks = before.clone();
    for (field, point) in fields.iter().zip(crate::domain::runtime::HookPoint::ALL) {
        let list = point.of(&mut hooks);
        if list.join("\n") != field.value {
            let lines = field.value.lines().map(str::trim).filter(|line| !line.is_empty());
            *list = lines.map(str::to_owned).collect();
        }
    }
    hooks
}

async fn set_variable(web: &Web, visitor: &Visitor, permit: &Permit, context: &Slug, sent: &Sent) -> Answer {
    let wrong: Wrong = match EnvName::new(sent.text("name").trim()) {
        Err(error) => Refused::field("name", error.to_string()).into(),
        Ok(name) => {
            let new = NewVariable {
                name: name.clone(),
                value: Secret::new(sent.text("value").to_owned()),
                sensitive: sent.is_on("sensitive"),
                description: sent.text("description").trim().to_owned(),
            };
            match web.actions.set_context_variable(permit, context.clone(), new).await {
                Ok(_) => return visitor.done(&visitor.path, Carried::good(format!("The variable {name} is set."))),
                Err(error) => Wrong::of(error)?,
            }
        }
    };
    let mut page = one(web, visitor, context)?;
    page.variable.keep(sent.pairs());
    if page.variable.sensitive.is_on() {
        page.variable.value.value.clear();
    }
    page.problems.1 = wrong.blame(&mut page.variable);
    visitor.page_with(wrong.status, &page)
}

async fn set_file(
    web: &Web,
    visitor: &Visitor,
    permit: &Permit,
    context: &Slug,
    sent: &Sent,
    content: Option<Vec<u8>>,
) -> Answer {
    let wrong = match new_file(sent, content) {
        Err(wrong) => wrong,
        Ok((path, content)) => {
            let new = NewFile { path: path.clone(), content, sensitive: sent.is_on("sensitive") };
            match web.actions.set_context_file(permit, context.clone(), new).await {
                Ok(_) => return visitor.done(&visitor.path, Carried::good(format!("The file {path} is mounted."))),
                Err(error) => Wrong::of(error)?.renamed(&[("content", "file")]),
            }
        }
    };
    let mut page = one(web, visitor, context)?;
    page.file.keep(sent.pairs());
    page.problems.2 = wrong.blame(&mut page.file);
    visitor.page_with(wrong.status, &page)
}
