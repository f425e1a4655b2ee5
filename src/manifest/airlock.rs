//! Reads the `airlock:` block of a task: caps and grants.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::domain::{
    EnvName,
    limits::{self, GIB, KIB, MIB},
    size::{SizeError, parse_size, unit_near},
};

use super::{
    declared::{
        Airlock, AllowedHost, BoundHeader, ClockGrant, Files, RandomGrant, RunTaskEntry, Stdin, TaskType,
        WorkspaceGrant,
    },
    error::quoted,
    reader::{Keys, Place, Reader, Schema},
    yaml::Value,
};

const AIRLOCK: Schema = Schema {
    of: "`airlock`",
    known: &[
        "fuel",
        "memory",
        "output",
        "files",
        "network",
        "headers",
        "workspace",
        "env",
        "stdin",
        "clock",
        "random",
        "artifacts",
        "processes",
        "cpu",
        "run_task",
    ],
    noted: &[],
    refused: &[("timeout", "it is `run.timeout`, for every type of task")],
};
const FILES: Schema = Schema { of: "`files`", known: &["count", "bytes"], noted: &[], refused: &[] };
const SECRET: Schema = Schema { of: "a bound header", known: &["secret"], noted: &[], refused: &[] };
const STDIN: Schema = Schema { of: "`stdin`", known: &["text", "file"], noted: &[], refused: &[] };
const RUN_TASK: Schema = Schema { of: "`run_task`", known: &["hmac_secret"], noted: &[], refused: &[] };

const FUEL: RangeInclusive<u64> = 1..=1_000_000_000_000_000;
const GUEST_MEMORY: RangeInclusive<u64> = MIB..=64 * GIB;
const NATIVE_MEMORY: RangeInclusive<u64> = 16 * MIB..=1_024 * GIB;
const OUTPUT: RangeInclusive<u64> = KIB..=16 * GIB;
const PROCESSES: RangeInclusive<u64> = 8..=65_536;

/// What can be promised differs: a guest is held to everything, a native task to what a jail holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Guest,
    Native,
}

/// The block with its defaults. Mistakes are recorded; a type that was not understood counts as a
/// guest, so that nothing is refused for its sake.
pub(super) fn airlock(reader: &mut Reader, place: Option<&Place>, kind: Option<&TaskType>) -> Airlock {
    let holds = if kind.is_none_or(TaskType::is_guest) { Holds::Guest } else { Holds::Native };
    let mut airlock = defaults(holds);
    let Some(keys) = place.and_then(|place| reader.keys(place, &AIRLOCK)) else { return airlock };
    if holds == Holds::Native {
        refuse_guests_only(reader, &keys);
    }
    caps(reader, &keys, holds, &mut airlock);
    grants(reader, &keys, &mut airlock);
    airlock
}

fn defaults(holds: Holds) -> Airlock {
    let guest = holds == Holds::Guest;
    Airlock {
        fuel: None,
        memory_bytes: None,
        output_bytes: None,
        files: Files::default(),
        network: Vec::new(),
        headers: Vec::new(),
        workspace: if guest { WorkspaceGrant::Read } else { WorkspaceGrant::Write },
        env: BTreeSet::new(),
        stdin: None,
        clock: if guest { ClockGrant::Frozen } else { ClockGrant::Real },
        random: if guest { RandomGrant::Seeded } else { RandomGrant::Real },
        artifacts: true,
        processes: None,
        cpu_percent: None,
        run_task: None,
    }
}

/// A cap that a jail cannot hold must not look as if it did.
fn refuse_guests_only(reader: &mut Reader, keys: &Keys) {
    const WHY: &str =
        "only WASI guests can be held to it; a native task is bounded by memory, cpu, processes and output";
    for key in ["fuel", "files", "headers", "env"] {
        if let Some(place) = keys.get(key) {
            reader.wrong_key(place, format!("`{key}` does not hold for this type of task"), WHY);
        }
    }
    let says = |place: &Place, text: &str| matches!(&place.node.value, Value::Scalar(scalar) if scalar.text == text);
    if let Some(place) = keys.get("artifacts").filter(|place| says(place, "true")) {
        reader.note(place, "has no effect: only WASI guests leave artifacts");
    }
    for (key, as_it_is) in [("workspace", "write"), ("clock", "real"), ("random", "real")] {
        let Some(place) = keys.get(key) else { continue };
        if !says(place, as_it_is) {
            let what = format!("`{key}` is always `{as_it_is}` for this type of task");
            reader.wrong(place, what, "only WASI guests can be held to something else");
        }
    }
}

