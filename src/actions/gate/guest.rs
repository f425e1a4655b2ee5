//! Run tasks that are guests: judged here, by nobody outside. A runner of its own carries each out,
//! with the request on standard input and `/plan.json` beside it, and no network.

use std::fs;

use crate::{
    crypt::{self, Secret},
    domain::{
        Phase, ResultStatus, RunId, StackId, TaskResultId,
        guest::{Caps, WorkspaceGrant},
        limits,
    },
    protocol::{ChainSecrets, Fetch, Grants, GuestPhase, Prepare, StandardInput, Step},
    store::{
        Error, Fault, Find as _, Flow, Order, Rows,
        record::{Outcomes, RunTaskKind, TaskResult},
        tables as t,
    },
};

use super::{
    super::{
        Actions, ToStart,
        claim::{Apart, no_secrets},
        guest::code,
        life, missing, vault,
    },
    callback, finish, note_end,
    open::opened,
    payload, settle,
};

/// The phase in which the guest judges, after the one that prepares what it sees.
pub const JUDGING: u32 = 2;

/// What became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// None: it did not come to a judgement, and `message` says why.
    pub passed: Option<bool>,
    pub message: String,
    /// Its `outcomes.json`.
    pub outcomes: Option<Vec<u8>>,
}

impl Actions {
    /// Guests that wait to judge and have a place in the pool of their stack, without those that judge.
    pub fn guests_to_judge(&self, under_way: &[TaskResultId]) -> Result<Vec<TaskResultId>, Error> {
        let view = self.store.read()?;
        let mut found = Vec::new();
        for result in open_guests(&view)? {
            let judges = under_way.contains(&result.id);
            let begun = result.status == ResultStatus::Running;
            if !judges && (begun || life::taken_of_pool(&view, result.stack)? < self.setup.declared_task_cap) {
                found.push(result.id);
            }
        }
        Ok(found)
    }

    /// The chain in which a guest judges; a refusal where it cannot.
    pub fn to_judge(&self, id: TaskResultId) -> Result<ToStart, Error> {
        let view = self.store.read()?;
        let opened = opened(&view, id.number())?.ok_or_else(|| missing("the task result"))?;
        let result = view.get(t::RESULT_ID_TO_RESULT, id.number())?.ok_or_else(|| missing("the task result"))?;
        let run = view.run(result.run)?.ok_or_else(|| missing("the run"))?;
        let stack = view.stack(result.stack)?.ok_or_else(|| missing("the stack"))?;
        let task = view.get(t::RUN_TASK_ID_TO_RUN_TASK, result.run_task.number())?;
        let Some(RunTaskKind::Wasi { guest }) = task.map(|task| task.kind) else { return Err(missing("the run task")) };
        let pinned = code::wanted(&view, &guest, "guest")?;
        let sealed = result.token.sealed.as_ref().ok_or_else(|| missing("the task result"))?;
        let token = vault::task_token(id).open_text(&self.keys.get(), sealed)?;
        let body = payload::request(&self.setup.public_url, &view, (&stack, &run), &result, &token)?;
        let plan = match run.plan_digest {
            Some(_) => self.plan_json(&view, &opened)?,
            None => Secret::new(b"{}".to_vec()),
        };
        let own = RunId::from_number(id.number());
        let source = self.beside(own)?;
        let usual = Caps::usual(pinned.interpreter);
        let phase = GuestPhase {
            phase: Phase::Performing,
            name: guest.to_string(),
            code: code::code(&self.setup.data, &pinned)?,
            args: Vec::new(),
            plain_env: Vec::new(),
            env: Vec::new(),
            stdin: StandardInput::Text { text: String::from_utf8_lossy(body.expose()).into_owned() },
            caps: usual,
            grants: Grants { workspace: WorkspaceGrant::None, ..Grants::default() },
            cache: Some(code::cache(&self.setup.data)),
            artifacts: true,
            skip: false,
        };
        let prepare = Prepare {
            source,
            patch: None,
            disk_floor_bytes: limits::DISK_FLOOR_BYTES,
            shows: Vec::new(),
            archive: false,
        };
        // The plan goes through the pipe like any secret; nothing of it lies on the disk beforehand.
        let guest_key = Some(code::key(&self.keys.get()));
        let secrets = ChainSecrets { plan: Some(plan), masks: vec![token], guest_key, ..no_secrets() };
        Ok(Apart {
            own,
            slug: stack.slug.clone(),
            user: run.uid.or_else(|| self.setup.apart_uid()),
            steps: vec![Step::Prepare(prepare), Step::Guest(phase)],
            secrets,
        }
        .chain(self))
    }

    /// A source with nothing in it, because every workspace has one.
    fn beside(&self, own: RunId) -> Result<Fetch, Error> {
        let io = |error: std::io::Error| Fault::Io(error.to_string());
        let archive = nothing().map_err(io)?;
        let dir = self.setup.data.join("runs").join(own.to_string());
        fs::create_dir_all(&dir).map_err(io)?;
        let path = dir.join("nothing.tar.gz");
        fs::write(&path, &archive).map_err(io)?;
        Ok(Fetch::Upload { path, digest: crypt::digest(&archive) })
    }

