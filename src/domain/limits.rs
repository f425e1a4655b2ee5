//! Every bound of the system, with its unit. Where one is hit, its value is shown.

use std::time::Duration;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

// ── Input ───────────────────────────────────────────────────────────────────────────────────
/// Bytes of a request body where nothing else is said.
pub const BODY_BYTES: u64 = 64 * KIB;
/// Bytes of an uploaded source (compressed).
pub const SOURCE_BYTES: u64 = GIB;
/// Bytes of an uploaded source once unpacked.
pub const SOURCE_UNPACKED_BYTES: u64 = 8 * GIB;
/// Entries of an uploaded source.
pub const SOURCE_ENTRIES: u64 = 200_000;
/// Bytes of a mounted file.
pub const FILE_BYTES: u64 = 2_000_000;
/// Bytes of one version of managed state.
pub const STATE_BYTES: u64 = 100_000_000;
/// Mounted files of one stack.
pub const FILES_PER_STACK: usize = 100;
/// Variables of one stack.
pub const VARIABLES_PER_STACK: usize = 500;
/// Bytes of one variable's value: the kernel refuses a longer argument or variable (128 KiB).
pub const VARIABLE_BYTES: usize = 120 * KIB as usize;
/// Contexts of one installation.
pub const CONTEXTS: usize = 500;
/// Contexts that are attached to one stack by somebody.
pub const CONTEXTS_PER_STACK: usize = 50;
/// Bytes of a plain variable's value that a run's record keeps; a longer one is kept as its digest.
pub const USED_VALUE_BYTES: usize = KIB as usize;
/// Characters of a stack's name.
pub const STACK_NAME_CHARS: usize = 120;
/// Characters of a slug.
pub const SLUG_CHARS: usize = 63;
/// Characters of the name of a declared task, a service, a guest, an image.
pub const IDENTIFIER_CHARS: usize = 63;
/// Characters of a description.
pub const DESCRIPTION_CHARS: usize = 20_000;
/// Labels of one stack.
pub const LABELS: usize = 50;
/// Characters of a label.
pub const LABEL_CHARS: usize = 64;
/// Characters of a note, a message, a comment.
pub const NOTE_CHARS: usize = 2_000;
/// Characters of a name or an address in a commit.
pub const SIGNATURE_CHARS: usize = 200;
/// Comments on one run.
pub const COMMENTS: usize = 500;
/// Reviews of one run.
pub const REVIEWS: usize = 200;
/// More approvals by just anybody that are tried out, to say how many are missing.
pub const APPROVALS_TRIED: u32 = 4;
/// Bytes of a task's command.
pub const COMMAND_BYTES: usize = 32 * KIB as usize;
/// Hooks in one list.
pub const HOOKS: usize = 50;
/// Addresses in one targeted replan.
pub const TARGETS: usize = 500;
/// Globs of a git source.
pub const GLOBS: usize = 50;
/// Characters of a git address.
pub const URL_CHARS: usize = 2_000;
/// Characters of a user's or a key's name.
pub const USER_NAME_CHARS: usize = 64;
/// Characters of a password: fewer are refused.
pub const PASSWORD_MIN_CHARS: usize = 12;
/// Bytes of a password: more are refused, so that hashing stays bounded.
pub const PASSWORD_MAX_BYTES: usize = 1_024;
/// Characters of a sensitive value: a shorter one would mask half of every log.
pub const SECRET_MIN_CHARS: usize = 4;
/// Non-blank characters from which a line of a multi-line secret is masked by itself.
pub const SECRET_LINE_CHARS: usize = 8;
/// Masks that one run may add by `::add-mask`.
pub const ADDED_MASKS: usize = 1_000;
/// Rows on a page.
pub const PAGE_ROWS: usize = 50;
/// Rows of one API list, at most.
pub const LIST_MAX: usize = 200;
/// Rows that one filtered page may look at before it returns a cursor with fewer items.
pub const SCAN_ROWS: usize = 5_000;
/// Entries of the audit log that an export reads at once.
pub const AUDIT_BLOCK: usize = 500;
/// Bytes of a log that an answer reads at once.
pub const LOG_BLOCK_BYTES: usize = 256 * KIB as usize;
/// Bytes of plan JSON that is read.
pub const PLAN_JSON_BYTES: u64 = 256 * MIB;
/// Bytes of a custom vendor's changes file.
pub const PLAN_FILE_BYTES: u64 = 16 * MIB;
/// Resources and outputs kept of one plan.
pub const CHANGES: usize = 20_000;
/// Bytes of all changes kept of one plan, as JSON.
pub const CHANGES_BYTES: usize = 32 * MIB as usize;
/// Bytes of one stored `before` or `after` value.
pub const CHANGE_VALUE_BYTES: usize = 64 * KIB as usize;
/// Bytes of variables carried to later phases by `$AIRLOCK_ENV`.
pub const CARRIED_BYTES: usize = 256 * KIB as usize;

