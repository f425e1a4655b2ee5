//! Every cap with a verdict of its own.

use airlock::{
    domain::Verdict,
    protocol::{DenialKind, GuestClock, StandardInput},
};

use super::{
    rig::{Guest, Outcome},
    wat::{CREATE, WRITE, core, module, open, sleep, text},
};
use crate::tests;

tests![
    an_endless_loop_runs_out_of_fuel,
    an_endless_loop_with_fuel_runs_out_of_time,
    a_guest_that_sleeps_ends_on_time,
    a_guest_that_polls_on_and_on_ends_on_time,
    a_guest_that_reads_its_input_on_and_on_ends_on_time,
    a_guest_that_only_calls_the_host_ends_on_time,
    a_guest_that_only_calls_the_host_hears_a_request_to_end,
    a_guest_that_sleeps_hears_a_request_to_end,
    a_request_to_end_that_comes_with_the_first_word_is_heard,
    an_endless_start_function_ends_too,
    memory_ends_at_its_cap,
    a_guest_that_only_asks_for_memory_is_ended,
    deep_recursion_is_a_trap,
    a_table_of_a_gibibyte_is_refused,
    opening_files_without_end_is_a_trap_for_the_guest_alone,
    a_flood_on_either_stream_ends_at_the_cap,
    files_end_at_their_number,
    files_end_at_their_bytes,
    sockets_are_refused,
];

const LOOP: &str = "(loop $again (br $again))";

fn an_endless_loop_runs_out_of_fuel() {
    let counted = |n: u64| {
        format!(
            "(local $n i64) (local.set $n (i64.const {n}))
             (loop $again (local.set $n (i64.sub (local.get $n) (i64.const 1)))
               (br_if $again (i64.ne (local.get $n) (i64.const 0))))"
        )
    };
    let with = |text: &str| Guest::wat(&core(&[], text)).caps(|caps| caps.fuel = 10_000_000).run();
    let outcome = with(LOOP);
    assert_eq!(outcome.verdict, Verdict::OutOfFuel { fuel: 10_000_000 });
    assert_eq!(outcome.receipt().fuel_used, Some(10_000_000));
    // The control: a loop that ends.
    with(&counted(100_000)).succeeded();
}

fn an_endless_loop_with_fuel_runs_out_of_time() {
    let guest = Guest::wat(&core(&[], LOOP)).caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 1));
    let outcome = guest.run();
    outcome.timed_out();
    assert!(outcome.receipt().fuel_used > Some(1_000_000), "{outcome:#?}");
}

fn a_guest_that_sleeps_ends_on_time() {
    for clock in [GuestClock::Frozen, GuestClock::Real] {
        let nap = |seconds: u64| {
            let mut guest = Guest::wat(&core(&[], &sleep(seconds * 1_000_000_000))).caps(|caps| caps.wall_seconds = 1);
            guest.grants.clock = clock;
            guest.run()
        };
        nap(3_600).timed_out();
        // The control: no time at all.
        nap(0).succeeded();
    }
}

fn a_guest_that_polls_on_and_on_ends_on_time() {
    let polls = format!("(loop $again {} (br $again))", sleep(1_000));
    Guest::wat(&core(&[], &polls)).caps(|caps| caps.wall_seconds = 1).run().timed_out();
    // The control: ten of them.
    let ten = format!(
        "(local $n i32)
         (loop $again {} (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const 10))))",
        sleep(1_000)
    );
    Guest::wat(&core(&[], &ten)).caps(|caps| caps.wall_seconds = 1).run().succeeded();
}

fn a_guest_that_reads_its_input_on_and_on_ends_on_time() {
    // Leaves the loop, if it may, when nothing comes any more.
    let reads = |ends: u32| {
        format!(
            "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 10))
             (loop $again
               (call $check (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
               (br_if $again (i32.or (i32.load (i32.const 16)) (i32.const {}))))",
            1 - ends
        )
    };
    for input in
        [StandardInput::Empty, StandardInput::Text { text: "a line that is longer than ten bytes\n".to_owned() }]
    {
        let with = |ends: u32| {
            let mut guest = Guest::wat(&core(&[], &reads(ends)));
            (guest.caps.fuel, guest.caps.wall_seconds) = (u64::MAX, 1);
            guest.stdin = input.clone();
            guest.run()
        };
        with(0).timed_out();
        with(1).succeeded();
    }
}

fn a_guest_that_only_calls_the_host_ends_on_time() {
    // The dearest call that never waits.
    let asks =
        |again: &str| format!("(loop $again (call $check (call $random (i32.const 0) (i32.const 65536))) {again})");
    let with = |again: &str| {
        let guest = Guest::wat(&core(&[], &asks(again)));
        guest.caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 1)).run()
    };
    with("(br $again)").timed_out();
    with("").succeeded();
}

