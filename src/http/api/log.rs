//! What a run printed.

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Answer;
use crate::{
    auth::Permission,
    domain::{Phase, Refused, RunId, Timestamp, limits},
    http::{
        Problem, Web,
        extract::{Asker, At, Params},
    },
    queries::{LogText, TextLine, Which},
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(log))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// Only this phase, as often as the run went through it.
    phase: Option<String>,
    /// Only the phase of this number, from 1: tells a phase from its repetition after a replan.
    number: Option<u32>,
    /// Bytes to leave out at the beginning.
    #[serde(default)]
    offset: u64,
    /// `text`: exactly what was printed, with the lines that begin with `[airlock]` between, which Airlock
    /// itself wrote; `jsonl`: `{"at","phase","stream","text"}` a line, where those are of stream `airlock`.
    format: Option<String>,
}

/// The log: phase by phase, in order, as far as it is printed. `Range` is honoured for text.
#[utoipa::path(get, path = "/runs/{run}/log", params(LogParams), responses((status = 200, content((String = "text/plain"), (String = "application/jsonl"))), (status = 206, description = "The range that was asked for", body = String, content_type = "text/plain"), (status = 416, description = "The range begins beyond the end")))]
async fn log(
    asker: Asker,
    At(run): At<RunId>,
    Params(params): Params<LogParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (run, _) = asker.may_on_run(Permission::See, run).await?;
    let which = match (params.number, params.phase.as_deref()) {
        (Some(number), _) => Which::Numbered(number),
        (None, Some(word)) => Which::Named(phase(word)?),
        (None, None) => Which::All,
    };
    let text = asker.web.queries.log_text(&asker.who, run.id, which)?;
    match params.format.as_deref() {
        None | Some("text") => Ok(as_text(text, params.offset, &headers)),
        Some("jsonl") => Ok(as_lines(text, params.offset)),
        Some(_) => Err(Refused::field("format", "must be text or jsonl").into()),
    }
}

fn phase(word: &str) -> Result<Phase, Refused> {
    let words = || Phase::ALL.map(Phase::word).join(", ");
    Phase::from_word(word).ok_or_else(|| Refused::field("phase", format!("must be one of {}", words())))
}

fn as_text(text: LogText, offset: u64, headers: &HeaderMap) -> Response {
    let skipped = offset.min(text.len());
    let len = text.len() - skipped;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, from, to) = match Range::read(range, len) {
        Range::All => (StatusCode::OK, 0, len),
        Range::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Range::Beyond => {
            let problem = Problem::of_status(StatusCode::RANGE_NOT_SATISFIABLE, format!("the log has {len} bytes"));
            return with(problem.into_response(), header::CONTENT_RANGE, &format!("bytes */{len}"));
        }
    };
    let body = Body::from_stream(blocks(Arc::new(text), skipped + from, skipped + to));
    let mut response = (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response();
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    match status {
        StatusCode::PARTIAL_CONTENT => with(response, header::CONTENT_RANGE, &format!("bytes {from}-{}/{len}", to - 1)),
        _ => response,
    }
}

fn with(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    response.headers_mut().extend(HeaderValue::from_str(value).map(|value| (name, value)));
    response
}

/// What a `Range` header asks for (RFC 9110, 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// None, one that is not understood, or several, which may be answered with everything.
    All,
    /// `from..to`, not empty.
    Part { from: u64, to: u64 },
    /// It begins beyond the end.
    Beyond,
}

impl Range {
    fn read(header: Option<&str>, len: u64) -> Self {
        let Some((first, last)) = header.and_then(|header| header.strip_prefix("bytes=")?.trim().split_once('-'))
        else {
            return Self::All;
        };
        let (from, to) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(from), Ok(last)) if last >= from => (from, len.min(last.saturating_add(1))),
            (Ok(from), Err(_)) if last.is_empty() => (from, len),
            (Err(_), Ok(count)) if first.is_empty() => (if count == 0 { len } else { len.saturating_sub(count) }, len),
            _ => return Self::All,
        };
        if from >= len { Self::Beyond } else { Self::Part { from, to } }
    }
}

/// The bytes of `from..to`, a block at a time: a log is never whole in memory.
fn blocks(text: Arc<LogText>, from: u64, to: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(from, move |at| {
        let text = Arc::clone(&text);
        async move {
            let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(limits::LOG_BLOCK_BYTES);
            if most == 0 {
                return Ok(None);
            }
            let read = aside(move || text.read(at, most).map_err(io::Error::other)).await?;
            if read.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = at + read.len() as u64;
            Ok(Some((Bytes::from(read), next)))
        }
    })
}

fn as_lines(text: LogText, offset: u64) -> Response {
    let blocks = stream::try_unfold(text.lines(offset), |mut lines| async move {
        aside(move || {
            let Some(read) = lines.next_lines().map_err(io::Error::other)? else { return Ok(None) };
            let mut block = Vec::new();
            read.iter().try_for_each(|line| write_line(&mut block, line))?;
            Ok(Some((Bytes::from(block), lines)))
        })
        .await
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(blocks)).into_response()
}

/// A line of the log as a line of JSON.
#[derive(Serialize)]
struct LineShape<'l> {
    at: Timestamp,
    phase: Phase,
    stream: &'static str,
    text: &'l str,
}

fn write_line(out: &mut Vec<u8>, line: &TextLine) -> io::Result<()> {
    let shape = LineShape { at: line.at, phase: line.phase, stream: line.stream, text: &line.text };
    serde_json::to_writer(&mut *out, &shape)?;
    out.push(b'\n');
    Ok(())
}

/// Reads files away from the async threads.
async fn aside<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |from, to| Range::Part { from, to };
        let cases = [
            (None, 10, Range::All),
            (Some("bytes=0-3"), 10, part(0, 4)),
            (Some("bytes=3-"), 10, part(3, 10)),
            (Some("bytes=3-99"), 10, part(3, 10)),
            (Some("bytes=-4"), 10, part(6, 10)),
            (Some("bytes=-99"), 10, part(0, 10)),
            (Some("bytes=10-"), 10, Range::Beyond),
            (Some("bytes=-0"), 10, Range::Beyond),
            (Some("bytes=0-0"), 0, Range::Beyond),
            (Some("bytes=0-18446744073709551615"), 10, part(0, 10)),
            (Some("bytes=5-2"), 10, Range::All),
            (Some("bytes=0-1,3-4"), 10, Range::All),
            (Some("lines=0-1"), 10, Range::All),
            (Some("bytes=x"), 10, Range::All),
        ];
        for (header, len, expected) in cases {
            assert_eq!(Range::read(header, len), expected, "{header:?} of {len}");
        }
    }
}
