//! Answers to those who called a declared task as their run task.
//!
//! Every errand of [`crate::actions::DueCall`] is one call out; what became of it is written before the
//! next begins. One slow caller keeps no other waiting. Where a call leads is a stranger's word: into
//! networks of our own only where the operator says so, and what stands in the way there is not told.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    actions::{Actions, DueCall, DueStep, Errand, Error, Secret, Told, guest_outcomes},
    domain::{
        RunId, limits,
        run_task::{Outcome, OutcomeTag},
    },
    egress::{Call, CallError, Client, DialError, Reply},
    queries::{Queries, RunAnswer, Said},
};

/// Looked at without anybody ringing, in case the clock was set.
const LOOK: Duration = Duration::from_secs(60);

/// Answers until the server stops. Errands that are on their way are waited for.
pub async fn answer(actions: Actions, queries: Queries, client: Client, stop: CancellationToken) {
    let desk = Desk { actions, queries, client };
    let mut bell = desk.actions.bells().hear();
    let mut away: JoinSet<u64> = JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        bell.mark_unchanged();
        let wait = desk.send_out(&mut away, &mut busy);
        tokio::select! {
            () = stop.cancelled() => break,
            _ = bell.changed() => {}
            Some(back) = away.join_next(), if !away.is_empty() => back_again(back, &mut busy),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while away.join_next().await.is_some() {}
}

fn back_again(back: Result<u64, tokio::task::JoinError>, busy: &mut HashSet<u64>) {
    match back {
        Ok(seq) => {
            busy.remove(&seq);
        }
        Err(error) => {
            // Nobody knows which it was: all are looked at again.
            tracing::error!(%error, "an answer to a run task's caller ended in a panic");
            busy.clear();
        }
    }
}

#[derive(Clone)]
struct Desk {
    actions: Actions,
    queries: Queries,
    client: Client,
}

impl Desk {
    /// Begins every errand that is due; says when to look again.
    fn send_out(&self, away: &mut JoinSet<u64>, busy: &mut HashSet<u64>) -> Duration {
        let (due, next) = match self.actions.due_calls() {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "calls of run tasks cannot be looked up");
                return LOOK;
            }
        };
        for call in due {
            if away.len() < limits::CALLS_AT_ONCE && busy.insert(call.seq) {
                let desk = self.clone();
                away.spawn(async move { desk.do_errand(call).await });
            }
        }
        next.map_or(LOOK, |next| next.since(self.actions.now()).clamp(Duration::from_millis(10), LOOK))
    }

    async fn do_errand(&self, call: DueCall) -> u64 {
        let seq = call.seq;
        let done = match call.what {
            DueStep::Fetch(errand) => self.fetch(seq, errand).await,
            DueStep::Start => self.actions.start_call(seq).await,
            DueStep::SayRunning(errand, run) => self.say(seq, errand, Ok(run), Told::Running).await,
            DueStep::SayOutcome(errand, run) => self.say(seq, errand, run, Told::All).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, call = seq, "a call of a run task cannot go on; it is tried again");
            let _ = self.actions.call_failed(seq, error.to_string(), true).await;
        }
        seq
    }

    /// The plan may be behind one redirect, to an address of its own that needs no token.
    async fn fetch(&self, seq: u64, errand: Errand) -> Result<(), Error> {
        let asked = self.call(Method::GET, errand.url.expose(), Some(&errand.token), Bytes::new()).await;
        let fetched = match asked {
            Ok(reply) if is_redirect(reply.status) => match behind(errand.url.expose(), &reply) {
                Some(url) => self.call(Method::GET, &url, None, Bytes::new()).await,
                None => Err(("the answer leads nowhere".to_owned(), false)),
            },
            other => other,
        };
        match fetched {
            Ok(reply) if reply.status == StatusCode::OK && !reply.is_whole => {
                let why = format!("it is longer than {} bytes", limits::CALL_BODY_BYTES);
                self.actions.call_failed(seq, why, false).await
            }
            Ok(reply) if reply.status == StatusCode::OK => {
                self.actions.call_has_plan(seq, Some(Secret::new(reply.body.to_vec()))).await
            }
            Ok(reply) if reply.status == StatusCode::NO_CONTENT => self.actions.call_has_plan(seq, None).await,
            Ok(reply) => self.actions.call_failed(seq, refused(reply.status), may_pass(reply.status)).await,
            Err((why, again)) => self.actions.call_failed(seq, why, again).await,
        }
    }

    /// Tells the caller how the run stands, or why there is none.
    async fn say(&self, seq: u64, errand: Errand, run: Result<RunId, String>, told: Told) -> Result<(), Error> {
        let mut words = self.words(run).await?;
        let mut answered = self.patch(&errand, &words).await;
        if let Ok(reply) = &answered
            && reply.status.is_client_error()
            && !may_pass(reply.status)
            && words.drop_outcomes(reply.status)
        {
            answered = self.patch(&errand, &words).await;
        }
        match answered {
            // A run that ended meanwhile was said to have ended.
            Ok(reply) if reply.status.is_success() => {
                self.actions.call_told(seq, told.max(words.told), words.short).await
            }
            Ok(reply) => self.actions.call_failed(seq, refused(reply.status), may_pass(reply.status)).await,
            Err((why, again)) => self.actions.call_failed(seq, why, again).await,
        }
    }

    async fn patch(&self, errand: &Errand, words: &Words) -> Result<Reply, (String, bool)> {
        let body = Bytes::from(words.document.to_string());
        self.call(Method::PATCH, errand.url.expose(), Some(&errand.token), body).await
    }

    async fn words(&self, run: Result<RunId, String>) -> Result<Words, Error> {
        let id = match run {
            Err(why) => {
                let message = why.chars().take(limits::RESULT_MESSAGE_CHARS).collect();
                return Ok(Words::new(RunAnswer { said: Said::Failed, message, outcomes: None }, None));
            }
            Ok(id) => id,
        };
        let url = format!("{}/runs/{id}", self.actions.setup().public_url);
        let queries = self.queries.clone();
        let asked = tokio::task::spawn_blocking(move || Ok(Words::new(queries.answer_of(id)?, Some(url)))).await;
        asked.map_err(|error| crate::actions::Fault::Panicked(error.to_string()))?
    }

    /// One call; why it failed, and whether it may succeed later.
    async fn call(
        &self,
        method: Method,
        url: &str,
        token: Option<&Secret<String>>,
        body: Bytes,
    ) -> Result<Reply, (String, bool)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/vnd.api+json, application/json"));
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/vnd.api+json"));
        if let Some(token) = token {
            let value = Secret::new(format!("Bearer {}", token.expose()));
            let value = header::HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| ("its token cannot be sent".to_owned(), false))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let call = Call { method, url: url.to_owned(), headers, body };
        self.client.send(call).await.map_err(|error| (why(&error), error.may_pass()))
    }
}

