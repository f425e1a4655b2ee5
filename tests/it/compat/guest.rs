//! A guest that gets a token where it runs and triggers other tasks by it, written by hand: it knows
//! nothing of Airlock but an address.

use serde_json::{Value, json};

use super::{CONFIG, Compat};

const HTTP: &str = include_str!("../../wasi-http.wat");

/// Asks for a token, then triggers `greet` and `chief`. Prints `[status]` of each answer, or the number
/// of the error where there was none.
fn program() -> String {
    format!(
        r#"(component
  {HTTP}
  (core module $main
    (import "libc" "memory" (memory 4))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "request" (func $request (param i32) (result i32)))
    (import "host" "method" (func $method (param i32 i32 i32 i32) (result i32)))
    (import "host" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "path" (func $path (param i32 i32 i32 i32) (result i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "out" (func $out (param i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "handle" (func $handle (param i32 i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "get" (func $get (param i32 i32)))
    (import "host" "status" (func $status (param i32) (result i32)))
    (import "host" "consume" (func $consume (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 1024) "localhost:8200")
    (data (i32.const 1100) "/oauth2/token")
    (data (i32.const 1200) "/projects/shop/environments/main/tasks/greet/run")
    (data (i32.const 1300) "/projects/shop/environments/main/tasks/chief/run")
    (data (i32.const 1400) "grant_type=client_credentials")
    (data (i32.const 1500) "content-type")
    (data (i32.const 1520) "application/x-www-form-urlencoded")
    (data (i32.const 1600) "authorization")
    (data (i32.const 1620) "x-token-ttl")
    (data (i32.const 1640) "60")
    (data (i32.const 1700) "\22access_token\22:\22")
    (data (i32.const 3072) "[000]\0a")
    (data (i32.const 4096) "Bearer ")
    (global $token (mut i32) (i32.const 0))
    (global $got (mut i32) (i32.const 0))
    (func $number (param $n i32)
      (i32.store8 (i32.const 3073) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 100))))
      (i32.store8 (i32.const 3074) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 3075) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (call $write (call $stdout) (i32.const 3072) (i32.const 6) (i32.const 512)))
    ;; POST with a body of so many bytes, and the token, if there is one; the answer is at 20000.
    (func $post (param $at i32) (param $len i32) (param $send i32) (result i32)
      (local $r i32) (local $f i32) (local $b i32)
      (local.set $f (call $fields))
      (if (local.get $send) (then
        (call $append (local.get $f) (i32.const 1500) (i32.const 12) (i32.const 1520) (i32.const 33) (i32.const 512))
        (call $append (local.get $f) (i32.const 1620) (i32.const 11) (i32.const 1640) (i32.const 2) (i32.const 512))))
      (if (global.get $token) (then
        (call $append (local.get $f) (i32.const 1600) (i32.const 13)
          (i32.const 4096) (i32.add (i32.const 7) (global.get $token)) (i32.const 512))))
      (local.set $r (call $request (local.get $f)))
      (drop (call $method (local.get $r) (i32.const 2) (i32.const 0) (i32.const 0)))
      (drop (call $authority (local.get $r) (i32.const 1) (i32.const 1024) (i32.const 14)))
      (drop (call $scheme (local.get $r) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
      (drop (call $path (local.get $r) (i32.const 1) (local.get $at) (local.get $len)))
      (call $body (local.get $r) (i32.const 256))
      (local.set $b (i32.load (i32.const 260)))
      (call $handle (local.get $r) (i32.const 0) (i32.const 0) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then (call $number (i32.load8_u (i32.const 264))) (return (i32.const 1))))
      (local.set $f (i32.load (i32.const 264)))
      (if (local.get $send) (then
        (call $out (local.get $b) (i32.const 256))
        (local.set $r (i32.load (i32.const 260)))
        (call $write (local.get $r) (i32.const 1400) (local.get $send) (i32.const 512))
        (call $drop (local.get $r))))
      (call $finish (local.get $b) (i32.const 0) (i32.const 0) (i32.const 256))
      (call $block (call $subscribe (local.get $f)))
      (call $get (local.get $f) (i32.const 256))
      (if (i32.load8_u (i32.const 272)) (then (call $number (i32.load8_u (i32.const 280))) (return (i32.const 1))))
      (local.set $f (i32.load (i32.const 280)))
      (call $number (call $status (local.get $f)))
      (call $consume (local.get $f) (i32.const 256))
      (call $stream (i32.load (i32.const 260)) (i32.const 256))
      (local.set $f (i32.load (i32.const 260)))
      (global.set $got (i32.const 0))
      (loop $more
        (call $read (local.get $f) (i64.const 4096) (i32.const 256))
        (if (i32.eqz (i32.load8_u (i32.const 256))) (then
          (memory.copy (i32.add (i32.const 20000) (global.get $got)) (i32.load (i32.const 260)) (i32.load (i32.const 264)))
          (global.set $got (i32.add (global.get $got) (i32.load (i32.const 264))))
          (br $more))))
      (i32.const 0))
    (func $matches (param $at i32) (result i32)
      (local $n i32)
      (loop $next
        (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $n))) (i32.load8_u (i32.add (i32.const 1700) (local.get $n))))
          (then (return (i32.const 0))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $n) (i32.const 16))))
      (i32.const 1))
    ;; Takes the token out of the answer.
    (func $keep
      (local $at i32)
      (local.set $at (i32.const 20000))
      (block $found (loop $search
        (br_if $found (call $matches (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $search (i32.lt_u (local.get $at) (i32.const 22000)))
        (unreachable)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (block $end (loop $copy
        (br_if $end (i32.eq (i32.load8_u (local.get $at)) (i32.const 34)))
        (i32.store8 (i32.add (i32.const 4103) (global.get $token)) (i32.load8_u (local.get $at)))
        (global.set $token (i32.add (global.get $token) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $copy))))
    (func (export "run") (result i32)
      (if (call $post (i32.const 1100) (i32.const 13) (i32.const 29)) (then (return (i32.const 1))))
      (call $keep)
      (drop (call $post (i32.const 1200) (i32.const 48) (i32.const 0)))
      (drop (call $post (i32.const 1300) (i32.const 48) (i32.const 0)))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_its_token_where_it_runs_and_triggers_what_it_is_authorized_for() {
    let compat = Compat::with("tasks: {}").await;
    let guest = wat::parse_str(program()).unwrap();
    let task = |authorizations: Value| json!({"type": "wasi:client.wasm", "run": {"command": ""}, "authorizations": authorizations});
    let tasks = json!({"tasks": {
        "greet": {"type": "native", "run": {"command": "echo hello"}},
        "chief": task(json!([{"type": "task", "resource": "greet", "action": "operate"}])),
        "nobody": task(json!([])),
    }});
    compat.server.upload("shop", &[(CONFIG, tasks.to_string().as_bytes()), ("client.wasm", &guest[..])]).await;
    for (name, statuses) in [("chief", "[200]\n[202]\n[403]\n"), ("nobody", "[200]\n[403]\n[403]\n")] {
        let activity = compat.run(name, json!({})).await;
        let log = compat.log(&activity, "").await;
        let messages: String = log.iter().filter_map(|item| item["data"]["message"].as_str()).collect();
        assert!(messages.contains(statuses), "{name}: {messages}");
        let receipt = compat.get(&format!("/api/v1/runs/{}/receipt", activity["id"].as_str().unwrap())).await;
        assert_eq!(
            (&receipt["hosts"][0]["host"], &receipt["hosts"][0]["requests"]),
            (&json!("localhost:8200"), &json!(3)),
            "{receipt:#}"
        );
        assert!(!receipt.to_string().contains("Bearer") && !messages.contains("Bearer"));
    }
    let list = compat.get("/projects/shop/activities?count=9").await;
    let children = list.as_array().unwrap().iter().filter(|one| one["parameters"]["task"] == "greet").count();
    assert_eq!(children, 1);
}
