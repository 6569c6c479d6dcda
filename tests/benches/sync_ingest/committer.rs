//! The commit path alone: committer, fold and store, with no wire before it.

use crate::common::home::{self, Home};
use crate::load::Machine;
use crate::stage;
use crate::{Shape, rate};
use server::auth::SecretKey;
use server::context::Context;
use server::domain::sync::{Settings, SyncCall};
use server::metrics::Metrics;
use server::operations::sync::{Committer, CommitterSettings};
use server::store::{Engine, Store};
use std::time::Instant;
use tokio::task::JoinSet;

pub fn start(store: &Store) -> Committer {
    let defaults = server::config::Config::default();
    let settings = CommitterSettings {
        lanes: match store.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres => server::serve::POSTGRES_LANES,
        },
        max_batch_calls: defaults.commit.max_batch_requests,
        max_batch_records: server::serve::MAX_BATCH_RECORDS,
        max_queued_calls: defaults.commit.queue_requests,
        max_queued_ms: 60_000,
        sync: Settings { base_interval_ms: 30_000, stale_call_grace_ms: 60_000, doubt_after_ms: 60_000 },
    };
    Committer::start(store, &Context::system(), &Metrics::new(&mut Default::default()), &settings)
}

/// Sends the opening Sync of every machine, so that what is measured is a fleet in its life.
pub async fn open_epochs(committer: &Committer, fleet: &[Machine]) {
    let firsts = fleet.iter().map(|m| vec![m.call(&m.syncs[0])]).collect();
    submit(committer, firsts).await;
}

/// Each machine has one call in flight, all machines at once.
async fn submit(committer: &Committer, fleet: Vec<Vec<SyncCall>>) {
    let mut machines = JoinSet::new();
    for calls in fleet {
        let committer = committer.clone();
        machines.spawn(async move {
            for call in calls {
                let through = call.batch_end();
                let answer = committer.submit(call).await.unwrap();
                assert_eq!((answer.accepted_through, answer.durable_through), (through, through));
            }
        });
    }
    while let Some(ended) = machines.join_next().await {
        ended.unwrap();
    }
}

/// Records per second.
pub async fn run(engine: Engine, fleet: &[Machine], shape: &Shape) -> f64 {
    let home = Home::fresh(engine).await;
    let store = home::open(home.target()).await;
    stage::add_machines(&store, fleet, &SecretKey::new([7; 32])).await;
    let committer = start(&store);
    open_epochs(&committer, fleet).await;
    home::settle(&home).await;
    let before = stage::count_records(&store).await;
    let calls: Vec<Vec<SyncCall>> =
        fleet.iter().map(|m| m.syncs[1..].iter().map(|sync| m.call(sync)).collect()).collect();
    let began = Instant::now();
    submit(&committer, calls).await;
    let took = began.elapsed();
    assert_eq!(stage::count_records(&store).await - before, i64::try_from(shape.total_records()).unwrap());
    store.close().await;
    rate(shape.total_records(), took)
}
