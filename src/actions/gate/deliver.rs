//! Requests to run tasks: what is due, and what came of it.
//!
//! A request is sent at least once: a server that dies behind the answer and before its row sends it
//! again, with the same id and token, so that the receiver can tell. Nothing of a request but its
//! token is kept; it is made anew each time, of the same rows.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use crate::{
    auth::{
        Permit,
        token::{self, Minted},
    },
    crypt::{self, Secret},
    domain::{Refused, ResultStatus, StageStatus, TaskResultId, Timestamp, limits},
    store::{
        Error, Find as _, Flow, Order, Rows, Snapshot, Tx,
        record::{Delivery, DeliveryReason, RunTaskKind, TaskResult, TaskToken, Verification},
        tables as t,
    },
};

use super::{
    super::{Actions, Deed, Moment, missing, vault},
    payload, settle,
};

/// The way out for requests; `outbound` is one.
pub trait Outside: Send + Sync + fmt::Debug {
    fn post<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;
}

/// A signed request.
pub struct Request {
    pub url: String,
    /// `X-TFC-Task-Signature`.
    pub signature: String,
    pub body: Secret<Vec<u8>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: Option<u16>,
    /// What went wrong, or the beginning of an answer that was no 200.
    pub note: Option<String>,
    /// Whether the same request may succeed later.
    pub may_pass: bool,
    pub took: Duration,
}

impl Reply {
    /// Nothing was sent, and nothing will be.
    pub const fn impossible(why: String) -> Self {
        Self { status: None, note: Some(why), may_pass: false, took: Duration::ZERO }
    }

    const fn is_accepted(&self) -> bool {
        matches!(self.status, Some(200))
    }

    fn took_ms(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }

    fn short_note(&self) -> Option<String> {
        self.note.as_ref().map(|note| note.chars().take(limits::DELIVERY_NOTE_CHARS).collect())
    }

