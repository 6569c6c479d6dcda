//! The event log: positions in the order of commits.

use crate::chain::{Chain, sync};
use crate::stage::{START_MS, Stage};
use server::domain::ids::EventId;
use server::domain::sync::SyncCall;
use server::store::events::{NewEvent, SYNC_SHARD, append};
use server::store::{End, Row, StoreError};
use tokio::task::JoinSet;
use uuid::Uuid;

const AFTER: &str = "SELECT position FROM events WHERE shard = 0 AND position > $1 ORDER BY position";

fn position(row: &Row) -> i64 {
    row.columns().int().unwrap()
}

pub(crate) async fn positions_follow_commits_and_leave_no_hole_behind_a_reader(stage: &Stage) {
    const WRITERS: usize = 6;
    const BATCHES: i64 = 20;
    let machines = stage.machines(WRITERS as u64).await;
    let mut writers = JoinSet::new();
    for machine in machines {
        let store = stage.store.clone();
        writers.spawn(async move {
            let chain = Chain::of(machine, u64::try_from(BATCHES).unwrap());
            for seq in 1..=chain.last_seq() {
                sync(&store, &[chain.call(seq, seq)]).await.unwrap();
            }
        });
    }
    // Whatever a reader has seen, everything below it is there as well: the next one is always the next number.
    let expected = i64::try_from(WRITERS).unwrap() * BATCHES;
    let mut seen = 0;
    while seen < expected {
        for row in stage.store.read().await.unwrap().all(AFTER, &[seen.into()]).await.unwrap() {
            assert_eq!(position(&row), seen + 1, "a lower position appeared after a higher one was read");
            seen += 1;
        }
        if let Some(result) = writers.try_join_next() {
            result.unwrap();
        }
    }
    writers.join_all().await;
    assert_eq!(stage.count("events").await, expected);
    assert_eq!(stage.number("SELECT position FROM event_heads WHERE shard = 0").await, expected);
    let out_of_order = stage
        .number(
            "SELECT COUNT(*) FROM events a JOIN events b ON a.machine_id = b.machine_id AND a.position < b.position \
             WHERE a.first_seq >= b.first_seq",
        )
        .await;
    assert_eq!(out_of_order, 0, "a machine's later records have the later event");
}

pub(crate) async fn a_batch_that_fails_gives_its_positions_back(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let write = |end: fn(()) -> End<()>| async move {
        let store = &stage.store;
        store
            .run_tx("events", (), move |tx, ()| {
                Box::pin(async move {
                    append(tx, SYNC_SHARD, &[event(1), event(2)]).await?;
                    Ok(end(()))
                })
            })
            .await
            .unwrap();
    };
    write(End::RollBack).await;
    write(End::Commit).await;
    sync(&stage.store, &[Chain::of(machine, 2).whole()]).await.unwrap();
    let positions: Vec<i64> =
        stage.rows("SELECT position FROM events ORDER BY position").await.iter().map(position).collect();
    assert_eq!(positions, [1, 2, 3]);
}

fn event(seq: u64) -> NewEvent<'static> {
    NewEvent {
        id: EventId(Uuid::now_v7()),
        kind: 7,
        machine: None,
        epoch: None,
        first_seq: seq,
        last_seq: seq,
        at_ms: START_MS,
        trace_id: "t",
        traceparent: "",
        subject: None,
        customer: None,
        body: Some(b"body"),
    }
}

pub(crate) async fn events_of_a_batch_keep_their_order(stage: &Stage) {
    let machines = stage.machines(70).await;
    let calls: Vec<SyncCall> = machines.iter().rev().map(|m| Chain::of(*m, 2).whole()).collect();
    sync(&stage.store, &calls).await.unwrap();
    let rows = stage
        .rows("SELECT machine_id, position, first_seq, last_seq, trace_id FROM events ORDER BY position")
        .await;
    assert_eq!(rows.len(), calls.len());
    for ((row, call), expected) in rows.iter().zip(&calls).zip(1..) {
        let mut c = row.columns();
        assert_eq!((c.uuid().unwrap(), c.int().unwrap()), (call.machine.0, expected), "in order of arrival");
        assert_eq!((c.int().unwrap(), c.int().unwrap()), (1, 2), "one event for the range of a Sync");
        assert_eq!(c.text().unwrap(), "trace");
    }
    let nowhere = stage
        .store
        .run_tx("no_head", (), |tx, ()| {
            Box::pin(async move {
                append(tx, 99, &[event(1)]).await?;
                Ok(End::Commit(()))
            })
        })
        .await;
    assert!(matches!(nowhere, Err(StoreError::Corrupt(_))), "an event is never lost for want of a head");
}

pub(crate) async fn trimmed_events_are_said_to_be_gone(stage: &Stage) {
    stage
        .store
        .run_tx("events", (), |tx, ()| {
            Box::pin(async move {
                let events: Vec<NewEvent<'_>> =
                    (1..=10).map(|n| NewEvent { at_ms: START_MS + n, ..event(1) }).collect();
                append(tx, SYNC_SHARD, &events).await?;
                Ok(End::Commit(()))
            })
        })
        .await
        .unwrap();
    assert_eq!(stage.store.trim_events(SYNC_SHARD, START_MS + 6, 3).await.unwrap(), 3, "bounded");
    assert_eq!(
        stage.store.trim_events(SYNC_SHARD, START_MS + 6, 3).await.unwrap(),
        2,
        "only what is old enough"
    );
    assert_eq!(stage.store.trim_events(SYNC_SHARD, START_MS + 6, 3).await.unwrap(), 0);
    assert_eq!(stage.number("SELECT MIN(position) FROM events").await, 6);
    assert_eq!(stage.number("SELECT trimmed_through FROM event_heads WHERE shard = 0").await, 5);
    assert_eq!(
        stage.number("SELECT position FROM event_heads WHERE shard = 0").await,
        10,
        "numbers are not given twice"
    );
}
