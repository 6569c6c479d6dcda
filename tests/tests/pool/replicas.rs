//! Several replicas on one PostgreSQL database.

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use vendfleet_proto::v1::{self, PaymentMode, PurchaseState, SessionState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::{Shop, till::Till},
    pool::{
        Buyer, Held,
        checker::{Marks, check, check_paid},
        machine,
    },
    refusal::refusal,
    server::ServerOptions,
    wait::{PATIENCE, until_true},
};

use crate::killed::quiet;

pub(crate) async fn two_replicas_never_give_one_machine_to_two_customers() {
    const CALLERS: usize = 24;
    const TIMES: usize = 6;
    let shop = Shop::start(Engine::Postgres, 2, |o| o.set("worker.poll_ms", 20)).await;
    for _ in 0..3 {
        machine(&shop, 5).await;
    }
    let product = shop.product("COLA", 60).await;
    let mut buying = JoinSet::new();
    for n in 0..CALLERS {
        let (buyer, product) = (Buyer::new(&shop, n % 2, &format!("customer-{n}")), product.clone());
        buying.spawn(async move {
            let mut made = 0;
            for time in 0..TIMES {
                let wait_ms = if time % 2 == 0 { 0 } else { 300 };
                let held = match buyer.ask(&v1::StartWorkRequest { wait_ms, ..buyer.wish() }).await {
                    Ok(held) => held,
                    Err(status) => {
                        assert_eq!(refusal(&status).reason, "NO_IDLE_MACHINE", "{status:?}");
                        continue;
                    }
                };
                match buyer.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await {
                    Ok(_) => made += 1,
                    Err(status) => {
                        assert_eq!(refusal(&status).reason, "INSUFFICIENT_STOCK", "{status:?}");
                    }
                }
            }
            made
        });
    }
    let made: usize = buying.join_all().await.into_iter().sum();
    quiet(&shop).await;
    let checked = check(&shop).await;
    assert!(made >= 3, "{made} purchases are no crowd");
    assert_eq!((checked.completed, checked.failed), (made, 0));
}

pub(crate) async fn what_a_killed_replica_had_in_hand_another_finishes() {
    let mut till = Till::open(Engine::Postgres, 2, |o| o).await;
    for _ in 0..4 {
        machine(&till.shop, 0).await;
    }
    let product = till.shop.product("COLA", 20).await;
    let silent = || Step::approve().but(Manner::Silence);
    till.gateway.script(Op::Authorise, [silent(), silent(), Step::approve(), Step::approve()]);
    till.gateway.script(Op::Capture, [silent(), silent()]);
    let ann = Buyer::new(&till.shop, 1, "ann");
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(ann.buy(&product, PaymentMode::Gateway).await.session_id);
    }
    until_true("all of them to be asked for", PATIENCE, || async { till.gateway.calls().len() >= 6 }).await;
    till.shop.replicas[0].server.kill();
    for session in &sessions {
        let over = ann.over(session).await;
        assert!(matches!(over.state(), SessionState::Completed | SessionState::Failed), "{over:?}");
    }
    till.shop.replicas[0].restart().await;
    let checked = check_paid(&till).await;
    assert_eq!(checked.completed + checked.failed, 4);
    assert!(checked.completed >= 2, "{checked:?}");
}

pub(crate) async fn a_replica_frozen_past_its_claim_wakes_up_and_changes_nothing() {
    let mut till = Till::open(Engine::Postgres, 2, |o| o).await;
    machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 20).await;
    // Whoever claims it waits for an answer; both replicas are frozen for a moment, and the one that did not ask goes on.
    till.gateway.script(Op::Capture, [Step::nothing(Manner::Silence)]);
    let ann = Buyer::new(&till.shop, 1, "ann");
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    until_true("the money to be asked for", PATIENCE, || async {
        till.gateway.count(Op::Capture, &bought.purchase_id) == 1
    })
    .await;
    till.shop.replicas[0].server.freeze();
    let over = ann.over(&bought.session_id).await;
    assert_eq!(over.purchase.as_ref().unwrap().state(), PurchaseState::Completed);
    let mut marks = Marks::default();
    marks.rise(&till.shop).await;
    till.shop.replicas[0].server.thaw();
    // It works again, and has had its say by then.
    let elsewhere = Buyer::new(&till.shop, 0, "bob");
    let next = elsewhere.buy(&product, PaymentMode::None).await;
    elsewhere.over(&next.session_id).await;
    marks.rise(&till.shop).await;
    assert_eq!(ann.session(&bought.session_id).await.unwrap().purchase, over.purchase);
    till.shop.replicas[0].server.kill();
    till.shop.replicas[0].restart().await;
    assert_eq!(check_paid(&till).await.completed, 2);
}

