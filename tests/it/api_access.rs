//! People, keys, sessions and tokens over the API.

use std::time::Duration;

use airlock::domain::limits;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::server::{Client, Reply, Server};

/// Invites a person, and lets them choose a password and sign in.
async fn person(server: &Server, name: &str, settings: Value) -> Client {
    let mut body = json!({"name": name});
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let invited = server.admin.post("/users", body).await.expect(201).json();
    let url = invited["invitation"]["url"].as_str().unwrap();
    let token = url.strip_prefix(&format!("{}/invitation?token=", server.url)).unwrap();
    let password = airlock::actions::Secret::new("seven green kettles".to_owned());
    server.app.actions.accept_invitation(token, None, password, None).await.unwrap();
    sign_in(server, name).await
}

async fn sign_in(server: &Server, name: &str) -> Client {
    let login = json!({"username": name, "password": "seven green kettles"});
    let answer = server.anonymous().post("/login", login).await.expect(200).json();
    assert!(answer["expires_at"].as_str().unwrap().ends_with('Z'));
    server.client(answer["token"].as_str().unwrap())
}

fn form_of(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn token(server: &Server, form: &[(&str, &str)]) -> Reply {
    Reply::of(server.anonymous().request("POST", "//oauth2/token").body(form_of(form))).await
}

#[tokio::test]
async fn a_person_comes_in_by_an_invitation_and_has_their_roles() {
    let server = Server::start().await;
    server.stack("shop").await;
    server.stack("hidden").await;
    let alice = person(&server, "alice", json!({"roles": [{"stack": "shop", "role": "reader"}]})).await;
    assert_eq!(alice.all("/stacks", 50).await.len(), 1);
    alice.get("/stacks/hidden").await.problem(404);
    let refused = alice.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.detail(403);
    assert!(refused.contains("writer") && refused.contains("reader"), "{refused}");
    alice.get("/users").await.problem(403);
    let users = server.admin.get("/users").await.expect(200).json();
    assert_eq!(users["items"][0]["roles"], json!([{"stack": "shop", "role": "reader"}]));
    assert_eq!(users["items"][0]["invited"], false);
    // More rights end the old sessions.
    let patch = json!({"roles": [{"stack": "shop", "role": "writer"}]});
    server.admin.patch("/users/alice", patch).await.expect(200);
    alice.get("/stacks").await.problem(401);
    let alice = sign_in(&server, "alice").await;
    alice.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.expect(201);
    server.admin.patch("/users/alice", json!({"enabled": false})).await.expect(200);
    alice.get("/stacks").await.problem(401);
    server
        .anonymous()
        .post("/login", json!({"username": "alice", "password": "seven green kettles"}))
        .await
        .problem(401);
    assert!(server.admin.post("/users", json!({"name": "alice"})).await.detail(409).contains("taken"));
    for (body, named) in [
        (json!({"name": "b b"}), "name"),
        (json!({"name": "bob", "roles": [{"stack": "nowhere", "role": "reader"}]}), "nowhere"),
        (json!({"name": "bob", "roles": [{"stack": "shop", "role": "king"}]}), "king"),
        (json!({"name": "bob", "password": "x"}), "password"),
    ] {
        let detail = server.admin.post("/users", body).await.detail(422);
        assert!(detail.contains(named), "{detail}");
    }
    server.admin.get("/users/nobody").await.problem(404);
    let again = server.admin.post("/users/alice/invite", json!({})).await.expect(200).json();
    assert!(again["invitation"]["url"].as_str().unwrap().contains("token="));
    let bob = json!({"name": "bob"});
    server.admin.post_once("/users", "u", bob.clone()).await.expect(201);
    assert!(server.admin.post_once("/users", "u", bob).await.detail(409).contains("only once"));
}

#[tokio::test]
async fn wrong_and_unknown_get_the_same_answer_and_wait_longer_each_time() {
    let server = Server::start().await;
    person(&server, "alice", json!({})).await;
    let try_in = |name: &'static str| {
        let stranger = server.anonymous();
        async move { stranger.post("/login", json!({"username": name, "password": "wrong password"})).await }
    };
    let (mut wrong, mut unknown) = (try_in("alice").await.problem(401), try_in("nobody").await.problem(401));
    for problem in [&mut wrong, &mut unknown] {
        problem.as_object_mut().unwrap().remove("request_id");
    }
    assert_eq!(wrong, unknown);
    let mut refused = None;
    for _ in 0..20 {
        let answer = try_in("alice").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("guessing is slowed down");
    assert!(!refused.header("retry-after").is_empty());
    server.anonymous().post("/login", json!({"username": "alice"})).await.problem(422);
}

#[tokio::test]
async fn tries_side_by_side_test_no_more_passwords_than_tries_one_after_the_other() {
    let server = Server::start().await;
    person(&server, "alice", json!({})).await;
    let guess = || {
        let stranger = server.anonymous();
        async move { stranger.post("/login", json!({"username": "alice", "password": "wrong password"})).await }
    };
    let answers = join_all((0..12).map(|_| guess())).await;
    let (tested, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 401);
    assert_eq!((tested.len(), refused.len()), (4, 8));
    for refused in refused {
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.detail(429).contains("too many passwords were tried"));
    }
    server.clock.pass(Duration::from_secs(1));
    guess().await.problem(401);
    assert_eq!(guess().await.expect(429).header("retry-after"), "2", "the wait grows, and is said");
    server.clock.pass(Duration::from_secs(2));
    for _ in 0..6 {
        sign_in(&server, "alice").await;
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_ends_when_it_is_revoked() {
    let server = Server::start().await;
    server.stack("shop").await;
    let body = json!({"name": "ci", "roles": [{"stack": "shop", "role": "writer"}]});
    let made = server.admin.post_once("/api-keys", "k", body.clone()).await.expect(201).json();
    assert_eq!(made.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "secret"]);
    assert!(server.admin.post_once("/api-keys", "k", body).await.detail(409).contains(made["id"].as_str().unwrap()));
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("ak_"));
    let ci = server.client(secret);
    ci.get("/stacks/shop").await.expect(200);
    ci.get("/api-keys").await.problem(403);
    let listed = server.admin.get("/api-keys").await.expect(200);
    assert!(!listed.text().contains(secret));
    let row = listed.json()["items"].as_array().unwrap().iter().find(|row| row["name"] == "ci").cloned().unwrap();
    assert_eq!(row["roles"], json!([{"stack": "shop", "role": "writer"}]));
    assert_eq!((&row["admin"], &row["revoked"], &row["expires_at"]), (&json!(false), &json!(false), &json!(null)));
    let path = format!("/api-keys/{}", made["id"].as_str().unwrap());
    server.admin.delete(&path).await.expect(204);
    ci.get("/stacks/shop").await.problem(401);
    server.admin.delete(&path).await.problem(409);
    let past = json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"});
    assert!(server.admin.post("/api-keys", past).await.detail(422).contains("past"));
    let soon = json!({"name": "x", "expires_at": "2026-01-01T01:00:00Z", "admin": true});
    let soon = server.admin.post("/api-keys", soon).await.expect(201).json();
    let soon = server.client(soon["secret"].as_str().unwrap());
    soon.get("/stacks").await.expect(200);
    server.clock.pass(Duration::from_hours(2));
    soon.get("/stacks").await.problem(401);
}

