#![allow(clippy::unwrap_used)]

use super::{Answers, CommitSettings, GroupCommit, HotWrite};
use crate::context::Context;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, StoreOptions, Target};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::time::Duration;

/// Answers each call with how many went together.
struct Together;

impl HotWrite for Together {
    type Call = ();
    type Answer = usize;
    type Key = Infallible;

    const WHAT: &'static str = "calls of a test";

    fn key((): &()) -> Option<Infallible> {
        None
    }

    fn weight((): &()) -> usize {
        1
    }

    async fn commit_once(&self, calls: &[()], _: bool) -> Result<Answers<Self>, StoreError> {
        Ok(calls.iter().map(|()| Ok(calls.len())).collect())
    }

    fn needs_check(_: &StoreError) -> bool {
        false
    }
}

#[tokio::test]
async fn on_sqlite_what_comes_while_a_lane_waits_for_its_turn_goes_with_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let context = Context::system();
    let options = StoreOptions::new(Target::Sqlite(folder.path().join("store.db")));
    let store = Store::open(&options, context.clone()).await.unwrap();
    let settings = CommitSettings {
        lanes: 1,
        max_batch_calls: 8,
        max_batch_weight: 8,
        max_queued_calls: 8,
        max_queued_ms: 60_000,
    };
    let turns = store.turns(settings.lanes);
    let group = GroupCommit::start(
        Together,
        &store,
        &context,
        &Metrics::new(&mut Registry::default()).commit,
        settings,
        &turns,
    );
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
