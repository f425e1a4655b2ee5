//! Ways around the caps: numbers that nobody means, files that are larger than what is in them, calls that
//! cost the host more than the guest, code that costs a compiler more than it says.

use airlock::{
    domain::{Phase, Verdict},
    protocol::{DenialKind, WorkspaceGrant},
};

use super::{
    rig::Guest,
    wat::{CREATE, WRITE, core, module, open, text},
};
use crate::tests;

tests![
    numbers_that_nobody_means_are_errors,
    a_file_is_not_longer_than_what_may_be_written,
    hollow_files_leave_no_more_than_the_cap,
    a_hard_link_carries_no_right_over,
    a_hard_link_in_a_copy_leaves_the_original_alone,
    directories_that_are_too_deep_are_left_out,
    a_directory_is_not_listed_beyond_the_guest_s_time,
    a_component_that_wants_gigabytes_of_a_call_traps,
    a_component_that_only_calls_the_host_ends_on_time,
    thousands_of_instances_are_refused,
    calls_in_place_of_returns_cost_fuel,
    proposals_that_are_off_are_refused_with_the_reason,
    code_that_is_small_and_costs_a_compiler_much_ends_with_a_verdict,
];

fn numbers_that_nobody_means_are_errors() {
    // The same call with a number that is meant comes after each.
    for (call, huge, meant) in [
        ("poll", "(call $poll (i32.const 512) (i32.const 640) (i32.const N) (i32.const 8))", "1"),
        ("read", "(call $fd_read (i32.const 0) (i32.const 512) (i32.const N) (i32.const 8))", "1"),
        ("write", "(call $fd_write (i32.const 1) (i32.const 512) (i32.const N) (i32.const 8))", "1"),
        ("random", "(call $random (i32.const 4096) (i32.const N))", "64"),
    ] {
        let with = |n: &str| Guest::wat(&core(&[], &format!("(call $check {})", huge.replace('N', n)))).run();
        for n in ["-1", "0x7fffffff", "0x10000000"] {
            let outcome = with(n);
            assert!(
                matches!(&outcome.verdict, Verdict::Exited { code } if *code != 0)
                    || matches!(outcome.verdict, Verdict::Trapped { .. }),
                "{call} {n}: {outcome:#?}"
            );
            assert!(outcome.receipt().fuel_used.is_some(), "the engine lives to tell: {outcome:#?}");
        }
        with(meant).succeeded();
    }
}

/// Makes files `a`, `b`, … below a directory, each of so many bytes of which none is written.
fn hollow(dir: u32, files: u8, bytes: u64) -> String {
    let one = |n: u8| {
        format!(
            "(i32.store8 (i32.const {}) (i32.const {})) {} (call $check (call $set_size (call $opened) (i64.const {bytes})))",
            text(0),
            b'a' + n,
            open(dir, 0, 1, CREATE, WRITE)
        )
    };
    core(&["a"], &(0..files).map(one).collect::<String>())
}

fn a_file_is_not_longer_than_what_may_be_written() {
    let cap = 8 << 20;
    let made = open(4, 0, 1, CREATE, WRITE);
    for (call, longer) in [
        ("fd_filestat_set_size", "(call $set_size (call $opened) (i64.const N))"),
        ("fd_pwrite", "(call $pwrite (call $opened) (i32.const 512) (i32.const 1) (i64.const N) (i32.const 8))"),
        ("fd_allocate", "(call $allocate (call $opened) (i64.const 0) (i64.const N))"),
    ] {
        let with = |n: u64| {
            let body = format!(
                "{made} (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.const 1))
                 (call $check {})",
                longer.replace('N', &n.to_string())
            );
            Guest::wat(&core(&["x"], &body)).caps(|caps| caps.files_bytes = cap).run()
        };
        for n in [1 << 40, i64::MAX as u64 - 4_096] {
            let outcome = with(n);
            assert_ne!(outcome.verdict, Verdict::SUCCESS, "{call} {n}: {outcome:#?}");
            let kept: u64 = outcome.produced.artifacts.iter().map(|artifact| artifact.bytes).sum();
            assert!(kept <= cap, "{call} {n}: {kept}");
        }
        if call != "fd_allocate" {
            with(4_096).succeeded();
        }
    }
}

