//! Use cases that change something: one verb, one transaction.
//!
//! Every action takes the [`Permit`] that proves it may be done, checks it once more inside the
//! transaction, and writes its audit entry there. A refusal is written to the audit log, too, in a
//! commit of its own. Effects of the life cycle become rows in the same transaction; bells ring after
//! the commit.
//!
//! | file | verbs |
//! | --- | --- |
//! | `life` | the one door through which a run changes state; who waits for what; who gets a slot |
//! | `trigger`, `pin` | runs, tasks, retry, promote; which commit a run that waits stands for |
//! | `declared`, `declaration` | runs of declared tasks; what sources declare |
//! | `run_task`, `attachment` | outside checks, and the stacks whose runs they check |
//! | `call` | declared tasks that serve others as run tasks |
//! | `service`, `setting`, `resources` | what declared tasks are connected to, their own variables, and bounds that the operator sets |
//! | `decide` | confirm, discard, replan, stop, cancel, comment, prioritize, acknowledge, force stop |
//! | `review`, `approval` | what people say about runs; whether that is enough |
//! | `claim` | the finished spec of a chain that is to be started |
//! | `progress`, `plan` | what runners report; what plan policies say to a plan |
//! | `gate` | stages of run tasks: begun, ended, overridden; what services answer |
//! | `chores`, `expiry` | what must be done outside the store; what ends because its time is up |
//! | `stack`, `lock`, `environment`, `upload`, `credential`, `source_test`, `state` | stacks and what belongs to them |
//! | `context` | contexts, and which stacks have them |
//! | `runtime` | what runs are configured with |
//! | `guest` | guests: imported, removed, pinned to runs; what they leave |
//! | `policy` | policies: saved, attached, asked, obeyed |
//! | `notify`, `webhook` | who is told of changes of state: notification policies asked, deliveries, messages |
//! | `image` | images: imported, removed; the root that a jail gets |
//! | `sign_in`, `invitation`, `user`, `key` | people and machines |
//! | `rotate`, `entropy` | a new master key, and what stays the same under it |
//! | `audit` | the chained log |
//!
//! May not know who calls: HTTP, the command line on a data directory, the scheduler.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    auth::{
        Permit, Who,
        password::{HashFailed, Passwords},
        throttle::Throttle,
    },
    crypt::Keys,
    domain::{
        Clock, Refused, Timestamp,
        actor::{ActorId, ActorName, Recorded},
        limits,
        network::AllowList,
    },
    live::Bells,
    policy::Evaluator,
    store::{Store, Tx, record::Outcome},
};

mod approval;
mod attachment;
mod audit;
mod call;
mod chores;
mod claim;
mod context;
mod credential;
mod decide;
pub mod declaration;
mod declared;
mod entropy;
mod environment;
mod expiry;
mod gate;
mod guest;
mod image;
mod invitation;
mod key;
mod life;
mod lock;
mod notify;
mod once;
mod pin;
mod plan;
mod policy;
mod progress;
mod resources;
mod review;
mod rotate;
mod run_task;
mod runtime;
mod service;
mod setting;
mod sign_in;
mod source_test;
mod stack;
mod state;
mod trigger;
mod upload;
mod user;
mod vault;
mod webhook;
mod workload;

pub use attachment::NewAttachment;
pub use audit::{Chain as AuditChain, Checked, Verification, hash_of, verify, verify_on};
pub use call::{DueCall, DueStep, Errand, Taken};
pub use chores::{Chores, LiveChain};
pub use claim::{ToStart, chain_dir};
pub use context::{ContextText, NewContext, NewFile};
pub use credential::NewCredential;
pub use decide::Decision;
pub use declared::NewDemand;
pub use environment::NewVariable;
pub use gate::{
    DueRequest, DueWork, JUDGING, Judged, Opened, OpenedRun, OpenedSource, Outside, Reply, Request, guest_outcomes,
};
pub use guest::{NewGuest, NewGuestTask, ToCompile};
pub use invitation::InvitationFor;
pub use key::{MintedKey, NewKey};
pub use notify::{DueDelivery, DuePost, Post};
pub use once::Once;
pub use policy::{Approval, Evaluated, Evaluation, NewPolicy, ReviewFacts, Reviews, Saving, Tried};
pub use progress::Report;
pub use review::NewReview;
pub use rotate::Rotated;
pub use run_task::{NewRunTask, NewRunTaskKind};
pub use service::NewService;
pub use setting::NewSetting;
pub use sign_in::{SignIn, SignedIn};
pub use source_test::Asked;
pub use stack::NewStack;
pub use state::LOCKED;
pub use trigger::{NewRun, NewTask};
pub use upload::{Incoming, Scratch};
pub use user::{Invited, NewUser};
pub use webhook::NewWebhook;
pub use workload::WORKLOAD_HEADER;

pub use crate::crypt::Secret;
pub use crate::store::{
    Error, Fault,
    record::{ChainAsk, Chore, Mark, Told},
};