#[tokio::test]
async fn what_is_dangerous_asks_people_for_a_fresh_sign_in() {
    let server = Server::start().await;
    server.stack("shop").await;
    let alice = person(&server, "alice", json!({"admin": true})).await;
    alice.post("/api-keys", json!({"name": "one"})).await.expect(201);
    server.clock.pass(Duration::from_mins(11));
    let problem = alice.post("/api-keys", json!({"name": "two"})).await.problem(401);
    assert_eq!(problem["type"], "reauthenticate");
    assert_eq!(alice.delete("/stacks/shop?confirm=shop").await.problem(401)["type"], "reauthenticate");
    alice.get("/stacks/shop").await.expect(200);
    sign_in(&server, "alice").await.post("/api-keys", json!({"name": "two"})).await.expect(201);
    // A key needs no password.
    server.admin.post("/api-keys", json!({"name": "three"})).await.expect(201);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner() {
    let server = Server::start().await;
    let alice = person(&server, "alice", json!({})).await;
    let phone = sign_in(&server, "alice").await;
    let sessions = alice.all("/sessions", 1).await;
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|row| row["present"] == false).unwrap();
    assert_eq!(other["kind"], "token");
    let path = format!("/sessions/{}", other["id"].as_str().unwrap());
    let bob = person(&server, "bob", json!({})).await;
    bob.delete(&path).await.problem(404);
    phone.get("/stacks").await.expect(200);
    alice.delete(&path).await.expect(204);
    phone.get("/stacks").await.problem(401);
    server.clock.pass(Duration::from_hours(13));
    alice.get("/stacks").await.problem(401);
}

