//! Workers: killed anywhere, several at once, in front of a gateway in trouble.

use crate::fleet_support::Stage;
use crate::gateway::{Manner, Op, Step};
use crate::house::{CUSTOMER, House, LEASE_MS, PRICE};
use crate::on_both_engines;
use crate::wait::{PATIENCE, until_true};
use server::operations::payments::{Ask, BreakerState, Capture};
use std::time::Duration;
use uuid::Uuid;
use vend_core::money::Currency;
use vendfleet_proto::v1::{OrderFailure, OrderStatus, PaymentStatus};

on_both_engines!(
    an_order_is_paid_and_a_declined_one_gives_its_stock_back,
    a_lost_answer_is_asked_for_again_and_never_charged_twice,
    a_worker_killed_before_it_asked_leaves_an_order_that_is_paid_once,
    a_worker_killed_after_the_money_was_taken_leaves_an_order_that_is_paid_once,
    a_worker_killed_in_the_middle_of_a_call_leaves_an_order_that_is_paid_once,
    two_workers_share_the_orders,
    while_the_breaker_is_open_orders_stay_pending_and_can_be_cancelled,
    a_payment_nobody_finds_is_bound_never_to_be_taken,
    a_refused_request_ends_the_order,
    a_request_refused_after_a_lost_answer_is_asked_after,
    a_held_payment_is_taken,
    a_drained_worker_finishes_and_takes_nothing_new,
);

async fn an_order_is_paid_and_a_declined_one_gives_its_stock_back(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let (paid, declined) = (house.order(&cola).await, house.order(&cola).await);
    house.gateway.script_for(&declined, Op::Authorise, [Step::decline()]);
    let worker = house.worker();
    let order = house.until_status(&paid, OrderStatus::Paid).await;
    assert_eq!(order.payment_status(), PaymentStatus::Captured);
    assert!(!order.gateway_payment_id.is_empty() && order.payment_attempts >= 1);
    let order = house.until_status(&declined, OrderStatus::Failed).await;
    assert_eq!(order.failure(), OrderFailure::PaymentDeclined);
    assert_eq!(order.failure_detail, "insufficient funds");
    assert_eq!(house.shop.stock(&cola).await, 4);
    assert_eq!((house.gateway.ledger().net(&paid), house.gateway.ledger().net(&declined)), (PRICE, 0));
    worker.drain().await;
}

