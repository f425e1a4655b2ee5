//! `/stacks/{slug}/policies`: which policies decide here.

use axum::extract::{Path, State};

use super::{
    head::{crumbs, head},
    slug_of,
};
use crate::{
    auth::Permission,
    domain::{PolicyName, Role, Slug},
    http::{
        Problem, Web,
        pages::{
            admin::policies::about,
            cookies::Carried,
            sent::{Asked, Form, Wrong},
            show::Rev,
            visitor::{Answer, Visitor, block, unknown_verb},
        },
        view::{
            StackPoliciesPage,
            frame::{Empty, Place},
            policy::AttachedRow,
        },
    },
    queries::AttachedPolicy,
};

pub async fn get(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Asked(asked): Asked) -> Answer {
    let page = page(&web, &visitor, &slug_of(&slug)?)?;
    match asked.text("block") {
        "head" => block(&page.as_head()),
        _ => visitor.page(&page),
    }
}

fn page(web: &Web, visitor: &Visitor, slug: &Slug) -> Result<StackPoliciesPage, Problem> {
    let row = web.queries.stack_row(&visitor.who, slug)?;
    let head = head(web, &visitor.who, &row, "Policies")?;
    let may_attach = visitor.who.role_on(row.stack.id) >= Some(Role::Admin);
    let attached = web.queries.policies_of(&visitor.who, row.stack.id)?;
    let others = match may_attach {
        true => web.queries.policies()?,
        false => Vec::new(),
    };
    let others = others.into_iter().filter(|other| !attached.iter().any(|one| one.name == other.policy.name));
    let mut frame =
        visitor.frame(Place::Stacks, format!("Policies · {}", head.stack.name), crumbs(&head, Some("Policies")))?;
    frame.badge = Some(head.badge.clone());
    Ok(StackPoliciesPage {
        frame,
        rev: Rev::default().stacks([&row]).number(),
        others: others.map(|other| (other.policy.name.to_string(), other.policy.kind.word())).collect(),
        policies: attached.into_iter().map(shown).collect(),
        may_attach,
        links: visitor.who.admin,
        problems: Vec::new(),
        empty: Empty {
            title: "No policies decide here".to_owned(),
            text: "Policies that are attached to this stack, by hand or by one of its labels, will appear here."
                .to_owned(),
            action: visitor.who.admin.then(|| ("Make a policy".to_owned(), "/admin/policies/new".to_owned())),
        },
        head,
    })
}

fn shown(one: AttachedPolicy) -> AttachedRow {
    AttachedRow {
        kind: one.kind.word(),
        about: about(&one.description, one.kind),
        how: match (one.by_label, one.by_hand) {
            (true, true) => "by label and by hand",
            (true, false) => "by label",
            (false, _) => "by hand",
        },
        detach: one.by_hand.then_some(match one.by_label {
            true => "It stays attached by label, and goes on deciding here.",
            false => "It decides nothing on this stack any more.",
        }),
        name: one.name.to_string(),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Path(slug): Path<String>, Form(sent): Form) -> Answer {
    let slug = slug_of(&slug)?;
    let attach = match sent.verb() {
        "attach" => true,
        "detach" => false,
        other => return Err(unknown_verb(other)),
    };
    let (stack, permit) = visitor.may_on(Permission::EditStack, &slug).await?;
    let name = PolicyName::new(sent.text("policy")).map_err(|_| Problem::not_found("there is no such policy"))?;
    match web.actions.attach_policy(&permit, stack.id, name.clone(), attach).await {
        Ok(()) => {
            let stays = web.queries.policies_of(&visitor.who, stack.id)?.iter().any(|one| one.name == name);
            let done = match (attach, stays) {
                (true, _) => "decides on",
                (false, true) => "is attached by label only, and goes on deciding on",
                (false, false) => "does not decide any more on",
            };
            let text = format!("{name} {done} {}.", stack.settings.name);
            visitor.done(&format!("/stacks/{slug}/policies"), Carried::good(text))
        }
        Err(error) => {
            let wrong = Wrong::of(error)?;
            let mut page = page(&web, &visitor, &slug)?;
            page.problems = vec![wrong.sentence()];
            visitor.page_with(wrong.status, &page)
        }
    }
}
