//! Schemas of the domain's own types, made from the types: the domain knows nothing of schemas.

use utoipa::openapi::{
    ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema,
    schema::{AdditionalProperties, KnownFormat, SchemaFormat, SchemaType, Type},
};

use crate::domain::{
    Action, ActorKind, Enforcement, Kind, Phase, PolicyKind, ResultStatus, ReviewDecision, Role, Stage, StageStatus,
    State, WebhookForm,
};

/// A schema, as fields name it.
pub(super) type Schemed = RefOr<Schema>;

fn of_type(kind: Type) -> Schemed {
    ObjectBuilder::new().schema_type(kind).build().into()
}

pub(super) fn text() -> Schemed {
    of_type(Type::String)
}

pub(super) fn maybe_text() -> Schemed {
    optional(Type::String)
}

fn number() -> Schemed {
    of_type(Type::Integer)
}

fn flag() -> Schemed {
    of_type(Type::Boolean)
}

fn list(of: Schemed) -> Schemed {
    ArrayBuilder::new().items(of).build().into()
}

/// One of these words.
fn one_of(words: impl IntoIterator<Item = &'static str>) -> Schemed {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build().into()
}

fn optional(of: Type) -> Schemed {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([of, Type::Null])).build().into()
}

/// This, or null.
fn or_null(of: Schemed) -> Schemed {
    any_of([of, of_type(Type::Null)])
}

fn any_of(cases: impl IntoIterator<Item = Schemed>) -> Schemed {
    Schema::OneOf(cases.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item).build()).into()
}

/// An object with these members and no others; the first `required` of them are always there.
fn object(required: usize, members: Vec<(&'static str, Schemed)>) -> Schemed {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (number, (name, schema)) in members.into_iter().enumerate() {
        object = object.property(name, schema);
        if number < required {
            object = object.required(name);
        }
    }
    object.additional_properties(Some(AdditionalProperties::FreeForm(false))).build().into()
}

/// Anything that JSON can say.
pub(super) fn anything() -> Schemed {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()).into()
}

pub(super) fn time() -> Schemed {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
        .into()
}

pub(super) fn maybe_time() -> Schemed {
    or_null(time())
}

pub(super) fn state() -> Schemed {
    one_of(State::ALL.map(State::word))
}

pub(super) fn maybe_state() -> Schemed {
    or_null(state())
}

pub(super) fn kind() -> Schemed {
    one_of(Kind::ALL.map(Kind::word))
}

pub(super) fn policy_kind() -> Schemed {
    one_of(PolicyKind::ALL.map(PolicyKind::word))
}

pub(super) fn webhook_form() -> Schemed {
    one_of(WebhookForm::ALL.map(WebhookForm::word))
}

/// Texts by the names of headers.
pub(super) fn header_values() -> Schemed {
    by_name(text())
}

/// The same; null removes one.
pub(super) fn header_changes() -> Schemed {
    by_name(optional(Type::String))
}

fn by_name(of: Schemed) -> Schemed {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(of)).build().into()
}

pub(super) fn phase() -> Schemed {
    one_of(Phase::ALL.map(Phase::word))
}

pub(super) fn stage() -> Schemed {
    one_of(Stage::ALL.map(Stage::word))
}

pub(super) fn stages() -> Schemed {
    list(stage())
}

pub(super) fn enforcement() -> Schemed {
    one_of(Enforcement::ALL.map(Enforcement::word))
}

pub(super) fn result_status() -> Schemed {
    one_of(ResultStatus::ALL.map(ResultStatus::word))
}

pub(super) fn stage_status() -> Schemed {
    one_of(StageStatus::ALL.map(StageStatus::word))
}

/// The members of a run task that a merge patch may change.
pub(super) fn run_task_patch() -> Schemed {
    let members = vec![
        ("name", text()),
        ("kind", one_of(["http", "wasi"])),
        ("url", text()),
        ("hmac_key", optional(Type::String)),
        ("guest", text()),
        ("description", optional(Type::String)),
        ("enabled", flag()),
        ("trusted", flag()),
    ];
    object(0, members)
}

