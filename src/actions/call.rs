//! The other direction: a declared task serves others as a run task.
//!
//! A call is taken when its signature fits, in one transaction, and answered at once. What follows is
//! done outside the request by `outbound`, step by step, each step a row before the next begins: the
//! plan is fetched where a guest is to judge it, the run is made, the caller hears that it runs and
//! how it ended. A crash between two steps repeats the later one; a call that comes twice (by its
//! `task_result_id`) is one.
//!
//! A stranger learns nothing: without the key, an address with a run task and one without answer alike.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

use crate::{
    auth::{On, Permission, Permit},
    crypt::{self, Keyring, Sealed, Secret},
    domain::{
        Refused, RefusedKind, RunId, Slug, StackId, State, TaskName, Timestamp,
        actor::{ActorKind, ActorName},
        limits,
    },
    manifest::DeclaredTask,
    store::{
        Error, Find, Flow, Order, Rows, Tx,
        record::{Call, Told, VariableValue},
        tables as t,
    },
};

use super::{Actions, Deed, Moment, NewDemand, declaration, gate, once::Once, ring, sealed_fault, trigger, vault};

/// What a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The caller only asked whether somebody is here.
    Verified,
    /// It is taken, now or before.
    Taken,
}

/// The next thing to be done about a call.
#[derive(Debug)]
pub struct DueCall {
    pub seq: u64,
    pub what: DueStep,
}

#[derive(Debug)]
pub enum DueStep {
    /// Fetch the plan from the caller.
    Fetch(Errand),
    Start,
    /// Say that the run runs.
    SayRunning(Errand, RunId),
    /// Say how the run ended, or why there is none.
    SayOutcome(Errand, Result<RunId, String>),
}

/// Where to go, and what opens the door there.
#[derive(Debug)]
pub struct Errand {
    pub url: Secret<String>,
    pub token: Secret<String>,
}

/// What a caller sends, as far as it is needed here; there may be more.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "payload_version")]
    version: u64,
    stage: String,
    access_token: Secret<String>,
    task_result_callback_url: Secret<String>,
    task_result_id: String,
    #[serde(default)]
    plan_json_api_url: Option<Secret<String>>,
    #[serde(default)]
    organization_name: String,
    #[serde(default)]
    workspace_name: String,
}

/// The stage of a request that asks only whether somebody is here.
const VERIFICATION: &str = "test";

impl Actions {
    /// Takes a call for a declared task, if it is signed with the key that the task's declaration names.
    pub async fn take_call(
        &self,
        slug: &Slug,
        task: &TaskName,
        signature: &str,
        body: Secret<Vec<u8>>,
        from: Option<IpAddr>,
    ) -> Result<Taken, Error> {
        let Some((stack, declared)) = self.signed(slug, task, signature, body.expose())? else {
            self.count_stranger(from, "run_task.call");
            let why = "no run task at this address knows this signature (X-TFC-Task-Signature)";
            return Err(Refused::new(RefusedKind::Unauthenticated, why).into());
        };
        let payload: Payload = serde_json::from_slice(body.expose())
            .map_err(|error| Refused::invalid(format!("the body is no call of a run task: {error}")))?;
        if payload.stage == VERIFICATION {
            return Ok(Taken::Verified);
        }
        payload.check()?;
        let permit = Permit::of_system(Permission::RunDeclared, On::Stack(stack));
        let deed = Deed::new("run_task.called", format_args!("stack:{slug}"));
        let wants_plan = declared.kind.is_guest() && payload.plan_json_api_url.is_some();
        let asked = Asked { stack, task: declared.name, payload, body, wants_plan };
        self.change(&permit, deed, move |tx, moment| asked.keep(tx, moment)).await
    }

