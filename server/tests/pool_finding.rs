//! Which machine has the product, on both engines: one that has it is found, whoever stands before it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, reason};
use server::operations::pool::PoolSettings;
use server::store::End;
use std::sync::Arc;
use std::time::Duration;
use support::{Hall, any, machine_of, real_machine};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vendfleet_proto::v1;

on_both_engines! {
    an_empty_machine_hides_nobody_who_has_the_product,
    machines_that_only_look_as_if_they_had_it_hide_nobody,
}

/// More than are looked at in one page.
const IMPOSTORS: u128 = 300;

fn with(product: &v1::Product) -> v1::StartWorkRequest {
    v1::StartWorkRequest { product_id: product.product_id.clone(), ..any() }
}

async fn used(stage: &Stage, machine: &v1::Machine, usage: i64) {
    let id: Uuid = machine.machine_id.parse().unwrap();
    let done = stage.deps.store.run_tx("test_used", (id, usage), |tx, (id, usage)| {
        Box::pin(async move {
            let sql = "UPDATE pool SET usage_count = $2 WHERE machine_id = $1";
            tx.execute(sql, &[id.into(), (*usage).into()]).await?;
            Ok(End::Commit(()))
        })
    });
    done.await.unwrap();
}

/// Machines whose slots say that they have the product, and whose config nobody knows.
async fn impostors(stage: &Stage, product: &v1::Product) {
    let product: Uuid = product.product_id.parse().unwrap();
    let done = stage.deps.store.run_tx("test_impostors", product, |tx, product| {
        Box::pin(async move {
            for n in 1..=IMPOSTORS {
                let id = Uuid::from_u128(n);
                let sql = "INSERT INTO pool (machine_id, kind, state, free_at_ms, connected_until_ms, fit) \
                           VALUES ($1, 2, 1, 0, 9000000000000000, TRUE)";
                tx.execute(sql, &[(&id).into()]).await?;
                let sql =
                    "INSERT INTO slots (machine_id, slot, product, derived, derived_seq, reported_seq, faulted, \
                           epoch, agreed_seq, drift_seq, reserved) VALUES ($1, 3, $2, 5, 1, 1, FALSE, $1, 1, 0, 0)";
                tx.execute(sql, &[(&id).into(), product.into()]).await?;
            }
            Ok(End::Commit(()))
        })
    });
    done.await.unwrap();
}

async fn an_empty_machine_hides_nobody_who_has_the_product(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 0).await;
    real_machine(&stage, &cola, 0).await;
    let mut full = Vec::new();
    for usage in [5, 6] {
        let (machine, _) = real_machine(&stage, &cola, 5).await;
        used(&stage, &machine, usage).await;
        full.push(machine.machine_id);
    }
    let (first, second) = tokio::join!(hall.start(with(&cola)), hall.start(with(&cola)));
    let mut taken = [first, second].map(|begun| begun.unwrap().session.unwrap().machine_id);
    taken.sort();
    full.sort();
    assert_eq!(taken.as_slice(), full);
    let none = hall.start(with(&cola)).await.unwrap_err();
    assert_eq!(reason(&none), "NO_IDLE_MACHINE");
    let fitting = none.get_details_error_info().unwrap().metadata["fitting"].clone();
    assert_eq!(fitting, "2", "those that can give it");
}

async fn machines_that_only_look_as_if_they_had_it_hide_nobody(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 0).await;
    impostors(&stage, &cola).await;
    assert_eq!(reason(&hall.start(with(&cola)).await.unwrap_err()), "NO_IDLE_MACHINE");
    let (machine, _) = real_machine(&stage, &cola, 5).await;
    used(&stage, &machine, 5).await;
    let begun = hall.start(with(&cola)).await.unwrap();
    assert_eq!(begun.session.unwrap().machine_id, machine.machine_id);
    // One whose lease is over, likewise.
    hall.pass_time(&machine.machine_id).await;
    let begun = hall.start(with(&cola)).await.unwrap();
    assert_eq!(begun.session.unwrap().machine_id, machine.machine_id);
}

/// Only PostgreSQL has rows that another transaction holds.
#[tokio::test]
async fn a_second_look_fails_only_for_whom_a_row_is_damaged() {
    let stage = Stage::postgres().await;
    let hall = Arc::new(Hall::with(&stage, &PoolSettings::default()));
    machine_of(&stage, "n", "north", &[]).await;
    let south = machine_of(&stage, "s", "south", &[]).await;
    let mut holder = stage.deps.store.begin_hot().await.unwrap();
    holder.tx().all("SELECT machine_id FROM pool FOR UPDATE", &[]).await.unwrap();
    holder.tx().execute("UPDATE pool SET state = 99 WHERE group_name = 'north'", &[]).await.unwrap();
    let of = |group: &str| v1::StartWorkRequest { group: group.to_owned(), ..any() };
    let asks = {
        let (hall, north, south) = (Arc::clone(&hall), of("north"), of("south"));
        tokio::spawn(async move { tokio::join!(hall.start(north), hall.start(south)) })
    };
    let mut session = stage.deps.store.read().await.unwrap();
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let waiting = async {
        while session.one(waits, &[]).await.unwrap().columns().int().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("both are waited for");
    holder.commit().await.unwrap();
    let (damaged, begun) = asks.await.unwrap();
    assert_eq!(reason(&damaged.unwrap_err()), "INTERNAL");
    assert_eq!(begun.unwrap().session.unwrap().machine_id, south.machine_id);
}