/// A shop where locks are waited for, with a product, two machines, and ann on one of them. The connection is another replica
/// as this one sees it: it is to hold a machine's row and say nothing.
async fn ann_has_one_of_two(lanes: usize) -> (Shop, String, Held, PgConnection) {
    let set = |o: ServerOptions| o.set("database.lock_timeout_ms", 60_000).set("orchestrator.lanes", lanes);
    let shop = Shop::start(Engine::Postgres, 1, set).await;
    machine(&shop, 0).await;
    machine(&shop, 0).await;
    let product = shop.product("COLA", 20).await;
    let held = Buyer::new(&shop, 0, "ann").start().await;
    let holder = PgConnection::connect(&shop.database_url().expect("PostgreSQL")).await.unwrap();
    (shop, product, held, holder)
}

pub(crate) async fn who_waits_for_a_machine_that_another_replica_holds_keeps_nobody_else_waiting() {
    let (shop, product, held, mut holder) = ann_has_one_of_two(2).await;
    let (ann, bob) = (Buyer::new(&shop, 0, "ann"), Buyer::new(&shop, 0, "bob"));
    holder.execute("BEGIN; SELECT 1 FROM pool WHERE free_at_ms = 0 FOR NO KEY UPDATE").await.unwrap();
    let waits = tokio::spawn(async move { bob.start().await });
    let rows = shop.rows().await;
    until_true("a start that waits for the machine's row", PATIENCE, || rows.somebody_waits_for_a_lock())
        .await;
    // The choice is made, and its purchase ends, while it waits.
    ann.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await.unwrap();
    assert_eq!(ann.over(&held.session.session_id).await.state(), SessionState::Completed);
    // Nor does it keep another start waiting, for the machine that is free again.
    let cid = Buyer::new(&shop, 0, "cid");
    let next = cid.start().await;
    assert_eq!(next.session.machine_id, held.session.machine_id);
    assert!(rows.somebody_waits_for_a_lock().await, "it still waits");
    assert!(!waits.is_finished());
    holder.execute("ROLLBACK").await.unwrap();
    let got = waits.await.unwrap();
    assert_ne!(got.session.machine_id, held.session.machine_id, "the machine it waited for");
    let checked = check(&shop).await;
    assert_eq!((checked.sessions, checked.completed), (3, 1));
}

pub(crate) async fn a_choice_that_waits_for_another_replica_keeps_no_start_waiting() {
    let (shop, product, held, mut holder) = ann_has_one_of_two(1).await;
    let (ann, bob) = (Buyer::new(&shop, 0, "ann"), Buyer::new(&shop, 0, "bob"));
    holder.execute("BEGIN; SELECT 1 FROM pool WHERE free_at_ms > 0 FOR NO KEY UPDATE").await.unwrap();
    let choice = Buyer::choice(&held, &product, PaymentMode::None);
    let waits = {
        let ann = Buyer::new(&shop, 0, "ann");
        tokio::spawn(async move { ann.choose(&choice).await })
    };
    let rows = shop.rows().await;
    until_true("a choice that waits for its machine's row", PATIENCE, || rows.somebody_waits_for_a_lock())
        .await;
    let got = bob.start().await;
    assert_ne!(got.session.machine_id, held.session.machine_id);
    assert!(rows.somebody_waits_for_a_lock().await, "it still waits");
    holder.execute("ROLLBACK").await.unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(ann.over(&held.session.session_id).await.state(), SessionState::Completed);
    let checked = check(&shop).await;
    assert_eq!((checked.sessions, checked.completed), (2, 1));
}
