//! What a policy wants said, as deliveries and messages; and what is said where it does not say how.

use serde_json::{Value, json};

use crate::{
    domain::{Kind, PolicyName, Severity, Slug, Timestamp, WebhookForm, limits, run::SourceVersion},
    policy::{Inbox, Notification, Slack, Webhook as Calls},
    store::{
        Error, Fault, Rows, Tx,
        record::{About, Audience, Message, Notice, Run, Stack, Webhook},
        tables as t,
    },
};

use super::{
    Event,
    deliver::{Draft, put_delivery},
    inbox,
};
use crate::actions::{
    Moment,
    policy::{Evaluated, input},
};

/// Says one thing. What cannot be said is told as a sentence.
pub(super) fn one(
    tx: &Tx<'_>,
    moment: &Moment,
    event: &Event,
    policy: &PolicyName,
    what: &Notification,
) -> Result<Result<(), String>, Error> {
    match what {
        Notification::Webhook(calls) => call(tx, moment, event, policy, calls),
        Notification::Slack(slack) => write(tx, moment, event, policy, slack),
        Notification::Inbox(inbox) => {
            inbox::put(tx, moment, message(event, policy, inbox))?;
            Ok(Ok(()))
        }
        // Said in the policy's samples; there is nothing to write into.
        Notification::PullRequest => Ok(Ok(())),
    }
}

fn call(
    tx: &Tx<'_>,
    moment: &Moment,
    event: &Event,
    policy: &PolicyName,
    calls: &Calls,
) -> Result<Result<(), String>, Error> {
    let webhook = match found(tx, &calls.endpoint_id)? {
        Ok(webhook) => webhook,
        Err(why) => return Ok(Err(why)),
    };
    let body = match (&calls.payload, webhook.form) {
        // A text is sent as it is: the policy made JSON of it itself.
        (Some(Value::String(text)), _) => text.clone(),
        (Some(payload), _) => payload.to_string(),
        (None, WebhookForm::Json) => event.payload.to_string(),
        (None, WebhookForm::Slack) => text_of(event, None, &[]).to_string(),
    };
    let headers = calls.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    send(tx, moment, &webhook, Draft { about: about(event, policy), method: calls.method.clone(), headers, body })
}

fn write(
    tx: &Tx<'_>,
    moment: &Moment,
    event: &Event,
    policy: &PolicyName,
    slack: &Slack,
) -> Result<Result<(), String>, Error> {
    let webhook = match found(tx, &slack.endpoint_id)? {
        Ok(webhook) => webhook,
        Err(why) => return Ok(Err(why)),
    };
    if webhook.form != WebhookForm::Slack {
        let why = format!("the webhook `{}` is not of the form slack; use the rule `webhook` for it", webhook.id);
        return Ok(Err(why));
    }
    let users = slack.mention_users.iter().map(|user| format!("<@{}>", escaped(user)));
    let groups = slack.mention_groups.iter().map(|group| format!("<!subteam^{}>", escaped(group)));
    let mentions: Vec<String> = users.chain(groups).collect();
    let body = text_of(event, slack.message.as_deref(), &mentions).to_string();
    let draft = Draft { about: about(event, policy), method: "POST".to_owned(), headers: Vec::new(), body };
    send(tx, moment, &webhook, draft)
}

fn send(tx: &Tx<'_>, moment: &Moment, webhook: &Webhook, draft: Draft) -> Result<Result<(), String>, Error> {
    if draft.body.len() > limits::DELIVERY_BYTES {
        let most = limits::DELIVERY_BYTES >> 10;
        return Ok(Err(format!("the payload for `{}` is larger than {most} KiB", webhook.id)));
    }
    Ok(put_delivery(tx, moment, webhook, draft)?.map(|_| ()))
}

fn about(event: &Event, policy: &PolicyName) -> About {
    About::Run { run: event.run.id, state: event.notice.state, policy: policy.clone() }
}

/// A webhook that can be called.
fn found(tx: &Tx<'_>, id: &str) -> Result<Result<Webhook, String>, Fault> {
    let webhook = match Slug::new(id) {
        Ok(id) => tx.get(t::ID_TO_WEBHOOK, id.as_str())?,
        Err(_) => None,
    };
    let shown: String = id.chars().filter(|c| !c.is_control()).take(limits::SLUG_CHARS).collect();
    Ok(match webhook {
        None => Err(format!("there is no webhook `{shown}`; make one under Admin, Webhooks")),
        Some(webhook) if !webhook.enabled => Err(format!("the webhook `{shown}` is switched off")),
        Some(webhook) => Ok(webhook),
    })
}

