//! Guests at hand, without a server.

use std::fs;

use super::rig::Desk;

/// Prints, writes `/output/a`, and changes `/workspace/a` where it may.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "hello\n")
  (data (i32.const 80) "a")
  (func $leave (param $dir i32)
    (if (i32.eqz (call $open (local.get $dir) (i32.const 0) (i32.const 80) (i32.const 1) (i32.const 9)
                   (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
      (then (drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8))))))
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $leave (i32.const 3)) (call $leave (i32.const 5))))"#;

fn desk() -> Desk {
    let desk = Desk::new();
    fs::write(desk.path("guest.wasm"), wat::parse_str(GUEST).unwrap()).unwrap();
    fs::write(desk.path("endless.wasm"), wat::parse_str(r#"(module (func (export "_start") (loop (br 0))))"#).unwrap())
        .unwrap();
    desk.write("work/a", "before\n");
    desk
}

#[test]
fn a_guest_is_tried_and_what_it_leaves_is_saved() {
    let desk = desk();
    let ran = desk.run(&["guest", "run", "guest.wasm", "--workspace", "work", "--write", "--save", "out"]).expect(0);
    assert!(ran.out.contains("hello\n") && ran.err.contains("-- exit 0"), "{ran:#?}");
    assert_eq!(fs::read_to_string(desk.path("out/output/a")).unwrap(), "hello\n");
    let patch = fs::read_to_string(desk.path("out/changes.patch")).unwrap();
    assert!(patch.contains("-before\n+hello\n"), "{patch}");
    assert_eq!(fs::read_to_string(desk.path("work/a")).unwrap(), "before\n");
    // Without the grant it is refused, and the receipt says so.
    let told = desk.run(&["guest", "run", "guest.wasm", "--workspace", "work", "--json"]).expect(0).json();
    assert_eq!(told["receipt"]["denials"][0]["kind"], "write", "{told:#}");
    assert!(told["patch"].is_null() && told["log"].as_str().unwrap().contains("hello"), "{told:#}");
}

#[test]
fn the_bundled_guests_are_at_hand_by_name() {
    let desk = desk();
    desk.write("work/notes.md", "one\nTODO two\n");
    desk.run(&["guest", "run", "surveyor", "--workspace", "work", "--save", "out"]).expect(0);
    let report = fs::read_to_string(desk.path("out/output/report.json")).unwrap();
    assert!(report.contains("notes.md"), "{report}");
    let edit = ["guest", "run", "patcher", "--arg", "append", "--arg", "a", "--arg", "after", "--workspace", "work"];
    let told = desk.run(&[&edit[..], &["--write", "--json"]].concat()).expect(0).json();
    assert!(told["patch"].as_str().unwrap().contains("+after\n"), "{told:#}");
    let plan =
        |action: &str| format!(r#"[{{"address": "db.main", "type": "db", "action": "{action}", "before": {{}}}}]"#);
    for (action, code) in [("create", 0), ("delete", 1)] {
        let ran = desk.run_with(&["guest", "run", "guard", "--stdin", "-"], &plan(action), &[]).expect(code);
        assert!(ran.out.contains(if code == 0 { "none of them forbidden" } else { "db.main" }), "{ran:#?}");
    }
}

#[test]
fn a_cap_that_is_hit_is_a_failure_with_a_name() {
    let desk = desk();
    let ran = desk.run(&["guest", "run", "endless.wasm", "--fuel", "1000000"]).expect(1);
    assert!(ran.err.contains("fuel"), "{ran:#?}");
    let told = desk.run(&["guest", "run", "endless.wasm", "--fuel", "1000000", "--json"]).expect(1).json();
    assert_eq!((&told["verdict"]["kind"], &told["receipt"]["fuel_used"]), (&"out_of_fuel".into(), &1_000_000.into()));
}

#[test]
fn what_is_no_guest_is_refused_before_anything_is_made() {
    let desk = desk();
    desk.write("text.wat", "(module)");
    let refused = desk.run(&["guest", "run", "text.wat"]).expect(3);
    assert!(refused.err.contains("wasm-tools"), "{refused:#?}");
    desk.run(&["guest", "run", "missing.wasm"]).expect(4);
    let ran = desk.run(&["guest", "run", "guest.wasm", "--header", "a.example=X-Key:NOT_THERE"]).expect(64);
    assert!(ran.err.contains("NOT_THERE"), "{ran:#?}");
    let told = desk.run(&["guest", "inspect", "guest.wasm", "--json"]).expect(0).json();
    assert_eq!((&told["kind"], &told["exports"][1]), (&"core".into(), &"_start".into()));
}

#[test]
fn what_a_guest_prints_commands_no_terminal() {
    let desk = desk();
    let loud = GUEST.replace("hello\\n", "\\1b[2J\\n");
    assert_ne!(loud, GUEST);
    fs::write(desk.path("loud.wasm"), wat::parse_str(loud).unwrap()).unwrap();
    let ran = desk.run(&["guest", "run", "loud.wasm"]).expect(0);
    assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:#?}");
    // The control: it did print that.
    let told = desk.run(&["guest", "run", "loud.wasm", "--json"]).expect(0).json();
    assert!(told["log"].as_str().unwrap().contains("\x1b[2J"), "{told:#}");
}
