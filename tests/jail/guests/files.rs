//! Ways out of what was granted.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use airlock::{
    domain::Verdict,
    protocol::{Bind, DenialKind, WorkspaceGrant},
};

use super::{
    rig::{Guest, Outcome},
    wat::{CREATE, READ, WRITE, core, open, text},
};
use crate::{host::servers, tests};

tests![
    dots_and_absolute_paths_lead_nowhere,
    links_that_lead_out_are_not_followed,
    another_run_s_directory_is_out_of_reach,
    a_read_only_grant_is_not_written_to,
    nothing_is_renamed_out_of_a_grant,
    a_mount_is_what_it_was_granted_as,
];

/// Reads the first text as a path below the first grant and prints what it says.
fn cat(path: &str) -> String {
    let show = "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 4096))
      (call $check (call $fd_read (call $opened) (i32.const 0) (i32.const 1) (i32.const 16)))
      (drop (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 16))))";
    core(&[path], &(open(3, 0, path.len(), 0, READ) + show))
}

const SECRET: &str = "what nobody granted";

/// It did not get through, the log does not hold what it was after, and the receipt says what it tried.
fn refused(outcome: &Outcome, path: &str) {
    assert_ne!(outcome.verdict, Verdict::SUCCESS, "{path}: {outcome:#?}");
    assert!(!outcome.log.contains(SECRET) && !outcome.log.contains("root:"), "{path}: {outcome:#?}");
    assert!(outcome.denied(DenialKind::Path, path), "{path}: {:#?}", outcome.receipt());
}

fn dots_and_absolute_paths_lead_nowhere() {
    for server in servers() {
        for path in
            ["../etc/passwd", "/etc/passwd", "in/../../etc/passwd", "/workspace/in/file", "../workspace/in/file"]
        {
            let guest = Guest::on(*server, &cat(path)).workspace(WorkspaceGrant::Read, &[("in/file", "inside")]);
            refused(&guest.run(), path);
        }
    }
    // The control: a path that goes up and stays inside.
    let outcome = Guest::wat(&cat("in/../in/file")).workspace(WorkspaceGrant::Read, &[("in/file", "inside")]).run();
    assert!(outcome.succeeded().log.contains("inside"));
}

fn links_that_lead_out_are_not_followed() {
    for (target, grant) in [
        ("/etc/passwd", WorkspaceGrant::Read),
        ("../../../../../../../etc/passwd", WorkspaceGrant::Read),
        ("/etc/passwd", WorkspaceGrant::Write),
        ("../run", WorkspaceGrant::Write),
    ] {
        let guest = Guest::wat(&cat("link")).workspace(grant, &[("file", "inside")]);
        symlink(target, guest.host.workspace().join("link")).unwrap();
        refused(&guest.run(), "link");
    }
    // One that the guest makes itself, to a directory above and through another link.
    let made = format!(
        "(call $check (call $mkdir (i32.const 3) (i32.const {1}) (i32.const 1)))
         (drop (call $symlink (i32.const {0}) (i32.const 5) (i32.const 3) (i32.const {2}) (i32.const 3)))
         {3}",
        text(0),
        text(1),
        text(2),
        open(3, 3, 14, 0, READ)
    );
    let outcome = Guest::wat(&core(&["../..", "d", "d/l", "d/l/etc/passwd"], &made)).run();
    refused(&outcome, "d/l/etc/passwd");
    // The control: a link that stays inside.
    let guest = Guest::wat(&cat("link")).workspace(WorkspaceGrant::Read, &[("file", "inside")]);
    symlink("file", guest.host.workspace().join("link")).unwrap();
    assert!(guest.run().succeeded().log.contains("inside"));
}

