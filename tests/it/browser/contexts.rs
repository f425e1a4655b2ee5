//! Contexts as people meet them: made, filled, attached by hand and by label, and seen in what a stack gets.

use super::{
    pictures::taken,
    rig::{PLAN, Server, Window},
};

/// The form that sets a variable.
const VARIABLE: &str = "form:has(button[value=set_variable])";

async fn set(window: &Window, name: &str, value: &str, sensitive: bool) {
    window.fill(&format!("{VARIABLE} [name=name]"), name).await;
    window.fill(&format!("{VARIABLE} [name=value]"), value).await;
    if sensitive {
        window.click(&format!("{VARIABLE} .toggle label")).await;
    }
    window.click("button[value=set_variable]").await;
    window.find_text("[aria-labelledby=variables]", name).await;
}

async fn make(window: &Window, name: &str, labels: &str) {
    window.go("/admin/contexts").await;
    window.fill("#name", name).await;
    window.fill("#labels", labels).await;
    window.click("button[value=create]").await;
    window.find_text(".flash", &format!("The context {name} was made")).await;
    window.go(&format!("/admin/contexts/{name}")).await;
}

/// The row of a variable: its value and where that comes from.
async fn row(window: &Window, name: &str) -> String {
    let script = "const row = [...document.querySelectorAll('[aria-labelledby=variables] tr')].find(it => it.innerText.includes(arguments[0])); return row ? row.innerText : ''";
    let script = script.replace("arguments[0]", &format!("'{name}'"));
    let text = window.run(&script).await;
    text.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_gets_what_its_contexts_hold_and_shows_where_each_value_comes_from() {
    let server = Server::start();
    let window = Window::open(&server).await;
    window.set_up(&server).await;
    window.new_stack("Shop", PLAN, "echo applied").await;
    window.go("/stacks/shop/settings").await;
    window.fill("#labels", "prod").await;
    window.click("button[data-weight=primary][value=save]").await;
    window.find(".flash").await;

    make(&window, "base", "autoattach:prod").await;
    set(&window, "REGION", "north", false).await;
    set(&window, "COLOUR", "red", false).await;
    window.find_text("[aria-labelledby=stacks]", "shop").await;
    make(&window, "team", "").await;
    set(&window, "REGION", "south", false).await;
    set(&window, "TOKEN", "hunter2-hunter2", true).await;
    let shown = row(&window, "TOKEN").await;
    assert!(shown.contains("sensitive"), "{shown}");

    window.go("/stacks/shop/environment").await;
    window.find_text("[aria-labelledby=contexts]", "by label").await;
    window.click("select[name=context] option[value=team]").await;
    window.fill("[name=priority]", "3").await;
    window.click("button[value=attach]").await;
    window.find_text(".flash", "The context team is attached with priority 3").await;
    set(&window, "COLOUR", "blue", false).await;
    for (name, expected) in [
        ("REGION", "REGION south team priority 3 overrides base"),
        ("COLOUR", "COLOUR blue this stack overrides base"),
        ("TOKEN", "TOKEN sensitive"),
    ] {
        let shown = row(&window, name).await;
        assert!(shown.starts_with(expected), "{name}: {shown}");
    }

    window.go("/stacks/shop?trigger").await;
    window.click("button[value=trigger]").await;
    window.find_text(".verdict", "Unconfirmed").await;
    let run = window.path().await;
    window.click("nav[aria-label='Parts of the run'] a[href*='tab=configuration']").await;
    let used = window.find_text("main", "priority 3").await;
    for part in ["REGION", "south", "this stack", "overrides base"] {
        assert!(used.contains(part), "{part} is missing in {used}");
    }
    let page = window.run("return document.documentElement.outerHTML").await;
    assert!(!page.as_str().unwrap().contains("hunter2"));
    assert_eq!(window.console().await, Vec::<String>::new());
    let page = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    let pages = [
        page("admin-contexts", "/admin/contexts"),
        page("admin-context", "/admin/contexts/team"),
        page("stack-environment-contexts", "/stacks/shop/environment"),
        page("run-configuration", &format!("{run}?tab=configuration")),
    ];
    let wrong = taken(&window, &pages).await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    window.close().await;
}
