//! The same product in a browser that runs no scripts.

use super::rig::{PLAN, Server, Window};

/// Loads the page again until it shows a text: that is how one waits without scripts.
async fn reload_until(window: &Window, css: &str, part: &str) {
    for _ in 0..600 {
        if window.has(css).await && window.text(css).await.contains(part) {
            return;
        }
        window.client.refresh().await.unwrap();
    }
    panic!("`{css}` never shows `{part}`: {}", window.text("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_matters_works_without_scripts() {
    let server = Server::start();
    let window = Window::open_without_scripts(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "echo applied").await;
    window.click("form[action='/account'] [value=sign_out], .me summary").await;
    window.click("button[value=sign_out]").await;
    window.sign_in().await;

    window.go("/stacks").await;
    window.click("li.row a.go").await;
    window.find_text("h1", "Shop").await;
    for decision in ["confirm", "discard"] {
        window.go("/stacks/shop").await;
        window.click("a[href$='?trigger']").await;
        window.fill("#message", decision).await;
        window.click("button[value=trigger]").await;
        reload_until(&window, ".verdict", "Unconfirmed").await;
        window.find_text(".change", "cache.main").await;
        window.click(&format!("button[value={decision}]")).await;
        let state = if decision == "confirm" { "Finished" } else { "Discarded" };
        reload_until(&window, ".verdict", state).await;
        window.click("nav[aria-label='Parts of the run'] a[href*='tab=log']").await;
        if decision == "confirm" {
            window.find_text("[data-lines]", "applied").await;
        }
        window.click("nav[aria-label=Phases] a[href*='planning']").await;
        window.find_text("[data-lines]", "looking at 8").await;
    }
    window.fill("#log-q", "looking at 3\n").await;
    window.find_text(".log-note", "1 of 8 lines hold").await;
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}
