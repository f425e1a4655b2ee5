//! `/stacks/new`: a stack is made, perhaps like another one.

use axum::extract::State;

use super::{fields, slug_of};
use crate::{
    actions::{Error, NewStack},
    auth::Permission,
    domain::{FieldError, Refused, Slug, stack::Source},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Asked, Form, Sent, Wrong, sentence},
            visitor::{Answer, Visitor, block, unknown_verb},
        },
        view::{
            NewStackPage,
            form::Fields as _,
            frame::{Crumb, Place},
            stack_form::{SourceTest, SourceTestFragment, StackForm},
        },
    },
    queries::Stack,
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    visitor.may_here(Permission::CreateStack).await?;
    let mut page = page(&web, &visitor)?;
    if let Some(slug) = asked.filled("from") {
        let stack = web.queries.stack(&visitor.who, &slug_of(slug)?)?;
        page.form = page.form.filled(&stack.settings);
        page.form.name.value = format!("Copy of {}", stack.settings.name).chars().take(120).collect();
        page.form.name.autofocus = true;
    }
    visitor.page(&page)
}

fn page(web: &Web, visitor: &Visitor) -> Result<NewStackPage, Problem> {
    let crumbs = vec![Crumb::link("Stacks", "/stacks"), Crumb::here("New stack")];
    Ok(NewStackPage {
        frame: visitor.frame(Place::Stacks, "New stack", crumbs)?,
        form: StackForm::new(&credentials(web, visitor, None)?, &images(web, visitor)?),
        test: None,
        problems: Vec::new(),
    })
}

/// Names of credentials that a form may offer: all of them to administrators of the installation,
/// to those of a stack the ones that are bound to it.
pub fn credentials(web: &Web, visitor: &Visitor, stack: Option<&Stack>) -> Result<Vec<String>, Problem> {
    let all = web.queries.credentials()?;
    let bound = |row: &crate::queries::CredentialRow| {
        stack.is_some_and(|stack| row.stacks.iter().any(|(id, _)| *id == stack.id))
    };
    let offered = all.into_iter().filter(|row| visitor.who.admin || bound(row));
    Ok(offered.map(|row| row.name.to_string()).collect())
}

/// Names of images, beside the host's own root.
pub fn images(web: &Web, visitor: &Visitor) -> Result<Vec<String>, Problem> {
    Ok(web.queries.images(&visitor.who)?.into_iter().map(|row| row.image.name.to_string()).collect())
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::CreateStack).await?;
    let mut page = page(&web, &visitor)?;
    page.form.keep(sent.pairs());
    match sent.verb() {
        "test_source" => {
            page.test = Some(test(&web, &page.form, None).await?);
            return match sent.text("block") {
                "source_test" => block(&SourceTestFragment { test: page.test }),
                _ => visitor.page(&page),
            };
        }
        "create" => {}
        other => return Err(unknown_verb(other)),
    }
    let wrong = match new_stack(&page.form) {
        Err(wrong) => wrong,
        Ok(new) => match web.actions.create_stack(&permit, new, visitor.once(&sent)?).await {
            Ok(stack) => return created(&visitor, &stack),
            Err(error) => Wrong::of(error)?,
        },
    };
    page.problems = wrong.renamed(fields::NAMES).blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_stack(form: &StackForm) -> Result<NewStack, Wrong> {
    let settings = fields::settings(form, None);
    let slug = Some(form.slug.value.trim()).filter(|slug| !slug.is_empty()).map(Slug::new).transpose();
    match (settings, slug) {
        (Ok(settings), Ok(slug)) => Ok(NewStack { slug, settings }),
        (settings, slug) => {
            let slug = slug.err().map(|error| FieldError { field: "slug".to_owned(), error: error.to_string() });
            let errors = settings.err().unwrap_or_default().into_iter().chain(slug).collect();
            Err(Refused::fields(errors).into())
        }
    }
}

fn created(visitor: &Visitor, stack: &Stack) -> Answer {
    let name = &stack.settings.name;
    let slug = &stack.slug;
    match stack.settings.source {
        Some(Source::Upload { .. }) if stack.upload.is_none() => {
            let text = format!("The stack {name} was created. Upload its source next.");
            visitor.done(&format!("/stacks/{slug}/settings#upload"), Carried::good(text))
        }
        _ => visitor.done(&format!("/stacks/{slug}"), Carried::good(format!("The stack {name} was created."))),
    }
}

/// Whether a source is there.
pub async fn test(web: &Web, form: &StackForm, stack: Option<&Stack>) -> Result<SourceTest, Problem> {
    let bad = |text: String| SourceTest { good: false, text: format!("{}.", sentence(&text)) };
    let source = match fields::source(form) {
        Ok(source) => source,
        Err(errors) => {
            let all: Vec<String> = errors.into_iter().map(|error| error.error).collect();
            return Ok(bad(all.join("; ")));
        }
    };
    match web.actions.test_source(&source, stack.map(|stack| stack.id)).await {
        Ok(text) => Ok(SourceTest { good: true, text: format!("{text}.") }),
        Err(Error::Refused(refused)) => {
            let words = refused.fields.first().map_or(refused.detail.clone(), |field| field.error.clone());
            Ok(bad(words))
        }
        Err(fault) => Err(fault.into()),
    }
}

/// What a settings form sends beside the settings.
pub fn version(sent: &Sent) -> Option<u64> {
    sent.filled("version")?.parse().ok()
}