fn hollow_files_leave_no_more_than_the_cap() {
    let cap = 8_u64 << 20;
    // As artifacts: those are copied that fit.
    let outcome = Guest::wat(&hollow(4, 5, cap)).caps(|caps| caps.files_bytes = cap).run();
    outcome.succeeded();
    let kept: Vec<u64> = outcome.produced.artifacts.iter().map(|artifact| artifact.bytes).collect();
    assert_eq!(kept, [cap], "{outcome:#?}");
    assert!(outcome.produced.warnings[0].contains("4 entries"), "{outcome:#?}");

    // As changes that become the workspace's: none are, where all do not fit.
    let keeps = |files: u8, bytes: u64| {
        let mut guest = Guest::wat(&hollow(3, files, bytes)).caps(|caps| caps.files_bytes = cap);
        guest = guest.workspace(WorkspaceGrant::Keep, &[("file", "as it was")]);
        guest.phase = Phase::Applying;
        guest.run()
    };
    let outcome = keeps(5, cap);
    assert!(matches!(outcome.verdict, Verdict::FileLimit { limit_bytes, .. } if limit_bytes == cap), "{outcome:#?}");
    keeps(5, 4_096).succeeded();
}

/// Links the first text below a directory to the second below another.
fn link(from: u32, to: u32) -> String {
    format!(
        "(call $check (call $link (i32.const {from}) (i32.const 0) (i32.const {}) (i32.const 4)
           (i32.const {to}) (i32.const {}) (i32.const 3)))",
        text(0),
        text(1)
    )
}

/// Writes four bytes over what is open, from its beginning.
fn overwrite(path: usize, len: usize) -> String {
    open(3, path, len, 0, WRITE)
        + &format!("(call $check (call $write (call $opened) (i32.const {}) (i32.const 4)))", text(2))
}

fn a_hard_link_carries_no_right_over() {
    let texts = ["file", "new", "done"];
    for (to, kind) in [(3, DenialKind::Write), (4, DenialKind::Write), (5, DenialKind::Write)] {
        let guest = Guest::wat(&core(&texts, &link(3, to))).workspace(WorkspaceGrant::Read, &[("file", "as it was")]);
        let outcome = guest.run();
        assert_ne!(outcome.code(), 0, "{to}");
        if to == 3 {
            assert!(outcome.denied(kind, "path_link"), "{:#?}", outcome.receipt());
        }
        assert!(outcome.artifact("new").is_none());
    }
    // The control: a link of its own within its own.
    let own = open(5, 0, 4, CREATE, WRITE) + &link(5, 5);
    let outcome = Guest::wat(&core(&texts, &own)).workspace(WorkspaceGrant::Read, &[]).run();
    assert!(outcome.succeeded().artifact("new").is_some());
}

fn a_hard_link_in_a_copy_leaves_the_original_alone() {
    let body = link(3, 3) + &overwrite(1, 3);
    let guest = Guest::wat(&core(&["file", "new", "done"], &body));
    let guest = guest.workspace(WorkspaceGrant::Write, &[("file", "as it was")]);
    let outcome = guest.run();
    outcome.succeeded();
    for line in ["-as it was", "+donet was", "+++ b/new"] {
        assert!(outcome.patch().contains(line), "{}", outcome.patch());
    }
}