/// `tracked run #12 of Shop is unconfirmed`
pub(super) fn sentence(event: &Event) -> String {
    let Event { notice, run, stack, .. } = event;
    let state = notice.state.title().to_lowercase();
    format!("{} run #{} of {} is {state}", run.kind, run.number, stack.settings.name)
}

/// What Slack understands. Text is escaped as it asks for; a policy's own text may hold its markup.
fn text_of(event: &Event, message: Option<&str>, mentions: &[String]) -> Value {
    let usual = || {
        let reason = event.notice.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("<{}|{}>{}", event.url, escaped(&sentence(event)), escaped(&reason))
    };
    let text = message.map_or_else(usual, str::to_owned);
    let mentions = mentions.iter().map(|mention| format!("{mention} ")).collect::<String>();
    json!({"text": format!("{mentions}{text}")})
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn message(event: &Event, policy: &PolicyName, inbox: &Inbox) -> Message {
    let text = inbox.body.clone().or_else(|| event.notice.reason.clone()).unwrap_or_default();
    Message {
        at: event.notice.at,
        severity: inbox.severity,
        title: inbox.title.clone().unwrap_or_else(|| capital(&sentence(event))),
        text,
        audience: Audience::Stack(event.stack.id),
        run: Some(event.run.id),
        policy: Some(policy.clone()),
        topic: None,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| format!("{}{}", first.to_uppercase(), chars.as_str())).unwrap_or_default()
}

/// What a policy wants that cannot be done, for those who can mend it.
pub(super) fn wrong(event: &Event, one: &Evaluated, mistakes: &[String]) -> Message {
    let text: String = mistakes.join("; ").chars().take(limits::MESSAGE_TEXT_CHARS).collect();
    about_policy(event, one, "wrong", format!("The policy {} tells nobody what it wants to", one.name), text)
}

/// The same about the same version of a policy is said once.
pub(super) fn about_policy(event: &Event, one: &Evaluated, what: &str, title: String, text: String) -> Message {
    Message {
        at: event.notice.at,
        severity: Severity::Error,
        title,
        text,
        audience: Audience::Admins,
        run: Some(event.run.id),
        policy: Some(one.name.clone()),
        topic: Some(format!("policy {} {} {what}", one.name, one.version)),
    }
}

/// The event of a run, in the shape that Spacelift publishes.
pub(super) fn payload(
    view: &impl Rows,
    account: &str,
    stack: &Stack,
    run: &Run,
    notice: &Notice,
) -> Result<Value, Fault> {
    let mut about = json!({
        "id": run.id,
        "branch": input::branch(run),
        "commit": commit(view, run)?,
        "createdAt": seconds(run.created_at),
        "delta": delta(run),
        "triggeredBy": input::triggered_by(&run.triggered_by),
        "type": input::shout(if run.kind == Kind::Drift { Kind::Proposed.word() } else { run.kind.word() }),
    });
    if run.kind == Kind::Drift {
        about["driftDetection"] = json!(true);
    }
    Ok(json!({
        "account": account,
        "state": input::shout(notice.state.word()),
        "stateVersion": notice.n,
        "timestamp": seconds(notice.at),
        "run": about,
        "stack": {
            "id": stack.slug,
            "name": stack.settings.name,
            "description": stack.settings.description,
            "labels": stack.settings.labels,
        },
    }))
}

fn commit(view: &impl Rows, run: &Run) -> Result<Value, Fault> {
    let hash = match &run.source {
        SourceVersion::Git { commit: None, .. } => return Ok(Value::Null),
        SourceVersion::Git { commit: Some(commit), .. } => commit.to_string(),
        SourceVersion::Upload { digest } => digest.to_string(),
    };
    let facts = run.commit_facts.as_ref();
    let login = facts.map(|facts| input::login(view, &facts.author)).transpose()?;
    Ok(json!({
        "authorLogin": login,
        "authorName": facts.map(|facts| facts.author.name.clone()),
        "hash": hash,
        "message": facts.map(|facts| facts.message.clone()),
        "timestamp": seconds(facts.map_or(run.created_at, |facts| facts.at)),
        "url": null,
    }))
}

/// How many resources there are in all is not known here.
fn delta(run: &Run) -> Value {
    run.delta.map_or(Value::Null, |delta| {
        let counts = delta.resources;
        json!({
            "added": counts.added + counts.replaced,
            "changed": counts.changed,
            "deleted": counts.deleted + counts.replaced,
            "resources": null,
        })
    })
}

fn seconds(at: Timestamp) -> i64 {
    at.millis() / 1_000
}
