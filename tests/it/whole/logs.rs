//! A log of 100 MB: complete, and followed live without a lost or doubled byte.

use airlock::{
    auth::Who,
    crypt::Hasher,
    domain::{Phase, State},
    queries::Run,
};
use serde_json::{Value, json};

use super::{gate::Gate, rig::Rig, server::runners};

const LINES: u32 = 2_000_000;
/// Bytes of a line.
const LINE: u32 = 50;

fn line(n: u32) -> String {
    format!("{n:049}\n")
}

/// Follows the log to its end; with `pause_after`, hangs up once and resumes behind what it had.
async fn follow(rig: &Rig, run: &Run, pause_after: Option<u64>) -> (u64, [u8; 32]) {
    let mut bell = rig.app.actions.bells().hear_run(run.id);
    let mut follower = rig.app.queries.follow(&Who::system(), run.id, None).unwrap();
    let (mut bytes, mut hasher, mut paused) = (0, Hasher::new(), false);
    loop {
        bell.mark_unchanged();
        // Read before the last look at the log: what is there then is all there will be.
        let over = rig.run(run.id).state.is_terminal();
        while let Some(piece) = follower.next().await.unwrap() {
            let event: Value = serde_json::from_str(&piece.json).unwrap();
            if event["phase"] != "performing" {
                continue;
            }
            assert_eq!(event["offset"], bytes);
            let text = event["text"].as_str().unwrap();
            bytes += text.len() as u64;
            hasher.update(text.as_bytes());
            if !paused && pause_after.is_some_and(|after| bytes > after) {
                paused = true;
                follower = rig.app.queries.follow(&Who::system(), run.id, Some(piece.end)).unwrap();
            }
        }
        if over {
            return (bytes, hasher.finish());
        }
        bell.changed().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_kept_whole_and_followed_by_two_readers() {
    let rig = Rig::new().await;
    let gate = Gate::new().await;
    let stack = rig.stack(json!({"name": "Shop", "vendor": {"kind": "custom"}}), &[]).await;
    let print = format!("seq -f %049.0f 0 {}; {}", LINES - 1, gate.command("printed"));
    let run = rig.task(&stack, &print).await;
    let memory = async {
        let knock = gate.knock().await;
        let pid = runners(&rig.data())[0];
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        knock.let_on().await;
        peak
    };
    let (one, other, memory) = tokio::join!(follow(&rig, &run, None), follow(&rig, &run, Some(7_000_000)), memory);

    let mut expected = Hasher::new();
    (0..LINES).for_each(|n| expected.update(line(n).as_bytes()));
    let expected = (u64::from(LINES * LINE), expected.finish());
    assert_eq!(one, expected);
    assert_eq!(other, expected);
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1_024, "the runner took {kib} KiB");

    let run = rig.until_state(&run, State::Finished).await;
    rig.until_tidy().await;
    let log = rig.app.queries.log(&Who::system(), run.id, Phase::Performing).unwrap().unwrap().open().unwrap().unwrap();
    assert_eq!(log.len().unwrap(), u64::from(LINES * LINE));
    let tail = log.range(u64::from((LINES - 1) * LINE), 1_000).unwrap();
    assert_eq!(String::from_utf8(tail).unwrap(), line(LINES - 1));
}