// ── Configuration files ─────────────────────────────────────────────────────────────────────
/// Bytes of `.airlock/config.yaml` and its relatives, and of a runtime configuration.
pub const MANIFEST_BYTES: usize = 512 * KIB as usize;
/// Keys and values of one file, each use of an alias counted anew.
pub const MANIFEST_NODES: usize = 20_000;
/// Bytes of all keys and values of one file, each use of an alias counted anew.
pub const MANIFEST_TEXT_BYTES: usize = 2 * MIB as usize;
/// Maps and lists within each other in one file.
pub const MANIFEST_DEPTH: usize = 32;
/// Bytes of one key.
pub const MANIFEST_KEY_BYTES: usize = 512;
/// Mistakes, and notes, that are listed of one file.
pub const MANIFEST_MISTAKES: usize = 50;
/// Declared tasks of one source.
pub const TASKS_PER_SOURCE: usize = 200;
/// Relationships, mounts, hosts, authorizations or granted names of one declared task, each.
pub const LINKS_PER_TASK: usize = 100;
/// Longest life of a declared task's command, and what it is when nothing is said.
pub const TASK_WALL_MAX: Duration = Duration::from_hours(24);
pub const TASK_WALL: Duration = Duration::from_hours(1);
/// Words of a WASI guest's command.
pub const GUEST_WORDS: usize = 1_000;
/// Bytes of a guest's standard input that stands in the declaration.
pub const STDIN_BYTES: usize = 128 * KIB as usize;

// ── Execution ───────────────────────────────────────────────────────────────────────────────
/// Wall time of a vendor phase.
pub const PHASE_WALL: Duration = Duration::from_mins(70);
/// Silence after which a phase is taken for hung.
pub const PHASE_SILENCE: Duration = Duration::from_mins(7);
/// Bytes of output of one phase before the rest is dropped.
pub const OUTPUT_BYTES: u64 = 256 * MIB;
/// Memory of a whole jail.
pub const JAIL_MEMORY_BYTES: u64 = 4 * GIB;
/// Processes (threads included) of a whole jail.
pub const JAIL_PROCESSES: u32 = 1_024;
/// Open files of one process.
pub const OPEN_FILES: u32 = 4_096;
/// Bytes of one file.
pub const JAIL_FILE_BYTES: u64 = 8 * GIB;
/// Bytes of a workspace.
pub const WORKSPACE_BYTES: u64 = 20 * GIB;
/// Files, directories and links of a workspace that is to be sealed.
pub const WORKSPACE_ENTRIES: u64 = 1_000_000;
/// Directories within directories of one that is to be sealed; each costs a descriptor.
pub const WORKSPACE_DEPTH: usize = 512;
/// Bytes of the jail's `/tmp`.
pub const TMP_BYTES: u64 = GIB;
/// Files of the jail's `/tmp`.
pub const TMP_FILES: u64 = 100_000;
/// Time between asking a phase to stop and killing it.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// Hosts that one run, or the operator, may list.
pub const ALLOWED_HOSTS: usize = 500;
/// Hosts and ports told apart in what a phase has reached.
pub const HOSTS_RECORDED: usize = 256;
/// Different refusals told apart in one phase.
pub const DENIALS_RECORDED: usize = 100;
/// Connections that one phase may have open through its proxy.
pub const PROXY_CONNECTIONS: usize = 256;
/// Bytes of the head of one request or answer on its way out.
pub const PROXY_HEAD_BYTES: usize = 64 * KIB as usize;
/// Time for a request's head to come in, the first one of a connection or another.
pub const PROXY_HEAD_WAIT: Duration = Duration::from_secs(30);
/// A connection through the proxy that is silent for so long is closed.
pub const PROXY_IDLE: Duration = Duration::from_mins(10);
/// Bytes that one phase may send and receive through its proxy.
pub const PROXY_BYTES: u64 = 64 * GIB;
/// Time for resolving a name.
pub const RESOLVE_WAIT: Duration = Duration::from_secs(10);
/// Time for connecting to one address.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
pub const ADDRESSES_TRIED: usize = 4;
/// Time for an outgoing call, from resolving to the last byte.
pub const CALL_WAIT: Duration = Duration::from_secs(30);
/// Bytes of the answer to an outgoing call.
pub const CALL_BODY_BYTES: usize = MIB as usize;
/// Time for fetching a git source.
pub const FETCH_WALL: Duration = Duration::from_mins(10);
/// Time for asking which commit a branch stands for.
pub const LOOK_UP_WALL: Duration = Duration::from_mins(1);
/// What a run's phases are set to, as it is sealed with its workspace.
pub const SETTINGS_BYTES: u64 = 64 * MIB;
/// A fetched source as an archive, for those who check a run.
pub const SOURCE_ARCHIVE_BYTES: usize = 64 * MIB as usize;
/// Time for the `ending` phase.
pub const ENDING_WALL: Duration = Duration::from_mins(10);
/// Slots at least, whatever the number of cores.
pub const SLOTS_MIN: usize = 2;
/// Slots at most.
pub const SLOTS_MAX: usize = 512;