    /// The task, if the body carries the signature that its declaration asks for.
    fn signed(
        &self,
        slug: &Slug,
        task: &TaskName,
        signature: &str,
        body: &[u8],
    ) -> Result<Option<(StackId, DeclaredTask)>, Error> {
        let view = self.store.read()?;
        let Some(stack) = view.stack_by_slug(slug)? else { return Ok(None) };
        let Some(known) = view.get(t::STACK_TO_DECLARATION, stack.id.number())? else { return Ok(None) };
        let Ok(Some(manifest)) = declaration::read(&known.files) else { return Ok(None) };
        let Some(declared) = manifest.tasks.get(task) else { return Ok(None) };
        let Some(entry) = &declared.airlock.run_task else { return Ok(None) };
        let name = &entry.hmac_secret;
        let Some(variable) = view.get(t::STACK_NAME_TO_VARIABLE, (stack.id.number(), name.as_str()))? else {
            tracing::warn!(stack = %slug, %task, variable = %name, "a run task was called, and the variable with its key is not set");
            return Ok(None);
        };
        let key = match &variable.value {
            VariableValue::Plain(value) => Secret::new(value.clone()),
            VariableValue::Sensitive { sealed, .. } => {
                vault::variable(stack.id, name).open_text(&self.keys.get(), sealed)?
            }
        };
        let signed = !key.expose().is_empty() && crypt::is_signed(&key, body, signature);
        Ok(signed.then(|| (stack.id, declared.clone())))
    }

    /// What is to be done about calls now, and when to look again.
    pub fn due_calls(&self) -> Result<(Vec<DueCall>, Option<Timestamp>), Error> {
        let (view, now) = (self.store.read()?, self.now());
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for call in open_calls(&view)? {
            if call.next_at > now {
                next = Some(next.map_or(call.next_at, |next| next.min(call.next_at)));
                continue;
            }
            match self.due(&view, &call) {
                Ok(what) => due.extend(what.map(|what| DueCall { seq: call.seq, what })),
                // One that cannot be read keeps no other waiting.
                Err(error) => tracing::error!(%error, call = call.seq, "a call of a run task cannot be read"),
            }
        }
        Ok((due, next))
    }

    fn due(&self, view: &impl Find, call: &Call) -> Result<Option<DueStep>, Error> {
        let payload = self.payload_of(call)?;
        let errand = |url: &Secret<String>| Errand { url: url.clone(), token: payload.access_token.clone() };
        let callback = errand(&payload.task_result_callback_url);
        if let Some(why) = &call.fault {
            return Ok(Some(DueStep::SayOutcome(callback, Err(why.clone()))));
        }
        let Some(id) = call.run else {
            let fetch = payload.plan_json_api_url.as_ref().filter(|_| call.wants_plan);
            return Ok(Some(fetch.map_or(DueStep::Start, |url| DueStep::Fetch(errand(url)))));
        };
        let Some(run) = view.run(id)? else {
            return Ok(Some(DueStep::SayOutcome(callback, Err("its run is gone".to_owned()))));
        };
        let begun = !matches!(run.state, State::Queued | State::Ready);
        Ok(match call.told {
            Told::Nothing | Told::Running if run.state.is_terminal() => Some(DueStep::SayOutcome(callback, Ok(id))),
            Told::Nothing if begun => Some(DueStep::SayRunning(callback, id)),
            Told::Nothing | Told::Running | Told::All => None,
        })
    }

    fn payload_of(&self, call: &Call) -> Result<Payload, Error> {
        let body = vault::call(call.seq).open(&self.keys.get(), &call.payload)?;
        serde_json::from_slice(body.expose()).map_err(sealed_fault)
    }

    /// The plan was fetched; none: the caller has none.
    pub async fn call_has_plan(&self, seq: u64, plan: Option<Secret<Vec<u8>>>) -> Result<(), Error> {
        self.on_call(seq, move |_, moment, call| {
            call.plan = plan.as_ref().map(|plan| seal_plan(moment, call.seq, plan)).transpose()?;
            call.wants_plan = false;
            (call.attempts, call.next_at) = (0, moment.now);
            Ok(())
        })
        .await
    }