/// What actions need to know of the installation. Fixed while the server runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The data directory, absolute.
    pub data: PathBuf,
    pub public_url: String,
    pub slots: usize,
    /// Declared tasks that run at once on one stack.
    pub declared_task_cap: usize,
    /// Which image one of Upsun's runtimes is.
    pub runtime_images: BTreeMap<String, String>,
    pub stop_grace: Duration,
    pub local_sources: Vec<PathBuf>,
    /// What the operator lets be reached, and be told secrets without TLS.
    pub outbound_allow: AllowList,
    pub provider_mirror: Option<PathBuf>,
    pub plugin_cache: PathBuf,
    /// The file of the master key; none where somebody else keeps it.
    pub master_key: Option<PathBuf>,
    /// Uids for jails, both ends included; none when the server is not root.
    pub uids: Option<(u32, u32)>,
    /// Binaries that stacks may name, by name.
    pub binaries: BTreeMap<String, PathBuf>,
    pub cgroup: Option<PathBuf>,
    pub state_versions: u32,
    pub log_retention_days: u32,
    pub artifact_retention_days: u32,
    pub upload_versions: u32,
    pub allow_unconfined: bool,
    /// Tries of a request to a run task, and the wait before the second one.
    pub run_task_retries: u32,
    pub run_task_retry: Duration,
    /// Silence after which a run task is given up, and its time in all.
    pub run_task_progress: Duration,
    pub run_task_total: Duration,
}

/// The door for running tasks, below the data directory.
pub const WORKLOAD_SOCKET: &str = "workload.sock";

impl Setup {
    /// Whom everything is done as that belongs to no run: the last uid of the range.
    pub(crate) fn apart_uid(&self) -> Option<u32> {
        self.uids.map(|(_, last)| last)
    }

    /// The uids that are left to runs.
    pub(crate) fn run_uids(&self) -> Option<(u32, u32)> {
        self.uids.map(|(first, last)| (first, last.saturating_sub(1).max(first)))
    }
}

/// Everything that actions work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Actions {
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Bells>,
    pub(crate) setup: Arc<Setup>,
    pub(crate) access: Arc<Access>,
    /// The way to run tasks; none where no server runs.
    pub(crate) outside: Option<Arc<dyn Outside>>,
    pub(crate) evaluator: Evaluator,
}

/// What guards the doors: password hashing, delays, and who knocked in vain.
#[derive(Debug)]
pub(crate) struct Access {
    passwords: Passwords,
    throttle: Throttle,
    strangers: Mutex<HashMap<(String, &'static str), u64>>,
    /// Held by whoever rotates the master key.
    rotation: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever imports or removes a guest.
    imports: Arc<tokio::sync::Mutex<()>>,
    /// Runs whose approval policies are being asked by whoever wants to know.
    judged: approval::Judged,
    /// What access policies said lately.
    ceilings: Mutex<policy::Ceilings>,
    images: Arc<tokio::sync::Mutex<()>>,
    /// Sources that are being tested.
    asked: Mutex<Vec<source_test::Asked>>,
}

/// When something happens, and who does it.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub now: Timestamp,
    pub actor: ActorName,
    /// Whoever is no person and no machine has none.
    pub actor_id: Option<ActorId>,
    /// The person who made the key that the actor is.
    pub key_of: Option<ActorName>,
    pub live: Arc<Bells>,
    /// Ask for the keyring inside the transaction: then no rotation misses what it seals.
    pub keys: Keys,
    pub setup: Arc<Setup>,
}

impl Moment {
    pub(crate) const fn who(&self) -> Recorded<'_> {
        Recorded { name: &self.actor, id: self.actor_id.as_ref() }
    }

    /// The same moment, in which the system goes on by itself.
    pub(crate) fn of_system(&self) -> Self {
        self.of(ActorName::system())
    }

    /// The same moment, as that of somebody else.
    pub(crate) fn of(&self, actor: ActorName) -> Self {
        Self { actor, actor_id: None, ..self.clone() }
    }
}

/// What an audited action did to what.
pub(crate) struct Deed {
    pub verb: &'static str,
    pub object: String,
}

impl Deed {
    pub(crate) fn new(verb: &'static str, object: impl std::fmt::Display) -> Self {
        Self { verb, object: object.to_string() }
    }
}

impl Actions {
    pub fn new(
        store: Store,
        keys: Keys,
        clock: Arc<dyn Clock>,
        live: Arc<Bells>,
        setup: Setup,
    ) -> Result<Self, HashFailed> {
        let access = Access {
            passwords: Passwords::new()?,
            throttle: Throttle::default(),
            strangers: Mutex::default(),
            rotation: Arc::default(),
            imports: Arc::default(),
            judged: approval::Judged::default(),
            ceilings: Mutex::default(),
            images: Arc::default(),
            asked: Mutex::default(),
        };
        let evaluator = Evaluator::new("/proc/self/exe".into(), setup.apart_uid());
        let (setup, access) = (Arc::new(setup), Arc::new(access));
        Ok(Self { store, keys, clock, live, setup, access, outside: None, evaluator })
    }

    /// The same, for a process that is not this program itself: policies are evaluated by `program`.
    pub fn evaluated_by(mut self, program: PathBuf) -> Self {
        self.evaluator = Evaluator::new(program, self.setup.apart_uid());
        self
    }