#[tokio::test]
async fn an_admin_finds_the_sessions_of_anybody_and_ends_them() {
    let server = Server::start().await;
    let alice = person(&server, "alice", json!({})).await;
    let phone = sign_in(&server, "alice").await;
    let bob = person(&server, "bob", json!({})).await;
    bob.get("/users/alice/sessions").await.problem(403);
    server.admin.get("/users/nobody/sessions").await.problem(404);
    let sessions = server.admin.all("/users/alice/sessions", 1).await;
    assert_eq!(sessions, alice.all("/sessions", 50).await.into_iter().map(absent).collect::<Vec<_>>());
    assert_eq!(sessions.len(), 2);
    let newest = sessions[0]["id"].as_str().unwrap();
    server.admin.delete(&format!("/sessions/{newest}")).await.expect(204);
    phone.get("/sessions").await.problem(401);
    alice.get("/sessions").await.expect(200);
    assert_eq!(server.admin.all("/users/alice/sessions", 50).await.len(), 1);
}

/// A session as somebody else sees it.
fn absent(mut session: Value) -> Value {
    session["present"] = json!(false);
    session
}

#[tokio::test]
async fn a_key_is_exchanged_for_a_short_token() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (id, key) = server.key("ci", true, Vec::new()).await;
    let (id, secret) = (id.to_string(), key.token().to_owned());
    let answer = token(&server, &[("grant_type", "api_token"), ("api_token", &secret)]).await.expect(200);
    assert_eq!((&answer.json()["expires_in"], &answer.json()["token_type"]), (&json!(900), &json!("bearer")));
    assert_eq!(answer.header("cache-control"), "no-store");
    let exchanged = server.client(answer.json()["access_token"].as_str().unwrap());
    exchanged.get("/stacks/shop").await.expect(200);
    // No token is made from a token.
    let form = [("grant_type", "api_token"), ("api_token", exchanged.token())];
    assert_eq!(token(&server, &form).await.expect(401).json()["error"], "invalid_client");
    server.clock.pass(Duration::from_mins(16));
    exchanged.get("/stacks/shop").await.problem(401);

    let form = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
    token(&server, &form).await.expect(200);
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("client_secret", secret.as_str()),
    ];
    token(&server, &wrong).await.expect(401);
    let as_basic = |name: &str, password: &str, grant: &'static str, ttl: &'static str| {
        let request =
            server.anonymous().request("POST", "//oauth2/token").basic_auth(name.to_owned(), Some(password.to_owned()));
        Reply::of(request.header("x-token-ttl", ttl).body(form_of(&[("grant_type", grant), ("api_token", &secret)])))
    };
    for (ttl, lives) in [("300", 300), ("1", 60), ("100000", 900), ("soon", 900)] {
        let answer = as_basic(&id, &secret, "client_credentials", ttl).await.expect(200).json();
        assert_eq!(answer["expires_in"], lives, "{ttl}");
    }
    as_basic("platform-api-user", "", "api_token", "60").await.expect(200);
    for (form, status, error) in [
        (vec![("grant_type", "api_token"), ("api_token", "ak_nonsense")], 401, "invalid_client"),
        (vec![("grant_type", "api_token")], 400, "invalid_request"),
        (vec![("grant_type", "password"), ("api_token", secret.as_str())], 400, "unsupported_grant_type"),
        (vec![("api_token", secret.as_str())], 400, "invalid_request"),
        (vec![("grant_type", "api_token"), ("grant_type", "api_token")], 400, "invalid_request"),
    ] {
        assert_eq!(token(&server, &form).await.expect(status).json()["error"], error, "{form:?}");
    }
}

