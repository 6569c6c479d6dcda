#![allow(clippy::unwrap_used)]

use super::Turns;
use futures_util::FutureExt as _;
use std::pin::pin;
use std::time::Duration;

const fn since(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_turn_goes_to_whoever_has_waited_longest_and_past_those_that_went_away() {
    let turns = Turns::default();
    let first = turns.take(since(50)).now_or_never().unwrap();
    let (mut late, mut early) = (pin!(turns.take(since(40))), pin!(turns.take(since(20))));
    let mut gone = Box::pin(turns.take(since(10)));
    assert!(late.as_mut().now_or_never().is_none());
    assert!(early.as_mut().now_or_never().is_none());
    assert!(gone.as_mut().now_or_never().is_none());
    drop(gone);
    drop(first);
    assert!(late.as_mut().now_or_never().is_none());
    let second = early.now_or_never().expect("it waits for longer than the other");
    drop(second);
    drop(late.now_or_never().expect("nobody else waits"));
    assert!(turns.take(since(60)).now_or_never().is_some());
}

#[test]
fn who_holds_the_turn_gives_way_to_older_calls_alone() {
    let turns = Turns::default();
    let mine = turns.take(since(0)).now_or_never().unwrap();
    let mut other = pin!(turns.take(since(20)));
    assert!(other.as_mut().now_or_never().is_none());
    let mine = mine.give_way(since(10)).now_or_never().expect("mine are older");
    let mut again = pin!(mine.give_way(since(30)));
    assert!(again.as_mut().now_or_never().is_none());
    let theirs = other.now_or_never().expect("theirs are older");
    assert!(again.as_mut().now_or_never().is_none());
    drop(theirs);
    assert!(again.now_or_never().is_some());
}
