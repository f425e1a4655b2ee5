//! What an honest guest is given, and what it leaves.

use airlock::{
    domain::{RelativePath, Verdict},
    protocol::{DenialKind, GuestClock, GuestRandom, StandardInput, WorkspaceGrant},
};

use super::{
    rig::Guest,
    wat::{CREATE, READ, WRITE, component, core, open, text},
};
use crate::{host::servers, tests};

tests![
    a_core_guest_runs_in_every_kind_of_jail_and_has_a_receipt,
    a_component_runs_and_knows_success_and_failure,
    exit_codes_are_told_whatever_they_are,
    a_guest_is_given_arguments_variables_and_input_and_nothing_else,
    files_of_output_become_artifacts,
    changes_of_a_writable_workspace_are_a_patch_and_leave_it_alone,
    the_same_guest_uses_the_same_fuel_ten_times,
    a_frozen_clock_and_seeded_numbers_are_the_same_every_time,
    what_a_guest_prints_is_in_the_log_as_it_was_printed,
];

fn hello() -> String {
    core(&["hello\\n"], &format!("(drop (call $write (i32.const 1) (i32.const {}) (i32.const 6)))", text(0)))
}

fn a_core_guest_runs_in_every_kind_of_jail_and_has_a_receipt() {
    for server in servers() {
        let outcome = Guest::on(*server, &hello()).run();
        assert_eq!(outcome.verdict, Verdict::SUCCESS, "{server:?} {outcome:#?}");
        assert!(outcome.log.contains("hello\n"), "{server:?} {outcome:#?}");
        let receipt = outcome.receipt();
        assert!(receipt.fuel_used.is_some_and(|fuel| (1..1_000).contains(&fuel)), "{receipt:#?}");
        assert_eq!(receipt.peak_memory_bytes, Some(2 * 65_536));
        assert_eq!((receipt.output_bytes, receipt.files_written), (6, 0));
        assert!(receipt.denials.is_empty() && receipt.hosts.is_empty());
    }
}

fn a_component_runs_and_knows_success_and_failure() {
    for server in servers() {
        for code in [0, 1] {
            let outcome = Guest::on(*server, &component(code)).run();
            assert_eq!(outcome.code(), code as i32, "{server:?}");
        }
    }
}

fn exit_codes_are_told_whatever_they_are() {
    for code in [0, 7, 126, 255, -1] {
        let outcome = Guest::wat(&core(&[], &format!("(call $exit (i32.const {code}))"))).run();
        assert_eq!(outcome.code(), code);
    }
}

fn a_guest_is_given_arguments_variables_and_input_and_nothing_else() {
    // Prints its arguments, its variables and its input, as they lie in memory.
    let show = "
      (call $check (call $args_sizes (i32.const 100) (i32.const 104)))
      (call $check (call $args (i32.const 8192) (i32.const 16384)))
      (drop (call $write (i32.const 1) (i32.const 16384) (i32.load (i32.const 104))))
      (call $check (call $environ_sizes (i32.const 100) (i32.const 104)))
      (call $check (call $environ (i32.const 8192) (i32.const 32768)))
      (drop (call $write (i32.const 1) (i32.const 32768) (i32.load (i32.const 104))))
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1000))
      (call $check (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 108)))
      (drop (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 108))))";
    let mut guest = Guest::wat(&core(&[], show)).workspace(WorkspaceGrant::Read, &[("in.txt", "from a file")]);
    guest.args = vec!["--deep".to_owned(), "two words".to_owned()];
    guest.plain_env = vec![("COLOUR".to_owned(), "blue".to_owned())];
    guest.stdin = StandardInput::Text { text: "typed".to_owned() };
    let outcome = guest.run();
    outcome.succeeded();
    assert!(outcome.log.contains("guest\0--deep\0two words\0COLOUR=blue\0typed"), "{outcome:#?}");
    guest.stdin = StandardInput::File { path: RelativePath::new("in.txt").unwrap() };
    guest.plain_env.clear();
    let outcome = guest.run();
    assert!(outcome.log.contains("two words\0from a file"), "{outcome:#?}");
    let kinds: Vec<&str> = outcome.receipt().inputs.iter().map(|input| input.kind.as_str()).collect();
    for kind in ["stdin", "argument", "directory", "clock", "random"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

fn files_of_output_become_artifacts() {
    let write = |name: usize, len: usize| {
        open(4, name, len, CREATE, WRITE)
            + &format!("(call $check (call $write (call $opened) (i32.const {}) (i32.const 4)))", text(9))
    };
    let texts = ["report.txt", "deep", "deep/er.txt", "/etc/passwd", "link", "", "", "", "", "data"];
    let body = [
        write(0, 10),
        format!("(call $check (call $mkdir (i32.const 4) (i32.const {}) (i32.const 4)))", text(1)),
        write(2, 11),
        // A link is no artifact; an absolute one cannot even be made.
        format!(
            "(drop (call $symlink (i32.const {}) (i32.const 10) (i32.const 4) (i32.const {}) (i32.const 4)))",
            text(0),
            text(4)
        ),
    ];
    let outcome = Guest::wat(&core(&texts, &body.concat())).run();
    outcome.succeeded();
    let paths: Vec<&str> = outcome.produced.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["deep/er.txt", "report.txt"]);
    assert_eq!(outcome.artifact("report.txt").unwrap(), b"data");
    assert_eq!(outcome.artifact("deep/er.txt").unwrap(), b"data");
    assert_eq!(outcome.receipt().files_written, 4, "{outcome:#?}");
    assert_eq!(outcome.produced.warnings.len(), 1);
}

