//! Every page in both themes and two widths: saved for the eye under `target/screenshots/`, and held
//! against what a picture must keep: nothing sticks out sideways, rows of links show the one that is
//! open, and the console is silent.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::rig::{PLAN, Server, Window};

/// The links to where one is that lie outside of their rows.
const HIDDEN: &str = "const out = here => {
    const [link, row] = [here, here.parentElement].map(one => one.getBoundingClientRect());
    return link.left < row.left - 1 || link.right > row.right + 1;
  };
  const here = [...document.querySelectorAll('.nav [aria-current], .tabs [aria-current]')];
  return here.filter(out).map(link => link.textContent).join();";

const WIDTHS: [(u32, u32); 3] = [(1440, 900), (390, 844), (320, 640)];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_its_window_and_leaves_the_console_silent() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    let mut pages = furnish(&window).await;
    pages.extend(super::guests::pages(&window).await);
    window.console().await; // A refused import was among it.
    let wrong = taken(&window, &pages).await;
    window.close().await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Takes the pictures of pages; gives what must not be on any of them.
pub async fn taken(window: &Window, pages: &[(String, String)]) -> Vec<String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    fs::create_dir_all(&dir).unwrap();
    let mut wrong = Vec::new();
    for theme in ["light", "dark"] {
        window.go("/account").await;
        window.run(&format!("document.cookie = 'airlock_theme={theme}; Path=/'")).await;
        for (width, height) in WIDTHS {
            let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            window.debug("Emulation.setDeviceMetricsOverride", size).await;
            for (name, path) in pages {
                window.go(path).await;
                window.find("h1").await;
                let over = window
                    .run("return document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
                    .await;
                if over.as_i64() != Some(0) {
                    wrong.push(format!("{name} at {width} px is {over} px too wide"));
                }
                let hidden = window.run(HIDDEN).await;
                if hidden.as_str() != Some("") {
                    wrong.push(format!("{name} at {width} px hides where one is: {hidden}"));
                }
                if width != 320 {
                    let file = dir.join(format!("{name}-{theme}-{width}.png"));
                    let shot = json!({"format": "png", "captureBeyondViewport": width == 390});
                    let shot = window.debug("Page.captureScreenshot", shot).await;
                    fs::write(file, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
                }
                let said = window.console().await;
                let expected = name.starts_with("error-");
                wrong.extend(said.into_iter().filter(|_| !expected).map(|said| format!("{name}: {said}")));
            }
        }
    }
    window.debug("Emulation.clearDeviceMetricsOverride", json!({})).await;
    wrong
}

/// Fills the installation with what a small team has, and names its pages.
async fn furnish(window: &Window) -> Vec<(String, String)> {
    window.new_stack("Shop", PLAN, "echo applied").await;
    window.new_stack("Edge network", "echo 'Error: no such zone' >&2; exit 1", "true").await;
    window.go("/stacks/shop/environment").await;
    window.fill("#variable-name", "REGION").await;
    window.fill("#variable-value", "eu-west").await;
    window.click("button[value=set_variable]").await;
    window.find(".flash").await;
    window.fill("#variable-name", "TOKEN").await;
    window.fill("#variable-value", "a long enough secret").await;
    window.click("label[for=variable-sensitive]").await;
    window.click("button[value=set_variable]").await;
    window.find_text(".flash", "TOKEN").await;
    let failed = trigger(window, "edge-network", "Move the edge", "Failed").await;
    let waiting = trigger(window, "shop", "Make the cache larger", "Unconfirmed").await;
    window.go("/stacks/shop/tasks").await;
    window.fill("#command", "echo behind the run").await;
    window.click("button[value=perform]").await;
    window.find_text(".verdict", "behind run #1").await;
    let queued = window.path().await;
    window.go("/stacks/edge-network/tasks").await;
    window.fill("#command", "seq 1 60; printf '\\033[31mred\\033[0m \\033[32mgreen\\033[0m\\n'").await;
    window.click("button[value=perform]").await;
    window.find_text(".verdict", "Finished").await;
    let done = window.path().await;
    window.go("/admin/users").await;
    window.fill("#name", "dana").await;
    window.click("button[value=invite]").await;
    window.find(".once-value").await;
    let policy = guard(window).await;
    let page = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    vec![
        page("home", "/"),
        page("stacks", "/stacks"),
        page("stacks-none", "/stacks?q=nothing"),
        page("stack-new", "/stacks/new"),
        page("stack-runs", "/stacks/shop"),
        page("stack-trigger", "/stacks/shop?trigger"),
        page("stack-tasks", "/stacks/shop/tasks"),
        page("stack-environment", "/stacks/shop/environment"),
        page("stack-settings", "/stacks/shop/settings"),
        page("stack-run-tasks", "/stacks/shop/run-tasks"),
        page("admin-run-tasks", "/admin/run-tasks"),
        page("run-waiting", &waiting),
        page("run-waiting-log", &format!("{waiting}?tab=log")),
        page("run-waiting-timeline", &format!("{waiting}?tab=timeline")),
        page("run-changes", &format!("{waiting}/changes")),
        page("run-failed", &failed),
        page("run-queued", &queued),
        page("run-task", &done),
        page("run-log", &format!("{done}/log")),
        page("run-log-search", &format!("{done}/log?q=5")),
        page("runs", "/runs"),
        page("runs-filtered", "/runs?kind=task"),
        page("tasks", "/tasks"),
        page("queue", "/queue"),
        page("audit", "/audit"),
        page("admin-users", "/admin/users"),
        page("admin-keys", "/admin/keys"),
        page("admin-credentials", "/admin/credentials"),
        page("admin-policies", "/admin/policies"),
        page("admin-policy-new", "/admin/policies/new?from=deletes-need-two"),
        page("admin-policy", "/admin/policies/no-state-surgery"),
        page("stack-policies", "/stacks/edge-network/policies"),
        page("run-policies", &format!("{policy}?tab=policies")),
        page("account", "/account"),
        page("again", "/sign-in/again?next=%2Fadmin%2Fkeys"),
        page("docs-api", "/docs/api"),
        page("error-setup-spent", "/setup?token=spent"),
        page("error-404", "/stacks/nothing"),
        page("error-422", "/runs?kind=odd"),
    ]
}

/// A policy that has denied one task and allowed another; gives the way to the latter.
async fn guard(window: &Window) -> String {
    window.go("/admin/policies/new?from=no-state-surgery").await;
    let for_all = "const it = document.querySelector('#body'); \
                   it.value = it.value.replace('not input.session.admin', 'true')";
    window.run(for_all).await;
    window.fill("#labels", "autoattach:*").await;
    window.click("button[value=create]").await;
    window.find_text(".flash", "is saved").await;
    window.go("/stacks/edge-network/tasks").await;
    window.fill("#command", "terraform state rm aws_instance.web").await;
    window.click("button[value=perform]").await;
    window.find_text(".problems", "changes state by hand").await;
    window.console().await;
    window.go("/stacks/edge-network/tasks").await;
    window.fill("#command", "true").await;
    window.click("button[value=perform]").await;
    window.find_text(".verdict", "Finished").await;
    window.path().await
}

async fn trigger(window: &Window, slug: &str, message: &str, state: &str) -> String {
    window.go(&format!("/stacks/{slug}?trigger")).await;
    window.fill("#message", message).await;
    window.click("button[value=trigger]").await;
    window.find_text(".verdict", state).await;
    window.path().await
}
