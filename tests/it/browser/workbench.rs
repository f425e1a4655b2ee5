//! A policy on its way from the library to a refusal, and back onto the workbench.

use super::rig::{PLAN, Server, Window};

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_taken_from_the_library_denies_and_is_tried_again_edited() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "true").await;

    window.go("/admin/policies").await;
    window.find_text(".empty", "No policies yet").await;
    window.go("/admin/policies/new").await;
    window.click(".library a[href*='no-state-surgery']").await;
    window.find_text(".library a[aria-current]", "no-state-surgery").await;
    // Here admins may not either.
    window.run("const it = document.querySelector('#body'); it.value = it.value.replace('not input.session.admin', 'true')").await;
    window.fill("#labels", "autoattach:*").await;
    window.click("button[value=create]").await;
    window.find_text(".flash", "no-state-surgery is saved").await;

    window.go("/stacks/shop/policies").await;
    window.find_text(".sheet", "no-state-surgery").await;
    window.go("/stacks/shop/tasks").await;
    window.fill("#command", "terraform state rm aws_instance.web").await;
    window.click("button[value=perform]").await;
    window.find_text(".problems", "changes state by hand").await;
    let kept = window.run("return document.querySelector('#command').value").await;
    assert_eq!(kept.as_str(), Some("terraform state rm aws_instance.web"));

    window.go("/admin/policies/no-state-surgery").await;
    window.find_text(".sheet", "Denies").await;
    window.click("button[value=evaluate]").await;
    window.find_text("#result", "Denies").await;
    window.find_text(".bench-origins", "line 12").await;
    window.find(".bench-lines [data-mark=gave]").await;
    window.run("document.querySelector('#body').value = 'package x\\ndeny['").await;
    window.click("button[value=evaluate]").await;
    window.find_text("#result", "Broken").await;
    window.find_text(".bench-messages", "line 2").await;
    // What was typed is kept, and is not saved.
    let kept = window.run("return document.querySelector('#body').value").await;
    assert_eq!(kept.as_str().map(str::trim), Some("package x\ndeny["));
    window.click("button[value=save]").await;
    window.find_text(".problems", "line 2").await;

    window.go("/stacks/shop/tasks").await;
    window.fill("#command", "terraform state list || true").await;
    window.click("button[value=perform]").await;
    window.click("nav[aria-label='Parts of the run'] a[href*='tab=policies']").await;
    window.find_text(".policy-said", "no-state-surgery").await;
    // The refused form's own status is the only thing that the console may mention.
    let said = window.console().await;
    assert!(said.iter().all(|line| line.contains("403") || line.contains("422")), "{said:?}");
    window.close().await;
}