    /// Gives a guest its place in the pool of its stack, so that it is under way; false while there is none,
    /// and when it has nothing to judge any more.
    pub async fn guest_judges(&self, id: TaskResultId) -> Result<bool, Error> {
        self.system(move |tx, moment| {
            let Some(mut result) = tx.get(t::RESULT_ID_TO_RESULT, id.number())? else { return Ok(false) };
            if result.status != ResultStatus::Pending {
                return Ok(result.status == ResultStatus::Running);
            }
            if life::taken_of_pool(tx, result.stack)? >= moment.setup.declared_task_cap {
                return Ok(false);
            }
            result.status = ResultStatus::Running;
            result.running_at = Some(moment.now);
            result.progress_at = moment.now;
            result.updated_at = moment.now;
            tx.put(t::RESULT_ID_TO_RESULT, id.number(), &result)?;
            super::ring_result(tx, moment, &result)?;
            Ok(true)
        })
        .await
    }

    /// Waits until nobody wants the judgement of a guest any more: its result is final.
    pub async fn judgement_is_moot(&self, id: TaskResultId) {
        let mut bell = self.live.hear();
        loop {
            bell.mark_unchanged();
            let result = self.store.read().and_then(|view| view.get(t::RESULT_ID_TO_RESULT, id.number()));
            if result.is_ok_and(|result| result.is_none_or(|result| result.status.is_final())) {
                return;
            }
            if bell.changed().await.is_err() {
                // The server ends. Its runners go on without it.
                return std::future::pending().await;
            }
        }
    }

    /// What became of a guest that judged.
    pub async fn guest_judged(&self, id: TaskResultId, judged: Judged) -> Result<(), Error> {
        let left = judged.outcomes;
        let reading = tokio::task::spawn_blocking(move || left.map_or(Ok(Said::Nothing), |left| said(&left)));
        let said = reading.await.map_err(|error| Fault::Panicked(error.to_string()))??;
        let (passed, judged) = (judged.passed, judged.message);
        self.system(move |tx, moment| {
            let Some(mut result) = tx.get(t::RESULT_ID_TO_RESULT, id.number())? else { return Ok(()) };
            if result.status.is_final() {
                return Ok(());
            }
            if let Said::Outcomes { count, rows } = &said {
                result.outcomes = *count;
                tx.put(t::RESULT_TO_OUTCOMES, id.number(), rows)?;
            }
            let (status, message) = match (passed, &said) {
                (_, Said::Nonsense(why)) => (ResultStatus::Errored, why),
                (Some(true), Said::Nothing | Said::Outcomes { .. }) => (ResultStatus::Passed, &judged),
                (Some(false), Said::Nothing | Said::Outcomes { .. }) => (ResultStatus::Failed, &judged),
                (None, Said::Nothing | Said::Outcomes { .. }) => (ResultStatus::Errored, &judged),
            };
            result.message = message.chars().take(limits::RESULT_MESSAGE_CHARS).collect();
            finish(tx, moment, &mut result, status)?;
            note_end(tx, moment, &result)?;
            settle(tx, moment, &result)
        })
        .await
    }
}

/// What a guest left beside its judgement.
enum Said {
    Nothing,
    Outcomes {
        count: u32,
        rows: Outcomes,
    },
    /// Why it cannot be taken.
    Nonsense(String),
}

/// Reads an `outcomes.json`. Takes its time with a long one.
fn said(left: &[u8]) -> Result<Said, Fault> {
    Ok(match callback::guest_outcomes(left) {
        Ok(list) => {
            Said::Outcomes { count: u32::try_from(list.len()).unwrap_or(u32::MAX), rows: Outcomes::new(&list)? }
        }
        Err(refused) => Said::Nonsense(format!("its outcomes.json does not fit: {refused}")),
    })
}

/// Results of guests that are not final.
fn open_guests(view: &impl Rows) -> Result<Vec<TaskResult>, Fault> {
    let mut found = Vec::new();
    view.walk_index(t::OPEN_RESULT, 0..=u128::MAX, Order::Up, |id| {
        found.extend(view.get(t::RESULT_ID_TO_RESULT, id)?.filter(TaskResult::is_guest));
        Ok(Flow::Continue(()))
    })?;
    Ok(found)
}

/// How many guests judge runs of a stack.
pub(crate) fn judging(view: &impl Rows, stack: StackId) -> Result<usize, Fault> {
    let begun = |result: &&TaskResult| result.stack == stack && result.status == ResultStatus::Running;
    Ok(open_guests(view)?.iter().filter(begun).count())
}

/// As [`judging`], with those that wait for a place.
pub(crate) fn to_be_judged(view: &impl Rows, stack: StackId) -> Result<usize, Fault> {
    Ok(open_guests(view)?.iter().filter(|result| result.stack == stack).count())
}

/// An archive must hold something.
fn nothing() -> std::io::Result<Vec<u8>> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "nothing", std::io::empty())?;
    tar.into_inner()?.finish()
}
