//! `airlock run`: trigger, list, show, decide, follow.

use std::fs;

use serde_json::{Map, Value, json};

use crate::{
    cli::{
        Outcome,
        args::{self, Confirm, Decide, How, Review, RunVerb, Trigger, Waiting},
        failure::{Done, Failure},
        offline, output, stop,
    },
    domain::{Kind, ReviewDecision, RunId, Slug, State},
};

use super::{
    Client,
    logs::{self, Printer, Shown},
    show, wait,
};

pub fn run(args: &args::Run) -> Done {
    if let RunVerb::Stop(stop) = &args.verb
        && let (true, Some(data)) = (stop.offline, &stop.data)
    {
        return stop::offline(stop.run, data, stop.how.shown.json);
    }
    offline::block_on(async {
        match &args.verb {
            RunVerb::Trigger(trigger) => self::trigger(trigger).await,
            RunVerb::List { stack, kind, state, limit, how } => {
                list(&Listed { stack: stack.as_ref(), kind: *kind, state: *state, limit: *limit }, how).await
            }
            RunVerb::Show { run, how } => show_one(*run, how).await,
            RunVerb::Confirm(confirm) => self::confirm(confirm).await,
            RunVerb::Review(review) => self::review(review).await,
            RunVerb::Discard(decide) => self::decide(decide, "discard").await,
            RunVerb::Cancel(decide) => self::decide(decide, "cancel").await,
            RunVerb::Stop(stop) => {
                let asked = Decide { run: stop.run, note: stop.note.clone(), how: stop.how.clone() };
                self::decide(&asked, "stop").await
            }
            RunVerb::Retry { run, waiting, how } => retry(*run, *waiting, how).await,
            RunVerb::Logs(args) => logs::run(args).await,
        }
    })
}

async fn trigger(args: &Trigger) -> Done {
    let mut body = Map::new();
    body.insert("kind".to_owned(), json!(args.kind));
    body.extend(args.commit.as_ref().map(|commit| ("commit".to_owned(), json!(commit))));
    body.extend(args.message.as_ref().map(|message| ("message".to_owned(), json!(message))));
    if let Some(path) = &args.config {
        let yaml = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        body.insert("runtime_config".to_owned(), json!(yaml));
    }
    let client = Client::new(&args.how.reach)?;
    let run = client.create(&format!("/stacks/{}/runs", args.stack), &Value::Object(body)).await?;
    made(&client, run, args.waiting, &args.how).await
}

async fn retry(run: RunId, waiting: Waiting, how: &How) -> Done {
    let client = Client::new(&how.reach)?;
    let run = client.create(&format!("/runs/{run}/retry"), &json!({})).await?;
    made(&client, run, waiting, how).await
}

/// Says what was made, or stays with it until it is at rest.
pub(super) async fn made(client: &Client, run: Value, waiting: Waiting, how: &How) -> Done {
    if !waiting.wait && !waiting.follow {
        return told(client, &run, how);
    }
    stay(client, id(&run)?, waiting, how).await
}

fn id(run: &Value) -> Result<RunId, Failure> {
    let text = run["id"].as_str().unwrap_or_default();
    text.parse().map_err(|error| Failure::failed(format_args!("the server answered with a run that is none: {error}")))
}

fn told(client: &Client, run: &Value, how: &How) -> Done {
    if how.shown.json {
        output::json(run)?;
    } else {
        output::line(&show::made(client, run))?;
    }
    Ok(Outcome::Done)
}

/// Waits until the run is at rest and ends as it does.
async fn stay(client: &Client, id: RunId, waiting: Waiting, how: &How) -> Done {
    let run = if waiting.follow {
        let mut printer = Printer::new(if how.shown.json { Shown::Json } else { Shown::Text });
        let run = wait::follow(client, id, &mut printer).await?;
        printer.finish()?;
        run
    } else {
        wait::wait(client, id).await?
    };
    match (how.shown.json, waiting.follow) {
        (true, true) => output::line(&json!({"run": run}).to_string())?,
        (true, false) => output::json(&run)?,
        // The log has standard output to itself.
        (false, true) => output::note(&show::result(&run)),
        (false, false) => output::line(&show::result(&run))?,
    }
    Ok(wait::outcome(&run).unwrap_or(Outcome::Failed))
}

struct Listed<'a> {
    stack: Option<&'a Slug>,
    kind: Option<Kind>,
    state: Option<State>,
    limit: usize,
}

async fn list(wanted: &Listed<'_>, how: &How) -> Done {
    let mut query = Vec::new();
    query.extend(wanted.kind.map(|kind| ("kind", kind.word().to_owned())));
    query.extend(wanted.state.map(|state| ("state", state.word().to_owned())));
    list_runs(wanted.stack, &query, wanted.limit, how).await
}

pub(super) async fn list_runs(stack: Option<&Slug>, query: &[(&str, String)], limit: usize, how: &How) -> Done {
    let client = Client::new(&how.reach)?;
    let path = stack.map_or_else(|| "/runs".to_owned(), |stack| format!("/stacks/{stack}/runs"));
    let runs = client.list(&path, query, limit.max(1)).await?;
    if how.shown.json {
        output::json(&json!({"items": runs, "next": null}))?;
    } else {
        output::line(&show::runs(&runs))?;
    }
    Ok(Outcome::Done)
}

async fn show_one(run: RunId, how: &How) -> Done {
    let client = Client::new(&how.reach)?;
    let shown = client.get(&format!("/runs/{run}"), &[]).await?;
    if how.shown.json {
        output::json(&shown)?;
        return Ok(Outcome::Done);
    }
    let changes =
        if shown["delta"].is_null() { None } else { Some(client.get(&format!("/runs/{run}/changes"), &[]).await?) };
    output::line(&show::run(&client, &shown, changes.as_ref()))?;
    Ok(Outcome::Done)
}

async fn confirm(args: &Confirm) -> Done {
    let client = Client::new(&args.how.reach)?;
    let body = json!({"plan_digest": args.plan_digest, "note": args.note});
    let run = client.post(&format!("/runs/{}/confirm", args.run), &body).await?;
    made(&client, run, args.waiting, &args.how).await
}

async fn review(args: &Review) -> Done {
    let client = Client::new(&args.how.reach)?;
    let decision = if args.approve { ReviewDecision::Approve } else { ReviewDecision::Reject };
    let body = json!({"decision": decision, "note": args.note, "plan_digest": args.plan_digest});
    let run = client.post(&format!("/runs/{}/review", args.run), &body).await?;
    told(&client, &run, &args.how)
}

async fn decide(args: &Decide, verb: &str) -> Done {
    let client = Client::new(&args.how.reach)?;
    let run = client.post(&format!("/runs/{}/{verb}", args.run), &json!({"note": args.note})).await?;
    told(&client, &run, &args.how)
}
