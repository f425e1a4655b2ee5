//! Stacks over the API.

use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn a_stack_gets_its_defaults_and_its_slug_from_its_name() {
    let server = Server::start().await;
    let made =
        server.admin.post("/stacks", json!({"name": "Große Box", "vendor": {"kind": "custom"}})).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/stacks/grosse-box");
    let stack = made.json();
    let limits = json!({"wall_seconds": 4200, "silence_seconds": 420, "memory_bytes": 4_294_967_296_u64, "processes": 1024,
        "cpu_percent": null, "open_files": 4096, "file_bytes": 8_589_934_592_u64,
        "workspace_bytes": 21_474_836_480_u64, "output_bytes": 268_435_456});
    for (field, expected) in [
        ("slug", json!("grosse-box")),
        ("description", json!("")),
        ("labels", json!([])),
        ("source", json!(null)),
        ("executor", json!({"kind": "jail", "image": "host", "network": "host", "limits": limits})),
        ("autodeploy", json!(false)),
        ("allow_promotion", json!(false)),
        ("enabled", json!(true)),
        ("protect_from_deletion", json!(false)),
        ("mask_well_known", json!(true)),
        ("hooks", json!({})),
        ("state", json!(null)),
        ("group", json!("never_run")),
        ("lock", json!(null)),
        ("latest_run", json!(null)),
    ] {
        assert_eq!(stack[field], expected, "{field}");
    }
    let created_at = stack["created_at"].as_str().unwrap();
    assert!(created_at.starts_with("2026-01-01T00:00:00.") && created_at.ends_with('Z') && created_at.len() == 24);
    assert_eq!(server.admin.get("/stacks/grosse-box").await.expect(200).json(), stack);
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let server = Server::start().await;
    let vendor = json!({"kind": "custom"});
    for (body, named) in [
        (json!({"name": "a", "vendor": vendor, "autodeply": true}), "autodeply"),
        (json!({"name": "a", "vendor": {"kind": "custom", "aply": "x"}}), "aply"),
        (json!({"name": "a", "vendor": {"kind": "cloud"}}), "cloud"),
        (json!({"vendor": vendor}), "name"),
        (json!({"name": "a", "slug": "Not A Slug", "vendor": vendor}), "slug"),
        (
            json!({"name": "a", "vendor": vendor, "executor": {"limits": {"memory_bytes": "x"}}}),
            "executor.limits.memory_bytes",
        ),
        (
            json!({"name": "a", "vendor": vendor, "executor": {"limits": {"memory_bytes": 1}}}),
            "executor.limits.memory_bytes",
        ),
        (json!({"name": "a", "vendor": vendor, "executor": {"kind": "unconfined"}}), "executor.kind"),
    ] {
        let detail = server.admin.post("/stacks", body.clone()).await.detail(422);
        assert!(detail.contains(named), "{named} in {detail:?} for {body}");
    }
    let detail = server.admin.raw("POST", "/stacks", "{\"name\": ").await.detail(400);
    assert!(detail.contains("line 1"), "{detail}");
    assert!(server.admin.get("/stacks?labels=x").await.detail(422).contains("labels"));
    assert!(server.admin.get("/stacks?limit=201").await.detail(422).contains("limit"));
    assert!(server.admin.get("/stacks?limit=x").await.detail(422).contains("limit"));
    assert!(server.admin.get("/stacks/a?x=1").await.detail(422).contains("takes none"));
    let huge = json!({"name": "a", "vendor": vendor, "description": "x".repeat(70_000)});
    server.admin.post("/stacks", huge).await.problem(413);
    let text = server.admin.request("POST", "/stacks").header("content-type", "text/plain").body("a=b");
    super::server::Reply::of(text).await.problem(415);
    server.admin.post("/stacks/a", json!({})).await.problem(405);
    server.admin.get("/nothing").await.problem(404);
}

#[tokio::test]
async fn the_same_request_under_one_key_makes_one_stack() {
    let server = Server::start().await;
    let body = json!({"name": "Shop", "vendor": {"kind": "custom"}});
    let first = server.admin.post_once("/stacks", "k1", body.clone()).await.expect(201).json();
    let again = server.admin.post_once("/stacks", "k1", body.clone()).await.expect(201).json();
    assert_eq!(first, again);
    let other = json!({"name": "Other", "vendor": {"kind": "custom"}});
    assert!(server.admin.post_once("/stacks", "k1", other).await.detail(409).contains("Idempotency-Key"));
    assert!(server.admin.post_once("/stacks", "k2", body).await.detail(409).contains("taken"));
    assert!(
        server
            .admin
            .post_once("/stacks", "a b", json!({"name": "x", "vendor": {"kind": "custom"}}))
            .await
            .detail(422)
            .contains("Idempotency-Key")
    );
    // Another actor's key of the same name is another key.
    let (_, second) = server.key("second", true, Vec::new()).await;
    second.post_once("/stacks", "k1", json!({"name": "Third", "vendor": {"kind": "custom"}})).await.expect(201);
}