    /// Makes the run of a call. What keeps it from being made is what the caller hears.
    pub async fn start_call(&self, seq: u64) -> Result<(), Error> {
        let view = self.store.read()?;
        let Some(call) = view.get(t::SEQ_TO_CALL, seq)?.filter(|call| call.run.is_none()) else { return Ok(()) };
        let body = vault::call(seq).open_text(&self.keys.get(), &call.payload)?;
        drop(view);
        let demand = NewDemand {
            task: call.task.clone(),
            variables: Vec::new(),
            stdin: Some(body.expose().clone()),
            call: Some(seq),
        };
        let by = ActorName { kind: ActorKind::Run, name: call.caller.clone() };
        let permit = Permit::of_system(Permission::RunDeclared, On::Stack(call.stack));
        // A crash behind the run's commit finds the same run again.
        let once = Once::new("call", &seq.to_string(), &[])?;
        let made =
            self.make_run(&permit, "task.run", call.stack, Ok(trigger::Blank::of_call(demand, by)), Some(once)).await;
        let (run, fault) = match made {
            Ok(run) => (Some(run.id), None),
            Err(Error::Refused(why)) => (None, Some(why.detail)),
            Err(fault) => return Err(fault),
        };
        self.on_call(seq, move |_, _, call| {
            (call.run, call.fault) = (run, fault.clone());
            Ok(())
        })
        .await
    }

    /// The caller was told; or not all of it, which the run says.
    pub async fn call_told(&self, seq: u64, told: Told, short: Option<String>) -> Result<(), Error> {
        self.on_call(seq, move |tx, moment, call| {
            call.told = told;
            (call.attempts, call.next_at) = (0, moment.now);
            if let Some(short) = &short {
                warn(tx, moment, call, short)?;
            }
            if told == Told::All { close(tx, call) } else { Ok(()) }
        })
        .await
    }

    /// An errand failed; it is done again later, unless that is of no use or was tried often enough.
    pub async fn call_failed(&self, seq: u64, why: String, again: bool) -> Result<(), Error> {
        self.on_call(seq, move |tx, moment, call| {
            call.attempts += 1;
            if again && call.attempts < limits::CALL_ATTEMPTS {
                call.next_at = moment.now.plus(pause(call.attempts));
                return Ok(());
            }
            (call.attempts, call.next_at) = (0, moment.now);
            give_up(tx, moment, call, &why)
        })
        .await
    }

    async fn on_call(
        &self,
        seq: u64,
        mut change: impl FnMut(&Tx<'_>, &Moment, &mut Call) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.system(move |tx, moment| {
            let Some(mut call) = tx.get(t::SEQ_TO_CALL, seq)?.filter(|call| call.told != Told::All) else {
                return Ok(());
            };
            change(tx, moment, &mut call)?;
            tx.put(t::SEQ_TO_CALL, seq, &call)?;
            ring(tx, moment);
            Ok(())
        })
        .await
    }
}

/// Doubles from a second to a minute.
fn pause(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.min(6)).min(Duration::from_mins(1))
}

/// What follows when an errand is not done any more.
fn give_up(tx: &Tx<'_>, moment: &Moment, call: &mut Call, why: &str) -> Result<(), Error> {
    match (call.run, &call.fault) {
        // It was the plan that could not be had.
        (None, None) => {
            call.fault = Some(format!("the plan could not be fetched: {why}"));
            Ok(())
        }
        // Who cannot be told that it runs may still be told how it ended.
        (Some(id), None) if call.told == Told::Nothing && !tx.run(id)?.is_none_or(|run| run.state.is_terminal()) => {
            call.told = Told::Running;
            Ok(())
        }
        _ => {
            call.told = Told::All;
            warn(tx, moment, call, &format!("{} could not be told how it ended: {why}", call.caller))?;
            close(tx, call)
        }
    }
}