fn another_run_s_directory_is_out_of_reach() {
    let below = "02OTHER/1/tree/workspace/file";
    let guest = |path: &str| {
        let guest = Guest::wat(&cat(path)).workspace(WorkspaceGrant::Read, &[]);
        let other = guest.host.data.path().join("runs").join(below);
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::write(other, SECRET).unwrap();
        guest
    };
    let above = format!("../../../../{below}");
    let there = guest(&above);
    // The control: on the host, that is where it lies.
    assert_eq!(fs::read_to_string(there.host.workspace().join(&above)).unwrap(), SECRET);
    refused(&there.run(), &above);
    refused(&guest("/../runs/02OTHER").run(), "/../runs/02OTHER");
}

fn a_read_only_grant_is_not_written_to() {
    let attempts = [
        ("path_open", open(3, 0, 4, CREATE, WRITE)),
        (
            "path_create_directory",
            format!("(call $check (call $mkdir (i32.const 3) (i32.const {}) (i32.const 3)))", text(1)),
        ),
        (
            "path_unlink_file",
            format!("(call $check (call $unlink (i32.const 3) (i32.const {}) (i32.const 4)))", text(0)),
        ),
        (
            "path_rename",
            format!(
                "(call $check (call $rename (i32.const 3) (i32.const {}) (i32.const 4) (i32.const 3) (i32.const {}) (i32.const 3)))",
                text(0),
                text(1)
            ),
        ),
        (
            "path_symlink",
            format!(
                "(call $check (call $symlink (i32.const {}) (i32.const 4) (i32.const 3) (i32.const {}) (i32.const 3)))",
                text(0),
                text(1)
            ),
        ),
    ];
    for (call, body) in attempts {
        let text = core(&["file", "new"], &body);
        for server in servers() {
            let guest = Guest::on(*server, &text).workspace(WorkspaceGrant::Read, &[("file", "as it was")]);
            let outcome = guest.run();
            assert_ne!(outcome.code(), 0, "{call}");
            assert!(outcome.denied(DenialKind::Write, call), "{call}: {:#?}", outcome.receipt());
        }
        Guest::wat(&text).workspace(WorkspaceGrant::Write, &[("file", "as it was")]).run().succeeded();
    }
}

fn nothing_is_renamed_out_of_a_grant() {
    let rename = |to: u32, path: usize, len: usize| {
        let start = open(4, 0, 1, CREATE, WRITE)
            + &format!(
                "(call $check (call $rename (i32.const 4) (i32.const {}) (i32.const 1) (i32.const {to}) (i32.const {}) (i32.const {len})))",
                text(0),
                text(path)
            );
        core(&["x", "../x", "/x", "y"], &start)
    };
    let with = |text: &str| Guest::wat(text).workspace(WorkspaceGrant::Read, &[]).run();
    for (to, path, len, kind) in
        [(4, 1, 4, DenialKind::Path), (4, 2, 2, DenialKind::Path), (3, 3, 1, DenialKind::Write)]
    {
        let outcome = with(&rename(to, path, len));
        assert_ne!(outcome.code(), 0);
        assert!(outcome.denied(kind, "path_rename"), "{to} {path}: {:#?}", outcome.receipt());
    }
    with(&rename(4, 3, 1)).succeeded();
}

fn a_mount_is_what_it_was_granted_as() {
    let text = core(&["new"], &open(5, 0, 3, CREATE, WRITE));
    for writable in [false, true] {
        for server in servers() {
            let mut guest = Guest::on(*server, &text);
            let shared = guest.host.data.path().join("shared");
            fs::create_dir(&shared).unwrap();
            std::os::unix::fs::chown(&shared, Some(server.jail_uid()), None).unwrap();
            guest.grants.mounts =
                vec![Bind { writable, ..Bind::read_only(shared.clone(), PathBuf::from("/mnt/shared")) }];
            let outcome = guest.run();
            assert_eq!(outcome.code() == 0, writable, "{server:?} {outcome:#?}");
            assert_eq!(shared.join("new").exists(), writable);
            assert_eq!(outcome.denied(DenialKind::Write, "new"), !writable, "{:#?}", outcome.receipt());
        }
    }
}
