//! Several replicas on one database: at once, killed under load, and with the database restarted beneath them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tokio::task::JoinSet;
use vendfleet_proto::v1::OrderStatus;
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::{Shop, checker::check, till::Till},
    private_postgres::PrivatePostgres,
    server::ServerOptions,
    wait::{PATIENCE, until_true},
};

use crate::{
    patience::{Insisted, insists},
    racing,
};

const CALLERS: usize = 16;

pub(crate) async fn two_and_three_replicas_sell_the_last_unit_once() {
    for replicas in [2, 3] {
        let shop = Shop::start(Engine::Postgres, replicas, |o| o.set("worker.enabled", false)).await;
        let product = shop.product("LAST", 1).await;
        racing::fifty_race(&shop, &product).await;
        assert_eq!(check(&shop).await.orders, 1);
    }
}

pub(crate) async fn a_mixed_crowd_at_three_replicas_with_lanes_leaves_books_that_add_up() {
    let settings = |o: ServerOptions| o.set("worker.enabled", false).set("orders.lanes", 4);
    racing::mixed_crowd(&Shop::start(Engine::Postgres, 3, settings).await).await;
}

pub(crate) async fn one_key_at_three_replicas_is_one_order() {
    let shop = Shop::start(Engine::Postgres, 3, |o| o.set("worker.enabled", false)).await;
    let product = shop.product("COLA", 100).await;
    let callers = (0..50).map(|n| (shop.caller_at(n % 3, "ann"), "one basket".to_owned())).collect();
    racing::one_key_one_order(&shop, callers, &product).await;
}

pub(crate) async fn three_replicas_have_every_order_paid_once() {
    let till = Till::open(Engine::Postgres, 3, |o| o.set("orders.lanes", 4)).await;
    let product = till.shop.product("COLA", 1_000).await;
    till.gateway.behave(|call| match (call.nth, call.key.as_bytes().last()) {
        (_, Some(b'0'..=b'2')) => Step::decline(),
        (0, Some(b'3'..=b'5')) => Step::approve().but(Manner::HangUpMidAnswer),
        _ => Step::approve(),
    });
    let mut shopping = JoinSet::new();
    for n in 0..90 {
        let (caller, product) = (till.shop.caller_at(n % 3, &format!("customer-{}", n % 5)), product.clone());
        shopping.spawn(async move { caller.order(&format!("basket-{n}"), &[(&product, 1)]).await });
    }
    shopping.join_all().await;
    till.quiet().await;
    assert_eq!(till.check().await.orders, 90);
}

pub(crate) async fn what_a_killed_replica_had_in_hand_another_finishes() {
    let mut till = Till::open(Engine::Postgres, 2, |o| o).await;
    let product = till.shop.product("COLA", 100).await;
    till.gateway.script(Op::Authorise, (0..4).map(|_| Step::approve().but(Manner::Silence)));
    let ann = till.shop.caller_at(1, "ann");
    let mut orders = Vec::new();
    for n in 0..4 {
        orders.push(ann.order(&format!("basket-{n}"), &[(&product, 1)]).await);
    }
    until_true("all of them to be asked for", PATIENCE, || async { till.gateway.calls().len() >= 4 }).await;
    till.shop.replicas[0].server.kill();
    for order in &orders {
        assert_eq!(till.ended(&ann, &order.order_id).await.status(), OrderStatus::Paid);
    }
    till.shop.replicas[0].restart().await;
    assert_eq!(till.check().await.orders, 4);
}

pub(crate) async fn a_replica_frozen_past_its_lease_wakes_up_and_changes_nothing() {
    let till = Till::open(Engine::Postgres, 2, |o| o).await;
    let product = till.shop.product("COLA", 100).await;
    let answers = [Step::approve(), Step::decline(), Step::nothing(Manner::Silence), Step::approve()];
    till.gateway.script(Op::Authorise, answers.map(|step| step.but(Manner::Silence)));
    let mut orders = Vec::new();
    for n in 0..4 {
        orders.push(till.shop.caller("ann").order(&format!("basket-{n}"), &[(&product, 1)]).await);
    }
    until_true("all of them to be asked for", PATIENCE, || async { till.gateway.calls().len() >= 4 }).await;
    till.shop.replicas[0].server.freeze();
    let ann = till.shop.caller_at(1, "ann");
    let mut ended = Vec::new();
    for order in &orders {
        ended.push(till.ended(&ann, &order.order_id).await);
    }
    till.shop.replicas[0].server.thaw();
    // What it does next it does after all that it had in hand: one more order goes through its own worker.
    let last = till.shop.caller("ann").order("last", &[(&product, 1)]).await;
    till.ended(&till.shop.caller("ann"), &last.order_id).await;
    for order in &ended {
        assert_eq!(ann.get(&order.order_id).await.unwrap(), *order);
    }
    assert_eq!(till.check().await.orders, 5);
}