    /// In a sentence.
    fn said(&self) -> String {
        match (self.status, &self.note) {
            (Some(status), Some(note)) => format!("HTTP {status}: {note}"),
            (Some(status), None) => format!("HTTP {status}"),
            (None, Some(note)) => note.clone(),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// A request that is due.
#[derive(Debug)]
pub struct DueRequest {
    pub id: TaskResultId,
    /// Since when: by this it is known again once it was sent.
    pub since: Timestamp,
    pub what: DueWork,
}

#[derive(Debug)]
pub enum DueWork {
    Send(Request),
    /// It cannot even be made, and why.
    Impossible(String),
}

impl Actions {
    /// Requests that are due now, without those under way; and when the next thing about run tasks is.
    pub fn due_requests(&self, under_way: &[TaskResultId]) -> Result<(Vec<DueRequest>, Option<Timestamp>), Error> {
        let (view, now) = (self.store.read()?, self.now());
        let mut open = Vec::new();
        view.walk_index(t::OPEN_RESULT, 0..=u128::MAX, Order::Up, |id| {
            open.push(id);
            Ok(Flow::Continue(()))
        })?;
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for id in open {
            let Some(result) = view.get(t::RESULT_ID_TO_RESULT, id)? else { continue };
            // Of what is final nothing is waited for but that it is sent again.
            let over = self.gives_up_at(&result).filter(|_| !result.status.is_final());
            next = next.into_iter().chain(over).min();
            if result.is_guest() || under_way.contains(&result.id) {
                continue;
            }
            match result.due_at {
                Some(at) if at > now => next = next.into_iter().chain([at]).min(),
                Some(since) => {
                    due.push(DueRequest { id: result.id, since, what: self.request_of(&view, &result)? });
                }
                None => {}
            }
        }
        Ok((due, next))
    }

    fn request_of(&self, view: &Snapshot, result: &TaskResult) -> Result<DueWork, Error> {
        let impossible = |why: &str| Ok(DueWork::Impossible(why.to_owned()));
        let Some(task) = view.get(t::RUN_TASK_ID_TO_RUN_TASK, result.run_task.number())? else {
            return impossible("the run task was deleted");
        };
        let (Some(run), Some(stack)) = (view.run(result.run)?, view.stack(result.stack)?) else {
            return impossible("its run is gone");
        };
        let Some(token) = &result.token.sealed else { return impossible("it is done") };
        let RunTaskKind::Http { url, hmac_key } = &task.kind else {
            return impossible("it has become a guest meanwhile");
        };
        let keys = self.keys.get();
        let token = vault::task_token(result.id).open_text(&keys, token)?;
        let body = payload::request(&self.setup.public_url, view, (&stack, &run), result, &token)?;
        let key = hmac_key.as_ref().map(|sealed| vault::run_task(task.id).open_text(&keys, sealed)).transpose()?;
        let signature = key.map_or_else(String::new, |key| crypt::signature(&key, body.expose()));
        Ok(DueWork::Send(Request { url: url.clone(), signature, body }))
    }

    /// A request that was due since then was sent. It is only noted where its service called back
    /// meanwhile, or where somebody wants another one to be sent.
    pub async fn request_sent(&self, id: TaskResultId, since: Timestamp, reply: Reply) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(mut result) = tx.get(t::RESULT_ID_TO_RESULT, id.number())? else { return Ok(()) };
            let overtaken = result.due_at != Some(since);
            note(tx, moment, &mut result, &reply, overtaken)?;
            if result.status.is_final() && !overtaken {
                end_sending_again(tx, &mut result)?;
            }
            if result.status.is_final() || overtaken {
                tx.put(t::RESULT_ID_TO_RESULT, id.number(), &result)?;
                return super::ring_result(tx, moment, &result);
            }
            result.tries += 1;
            result.tried_since.get_or_insert(moment.now.minus(reply.took));
            result.again = None;
            result.updated_at = moment.now;
            if reply.is_accepted() {
                result.end_delivery();
                if result.status == ResultStatus::Pending {
                    result.status = ResultStatus::Running;
                    result.running_at = Some(moment.now);
                    result.progress_at = moment.now;
                }
            } else if let Some(at) = next_try(&result, moment).filter(|_| reply.may_pass) {
                result.due_at = Some(at);
            } else if result.status == ResultStatus::Running {
                // It was accepted before: sending it again was a person's wish.
                result.end_delivery();
            } else {
                result.message = format!("could not be reached: {}", reply.said());
                super::finish(tx, moment, &mut result, ResultStatus::Unreachable)?;
                super::note_end(tx, moment, &result)?;
                return settle(tx, moment, &result);
            }
            tx.put(t::RESULT_ID_TO_RESULT, id.number(), &result)?;
            super::ring_result(tx, moment, &result)
        })
        .await
    }

    /// Sends the request of a call once more, because somebody asked for it. Where the result is final,
    /// that stays as it is: the request has a token of its own, which opens nothing, and what its
    /// service comes back with is refused as anything that comes late.
    pub async fn redeliver(&self, permit: &Permit, id: TaskResultId) -> Result<(), Error> {
        let covers = permit.clone();
        self.change(permit, Deed::new("run_task.redeliver", id), move |tx, moment| {
            let mut result = tx.get(t::RESULT_ID_TO_RESULT, id.number())?.ok_or_else(|| missing("the result"))?;
            covers.covers(result.stack)?;
            if result.is_guest() {
                let why = "it is a guest's, which is sent nothing";
                return Err(Refused::conflict(why).in_state(result.status.word()).into());
            }
            if result.deliveries >= limits::DELIVERIES_KEPT {
                let why = format!("it was sent {} times already", result.deliveries);
                return Err(Refused::conflict(why).in_state(result.status.word()).into());
            }
            if result.status.is_final() {
                begin_sending_again(tx, moment, &mut result)?;
            }
            result.end_delivery();
            result.due_at = Some(moment.now);
            result.again = Some(moment.actor.clone());
            tx.put(t::RESULT_ID_TO_RESULT, id.number(), &result)?;
            super::ring_result(tx, moment, &result)?;
            Ok(((), Some(result.name.to_string())))
        })
        .await
    }