pub(super) fn role() -> Schemed {
    one_of(Role::ALL.map(Role::word))
}

pub(super) fn actor_kind() -> Schemed {
    use ActorKind as K;
    let all = [K::User, K::ApiKey, K::Commit, K::Tag, K::Policy, K::Schedule, K::Run, K::Task, K::System];
    one_of(all.map(K::word))
}

pub(super) fn actor() -> Schemed {
    object(2, vec![("kind", actor_kind()), ("name", text())])
}

pub(super) fn review_decision() -> Schemed {
    one_of([ReviewDecision::Approve, ReviewDecision::Reject].map(ReviewDecision::word))
}

/// How a phase ended: `kind`, with what belongs to it.
fn verdict() -> Schemed {
    let kinds = [
        "exited",
        "signalled",
        "timed_out",
        "silent",
        "out_of_fuel",
        "out_of_memory",
        "process_limit",
        "output_limit",
        "file_limit",
        "trapped",
        "stopped",
        "lost",
        "refused",
    ];
    let members = vec![
        ("kind", one_of(kinds)),
        ("code", number()),
        ("signal", number()),
        ("seconds", number()),
        ("fuel", number()),
        ("limit_bytes", number()),
        ("limit", number()),
        ("what", text()),
        ("reason", text()),
    ];
    object(1, members)
}

pub(super) fn maybe_verdict() -> Schemed {
    or_null(verdict())
}

