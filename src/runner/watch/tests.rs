use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn watch(silence: Option<u32>) -> (Watch, Instant) {
    let began = Instant::now();
    let terms = Terms { wall: 100 * SECOND, silence: silence.map(|seconds| seconds * SECOND), grace: 10 * SECOND };
    (Watch::new(terms, began), began)
}

#[test]
fn a_phase_that_overstays_is_asked_and_then_killed() {
    let (mut watch, began) = watch(None);
    assert_eq!(watch.next(began), Order::Wait(Some(began + 100 * SECOND)));
    let why = Why::Wall { seconds: 100 };
    assert_eq!(watch.next(began + 100 * SECOND), Order::Ask(why));
    assert_eq!(watch.next(began + 101 * SECOND), Order::Wait(Some(began + 110 * SECOND)));
    assert_eq!(watch.next(began + 110 * SECOND), Order::Kill(why));
    assert_eq!(watch.next(began + 111 * SECOND), Order::Wait(None));
    assert_eq!(watch.why().map(Why::verdict), Some(Verdict::TimedOut { seconds: 100 }));
}

#[test]
fn each_output_begins_the_silence_anew() {
    let (mut watch, began) = watch(Some(5));
    watch.hear(began + 4 * SECOND);
    assert_eq!(watch.next(began + 5 * SECOND), Order::Wait(Some(began + 9 * SECOND)));
    assert_eq!(watch.next(began + 9 * SECOND), Order::Ask(Why::Silence { seconds: 5 }));
}

#[test]
fn the_first_reason_is_the_verdict_and_a_kill_waits_for_nothing() {
    let (mut watch, began) = watch(None);
    watch.want(Why::Stop);
    watch.want(Why::Workspace { limit_bytes: 1 });
    assert_eq!(watch.next(began), Order::Ask(Why::Stop));
    watch.want(Why::Stop);
    assert_eq!(watch.next(began + SECOND), Order::Wait(Some(began + 10 * SECOND)));
    watch.want(Why::Kill);
    assert_eq!(watch.next(began + SECOND), Order::Kill(Why::Stop));
}

#[test]
fn a_kill_before_anything_else_asks_nobody() {
    let (mut watch, began) = watch(None);
    watch.want(Why::Stop);
    watch.want(Why::Kill);
    assert_eq!(watch.next(began), Order::Kill(Why::Kill));
}
