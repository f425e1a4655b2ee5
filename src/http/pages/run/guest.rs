//! What a run's guests may do, did and left.

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};

use super::{declared, id_of};
use crate::{
    domain::{
        Digest, Role,
        guest::{GuestCall, Input, Receipt},
        verdict::bytes,
    },
    http::{
        Problem, Web, api,
        pages::{
            sent::sentence,
            visitor::{Answer, Visitor},
        },
        view::{
            guest::{
                ArtifactLink, Given, GuestPart, GuestView, PatchView, files, patch_lines, patch_sentence, refusal, used,
            },
            words,
        },
    },
    queries::{Left, Run, RunDetail, RunGuests},
};

/// The tab's name, where there is anything to be said: what a guest may do, did and left, or what a
/// declared task may do.
pub fn tab(detail: &RunDetail) -> Option<&'static str> {
    match &detail.declared {
        Some(task) if !task.kind.is_guest() => Some("Grants"),
        Some(_) => Some("Guest"),
        None => (detail.run.guest.is_some() || !detail.left.is_empty()).then_some("Guest"),
    }
}

/// Whether somebody who may write can make a run of what the guest changed.
pub fn may_propose(detail: &RunDetail, role: Role) -> bool {
    let patch = detail.left.iter().rev().filter(|left| !left.expired).find_map(|left| left.patch);
    role >= Role::Writer && detail.run.state.is_terminal() && patch.is_some_and(|patch| patch.objection().is_none())
}

/// What the row of a guest's arguments is called.
const ARGUMENTS: &str = "Arguments";

/// The tab's content.
pub fn view(web: &Web, detail: &RunDetail, rev: u64) -> Result<GuestView, Problem> {
    let run = &detail.run;
    let guests = web.queries.guests_of(run)?;
    let of_guests = detail.left.iter().filter(|left| left.receipt.is_some());
    let mut parts: Vec<GuestPart> = of_guests.map(|left| part(left, &guests)).collect();
    if parts.is_empty() {
        parts.extend(guests.task.as_ref().map(|task| waiting(&task.call, &guests)));
        parts.extend(detail.declared.as_ref().map(|task| to_come(declared::may(task), None, None)));
    }
    let artifacts = web.queries.artifacts(run)?.into_iter().map(|row| ArtifactLink {
        href: format!("/runs/{}/artifacts/{}", run.id, encoded(&row.artifact.path)),
        path: row.artifact.path,
        size: bytes(row.artifact.bytes),
        digest: row.artifact.digest.short(),
    });
    Ok(GuestView {
        rev,
        parts,
        artifacts: artifacts.collect(),
        expired: detail.left.iter().any(|left| left.expired),
        patch: patch(web, run)?,
    })
}

