//! Webhooks: the list, and one with what was delivered.

use airlock::{
    domain::Look,
    http::view::{
        WebhookPage, WebhooksPage,
        admin::admin_tabs,
        form::Fields as _,
        frame::{Crumb, Pager, Place, Theme},
        status::Badge,
        webhook::{AttemptRow, DeliveryRow, WebhookForm, WebhookRow},
    },
};

use super::{Page, page, sample::*};

pub fn all(theme: Theme) -> Vec<Page> {
    let none = WebhooksPage { webhooks: vec![], form: WebhookForm::new(), problems: vec![], ..list(theme) };
    let mut off = one(theme);
    off.badge = Badge::new(Look::Failed, "Switched off");
    off.why = Some("10 deliveries in a row failed; the last one: HTTP 503".into());
    (off.failing, off.enabled) = (None, false);
    off.form.keep(&[("form".into(), "slack".into())]);
    vec![
        page("webhooks", &list(theme)),
        page("webhooks-none", &none),
        page("webhook", &one(theme)),
        page("webhook-off", &off),
        page("webhook-fresh", &WebhookPage { deliveries: vec![], ..one(theme) }),
    ]
}

fn list(theme: Theme) -> WebhooksPage {
    let webhook = |id: &str, name: &str, badge, form| WebhookRow {
        id: id.into(),
        name: name.into(),
        href: format!("/admin/webhooks/{id}"),
        badge,
        host: "https://hooks.internal:8443".into(),
        form,
        signed: form == "JSON",
        labels: vec!["ops".into(), "prod".into()],
        updated: ago(90_000),
    };
    let mut form = WebhookForm::new();
    form.url.value = "ftp://hooks.internal".into();
    form.url.error = Some("must begin with https:// or http://".into());
    WebhooksPage {
        frame: frame(theme, "Webhooks", Place::Admin, "/admin/webhooks", vec![Crumb::here("Webhooks")]),
        tabs: admin_tabs("Webhooks"),
        webhooks: vec![
            webhook("operations", "Operations channel", good("Enabled"), "Slack"),
            webhook("ledger", "Change ledger", Badge::new(Look::NeedsYou, "Failing"), "JSON"),
            webhook("pager", "Pager", Badge::new(Look::Failed, "Switched off"), "JSON"),
        ],
        form,
        problems: vec![],
        empty: empty("No webhooks yet", "Services that hear of runs will appear here."),
    }
}

fn one(theme: Theme) -> WebhookPage {
    let attempt = |status: &str, reason: &str, answer: &str| AttemptRow {
        at: ago(4_000),
        status: status.into(),
        took: "0.2 s".into(),
        reason: reason.into(),
        answer: answer.into(),
    };
    let delivery = |number, badge, what: &str, attempts| DeliveryRow {
        number,
        badge,
        what: what.into(),
        run: (number > 1).then(|| "run_01K00000000000000000000042".into()),
        policy: (number > 1).then(|| "tell-operations".into()),
        made: ago(4_000),
        method: "POST".into(),
        body: r#"{"account":"airlock","state":"FAILED","stateVersion":7,"run":{"id":"run_01K…"}}"#.into(),
        attempts,
        reason: (number == 2).then(|| "given up after 3 tries".into()),
        may_send: number != 3,
    };
    let tried = attempt("503", "first", "<html><script>alert(1)</script> busy");
    let mut form = WebhookForm::new();
    form.keeps(true, &["Authorization".to_owned()]);
    WebhookPage {
        frame: frame(
            theme,
            "Webhook Change ledger",
            Place::Admin,
            "/admin/webhooks/ledger",
            vec![Crumb::link("Webhooks", "/admin/webhooks"), Crumb::here("Change ledger")],
        ),
        tabs: admin_tabs("Webhooks"),
        name: "Change ledger".into(),
        id: "ledger".into(),
        badge: Badge::new(Look::NeedsYou, "Failing"),
        why: None,
        failing: Some("3 deliveries in a row failed".into()),
        enabled: true,
        form,
        problems: vec![],
        deliveries: vec![
            delivery(4, Badge::new(Look::Waiting, "Waiting"), "A run is applying", vec![]),
            delivery(3, Badge::new(Look::Working, "Trying again"), "A run is confirmed", vec![tried.clone()]),
            delivery(
                2,
                Badge::new(Look::Failed, "Failed"),
                "A run is unconfirmed",
                vec![tried, attempt("No answer", "retry", "hooks.internal:8443 did not answer within 30 s")],
            ),
            delivery(1, good("Delivered"), "A test by ops-lead", vec![attempt("204", "first", "")]),
        ],
        pager: Pager { newest: None, older: Some("/admin/webhooks/ledger?cursor=1-2".into()) },
    }
}
