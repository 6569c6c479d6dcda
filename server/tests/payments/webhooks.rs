//! What the gateway tells by itself.

use crate::fleet_support::Stage;
use crate::gateway::{Manner, Op, Status, Step, Webhook, post};
use crate::house::{House, PRICE, SECRET};
use crate::on_both_engines;
use std::net::SocketAddr;
use vendfleet_proto::v1::{AlertType, OrderStatus, PaymentStatus};

on_both_engines!(
    an_answer_that_comes_late_comes_by_webhook,
    a_webhook_is_applied_once,
    who_can_not_sign_is_not_believed,
    a_contradiction_moves_nothing_and_is_shown,
    what_the_provider_refunded_is_taken_as_the_fact_it_is,
    while_the_database_is_away_the_gateway_is_told_to_come_again,
);

async fn send(house: &House, address: SocketAddr, webhook: &Webhook) -> u16 {
    let body = webhook.body();
    let signature = Webhook::signature(SECRET, house.now_s(), &body);
    post(address, "/webhooks/payments", &[("Webhook-Signature", &signature)], body.as_bytes()).await.0
}

async fn an_answer_that_comes_late_comes_by_webhook(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    // The gateway is slow, and has not decided when it is asked after.
    let slow = Step::nothing(Manner::Silence);
    house.gateway.script_for(&order, Op::Authorise, [slow.clone(), slow]);
    house.gateway.behave(|_| Step::nothing(Manner::Pending));
    let _worker = house.worker();
    house.until("unsettled", &order, |order| order.unsettled).await;
    house.gateway.take(&order, "EUR", PRICE);
    let address = house.listen().await;
    assert_eq!(send(&house, address, &house.gateway.webhook(&order)).await, 200);
    let paid = house.get(&order).await;
    assert_eq!((paid.status(), paid.payment_status()), (OrderStatus::Paid, PaymentStatus::Captured));
    assert!(!paid.unsettled);
    house.gateway.ledger().assert_never_twice();
}

async fn a_webhook_is_applied_once(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.take(&order, "EUR", PRICE);
    let address = house.listen().await;
    let webhook = house.gateway.webhook(&order);
    assert_eq!(send(&house, address, &webhook).await, 200);
    let paid = house.get(&order).await;
    assert_eq!(paid.status(), OrderStatus::Paid);
    for event_id in [webhook.event_id.clone(), "evt_another_name".to_owned()] {
        let again = Webhook { event_id, ..webhook.clone() };
        assert_eq!(send(&house, address, &again).await, 200);
        assert_eq!(house.get(&order).await, paid);
    }
    let unknown = Webhook { payment_key: crate::fleet_support::id(), ..webhook };
    assert_eq!(send(&house, address, &unknown).await, 404);
}

async fn who_can_not_sign_is_not_believed(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.take(&order, "EUR", PRICE);
    let address = house.listen().await;
    let body = house.gateway.webhook(&order).body();
    let now_s = house.now_s();
    let good = Webhook::signature(SECRET, now_s, &body);
    let path = "/webhooks/payments";
    for bad in [
        Webhook::signature("another secret, and long enough too", now_s, &body),
        Webhook::signature(SECRET, now_s - 3_600, &body),
        good.replace("v1=", "v1=0"),
        String::new(),
    ] {
        let (status, _) = post(address, path, &[("Webhook-Signature", &bad)], body.as_bytes()).await;
        assert_eq!(status, 401, "{bad}");
    }
    assert_eq!(post(address, path, &[], body.as_bytes()).await.0, 401);
    let changed = body.replace("captured", "declined");
    assert_eq!(post(address, path, &[("Webhook-Signature", &good)], changed.as_bytes()).await.0, 401);
    assert_eq!(house.get(&order).await.status(), OrderStatus::Pending);

    let huge = vec![b' '; 20_000];
    assert_eq!(post(address, path, &[("Webhook-Signature", &good)], &huge).await.0, 413);
    let nonsense = Webhook::signature(SECRET, now_s, "{}");
    assert_eq!(post(address, path, &[("Webhook-Signature", &nonsense)], b"{}").await.0, 400);
}

async fn a_contradiction_moves_nothing_and_is_shown(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    let worker = house.worker();
    let paid = house.until_status(&order, OrderStatus::Paid).await;
    worker.drain().await;
    let address = house.listen().await;
    let webhook = house.gateway.webhook(&order);
    assert_eq!(send(&house, address, &webhook.clone().saying(Status::Declined)).await, 200);
    let other_amount = Webhook { minor_units: PRICE + 1, payment_id: "pay_99".to_owned(), ..webhook };
    assert_eq!(send(&house, address, &other_amount).await, 200);
    assert_eq!(house.get(&order).await, paid);
    let alert = house.alert(AlertType::GatewayContradiction).await;
    assert_eq!((alert.order_id.as_str(), alert.occurrences), (order.as_str(), 2));
}

async fn what_the_provider_refunded_is_taken_as_the_fact_it_is(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    let worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    worker.drain().await;
    let address = house.listen().await;
    let webhook = house.gateway.webhook(&order).saying(Status::Refunded);
    assert_eq!(send(&house, address, &webhook).await, 200);
    let refunded = house.get(&order).await;
    assert_eq!((refunded.status(), refunded.payment_status()), (OrderStatus::Paid, PaymentStatus::Refunded));
    // Repeated, and a capture that comes behind it: nothing more.
    let again = Webhook { event_id: "evt_again".to_owned(), ..webhook.clone() };
    let captured = house.gateway.webhook(&order);
    for late in [&webhook, &again, &captured] {
        assert_eq!(send(&house, address, late).await, 200);
        assert_eq!(house.get(&order).await, refunded);
    }
    assert_eq!(house.stage.alerts(AlertType::GatewayContradiction).await, []);
    // Of another payment, or of another amount, it can't be true.
    let other = Webhook { payment_id: "pay_99".to_owned(), ..webhook.clone() };
    let part = Webhook { minor_units: PRICE - 1, ..webhook };
    for wrong in [&other, &part] {
        assert_eq!(send(&house, address, wrong).await, 200);
        assert_eq!(house.get(&order).await, refunded);
    }
    assert_eq!(house.alert(AlertType::GatewayContradiction).await.occurrences, 2);
}

async fn while_the_database_is_away_the_gateway_is_told_to_come_again(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    house.gateway.take(&order, "EUR", PRICE);
    let address = house.listen().await;
    house.stage.deps.store.close().await;
    assert_eq!(send(&house, address, &house.gateway.webhook(&order)).await, 503);
}