/// Makes so many directories, each in the one before, with names of two hundred characters, and a file
/// beside the first.
fn deep(dir: u32, levels: u32) -> String {
    let name = "d".repeat(200);
    let body = format!(
        "(local $n i32) (local $dir i32) (local $last i32)
         {} (call $check (call $close (call $opened)))
         (local.set $dir (i32.const {dir}))
         (loop $again
           (call $check (call $mkdir (local.get $dir) (i32.const {1}) (i32.const 200)))
           (call $check (call $path_open (local.get $dir) (i32.const 0) (i32.const {1}) (i32.const 200) (i32.const 2)
             (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 12)))
           (local.set $last (local.get $dir))
           (local.set $dir (call $opened))
           (if (i32.gt_u (local.get $last) (i32.const 5)) (then (call $check (call $close (local.get $last)))))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const {levels}))))",
        open(dir, 0, 4, CREATE, WRITE),
        text(1)
    );
    core(&["file", &name], &body)
}

fn directories_that_are_too_deep_are_left_out() {
    for levels in [60, 600] {
        let outcome = Guest::wat(&deep(4, levels)).run();
        outcome.succeeded();
        assert_eq!(outcome.artifact("file").unwrap(), b"", "{outcome:#?}");
        assert_eq!(outcome.produced.warnings.len(), 1, "{outcome:#?}");
    }
    // As a change it is more than a patch can say: the run fails, with the reason and its receipt.
    for grant in [WorkspaceGrant::Write, WorkspaceGrant::Keep] {
        let guest = Guest::wat(&deep(3, 60)).workspace(grant, &[]);
        let outcome = guest.run();
        assert!(
            matches!(&outcome.verdict, Verdict::Refused { reason } if reason.contains("directories within each other")),
            "{outcome:#?}"
        );
        assert!(outcome.receipt().fuel_used.is_some());
    }
    // The control.
    let outcome = Guest::wat(&deep(3, 5)).workspace(WorkspaceGrant::Write, &[]).run();
    assert!(outcome.succeeded().patch().contains("+++ b/file") || outcome.patch().contains("b/file"));
}

fn a_directory_is_not_listed_beyond_the_guest_s_time() {
    let make = "(local $n i32)
      (loop $more
        (i32.store8 (i32.const 1024) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
        (i32.store8 (i32.const 1025) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
        (i32.store8 (i32.const 1026) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 8)) (i32.const 15))))
        (call $check (call $mkdir (i32.const 4) (i32.const 1024) (i32.const 3)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $n) (i32.const 2000))))";
    let with = |again: &str| {
        let list = format!(
            "{make} (loop $again
               (call $check (call $readdir (i32.const 4) (i32.const 4096) (i32.const 100) (i64.const 1990) (i32.const 8)))
               {again})"
        );
        Guest::wat(&core(&["aaa"], &list)).caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 1)).run()
    };
    with("(br $again)").timed_out();
    with("").succeeded();
}

