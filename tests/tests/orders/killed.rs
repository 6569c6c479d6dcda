//! The server killed with SIGKILL at each step of a payment, and again and again under load.

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use vendfleet_proto::v1::{self, OrderStatus};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::till::Till,
    wait::{PATIENCE, until_true},
};

use crate::patience::{Insisted, insists};

/// Kills the server with the order in hand, starts it again, and gives the order as it ends.
async fn killed_and_ended(till: &mut Till, order: &v1::Order) -> v1::Order {
    till.shop.replicas[0].server.kill();
    till.shop.replicas[0].restart().await;
    let ann = till.shop.caller("ann");
    till.ended(&ann, &order.order_id).await
}

/// Waits until the gateway was asked for this order's money so often.
async fn asked(till: &Till, order: &v1::Order, times: usize) {
    until_true("the gateway to be asked", PATIENCE, || async {
        till.gateway.count(Op::Authorise, &order.order_id) == times
    })
    .await;
}

pub(crate) async fn killed_before_the_gateway_is_asked_it_asks_once_it_is_back(engine: Engine) {
    let mut till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 5).await;
    till.link.stall();
    let ann = till.shop.caller("ann");
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.until(&ann, &order.order_id, "a claim", |o| o.status() == OrderStatus::Processing).await;
    till.shop.replicas[0].server.kill();
    assert!(till.gateway.calls().is_empty());
    // What was stalled belongs to the killed server: a connection that is cut carries it no further.
    till.link.cut();
    till.link.mend();
    till.shop.replicas[0].restart().await;
    let ended = till.ended(&till.shop.caller("ann"), &order.order_id).await;
    assert_eq!(ended.status(), OrderStatus::Paid);
    assert_eq!(till.check().await.orders, 1);
}

pub(crate) async fn killed_while_the_gateway_is_asked_it_asks_again_and_charges_once(engine: Engine) {
    let mut till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 5).await;
    let steps = [Step::approve(), Step::decline(), Step::nothing(Manner::Silence)];
    let ends = [OrderStatus::Paid, OrderStatus::Failed, OrderStatus::Paid];
    for (n, (step, end)) in steps.into_iter().zip(ends).enumerate() {
        till.gateway.script(Op::Authorise, [step.but(Manner::Silence)]);
        let order = till.shop.caller("ann").order(&format!("basket-{n}"), &[(&product, 1)]).await;
        asked(&till, &order, 1).await;
        assert_eq!(killed_and_ended(&mut till, &order).await.status(), end);
    }
    assert_eq!(till.check().await.orders, 3);
}

/// PostgreSQL only: there a look at the locks tells that the answer has come and its commit waits.
pub(crate) async fn killed_between_answer_and_commit_it_asks_again_and_charges_once(engine: Engine) {
    assert_eq!(engine, Engine::Postgres);
    let mut till = Till::open(engine, 1, |o| o.set("database.lock_timeout_ms", 60_000)).await;
    let product = till.shop.product("COLA", 5).await;
    till.link.stall();
    let ann = till.shop.caller("ann");
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.until(&ann, &order.order_id, "a claim", |o| o.status() == OrderStatus::Processing).await;

    let url = till.shop.database_url().expect("PostgreSQL");
    let rows = till.shop.rows().await;
    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder.execute("BEGIN; SELECT 1 FROM orders FOR UPDATE").await.unwrap();
    till.link.mend();
    until_true("a commit that waits for the order's row", PATIENCE, || rows.somebody_waits_for_a_lock())
        .await;
    assert_eq!(till.gateway.count(Op::Authorise, &order.order_id), 1);
    assert_eq!(till.gateway.ledger().net(&order.order_id), 250, "it has the money");
    till.shop.replicas[0].server.kill();
    holder.execute("ROLLBACK").await.unwrap();
    till.shop.replicas[0].restart().await;
    let ended = till.ended(&till.shop.caller("ann"), &order.order_id).await;
    assert_eq!(ended.status(), OrderStatus::Paid);
    assert_eq!(till.check().await.orders, 1);
}

pub(crate) async fn killed_after_the_commit_it_asks_nobody_again(engine: Engine) {
    let mut till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 5).await;
    let order = till.shop.caller("ann").order("basket", &[(&product, 1)]).await;
    let paid = till.ended(&till.shop.caller("ann"), &order.order_id).await;
    assert_eq!(killed_and_ended(&mut till, &order).await, paid);
    // Another order passes through the same worker, so it has looked for work since.
    let next = till.shop.caller("ann").order("next", &[(&product, 1)]).await;
    till.ended(&till.shop.caller("ann"), &next.order_id).await;
    assert_eq!(till.gateway.calls().iter().filter(|call| call.key == order.order_id).count(), 1);
    assert_eq!(till.check().await.orders, 2);
}

pub(crate) async fn killed_again_and_again_each_caller_has_one_order_and_pays_once(engine: Engine) {
    const CALLERS: u32 = 12;
    const BASKETS: u32 = 12;
    let mut till = Till::open(engine, 1, |o| o).await;
    let products = [till.shop.product("A", 10_000).await, till.shop.product("B", 40).await];
    till.gateway.behave(|call| match call.key.as_bytes().last() {
        Some(b'0'..=b'3') => Step::decline(),
        Some(b'4') if call.nth == 0 => Step::approve().but(Manner::HangUp),
        _ => Step::approve(),
    });
    let mut shopping = JoinSet::new();
    for n in 0..CALLERS {
        let (caller, products) = (till.shop.caller(&format!("customer-{n}")), products.clone());
        shopping.spawn(async move {
            let mut met = Insisted::default();
            for basket in 0..BASKETS {
                let product = &products[usize::try_from(basket % 2).unwrap()];
                met = met.and(insists(&caller, &format!("basket-{basket}"), &[(product, 1)]).await);
            }
            met
        });
    }
    for _ in 0..4 {
        let before = till.gateway.calls().len();
        let all = usize::try_from(CALLERS * BASKETS).unwrap();
        until_true("some payments", PATIENCE, || async {
            till.gateway.calls().len() > before + 5 || till.gateway.ledger().payments.len() + 10 > all
        })
        .await;
        till.shop.replicas[0].server.kill();
        till.shop.replicas[0].restart().await;
    }
    let met = shopping.join_all().await.into_iter().fold(Insisted::default(), Insisted::and);
    till.quiet().await;
    assert!(met.lost > 0, "nobody was there when it was killed: {met:?}");
    assert_eq!(till.check().await.orders, met.orders);
}
