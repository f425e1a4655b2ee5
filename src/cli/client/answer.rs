//! What a refusal or a lost connection means: an exit code, the reason, the next step.

use reqwest::{Response, StatusCode, header};
use serde_json::Value;

use crate::cli::{Outcome, failure::Failure};

/// Bytes of a refusal.
const REFUSAL_BYTES: usize = 256 * 1_024;

/// No answer came.
pub(super) fn lost(base: &str, error: &reqwest::Error) -> Failure {
    let reason = root_of(error);
    let failure = Failure::new(Outcome::NoConnection, format_args!("{base}: no connection: {reason}"));
    let lower = reason.to_lowercase();
    if lower.contains("certificate") {
        return failure.next("trust the server's certificate with `--ca-cert FILE`");
    }
    if ["tls", "corrupt message", "http version"].iter().any(|sign| lower.contains(sign)) {
        return failure.next("does the server speak TLS? Try the other of http:// and https://");
    }
    if error.is_timeout() {
        return failure.next("the server is there but slow, or something in between is; try again");
    }
    failure.next("is the server running there? `airlock serve` starts one")
}

/// The innermost reason: the outer ones only say that sending failed.
fn root_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

/// Somebody answered, but not an Airlock.
pub(super) fn stranger(base: &str) -> Failure {
    Failure::new(Outcome::NoConnection, format_args!("{base}: the answer is not one of an Airlock server"))
        .next("is the address right?")
}

/// The server said no.
pub(super) async fn refused(base: &str, response: Response) -> Failure {
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        return Failure::new(Outcome::NoConnection, format_args!("{base}: leads on to {to}"))
            .next("use that address: tokens are not sent where they were not meant to go");
    }
    match problem(response).await {
        Some(problem) => explained(status, &problem),
        None if status.is_server_error() => {
            Failure::failed(format_args!("{base}: the answer was {status}")).next("the server's log says more")
        }
        None => stranger(base),
    }
}

/// The problem (RFC 9457) of an answer.
async fn problem(mut response: Response) -> Option<Value> {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > REFUSAL_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&bytes).ok().filter(|problem: &Value| problem["status"].is_number())
}

fn explained(status: StatusCode, problem: &Value) -> Failure {
    let text = |name: &str| problem[name].as_str().unwrap_or_default();
    let detail = if text("detail").is_empty() { text("title") } else { text("detail") };
    let failure = Failure::new(outcome(status), detail);
    match (status.as_u16(), text("type")) {
        (401, "reauthenticate") => failure.next("sign in once more: `airlock login URL`; API keys need not"),
        (401, _) => failure.next("sign in: `airlock login URL`; or set AIRLOCK_TOKEN to an API key that is valid"),
        (409, _) if !text("state").is_empty() => {
            failure.next(format_args!("its state is {}; `airlock run show RUN` says more", text("state")))
        }
        (500.., _) => failure.next(format_args!("the server's log says more under {}", text("request_id"))),
        _ => failure,
    }
}

fn outcome(status: StatusCode) -> Outcome {
    match status.as_u16() {
        404 => Outcome::NotFound,
        500.. => Outcome::Failed,
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_has_its_exit_code() {
        let code = |status: u16| outcome(StatusCode::from_u16(status).unwrap());
        for refused in [400, 401, 403, 409, 413, 422, 429] {
            assert_eq!(code(refused), Outcome::Refused);
        }
        assert_eq!(code(404), Outcome::NotFound);
        assert_eq!(code(503), Outcome::Failed);
    }

    #[test]
    fn a_refusal_names_the_reason_and_the_next_step_and_cannot_steer_the_terminal() {
        let problem =
            json!({"status": 409, "title": "t", "detail": "run #3 is\u{1b}[2J finished", "state": "finished"});
        let lines = explained(StatusCode::CONFLICT, &problem).lines().unwrap();
        assert_eq!(lines, "run #3 is finished\n  its state is finished; `airlock run show RUN` says more");
    }
}