fn a_guest_that_only_calls_the_host_hears_a_request_to_end() {
    let asks = "(loop $again (call $check (call $random (i32.const 0) (i32.const 65536))) (br $again))";
    stopped(&says_here(&format!("{} {asks}", sleep(1))).run_and_stop("here\n"));
}

fn a_guest_that_sleeps_hears_a_request_to_end() {
    for clock in [GuestClock::Frozen, GuestClock::Real] {
        let mut guest = says_here(&sleep(3_600 * 1_000_000_000));
        guest.grants.clock = clock;
        stopped(&guest.run_and_stop("here\n"));
    }
}

fn a_request_to_end_that_comes_with_the_first_word_is_heard() {
    stopped(&says_here(LOOP).run_and_stop("here\n"));
}

/// A guest with much time that says `here` and goes on with this.
fn says_here(then: &str) -> Guest {
    let says = format!("(drop (call $write (i32.const 1) (i32.const {}) (i32.const 5)))", text(0));
    let guest = Guest::wat(&core(&["here\\n"], &format!("{says} {then}")));
    guest.caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 3_600))
}

fn stopped(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Stopped, "{outcome:#?}");
    // One that had to be killed could not say what it used.
    assert!(outcome.receipt().fuel_used.is_some(), "{outcome:#?}");
}

fn an_endless_start_function_ends_too() {
    let text = module(&[], &format!("(func $forever {LOOP}) (start $forever)"), "");
    let outcome = Guest::wat(&text).caps(|caps| caps.fuel = 1_000_000).run();
    assert_eq!(outcome.verdict, Verdict::OutOfFuel { fuel: 1_000_000 });
    Guest::wat(&text).caps(|caps| (caps.fuel, caps.wall_seconds) = (u64::MAX, 1)).run().timed_out();
}

/// Takes a mebibyte at a time, and exits with 1 when there is no more.
const GROW: &str = "(local $n i32)
  (loop $again
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (call $exit (i32.const 1))))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 40))))";

fn memory_ends_at_its_cap() {
    let with = |bytes: u64| Guest::wat(&core(&[], GROW)).caps(|caps| caps.memory_bytes = bytes).run();
    let outcome = with(16 << 20);
    assert_eq!(outcome.verdict, Verdict::OutOfMemory { limit_bytes: 16 << 20 });
    let peak = outcome.receipt().peak_memory_bytes.unwrap();
    assert!((15 << 20..=16 << 20).contains(&peak), "{peak}");
    assert!(outcome.denied(DenialKind::Cap, "memory"), "{outcome:#?}");
    with(64 << 20).succeeded();
}

fn a_guest_that_only_asks_for_memory_is_ended() {
    let asks = "(loop $again (drop (memory.grow (i32.const 16))) (br $again))";
    let outcome = Guest::wat(&core(&[], asks)).run();
    assert_eq!(outcome.verdict, Verdict::OutOfMemory { limit_bytes: 256 << 20 }, "{outcome:#?}");
}

fn deep_recursion_is_a_trap() {
    let deep = |limit: u32| {
        module(
            &[],
            &format!(
                "(func $deep (param $n i32) (result i32)
                   (if (i32.gt_u (local.get $n) (i32.const {limit})) (then (return (i32.const 0))))
                   (i32.add (i32.const 1) (call $deep (i32.add (local.get $n) (i32.const 1)))))"
            ),
            "(drop (call $deep (i32.const 0)))",
        )
    };
    let outcome = Guest::wat(&deep(u32::MAX - 1)).run();
    assert!(matches!(&outcome.verdict, Verdict::Trapped { reason } if reason.contains("stack")), "{outcome:#?}");
    Guest::wat(&deep(1_000)).run().succeeded();
}