/// Says something on the run of a call, if there is one.
fn warn(tx: &Tx<'_>, moment: &Moment, call: &Call, warning: &str) -> Result<(), Error> {
    let Some(before) = call.run.map(|run| tx.run(run)).transpose()?.flatten() else { return Ok(()) };
    let mut run = before.clone();
    gate::warn(&mut run, warning.to_owned());
    run.updated_at = moment.now;
    Ok(tx.put_run(Some(&before), &run)?)
}

/// Nobody waits any more. The plan stays for as long as the call does: its run may be retried.
fn close(tx: &Tx<'_>, call: &Call) -> Result<(), Error> {
    Ok(tx.mark(t::OPEN_CALL, call.seq, false)?)
}

/// A call that is about to be kept.
struct Asked {
    stack: StackId,
    task: TaskName,
    payload: Payload,
    body: Secret<Vec<u8>>,
    wants_plan: bool,
}

impl Asked {
    fn keep(&self, tx: &Tx<'_>, moment: &Moment) -> Result<(Taken, Option<String>), Error> {
        let result = &self.payload.task_result_id;
        let key = format!("{} {} {result}", self.stack, self.task);
        let caller = self.payload.caller();
        let detail = Some(format!("{} for {result} of {caller}", self.task));
        if tx.number(t::CALLER_TO_CALL, key.as_str())?.is_some() {
            return Ok((Taken::Taken, detail.map(|detail| format!("{detail}, again"))));
        }
        let open = tx.count(t::OPEN_CALL)?;
        if open >= limits::OPEN_CALLS {
            let why = format!("{} calls wait for their outcome already; try again later", limits::OPEN_CALLS);
            return Err(Refused::new(RefusedKind::TooMany, why).into());
        }
        forget_old(tx, moment)?;
        let seq = tx.next("call")?;
        let call = Call {
            seq,
            stack: self.stack,
            task: self.task.clone(),
            result: result.clone(),
            caller,
            payload: vault::call(seq).seal(&moment.keys.get(), self.body.expose()),
            plan: None,
            wants_plan: self.wants_plan,
            received_at: moment.now,
            run: None,
            fault: None,
            told: Told::Nothing,
            attempts: 0,
            next_at: moment.now,
        };
        tx.put(t::SEQ_TO_CALL, seq, &call)?;
        tx.set_number(t::CALLER_TO_CALL, key.as_str(), seq)?;
        tx.mark(t::OPEN_CALL, seq, true)?;
        ring(tx, moment);
        Ok((Taken::Taken, detail))
    }
}

impl Payload {
    fn check(&self) -> Result<(), Refused> {
        if self.version != 1 {
            return Err(Refused::field("payload_version", format!("is {}; 1 is understood", self.version)));
        }
        let name = &self.task_result_id;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=100).contains(&name.len()) || !name.chars().all(plain) {
            return Err(Refused::field("task_result_id", "must be 1 to 100 letters, digits, `-` and `_`"));
        }
        for (field, url) in [
            ("task_result_callback_url", Some(&self.task_result_callback_url)),
            ("plan_json_api_url", self.plan_json_api_url.as_ref()),
        ] {
            let Some(url) = url.map(Secret::expose) else { continue };
            if url.len() > limits::URL_CHARS || !(url.starts_with("https://") || url.starts_with("http://")) {
                return Err(Refused::field(field, "must be an address that begins with http:// or https://"));
            }
        }
        self.check_origin()?;
        match (1..=limits::TOKEN_CHARS).contains(&self.access_token.expose().len()) {
            true => Ok(()),
            false => Err(Refused::field("access_token", format!("must have 1 to {} characters", limits::TOKEN_CHARS))),
        }
    }

    /// Who calls has one place to come from: what is fetched there is said there.
    fn check_origin(&self) -> Result<(), Refused> {
        let Some(plan) = &self.plan_json_api_url else { return Ok(()) };
        let origin = |field, address: &Secret<String>| {
            let parsed = url::Url::parse(address.expose()).map(|url| url.origin());
            parsed.map_err(|_| Refused::field(field, "cannot be read"))
        };
        let callback = origin("task_result_callback_url", &self.task_result_callback_url)?;
        match origin("plan_json_api_url", plan)? == callback {
            true => Ok(()),
            false => Err(Refused::field("plan_json_api_url", "must be where task_result_callback_url is")),
        }
    }

    /// Whose run it is, for people.
    fn caller(&self) -> String {
        let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
        match (short(&self.organization_name), short(&self.workspace_name)) {
            (organization, workspace) if organization.is_empty() || workspace.is_empty() => {
                let name = format!("{organization}{workspace}");
                if name.is_empty() { "another run".to_owned() } else { name }
            }
            (organization, workspace) => format!("{organization}/{workspace}"),
        }
    }
}