/// Why a call failed, as its caller may hear it: not what a name stands for in our own networks.
fn why(error: &CallError) -> String {
    if let CallError::Dial(DialError::Refused(refusal)) = error {
        tracing::warn!(%refusal, "a call of a run task leads where it may not");
        return "its address is one that may not be called from here; the operator can list it under outbound_allow"
            .to_owned();
    }
    error.to_string()
}

/// What a caller is told.
struct Words {
    document: Value,
    told: Told,
    /// Why it is less than what the run left.
    short: Option<String>,
}

impl Words {
    fn new(answer: RunAnswer, url: Option<String>) -> Self {
        let (status, told) = match answer.said {
            Said::Running => ("running", Told::Running),
            Said::Passed => ("passed", Told::All),
            Said::Failed => ("failed", Told::All),
        };
        let mut attributes = json!({"status": status, "message": answer.message});
        if let Some(url) = url {
            attributes["url"] = json!(url);
        }
        let mut data = json!({"type": "task-results", "attributes": attributes});
        let short = match answer.outcomes.as_deref().map(guest_outcomes).transpose() {
            Ok(outcomes) => {
                let outcomes: Vec<Value> = outcomes.iter().flatten().map(resource).collect();
                if !outcomes.is_empty() {
                    data["relationships"] = json!({"outcomes": {"data": outcomes}});
                }
                None
            }
            Err(why) => Some(format!("its outcomes.json does not fit, so none were sent: {why}")),
        };
        Self { document: json!({"data": data}), told, short }
    }

    /// Says the same without outcomes; whether there were any.
    fn drop_outcomes(&mut self, status: StatusCode) -> bool {
        let dropped = self.document["data"].as_object_mut().and_then(|data| data.remove("relationships")).is_some();
        if dropped {
            self.short = Some(format!("its outcomes were not taken: {}", refused(status)));
        }
        dropped
    }
}

/// An outcome in the protocol's shape, without what it does not have.
fn resource(outcome: &Outcome) -> Value {
    let mut attributes = Map::new();
    for (name, text) in [
        ("outcome-id", &outcome.outcome_id),
        ("description", &outcome.description),
        ("body", &outcome.body),
        ("url", &outcome.url),
    ] {
        if !text.is_empty() {
            attributes.insert(name.to_owned(), json!(text));
        }
    }
    if !outcome.tags.is_empty() {
        let labels =
            |tag: &OutcomeTag| tag.labels.iter().map(|it| json!({"label": it.label, "level": it.level})).collect();
        let tags: Map<String, Value> = outcome.tags.iter().map(|tag| (tag.name.clone(), labels(tag))).collect();
        attributes.insert("tags".to_owned(), Value::Object(tags));
    }
    json!({"type": "task-result-outcomes", "attributes": attributes})
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads; the rules about destinations hold there, too.
fn behind(from: &str, reply: &Reply) -> Option<String> {
    let to = reply.headers.get(header::LOCATION)?.to_str().ok()?;
    Some(url::Url::parse(from).ok()?.join(to).ok()?.into())
}

fn refused(status: StatusCode) -> String {
    format!("the caller answered {}", status.as_u16())
}

/// Whether the same may be answered otherwise later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(outcomes: &str) -> Words {
        let answer =
            RunAnswer { said: Said::Failed, message: "no".to_owned(), outcomes: Some(outcomes.as_bytes().to_vec()) };
        Words::new(answer, None)
    }

    #[test]
    fn outcomes_are_told_in_the_protocols_own_shape() {
        let attributes =
            json!({"outcome-id": "A", "description": "d", "tags": {"Status": [{"label": "Bad", "level": "error"}]}});
        let told = json!([{"type": "task-result-outcomes", "attributes": attributes}]);
        let plain = json!([{"outcome_id": "A", "description": "d", "tags": attributes["tags"]}]);
        for left in [told.clone(), json!({"data": told}), plain] {
            let words = words(&left.to_string());
            assert_eq!(words.document["data"]["relationships"]["outcomes"]["data"], told);
            assert_eq!(words.short, None);
        }
    }

    #[test]
    fn outcomes_that_do_not_fit_cost_nobody_the_answer() {
        for left in ["no JSON", r#"[{"outcome-id": 7}]"#, r#"[{"tags": {"a": "b"}}]"#] {
            let words = words(left);
            assert_eq!(words.document["data"]["attributes"]["status"], "failed");
            assert_eq!(words.document["data"].get("relationships"), None);
            assert!(words.short.unwrap().starts_with("its outcomes.json does not fit, so none were sent: "));
        }
    }
}
