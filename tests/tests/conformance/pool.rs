//! The pool of remote purchases: whole or nothing, one session per request id, one worker per purchase, and candidates that
//! others hold are passed by first and waited for then.

use crate::stage::{START_MS, Stage};
use server::domain::ids::{Ids, MachineId, PurchaseId, SessionId};
use server::domain::pool::{
    Answer, Choose, Command, MachineKind, Mode, Pick, Purchase, Session, Settings, Start, View, Writes, fold,
};
use server::domain::share::Shares;
use server::store::pool::{self, Look};
use server::store::{End, Engine, Store, StoreError, UniqueKey};
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;
use vend_core::id::ProductId;

const RULES: Settings = Settings { lease_ms: 60_000, reservation_ms: 30_000, rest_after: 3, rest_ms: 60_000 };
const COLA: ProductId = ProductId([7; 16]);

struct Fresh;

impl Ids for Fresh {
    fn uuid_v7(&mut self) -> Uuid {
        Uuid::now_v7()
    }
}

fn machine(n: u128) -> MachineId {
    MachineId(Uuid::from_u128(n))
}

/// Virtual machines 1 to `count`, and a product.
async fn hall(stage: &Stage, count: u128) {
    let made = stage.store.run_tx("test_hall", count, |tx, count| {
        Box::pin(async move {
            for n in 1..=*count {
                let sql = "INSERT INTO pool (machine_id, kind, state, free_at_ms) VALUES ($1, 1, 1, 0)";
                tx.execute(sql, &[machine(n).as_bytes().into()]).await?;
            }
            let sql = "INSERT INTO products (product_id, sku, name, currency, price_minor, stock, created_at_ms, \
                       updated_at_ms) VALUES ($1, 'COLA', 'Cola', 'EUR', 100, 50, 1, 1)";
            tx.execute(sql, &[(&COLA.0).into()]).await?;
            Ok(End::Commit(()))
        })
    });
    made.await.unwrap();
}

fn start(request_id: Uuid) -> Start {
    Start {
        session: SessionId(Uuid::now_v7()),
        customer: "anna".to_owned(),
        pick: Pick::default(),
        caller: "kiosk".to_owned(),
        request_id,
        fingerprint: [1; 32],
        at_ms: START_MS,
        trace_id: "trace".to_owned(),
    }
}

fn choose(session: &Session) -> Command {
    Command::Choose(Choose {
        purchase: PurchaseId(Uuid::now_v7()),
        session: session.id,
        on: Some((session.machine, MachineKind::Virtual)),
        product: COLA,
        expected_price: None,
        mode: Mode::Gateway,
        caller: "kiosk".to_owned(),
        request_id: Uuid::now_v7(),
        fingerprint: [2; 32],
        at_ms: START_MS,
        trace_id: "trace".to_owned(),
        traceparent: "00-parent".to_owned(),
    })
}

async fn begin(store: &Store, start: Start) -> Result<Session, StoreError> {
    let begun = store.run_tx("test_begin", start, |tx, start| {
        Box::pin(async move {
            let mut view = pool::load_starts(tx, std::slice::from_ref(start), Look::PassBy, START_MS).await?;
            let mut writes = Writes::default();
            let command = Command::Start(start.clone());
            let Answer::Started { session, .. } = fold(&mut view, &command, &RULES, &mut Fresh, &mut writes)
            else {
                panic!("a machine is idle");
            };
            pool::write(tx, &view, &writes).await?;
            Ok(End::Commit(session))
        })
    });
    begun.await
}

async fn buy(store: &Store, session: &Session) -> Purchase {
    let bought = store.run_tx("test_buy", choose(session), |tx, command| {
        Box::pin(async move {
            let mut view = pool::load(tx, std::slice::from_ref(command), START_MS).await?;
            let mut writes = Writes::default();
            let Answer::Chosen { purchase, .. } = fold(&mut view, command, &RULES, &mut Fresh, &mut writes)
            else {
                panic!("the product is there");
            };
            pool::write(tx, &view, &writes).await?;
            Ok(End::Commit(purchase))
        })
    });
    bought.await.unwrap()
}

pub(crate) async fn sessions_and_purchases_read_back_as_they_were_written(stage: &Stage) {
    hall(stage, 1).await;
    let session = begin(&stage.store, start(Uuid::now_v7())).await.unwrap();
    let mut reading = stage.store.read().await.unwrap();
    assert_eq!(pool::find_session(&mut reading, session.id).await.unwrap().unwrap(), session);
    let found = pool::find_started(&mut reading, "kiosk", &session.request_id).await.unwrap();
    assert_eq!(found.unwrap(), session);
    drop(reading);
    let purchase = buy(&stage.store, &session).await;
    let mut reading = stage.store.read().await.unwrap();
    assert_eq!(pool::find_purchase(&mut reading, purchase.id).await.unwrap().unwrap(), purchase);
    let (pooled, held) = pool::of_machine(&mut reading, session.machine).await.unwrap().unwrap();
    assert_eq!((pooled.session, pooled.purchase), (Some(session.id), Some(purchase.id)));
    assert_eq!(held.unwrap().purchase, Some(purchase.id));
}

