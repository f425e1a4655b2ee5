//! Variables and mounted files over the API.

use serde_json::json;

use super::server::Server;

#[tokio::test]
async fn a_sensitive_value_never_comes_back() {
    let server = Server::start().await;
    server.stack("shop").await;
    let path = "/stacks/shop/environment/TOKEN";
    let set =
        server.admin.put(path, json!({"value": "hunter2hunter2", "sensitive": true, "description": "for the API"}));
    let set = set.await.expect(201);
    assert!(!set.text().contains("hunter2"));
    assert_eq!(set.json()["value"], json!(null));
    assert_eq!(set.json()["sensitive"], true);
    let hash = set.json()["hash"].clone();
    server.admin.put("/stacks/shop/environment/PLAIN", json!({"value": "a\nb"})).await.expect(201);
    let listed = server.admin.get("/stacks/shop/environment").await.expect(200);
    assert!(!listed.text().contains("hunter2"));
    assert_eq!(listed.json()["items"][0]["name"], "PLAIN");
    assert_eq!(listed.json()["items"][0]["value"], "a\nb");
    assert_eq!(listed.json()["items"][1]["hash"], hash);
    assert!(!server.admin.get("/audit?format=jsonl").await.text().contains("hunter2"));
    let again = server.admin.put(path, json!({"value": "hunter2hunter2", "sensitive": true})).await.expect(200);
    assert_eq!(again.json()["hash"], hash);
    server.admin.delete(path).await.expect(204);
    server.admin.delete(path).await.problem(404);
}

#[tokio::test]
async fn variables_that_cannot_be_are_refused_with_the_rule() {
    let server = Server::start().await;
    server.stack("shop").await;
    let put = |name: &str, body| {
        let path = format!("/stacks/shop/environment/{name}");
        let admin = server.admin.clone();
        async move { admin.put(&path, body).await.detail(422) }
    };
    assert!(put("1A", json!({"value": "x"})).await.contains("digit"));
    assert!(put("A", json!({"value": "abc", "sensitive": true})).await.contains("at least 4"));
    assert!(put("A", json!({"value": "a\0b"})).await.contains("NUL"));
    assert!(put("A", json!({"value": "x", "secret": true})).await.contains("secret"));
    assert!(put("AIRLOCK_RUN_ID", json!({"value": "x"})).await.contains("AIRLOCK_"));
    // Longer than other bodies may be, and still a variable.
    server.admin.put("/stacks/shop/environment/LONG", json!({"value": "x".repeat(100_000)})).await.expect(201);
    assert!(put("LONG", json!({"value": "x".repeat(130_000)})).await.contains("mount a file"));
    server.admin.put("/stacks/shop/environment/LONG", json!({"value": "x".repeat(900_000)})).await.problem(413);
}

#[tokio::test]
async fn files_are_mounted_by_path_and_only_described_afterwards() {
    let server = Server::start().await;
    server.stack("shop").await;
    let file =
        server.admin.raw("PUT", "/stacks/shop/files/etc/app.conf?sensitive=true", "s3cret content").await.expect(201);
    assert!(!file.text().contains("s3cret"));
    assert_eq!(file.json()["path"], "etc/app.conf");
    assert_eq!(file.json()["size"], 14);
    assert_eq!(
        server.admin.raw("PUT", "/stacks/shop/files/etc/app.conf", vec![0_u8; 2_000_000]).await.expect(200).json()["sensitive"],
        false
    );
    let listed = server.admin.get("/stacks/shop/files").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    server.admin.raw("PUT", "/stacks/shop/files/big", vec![0_u8; 2_000_001]).await.problem(413);
    assert!(server.admin.raw("PUT", "/stacks/shop/files/a%2F..%2Fb", "x").await.detail(422).contains("path"));
    assert!(server.admin.raw("PUT", "/stacks/shop/files/x?mode=1", "x").await.detail(422).contains("mode"));
    server.admin.delete("/stacks/shop/files/etc/app.conf").await.expect(204);
    server.admin.delete("/stacks/shop/files/etc/app.conf").await.problem(404);
}