#[tokio::test]
async fn lists_are_filtered_and_read_in_parts() {
    let server = Server::start().await;
    for n in 0..7 {
        let labels = if n % 2 == 0 { json!(["even"]) } else { json!([]) };
        let body =
            json!({"name": format!("box {n}"), "vendor": {"kind": "custom"}, "labels": labels, "description": "crate"});
        server.admin.post("/stacks", body).await.expect(201);
    }
    let slugs =
        |items: Vec<Value>| items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = slugs(server.admin.all("/stacks", 3).await);
    assert_eq!(all, (0..7).map(|n| format!("box-{n}")).collect::<Vec<_>>());
    assert_eq!(slugs(server.admin.all("/stacks?label=even", 200).await).len(), 4);
    assert_eq!(slugs(server.admin.all("/stacks?q=crate%20box-3", 1).await), ["box-3"]);
    assert_eq!(server.admin.all("/stacks?state=never_run", 50).await.len(), 7);
    assert_eq!(server.admin.all("/stacks?state=unconfirmed", 50).await.len(), 0);
    assert!(server.admin.get("/stacks?state=nice").await.detail(422).contains("state"));
    assert!(server.admin.get("/stacks?cursor=%C3%A4").await.detail(422).contains("cursor"));
}

#[tokio::test]
async fn a_patch_merges() {
    let server = Server::start().await;
    let vendor = json!({"kind": "terraform", "workspace": "blue"});
    let body =
        json!({"name": "Shop", "vendor": vendor, "labels": ["a"], "hooks": {"before_init": ["x"], "after_run": ["y"]}});
    server.admin.post("/stacks", body).await.expect(201);
    let patch = json!({"autodeploy": true, "labels": ["b", "c"], "hooks": {"before_init": null},
        "executor": {"limits": {"wall_seconds": 60}}, "slug": "shop"});
    let stack = server.admin.patch("/stacks/shop", patch).await.expect(200).json();
    assert_eq!(stack["autodeploy"], true);
    assert_eq!(stack["labels"], json!(["b", "c"]));
    assert_eq!(stack["hooks"], json!({"after_run": ["y"]}));
    assert_eq!(stack["executor"]["limits"]["wall_seconds"], 60);
    assert_eq!(stack["executor"]["limits"]["processes"], 1024);
    assert_eq!(stack["vendor"]["workspace"], "blue");
    let patch = json!({"vendor": {"kind": "custom", "plan": "true"}, "executor": {"limits": null}});
    let stack = server.admin.patch("/stacks/shop", patch).await.expect(200).json();
    assert_eq!(
        stack["vendor"],
        json!({"kind": "custom", "init": null, "plan": "true", "apply": null, "destroy": null})
    );
    assert_eq!(stack["executor"]["limits"]["wall_seconds"], 4200);
    for (patch, named) in [
        (json!({"slug": "other"}), "never changes"),
        (json!({"name": null}), "name"),
        (json!({"state": "finished"}), "state"),
        (json!({"vendor": {"plan": 1}}), "vendor"),
    ] {
        let detail = server.admin.patch("/stacks/shop", patch).await.detail(422);
        assert!(detail.contains(named), "{detail}");
    }
    server.admin.patch("/stacks/shop", json!([1])).await.problem(422);
}

#[tokio::test]
async fn deleting_asks_for_the_slug_and_for_peace() {
    let server = Server::start().await;
    server.stack("shop").await;
    let run = server.run("shop").await;
    server.admin.delete("/stacks/shop").await.problem(422);
    server.admin.delete("/stacks/shop?confirm=shap").await.problem(422);
    assert!(server.admin.delete("/stacks/shop?confirm=shop").await.detail(409).contains("active"));
    let mut runner = server.runner(&run);
    runner.finish(airlock::protocol::WorkspaceLeft::Removed).await;
    server.admin.patch("/stacks/shop", json!({"protect_from_deletion": true})).await.expect(200);
    assert!(server.admin.delete("/stacks/shop?confirm=shop").await.detail(409).contains("protected"));
    server.admin.patch("/stacks/shop", json!({"protect_from_deletion": false})).await.expect(200);
    server.admin.delete("/stacks/shop?confirm=shop").await.expect(204);
    server.admin.get("/stacks/shop").await.problem(404);
    let kept = server.admin.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(kept["stack"], "shop");
}

#[tokio::test]
async fn a_lock_names_its_holder_and_keeps_others_out() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (_, other) = server.key("other", true, Vec::new()).await;
    let lock = server.admin.put("/stacks/shop/lock", json!({"note": "moving house"})).await.expect(200).json();
    assert_eq!(lock["by"], json!({"kind": "api_key", "name": "root"}));
    assert_eq!(lock["note"], "moving house");
    assert_eq!(server.admin.get("/stacks/shop").await.json()["lock"], lock);
    let detail = other.put("/stacks/shop/lock", json!({})).await.detail(409);
    assert!(detail.contains("root") && detail.contains("moving house"), "{detail}");
    let (_, namesake) = server.key("root", true, Vec::new()).await;
    namesake.put("/stacks/shop/lock", json!({})).await.problem(409);
    let waits = namesake.post("/stacks/shop/runs", json!({"kind": "proposed"})).await.expect(201).json();
    assert_eq!(waits["blocked_by"]["kind"], "lock", "a key of the same name is another one");
    namesake.post(&format!("/runs/{}/cancel", waits["id"].as_str().unwrap()), json!({})).await.expect(200);
    let waiting = other.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.expect(201).json();
    assert_eq!(waiting["state"], "queued");
    assert_eq!(waiting["blocked_by"], json!({"kind": "lock", "by": {"kind": "api_key", "name": "root"}}));
    server.admin.delete("/stacks/shop/lock").await.expect(204);
    server.admin.delete("/stacks/shop/lock").await.problem(409);
    let run = other.get(&format!("/runs/{}", waiting["id"].as_str().unwrap())).await.json();
    assert_eq!(run["state"], "preparing");
}
