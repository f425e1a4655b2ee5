//! A component that sends one HTTP request and prints what comes back.

const HTTP: &str = include_str!("../../wasi-http.wat");

/// Prints `[status]` and the body; where there is no answer `[number of the error code]`, and fails.
pub fn fetch(scheme: Scheme, authority: &str, path: &str) -> String {
    let (scheme, authority_len, path_len) = (scheme as u32, authority.len(), path.len());
    format!(
        r#"(component
  {HTTP}
  (core module $main
    (import "libc" "memory" (memory 4))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "request" (func $request (param i32) (result i32)))
    (import "host" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "path" (func $path (param i32 i32 i32 i32) (result i32)))
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
    (data (i32.const 1024) "{authority}")
    (data (i32.const 2048) "{path}")
    (data (i32.const 3072) "[000]\0a")
    (func $number (param $n i32)
      (i32.store8 (i32.const 3073) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 100))))
      (i32.store8 (i32.const 3074) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 3075) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (call $write (call $stdout) (i32.const 3072) (i32.const 6) (i32.const 512)))
    (func (export "run") (result i32)
      (local $r i32) (local $f i32)
      (local.set $r (call $request (call $fields)))
      (drop (call $authority (local.get $r) (i32.const 1) (i32.const 1024) (i32.const {authority_len})))
      (drop (call $scheme (local.get $r) (i32.const 1) (i32.const {scheme}) (i32.const 0) (i32.const 0)))
      (drop (call $path (local.get $r) (i32.const 1) (i32.const 2048) (i32.const {path_len})))
      (call $handle (local.get $r) (i32.const 0) (i32.const 0) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then (call $number (i32.load8_u (i32.const 264))) (return (i32.const 1))))
      (local.set $f (i32.load (i32.const 264)))
      (call $block (call $subscribe (local.get $f)))
      (call $get (local.get $f) (i32.const 256))
      (if (i32.load8_u (i32.const 272)) (then (call $number (i32.load8_u (i32.const 280))) (return (i32.const 1))))
      (local.set $f (i32.load (i32.const 280)))
      (call $number (call $status (local.get $f)))
      (call $consume (local.get $f) (i32.const 256))
      (call $stream (i32.load (i32.const 260)) (i32.const 256))
      (local.set $f (i32.load (i32.const 260)))
      (loop $more
        (call $read (local.get $f) (i64.const 4096) (i32.const 256))
        (if (i32.eqz (i32.load8_u (i32.const 256))) (then
          (call $write (call $stdout) (i32.load (i32.const 260)) (i32.load (i32.const 264)) (i32.const 512))
          (br $more))))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

#[derive(Clone, Copy)]
pub enum Scheme {
    Http,
    Https,
}

/// Numbers of error codes.
pub const IP_PROHIBITED: &str = "[004]";
pub const DENIED: &str = "[015]";