fn caps(reader: &mut Reader, keys: &Keys, holds: Holds, airlock: &mut Airlock) {
    let memory = if holds == Holds::Guest { GUEST_MEMORY } else { NATIVE_MEMORY };
    airlock.fuel = keys.get("fuel").and_then(|place| reader.whole(place, FUEL, "units of fuel"));
    airlock.memory_bytes = keys.get("memory").and_then(|place| size(reader, place, memory));
    airlock.output_bytes = keys.get("output").and_then(|place| size(reader, place, OUTPUT));
    airlock.files = keys.get("files").and_then(|place| files(reader, place)).unwrap_or_default();
    airlock.cpu_percent = keys.get("cpu").and_then(|place| cores(reader, place));
    if let Some(place) = keys.get("processes") {
        if holds == Holds::Guest {
            reader.note(place, "has no effect: a guest is one process and cannot start another");
        }
        airlock.processes = reader.whole(place, PROCESSES, "processes").map(|number| number as u32);
    }
}

fn grants(reader: &mut Reader, keys: &Keys, airlock: &mut Airlock) {
    const WORKSPACE: &[(&str, WorkspaceGrant)] =
        &[("none", WorkspaceGrant::None), ("read", WorkspaceGrant::Read), ("write", WorkspaceGrant::Write)];
    const CLOCK: &[(&str, ClockGrant)] = &[("real", ClockGrant::Real), ("frozen", ClockGrant::Frozen)];
    const RANDOM: &[(&str, RandomGrant)] = &[("real", RandomGrant::Real), ("seeded", RandomGrant::Seeded)];
    if let Some(place) = keys.get("network") {
        airlock.network = hosts(reader, place).unwrap_or_default();
    }
    if let Some(place) = keys.get("headers") {
        airlock.headers = headers(reader, place, &airlock.network).unwrap_or_default();
    }
    if let Some(grant) = keys.get("workspace").and_then(|place| reader.choice(place, WORKSPACE)) {
        airlock.workspace = grant;
    }
    if let Some(grant) = keys.get("clock").and_then(|place| reader.choice(place, CLOCK)) {
        airlock.clock = grant;
    }
    if let Some(grant) = keys.get("random").and_then(|place| reader.choice(place, RANDOM)) {
        airlock.random = grant;
    }
    if let Some(kept) = keys.get("artifacts").and_then(|place| reader.boolean(place)) {
        airlock.artifacts = kept;
    }
    airlock.env = keys.get("env").and_then(|place| names(reader, place)).unwrap_or_default();
    airlock.stdin = keys.get("stdin").and_then(|place| stdin(reader, place));
    airlock.run_task = keys.get("run_task").and_then(|place| run_task(reader, place));
}

// ── Caps ────────────────────────────────────────────────────────────────────────────────────
fn size(reader: &mut Reader, place: &Place, range: RangeInclusive<u64>) -> Option<u64> {
    let text = reader.text(place, limits::MANIFEST_KEY_BYTES)?;
    let written = quoted(text);
    let (least, most) = range.into_inner();
    let why = format!("{} to {} are allowed", people(least), people(most));
    match parse_size(text) {
        Ok(bytes) if (least..=most).contains(&bytes) => return Some(bytes),
        Ok(bytes) if bytes < least => reader.wrong(place, format!("{written} is too small"), &why),
        Ok(_) => reader.wrong(place, format!("{written} is too large"), &why),
        Err(SizeError::Unit(unit)) => {
            let error = SizeError::Unit(unit.clone()).to_string();
            let what = format!("{written} is not a size");
            match unit_near(&unit) {
                Some(near) => reader.wrong_but(place, what, &error, format!("did you mean `{near}`?")),
                None => reader.wrong(place, what, &error),
            }
        }
        Err(error) => reader.wrong(place, format!("{written} is not a size"), &error.to_string()),
    }
    None
}

