#![allow(clippy::unwrap_used)]

use super::{Answers, CommitSettings, FEW, GroupCommit, HotWrite};
use crate::context::Context;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, StoreOptions, Target, Turns};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Answers each call with how many went together.
struct Together;

impl HotWrite for Together {
    type Call = ();
    type Answer = usize;
    type Key = Infallible;

    const WHAT: &'static str = "calls of a test";

    async fn commit_once(&self, calls: &[()], _: bool) -> Result<Answers<Self>, StoreError> {
        Ok(calls.iter().map(|()| Ok(calls.len())).collect())
    }
}

const SETTINGS: CommitSettings = CommitSettings {
    lanes: 1,
    max_batch_calls: 8,
    max_batch_weight: 8,
    max_queued_calls: 8,
    open_for: Duration::from_millis(100),
    max_queued_ms: 60_000,
};

async fn open(folder: &tempfile::TempDir, context: &Context) -> Store {
    let options = StoreOptions::new(Target::Sqlite(folder.path().join("store.db")));
    Store::open(&options, context.clone()).await.unwrap()
}

fn start<W: HotWrite>(write: W, store: &Store, context: &Context, turns: &[Turns]) -> GroupCommit<W> {
    start_with(SETTINGS, write, store, context, turns)
}

fn start_with<W: HotWrite>(
    settings: CommitSettings,
    write: W,
    store: &Store,
    context: &Context,
    turns: &[Turns],
) -> GroupCommit<W> {
    let metrics = Metrics::new(&mut Registry::default()).commit;
    GroupCommit::start(write, store, context, &metrics, settings, turns)
}

#[tokio::test]
async fn on_sqlite_what_comes_while_a_lane_waits_for_its_turn_goes_with_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::system();
    let store = open(&folder, &context).await;
    let turns = store.turns(SETTINGS.lanes);
    let group = start(Together, &store, &context, &turns);
    let others = turns[0].take(Duration::ZERO).await;
    let first = group.enqueue(0, ()).unwrap();
    // On this one thread the lane comes as far as it can.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let second = group.enqueue(0, ()).unwrap();
    drop(others);
    assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (2, 2));
    store.close().await;
}

/// What is `true` is answered for good once somebody allows it.
struct Patient(Arc<Notify>);

impl HotWrite for Patient {
    type Call = bool;
    /// Whether it is the last word, if there has to be another one.
    type Answer = Option<bool>;
    type Key = Infallible;

    const WHAT: &'static str = "patient calls of a test";

    async fn commit_once(&self, calls: &[bool], _: bool) -> Result<Answers<Self>, StoreError> {
        Ok(calls.iter().map(|waits| Ok(waits.then_some(false))).collect())
    }

    fn is_provisional(answer: &Option<bool>) -> bool {
        *answer == Some(false)
    }

    async fn revise(&self, calls: &[bool], _: Answers<Self>) -> Answers<Self> {
        self.0.notified().await;
        calls.iter().map(|_| Ok(Some(true))).collect()
    }
}

#[tokio::test]
async fn who_is_looked_at_again_keeps_nobody_waiting_who_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::system();
    let store = open(&folder, &context).await;
    let turns = store.turns(SETTINGS.lanes);
    let may_end = Arc::new(Notify::new());
    let patient = start(Patient(Arc::clone(&may_end)), &store, &context, &turns);
    let others = start(Together, &store, &context, &turns);

    let mut revised = patient.enqueue(0, true).unwrap();
    let settled = patient.enqueue(0, false).unwrap();
    assert_eq!(settled.await.unwrap().unwrap(), None, "of one batch with it");
    assert_eq!(others.submit(0, ()).await.unwrap(), 1, "the turn is others' meanwhile");
    revised.try_recv().unwrap_err();
    may_end.notify_one();
    assert_eq!(revised.await.unwrap().unwrap(), Some(true));
    assert_eq!(patient.submit(0, false).await.unwrap(), None, "and the lane goes on");
    store.close().await;
}

#[tokio::test]
async fn a_batch_stays_open_while_others_have_something_to_do_until_its_first_call_has_waited_for_long_enough()
 {
    let folder = tempfile::tempdir().unwrap();
    let (context, clock) = Context::manual(1_790_000_000_000, 1);
    let store = open(&folder, &context).await;
    let turns = store.turns(SETTINGS.lanes);
    let group = start(Together, &store, &context, &turns);
    let first = group.enqueue(0, ()).unwrap();
    // Each turn of the others takes 10 ms; the turn to write is theirs too.
    let go = async || {
        clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    };
    for _ in 0..9 {
        go().await;
    }
    drop(turns[0].take(Duration::ZERO).await);
    let last = group.enqueue(0, ()).unwrap();
    go().await;
    let late = group.enqueue(0, ()).unwrap();
    assert_eq!((first.await.unwrap().unwrap(), last.await.unwrap().unwrap()), (2, 2));
    assert_eq!(late.await.unwrap().unwrap(), 1);
    store.close().await;
}

#[tokio::test]
async fn what_any_lane_will_do_for_is_split_only_when_it_is_a_crowd() {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::system();
    let store = open(&folder, &context).await;
    let settings = CommitSettings {
        lanes: 2,
        max_batch_calls: 4 * FEW,
        max_batch_weight: 4 * FEW,
        max_queued_calls: 4 * FEW,
        ..SETTINGS
    };
    let turns = [Turns::default(), Turns::default()];
    let group = start_with(settings, Together, &store, &context, &turns);
    // No lane runs meanwhile: this is their one thread.
    let all: Vec<_> = (0..2 * FEW + 2).map(|_| group.enqueue(group.any_lane(), ()).unwrap()).collect();
    let mut together = Vec::new();
    for coming in all {
        together.push(coming.await.unwrap().unwrap());
    }
    assert!(together.iter().all(|calls| *calls == FEW + 1), "{together:?}");
    let few = [group.enqueue(group.any_lane(), ()).unwrap(), group.enqueue(group.any_lane(), ()).unwrap()];
    for coming in few {
        assert_eq!(coming.await.unwrap().unwrap(), 2);
    }
    store.close().await;
}