fn changes_of_a_writable_workspace_are_a_patch_and_leave_it_alone() {
    let body = [
        open(3, 0, 5, CREATE, WRITE),
        format!("(call $check (call $write (call $opened) (i32.const {}) (i32.const 6)))", text(3)),
        open(3, 1, 5, CREATE, WRITE),
        format!("(call $check (call $write (call $opened) (i32.const {}) (i32.const 6)))", text(3)),
        format!("(call $check (call $unlink (i32.const 3) (i32.const {}) (i32.const 5)))", text(2)),
    ];
    let text = core(&["old.t", "new.t", "bad.t", "after\\n"], &body.concat());
    for server in servers() {
        let files = [("old.t", "before\n"), ("bad.t", "bad\n"), ("same.t", "same\n")];
        let guest = Guest::on(*server, &text).workspace(WorkspaceGrant::Write, &files);
        let outcome = guest.run();
        assert_eq!(outcome.verdict, Verdict::SUCCESS, "{server:?} {outcome:#?}");
        let patch = outcome.patch();
        for line in ["-before", "+after", "--- a/old.t", "+++ b/new.t", "deleted file mode 100644", "-bad"] {
            assert!(patch.contains(line), "{server:?}: {line}: {patch}");
        }
        assert!(!patch.contains("same.t"), "{patch}");
        let summary = outcome.produced.patch.unwrap();
        assert_eq!((summary.added, summary.changed, summary.deleted, summary.unshown), (1, 1, 1, 0));
    }
    // The control: the same guest with a grant to read only.
    let outcome = Guest::wat(&text).workspace(WorkspaceGrant::Read, &[("old.t", "before\n")]).run();
    assert_ne!(outcome.code(), 0);
    assert!(outcome.denied(DenialKind::Write, "old.t"), "{outcome:#?}");
    assert!(outcome.produced.patch.is_none());
}

fn the_same_guest_uses_the_same_fuel_ten_times() {
    let body = format!(
        "(local $n i32)
         (call $check (call $random (i32.const 4096) (i32.const 64)))
         (local.set $n (i32.add (i32.const 100000) (i32.load8_u (i32.const 4096))))
         (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n)))
         {} (drop (call $write (i32.const 1) (i32.const 4096) (i32.const 64)))",
        open(3, 0, 1, CREATE, WRITE)
    );
    let guest = Guest::wat(&core(&["x"], &body));
    let used: Vec<_> = (0..10).map(|_| guest.run().receipt().fuel_used.unwrap()).collect();
    assert!(used[0] > 100_000 && used.iter().all(|fuel| *fuel == used[0]), "{used:?}");
}

fn a_frozen_clock_and_seeded_numbers_are_the_same_every_time() {
    let body = format!(
        "(call $check (call $clock (i32.const 0) (i64.const 1) (i32.const 4096)))
         (call $check (call $clock (i32.const 1) (i64.const 1) (i32.const 4104)))
         (call $check (call $random (i32.const 4112) (i32.const 64)))
         {} (call $check (call $write (call $opened) (i32.const 4096) (i32.const 80)))",
        open(4, 0, 1, CREATE, READ | WRITE)
    );
    let mut guest = Guest::wat(&core(&["x"], &body));
    let left = || guest.run().artifact("x").unwrap();
    assert_eq!(left(), left());
    guest.grants.clock = GuestClock::Real;
    let (one, other) = (guest.run().artifact("x").unwrap(), guest.run().artifact("x").unwrap());
    assert!(one[..8] != other[..8] && one[16..] == other[16..], "only the clock moves");
    guest.grants.random = GuestRandom::Real;
    let (one, other) = (guest.run().artifact("x").unwrap(), guest.run().artifact("x").unwrap());
    assert_ne!(one[16..], other[16..]);
}

fn what_a_guest_prints_is_in_the_log_as_it_was_printed() {
    let hostile = "\\1b[2J<script>alert(1)</script>";
    let body = format!("(drop (call $write (i32.const 1) (i32.const {}) (i32.const 29)))", text(0));
    let outcome = Guest::wat(&core(&[hostile], &body)).run();
    // Whoever shows it makes it harmless; nobody loses what was said.
    assert!(outcome.log.contains("\x1b[2J<script>alert(1)</script>"), "{outcome:#?}");
    let records = std::fs::read_to_string(outcome.dir.join("records")).unwrap();
    assert!(!records.contains("script") && !records.contains('\x1b'), "{records}");
}