// ── Guests ──────────────────────────────────────────────────────────────────────────────────
/// Fuel of a guest.
pub const GUEST_FUEL: u64 = 10_000_000_000;
/// Fuel of a guest that interprets scripts.
pub const INTERPRETER_FUEL: u64 = 500_000_000_000;
/// Bytes of a guest's linear memories.
pub const GUEST_MEMORY_BYTES: u64 = 256 * MIB;
/// Wall time of a guest that no declaration gives another.
pub const GUEST_WALL: Duration = Duration::from_mins(5);
/// Bytes that a guest may print.
pub const GUEST_OUTPUT_BYTES: u64 = 16 * MIB;
/// Bytes of files that a guest may write.
pub const GUEST_FILES_BYTES: u64 = 256 * MIB;
/// Files that a guest may write.
pub const GUEST_FILES: u64 = 10_000;
/// Fuel that may be asked for at most.
pub const GUEST_FUEL_MOST: u64 = 1_000_000_000_000_000;
/// Arguments of a guest.
pub const GUEST_ARGUMENTS: usize = 1_000;
/// Bytes of a guest that somebody imports.
pub const GUEST_IMPORT_BYTES: u64 = 64 * MIB;
/// Guests that are registered at the same time.
pub const GUESTS: usize = 1_000;
/// Bytes of a guest's code.
pub const GUEST_CODE_BYTES: u64 = 128 * MIB;
/// Bytes of a guest's standard input that is a text.
pub const GUEST_INPUT_BYTES: usize = MIB as usize;
/// Time for compiling a guest.
pub const COMPILE_WALL: Duration = Duration::from_mins(1);
/// Memory for compiling a guest.
pub const COMPILE_MEMORY_BYTES: u64 = 2 * GIB;
/// Bytes of compiled guests that are kept.
pub const GUEST_CACHE_BYTES: u64 = 4 * GIB;
/// Compiled guests that are kept, and guests that are known not to compile.
pub const GUEST_CACHE_FILES: usize = 2_000;
/// Bytes of the results of build hooks that are kept.
pub const SLUGS_BYTES: u64 = 16 * GIB;
/// Bytes of a workspace after its build hook above which the result is not kept.
pub const SLUG_BYTES: u64 = 4 * GIB;
/// Results of build hooks that are kept.
pub const SLUGS: usize = 500;
/// Different refusals that a receipt lists.
pub const DENIALS: usize = 100;
/// Characters of one of them.
pub const DENIAL_CHARS: usize = 300;
/// Bytes of a patch's text; what does not fit is listed.
pub const PATCH_BYTES: usize = 8 * MIB as usize;
/// Bytes of a file that a patch shows line by line.
pub const PATCH_FILE_BYTES: u64 = MIB;