async fn a_lost_answer_is_asked_for_again_and_never_charged_twice(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.script_for(&order, Op::Authorise, [Step::approve().but(Manner::HangUp)]);
    let _worker = house.worker();
    let paid = house.until_status(&order, OrderStatus::Paid).await;
    assert!(paid.payment_attempts >= 2);
    assert!(house.gateway.calls().iter().all(|call| call.key == order), "one order, one key");
    house.gateway.ledger().assert_never_twice();
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

async fn a_worker_killed_before_it_asked_leaves_an_order_that_is_paid_once(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    // All that a worker which dies right after its claim leaves behind.
    let claimed = house.stage.deps.orders.claim(10, LEASE_MS).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(house.get(&order).await.status(), OrderStatus::Processing);
    assert_eq!(house.stage.deps.orders.claim(10, LEASE_MS).await.unwrap().len(), 0, "it is claimed");
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

async fn a_worker_killed_after_the_money_was_taken_leaves_an_order_that_is_paid_once(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    let claimed = house.stage.deps.orders.claim(10, LEASE_MS).await.unwrap().remove(0);
    let ask = Ask {
        key: Uuid::parse_str(&order).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        amount_minor: claimed.total_minor,
        payment_id: String::new(),
        traceparent: String::new(),
    };
    house.till(10).authorise(&ask, Capture::Now).await.unwrap();
    // And here it dies, before it could tell.
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    house.gateway.ledger().assert_never_twice();
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
    assert!(house.gateway.count(Op::Authorise, &order) >= 2);
}

async fn a_worker_killed_in_the_middle_of_a_call_leaves_an_order_that_is_paid_once(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.script_for(&order, Op::Authorise, [Step::approve().but(Manner::Silence)]);
    // A call whose task is dropped is what the gateway sees of a killed process.
    let claimed = house.stage.deps.orders.claim(10, LEASE_MS).await.unwrap().remove(0);
    let till = house.till(10);
    let call = tokio::spawn(async move {
        let ask = Ask {
            key: claimed.id.0,
            currency: claimed.currency,
            amount_minor: claimed.total_minor,
            payment_id: String::new(),
            traceparent: String::new(),
        };
        till.authorise(&ask, Capture::Now).await
    });
    let asked = || async { house.gateway.count(Op::Authorise, &order) == 1 };
    until_true("the gateway is asked", PATIENCE, asked).await;
    call.abort();
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    house.gateway.ledger().assert_never_twice();
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

async fn two_workers_share_the_orders(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 100).await;
    let mut orders = Vec::new();
    for _ in 0..40 {
        orders.push(house.order(&cola).await);
    }
    let workers = [house.worker(), house.worker()];
    for order in &orders {
        house.until_status(order, OrderStatus::Paid).await;
    }
    house.gateway.ledger().assert_never_twice();
    assert_eq!(house.gateway.ledger().charged().len(), 40);
    for worker in workers {
        worker.drain().await;
    }
}

async fn while_the_breaker_is_open_orders_stay_pending_and_can_be_cancelled(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 10).await;
    house.gateway.go_down();
    let first = house.order(&cola).await;
    let worker = house.worker_with(2, 2);
    worker.breaker_is(BreakerState::Open).await;
    house.until("set aside", &first, |order| order.unsettled).await;
    let (second, third) = (house.order(&cola).await, house.order(&cola).await);
    // Probes go to what waits longest and keep failing; who is younger is never claimed.
    house.shop.cancel(CUSTOMER, &third).await.unwrap();
    assert_eq!(house.gateway.count(Op::Authorise, &third), 0);
    house.gateway.come_up();
    worker.breaker_is(BreakerState::Closed).await;
    house.until_status(&second, OrderStatus::Paid).await;
    house.until("settled", &first, |order| order.end_time_ms != 0).await;
    house.gateway.ledger().assert_never_twice();
    worker.drain().await;
}

async fn a_payment_nobody_finds_is_bound_never_to_be_taken(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.script_for(
        &order,
        Op::Authorise,
        [Step::nothing(Manner::HangUp), Step::nothing(Manner::Status(500))],
    );
    let _worker = house.worker();
    let failed = house.until_status(&order, OrderStatus::Failed).await;
    assert_eq!(failed.failure(), OrderFailure::PaymentNotTaken);
    assert_eq!(failed.payment_status(), PaymentStatus::Voided);
    assert_eq!(house.shop.stock(&cola).await, 5);
    // A request that was still on its way comes too late.
    let late = house.gateway.take(&order, "EUR", PRICE);
    assert_eq!((late.status, late.charges), (crate::gateway::Status::Voided, 0));
}

async fn a_refused_request_ends_the_order(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.script_for(&order, Op::Authorise, [Step::nothing(Manner::Status(422))]);
    let _worker = house.worker();
    let failed = house.until_status(&order, OrderStatus::Failed).await;
    assert_eq!(failed.failure(), OrderFailure::PaymentNotTaken);
    assert!(failed.failure_detail.contains("422"), "{}", failed.failure_detail);
}

async fn a_request_refused_after_a_lost_answer_is_asked_after(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    // The money is taken and the answer lost; then the gateway refuses what it is asked. That is no news of the first.
    house.gateway.script_for(
        &order,
        Op::Authorise,
        [Step::approve().but(Manner::HangUp), Step::nothing(Manner::Status(400))],
    );
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

async fn a_held_payment_is_taken(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    // This gateway only holds, whatever it is asked.
    let ask = Ask {
        key: Uuid::parse_str(&order).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        amount_minor: PRICE,
        payment_id: String::new(),
        traceparent: String::new(),
    };
    house.till(10).authorise(&ask, Capture::Later).await.unwrap();
    assert_eq!(house.gateway.ledger().net(&order), 0);
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

async fn a_drained_worker_finishes_and_takes_nothing_new(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let slow = Step::approve().but(Manner::After(Duration::from_millis(150)));
    house.gateway.behave(move |_| slow.clone());
    let under_way = house.order(&cola).await;
    let worker = house.worker();
    let asked = || async { house.gateway.count(Op::Authorise, &under_way) >= 1 };
    until_true("the gateway is asked", PATIENCE, asked).await;
    worker.drain().await;
    assert_eq!(house.get(&under_way).await.status(), OrderStatus::Paid);
    let next = house.order(&cola).await;
    assert_eq!(house.get(&next).await.status(), OrderStatus::Pending);
    assert_eq!(house.metrics.in_flight.get(), 0);
}
