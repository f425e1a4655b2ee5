//! What sealing costs. Not a promise: run it by hand, in release mode.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use super::*;

/// 5 000 small files of text and a binary of 300 MB: the shape of an initialized Terraform stack.
fn fill(tree: &Path) {
    let text = b"resource \"null_resource\" \"this\" { triggers = { at = timestamp() } }\n".repeat(40);
    for dir in 0..100 {
        let dir = tree.join(format!("workspace/modules/{dir}"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..50 {
            fs::write(dir.join(format!("{file}.tf")), &text[file..]).unwrap();
        }
    }
    fs::write(tree.join("workspace/provider"), binary(300_000_000)).unwrap();
}

/// Bytes of this very program, over and over, never twice the same at a distance that matters.
fn binary(bytes: usize) -> Vec<u8> {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut binary = Vec::with_capacity(bytes + program.len());
    while binary.len() < bytes {
        binary.extend_from_slice(&program);
    }
    binary.truncate(bytes);
    binary
}

/// `tar | zstd -1` with one worker, to a fsynced file.
fn baseline(tree: &Path, to: &Path) {
    let mut tar =
        Command::new("tar").arg("-C").arg(tree).args(["-cf", "-", "."]).stdout(Stdio::piped()).spawn().unwrap();
    let out = fs::File::create(to).unwrap();
    let zstd = Command::new("zstd")
        .args(["-q", "-1", "-T1"])
        .stdin(tar.stdout.take().unwrap())
        .stdout(out.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(tar.wait().unwrap().success() && zstd.success());
    out.sync_all().unwrap();
}

struct Cost {
    wall: f64,
    cpu: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} s (processor {:.2} s)", self.wall, self.cpu)
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let (start, before) = (Instant::now(), cpu());
    let result = work();
    (Cost { wall: start.elapsed().as_secs_f64(), cpu: cpu() - before }, result)
}

/// Seconds of processor time of this process and of its children so far: on a busy machine they
/// tell more than the clock.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: f64 = fields.skip(11).take(4).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "a measurement: cargo test --release --lib workspace::tests::figures -- --ignored --nocapture"]
fn sealing_and_opening_5000_files_and_300_mb() {
    let place = Place::new();
    let workspace = place.create();
    fill(workspace.tree());
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_memory_kib();
    let mut workspace = Some(workspace);
    for round in 0..6 {
        let open = workspace.take().unwrap();
        let (baseline, ()) = timed(|| baseline(open.tree(), &place.dir.path().join("baseline.tar.zst")));
        let (sealing, (sealed, report)) = timed(|| open.seal(place.terms(1)).unwrap());
        let (opening, opened) = timed(|| sealed.open(&place.tree(), None).unwrap());
        workspace = Some(opened);
        println!(
            "round {round}: baseline {baseline}, seal {sealing} to {} MB, open {opening}; both {:.2} of the baseline, processor {:.2}",
            report.sealed_bytes / 1_000_000,
            (sealing.wall + opening.wall) / baseline.wall,
            (sealing.cpu + opening.cpu) / baseline.cpu,
        );
    }
    println!("memory: {} KiB more at the peak than before", peak_memory_kib() - before);
}