// ── Run tasks ───────────────────────────────────────────────────────────────────────────────
/// Run tasks of an installation.
pub const RUN_TASKS: usize = 500;
/// Characters of a run task's name.
pub const RUN_TASK_NAME_CHARS: usize = 90;
/// Characters of a run task's description.
pub const RUN_TASK_DESCRIPTION_CHARS: usize = 300;
/// Bytes of the key that requests are signed with.
pub const HMAC_KEY_BYTES: usize = 4 * KIB as usize;
/// Run tasks attached to one stack.
pub const RUN_TASKS_PER_STACK: usize = 50;
/// Requests to run tasks under way at the same time.
pub const DELIVERIES_AT_ONCE: usize = 64;
/// Tries of one request, and what `run_task_retries` may make of them.
pub const RUN_TASK_RETRIES: u32 = 5;
pub const RUN_TASK_RETRIES_MOST: u32 = 20;
/// Before the second try of a request; three times as long before each one after.
pub const RUN_TASK_RETRY: Duration = Duration::from_secs(1);
/// Time within which a request is tried again, whatever the settings.
pub const RUN_TASK_TRYING: Duration = Duration::from_mins(2);
/// Verification requests that are kept of one run task.
pub const VERIFICATIONS_KEPT: usize = 10;
/// Deliveries of one request that are kept, those that people asked for included.
pub const DELIVERIES_KEPT: u32 = 50;
/// Characters that are kept of what a service answered when it was no 200.
pub const DELIVERY_NOTE_CHARS: usize = 300;
/// Silence of a run task after which it is given up.
pub const RUN_TASK_PROGRESS: Duration = Duration::from_mins(10);
/// Time of a run task in all.
pub const RUN_TASK_TOTAL: Duration = Duration::from_hours(1);
/// Bytes of a callback as it is sent: [`OUTCOMES_BYTES`] of text, and what goes with it.
pub const CALLBACK_BYTES: usize = 6 * MIB as usize;
/// Bytes of an `outcomes.json` that a guest or a declared task left: [`OUTCOMES_BYTES`] of text that is
/// all escapes fit, and what is too much is told by its field.
pub const OUTCOMES_FILE_BYTES: usize = 32 * MIB as usize;
/// Values and their parts in either: the largest set of outcomes has fewer.
pub const CALLBACK_PARTS: usize = 300_000;
/// Characters of a result's message.
pub const RESULT_MESSAGE_CHARS: usize = 1_000;
/// Characters of a link in a result.
pub const RESULT_URL_CHARS: usize = 500;
/// Outcomes of one result.
pub const OUTCOMES: usize = 250;
/// Characters of an outcome's id.
pub const OUTCOME_ID_CHARS: usize = 64;
/// Characters of an outcome's description.
pub const OUTCOME_DESCRIPTION_CHARS: usize = 1_000;
/// Bytes of an outcome's body.
pub const OUTCOME_BODY_BYTES: usize = MIB as usize;
/// Bytes of all bodies of one result.
pub const OUTCOMES_BYTES: usize = 5 * MIB as usize;
/// Tags of an outcome, and labels of a tag.
pub const OUTCOME_TAGS: usize = 10;
pub const OUTCOME_LABELS: usize = 32;
/// Characters of a tag's name, and of a label.
pub const OUTCOME_TAG_CHARS: usize = 64;
pub const OUTCOME_LABEL_CHARS: usize = 32;
/// Life of an address that a download was redirected to.
pub const DOWNLOAD_LINK: Duration = Duration::from_mins(1);
/// Warnings that are kept of a run.
pub const RUN_WARNINGS: usize = 200;
// ── Images ──────────────────────────────────────────────────────────────────────────────────
/// Bytes of an image's archive.
pub const IMAGE_BYTES: u64 = 8 * GIB;
/// Bytes of all files of all layers of an image.
pub const IMAGE_UNPACKED_BYTES: u64 = 16 * GIB;
/// Entries of all layers of an image.
pub const IMAGE_ENTRIES: u64 = 1_000_000;
/// Layers of an image.
pub const IMAGE_LAYERS: usize = 256;
/// Images that are there at the same time.
pub const IMAGES: usize = 200;

// ── Logs ────────────────────────────────────────────────────────────────────────────────────
/// Bytes of a line before it is split for display.
pub const LOG_LINE_BYTES: usize = 64 * KIB as usize;
/// Lines of a log that a page shows at once.
pub const LOG_TAIL_LINES: usize = 1_000;
/// Bytes of one live event.
pub const LOG_EVENT_BYTES: usize = 16 * KIB as usize;
/// Bytes of text in one frame of a compressed log.
pub const LOG_FRAME_BYTES: usize = 256 * KIB as usize;
/// Bytes of text that one index entry stands for, so that a line is found by reading no more.
pub const LOG_ENTRY_BYTES: usize = 64 * KIB as usize;
/// Bytes of text on one page of rows.
pub const LOG_PAGE_BYTES: usize = 2 * MIB as usize;
/// Bytes of text that one search looks through before it returns where to go on.
pub const LOG_SEARCH_BYTES: u64 = 32 * MIB;
/// Bytes of what is searched for.
pub const LOG_NEEDLE_BYTES: usize = KIB as usize;
/// Bytes of encoded pieces that readers of live logs share.
pub const LOG_SHARED_BYTES: usize = 8 * MIB as usize;
/// Time within which printed text is on disk.
pub const LOG_FLUSH: Duration = Duration::from_millis(50);

