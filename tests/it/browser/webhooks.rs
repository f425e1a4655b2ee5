//! Webhooks and messages as people meet them: made, tried, sent again; read and dismissed.

use super::{
    pictures::taken,
    rig::{PLAN, Server, Window},
};
use crate::run_tasks::outside::Outside;

const TELL: &str = r#"package spacelift
inbox[{"title": "The cache of Shop doubles", "body": "somebody has to look", "severity": "WARNING"}] { input.run_updated.state == "UNCONFIRMED" }
webhook[{"endpoint_id": "change-ledger"}] { input.run_updated.state == "UNCONFIRMED" }
webhook[{"endpoint_id": "gone"}] { input.run_updated.state == "UNCONFIRMED" }
"#;

async fn make(window: &Window, outside: &mut Outside) {
    window.go("/admin/webhooks").await;
    window.find_text(".empty", "No webhooks yet").await;
    window.fill("#name", "Change ledger").await;
    window.fill("#url", "ftp://nothing").await;
    window.click("button[value=create]").await;
    window.find_text(".problems", "must begin with https:// or http://").await;
    assert_eq!(window.find("#name").await.prop("value").await.unwrap().unwrap(), "Change ledger");
    window.fill("#url", &format!("{}/ledger", outside.url)).await;
    window.fill("#secret", "signing-secret").await;
    window.fill("#headers", "X-Team: ops").await;
    window.click("button[value=create]").await;
    window.find_text(".flash", "The webhook Change ledger is there").await;
    window.click("button[value=test]").await;
    window.find_text(".flash", "A test is on its way").await;
    assert_eq!(outside.next().await.header("x-team"), "ops");
    window.console().await; // The browser says itself that a form was refused.
}

async fn tell(window: &Window, outside: &mut Outside) {
    window.go("/admin/policies/new").await;
    window.fill("#name", "tell").await;
    window.click("#kind option[value=notification]").await;
    window.fill("#labels", "autoattach:*").await;
    let body = serde_json::Value::from(TELL).to_string();
    window.run(&format!("document.querySelector('#body').value = {body}")).await;
    window.click("button[value=create]").await;
    window.find_text(".flash", "tell is saved").await;
    window.go("/stacks/shop?trigger").await;
    window.click("button[value=trigger]").await;
    // The page may not be live: what is called says that it is so.
    assert_eq!(outside.next().await.json()["state"], "UNCONFIRMED");
}

async fn everything(window: &Window, scripts: bool) {
    let mut outside = Outside::open().await;
    window.new_stack("Shop", PLAN, "echo applied").await;
    make(window, &mut outside).await;
    tell(window, &mut outside).await;
    window.go("/").await;
    window.find_text(".messages", "The cache of Shop doubles").await;
    window.find_text(".messages", "there is no webhook gone").await;
    if scripts {
        let page = |name: &str, path: &str| (name.to_owned(), path.to_owned());
        let pages = [
            page("home-messages", "/"),
            page("admin-webhooks", "/admin/webhooks"),
            page("admin-webhook", "/admin/webhooks/change-ledger"),
        ];
        let wrong = taken(window, &pages).await;
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
    window.go("/").await;
    window.click("[aria-label='Mark as read: The cache of Shop doubles']").await;
    window.find_text(".flash", "marked as read").await;
    assert!(!window.has("[aria-label='Mark as read: The cache of Shop doubles']").await);
    window.click("[aria-label='Dismiss: The cache of Shop doubles']").await;
    window.find_text(".flash", "gone from your inbox").await;
    assert!(!window.text(".messages").await.contains("The cache of Shop doubles"));

    window.go("/admin/webhooks/change-ledger").await;
    window.find_text(".deliveries", "A run is unconfirmed").await;
    window.click(".deliveries li:first-child summary").await;
    let shown = window.text(".deliveries li:first-child").await;
    assert!(shown.contains("\"state\":\"UNCONFIRMED\"") && shown.contains("200"), "{shown}");
    window.click(".deliveries li:first-child button[value=redeliver]").await;
    window.find_text(".flash", "is sent again").await;
    assert_eq!(outside.next().await.json()["state"], "UNCONFIRMED");
    assert_eq!(window.find("#secret").await.prop("value").await.unwrap().unwrap(), "");
    window.click(".panel.danger summary").await;
    window.click(".panel.danger button[value=delete]").await;
    window.find_text(".flash", "was deleted").await;
    assert_eq!(window.console().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_tried_called_by_a_policy_and_called_again() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    everything(&window, true).await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_all_of_it_works_too() {
    let server = Server::start();
    let window = Window::open_without_scripts(&server).await;
    window.set_up(&server).await;
    everything(&window, false).await;
    window.close().await;
}
