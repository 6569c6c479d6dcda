//! Many at once: locked in one order, retried within a bound, never lost.

use crate::chain::{Chain, sync};
use crate::stage::Stage;
use server::domain::sync::SyncCall;
use server::store::{End, Store, StoreError};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use tokio::task::JoinSet;

/// Whether something is still waiting after everybody had the time to go on.
async fn is_waiting<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    let patience = tokio::time::Duration::from_millis(150);
    tokio::time::timeout(
        patience,
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }),
    )
    .await
    .is_err()
}

pub(crate) async fn two_batches_on_one_machine_follow_each_other(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let chain = Chain::of(machine, 30);
    let batches: Vec<SyncCall> = (0..10).map(|n| chain.call(n * 3 + 1, n * 3 + 3)).collect();
    // Each asks for its own part again and again until those before it are in: what a device does, ten times at once.
    let mut tasks = JoinSet::new();
    for call in batches {
        let store = stage.store.clone();
        tasks.spawn(async move {
            let end = call.batch_end();
            loop {
                let answer = sync(&store, std::slice::from_ref(&call)).await.unwrap().remove(0);
                assert_eq!(answer.open_epoch, None, "no batch may see half of another");
                if answer.durable_through >= end {
                    return;
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(stage.count("records").await, 30);
    assert_eq!(stage.number("SELECT durable_through FROM epochs").await, 30);
    assert_eq!(stage.count("gaps").await, 0);
}

pub(crate) async fn batches_in_opposite_order_never_deadlock(stage: &Stage) {
    let machines = stage.machines(6).await;
    let mut tasks = JoinSet::new();
    for worker in 0..6 {
        let (store, mut order) = (stage.store.clone(), machines.clone());
        order.rotate_left(worker);
        if worker % 2 == 1 {
            order.reverse();
        }
        let chains: Vec<Chain> = order.iter().map(|machine| Chain::of(*machine, 2)).collect();
        tasks.spawn(async move {
            for _ in 0..15 {
                let calls: Vec<SyncCall> = chains.iter().map(Chain::whole).collect();
                sync(&store, &calls).await.expect("locks taken in one order can't wait in a circle");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(stage.store.counts().conflicts.load(Ordering::Relaxed), 0);
    assert_eq!(stage.number("SELECT MIN(sync_count) FROM machine_sync").await, 6 * 15);
}

pub(crate) async fn a_batch_waits_for_the_machines_it_shares_only(stage: &Stage) {
    let machines = stage.machines(2).await;
    let (shared, other) = (Chain::of(machines[0], 2).whole(), Chain::of(machines[1], 2).whole());
    let mut first = stage.store.begin_hot().await.unwrap();
    first.load_sync(std::slice::from_ref(&shared), false).await.unwrap();

    let calls = [shared];
    let mut second = pin!(sync(&stage.store, &calls));
    assert!(is_waiting(&mut second).await, "a locked machine is not given to a second batch");
    if stage.folder().is_none() {
        sync(&stage.store, &[other]).await.expect("on PostgreSQL another machine's batch passes");
    }
    first.roll_back().await.unwrap();
    assert_eq!(second.await.unwrap().len(), 1);
}

pub(crate) async fn a_lost_race_is_typed_counted_and_tried_again(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::of(machine, 2).whole();
    let mut holder = stage.store.begin_hot().await.unwrap();
    holder.load_sync(std::slice::from_ref(&call), false).await.unwrap();

    let neighbour = stage.impatient(20, 3).await;
    let tries = Arc::new(AtomicU32::new(0));
    let error = touch(&neighbour, &tries).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    assert_eq!(neighbour.counts().conflicts.load(Ordering::Relaxed), 4);
    assert_eq!(neighbour.counts().retries.load(Ordering::Relaxed), 3, "within its bound");

    let stubborn = stage.impatient(20, 10_000).await;
    let tries = Arc::new(AtomicU32::new(0));
    let mut waiting = pin!(touch(&stubborn, &tries));
    assert!(is_waiting(&mut waiting).await);
    holder.roll_back().await.unwrap();
    waiting.await.expect("it comes through when the other is done");
    assert!(stubborn.counts().retries.load(Ordering::Relaxed) > 0);
    assert_eq!(stage.number("SELECT sync_count FROM machine_sync").await, 1, "and is done once");
}

async fn touch(store: &Store, tries: &Arc<AtomicU32>) -> Result<(), StoreError> {
    store
        .run_tx("touch", Arc::clone(tries), |tx, tries| {
            Box::pin(async move {
                tries.fetch_add(1, Ordering::Relaxed);
                tx.execute("UPDATE machine_sync SET sync_count = sync_count + 1", &[]).await?;
                Ok(End::Commit(()))
            })
        })
        .await
}

pub(crate) async fn stock_is_never_oversold(stage: &Stage) {
    stage
        .execute(
            "INSERT INTO products (product_id, sku, name, currency, price_minor, stock, created_at_ms, updated_at_ms) \
             SELECT machine_id, 'A', 'A', 'EUR', 100, 25, 1, 1 FROM (SELECT incarnation AS machine_id FROM server_meta) AS one",
        )
        .await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = stage.store.clone();
        tasks.spawn(async move {
            let mut sold = 0;
            for _ in 0..10 {
                sold += store
                    .run_tx("sell", (), |tx, ()| {
                        Box::pin(async move {
                            let sell = "UPDATE products SET stock = stock - 1 WHERE stock >= 1";
                            Ok(End::Commit(tx.execute(sell, &[]).await?))
                        })
                    })
                    .await
                    .unwrap();
            }
            sold
        });
    }
    let sold: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!((sold, stage.number("SELECT stock FROM products").await), (25, 0));
}
