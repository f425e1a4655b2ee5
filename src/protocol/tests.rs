use super::*;
use crate::domain::{Delta, Digest, Kind, Phase, State, Timestamp, Verdict};

fn started() -> Record {
    Record::Started { version: VERSION, at: Timestamp::from_millis(1) }
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap();
    line.push(b'\n');
    line
}

#[test]
fn a_torn_last_record_is_left_for_later() {
    let mut bytes = line(&started());
    let whole = bytes.len();
    bytes.extend_from_slice(&line(&started())[..9]);
    assert_eq!(read_records(&bytes), (vec![started()], whole));
    assert_eq!(read_records(&[]), (vec![], 0));
}

#[test]
fn nothing_is_read_past_a_line_that_is_not_a_record() {
    let mut bytes = line(&started());
    let good = bytes.len();
    bytes.extend_from_slice(b"{\"record\":\"from the future\"}\n");
    bytes.extend_from_slice(&line(&started()));
    assert_eq!(read_records(&bytes), (vec![started()], good));
}

#[test]
fn only_the_machine_s_rule_says_how_a_run_ends() {
    let digest = Digest::from_bytes([0; 32]);
    let nothing = Planned { changes: false, delta: Delta::default(), digest, terraform_version: None };
    let ends = |kind, phase, verdict: &Verdict, stopped| ends_as(kind, phase, verdict, Some(&nothing), stopped);
    assert_eq!(ends(Kind::Tracked, Phase::Planning, &Verdict::SUCCESS, false), Some(State::Finished));
    assert_eq!(ends(Kind::Destroy, Phase::Planning, &Verdict::SUCCESS, false), None);
    assert_eq!(ends(Kind::Tracked, Phase::Initializing, &Verdict::Stopped, true), Some(State::Stopped));
    assert_eq!(ends(Kind::OnDemand, Phase::Performing, &Verdict::Stopped, true), Some(State::Canceled));
    assert_eq!(ends(Kind::Task, Phase::Performing, &Verdict::Exited { code: 3 }, false), Some(State::Failed));
}