// ── Access ──────────────────────────────────────────────────────────────────────────────────
/// A session unused for so long is over.
pub const SESSION_IDLE: Duration = Duration::from_hours(12);
/// A session this old is over.
pub const SESSION_AGE: Duration = Duration::from_hours(168);
/// How recent a sign-in must be for a dangerous action.
pub const REAUTHENTICATE: Duration = Duration::from_mins(10);
/// Sessions of one user; the oldest makes room.
pub const SESSIONS_PER_USER: usize = 50;
/// An invitation lives so long.
pub const INVITATION: Duration = Duration::from_hours(72);
/// Shortest and longest life of an exchanged token.
pub const TOKEN_MIN: Duration = Duration::from_mins(1);
pub const TOKEN_MAX: Duration = Duration::from_mins(15);
/// Exchanged tokens of one key, or of one running task, that live at the same time; the oldest make room.
pub const TOKENS_PER_HOLDER: usize = 1_000;
/// How many of them do, once there are as many.
pub const TOKENS_MAKE_ROOM: usize = 50;
/// Passwords hashed at the same time.
pub const HASHES_AT_ONCE: usize = 2;
/// Passwords that are hashed or wait for it: a hash takes some 20 ms, so the last one waits for seconds.
pub const HASHES_WAITING: usize = 256;
/// Of these, those from one address, or one network of IPv6.
pub const HASHES_WAITING_PER_ORIGIN: usize = 16;
/// Of these, places that strangers do not get.
pub const HASHES_WAITING_KEPT: usize = 32;
/// When to come back once they are too many.
pub const HASH_WAIT: Duration = Duration::from_secs(1);
/// Idempotency keys live so long.
pub const IDEMPOTENCY: Duration = Duration::from_hours(24);
/// Characters of an idempotency key.
pub const IDEMPOTENCY_CHARS: usize = 128;
/// Requests a second of one actor, below which nothing is refused.
pub const RATE_PER_SECOND: u32 = 10_000;
/// Requests that may come at once above the steady rate.
pub const RATE_BURST: u32 = 20_000;
/// Use of sessions and keys is written at most this often.
pub const USE_WRITTEN_EVERY: Duration = Duration::from_mins(1);

// ── Policies ────────────────────────────────────────────────────────────────────────────────
/// Policies of one installation.
pub const POLICIES: usize = 500;
/// Bytes of a policy's body.
pub const POLICY_BYTES: usize = 48 * KIB as usize;
/// Labels of one policy.
pub const POLICY_LABELS: usize = 50;
/// Time for evaluating one policy, and for checking or testing one.
pub const POLICY_WALL: Duration = Duration::from_secs(5);
/// Time for evaluating one plan policy.
pub const PLAN_POLICY_WALL: Duration = Duration::from_secs(45);
/// Time for evaluating one push or notification policy: nobody waits for it.
pub const PATIENT_POLICY_WALL: Duration = Duration::from_secs(10);
/// Memory for evaluating one policy, beyond what this program itself takes.
pub const POLICY_MEMORY_BYTES: u64 = 256 * MIB;
/// Bytes of a policy's input, as JSON.
pub const POLICY_INPUT_BYTES: usize = 48 * MIB as usize;
/// Bytes of what an evaluation answers.
pub const POLICY_ANSWER_BYTES: usize = MIB as usize;
/// Policies that are evaluated at the same time.
pub const POLICIES_AT_ONCE: usize = 4;
/// Messages that are kept of one rule of a policy.
pub const POLICY_MESSAGES: usize = 100;
/// Characters of one of them.
pub const POLICY_MESSAGE_CHARS: usize = 2_000;
/// Inputs that are kept of one policy.
pub const POLICY_SAMPLES: usize = 100;
/// How long they are kept.
pub const POLICY_SAMPLE_AGE: Duration = Duration::from_hours(7 * 24);
/// Bytes of one kept input, compressed; a larger one is not kept.
pub const POLICY_SAMPLE_BYTES: usize = 256 * KIB as usize;
/// How often an evaluation is begun anew because what it was about was changed meanwhile.
pub const POLICY_ATTEMPTS: usize = 4;
/// Bytes of a request that tries a policy.
pub const POLICY_TRIED_BYTES: usize = 4 * MIB as usize;
/// How long what access policies said about somebody is believed.
pub const ACCESS_BELIEVED: Duration = Duration::from_mins(1);
/// Answers of access policies that are remembered.
pub const ACCESS_REMEMBERED: usize = 10_000;
/// Runs that trigger policies may trigger after one run.
pub const FOLLOWERS: usize = 20;
/// Runs in a row that were triggered by policies; the last one triggers nothing.
pub const FOLLOWED_DEPTH: u32 = 8;
/// Ended runs that are looked after in one go.
pub const FOLLOWED_AT_ONCE: usize = 100;

