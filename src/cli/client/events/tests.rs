use serde_json::json;

use super::{Event, Parser, Raw, TooLong, understood};

const STREAM: &str = ": sign of life\n\nevent: state\ndata: {\"state\":\"planning\"}\n\n\
    event: log\nid: planning:5\ndata: {\"phase\":\"planning\",\"offset\":0,\"text\":\"é ✓\"}\n\n\
    event: novelty\ndata: x\n\nevent: done\ndata: {}\n\n";

fn parsed(stream: &str, piece: usize) -> Vec<Raw> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for bytes in stream.as_bytes().chunks(piece) {
        parser.push(bytes).unwrap();
        events.extend(std::iter::from_fn(|| parser.next()));
    }
    events
}

#[test]
fn events_are_the_same_in_whatever_pieces_they_come() {
    let whole = parsed(STREAM, usize::MAX);
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[1].id.as_deref(), Some("planning:5"));
    for piece in [1, 3, 50] {
        assert_eq!(parsed(STREAM, piece), whole);
    }
    assert_eq!(parsed(&STREAM.replace('\n', "\r\n"), 7), whole);
}

#[test]
fn an_event_that_was_cut_off_is_none() {
    let cut = STREAM.find("\n\nevent: novelty").unwrap();
    assert_eq!(parsed(&STREAM[..=cut], 10).len(), 1);
}

#[test]
fn events_that_are_not_known_are_passed_over_and_broken_ones_are_not() {
    let read: Vec<_> = parsed(STREAM, 10).iter().map(|raw| understood(raw).unwrap()).collect();
    let log = Event::Log { phase: "planning".to_owned(), offset: 0, text: "é ✓".to_owned() };
    assert_eq!(read, [Some(Event::State(json!({"state": "planning"}))), Some(log), None, Some(Event::Done)]);
    let broken = Raw { name: "log".to_owned(), data: "{}".to_owned(), id: None };
    assert_eq!(understood(&broken), None);
}

#[test]
fn an_event_that_never_ends_is_given_up() {
    let mut parser = Parser::default();
    let block = vec![b'x'; 1 << 20];
    let given_up = (0..20).map(|_| parser.push(&block)).find(Result::is_err);
    assert_eq!(given_up, Some(Err(TooLong)));
}
