//! `/admin/webhooks`: who hears of things over HTTP, and how delivering goes.

use std::{collections::BTreeMap, time::Duration};

use axum::extract::{Path, State};

use crate::{
    actions::{NewWebhook, Secret},
    auth::{Permission, Permit},
    domain::{Label, Look, Refused, Slug, WebhookForm as Understood, limits},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            lists::{cursor, pager},
            sent::{Asked, Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            WebhookPage, WebhooksPage,
            admin::admin_tabs,
            form::Fields as _,
            frame::{Empty, Place},
            status::{Badge, Moment},
            webhook::{AttemptRow, DeliveryRow, WebhookForm, WebhookRow},
            words,
        },
    },
    queries::{About, Attempt, DeliveryReason, Webhook, WebhookDelivery},
};

use super::run_tasks::host;

const PATH: &str = "/admin/webhooks";
/// What is written into the field of a secret to remove the stored one.
const NO_SECRET: &str = "-";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageWebhooks).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<WebhooksPage, Problem> {
    Ok(WebhooksPage {
        frame: visitor.frame(Place::Admin, "Webhooks", super::crumbs("Webhooks"))?,
        tabs: admin_tabs("Webhooks"),
        webhooks: web.queries.webhooks()?.into_iter().map(|row| shown(web, row)).collect(),
        form: WebhookForm::new(),
        problems: Vec::new(),
        empty: Empty {
            title: "No webhooks yet".to_owned(),
            text: "Services that hear of runs will appear here: a chat, a pager, your own. What is sent to them, and \
                   when, notification policies say."
                .to_owned(),
            action: None,
        },
    })
}

fn badge(webhook: &Webhook) -> Badge {
    match (webhook.enabled, webhook.failures, &webhook.disabled_because) {
        (true, 0, _) => Badge::new(Look::Succeeded, "Enabled"),
        (true, ..) => Badge::new(Look::NeedsYou, "Failing"),
        (false, _, Some(_)) => Badge::new(Look::Failed, "Switched off"),
        (false, _, None) => Badge::new(Look::Skipped, "Disabled"),
    }
}