pub(crate) async fn a_request_id_begins_one_session_and_its_rival_leaves_nothing(stage: &Stage) {
    hall(stage, 2).await;
    let request_id = Uuid::now_v7();
    begin(&stage.store, start(request_id)).await.unwrap();
    // One that had looked before the first was committed.
    let rival = stage.store.run_tx("test_rival", start(request_id), |tx, start| {
        Box::pin(async move {
            let mut view = pool::load_starts(tx, std::slice::from_ref(start), Look::PassBy, START_MS).await?;
            view.starts.clear();
            let mut writes = Writes::default();
            fold(&mut view, &Command::Start(start.clone()), &RULES, &mut Fresh, &mut writes);
            pool::write(tx, &view, &writes).await?;
            Ok(End::Commit(()))
        })
    });
    assert!(matches!(rival.await, Err(StoreError::Taken(UniqueKey::PoolRequest))));
    let mut reading = stage.store.read().await.unwrap();
    let held = pool::of_machines(&mut reading, &[machine(1), machine(2)]).await.unwrap();
    assert_eq!(held.iter().filter(|pooled| pooled.session.is_some()).count(), 1);
}

pub(crate) async fn a_due_purchase_goes_to_one_worker(stage: &Stage) {
    hall(stage, 12).await;
    for _ in 0..12 {
        let session = begin(&stage.store, start(Uuid::now_v7())).await.unwrap();
        buy(&stage.store, &session).await;
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = stage.store.clone();
        workers.spawn(async move {
            let claimed = store.run_tx("test_claim", (), |tx, ()| {
                Box::pin(async move {
                    Ok(End::Commit(pool::claim_due(tx, 5, 60_000, &Shares::unlimited(), START_MS).await?))
                })
            });
            claimed.await.unwrap()
        });
    }
    let claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let different: HashSet<PurchaseId> = claimed.iter().map(|job| job.purchase.id).collect();
    assert_eq!((claimed.len(), different.len()), (12, 12), "each was taken once");
    assert!(claimed.iter().all(|job| job.purchase.fence == 1));
}

/// SQLite has one writer: nobody holds a candidate there while another looks.
pub(crate) async fn held_candidates_are_passed_by_and_then_waited_for(stage: &Stage) {
    hall(stage, 2).await;
    if stage.store.engine() == Engine::Sqlite {
        return;
    }
    let look = |look: Look| {
        let store = stage.store.clone();
        async move {
            let seen = store.run_tx("test_look", start(Uuid::now_v7()), move |tx, start| {
                Box::pin(async move {
                    let view: View =
                        pool::load_starts(tx, std::slice::from_ref(start), look, START_MS).await?;
                    let mut seen: Vec<MachineId> = view.pool.keys().copied().collect();
                    seen.sort_unstable();
                    Ok(End::RollBack(seen))
                })
            });
            seen.await.unwrap()
        }
    };
    let mut holder = stage.store.begin_hot().await.unwrap();
    let first = start(Uuid::now_v7());
    let held = pool::load_starts(holder.tx(), &[first], Look::PassBy, START_MS).await.unwrap();
    assert!(held.pool.contains_key(&machine(1)), "the lowest of equals");
    assert_eq!(look(Look::PassBy).await, [machine(2)]);
    let mut waiting = tokio::spawn(look(Look::Wait));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "it waits for the row that is held");
    holder.roll_back().await.unwrap();
    assert_eq!(waiting.await.unwrap(), [machine(1), machine(2)]);
}

pub(crate) async fn a_reservation_never_falls_below_zero(stage: &Stage) {
    hall(stage, 1).await;
    let written = stage.store.run_tx("test_reserve", (), |tx, ()| {
        Box::pin(async move {
            let sql = "INSERT INTO slots (machine_id, slot, derived, derived_seq, reported_seq, faulted, epoch, \
                       agreed_seq, drift_seq, reserved) VALUES ($1, 3, 5, 1, 1, FALSE, $1, 1, 0, 0)";
            tx.execute(sql, &[machine(1).as_bytes().into()]).await?;
            let mut writes = Writes::default();
            writes.reserved.insert((machine(1), 3), -1);
            pool::write(tx, &View::default(), &writes).await?;
            Ok(End::Commit(()))
        })
    });
    assert!(matches!(written.await, Err(StoreError::Data(_))));
}
