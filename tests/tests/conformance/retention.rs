//! Forgetting old records.

use crate::chain::{Chain, sync};
use crate::stage::{START_MS, Stage};
use server::domain::sync::SyncCall;

const DAY_MS: i64 = 86_400_000;

fn received(mut call: SyncCall, at_ms: i64) -> SyncCall {
    call.received_at_ms = at_ms;
    call
}

/// Sweeps to the end; gives the rows of each step.
async fn sweep(stage: &Stage, before_ms: i64, rows: u32) -> Vec<u64> {
    let (mut steps, mut at) = (Vec::new(), None);
    loop {
        let step = stage.store.prune_records(before_ms, rows, at).await.unwrap();
        steps.push(step.rows);
        match step.next {
            Some(next) => at = Some(next),
            None => return steps,
        }
    }
}

pub(crate) async fn old_records_go_and_marks_stay(stage: &Stage) {
    let machines = stage.machines(3).await;
    let chains: Vec<Chain> = machines.iter().map(|m| Chain::of(*m, 20)).collect();
    for chain in &chains {
        sync(&stage.store, &[received(chain.call(1, 12), START_MS)]).await.unwrap();
        sync(&stage.store, &[received(chain.call(13, 20), START_MS + 10 * DAY_MS)]).await.unwrap();
    }
    let marks = "SELECT CAST(SUM(durable_through) AS BIGINT) FROM epochs";
    assert_eq!(stage.number(marks).await, 60);
    let deleted: u64 = sweep(stage, START_MS + DAY_MS, 1_000).await.iter().sum();
    assert_eq!(deleted, 36);
    assert_eq!(stage.count("records").await, 24);
    assert_eq!(stage.number("SELECT MIN(seq) FROM records").await, 13);
    assert_eq!(stage.number(marks).await, 60, "marks are kept for ever");

    // A device that sends old records again is answered by the marks: nothing comes back, nothing is lost.
    let again = sync(&stage.store, &[chains[0].whole()]).await.unwrap().remove(0);
    assert_eq!((again.durable_through, again.open_epoch), (20, None));
    assert_eq!(stage.count("records").await, 24);
    assert_eq!(sweep(stage, START_MS + DAY_MS, 1_000).await.iter().sum::<u64>(), 0);
}

pub(crate) async fn a_sweep_is_made_of_bounded_steps(stage: &Stage) {
    let machines = stage.machines(230).await;
    let calls: Vec<SyncCall> = machines.iter().map(|m| Chain::of(*m, 7).whole()).collect();
    sync(&stage.store, &calls).await.unwrap();
    let steps = sweep(stage, START_MS + 1, 100).await;
    assert!(steps.iter().all(|rows| *rows <= 100), "{steps:?}");
    assert_eq!(steps.iter().sum::<u64>(), 230 * 7, "{steps:?}");
    assert_eq!(stage.count("records").await, 0);
}

pub(crate) async fn a_record_with_an_open_dead_letter_stays(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut chain = Chain::of(machine, 5);
    chain.garbage(b"?");
    chain.garbage(b"??");
    sync(&stage.store, &[chain.whole()]).await.unwrap();
    stage.execute("UPDATE dead_letters SET state = 3 WHERE seq = 7").await;
    assert_eq!(sweep(stage, START_MS + 1, 4).await.iter().sum::<u64>(), 6);
    assert_eq!(stage.number("SELECT MAX(seq) FROM records").await, 6, "its bytes are what a redrive reads");
    stage.execute("UPDATE dead_letters SET state = 3").await;
    assert_eq!(sweep(stage, START_MS + 1, 4).await.iter().sum::<u64>(), 1);
    assert_eq!(stage.count("dead_letters").await, 2, "that it was one is remembered");
}
