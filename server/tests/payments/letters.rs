//! What was set aside: listed, told about, handed back.

use crate::fleet_support::{Stage, id, operator};
use crate::gateway::{Manner, Op, Step};
use crate::house::{CUSTOMER, House, PRICE};
use crate::on_both_engines;
use crate::wait::{PATIENCE, until};
use tonic::Code;
use vendfleet_proto::v1::{
    self, AlertSeverity, AlertState, AlertType, DeadLetterKind, DeadLetterState, OrderFailure, OrderStatus,
    PaymentStatus, fleet_service_server::FleetService as _,
};

on_both_engines!(
    an_order_without_an_answer_is_listed_and_a_redrive_settles_it,
    a_late_approval_is_recorded_and_given_back,
    a_refund_nobody_confirms_is_a_dead_letter_of_its_own,
    dead_letters_are_paged_in_the_order_of_their_creation,
);

fn of_order(order: &str) -> v1::ListDeadLettersRequest {
    v1::ListDeadLettersRequest { order_id: order.to_owned(), ..Default::default() }
}

fn redrive(letter: &v1::DeadLetter) -> v1::RedriveDeadLetterRequest {
    v1::RedriveDeadLetterRequest { request_id: id(), dead_letter_id: letter.dead_letter_id.clone() }
}

async fn an_order_without_an_answer_is_listed_and_a_redrive_settles_it(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = house.order(&cola).await;
    // Nothing gets through, also no query.
    house.gateway.go_down();
    let worker = house.worker();
    let aside = house.until("unsettled", &order, |order| order.unsettled).await;
    assert_eq!((aside.status(), aside.payment_status()), (OrderStatus::Processing, PaymentStatus::Unknown));
    assert_eq!(house.shop.stock(&cola).await, 4, "it keeps its stock");
    worker.drain().await;

    let letter = house.letters(of_order(&order)).await.dead_letters.remove(0);
    assert_eq!((letter.kind(), letter.state()), (DeadLetterKind::Order, DeadLetterState::Open));
    assert_eq!(letter.reason, "GATEWAY_ERROR");
    assert_eq!(letter.subject, Some(v1::dead_letter::Subject::OrderId(order.clone())));
    let alert = house.alert(AlertType::OrderUnsettled).await;
    assert_eq!(alert.severity(), AlertSeverity::Critical);
    assert_eq!(
        (alert.order_id.as_str(), alert.details["order_id"].as_str()),
        (order.as_str(), order.as_str())
    );

    let request = redrive(&letter);
    let fleet = &house.stage.fleet;
    let handed = fleet.redrive_dead_letter(operator(request.clone())).await.unwrap().into_inner();
    let handed = handed.dead_letter.unwrap();
    assert_eq!((handed.state(), handed.redrives), (DeadLetterState::Redriving, 1));
    let again = fleet.redrive_dead_letter(operator(request)).await.unwrap().into_inner().dead_letter.unwrap();
    assert_eq!(again.redrives, 1, "the same request redrives once");
    let other = fleet.redrive_dead_letter(operator(redrive(&letter))).await.unwrap().into_inner();
    assert_eq!(other.dead_letter.unwrap().redrives, 1, "it is with its worker already");

    house.gateway.come_up();
    let _worker = house.worker();
    house.until_status(&order, OrderStatus::Paid).await;
    let done = house.letters(of_order(&order)).await.dead_letters.remove(0);
    assert_eq!(done.state(), DeadLetterState::Done);
    assert_eq!(house.alert(AlertType::OrderUnsettled).await.state(), AlertState::Resolved);
    let refused = fleet.redrive_dead_letter(operator(redrive(&letter))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
}

/// An order that failed although its money was taken, as the webhook then says.
async fn approved_too_late(house: &House, product: &v1::Product) -> String {
    let order = house.order(product).await;
    house.shop.cancel(CUSTOMER, &order).await.unwrap();
    house.gateway.take(&order, "EUR", PRICE);
    order
}

async fn tell(house: &House, order: &str) -> u16 {
    let address = house.listen().await;
    let body = house.gateway.webhook(order).body();
    let signature = crate::gateway::Webhook::signature(crate::house::SECRET, house.now_s(), &body);
    let headers = [("Webhook-Signature", signature.as_str())];
    crate::gateway::post(address, "/webhooks/payments", &headers, body.as_bytes()).await.0
}

async fn a_late_approval_is_recorded_and_given_back(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = approved_too_late(&house, &cola).await;
    assert_eq!(tell(&house, &order).await, 200);
    let pending = house.get(&order).await;
    assert_eq!(
        (pending.status(), pending.payment_status()),
        (OrderStatus::Cancelled, PaymentStatus::RefundPending)
    );
    let alert = house.alert(AlertType::LateApproval).await;
    assert_eq!((alert.state(), alert.severity()), (AlertState::Open, AlertSeverity::Critical));
    let _worker = house.worker();
    house.until("refunded", &order, |order| order.payment_status() == PaymentStatus::Refunded).await;
    // The same news again, and what it already knows, changes nothing.
    assert_eq!(tell(&house, &order).await, 200);
    house.gateway.ledger().assert_never_twice();
    assert_eq!(house.gateway.ledger().net(&order), 0);
    assert_eq!(house.alert(AlertType::LateApproval).await.state(), AlertState::Resolved);
    assert_eq!(house.shop.stock(&cola).await, 5);
}

async fn a_refund_nobody_confirms_is_a_dead_letter_of_its_own(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 5).await;
    let order = approved_too_late(&house, &cola).await;
    assert_eq!(tell(&house, &order).await, 200);
    house.gateway.behave(|_| Step::nothing(Manner::Status(500)));
    let _worker = house.worker();
    let letter = until("a dead letter", PATIENCE, || async {
        house.letters(of_order(&order)).await.dead_letters.pop()
    })
    .await;
    assert_eq!((letter.kind(), letter.state()), (DeadLetterKind::Payment, DeadLetterState::Open));
    assert_eq!(house.gateway.ledger().net(&order), PRICE);
    house.gateway.come_up();
    house.until("refunded", &order, |order| order.payment_status() == PaymentStatus::Refunded).await;
    assert_eq!(house.gateway.ledger().net(&order), 0);
    assert!(house.gateway.count(Op::Refund, &order) >= 2);
    let done = house.letters(of_order(&order)).await.dead_letters.remove(0);
    assert_eq!(done.state(), DeadLetterState::Done);
}

