//! Sample logs.

use airlock::{
    domain::Look,
    http::view::{
        frame::Tab,
        log::{Foot, Hits, Line, LogView, Span},
        status::Badge,
    },
};

use super::{pages_run::PATH, sample::took};

fn span(class: &str, text: &str) -> Span {
    Span { class: class.into(), text: text.into() }
}

fn lines() -> Vec<Line> {
    let text: [(&str, Vec<Span>); 16] = [
        ("0.41s", vec![span("", "aws_db_subnet_group.orders: "), span("m", "Refreshing state… [id=orders]")]),
        ("0.44s", vec![span("", "kubernetes_deployment.web: "), span("m", "Refreshing state… [id=default/web]")]),
        ("0.44s", vec![]),
        ("1.02s", vec![span("st", "kubernetes_deployment.web: Modifying… [id=default/web]")]),
        ("1.02s", vec![span("st", "aws_cloudwatch_metric_alarm.web_latency: Creating…")]),
        ("2.31s", vec![span("g", "aws_cloudwatch_metric_alarm.web_latency: Creation complete after 1s")]),
        ("11.0s", vec![span("", "kubernetes_deployment.web: Still modifying… "), span("m", "[10s elapsed]")]),
        (
            "21.6s",
            vec![
                span("rd st", "Error: "),
                span("st", "Reference to undeclared resource \"aws_vpc.main\" on main.tf line 14"),
            ],
        ),
        ("21.7s", vec![span("", "export API_TOKEN="), span("m", "*****")]),
        ("31.0s", vec![span("y", "Warning: replica 4 not ready after 20s, node pressure on pool-b")]),
        ("44.9s", vec![span("b", "info"), span("", "  rollout 5/6 available")]),
        ("51.0s", vec![span("y u", "both"), span("", " and "), span("m st", "muted, strong")]),
        (
            "1m 02s",
            vec![
                span(
                    "",
                    "a line that is long enough to leave the window on every screen that is not very wide indeed: ",
                ),
                span("", &"0123456789abcdef".repeat(12)),
            ],
        ),
        ("1m 03s", vec![span("g", "kubernetes_deployment.web: Modifications complete after 1m1s")]),
        ("1m 03s", vec![span("u", "underlined"), span("g st", " strong green")]),
        ("1m 12s", vec![span("", "aws_db_instance.orders: Still destroying… "), span("m", "[id=orders, 10s elapsed]")]),
    ];
    text.into_iter()
        .zip(1_188..)
        .map(|((at, spans), n)| Line { n, at: at.into(), spans, error: false, href: None })
        .collect()
}

pub fn log_view() -> LogView {
    let tab = |word: &str, here| Tab::new(word, format!("{PATH}?tab=log&phase={}", word.to_lowercase()), here);
    LogView {
        rev: 1,
        phase: "applying",
        number: None,
        phases: vec![tab("Initializing", false), tab("Planning", false), tab("Applying", true)],
        lines: lines(),
        nothing: None,
        earlier: Some((format!("{PATH}/log?phase=applying&before=1188"), "1\u{202f}187 earlier lines".into())),
        later: None,
        raw: format!("{PATH}/log?phase=applying&format=text"),
        action: format!("{PATH}/log"),
        hits: None,
        error: Some("#L1195".into()),
        foot: Some(Foot {
            badge: Badge::new(Look::Failed, "exit 1"),
            took: Some(took(72_000)),
            bytes: "142 KiB".into(),
            lines: "1\u{202f}203 lines".into(),
            masked: Some("3 secrets masked".into()),
        }),
        live: false,
        full: None,
    }
}

/// As much as a page shows at once.
pub fn long_log() -> LogView {
    let line = |n: u64| Line {
        n,
        at: format!("{}.{:02}s", n / 20, n % 100),
        spans: vec![
            span("st", &format!("module.cell[{}].aws_instance.node: ", n % 37)),
            span("m", &format!("Still creating… [id=i-{:06x}, {}s elapsed]", n * 2_654_435_761 % 0xff_ffff, n / 20)),
        ],
        error: n.is_multiple_of(250),
        href: None,
    };
    LogView { lines: (204..1_204).map(line).collect(), ..log_view() }
}

pub fn searched() -> LogView {
    let mut log = log_view();
    log.lines.retain(|line| line.n % 5 == 0);
    for line in &mut log.lines {
        line.href = Some(format!("{PATH}/log?phase=applying&line={}#L{}", line.n, line.n));
        line.spans.push(span("h", "web"));
    }
    log.earlier = None;
    log.error = None;
    log.hits = Some(Hits {
        query: "web".into(),
        count: "3 of 1\u{202f}203 lines".into(),
        clear: format!("{PATH}/log?phase=applying"),
    });
    log
}
