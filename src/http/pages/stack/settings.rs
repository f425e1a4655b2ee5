//! `/stacks/{slug}/settings`: the settings, uploads, and the end of a stack.

use axum::{
    extract::{FromRequest as _, Path, Request, State},
    http::StatusCode,
};

use super::{
    fields,
    head::{crumbs, head},
    new::{credentials, images, test, version},
    slug_of, upload,
};
use crate::{
    actions::Error,
    auth::Permission,
    domain::{Refused, Role, Slug, stack::Source},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            doors::{again, wants_again},
            sent::{Asked, Form, Sent, Wrong, is_kind, sentence},
            visitor::{Answer, Visitor, block, unknown_verb},
        },
        view::{
            StackSettingsPage,
            form::Fields as _,
            frame::Place,
            stack::UploadRow,
            stack_form::{SourceTestFragment, StackForm},
            status::Moment,
        },
    },
    queries::Stack,
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Asked(asked): Asked) -> Answer {
    let slug = slug_of(&slug)?;
    let stack = web.queries.stack(&visitor.who, &slug)?;
    // Writers come here for the uploads alone.
    let needed = if is_upload(&stack) { Permission::UploadSource } else { Permission::EditStack };
    visitor.may_on(needed, &slug).await?;
    let mut page = page(&web, &visitor, &slug)?;
    if let (Some(field), Some(confirm)) = (&mut page.delete, asked.get("confirm")) {
        confirm.clone_into(&mut field.value);
    }
    visitor.page(&page)
}

const fn is_upload(stack: &Stack) -> bool {
    matches!(stack.settings.source, Some(Source::Upload { .. }))
}

fn page(web: &Web, visitor: &Visitor, slug: &Slug) -> Result<StackSettingsPage, Problem> {
    let row = web.queries.stack_row(&visitor.who, slug)?;
    let stack = &row.stack;
    let head = head(web, &visitor.who, &row, "Settings")?;
    let may_edit = visitor.who.role_on(stack.id) >= Some(Role::Admin);
    Ok(StackSettingsPage {
        frame: visitor.frame(
            Place::Stacks,
            format!("Settings · {}", head.stack.name),
            crumbs(&head, Some("Settings")),
        )?,
        form: StackForm::new(&credentials(web, visitor, Some(stack))?, &images(web, visitor)?).filled(&stack.settings),
        test: None,
        uploads: uploads(web, visitor, stack)?,
        upload_error: None,
        delete: may_edit.then(|| StackSettingsPage::delete_field(slug.as_str())),
        delete_refused: delete_refused(web, visitor, stack)?,
        problems: Vec::new(),
        version: stack.version,
        may_edit,
        head,
    })
}

fn uploads(web: &Web, visitor: &Visitor, stack: &Stack) -> Result<Vec<UploadRow>, Problem> {
    let all = web.queries.uploads(&visitor.who, &stack.slug)?;
    let shown = all.into_iter().take(20).map(|upload| UploadRow {
        current: stack.upload.as_ref() == Some(&upload.digest),
        digest: upload.digest.short(),
        size: crate::domain::verdict::bytes(upload.size),
        at: Moment::new(upload.at, web.queries.now()),
        by: upload.by.into(),
    });
    let mut rows: Vec<UploadRow> = shown.collect();
    // The same content may have been sent twice; one of the rows is the present one.
    let first = rows.iter().position(|row| row.current);
    rows.iter_mut().enumerate().for_each(|(at, row)| row.current = Some(at) == first);
    Ok(rows)
}

/// Why the stack cannot be deleted now.
fn delete_refused(web: &Web, visitor: &Visitor, stack: &Stack) -> Result<Option<String>, Problem> {
    if stack.settings.protect_from_deletion {
        return Ok(Some("It is protected from deletion: switch that off above first.".to_owned()));
    }
    let active = web.queries.active_runs(&visitor.who, stack.id)?;
    Ok(active.first().map(|run| {
        let state = crate::http::view::offers::label(run.kind, run.number);
        format!("{} is {}: end it first.", sentence(&state), run.state.title().to_lowercase())
    }))
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, request: Request) -> Answer {
    let slug = slug_of(&slug)?;
    if is_kind(&request, "multipart/form-data") {
        return take_upload(&web, &visitor, &slug, request).await;
    }
    let Form(sent) = Form::from_request(request, &web).await?;
    match sent.verb() {
        "save" => Box::pin(save(&web, &visitor, &slug, &sent)).await,
        "test_source" => Box::pin(test_source(&web, &visitor, &slug, &sent)).await,
        "delete" => delete(&web, &visitor, &slug, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

async fn save(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::EditStack, slug).await?;
    let mut page = page(web, visitor, slug)?;
    page.form.keep(sent.pairs());
    let wrong: Wrong = match fields::settings(&page.form, Some(&stack.settings)) {
        Err(errors) => Refused::fields(errors).into(),
        Ok(settings) => match web.actions.edit_stack(&permit, stack.id, settings, version(sent)).await {
            Ok(stack) => {
                let text = format!("The settings of {} were saved.", stack.settings.name);
                return visitor.done(&visitor.path, Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    page.problems = wrong.renamed(fields::NAMES).blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

async fn test_source(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, _) = visitor.may_on(Permission::EditStack, slug).await?;
    let mut page = page(web, visitor, slug)?;
    page.form.keep(sent.pairs());
    page.test = Some(test(web, &page.form, Some(&stack)).await?);
    match sent.text("block") {
        "source_test" => block(&SourceTestFragment { test: page.test }),
        _ => visitor.page(&page),
    }
}

async fn delete(web: &Web, visitor: &Visitor, slug: &Slug, sent: &Sent) -> Answer {
    let (stack, permit) = match visitor.may_on(Permission::DeleteStack, slug).await {
        Err(problem) if wants_again(&problem) => return again(&visitor.path, sent),
        permitted => permitted?,
    };
    let confirm = sent.text("confirm").trim();
    match web.actions.delete_stack(&permit, stack.id, confirm).await {
        Ok(()) => {
            let text = format!("The stack {} was deleted. The records of its runs stay.", stack.settings.name);
            visitor.done("/stacks", Carried::good(text))
        }
        Err(Error::Refused(refused)) if !refused.fields.is_empty() => {
            let mut page = page(web, visitor, slug)?;
            if let Some(field) = &mut page.delete {
                confirm.clone_into(&mut field.value);
                field.error = refused.fields.first().map(|error| error.error.clone());
            }
            visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(error) => Err(error.into()),
    }
}

async fn take_upload(web: &Web, visitor: &Visitor, slug: &Slug, request: Request) -> Answer {
    let (stack, permit) = visitor.may_on(Permission::UploadSource, slug).await?;
    let wrong = match upload::receive(web, request).await? {
        Err(refused) => Wrong::from(refused),
        Ok(scratch) => match web.actions.upload(&permit, stack.id, scratch.into_path()).await {
            Ok(upload) => {
                let text =
                    format!("{} is what new runs of {} work on now.", upload.digest.short(), stack.settings.name);
                return visitor.done(&visitor.path, Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor, slug)?;
    page.upload_error = Some(wrong.sentence());
    visitor.page_with(wrong.status, &page)
}
