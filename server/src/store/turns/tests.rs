#![allow(clippy::unwrap_used)]

use super::{Turn, Turns};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const fn since(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The turn, if it has come.
fn now(waiting: Pin<&mut impl Future<Output = Turn>>) -> Option<Turn> {
    match waiting.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

#[test]
fn the_turn_goes_to_whoever_has_waited_longest_and_past_those_that_went_away() {
    let turns = Turns::default();
    let first = now(pin!(turns.take(since(50)))).unwrap();
    let (mut late, mut early) = (pin!(turns.take(since(40))), pin!(turns.take(since(20))));
    let mut gone = Box::pin(turns.take(since(10)));
    assert!(now(late.as_mut()).is_none());
    assert!(now(early.as_mut()).is_none());
    assert!(now(gone.as_mut()).is_none());
    drop(gone);
    drop(first);
    assert!(now(late.as_mut()).is_none());
    let second = now(early).expect("it waits for longer than the other");
    assert!(now(late.as_mut()).is_none());
    drop(second);
    drop(now(late).expect("nobody else waits"));
    assert!(now(pin!(turns.take(since(60)))).is_some());
}

#[test]
fn who_holds_the_turn_gives_way_to_older_calls_alone() {
    let turns = Turns::default();
    let mine = now(pin!(turns.take(since(0)))).unwrap();
    let mut other = pin!(turns.take(since(20)));
    assert!(now(other.as_mut()).is_none());
    let mine = now(pin!(mine.give_way(since(10)))).expect("mine are older");
    let mut again = pin!(mine.give_way(since(30)));
    assert!(now(again.as_mut()).is_none());
    let theirs = now(other).expect("theirs are older");
    assert!(now(again.as_mut()).is_none());
    drop(theirs);
    assert!(now(again).is_some());
}