/// A size in the largest unit that loses nothing.
fn people(bytes: u64) -> String {
    [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

fn files(reader: &mut Reader, place: &Place) -> Option<Files> {
    let keys = reader.keys(place, &FILES)?;
    Some(Files {
        count: keys.get("count").and_then(|place| reader.whole(place, 0..=limits::WORKSPACE_ENTRIES, "files")),
        bytes: keys.get("bytes").and_then(|place| size(reader, place, 0..=limits::JAIL_FILE_BYTES)),
    })
}

/// `0.5`, `2`: cores, to the hundredth.
fn cores(reader: &mut Reader, place: &Place) -> Option<u32> {
    const MOST: f64 = 512.0;
    let text = reader.text(place, limits::MANIFEST_KEY_BYTES)?;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.starts_with(|c: char| c.is_ascii_digit());
    let cores = text.parse::<f64>().ok().filter(|cores| plain && (0.01..=MOST).contains(cores));
    if cores.is_none() {
        let why = "a number of cores from 0.01 to 512 is expected, such as 0.5";
        reader.wrong(place, format!("{} is not a number of cores", quoted(text)), why);
    }
    cores.map(|cores| (cores * 100.0).round() as u32)
}

// ── Grants ──────────────────────────────────────────────────────────────────────────────────
fn hosts(reader: &mut Reader, place: &Place) -> Option<Vec<AllowedHost>> {
    let items = reader.items(place, limits::LINKS_PER_TASK)?;
    let mut hosts: Vec<AllowedHost> = items.iter().filter_map(|item| reader.name(item, "a host")).collect();
    hosts.sort();
    hosts.dedup();
    Some(hosts)
}

fn headers(reader: &mut Reader, place: &Place, network: &[AllowedHost]) -> Option<Vec<BoundHeader>> {
    let mut found = Vec::new();
    for entry in reader.entries(place, "a map of headers by host")? {
        let Some(host) = reader.key_name::<AllowedHost>(&entry, "a host") else { continue };
        if host.host.starts_with('*') {
            reader.wrong_key(&entry, "a header is bound to a wildcard", "a secret goes to one named host");
        } else if !network.iter().any(|allowed| allowed.covers(&host)) {
            let what = format!("{} is not in `network`", quoted(&entry.key));
            reader.wrong_key(&entry, what, "a header is added to requests that may be made");
        } else if let Some(headers) = headers_of(reader, &entry, &host) {
            found.extend(headers);
        }
    }
    reader.at_most(place, found.len(), limits::LINKS_PER_TASK)?;
    Some(found)
}

fn headers_of(reader: &mut Reader, place: &Place, host: &AllowedHost) -> Option<Vec<BoundHeader>> {
    let entries = reader.entries(place, "a map of headers by name")?;
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for entry in &entries {
        let problem = header_problem(&entry.key)
            .or_else(|| (!seen.insert(entry.key.to_ascii_lowercase())).then_some("it is bound here twice"));
        if let Some(why) = problem {
            reader.wrong_key(entry, format!("the header {} cannot be bound", quoted(&entry.key)), why);
        } else if let Some(secret) = secret(reader, entry) {
            found.push(BoundHeader { host: host.clone(), header: entry.key.to_string(), secret });
        }
    }
    Some(found)
}

/// Why a header cannot be set by the runner: not a token (RFC 9110, 5.6.2), or it frames the message.
fn header_problem(name: &str) -> Option<&'static str> {
    const FRAMING: &[&str] = &[
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Some("the name of a header is 1 to 128 letters, digits and some marks, without blanks");
    }
    FRAMING.contains(&name.to_ascii_lowercase().as_str()).then_some("it belongs to the connection, not to the request")
}

fn secret(reader: &mut Reader, place: &Place) -> Option<EnvName> {
    if matches!(&place.node.value, Value::Scalar(scalar) if !scalar.is_null()) {
        let why = "a header's value is the name of a sensitive variable, never the secret itself";
        reader.wrong_but(place, "a value stands here", why, "write `{secret: NAME}`");
        return None;
    }
    let keys = reader.keys(place, &SECRET)?;
    let place = keys.required(reader, "secret", "it names the sensitive variable that holds the header's value")?;
    reader.env_name(place)
}

fn names(reader: &mut Reader, place: &Place) -> Option<BTreeSet<EnvName>> {
    let items = reader.items(place, limits::LINKS_PER_TASK)?;
    Some(items.iter().filter_map(|item| reader.env_name(item)).collect())
}

fn stdin(reader: &mut Reader, place: &Place) -> Option<Stdin> {
    if matches!(place.node.value, Value::Scalar(_)) {
        return reader.text(place, limits::STDIN_BYTES).map(|text| Stdin::Text(text.to_owned()));
    }
    let keys = reader.keys(place, &STDIN)?;
    match (keys.get("text"), keys.get("file")) {
        (Some(text), None) => reader.text(text, limits::STDIN_BYTES).map(|text| Stdin::Text(text.to_owned())),
        (None, Some(file)) => {
            let path = reader.path(file)?;
            if path.as_str().is_empty() {
                reader.wrong(file, "the source's root stands here", "the path of a file is expected");
                return None;
            }
            Some(Stdin::File(path))
        }
        (Some(_), Some(_)) | (None, None) => {
            reader.wrong(place, "standard input has not one source", "either `text` or `file` is expected");
            None
        }
    }
}

fn run_task(reader: &mut Reader, place: &Place) -> Option<RunTaskEntry> {
    let keys = reader.keys(place, &RUN_TASK)?;
    let why = "calls are accepted only when their signature can be verified";
    let place = keys.required(reader, "hmac_secret", why)?;
    reader.env_name(place).map(|hmac_secret| RunTaskEntry { hmac_secret })
}