fn shown(web: &Web, row: Webhook) -> WebhookRow {
    WebhookRow {
        href: format!("{PATH}/{}", row.id),
        badge: badge(&row),
        host: host(&row.url),
        form: match row.form {
            Understood::Json => "JSON",
            Understood::Slack => "Slack",
        },
        signed: row.secret.is_some(),
        labels: row.labels.iter().map(ToString::to_string).collect(),
        updated: Moment::new(row.updated_at, web.queries.now()),
        id: row.id.to_string(),
        name: row.name,
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageWebhooks).await?;
    match sent.verb() {
        "create" => create(&web, &visitor, &permit, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

async fn create(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let id = sent.filled("id").map(Slug::new).transpose();
    let wrong: Wrong =
        match id.map_err(|error| Refused::field("id", error.to_string())).and_then(|id| Ok((id, wanted(sent)?))) {
            Err(refused) => refused.into(),
            Ok((id, new)) => match web.actions.create_webhook(permit, id, new, visitor.once(sent)?).await {
                Ok(row) => {
                    let text = format!("The webhook {} is there. Send a test to see whether it arrives.", row.name);
                    return visitor.done(&format!("{PATH}/{}", row.id), Carried::good(text));
                }
                Err(error) => Wrong::of(error)?,
            },
        };
    let mut page = page(web, visitor)?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

/// What a form asks for.
fn wanted(sent: &Sent) -> Result<NewWebhook, Refused> {
    let labels = sent.text("labels").split(',').map(str::trim).filter(|label| !label.is_empty());
    let labels = labels.map(Label::new).collect::<Result<_, _>>();
    Ok(NewWebhook {
        name: sent.text("name").trim().to_owned(),
        url: sent.text("url").trim().to_owned(),
        form: Understood::from_word(sent.text("form")).ok_or_else(|| Refused::field("form", "choose one"))?,
        secret: sent
            .filled("secret")
            .map(|secret| Secret::new(if secret == NO_SECRET { String::new() } else { secret.to_owned() })),
        headers: headers(sent.text("headers"))?,
        labels: labels.map_err(|error| Refused::field("labels", error.to_string()))?,
        enabled: sent.is_on("enabled"),
    })
}

/// `Name: value` on each line; without a value it is removed.
fn headers(text: &str) -> Result<BTreeMap<String, Option<Secret<String>>>, Refused> {
    let mut headers = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let without = || Refused::field("headers", "each line is a name, a colon and a value");
        let (name, value) = line.split_once(':').ok_or_else(without)?;
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        headers.insert(name.trim().to_owned(), value.map(|value| Secret::new(value.to_owned())));
    }
    Ok(headers)
}

// ── One of them ─────────────────────────────────────────────────────────────────────────────

fn id_of(text: &str) -> Result<Slug, Problem> {
    Slug::new(text).map_err(|_| Problem::not_found("there is no such webhook"))
}

pub async fn get_one(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>, Asked(asked): Asked) -> Answer {
    visitor.may_here(Permission::ManageWebhooks).await?;
    visitor.page(&one(&web, &visitor, &id_of(&id)?, &asked)?)
}

fn one(web: &Web, visitor: &Visitor, id: &Slug, asked: &Sent) -> Result<WebhookPage, Problem> {
    let row = web.queries.webhook(id)?;
    let path = format!("{PATH}/{id}");
    let sent = web.queries.webhook_deliveries(id, cursor(asked)?.as_ref(), limits::PAGE_ROWS)?;
    let pages = pager(&path, asked, &sent);
    let mut form = WebhookForm::new();
    form.name.value.clone_from(&row.name);
    row.form.word().clone_into(&mut form.form.value);
    form.url.value.clone_from(&row.url);
    form.labels.value = row.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    form.enabled.value = if row.enabled { "on".to_owned() } else { String::new() };
    form.keeps(row.secret.is_some(), &row.header_names);
    let failing = (row.enabled && row.failures > 0).then(|| match row.failures {
        1 => "the last delivery failed".to_owned(),
        n => format!("{n} deliveries in a row failed"),
    });
    Ok(WebhookPage {
        frame: visitor.frame(
            Place::Admin,
            format!("Webhook {}", row.name),
            super::crumbs_below("Webhooks", PATH, row.name.as_str()),
        )?,
        tabs: admin_tabs("Webhooks"),
        id: row.id.to_string(),
        badge: badge(&row),
        failing,
        enabled: row.enabled,
        form,
        problems: Vec::new(),
        deliveries: sent.items.into_iter().map(|delivery| delivered(web, row.enabled, delivery)).collect(),
        pager: pages,
        why: row.disabled_because,
        name: row.name,
    })
}

fn delivered(web: &Web, enabled: bool, row: WebhookDelivery) -> DeliveryRow {
    let now = web.queries.now();
    let badge = match (row.due_at, &row.given_up, row.attempts.is_empty()) {
        (Some(_), _, true) => Badge::new(Look::Waiting, "Waiting"),
        (Some(_), _, false) => Badge::new(Look::Working, "Trying again"),
        (None, Some(_), _) => Badge::new(Look::Failed, "Failed"),
        (None, None, _) => Badge::new(Look::Succeeded, "Delivered"),
    };
    let (what, run, policy) = match row.about {
        About::Run { run, state, policy } => {
            (format!("A run is {}", state.title().to_lowercase()), Some(run.to_string()), Some(policy.to_string()))
        }
        About::Test { by } => (format!("A test by {}", by.name), None, None),
    };
    let attempt = |attempt: Attempt| AttemptRow {
        at: Moment::new(attempt.at, now),
        status: attempt.status.map_or_else(|| "No answer".to_owned(), |status| status.to_string()),
        took: words::span(Duration::from_millis(attempt.duration_ms)),
        reason: match attempt.reason {
            DeliveryReason::First => "first".to_owned(),
            DeliveryReason::Retry => "retry".to_owned(),
            DeliveryReason::Again { by } => format!("sent again by {}", by.name),
        },
        answer: attempt.answer,
    };
    DeliveryRow {
        number: row.seq,
        badge,
        what,
        run,
        policy,
        made: Moment::new(row.made_at, now),
        method: row.method,
        body: row.body,
        attempts: row.attempts.into_iter().map(attempt).collect(),
        reason: row.given_up,
        may_send: enabled && row.due_at.is_none(),
    }
}

pub async fn post_one(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageWebhooks).await?;
    let id = id_of(&id)?;
    let path = format!("{PATH}/{id}");
    match sent.verb() {
        "save" => save(&web, &visitor, &permit, id, &sent).await,
        "delete" => {
            let name = web.queries.webhook(&id)?.name;
            web.actions.delete_webhook(&permit, id).await?;
            visitor.done(PATH, Carried::good(format!("The webhook {name} was deleted.")))
        }
        "test" => {
            let number = web.actions.test_webhook(&permit, id, None).await?;
            visitor.done(&path, Carried::good(format!("A test is on its way: delivery {number}.")))
        }
        "redeliver" => {
            let number = sent.text("delivery").parse();
            let number = number.map_err(|_| Problem::not_found("there is no such delivery"))?;
            web.actions.redeliver_webhook(&permit, id, number).await?;
            visitor.done(&path, Carried::good(format!("Delivery {number} is sent again.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn save(web: &Web, visitor: &Visitor, permit: &Permit, id: Slug, sent: &Sent) -> Answer {
    let wrong: Wrong = match wanted(sent) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.edit_webhook(permit, id.clone(), new).await {
            Ok(row) => {
                let text = format!("The webhook {} was saved.", row.name);
                return visitor.done(&format!("{PATH}/{id}"), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = one(web, visitor, &id, &Sent::default())?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}
