//! What fails leaves nothing behind, and what comes after works.

use crate::chain::{Chain, sync};
use crate::stage::Stage;
use server::domain::sync::Writes;
use server::store::{End, StoreError, UniqueKey};
use std::sync::Arc;
use tokio::sync::Notify;
use vendfleet_tests::wait::{PATIENCE, until_true};

const TOUCH: &str = "UPDATE machine_sync SET sync_count = sync_count + 1";
const TOUCHED: &str = "SELECT MAX(sync_count) FROM machine_sync";

pub(crate) async fn a_caller_that_goes_away_leaves_no_open_transaction(stage: &Stage) {
    stage.machines(1).await;
    let (inside, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (store, signals) = (stage.store.clone(), (Arc::clone(&inside), Arc::clone(&go_on)));
    let caller = tokio::spawn(async move {
        store
            .run_tx("abandoned", signals, |tx, (inside, go_on)| {
                Box::pin(async move {
                    tx.execute(TOUCH, &[]).await?;
                    inside.notify_one();
                    go_on.notified().await;
                    Ok(End::Commit(()))
                })
            })
            .await
    });
    inside.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go_on.notify_one();
    until_true("the abandoned write ends by itself", PATIENCE, || async { stage.number(TOUCHED).await == 1 })
        .await;
    assert_eq!(stage.idle_transactions().await, 0);
    stage.execute(TOUCH).await;
    assert_eq!(stage.number(TOUCHED).await, 2);
}

pub(crate) async fn a_batch_that_is_dropped_leaves_nothing(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::of(machine, 5).whole();
    for _ in 0..20 {
        let mut tx = stage.store.begin_hot().await.unwrap();
        let mut views = tx.load_sync(std::slice::from_ref(&call), false).await.unwrap();
        let mut writes = Writes::default();
        let view = views.get_mut(&machine).unwrap();
        server::domain::sync::fold(
            view,
            &call,
            &crate::chain::settings(),
            &mut crate::chain::RandomIds,
            &mut writes,
        );
        tx.write_sync(&views, &writes).await.unwrap();
        drop(tx);
        // And one whose beginning nobody waits for.
        let begin = stage.store.begin_hot();
        let _ = tokio::time::timeout(std::time::Duration::ZERO, begin).await;
    }
    assert_eq!(stage.count("records").await, 0);
    sync(&stage.store, &[call]).await.expect("nobody holds the machine");
    assert_eq!(stage.count("records").await, 5);
    until_true("no transaction is left open", PATIENCE, || async { stage.idle_transactions().await == 0 })
        .await;
}

pub(crate) async fn a_refusal_leaves_nothing_behind(stage: &Stage) {
    stage.machines(1).await;
    let said = stage
        .store
        .run_tx("refused", (), |tx, ()| {
            Box::pin(async move {
                tx.execute(TOUCH, &[]).await?;
                Ok(End::RollBack("no"))
            })
        })
        .await
        .unwrap();
    assert_eq!((said, stage.number(TOUCHED).await), ("no", 0));
}

pub(crate) async fn a_panic_in_a_write_leaves_nothing_and_the_store_works_on(stage: &Stage) {
    stage.machines(1).await;
    let store = stage.store.clone();
    let panicked = tokio::spawn(async move {
        store
            .run_tx("panics", (), |tx, ()| {
                Box::pin(async move {
                    tx.execute(TOUCH, &[]).await?;
                    if tx.all(TOUCHED, &[]).await?.len() == 1 {
                        panic!("a bug in a write");
                    }
                    Ok(End::Commit(()))
                })
            })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic(), "the caller sees the panic");
    assert_eq!(stage.number(TOUCHED).await, 0);
    stage.execute(TOUCH).await;
    assert_eq!(stage.number(TOUCHED).await, 1);
}

pub(crate) async fn a_killed_connection_loses_its_batch_and_no_other(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::of(machine, 5).whole();
    let mut tx = stage.store.begin_hot().await.unwrap();
    let views = tx.load_sync(std::slice::from_ref(&call), false).await.unwrap();
    tx.write_sync(&views, &Writes::default()).await.unwrap();
    if stage.kill_connections().await {
        let error = tx.load_sync(std::slice::from_ref(&call), false).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    } else {
        drop(tx);
    }
    sync(&stage.store, &[call]).await.expect("the next batch finds a connection and the machine free");
    assert_eq!(stage.count("records").await, 5);
}

pub(crate) async fn connections_that_died_while_idle_are_replaced(stage: &Stage) {
    stage.machines(1).await;
    // Fill the pool, so that every connection in it is a dead one.
    let sessions = futures_of(8, || stage.store.read()).await;
    drop(sessions);
    stage.kill_connections().await;
    stage.execute(TOUCH).await;
    assert_eq!(stage.number(TOUCHED).await, 1);
}

/// As SQLite does by itself on a full disk: the transaction is over before anybody ends it.
pub(crate) async fn a_transaction_that_the_engine_ended_costs_no_other_call(stage: &Stage) {
    stage.machines(1).await;
    for is_kept in [true, false] {
        let ended = stage.store.run_tx("ended_below", is_kept, |tx, is_kept| {
            Box::pin(async move {
                tx.execute(TOUCH, &[]).await?;
                tx.execute("ROLLBACK", &[]).await?;
                if *is_kept { Ok(End::Commit(())) } else { Err(StoreError::Data("as it was".to_owned())) }
            })
        });
        let said = ended.await;
        assert!(is_kept || matches!(&said, Err(StoreError::Data(_))), "the first error is told: {said:?}");
        let before = stage.number(TOUCHED).await;
        stage.execute(TOUCH).await;
        assert_eq!(stage.number(TOUCHED).await, before + 1, "kept: {is_kept}");
    }
    assert_eq!(stage.number(TOUCHED).await, 2);
    assert_eq!(stage.idle_transactions().await, 0);
}

pub(crate) async fn a_full_disk_is_told_as_one_and_heals_with_its_room(stage: &Stage) {
    stage.machines(1).await;
    stage.fill_disk().await;
    for _ in 0..3 {
        let error = stage.write_much().await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    }
    stage.make_room().await;
    stage.execute(TOUCH).await;
    stage.store.probe_write().await.unwrap();
    assert_eq!(stage.number(TOUCHED).await, 1);
}

pub(crate) async fn sessions_that_turned_read_only_are_not_used_again(stage: &Stage) {
    stage.machines(1).await;
    // Opened while the database is read-only, all of them, as after a failover.
    let store = stage.begin_read_only().await;
    drop(futures_of(4, || store.read()).await);
    let touch = || {
        store.run_tx("touch", (), |tx, ()| Box::pin(async { Ok(End::Commit(tx.execute(TOUCH, &[]).await?)) }))
    };
    let error = touch().await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
    stage.end_read_only().await;
    assert_eq!(touch().await.unwrap(), 1, "at once, not when the sessions have grown old");
    assert_eq!(stage.number(TOUCHED).await, 1);
}

async fn futures_of<T, F: Future<Output = Result<T, StoreError>>>(
    count: usize,
    make: impl Fn() -> F,
) -> Vec<T> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(make().await.unwrap());
    }
    made
}

