//! `/metrics`, in OpenMetrics: for whoever shows the token of the configuration; without one, for this
//! machine alone.

use std::{
    fmt::Write as _,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Problem, Web, extract, shield::From};
use crate::{
    domain::{Refused, RefusedKind},
    queries::Figures,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How often the server has answered, by the first digit of the status.
#[derive(Debug, Default)]
pub struct Answered([AtomicU64; 5]);

impl Answered {
    pub fn count(&self, status: StatusCode) {
        if let Some(class) = self.0.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub async fn metrics(
    State(web): State<Web>,
    Extension(from): Extension<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check(&web, from.0, &headers)?;
    let figures = web.queries.figures()?;
    let text = text(&figures, web.actions.live_chains()?.len(), &web.answered);
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

fn check(web: &Web, from: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Refused> {
    if web.config.metrics_token.is_none() {
        // Whoever comes through a proxy on this machine is somebody else.
        let is_near = from.is_some_and(|from| from.to_canonical().is_loopback());
        return match is_near && !headers.contains_key("x-forwarded-for") {
            true => Ok(()),
            false => Err(Refused::forbidden("without a `metrics_token` in the configuration, only this machine may")),
        };
    }
    let shown = extract::bearer(headers);
    if shown.is_some_and(|shown| web.config.opens_metrics(shown)) {
        return Ok(());
    }
    web.actions.count_stranger(from, "request");
    Err(Refused::new(RefusedKind::Unauthenticated, "show the `metrics_token`: `Authorization: Bearer …`"))
}

fn text(figures: &Figures, chains: usize, answered: &Answered) -> String {
    let mut text = String::new();
    family(&mut text, "airlock_build", "info", "This release.");
    let _ = writeln!(text, "airlock_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    family(&mut text, "airlock_runs", "gauge", "Active runs by state.");
    for (state, runs) in &figures.runs {
        let _ = writeln!(text, "airlock_runs{{state=\"{state}\"}} {runs}");
    }
    gauge(&mut text, "airlock_slots", "Runs that may work at once.", figures.slots as u64);
    gauge(&mut text, "airlock_slots_used", "Runs that hold a slot.", figures.slots_used);
    gauge(&mut text, "airlock_queued", "Runs that only lack a slot.", figures.queued);
    gauge(&mut text, "airlock_phases_living", "Runners that carry out phases.", chains as u64);
    gauge(&mut text, "airlock_store_bytes", "Size of the store.", figures.store_bytes);
    gauge(&mut text, "airlock_disk_free_bytes", "Room on the disk of the data.", figures.disk_free_bytes);
    family(&mut text, "airlock_http_requests", "counter", "Answers by the first digit of their status.");
    for (class, count) in (1..).zip(&answered.0) {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "airlock_http_requests_total{{class=\"{class}xx\"}} {count}");
    }
    text.push_str("# EOF\n");
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if name.ends_with("_bytes") {
        let _ = writeln!(text, "# UNIT {name} bytes");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    family(text, name, "gauge", help);
    let _ = writeln!(text, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_number_has_its_type_and_the_text_its_end() {
        let figures = Figures {
            runs: BTreeMap::from([("planning", 2)]),
            slots: 4,
            slots_used: 2,
            queued: 1,
            store_bytes: 4_096,
            disk_free_bytes: 1 << 40,
        };
        let answered = Answered::default();
        answered.count(StatusCode::NO_CONTENT);
        answered.count(StatusCode::IM_A_TEAPOT);
        let text = text(&figures, 2, &answered);
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "airlock_runs{state=\"planning\"} 2",
            "airlock_slots 4",
            "airlock_phases_living 2",
            "# UNIT airlock_store_bytes bytes",
            "airlock_store_bytes 4096",
            "airlock_http_requests_total{class=\"2xx\"} 1",
            "airlock_http_requests_total{class=\"4xx\"} 1",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
        for line in lines.iter().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap().trim_end_matches("_total").trim_end_matches("_info");
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