async fn dead_letters_are_paged_in_the_order_of_their_creation(stage: Stage) {
    let house = House::new(stage).await;
    let cola = house.stage.product("COLA", 50).await;
    house.gateway.go_down();
    let worker = house.worker();
    let mut orders = Vec::new();
    for _ in 0..7 {
        let order = house.order(&cola).await;
        house.until("unsettled", &order, |order| order.unsettled).await;
        orders.push(order);
    }
    worker.drain().await;
    let subject = |letter: &v1::DeadLetter| match &letter.subject {
        Some(v1::dead_letter::Subject::OrderId(order)) => order.clone(),
        other => panic!("{other:?}"),
    };
    for kind in [DeadLetterKind::Unspecified, DeadLetterKind::Order] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = house
                .letters(v1::ListDeadLettersRequest {
                    page_size: 3,
                    page_token: token,
                    kind: kind.into(),
                    state: DeadLetterState::Open.into(),
                    ..Default::default()
                })
                .await;
            assert!(page.dead_letters.len() <= 3);
            found.extend(page.dead_letters.iter().map(subject));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, orders);
    }
    for kind in [DeadLetterKind::Record, DeadLetterKind::Payment, DeadLetterKind::Purchase] {
        let list = v1::ListDeadLettersRequest { kind: kind.into(), ..Default::default() };
        assert_eq!(house.letters(list).await.dead_letters, [], "{kind:?}");
    }
    let got = house.letters(of_order(&orders[2])).await.dead_letters.remove(0);
    let get = v1::GetDeadLetterRequest { dead_letter_id: got.dead_letter_id.clone() };
    let one = house.stage.fleet.get_dead_letter(operator(get)).await.unwrap().into_inner();
    assert_eq!(one.dead_letter, Some(got));
    // The gateway comes back and knows of none: all end without a charge.
    house.gateway.come_up();
    let _worker = house.worker();
    for order in &orders {
        let failed = house.until_status(order, OrderStatus::Failed).await;
        assert_eq!(failed.failure(), OrderFailure::PaymentNotTaken);
    }
    assert_eq!(house.shop.stock(&cola).await, 50);
}