/// The token that a call holds.
pub(super) fn token_of(view: &impl Rows, keys: &Keyring, seq: u64) -> Result<Option<Secret<String>>, Error> {
    let Some(call) = view.get(t::SEQ_TO_CALL, seq)? else { return Ok(None) };
    let body = vault::call(seq).open(keys, &call.payload)?;
    let payload: Payload = serde_json::from_slice(body.expose()).map_err(sealed_fault)?;
    Ok(Some(payload.access_token))
}

/// The plan that a call is about, as far as it was fetched.
pub(super) fn plan_of(view: &impl Rows, keys: &Keyring, seq: u64) -> Result<Option<Secret<Vec<u8>>>, Error> {
    let Some(sealed) = view.get(t::SEQ_TO_CALL, seq)?.and_then(|call| call.plan) else { return Ok(None) };
    let packed = vault::call_plan(seq).open(keys, &sealed)?;
    let plan = zstd::bulk::decompress(packed.expose(), limits::CALL_BODY_BYTES).map_err(sealed_fault)?;
    Ok(Some(Secret::new(plan)))
}

/// A plan is kept as long as its call, so it is kept small.
fn seal_plan(moment: &Moment, seq: u64, plan: &Secret<Vec<u8>>) -> Result<Sealed, Error> {
    let packed = zstd::bulk::compress(plan.expose(), 3).map(Secret::new).map_err(sealed_fault)?;
    Ok(vault::call_plan(seq).seal(&moment.keys.get(), packed.expose()))
}

fn open_calls(view: &impl Rows) -> Result<Vec<Call>, Error> {
    let mut seqs = Vec::new();
    view.walk_index(t::OPEN_CALL, 0.., Order::Up, |seq| {
        seqs.push(seq);
        Ok(Flow::Continue(()))
    })?;
    let mut calls = Vec::new();
    for seq in seqs {
        calls.extend(view.get(t::SEQ_TO_CALL, seq)?);
    }
    Ok(calls)
}

/// Forgets some of the calls that nobody sends again: the oldest that ended long ago.
fn forget_old(tx: &Tx<'_>, moment: &Moment) -> Result<(), Error> {
    const AT_ONCE: usize = 32;
    let mut old = Vec::new();
    tx.walk(t::SEQ_TO_CALL, 0.., Order::Up, |seq, call: Call| {
        let over = call.told == Told::All && moment.now - call.received_at > limits::CALL_KEPT;
        if over {
            old.push((seq, format!("{} {} {}", call.stack, call.task, call.result)));
        }
        Ok(if over && old.len() < AT_ONCE { Flow::Continue(()) } else { Flow::Break(()) })
    })?;
    for (seq, key) in old {
        tx.remove(t::SEQ_TO_CALL, seq)?;
        tx.remove_number(t::CALLER_TO_CALL, key.as_str())?;
    }
    Ok(())
}