    /// Asks an address whether a run task is there that knows the key. Anything but a 200 is a no, which
    /// stands beside what came back.
    pub async fn verify_run_task(
        &self,
        url: &str,
        key: Option<&Secret<String>>,
    ) -> Result<(Verification, Result<(), Refused>), Error> {
        let Some(outside) = &self.outside else {
            return Err(Refused::conflict("run tasks are called by a running server only").into());
        };
        let body = payload::verification(&self.setup.public_url)?;
        let signature = key.map_or_else(String::new, |key| crypt::signature(key, body.expose()));
        let request = Request { url: url.to_owned(), signature, body };
        let reply = outside.post(&request).await;
        let verification = Verification {
            at: self.now(),
            status: reply.status,
            duration_ms: reply.took_ms(),
            note: reply.short_note(),
        };
        let refused = || {
            let said = reply.said();
            let why = format!("the verification request was not answered with 200, so nothing is saved: {said}");
            Refused::field("url", why)
        };
        Ok((verification, if reply.is_accepted() { Ok(()) } else { Err(refused()) }))
    }

    /// Gives up what has been silent, or has lasted, for too long.
    pub async fn patrol_run_tasks(&self) -> Result<(), Error> {
        let over: Vec<TaskResultId> = {
            let (view, now) = (self.store.read()?, self.now());
            let mut over = Vec::new();
            view.walk_index(t::OPEN_RESULT, 0..=u128::MAX, Order::Up, |id| {
                let result = view.get(t::RESULT_ID_TO_RESULT, id)?;
                over.extend(result.filter(|result| self.is_given_up(result, now)).map(|result| result.id));
                Ok(Flow::Continue(()))
            })?;
            over
        };
        for id in over {
            let actions = self.clone();
            self.system(move |tx, moment| {
                let Some(mut result) = tx.get(t::RESULT_ID_TO_RESULT, id.number())? else { return Ok(()) };
                if !actions.is_given_up(&result, moment.now) {
                    return Ok(());
                }
                result.message = actions.why_given_up(&result, moment.now);
                super::finish(tx, moment, &mut result, ResultStatus::Errored)?;
                super::note_end(tx, moment, &result)?;
                settle(tx, moment, &result)
            })
            .await?;
        }
        Ok(())
    }

    fn is_given_up(&self, result: &TaskResult, now: Timestamp) -> bool {
        !result.status.is_final() && self.gives_up_at(result).is_some_and(|at| at <= now)
    }

    /// When nobody waits for a result any longer. What is not delivered yet has its tries.
    fn gives_up_at(&self, result: &TaskResult) -> Option<Timestamp> {
        let total = time_began(result)?.plus(self.setup.run_task_total);
        match result.status {
            ResultStatus::Running => Some(total.min(result.progress_at.plus(self.setup.run_task_progress))),
            _ => Some(total),
        }
    }

    fn why_given_up(&self, result: &TaskResult, now: Timestamp) -> String {
        let said =
            if result.message.is_empty() { String::new() } else { format!(" (it last said: {})", result.message) };
        let total = self.setup.run_task_total;
        if time_began(result).is_some_and(|began| now - began >= total) {
            format!("no result within {}{said}", span(total))
        } else {
            format!("nothing was heard of it for {}{said}", span(self.setup.run_task_progress))
        }
    }
}

/// From when on the time of a call is counted: not yet for a guest that has no place in its pool.
fn time_began(result: &TaskResult) -> Option<Timestamp> {
    if result.is_guest() { result.running_at } else { Some(result.created_at) }
}