pub(crate) async fn stock_below_zero_is_refused_by_the_database(stage: &Stage) {
    add_product(stage, 1, "A").await.unwrap();
    let error = stage
        .store
        .run_tx("oversell", (), |tx, ()| {
            Box::pin(async move {
                Ok(End::Commit(tx.execute("UPDATE products SET stock = stock - 6", &[]).await?))
            })
        })
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error:?}");
    assert!(!error.to_string().contains("UPDATE"), "no statement in words for callers");
    assert_eq!(stage.number("SELECT stock FROM products").await, 5);
}

pub(crate) async fn taken_keys_are_told_apart(stage: &Stage) {
    add_product(stage, 1, "A").await.unwrap();
    let error = add_product(stage, 2, "A").await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(UniqueKey::Sku)), "{error:?}");
    stage.execute("UPDATE products SET archived_at_ms = 1").await;
    add_product(stage, 2, "A").await.expect("an archived product's SKU is free");

    stage.machines(1).await;
    stage.execute("UPDATE machines SET serial = 'S'").await;
    let second = "INSERT INTO machines (machine_id, kind, name, serial, created_at_ms, updated_at_ms) \
                  SELECT product_id, 2, 'm', 'S', 1, 1 FROM products WHERE archived_at_ms = 0";
    let insert = |sql: &'static str| {
        stage.store.run_tx("insert", (), move |tx, ()| {
            Box::pin(async move { Ok(End::Commit(tx.execute(sql, &[]).await?)) })
        })
    };
    let error = insert(second).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(UniqueKey::Serial)), "{error:?}");
    let request = "INSERT INTO request_ids (caller, method, request_id, fingerprint, response, created_at_ms) \
                   SELECT 'c', 'm', incarnation, incarnation, incarnation, 1 FROM server_meta";
    insert(request).await.unwrap();
    let error = insert(request).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(UniqueKey::RequestId)), "{error:?}");
}

async fn add_product(stage: &Stage, id: u8, sku: &'static str) -> Result<u64, StoreError> {
    stage
        .store
        .run_tx("add_product", [id; 16], move |tx, id| {
            Box::pin(async move {
                let insert = "INSERT INTO products (product_id, sku, name, currency, price_minor, stock, \
                              created_at_ms, updated_at_ms) VALUES ($1, $2, 'n', 'EUR', 1, 5, 1, 1)";
                Ok(End::Commit(tx.execute(insert, &[id.into(), sku.into()]).await?))
            })
        })
        .await
}