pub(super) fn maybe_delta() -> Schemed {
    let counts = |names: &[&'static str]| object(names.len(), names.iter().map(|name| (*name, number())).collect());
    let resources = counts(&["added", "changed", "deleted", "replaced"]);
    let outputs = counts(&["added", "changed", "deleted"]);
    or_null(object(2, vec![("resources", resources), ("outputs", outputs)]))
}

pub(super) fn changes() -> Schemed {
    let action =
        || one_of([Action::Create, Action::Update, Action::Replace, Action::Delete, Action::Read].map(Action::word));
    let resource = object(
        6,
        vec![
            ("address", text()),
            ("type", text()),
            ("action", action()),
            ("before", anything()),
            ("after", anything()),
            ("sensitive", list(text())),
            ("replace_paths", list(text())),
        ],
    );
    let output = object(
        5,
        vec![
            ("name", text()),
            ("action", action()),
            ("before", anything()),
            ("after", anything()),
            ("sensitive", flag()),
        ],
    );
    object(2, vec![("resources", list(resource)), ("outputs", list(output))])
}

pub(super) fn field_errors() -> Schemed {
    list(object(2, vec![("field", text()), ("error", text())]))
}

pub(super) fn maybe_lock() -> Schemed {
    or_null(object(3, vec![("by", actor()), ("note", optional(Type::String)), ("since", time())]))
}

/// The members of a stack that people set; `name` and `vendor` are always needed.
pub(super) fn settings() -> Vec<(&'static str, Schemed)> {
    vec![
        ("name", text()),
        ("vendor", vendor()),
        ("description", text()),
        ("labels", list(text())),
        ("source", or_null(source())),
        ("executor", executor()),
        ("autodeploy", flag()),
        ("allow_promotion", flag()),
        ("enabled", flag()),
        ("protect_from_deletion", flag()),
        ("mask_well_known", flag()),
        ("unconfirmed_expiry_days", optional(Type::Integer)),
        ("hooks", hooks()),
    ]
}

/// A stack as it is made (`required` 2), changed (0) or shown, with further members.
pub(super) fn stack(required: usize, further: Vec<(&'static str, Schemed)>) -> Schemed {
    let mut members = settings();
    members.extend(further);
    object(required, members)
}

fn vendor() -> Schemed {
    let terraform = |kind| {
        object(
            1,
            vec![("kind", one_of([kind])), ("binary", optional(Type::String)), ("workspace", optional(Type::String))],
        )
    };
    let command = || optional(Type::String);
    let custom = vec![
        ("kind", one_of(["custom"])),
        ("init", command()),
        ("plan", command()),
        ("apply", command()),
        ("destroy", command()),
    ];
    let wasi = vec![
        ("kind", one_of(["wasi"])),
        ("init", guest_call()),
        ("plan", guest_call()),
        ("apply", guest_call()),
        ("destroy", guest_call()),
    ];
    any_of([terraform("terraform"), terraform("opentofu"), object(1, custom), object(1, wasi)])
}

/// What a guest may use and reach.
fn may_members() -> Vec<(&'static str, Schemed)> {
    let size = || any_of([number(), text()]);
    let secret = object(1, vec![("secret", text())]);
    vec![
        ("fuel", number()),
        ("memory", size()),
        ("output", size()),
        ("files", object(0, vec![("count", number()), ("bytes", size())])),
        ("timeout", number()),
        ("workspace", one_of(["none", "read", "write"])),
        ("network", list(text())),
        ("headers", map(map(secret))),
        ("env", list(text())),
        ("clock", one_of(["frozen", "real"])),
        ("random", one_of(["seeded", "real"])),
    ]
}

/// Names of one's own, each with this.
fn map(of: Schemed) -> Schemed {
    let object = ObjectBuilder::new().schema_type(Type::Object);
    object.additional_properties(Some(of)).build().into()
}

pub(super) fn may() -> Schemed {
    or_null(object(0, may_members()))
}

pub(super) fn stdin() -> Schemed {
    any_of([text(), object(1, vec![("file", text())]), of_type(Type::Null)])
}

fn guest_call() -> Schemed {
    let mut members = vec![("guest", text()), ("args", list(text())), ("stdin", stdin())];
    members.extend(may_members());
    or_null(object(1, members))
}

/// The members of a receipt beside its phase.
fn receipt_members() -> Vec<(&'static str, Schemed)> {
    let caps = ["fuel", "memory_bytes", "wall_seconds", "output_bytes", "files_bytes", "files"];
    let input = object(3, vec![("kind", text()), ("name", text()), ("detail", text())]);
    let host = vec![("host", text()), ("requests", number()), ("bytes_sent", number()), ("bytes_received", number())];
    let denial =
        object(3, vec![("kind", one_of(["path", "write", "http", "cap"])), ("tried", text()), ("count", number())]);
    vec![
        ("guest_digest", text()),
        ("inputs", list(input)),
        ("caps", object(caps.len(), caps.into_iter().map(|name| (name, number())).collect())),
        ("fuel_used", optional(Type::Integer)),
        ("peak_memory_bytes", optional(Type::Integer)),
        ("wall_ms", number()),
        ("cpu_ms", optional(Type::Integer)),
        ("output_bytes", number()),
        ("files_written", number()),
        ("hosts", list(object(4, host))),
        ("denials", list(denial)),
        ("denials_dropped", number()),
        ("verdict", verdict()),
    ]
}

/// A receipt, with the phase that it is about.
pub(super) fn receipt() -> Schemed {
    let mut members = vec![("phase", phase())];
    members.extend(receipt_members());
    object(members.len(), members)
}

pub(super) fn maybe_receipt() -> Schemed {
    or_null(receipt())
}

fn source() -> Schemed {
    let git = vec![
        ("kind", one_of(["git"])),
        ("url", text()),
        ("branch", text()),
        ("project_root", text()),
        ("project_globs", list(text())),
        ("credential", optional(Type::String)),
        ("submodules", flag()),
    ];
    any_of([object(3, git), object(1, vec![("kind", one_of(["upload"])), ("project_root", text())])])
}

fn executor() -> Schemed {
    let network = any_of([one_of(["host", "none"]), object(1, vec![("allow", list(text()))])]);
    let limits = [
        "wall_seconds",
        "silence_seconds",
        "memory_bytes",
        "processes",
        "open_files",
        "file_bytes",
        "workspace_bytes",
        "output_bytes",
    ];
    let mut limits: Vec<_> = limits.into_iter().map(|name| (name, number())).collect();
    limits.push(("cpu_percent", optional(Type::Integer)));
    let members = vec![
        ("kind", one_of(["jail", "unconfined"])),
        ("image", text()),
        ("network", network),
        ("limits", object(0, limits)),
    ];
    object(0, members)
}

pub(super) fn hooks() -> Schemed {
    let names = crate::domain::stack::Hooks::default().lists().map(|(name, _)| name);
    object(0, names.into_iter().map(|name| (name, list(text()))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        Verdict,
        stack::{NetworkMode, StackSettings, Vendor},
    };

    /// Whether every member of `value` is in the schema.
    fn covers(schema: &Value, value: &Value, at: &str) {
        if let Some(inner) = schema.pointer("/oneOf/0").filter(|inner| inner.get("oneOf").is_some()) {
            // Something or nothing.
            if !value.is_null() {
                covers(inner, value, at);
            }
            return;
        }
        if let Some(cases) = schema.get("oneOf").and_then(Value::as_array) {
            let fits = |case: &&Value| match case.pointer("/properties/kind/enum/0") {
                Some(kind) => value.get("kind") == Some(kind),
                None => {
                    case.get("type") != Some(&json!("null")) && case.get("properties").is_some() == value.is_object()
                }
            };
            match cases.iter().find(fits) {
                Some(case) => covers(case, value, at),
                None => assert!(value.is_null(), "{at}: {value} fits no case of {schema}"),
            }
            return;
        }
        let Some(members) = value.as_object() else { return };
        for (name, value) in members {
            let member = schema.pointer(&format!("/properties/{name}"));
            covers(member.unwrap_or_else(|| panic!("{at}.{name} is not described")), value, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(name.as_str().unwrap()), "{at} lacks {name}");
        }
    }

    fn json_of(schema: &Schemed) -> Value {
        serde_json::to_value(schema).unwrap()
    }

    #[test]
    fn every_setting_of_a_stack_is_described() {
        let vendors = [
            json!({"kind": "terraform"}),
            json!({"kind": "opentofu", "binary": "tofu", "workspace": "a"}),
            json!({"kind": "custom", "plan": "x"}),
        ];
        let sources = [
            json!(null),
            json!({"kind": "upload"}),
            json!({"kind": "git", "url": "https://example.org/a.git", "branch": "main", "credential": "x"}),
        ];
        for (vendor, source) in vendors.into_iter().zip(sources) {
            let mut settings: StackSettings =
                serde_json::from_value(json!({"name": "a", "vendor": vendor, "source": source})).unwrap();
            settings.executor.network = NetworkMode::Allow(vec!["a:1".to_owned()]);
            settings.hooks.after_run = vec!["true".to_owned()];
            assert!(matches!(
                settings.vendor,
                Vendor::Terraform { .. } | Vendor::OpenTofu { .. } | Vendor::Custom { .. } | Vendor::Wasi { .. }
            ));
            covers(&json_of(&stack(2, Vec::new())), &serde_json::to_value(&settings).unwrap(), "stack");
        }
    }

    #[test]
    fn every_verdict_is_described() {
        let schema = json_of(&verdict());
        let verdicts = [
            Verdict::Exited { code: 1 },
            Verdict::Signalled { signal: 9 },
            Verdict::TimedOut { seconds: 1 },
            Verdict::Silent { seconds: 1 },
            Verdict::OutOfFuel { fuel: 1 },
            Verdict::OutOfMemory { limit_bytes: 1 },
            Verdict::ProcessLimit { limit: 1 },
            Verdict::OutputLimit { limit_bytes: 1 },
            Verdict::FileLimit { limit_bytes: 1, what: String::new() },
            Verdict::Trapped { reason: String::new() },
            Verdict::Stopped,
            Verdict::Lost,
            Verdict::Refused { reason: String::new() },
        ];
        for verdict in verdicts {
            let value = serde_json::to_value(&verdict).unwrap();
            covers(&schema, &value, "verdict");
            let kinds = schema.pointer("/properties/kind/enum").unwrap().as_array().unwrap();
            assert!(kinds.contains(&value["kind"]), "{value}");
        }
    }
}
