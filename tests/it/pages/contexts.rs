//! Contexts, where values come from, and runtime configuration on the pages.

use airlock::domain::{Kind, Role, State};

use super::rig::{Site, custom};

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_made_filled_and_attached_and_the_stack_says_where_each_value_comes_from() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let page =
        admin.post_and_follow("/admin/contexts", &[("do", "create"), ("name", "base"), ("description", "For all")]);
    let page = page.await;
    assert!(page.words(".flash").contains("The context base was made"), "{}", page.words("main"));
    let bad = admin.post("/admin/contexts", &[("do", "create"), ("name", "base"), ("labels", "autoattach:")]).await;
    assert_eq!(bad.status, 422);
    assert_eq!(bad.attribute("#name", "value").as_deref(), Some("base"));

    let context = "/admin/contexts/base";
    for (name, value, sensitive) in [("REGION", "north", ""), ("TOKEN", "hunter2-hunter2", "on")] {
        let fields = [("do", "set_variable"), ("name", name), ("value", value), ("sensitive", sensitive)];
        let fields: Vec<(&str, &str)> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let page = admin.post_and_follow(context, &fields).await;
        assert!(page.words("main").contains(name) && !page.text.contains("hunter2"), "{}", page.words("main"));
    }
    let page = admin.get(&format!("{context}?edit=TOKEN")).await;
    assert!(page.words("#variable-title").contains("Change TOKEN") && !page.text.contains("hunter2"));
    let version = page.attribute("input[name=version]", "value").unwrap();
    let save = |version: &str| {
        let fields = [("do", "save"), ("version", version), ("hooks.before_plan", "echo a\necho b")];
        fields.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = async |fields: [(String, String); 3]| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        admin.post(context, &fields).await
    };
    assert_eq!(send(save(&version)).await.status, 303);
    let late = send(save(&version)).await;
    assert_eq!(late.status, 409);
    assert!(late.words(".problems").contains("Somebody changed this context meanwhile"));

    let environment = "/stacks/shop/environment";
    let page = admin.post_and_follow(environment, &[("do", "attach"), ("context", "base"), ("priority", "7")]).await;
    assert!(page.words(".flash").contains("The context base is attached with priority 7"), "{}", page.words("main"));
    let page =
        admin.post_and_follow(environment, &[("do", "set_variable"), ("name", "REGION"), ("value", "own")]).await;
    let words = page.words("main");
    assert!(words.contains("REGION own this stack overrides base"), "{words}");
    assert!(words.contains("base priority 7") && words.contains("before_plan echo a base priority 7"), "{words}");
    assert!(page.has("a[href='/admin/contexts/base']") && !page.text.contains("hunter2"));
    let reader = site.person("viewer", false, &[(&stack, Role::Reader)]).await;
    let seen = reader.get(environment).await;
    assert!(seen.words("main").contains("base priority 7") && !seen.has("a[href='/admin/contexts/base']"));
    let odd = admin.post(environment, &[("do", "attach"), ("context", "base"), ("priority", "high")]).await;
    assert_eq!(odd.status, 422);

    let run = site.trigger(&stack, Kind::Tracked).await;
    site.until(run.id, State::Unconfirmed).await;
    let page = admin.get(&format!("/runs/{}?tab=configuration", run.id)).await;
    let words = page.words("main");
    assert!(
        words.contains("REGION own this stack overrides base") && words.contains("before_plan echo b base"),
        "{words}"
    );
    assert!(words.contains("TOKEN sensitive") && !page.text.contains("hunter2"), "{words}");

    let guarded = admin.post(context, &[("do", "delete"), ("context", "base")]).await;
    assert_eq!(guarded.status, 409);
    let page = admin.post_and_follow(environment, &[("do", "detach"), ("context", "base")]).await;
    assert!(page.words(".flash").contains("The context base was taken away"));
    let page = admin.post_and_follow(context, &[("do", "delete"), ("context", "base")]).await;
    assert!(page.words(".flash").contains("The context base was deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_at_the_trigger_makes_no_run_and_keeps_what_was_typed() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let config = "environment:\n  A: 1\nbefor_plan: [x]\n";
    let fields = |config| [("do", "trigger"), ("kind", "tracked"), ("message", "why"), ("runtime_config", config)];
    let page = admin.post("/stacks/shop", &fields(config)).await;
    assert_eq!(page.status, 422);
    assert!(page.words("#runtime_config-error").contains("line 3:1"), "{}", page.words("main"));
    assert!(page.words("#runtime_config").contains("befor_plan") && page.text.contains("why"));
    assert!(page.words("main").contains("No runs yet"));
    let page = admin.post_and_follow("/stacks/shop", &fields("environment: {A: given}")).await;
    assert!(page.words("main").contains("Configuration"), "{}", page.words("main"));
}
