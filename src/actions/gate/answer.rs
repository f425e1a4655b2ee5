//! What services come back with: progress, and at last a result.

use std::net::IpAddr;

use crate::{
    auth::{Who, token},
    crypt::Secret,
    domain::{Refused, RefusedKind, ResultStatus, TaskResultId},
    store::{
        Error, Fault, Rows, Tx,
        record::{Outcomes, TaskResult},
        tables as t,
    },
};

use super::{
    super::{Actions, Deed, Moment, missing},
    callback::Callback,
    finish, note_end, ring_result, settle,
};

/// The verb in the audit log.
const ANSWER: &str = "run_task.answer";

impl Actions {
    /// Whether somebody who comes back for a result shows its token, and it is open. Ask before the body is
    /// read. Who knocks in vain is counted, however often that is: a token that was once good is good for
    /// no more.
    pub fn may_answer(&self, id: TaskResultId, token: Option<&str>, from: Option<IpAddr>) -> Result<(), Error> {
        let result = self.store.read()?.get(t::RESULT_ID_TO_RESULT, id.number())?;
        let refused = match &result {
            None => missing("the task result"),
            Some(result) if !token.is_some_and(|token| shows(result, token)) => {
                let why = "show the access token of the request: `Authorization: Bearer …`";
                Refused::new(RefusedKind::Unauthenticated, why).into()
            }
            Some(result) if result.status.is_final() => final_already(result).into(),
            Some(_) => return Ok(()),
        };
        self.count_stranger(from, ANSWER);
        Err(refused)
    }

    /// Takes a callback. After the final one nothing is taken any more.
    pub async fn answer_run_task(
        &self,
        id: TaskResultId,
        token: &str,
        body: Secret<Vec<u8>>,
        from: Option<IpAddr>,
    ) -> Result<(), Error> {
        let taken = self.take_answer(id, token, body).await;
        self.attempted(&Who::system().at(from), &Deed::new(ANSWER, id), taken).await
    }

    async fn take_answer(&self, id: TaskResultId, token: &str, body: Secret<Vec<u8>>) -> Result<(), Error> {
        let reading = tokio::task::spawn_blocking(move || read(body.expose()));
        let (callback, outcomes) = reading.await.map_err(|error| Fault::Panicked(error.to_string()))??;
        let hash = token::hash(token);
        self.system(move |tx, moment| {
            let mut result = tx.get(t::RESULT_ID_TO_RESULT, id.number())?.ok_or_else(|| missing("the task result"))?;
            if result.token.hash != hash {
                return Err(Refused::new(RefusedKind::Unauthenticated, "the access token is another one's").into());
            }
            if result.status.is_final() {
                return Err(final_already(&result).into());
            }
            if let (Some(outcomes), Some(list)) = (&outcomes, &callback.outcomes) {
                result.outcomes = u32::try_from(list.len()).unwrap_or(u32::MAX);
                tx.put(t::RESULT_TO_OUTCOMES, id.number(), outcomes)?;
            }
            take(tx, moment, result, &callback)
        })
        .await
    }
}

/// A callback with its outcomes as they are kept. Takes its time with a long one.
fn read(body: &[u8]) -> Result<(Callback, Option<Outcomes>), Error> {
    let callback = Callback::read(body)?;
    let outcomes = callback.outcomes.as_deref().map(Outcomes::new).transpose()?;
    Ok((callback, outcomes))
}

fn final_already(result: &TaskResult) -> Refused {
    Refused::invalid(format!("the result is final already: {}; nothing was changed", result.status))
}

fn shows(result: &TaskResult, token: &str) -> bool {
    result.token.hash == token::hash(token)
}

fn take(tx: &Tx<'_>, moment: &Moment, mut result: TaskResult, callback: &Callback) -> Result<(), Error> {
    if let Some(message) = &callback.message {
        result.message.clone_from(message);
    }
    if let Some(url) = &callback.url {
        result.url.clone_from(url);
    }
    // Whoever comes back has the request, whatever became of the answer to it.
    result.end_delivery();
    result.again = None;
    result.running_at.get_or_insert(moment.now);
    result.progress_at = moment.now;
    result.updated_at = moment.now;
    if !callback.status.is_final() {
        result.status = ResultStatus::Running;
        tx.put(t::RESULT_ID_TO_RESULT, result.id.number(), &result)?;
        return ring_result(tx, moment, &result);
    }
    finish(tx, moment, &mut result, callback.status)?;
    note_end(tx, moment, &result)?;
    settle(tx, moment, &result)
}