/// A component that asks for so many random bytes, and then does what `after` says.
fn asks(len: u64, after: &str) -> String {
    format!(
        r#"(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $libc (memory (export "memory") 40)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $libc (instantiate $libc))
  (core func $bytes (canon lower (func $random "get-random-bytes")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core instance $host (export "bytes" (func $bytes)))
  (core module $main
    (import "libc" "memory" (memory 40))
    (import "host" "bytes" (func $bytes (param i64 i32)))
    (func (export "run") (result i32)
      (loop $again (call $bytes (i64.const {len}) (i32.const 256)) {after})
      (i32.const 0)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

fn a_component_that_wants_gigabytes_of_a_call_traps() {
    for len in [4 << 30, u64::MAX] {
        let outcome = Guest::wat(&asks(len, "")).run();
        assert!(matches!(outcome.verdict, Verdict::Trapped { .. }), "{outcome:#?}");
        assert!(outcome.receipt().fuel_used.is_some(), "{outcome:#?}");
    }
    Guest::wat(&asks(1 << 20, "")).run().succeeded();
}

fn a_component_that_only_calls_the_host_ends_on_time() {
    let with = |after: &str| {
        Guest::wat(&asks(1 << 20, after)).caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 1)).run()
    };
    with("(br $again)").timed_out();
    with("").succeeded();
}

fn thousands_of_instances_are_refused() {
    let with = |instances: usize| {
        let more = "(core instance (instantiate $small))".repeat(instances);
        Guest::wat(&format!(
            r#"(component
  (core module $small (memory 1))
  {more}
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
        ))
        .run()
    };
    let outcome = with(900);
    assert!(matches!(&outcome.verdict, Verdict::Trapped { reason } if reason.contains("too high")), "{outcome:#?}");
    let outcome = with(20_000);
    assert!(matches!(outcome.verdict, Verdict::Refused { .. }), "{outcome:#?}");
    with(5).succeeded();
}

fn calls_in_place_of_returns_cost_fuel() {
    let with = |most: u32| {
        let again = format!(
            "(func $again (param $n i32)
               (if (i32.lt_u (local.get $n) (i32.const {most}))
                 (then (return_call $again (i32.add (local.get $n) (i32.const 1))))))"
        );
        Guest::wat(&module(&[], &again, "(call $again (i32.const 0))")).caps(|caps| caps.fuel = 100_000_000).run()
    };
    assert_eq!(with(u32::MAX).verdict, Verdict::OutOfFuel { fuel: 100_000_000 });
    // The control: deeper than any stack.
    with(1_000_000).succeeded();
}

fn proposals_that_are_off_are_refused_with_the_reason() {
    for (text, why) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
        ("(tag)", "exceptions"),
        ("(type (struct))", "gc"),
    ] {
        let outcome = Guest::wat(&format!("(module {text} (func (export \"_start\")))")).run();
        let said = format!("{:?}", outcome.verdict);
        assert!(matches!(outcome.verdict, Verdict::Refused { .. }) && said.contains(why), "{text}: {outcome:#?}");
    }
    let outcome = Guest::wat(r#"(module (memory 1) (memory 1) (func (export "_start")))"#).run();
    assert!(matches!(&outcome.verdict, Verdict::Trapped { reason } if reason.contains("memory")), "{outcome:#?}");
}

/// A number as WebAssembly writes one.
fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        bytes.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return bytes;
        }
    }
}

/// A module with this one function, which is `_start`, and a type of so many results as the second.
fn one_function(body: &[u8], results: usize) -> Vec<u8> {
    let section = |id: u8, content: &[u8]| [&[id][..], &leb(content.len()), content].concat();
    let types = [&[2, 0x60, 0, 0, 0x60, 0][..], &leb(results), &vec![0x7f; results]].concat();
    let code = [&[0][..], body, &[0x0b]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &types),
        section(3, &[1, 0]),
        section(7, &[&[1, 6][..], b"_start", &[0, 0]].concat()),
        section(10, &[&[1][..], &leb(code.len()), &code].concat()),
    ]
    .concat()
}

/// Blocks within blocks.
fn nested(depth: usize) -> Vec<u8> {
    one_function(&[[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat(), 0)
}

/// A table of branches, each of which carries as many values as a type may have.
fn branches(targets: usize, values: usize) -> Vec<u8> {
    let zeros = [0x41, 0].repeat(values);
    let table = [&[0x41, 0, 0x0e][..], &leb(targets), &vec![0; targets + 1]].concat();
    one_function(&[&[0x02, 0x01][..], &zeros, &table, &[0x0b], &vec![0x1a; values]].concat(), values)
}

fn code_that_is_small_and_costs_a_compiler_much_ends_with_a_verdict() {
    Guest::bytes(nested(50)).run().succeeded();
    Guest::bytes(branches(10, 10)).run().succeeded();
    for (what, code) in [("nested", nested(900_000)), ("branches", branches(1_900_000, 900))] {
        let outcome = Guest::bytes(code).run();
        let ended = matches!(outcome.verdict, Verdict::Refused { .. } | Verdict::Exited { code: 0 });
        assert!(ended, "{what}: {outcome:#?}");
    }
}
