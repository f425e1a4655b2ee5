//! A stack's page of policies: those that it has, how it came to them, and those that it may get.

use serde_json::json;

use crate::pages::rig::{Site, custom};

const PATH: &str = "/stacks/shop/policies";

#[tokio::test(flavor = "multi_thread")]
async fn only_policies_that_a_stack_does_not_have_are_offered() {
    let site = Site::new().await;
    let mut settings = custom("Shop");
    settings["labels"] = json!(["prod"]);
    site.stack(settings).await;
    let admin = site.admin().await;
    for (name, labels) in [("itself", "autoattach:prod"), ("free", "")] {
        let body = "package spacelift\ndeny[\"no\"] { false }\n";
        let fields = [("do", "create"), ("name", name), ("kind", "task"), ("labels", labels), ("body", body)];
        admin.post_and_follow("/admin/policies/new", &fields).await;
    }
    let page = admin.get(PATH).await;
    assert_eq!(page.words(".sheet .when"), "by label");
    assert_eq!(page.attributes("#attach-policy option", "value"), ["free"]);
    // Who attaches one by hand that has come by label can take off only that.
    let page = admin.post_and_follow(PATH, &[("do", "attach"), ("policy", "itself")]).await;
    assert_eq!(page.words(".sheet .when"), "by label and by hand");
    assert!(page.words(".sheet").contains("It stays attached by label"), "{}", page.words(".sheet"));
    let page = admin.post_and_follow(PATH, &[("do", "detach"), ("policy", "itself")]).await;
    assert!(page.words(".flash").contains("goes on deciding"), "{}", page.words(".flash"));
    assert_eq!(page.words(".sheet .when"), "by label");
    let page = admin.post_and_follow(PATH, &[("do", "attach"), ("policy", "free")]).await;
    assert!(!page.has("#attach-policy"), "{}", page.words("main"));
    let page = admin.post_and_follow(PATH, &[("do", "detach"), ("policy", "free")]).await;
    assert!(page.words(".flash").contains("does not decide any more"), "{}", page.words(".flash"));
    assert_eq!(page.attributes("#attach-policy option", "value"), ["free"]);
}
