//! What a server forgets, and what it never does.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use fleet_support::{Device, Stage};
use server::{
    config::Config,
    context::Context,
    operations::retention::{Retention, Swept, sweep},
    serve::start,
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(86_400);
const KEEP: Retention = Retention { keep_ms: 400 * 86_400_000, batch_rows: 2 };

on_both_engines! {
    bodies_and_events_go_when_they_are_old_and_marks_stay,
    a_sweep_ends_between_two_transactions_when_the_server_drains,
}

async fn sold(stage: &Stage) -> Device {
    let product = stage.product("COLA", 100).await;
    let mut device = Device::new(&stage.machine("m").await, &product);
    for _ in 0..3 {
        device.vend();
    }
    device.sync(stage).await;
    device
}

async fn bodies_and_events_go_when_they_are_old_and_marks_stay(stage: Stage) {
    let mut device = sold(&stage).await;
    let machine_id = device.machine.to_string();
    let stop = CancellationToken::new();
    stage.clock.advance(DAY * 29);
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap(), Swept::default());
    stage.clock.advance(DAY * 370);
    let request_ids = sweep(&stage.deps, KEEP, &stop).await.unwrap();
    assert_eq!(request_ids, Swept { request_ids: 2, ..Swept::default() });
    stage.clock.advance(DAY * 2);
    let old = sweep(&stage.deps, KEEP, &stop).await.unwrap();
    assert_eq!(old, Swept { records: 4, events: 2, request_ids: 0 });
    assert_eq!(stage.transactions(&machine_id).await.len(), 0);
    assert_eq!(stage.epochs(&machine_id).await[&device.epoch_hex()].durable_through, 4);
    device.vend();
    assert_eq!(device.sync(&stage).await.durable_through, 5, "the journal goes on behind what was forgotten");
}

async fn a_sweep_ends_between_two_transactions_when_the_server_drains(stage: Stage) {
    sold(&stage).await;
    stage.clock.advance(DAY * 401);
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap(), Swept { records: 2, ..Swept::default() });
}

#[tokio::test]
async fn a_running_server_sweeps_by_itself_and_stops_sweeping_when_it_drains() {
    // The stage's clock stands in the past: for the server everything of it is old.
    let stage = Stage::sqlite().await;
    let machine_id = sold(&stage).await.machine.to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.data_dir = folder.path().to_str().unwrap().to_owned();
    config.database.url = stage.sqlite_url();
    (config.retention.keep_days, config.retention.interval_ms) = (31, 1_000);
    let running = start(config, Context::system()).await.unwrap();
    let swept = async {
        while !stage.transactions(&machine_id).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), swept).await.unwrap();
    assert!(running.stop().await);
}
