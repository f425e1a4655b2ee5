//! Row 8: sealing and opening a workspace, against `tar | zstd -1` into a fsynced file.

use std::{fs, path::Path, process::Command, time::Instant};

use airlock::{
    crypt::Key,
    domain::{RunId, StackId},
    workspace::{Binding, SealPaths, SealTerms, Workspace},
};

use super::stats::Table;

pub fn seal_and_open(table: &mut Table) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let open = Workspace::create(&tree, None).unwrap();
    fill(&tree.join("workspace"));
    let baseline = tar_zstd(&tree, dir.path());
    let terms = SealTerms {
        paths: SealPaths { sealed: dir.path().join("run.sealed"), erase: dir.path().join("run.key") },
        record_key: Key::random(),
        binding: Binding { run: RunId::from_number(1), stack: StackId::from_number(1), commit: None, plan: None },
    };
    let start = Instant::now();
    let (sealed, _) = open.seal(terms).unwrap();
    let seal = start.elapsed().as_secs_f64();
    let start = Instant::now();
    sealed.open(&tree, None).unwrap();
    let opened = start.elapsed().as_secs_f64();
    table.row(
        8,
        "seal / open a workspace of 5 000 files and a 300 MB binary",
        format!("{seal:.2} / {opened:.2} s, together {:.2}× of the baseline", (seal + opened) / baseline),
        format!("≤ 1.15×; tar, zstd -1, fsync and back: {baseline:.2} s"),
    );
}

fn fill(root: &Path) {
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    for n in 0..5_000 {
        let dir = root.join(format!("d{}", n % 100));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{n}")), format!("file {n} {:x}\n", next()).repeat(50)).unwrap();
    }
    // Half noise, half text: about what a provider's binary compresses to.
    let block: Vec<u8> =
        (0..1 << 17).flat_map(|n: u64| if n.is_multiple_of(2) { next().to_le_bytes() } else { *b"provider" }).collect();
    let binary: Vec<u8> = block.iter().copied().cycle().take(300_000_000).collect();
    fs::write(root.join("terraform-provider-bench"), binary).unwrap();
}

/// The baseline, there and back, with one worker.
fn tar_zstd(tree: &Path, dir: &Path) -> f64 {
    let (archive, back) = (dir.join("baseline.tar.zst"), dir.join("back"));
    fs::create_dir(&back).unwrap();
    let start = Instant::now();
    let file = fs::File::create(&archive).unwrap();
    let mut encoder = zstd::Encoder::new(file, 1).unwrap();
    let mut tar = Command::new("tar")
        .args(["-cf", "-", "."])
        .current_dir(tree)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::copy(tar.stdout.as_mut().unwrap(), &mut encoder).unwrap();
    assert!(tar.wait().unwrap().success());
    encoder.finish().unwrap().sync_all().unwrap();
    let mut decoder = zstd::Decoder::new(fs::File::open(&archive).unwrap()).unwrap();
    let mut untar =
        Command::new("tar").args(["-xf", "-"]).current_dir(&back).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::copy(&mut decoder, &mut untar.stdin.take().unwrap()).unwrap();
    assert!(untar.wait().unwrap().success());
    start.elapsed().as_secs_f64()
}