/// Changes of state that notification policies are asked about in one go.
pub const NOTICES_AT_ONCE: usize = 100;

// ── Webhooks and messages ───────────────────────────────────────────────────────────────────
/// Webhooks of an installation.
pub const WEBHOOKS: usize = 100;
/// Characters of a webhook's name.
pub const WEBHOOK_NAME_CHARS: usize = 120;
/// Headers that a webhook, or a policy, adds.
pub const WEBHOOK_HEADERS: usize = 20;
/// Characters of a header's name, and of its value.
pub const HEADER_NAME_CHARS: usize = 100;
pub const HEADER_VALUE_CHARS: usize = 2_000;
/// Bytes of what is delivered.
pub const DELIVERY_BYTES: usize = 256 * KIB as usize;
/// Characters that are kept of an answer.
pub const DELIVERY_ANSWER_CHARS: usize = 2_000;
/// Tries of a delivery that was not answered, or with a 5xx.
pub const WEBHOOK_TRIES: u32 = 3;
/// Before the second try; three times as long before the third.
pub const WEBHOOK_RETRY: Duration = Duration::from_secs(2);
/// Deliveries in a row that failed: the webhook is switched off.
pub const WEBHOOK_FAILURES: u32 = 10;
/// Deliveries that are kept of one webhook.
pub const WEBHOOK_DELIVERIES: usize = 200;
/// Deliveries that may wait for one webhook; more are not even tried.
pub const WEBHOOK_WAITING: usize = 100;
/// Attempts that are kept of one delivery.
pub const WEBHOOK_ATTEMPTS: usize = 20;
/// Messages in the inbox of an installation; the oldest makes room.
pub const MESSAGES: usize = 500;
/// How long they are kept.
pub const MESSAGE_AGE: Duration = Duration::from_hours(14 * 24);
/// Characters of a message's title, and of its text.
pub const MESSAGE_TITLE_CHARS: usize = 200;
pub const MESSAGE_TEXT_CHARS: usize = 4_000;
/// Messages that a page shows.
pub const MESSAGES_SHOWN: usize = 20;

// ── Store ───────────────────────────────────────────────────────────────────────────────────
/// redb's page cache.
pub const STORE_CACHE_BYTES: usize = 16 * MIB as usize;
/// Actions of one commit.
pub const COMMIT_BATCH: usize = 256;
/// Actions that may wait for the writer.
pub const WRITER_QUEUE: usize = 4_096;
/// Rows that one transaction of a master key's rotation seals anew; a row may hold a mounted file.
pub const ROTATION_ROWS: usize = 32;
/// Free bytes below which nothing new is written or started.
pub const DISK_FLOOR_BYTES: u64 = 24 * MIB;
/// Bytes kept aside so that a full disk leaves room to finish.
pub const BALLAST_BYTES: u64 = 8 * MIB;

// ── Doors of run tasks ──────────────────────────────────────────────────────────────────────
/// Calls of others that wait for their outcome.
pub const OPEN_CALLS: u64 = 200;
/// Errands about them under way at the same time.
pub const CALLS_AT_ONCE: usize = 16;
/// Attempts of one errand.
pub const CALL_ATTEMPTS: u32 = 10;
/// A call that ended is remembered so long, in case it is sent again.
pub const CALL_KEPT: Duration = Duration::from_hours(168);
/// Characters of somebody else's token.
pub const TOKEN_CHARS: usize = 4_000;
/// Bytes of an outcome's Markdown that a page shows.
pub const MARKDOWN_BYTES: usize = 64 * KIB as usize;
/// Pieces of it.
pub const MARKDOWN_PIECES: usize = 5_000;
/// Lists, quotes and emphases within each other.
pub const MARKDOWN_DEPTH: usize = 16;