fn encoded(path: &str) -> String {
    let part = |part| percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string();
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A guest that has ended.
fn part(left: &Left, guests: &RunGuests) -> GuestPart {
    let receipt = left.receipt.as_ref();
    let call = guests.task.as_ref().map(|task| &task.call);
    let mut may: Vec<Given> = call.map(asked).unwrap_or_default();
    let given = receipt.map(granted).unwrap_or_default().into_iter();
    // A task's own line says its arguments.
    may.extend(given.filter(|given| call.is_none() || given.name != ARGUMENTS));
    may.extend(receipt.map(files));
    let named = receipt.and_then(|it| guests.pinned.iter().find(|pinned| pinned.digest == it.guest_digest));
    GuestPart {
        phase: super::phases::title(left.phase),
        name: call.map(|call| call.guest.to_string()).or_else(|| named.map(|pinned| pinned.name.to_string())),
        digest: receipt.map(|receipt| (receipt.guest_digest.short(), receipt.guest_digest.to_string())),
        may,
        verdict: receipt.map(|receipt| receipt.verdict.to_string()),
        good: receipt.is_some_and(|receipt| receipt.verdict.is_success()),
        used: receipt.map(used).unwrap_or_default(),
        refusals: receipt.map(|receipt| receipt.denials.iter().map(refusal).collect()).unwrap_or_default(),
        refusals_dropped: receipt.map_or(0, |receipt| receipt.denials_dropped),
    }
}

/// A guest that has not begun, as it was asked for.
fn waiting(call: &GuestCall, guests: &RunGuests) -> GuestPart {
    let digest = guests.pinned.iter().find(|pinned| pinned.name == call.guest).map(|pinned| &pinned.digest);
    let mut may = asked(call);
    may.push(Given::code("Workspace", "/workspace").noted(if call.may.workspace.is_none() {
        "read"
    } else {
        "as asked"
    }));
    may.extend(call.may.network.iter().map(|host| Given::code("Host", host)));
    may.extend(call.may.env.iter().map(|name| Given::code("Variable", name.as_str())));
    to_come(may, digest, Some(call.guest.to_string()))
}

/// What is known before it has ended, or where nothing is left of it.
fn to_come(may: Vec<Given>, digest: Option<&Digest>, name: Option<String>) -> GuestPart {
    GuestPart {
        phase: "Performing",
        name,
        digest: digest.map(|digest| (digest.short(), digest.to_string())),
        may,
        verdict: None,
        good: false,
        used: Vec::new(),
        refusals: Vec::new(),
        refusals_dropped: 0,
    }
}

fn asked(call: &GuestCall) -> Vec<Given> {
    vec![Given::code("Runs", call.line())]
}

/// Grants, as the receipt lists what went in; what every guest is told about its run is one line.
fn granted(receipt: &Receipt) -> Vec<Given> {
    const KINDS: [(&str, &str); 7] = [
        ("stdin", "Standard input"),
        ("directory", "Directory"),
        ("host", "Host"),
        ("header", "Header with a secret"),
        ("variable", "Variable"),
        ("clock", "Clock"),
        ("random", "Randomness"),
    ];
    let (told, given): (Vec<&Input>, Vec<&Input>) = receipt.inputs.iter().partition(|input| is_told(input));
    let arguments = given.iter().filter(|input| input.kind == "argument").map(|input| input.detail.as_str());
    let arguments: Vec<&str> = arguments.collect();
    let mut rows = Vec::new();
    if !arguments.is_empty() {
        rows.push(Given::code(ARGUMENTS, arguments.join(" ")));
    }
    for (kind, word) in KINDS {
        rows.extend(given.iter().filter(|input| input.kind == kind).map(|input| shown(word, input, receipt)));
    }
    if !told.is_empty() {
        let count = words::count(told.len() as u64, "variable");
        rows.push(Given::code("About the run", "AIRLOCK_… PLATFORM_…").noted(count));
    }
    rows
}

/// A variable that is nobody's: each guest gets it.
fn is_told(input: &Input) -> bool {
    input.kind == "variable" && (input.name.starts_with("AIRLOCK") || input.name.starts_with("PLATFORM_"))
}

fn shown(word: &str, input: &Input, receipt: &Receipt) -> Given {
    // The secret's name is said, and that is all that anybody sees of it.
    if input.kind == "header" {
        return Given::code(word, &input.detail).noted(format!("to {}, never shown to it", input.name));
    }
    let note = match (input.kind.as_str(), input.detail.as_str()) {
        ("stdin", digest) => digest.chars().take(15).collect(),
        ("directory", "write") => "read, write".to_owned(),
        ("host", detail) => traffic(&input.name, detail, receipt),
        (_, detail) => detail.to_owned(),
    };
    Given::code(word, &input.name).noted(note)
}

/// `3 requests, 1 KiB out, 2 KiB in`
fn traffic(host: &str, detail: &str, receipt: &Receipt) -> String {
    match receipt.hosts.iter().find(|used| used.host == host) {
        Some(used) => {
            let (sent, received) = (bytes(used.bytes_sent), bytes(used.bytes_received));
            format!("{}, {sent} out, {received} in", words::count(used.requests, "request"))
        }
        None if detail == "http" => "not asked".to_owned(),
        None => detail.to_owned(),
    }
}

fn patch(web: &Web, run: &Run) -> Result<Option<PatchView>, Problem> {
    let Some((left, text)) = web.queries.patch(run)? else { return Ok(None) };
    let summary = left.patch.unwrap_or_default();
    let (lines, hidden) = patch_lines(&text);
    let no_propose = summary.objection().map(|objection| format!("{}.", sentence(&objection)));
    Ok(Some(PatchView {
        sentence: format!("{}.", patch_sentence(summary)),
        lines,
        hidden,
        href: format!("/runs/{}/patch", run.id),
        no_propose,
        expired: left.expired,
    }))
}

/// `/runs/{id}/artifacts/{path}`: a download, whatever it is.
pub async fn get_artifact(
    State(web): State<Web>,
    visitor: Visitor,
    Path((id, path)): Path<(String, String)>,
) -> Answer {
    let (row, file) = web.queries.artifact(&visitor.who, id_of(&id)?, &path)?;
    Ok(api::download(&row.artifact, file))
}

/// `/runs/{id}/patch`: all of it, as text.
pub async fn get_patch(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let run = web.queries.run(&visitor.who, id_of(&id)?)?;
    let Some((_, text)) = web.queries.patch(&run)? else {
        return Err(Problem::not_found("the run left no patch"));
    };
    let name = format!("attachment; filename=\"run-{}.patch\"", run.number);
    let headers = [(header::CONTENT_TYPE, "text/x-diff; charset=utf-8"), (header::CONTENT_DISPOSITION, &name)];
    Ok(Response::from((headers, text).into_response()))
}
