//! Run tasks as people meet them: made, put on a stack, watched while a run waits for them.

use serde_json::json;

use super::rig::{PLAN, Server, Window};
use crate::run_tasks::outside::{Came, Outside};

/// What the service says to a call.
async fn say(call: &Came, status: &str, message: &str, outcomes: serde_json::Value) {
    let payload = call.json();
    let body = json!({"data": {
        "type": "task-results",
        "attributes": {"status": status, "message": message, "url": "https://costs.example/r/1"},
        "relationships": {"outcomes": {"data": outcomes}},
    }});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .patch(payload["task_result_callback_url"].as_str().unwrap())
        .bearer_auth(payload["access_token"].as_str().unwrap())
        .header("content-type", "application/vnd.api+json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

fn outcomes() -> serde_json::Value {
    json!([{"type": "task-result-outcomes", "attributes": {
        "outcome-id": "COST-1",
        "description": "The cache doubles",
        "body": "# Why\n\n**twice** as much, see [the report](https://costs.example/r/1) <img src=x onerror=alert(1)>",
        "url": "https://costs.example/r/1",
        "tags": {"Status": [{"label": "Denied", "level": "error"}], "Cost Centre": [{"label": "IT-OPS"}]},
    }}])
}

/// Makes a run task through its form, with one that does not answer first, and puts it on the stack.
async fn make_and_attach(window: &Window, outside: &mut Outside) {
    window.go("/admin/run-tasks").await;
    window.fill("#name", "cost-check").await;
    window.fill("#url", &format!("{}/check", outside.url)).await;
    window.fill("#hmac_key", "signing-key").await;
    outside.answers(401);
    window.click("button[value=create]").await;
    window.find_text(".problems", "401").await;
    outside.next().await;
    assert_eq!(window.find("#name").await.prop("value").await.unwrap().unwrap(), "cost-check");
    window.fill("#hmac_key", "signing-key").await;
    outside.answers(200);
    window.click("button[value=create]").await;
    window.find_text(".flash", "cost-check is there").await;
    outside.next().await;
    window.go("/stacks/shop/run-tasks").await;
    window.click("[aria-label='Add cost-check']").await;
    window.click("label:has([name=enforcement][value=mandatory])").await;
    window.click("button[value=attach]").await;
    window.find_text(".flash", "are checked by cost-check now").await;
    // The browser says itself that a form was refused.
    window.console().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_made_attached_watched_and_decides() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "echo applied").await;
    let mut outside = Outside::open().await;
    make_and_attach(&window, &mut outside).await;

    window.go("/stacks/shop?trigger").await;
    window.fill("#message", "Make the cache larger").await;
    window.click("button[value=trigger]").await;
    let call = outside.next().await;
    window.find_text(".verdict", "Checking").await;
    window.click("nav[aria-label='Parts of the run'] a[href*='tab=run_tasks']").await;
    window.find_text(".check", "cost-check").await;
    say(&call, "running", "half way through", json!([])).await;
    window.find_text(".check", "half way through").await;
    let run = window.path().await.split('?').next().unwrap().to_owned();
    window.go("/admin/run-tasks/cost-check").await;
    window.click("button[value=redeliver]").await;
    window.find_text(".flash", "The request to cost-check is sent again").await;
    let again = outside.next().await;
    assert_eq!(
        (&again.body, again.headers.get("x-tfc-task-signature")),
        (&call.body, call.headers.get("x-tfc-task-signature"))
    );
    window.go(&format!("{run}?tab=run_tasks")).await;
    window.find_text(".check", "half way through").await;
    say(&call, "failed", "it costs too much", outcomes()).await;
    window.find_text(".verdict", "Failed").await;
    window.find_text(".check", "it costs too much").await;
    window.click(".outcome summary").await;
    let shown = window.text(".outcome").await;
    for part in ["COST-1", "The cache doubles", "Denied", "IT-OPS", "twice as much", "<img src=x"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    assert_eq!(window.run("return document.querySelectorAll('.check img').length").await, 0);
    assert_eq!(window.find(".markdown a").await.attr("rel").await.unwrap().unwrap(), "noopener noreferrer nofollow");

    window.go("/admin/run-tasks/cost-check").await;
    window.find_text("table", "200").await;
    window.find_text("table", "sent again by").await;
    window.click("button[value=redeliver]").await;
    assert_eq!(outside.next().await.json()["task_result_id"], call.json()["task_result_id"]);
    assert!(window.text(".panel.danger").await.contains("Shop"), "it names the stack that keeps it");
    assert!(!window.has("button[value=delete]").await);
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_all_of_it_works_too() {
    let server = Server::start();
    let window = Window::open_without_scripts(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "echo applied").await;
    let mut outside = Outside::open().await;
    make_and_attach(&window, &mut outside).await;
    window.go("/stacks/shop?trigger").await;
    window.click("button[value=trigger]").await;
    window.find(".verdict").await;
    let run = window.path().await;
    let call = outside.next().await;
    say(&call, "passed", "cheap enough", outcomes()).await;
    window.go(&format!("{run}?tab=run_tasks")).await;
    window.find_text(".check", "cheap enough").await;
    window.click(".outcome summary").await;
    assert!(window.text(".outcome").await.contains("twice as much"));
    window.go("/stacks/shop/run-tasks").await;
    window.click("[aria-label='Edit cost-check']").await;
    window.click("details[open] label:has([name=stage][value=pre_apply])").await;
    window.click("button[value=save]").await;
    window.find_text(".flash", "was saved").await;
    window.click("[aria-label='Remove cost-check']").await;
    window.click("button[value=detach]").await;
    window.find_text(".flash", "no longer checked").await;
    window.go("/admin/run-tasks/cost-check").await;
    window.click(".panel.danger summary").await;
    window.click(".panel.danger button[value=delete]").await;
    window.find_text(".flash", "was deleted").await;
    window.close().await;
}
