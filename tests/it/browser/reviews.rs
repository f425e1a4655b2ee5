//! Two people in two browsers: one plans, the other approves, and neither loads anything anew.

use std::{fs, path::Path};

use airlock::domain::PolicyKind;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::rig::{PLAN, Server, Window};
use crate::approvals::{crash::policy, rig::ONE_OTHER};

/// A server whose stacks want one approval by somebody else, and two people in two browsers.
async fn two_people() -> (Server, Window, Window) {
    let dir = tempfile::tempdir().unwrap();
    policy(dir.path(), PolicyKind::Approval, ONE_OTHER).await;
    let server = Server::on(dir);
    let (ada, bob) = (Window::open(&server).await, Window::open(&server).await);
    ada.set_up(&server).await;
    ada.new_stack("Shop", PLAN, "echo applied").await;
    let link = ada.invite("bob").await;
    bob.come_in(&link).await;
    (server, ada, bob)
}

async fn trigger(window: &Window) -> String {
    window.go("/stacks/shop?trigger").await;
    window.fill("#message", "Make the cache larger").await;
    window.click("button[value=trigger]").await;
    window.find_text(".decide", "1 more approval is needed, not by you.").await;
    window.path().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plans_the_other_approves_and_only_then_is_it_applied() {
    let (_server, ada, bob) = two_people().await;
    bob.go("/").await;
    let run = trigger(&ada).await;
    assert!(!ada.has("button[value=confirm]").await && !ada.has("button[value=approve]").await);
    // The other's inbox fills by itself, and leads to the run.
    bob.find_text("[aria-labelledby=needs-you]", "1 more approval is needed, not by ada").await;
    bob.click("[aria-labelledby=needs-you] a.go").await;
    bob.find_text(".decide", "1 more approval is needed, not by ada.").await;
    assert!(!bob.has("button[value=confirm]").await);
    bob.fill("#decision-note", "the window is open").await;
    bob.click("button[value=approve]").await;
    bob.find_text(".flash", "Run #1 has your approval.").await;
    // The first one sees it without a reload, and may confirm now.
    ada.find_text(".reviews", "the window is open").await;
    ada.find("button[value=confirm]").await;
    assert_eq!(ada.path().await, run, "nothing was loaded anew");
    ada.click("button[value=confirm]").await;
    bob.find_text(".verdict", "Finished").await;
    ada.click("nav[aria-label='Parts of the run'] a[href*='tab=timeline']").await;
    ada.find_text(".timeline", "the window is open").await;
    for window in [ada, bob] {
        assert_eq!(window.console().await, Vec::<String>::new());
        window.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_ends_the_run_before_everybodys_eyes() {
    let (_server, ada, bob) = two_people().await;
    let run = trigger(&ada).await;
    bob.go(&run).await;
    bob.fill("#decision-note", "not on a Friday").await;
    bob.click("button[value=reject]").await;
    bob.find_text(".verdict", "rejected by bob").await;
    ada.find_text(".verdict", "rejected by bob").await;
    for window in [ada, bob] {
        assert_eq!(window.console().await, Vec::<String>::new());
        window.close().await;
    }
}

/// Saved for the eye under `target/screenshots/`; nothing sticks out sideways.
#[tokio::test(flavor = "multi_thread")]
async fn the_decision_fits_its_window_for_both_of_them() {
    let (_server, ada, bob) = two_people().await;
    let run = trigger(&ada).await;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    fs::create_dir_all(&dir).unwrap();
    for approved in [false, true] {
        for (name, window) in [("requester", &ada), ("reviewer", &bob)] {
            for theme in ["light", "dark"] {
                window.go("/account").await;
                window.run(&format!("document.cookie = 'airlock_theme={theme}; Path=/'")).await;
                for (width, height) in [(1440, 900), (390, 844), (320, 640)] {
                    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
                    window.debug("Emulation.setDeviceMetricsOverride", size).await;
                    for (page, path) in [("run", run.as_str()), ("home", "/")] {
                        window.go(path).await;
                        window.find("h1").await;
                        let wide =
                            "return document.scrollingElement.scrollWidth - document.documentElement.clientWidth";
                        assert_eq!(window.run(wide).await, 0, "{page} for the {name} at {width} px");
                        let shot = json!({"format": "png", "captureBeyondViewport": width == 390});
                        let shot = window.debug("Page.captureScreenshot", shot).await;
                        let file = format!("approval-{page}-{name}-{approved}-{theme}-{width}.png");
                        fs::write(dir.join(file), STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
                    }
                }
                window.debug("Emulation.clearDeviceMetricsOverride", json!({})).await;
            }
        }
        if !approved {
            bob.go(&run).await;
            bob.fill("#decision-note", "the window is open until four").await;
            bob.click("button[value=approve]").await;
            bob.find(".flash").await;
        }
    }
    ada.close().await;
    bob.close().await;
}
