//! Pieces of hostile guests.

/// Where [`core`] puts the texts: each begins at the next multiple of 256 from 1024 on.
pub const fn text(n: usize) -> usize {
    1_024 + 256 * n
}

/// A core module with these texts in memory and this code in `_start`.
///
/// Helpers: `$write (fd at len)`, `$open (dir at len flags rights)`, whose descriptor is `$opened`,
/// and `$check (errno)`, which ends the guest with what is not 0. Descriptors from 3 on are the
/// granted directories: a workspace first, then `/tmp`, then `/output`.
pub fn core(texts: &[&str], start: &str) -> String {
    module(texts, "", start)
}

/// The same with more definitions.
pub fn module(texts: &[&str], more: &str, start: &str) -> String {
    let data: String =
        (0..).zip(texts).map(|(n, value)| format!("(data (i32.const {}) \"{value}\")\n", text(n))).collect();
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 2)
  {data}
  (func $write (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $open (param $dir i32) (param $at i32) (param $len i32) (param $flags i32) (param $rights i64) (result i32)
    (call $path_open (local.get $dir) (i32.const 1) (local.get $at) (local.get $len) (local.get $flags)
      (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 12)))
  (func $opened (result i32) (i32.load (i32.const 12)))
  (func $check (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
  {more}
  (func (export "_start") {start}))"#,
        imports = imports()
    )
}

fn imports() -> String {
    let functions = [
        ("fd_write", "$fd_write", "i32 i32 i32 i32"),
        ("fd_read", "$fd_read", "i32 i32 i32 i32"),
        ("fd_close", "$close", "i32"),
        ("fd_readdir", "$readdir", "i32 i32 i32 i64 i32"),
        ("fd_allocate", "$allocate", "i32 i64 i64"),
        ("fd_pwrite", "$pwrite", "i32 i32 i32 i64 i32"),
        ("fd_filestat_set_size", "$set_size", "i32 i64"),
        ("path_open", "$path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("path_symlink", "$symlink", "i32 i32 i32 i32 i32"),
        ("path_rename", "$rename", "i32 i32 i32 i32 i32 i32"),
        ("path_link", "$link", "i32 i32 i32 i32 i32 i32 i32"),
        ("path_create_directory", "$mkdir", "i32 i32 i32"),
        ("path_unlink_file", "$unlink", "i32 i32 i32"),
        ("poll_oneoff", "$poll", "i32 i32 i32 i32"),
        ("clock_time_get", "$clock", "i32 i64 i32"),
        ("random_get", "$random", "i32 i32"),
        ("sock_accept", "$sock_accept", "i32 i32 i32"),
        ("sock_send", "$sock_send", "i32 i32 i32 i32 i32"),
        ("environ_sizes_get", "$environ_sizes", "i32 i32"),
        ("environ_get", "$environ", "i32 i32"),
        ("args_sizes_get", "$args_sizes", "i32 i32"),
        ("args_get", "$args", "i32 i32"),
    ];
    let import = |(name, local, params): (&str, &str, &str)| {
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func {local} (param {params}) (result i32)))\n")
    };
    let exit = "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))\n";
    functions.map(import).concat() + exit
}

/// Opens the n-th text below a directory; afterwards `$opened`.
pub fn open(dir: u32, n: usize, len: usize, flags: u32, rights: u64) -> String {
    format!(
        "(call $check (call $open (i32.const {dir}) (i32.const {}) (i32.const {len}) (i32.const {flags}) (i64.const {rights})))",
        text(n)
    )
}

/// `CREAT | TRUNC`, for [`open`].
pub const CREATE: u32 = 1 | 8;
/// Rights to read and to write.
pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;

/// Sleeps so many nanoseconds.
pub fn sleep(nanoseconds: u64) -> String {
    // A subscription at 512: clock, monotonic, relative.
    format!(
        "(i64.store (i32.const 512) (i64.const 0)) (i32.store8 (i32.const 520) (i32.const 0))
         (i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const {nanoseconds}))
         (i64.store (i32.const 544) (i64.const 0)) (i32.store16 (i32.const 552) (i32.const 0))
         (call $check (call $poll (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 8)))"
    )
}

/// A component of the command world that imports nothing.
pub fn component(outcome: u32) -> String {
    format!(
        r#"(component
  (core module $m (func (export "run") (result i32) (i32.const {outcome})))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}
