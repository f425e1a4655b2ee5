//! The whole way through the product, as people go it.

use super::rig::{PLAN, Server, Window, plan_held_by};
use crate::whole::gate::Gate;

#[tokio::test(flavor = "multi_thread")]
async fn from_set_up_to_an_applied_run_without_a_reload() {
    let server = Server::start();
    let gate = Gate::new().await;
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window
        .new_stack(
            "Shop",
            &plan_held_by(&gate),
            "echo \"region $REGION\"; for i in 1 2 3; do echo applying $i; sleep 0.1; done",
        )
        .await;

    window.go("/stacks/shop/environment").await;
    window.fill("#variable-name", "REGION").await;
    window.fill("#variable-value", "eu-west").await;
    window.click("button[value=set_variable]").await;
    window.find_text(".flash", "REGION was added").await;

    window.go("/stacks/shop?trigger").await;
    window.fill("#message", "Make the cache larger").await;
    window.click("button[value=trigger]").await;
    window.find_text("h1", "Make the cache larger").await;
    let path = window.path().await;
    // The state, the log and the decision come by themselves.
    let knock = gate.knock().await;
    window.find_text("[data-log] [data-lines]", "looking at 1").await;
    window.find_text("[data-log] [data-lines]", "looking at 8").await;
    knock.let_on().await;
    window.find_text(".decide", "1 resource would change.").await;
    window.find_title("⏸ run #1 · Shop").await;
    assert_eq!(window.path().await, path, "nothing was loaded anew");

    window.click("nav[aria-label='Parts of the run'] a[href*='tab=changes']").await;
    window.find_path("tab=changes").await;
    window.find_text(".change", "cache.main").await;
    window.fill("#decision-note", "looks right").await;
    window.click("button[value=confirm]").await;
    window.find_text(".flash", "Run #1 was confirmed.").await;
    window.find_text("[data-log] [data-lines]", "region eu-west").await;
    window.find_text(".verdict", "Finished").await;
    window.find_text(".log-foot", "exit 0").await;
    let lines = window.text("[data-log] [data-lines]").await;
    for n in 1..=3 {
        assert_eq!(lines.matches(&format!("applying {n}")).count(), 1, "{lines}");
    }
    window.find_title("✓ run #1 · Shop").await;
    window.click("nav[aria-label='Parts of the run'] a[href*='tab=timeline']").await;
    window.find_path("tab=timeline").await;
    window.find_text(".timeline", "looks right").await;
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_with_and_without_initialization_and_a_lock_holds_others_back() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "true").await;
    for initialize in [true, false] {
        window.go("/tasks").await;
        window.fill("#command", "echo performed in $PWD").await;
        if !initialize {
            window.click("label[for=initialize]").await;
        }
        window.click("button[value=perform]").await;
        window.find_text(".verdict", "Finished").await;
        window.find_text("[data-log] [data-lines]", "performed in /workspace").await;
        assert_eq!(window.text(".phases").await.contains("Initializing"), initialize);
    }
    window.go("/stacks/shop").await;
    window.click("details.lockcard summary").await;
    window.fill("details.lockcard [name=note]", "moving house").await;
    window.click("button[value=lock]").await;
    window.find_text("details.lockcard summary", "Locked by you").await;
    window.click("details.lockcard summary").await;
    window.find_text("details.lockcard blockquote", "moving house").await;
    window.click("button[value=unlock]").await;
    window.find_text("details.lockcard summary", "Not locked").await;
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_see_what_the_other_does_without_a_reload() {
    let server = Server::start();
    let (one, other) = (Window::open(&server).await, Window::open(&server).await);
    one.set_up(&server).await;
    one.new_stack("Shop", PLAN, "true").await;
    other.sign_in().await;
    other.go("/").await;
    other.find_text("h1", "Nothing needs you").await;
    one.go("/stacks/shop?trigger").await;
    one.click("button[value=trigger]").await;
    other.find_text("h1", "One thing needs you").await;
    other.find_text("[data-needs-you]", "1").await;
    one.find_text(".decide", "would change").await;
    one.click("button[value=discard]").await;
    one.find_text(".verdict", "Discarded").await;
    other.find_text("h1", "Nothing needs you").await;
    other.go("/stacks").await;
    other.press("j").await;
    other.find("li.row a.go:focus").await;
    one.go("/stacks/shop?trigger").await;
    one.click("button[value=trigger]").await;
    other.find_text("li.row", "Unconfirmed").await;
    assert!(other.has("li.row a.go:focus").await, "a new list leaves the reader where they stand");
    for window in [one, other] {
        assert_eq!(window.console().await, Vec::<String>::new());
        window.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_search_move_and_help_and_a_follower_stops_when_somebody_scrolls_up() {
    let server = Server::start();
    let gate = Gate::new().await;
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "true").await;
    window.go("/stacks").await;
    window.press("/").await;
    window.press("sho\u{e007}").await;
    window.find("input[value=sho]").await;
    window.run("document.activeElement.blur()").await;
    window.press("j").await;
    window.find("li.row a.go:focus").await;
    window.press("?").await;
    window.find("dialog[open]").await;
    window.press("\u{e00c}").await;
    window.run("document.activeElement.blur()").await;
    window.press("gr").await;
    window.find_text("h1", "Runs").await;

    window.go("/tasks").await;
    let (first, last) = (gate.command("first"), gate.command("last"));
    window.fill("#command", &format!("seq 1 400; {first}; for i in $(seq 1 40); do echo more $i; done; {last}")).await;
    window.click("button[value=perform]").await;
    let knock = gate.knock().await;
    window.find_text("[data-log] [data-lines]", "400").await;
    let path = window.path().await;
    window.run("document.querySelector('[data-log-scroll]').scrollTop = 0").await;
    window.find("[data-log-follow][aria-pressed=false]").await;
    knock.let_on().await;
    // The command is held until somebody has jumped.
    let knock = gate.knock().await;
    window.find_text("[data-jump-text]", "new)").await;
    let top = window.run("return document.querySelector('[data-log-scroll]').scrollTop").await;
    assert_eq!(top, 0, "what is being read stays where it is");
    window.click("[data-jump]").await;
    window.find("[data-log-follow][aria-pressed=true]").await;
    knock.let_on().await;
    window.find_text(".verdict", "Finished").await;
    window.find_text(".log-foot", "440 lines").await;
    assert_eq!(window.run("return document.querySelectorAll('.ln').length").await, 440);
    // A page of which nothing is replaced any more.
    window.go(&path).await;
    window.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })").await;
    window.click(".facts [data-copy]").await;
    window.find("[data-say]:not(:empty)").await;
    assert_eq!(window.run("return document.querySelector('[data-say]').textContent").await, "Copied");
    assert_eq!(window.console().await, Vec::<String>::new());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_goes_the_page_stays_and_says_so() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "true").await;
    window.go("/stacks/shop").await;
    window.find("h1").await;
    drop(server);
    window.find_text("[data-reconnect]", "Connection lost").await;
    assert_eq!(window.text("h1").await, "Shop");
    window.close().await;
}