#[tokio::test]
async fn the_oldest_exchanged_tokens_make_room_for_more_and_no_exchange_is_refused() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (_, key) = server.key("ci", true, Vec::new()).await;
    let form = [("grant_type", "api_token"), ("api_token", key.token())];
    let first = token(&server, &form).await.expect(200).json();
    let first = server.client(first["access_token"].as_str().unwrap());
    server.clock.pass(Duration::from_secs(1));
    let mut left = limits::TOKENS_PER_HOLDER - 1;
    while left > 0 {
        let now = left.min(100);
        for answer in join_all((0..now).map(|_| token(&server, &form))).await {
            answer.expect(200);
        }
        left -= now;
    }
    first.get("/stacks/shop").await.expect(200);
    server.clock.pass(Duration::from_secs(1));
    let more = join_all((0..=limits::TOKENS_MAKE_ROOM).map(|_| token(&server, &form))).await;
    first.get("/stacks/shop").await.problem(401);
    for answer in more {
        let token = answer.expect(200).json();
        server.client(token["access_token"].as_str().unwrap()).get("/stacks/shop").await.expect(200);
    }
}

#[tokio::test]
async fn a_credential_is_stored_and_never_shown() {
    let server = Server::start().await;
    server.stack("shop").await;
    let body = json!({"kind": "https", "user": "bot", "secret": "s3cret-token", "stacks": ["shop"]});
    let stored = server.admin.put("/credentials/forge", body).await.expect(200);
    assert!(!stored.text().contains("s3cret"));
    assert_eq!(stored.json()["stacks"], json!(["shop"]));
    let source = json!({"kind": "git", "url": "https://example.org/x.git", "branch": "main", "credential": "forge"});
    server.admin.patch("/stacks/shop", json!({"source": source})).await.expect(200);
    assert!(server.admin.delete("/credentials/forge").await.detail(409).contains("shop"));
    // Without a secret the stored one stays.
    server
        .admin
        .put("/credentials/forge", json!({"kind": "https", "user": "bot2", "stacks": ["shop"]}))
        .await
        .expect(200);
    server.admin.put("/credentials/new", json!({"kind": "https", "user": "x"})).await.problem(422);
    server.admin.put("/credentials/new", json!({"kind": "ssh", "secret": "key!"})).await.problem(422);
    server.admin.put("/credentials/No", json!({"kind": "ssh", "secret": "key!"})).await.problem(422);
    assert!(!server.admin.get("/credentials").await.expect(200).text().contains("s3cret"));
    server.admin.patch("/stacks/shop", json!({"source": {"kind": "upload"}})).await.expect(200);
    server.admin.delete("/credentials/forge").await.expect(204);
}

#[tokio::test]
async fn the_audit_log_tells_what_was_done_and_what_was_refused() {
    let server = Server::start().await;
    server.stack("shop").await;
    let (_, nobody) = server.key("nobody", false, Vec::new()).await;
    nobody.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.problem(404);
    nobody.post("/users", json!({"name": "x"})).await.problem(403);
    let refused = server.admin.all("/audit?actor=nobody", 1).await;
    let shown: Vec<_> = refused.iter().map(|row| [&row["verb"], &row["object"], &row["outcome"]]).collect();
    let expected = [
        [&json!("user.manage"), &json!("installation"), &json!("refused")],
        [&json!("run.trigger"), &json!("stack:shop"), &json!("refused")],
    ];
    assert_eq!(shown, expected);
    assert_eq!(refused[0]["actor"], json!({"kind": "api_key", "name": "nobody"}));
    assert_eq!(refused[0]["address"], "127.0.0.1");
    let of_stack = server.admin.get("/audit?object=stack:shop&verb=stack.create").await.expect(200).json();
    assert_eq!(of_stack["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.admin.all("/audit?to=2026-01-01T00:00:00Z", 50).await.len(), 0);
    assert!(server.admin.get("/audit?from=yesterday").await.detail(422).contains("from"));
    nobody.get("/audit").await.problem(403);

    let export = server.admin.get("/audit?format=jsonl").await.expect(200);
    let entries: Vec<airlock::queries::AuditEntry> =
        export.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = entries.len() as u64;
    assert!(count > 5);
    match airlock::actions::verify(entries) {
        airlock::actions::Verification::Whole { entries, .. } => assert_eq!(entries, count),
        broken @ airlock::actions::Verification::Broken { .. } => panic!("{broken:?}"),
    }
}