fn a_table_of_a_gibibyte_is_refused() {
    let at_once = |elements: u32| Guest::wat(&module(&[], &format!("(table {elements} funcref)"), "")).run();
    let outcome = at_once(128 << 20);
    assert!(matches!(&outcome.verdict, Verdict::Trapped { reason } if reason.contains("table")), "{outcome:#?}");
    assert!(outcome.denied(DenialKind::Cap, "table"));
    at_once(10_000).succeeded();
    let grown = "(call $exit (i32.eq (table.grow $t (ref.null func) (i32.const 134217728)) (i32.const -1)))";
    let outcome = Guest::wat(&module(&[], "(table $t 1 funcref)", grown)).run();
    assert_eq!(outcome.code(), 1);
}

fn opening_files_without_end_is_a_trap_for_the_guest_alone() {
    let opens = |n: u32| {
        format!(
            "(local $n i32)
             (loop $again {} (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $n) (i32.const {n}))))",
            open(3, 0, 1, CREATE, WRITE)
        )
    };
    let outcome = Guest::wat(&core(&["x"], &opens(100_000))).run();
    assert!(matches!(&outcome.verdict, Verdict::Trapped { reason } if reason.contains("resource")), "{outcome:#?}");
    Guest::wat(&core(&["x"], &opens(100))).run().succeeded();
}

fn a_flood_on_either_stream_ends_at_the_cap() {
    for stream in [1, 2] {
        let prints = |n: u32| {
            format!(
                "(local $n i32)
                 (loop $again
                   (drop (call $write (i32.const {stream}) (i32.const {}) (i32.const 100)))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $again (i32.lt_u (local.get $n) (i32.const {n}))))",
                text(0)
            )
        };
        let line = format!("{}\\n", "x".repeat(99));
        let with = |n: u32| Guest::wat(&core(&[&line], &prints(n))).caps(|caps| caps.output_bytes = 1 << 20).run();
        let outcome = with(1_000_000);
        assert_eq!(outcome.verdict, Verdict::OutputLimit { limit_bytes: 1 << 20 }, "{outcome:#?}");
        assert_eq!(outcome.receipt().output_bytes, 1 << 20);
        assert!((1 << 20..(1 << 20) + 10_000).contains(&outcome.log.len()), "{}", outcome.log.len());
        with(1_000).succeeded();
    }
}

/// Makes files in `/output` with different names until it cannot.
fn files(n: u32, bytes: u32) -> String {
    let name = format!(
        "(i32.store8 (i32.const {0}) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
         (i32.store8 (i32.const {1}) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
         (i32.store8 (i32.const {2}) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 8)) (i32.const 15))))
         (i32.store8 (i32.const {3}) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 12)) (i32.const 15))))",
        text(0),
        text(0) + 1,
        text(0) + 2,
        text(0) + 3
    );
    let close = "(call $check (call $close (call $opened)))";
    let start = format!(
        "(local $n i32)
         (loop $again {name} {} (call $check (call $write (call $opened) (i32.const 4096) (i32.const {bytes})))
           {close} (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const {n}))))",
        open(4, 0, 4, CREATE, WRITE)
    );
    core(&["aaaa"], &start)
}

fn files_end_at_their_number() {
    let with = |n: u32| Guest::wat(&files(n, 1)).caps(|caps| caps.files = 1_000).run();
    let outcome = with(65_000);
    assert!(matches!(outcome.verdict, Verdict::FileLimit { .. }), "{outcome:#?}");
    assert!(outcome.denied(DenialKind::Cap, "files"), "{:#?}", outcome.receipt());
    assert!(outcome.receipt().files_written <= 1_000);
    with(500).succeeded();
}

fn files_end_at_their_bytes() {
    let with = |n: u32| Guest::wat(&files(n, 65_536)).caps(|caps| caps.files_bytes = 8 << 20).run();
    let outcome = with(1_000);
    assert_eq!(
        outcome.verdict,
        Verdict::FileLimit { limit_bytes: 8 << 20, what: "what was written (10000 files at most)".to_owned() },
        "{outcome:#?}"
    );
    with(100).succeeded();
}

fn sockets_are_refused() {
    // There is no call that makes one; what there is works on descriptors that a guest never gets.
    for call in [
        "(call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8))",
        "(call $sock_send (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8))",
    ] {
        let outcome = Guest::wat(&core(&[], &format!("(call $check {call})"))).run();
        assert_ne!(outcome.code(), 0, "{call}");
    }
}