    /// The same, for a server that is reached at another address than was thought.
    pub fn reached_at(mut self, public_url: String) -> Self {
        Arc::make_mut(&mut self.setup).public_url = public_url;
        self
    }

    /// The same, with a way to the outside.
    #[must_use]
    pub fn with_outside(self, outside: Arc<dyn Outside>) -> Self {
        Self { outside: Some(outside), ..self }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub const fn bells(&self) -> &Arc<Bells> {
        &self.live
    }

    /// Whether the disk has room for something new.
    pub fn has_room(&self) -> bool {
        self.store.has_room()
    }

    pub(crate) fn moment(&self, actor: ActorName) -> Moment {
        Moment {
            now: self.now(),
            actor,
            actor_id: None,
            key_of: None,
            live: Arc::clone(&self.live),
            keys: self.keys.clone(),
            setup: Arc::clone(&self.setup),
        }
    }

    /// Runs an audited action: permit checked, done, entry written, all in one transaction. `run`
    /// answers with what the caller gets and with details for the audit log.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        permit: &Permit,
        deed: Deed,
        mut run: impl FnMut(&Tx<'_>, &Moment) -> Result<(T, Option<String>), Error> + Send + 'static,
    ) -> Result<T, Error> {
        let key_of = permit.who().key_of().cloned();
        let actor = &permit.who().actor;
        let moment = Moment { key_of, actor_id: actor.id(), ..self.moment(actor.public()) };
        let entry = audit::Draft::new(permit.who(), &deed, moment.now);
        let refused = entry.clone();
        let permit = permit.clone();
        let done = self
            .store
            .write(move |tx| {
                permit.still_holds(tx, moment.now)??;
                let (answer, detail) = run(tx, &moment)?;
                audit::append(tx, entry.clone().with(Outcome::Done, detail))?;
                Ok(answer)
            })
            .await;
        if let Err(Error::Refused(why)) = &done {
            self.write_refusal(refused.with(Outcome::Refused, Some(why.to_string()))).await;
        }
        done
    }

    /// Writes an attempt that was refused before it reached an action.
    pub async fn refused(&self, who: &Who, verb: &str, object: &str, why: &Refused) {
        let draft = audit::Draft::of(who, verb, object, self.now());
        self.write_refusal(draft.with(Outcome::Refused, Some(why.to_string()))).await;
    }

    /// Passes on what an action found before it changes anything. A refusal there is an attempt as any
    /// other: it is written to the audit log, as [`Actions::change`] writes those that come later.
    pub(crate) async fn attempted<T, E: Into<Error>>(
        &self,
        who: &Who,
        deed: &Deed,
        found: Result<T, E>,
    ) -> Result<T, Error> {
        match found.map_err(Into::into) {
            Err(Error::Refused(why)) => {
                self.refused(who, deed.verb, &deed.object, &why).await;
                Err(why.into())
            }
            other => other,
        }
    }

    /// Counts a refusal of somebody who did not show who they are; written by [`Actions::write_strangers`].
    pub fn count_stranger(&self, address: Option<IpAddr>, verb: &'static str) {
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let mut strangers = self.access.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() < limits::SCAN_ROWS || strangers.contains_key(&(address.clone(), verb)) {
            *strangers.entry((address, verb)).or_default() += 1;
        }
    }

    /// Writes what was counted since the last time, an entry for each address and verb. Once a minute.
    pub async fn write_strangers(&self) {
        let counted = std::mem::take(&mut *self.access.strangers.lock().unwrap_or_else(PoisonError::into_inner));
        for ((address, verb), count) in counted {
            let who = Who::system().at(address.parse().ok());
            let draft = audit::Draft::of(&who, verb, "installation", self.now()).by_stranger();
            self.write_refusal(draft.with(Outcome::Refused, Some(format!("{count} unauthenticated attempts")))).await;
        }
    }

    async fn write_refusal(&self, entry: audit::Draft) {
        let written = self.store.write(move |tx| Ok(audit::append(tx, entry.clone())?)).await;
        if let Err(error) = written {
            tracing::error!(%error, "a refused attempt could not be written to the audit log");
        }
    }

    /// Runs something that the system does by itself and that is recorded where it happens.
    pub(crate) async fn system<T: Send + 'static>(
        &self,
        mut run: impl FnMut(&Tx<'_>, &Moment) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let moment = self.moment(ActorName::system());
        self.store.write(move |tx| run(tx, &moment)).await
    }
}

/// Whoever watches anything looks again, once this is durable.
pub(crate) fn ring(tx: &Tx<'_>, moment: &Moment) {
    let live = Arc::clone(&moment.live);
    tx.after_commit(move || live.ring());
}

/// What was looked up is not there, or may not be seen.
pub(crate) fn missing(what: impl std::fmt::Display) -> Error {
    Error::Refused(Refused::not_found(what))
}

/// A ciphertext of the store cannot be read: a wrong key, or damage.
pub(crate) fn sealed_fault(error: impl std::fmt::Display) -> Error {
    Error::Fault(Fault::Open(error.to_string()))
}