/// The token of a final result is forgotten: a request about it gets another.
fn begin_sending_again(tx: &Tx<'_>, moment: &Moment, result: &mut TaskResult) -> Result<(), Error> {
    let Minted { token, hash } = token::task_result();
    let sealed = vault::task_token(result.id).seal(&moment.keys.get(), token.expose().as_bytes());
    result.token = TaskToken { hash: hash.to_vec(), sealed: Some(sealed) };
    Ok(tx.mark(t::OPEN_RESULT, result.id.number(), true)?)
}

/// A final result was sent again, once, whatever was answered.
fn end_sending_again(tx: &Tx<'_>, result: &mut TaskResult) -> Result<(), Error> {
    result.end_delivery();
    (result.again, result.token.sealed) = (None, None);
    Ok(tx.mark(t::OPEN_RESULT, result.id.number(), false)?)
}

/// When a delivery that failed is tried again, if it is. What is due is tried, however late it has become.
fn next_try(result: &TaskResult, moment: &Moment) -> Option<Timestamp> {
    let waited = moment.setup.run_task_retry.saturating_mul(3_u32.saturating_pow(result.tries - 1));
    let at = moment.now.plus(waited);
    let in_time = result.tried_since.is_none_or(|since| at < since.plus(limits::RUN_TASK_TRYING));
    (result.tries < moment.setup.run_task_retries && in_time).then_some(at)
}

fn span(of: Duration) -> String {
    match of.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Writes a delivery into the log of its result. Where it was overtaken, whoever asked for another one
/// still waits for that.
fn note(tx: &Tx<'_>, moment: &Moment, result: &mut TaskResult, reply: &Reply, overtaken: bool) -> Result<(), Error> {
    let reason = match (result.again.as_ref().filter(|_| !overtaken), result.deliveries) {
        (Some(by), _) => DeliveryReason::Again { by: by.clone() },
        (None, 0) => DeliveryReason::First,
        (None, _) => DeliveryReason::Retry,
    };
    let delivery = Delivery {
        at: moment.now,
        reason,
        status: reply.status,
        duration_ms: reply.took_ms(),
        note: reply.short_note(),
    };
    result.deliveries += 1;
    Ok(tx.put(t::RESULT_N_TO_DELIVERY, (result.id.number(), result.deliveries), &delivery)?)
}

impl Actions {
    /// An admin ends a stage: whatever its run tasks say, the run goes on.
    pub async fn override_stage(
        &self,
        permit: &Permit,
        stage: crate::domain::TaskStageId,
        comment: Option<String>,
    ) -> Result<(), Error> {
        let covers = permit.clone();
        self.change(permit, Deed::new("run_task.override", stage), move |tx, moment| {
            let seq = tx.number(t::STAGE_ID_TO_RUN, stage.number())?.ok_or_else(|| missing("the stage"))?;
            let run = tx.get(t::SEQ_TO_RUN, seq)?.ok_or_else(|| missing("the stage"))?;
            covers.covers(run.stack)?;
            let row = tx.get(t::RUN_N_TO_STAGE, (seq, run.stages))?.filter(|row| row.id == stage);
            let Some(mut row) = row.filter(|row| !row.status.is_final()) else {
                let why = "the stage has ended; only one that is under way can be overridden";
                return Err(Refused::conflict(why).in_state(run.state.word()).into());
            };
            row.status = StageStatus::Overridden;
            row.ended_at = Some(moment.now);
            row.overridden = Some(crate::store::record::Override {
                by: moment.actor.clone(),
                at: moment.now,
                comment: comment.clone(),
            });
            tx.put(t::RUN_N_TO_STAGE, (seq, row.n), &row)?;
            let detail = format!("{} of run #{} of {}", row.stage, run.number, run.slug);
            super::end_stage(tx, moment, run, &row, comment.clone())?;
            Ok(((), Some(detail)))
        })
        .await
    }
}