/// Callers that each make one order after another until told to stop, and insist on every one.
fn shopping(
    shop: &Shop,
    products: &[String],
    open: &Arc<AtomicBool>,
    done: &Arc<AtomicU32>,
) -> JoinSet<Insisted> {
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let caller = shop.caller_at(n % shop.replicas.len(), &format!("customer-{n}"));
        let (products, open, done) = (products.to_vec(), Arc::clone(open), Arc::clone(done));
        callers.spawn(async move {
            let (mut met, mut basket) = (Insisted::default(), 0);
            while open.load(Ordering::Relaxed) {
                let lines = [(products[basket % products.len()].as_str(), 1), (products[n % 2].as_str(), 2)];
                met = met.and(insists(&caller, &format!("basket-{basket}"), &lines).await);
                basket += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            met
        });
    }
    callers
}

/// Waits until the callers were answered so often more.
async fn progress(done: &AtomicU32, more: u32) {
    let from = done.load(Ordering::Relaxed);
    until_true("callers to be answered", PATIENCE, || async { done.load(Ordering::Relaxed) >= from + more })
        .await;
}

pub(crate) async fn a_replica_killed_mid_commit_leaves_each_caller_one_order_per_key() {
    let mut shop = Shop::start(Engine::Postgres, 2, |o| o.set("worker.enabled", false)).await;
    let products = [shop.product("A", 1_000_000).await, shop.product("B", 1_000_000).await];
    let (open, done) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let callers = shopping(&shop, &products, &open, &done);
    for round in 0..6 {
        progress(&done, 40).await;
        shop.replicas[round % 2].server.kill();
        progress(&done, 10).await;
        shop.replicas[round % 2].restart().await;
    }
    open.store(false, Ordering::Relaxed);
    let met = callers.join_all().await.into_iter().fold(Insisted::default(), Insisted::and);
    assert!(met.lost > 0, "nobody was there when it was killed: {met:?}");
    assert_eq!(check(&shop).await.orders, met.orders);
}

/// Everything goes wrong at once: the gateway lies low and hangs up, replicas are killed, the database crashes.
pub(crate) async fn nothing_is_lost_or_paid_twice_when_everything_goes_wrong_at_once() {
    let mut postgres = PrivatePostgres::start().await;
    let mut till = Till::on(&postgres.url(), 3).await;
    let products = [till.shop.product("A", 1_000_000).await, till.shop.product("B", 150).await];
    till.gateway.behave(|call| match (call.op, call.nth, call.key.as_bytes().last()) {
        (Op::Authorise, _, Some(b'0'..=b'2')) => Step::decline(),
        (Op::Authorise, 0, Some(b'3' | b'4')) => Step::approve().but(Manner::HangUp),
        (Op::Authorise, 0, Some(b'5')) => Step::nothing(Manner::Status(503)),
        (Op::Authorise, 0, Some(b'6')) => Step::decline().but(Manner::HangUpMidAnswer),
        (Op::Query, 0, Some(b'3' | b'5')) => Step::proper().but(Manner::Status(500)),
        _ => Step::proper(),
    });
    let (open, done) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let callers = shopping(&till.shop, &products, &open, &done);
    for round in 0..6 {
        progress(&done, 30).await;
        till.shop.replicas[round % 3].server.kill();
        if round % 2 == 0 {
            postgres.crash().await;
            postgres.start_again().await;
        }
        progress(&done, 10).await;
        till.shop.replicas[round % 3].restart().await;
    }
    open.store(false, Ordering::Relaxed);
    let met = callers.join_all().await.into_iter().fold(Insisted::default(), Insisted::and);
    till.quiet().await;
    assert!(met.lost > 0 && met.unavailable > 0, "not everything went wrong: {met:?}");
    assert_eq!(till.check().await.orders, met.orders);
}

pub(crate) async fn a_database_restarted_under_load_costs_time_and_nothing_else() {
    let mut postgres = PrivatePostgres::start().await;
    let shop = Shop::on(&postgres.url(), 2, |o| o.set("worker.enabled", false)).await;
    let products = [shop.product("A", 1_000_000).await, shop.product("B", 1_000_000).await];
    let (open, done) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let callers = shopping(&shop, &products, &open, &done);
    for round in 0..4 {
        progress(&done, 40).await;
        if round % 2 == 0 {
            postgres.crash().await;
        } else {
            postgres.stop().await;
        }
        postgres.start_again().await;
    }
    progress(&done, 40).await;
    open.store(false, Ordering::Relaxed);
    let met = callers.join_all().await.into_iter().fold(Insisted::default(), Insisted::and);
    assert!(met.unavailable > 0, "nobody asked while it was down: {met:?}");
    assert_eq!(met.lost, 0, "a server was lost with its database: {met:?}");
    assert_eq!(check(&shop).await.orders, met.orders);
}
