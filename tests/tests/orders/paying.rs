//! The gateway that answers, declines, falls silent, is down, is late, and contradicts itself.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;
use vendfleet_proto::v1::{
    self, AlertState, AlertType, DeadLetterKind, DeadLetterState, OrderFailure, OrderStatus, PaymentStatus,
};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Status, Step},
    orders::till::Till,
    refusal::refusal,
    wait::{PATIENCE, until_true},
};

pub(crate) async fn an_order_is_paid_once_or_fails_and_gives_its_stock_back(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    till.gateway.script(Op::Authorise, [Step::approve(), Step::decline()]);
    let paid = ann.order("first", &[(&product, 2)]).await;
    let paid = till.ended(&ann, &paid.order_id).await;
    assert_eq!((paid.status(), paid.payment_status()), (OrderStatus::Paid, PaymentStatus::Captured));
    assert!(!paid.gateway_payment_id.is_empty());
    let failed = ann.order("second", &[(&product, 3)]).await;
    let failed = till.ended(&ann, &failed.order_id).await;
    assert_eq!((failed.status(), failed.failure()), (OrderStatus::Failed, OrderFailure::PaymentDeclined));
    assert_eq!(failed.failure_detail, "insufficient funds");
    assert_eq!(till.shop.stock(&product).await, 8);
    let refused = refusal(&ann.cancel(&paid.order_id).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE"));
    assert_eq!(refused.said("status"), "PAID");
    assert_eq!(till.gateway.ledger().charged(), [paid.order_id.as_str()]);
    till.check().await;
}

pub(crate) async fn an_order_with_nothing_to_pay_is_paid_and_no_gateway_hears_of_it(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let gift = till.shop.product_at("GIFT", 5, 0, "EUR").await;
    let ann = till.shop.caller("ann");
    let order = ann.order("gift", &[(&gift, 2)]).await;
    assert_eq!((order.status(), order.payment_status()), (OrderStatus::Paid, PaymentStatus::NotRequired));
    assert_eq!(ann.get(&order.order_id).await.unwrap(), order);
    let refused = refusal(&ann.cancel(&order.order_id).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.said("status")), ("ORDER_NOT_CANCELLABLE", "PAID"));
    // The worker has been round since: what came after it is paid.
    let cola = till.shop.product("COLA", 5).await;
    let paid = ann.order("cola", &[(&cola, 1)]).await;
    till.ended(&ann, &paid.order_id).await;
    assert_eq!(till.gateway.ledger().charged(), [paid.order_id.as_str()]);
    assert_eq!(till.shop.stock(&gift).await, 3);
    till.check().await;
}

pub(crate) async fn a_lost_answer_is_asked_for_again_and_charged_once(engine: Engine) {
    let till = Till::open(engine, 1, |o| o.set("payments.timeout_ms", 300).set("payments.attempts", 3)).await;
    let product = till.shop.product("COLA", 100).await;
    let ann = till.shop.caller("ann");
    let losses = [
        Manner::HangUp,
        Manner::HangUpMidAnswer,
        Manner::Status(500),
        Manner::Silence,
        Manner::Garbage,
        Manner::OtherShape,
        Manner::Twice,
        Manner::WrongKey,
        Manner::Huge(10_000_000),
    ];
    for (n, manner) in losses.into_iter().enumerate() {
        till.gateway.script(Op::Authorise, [Step::approve().but(manner.clone())]);
        let order = ann.order(&format!("basket-{n}"), &[(&product, 1)]).await;
        let ended = till.ended(&ann, &order.order_id).await;
        assert_eq!(ended.status(), OrderStatus::Paid, "{manner:?}: {ended:?}");
    }
    assert_eq!(till.check().await.orders, 9);
}

pub(crate) async fn an_order_without_a_definite_answer_is_listed_and_settles_by_a_query(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    till.gateway.go_down();
    let order = ann.order("basket", &[(&product, 4)]).await;
    let unsettled = till.unsettled(&ann, &order.order_id).await;
    assert_eq!(
        (unsettled.status(), unsettled.payment_status()),
        (OrderStatus::Processing, PaymentStatus::Unknown)
    );
    let listed = v1::ListOrdersRequest { unsettled_only: true, ..Default::default() };
    assert_eq!(till.shop.caller("").list(listed).await.len(), 1);
    assert_eq!(till.shop.stock(&product).await, 6, "an unknown answer keeps its stock");
    let letters = till.dead_letters(&order.order_id).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].kind(), letters[0].state()), (DeadLetterKind::Order, DeadLetterState::Open));
    assert_eq!(letters[0].reason, "GATEWAY_ERROR");
    assert_eq!(till.alerts(&order.order_id, AlertType::OrderUnsettled).await[0].state(), AlertState::Open);
    let refused = refusal(&ann.cancel(&order.order_id).await.unwrap_err());
    assert_eq!(refused.said("status"), "PROCESSING");

    // The gateway never saw it, and says so: then it binds itself never to take it, and the order can fail.
    till.gateway.come_up();
    let ended = till.ended(&ann, &order.order_id).await;
    assert_eq!((ended.status(), ended.failure()), (OrderStatus::Failed, OrderFailure::PaymentNotTaken));
    assert!(!ended.unsettled);
    assert_eq!(till.shop.stock(&product).await, 10);
    assert_eq!(till.dead_letters(&order.order_id).await[0].state(), DeadLetterState::Done);
    assert_eq!(
        till.alerts(&order.order_id, AlertType::OrderUnsettled).await[0].state(),
        AlertState::Resolved
    );
    till.check().await;
}

pub(crate) async fn a_late_webhook_settles_an_unsettled_order_once(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    till.gateway.go_down();
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.unsettled(&ann, &order.order_id).await;
    till.gateway.take(&order.order_id, "EUR", 250);
    let late = till.gateway.webhook(&order.order_id);
    assert_eq!(till.webhook(&late).await / 100, 2);
    let paid = ann.get(&order.order_id).await.unwrap();
    assert_eq!((paid.status(), paid.unsettled), (OrderStatus::Paid, false));
    assert_eq!(till.webhook(&late).await / 100, 2, "said again");
    assert_eq!(ann.get(&order.order_id).await.unwrap(), paid, "and nothing changes");
    assert_eq!(till.dead_letters(&order.order_id).await[0].state(), DeadLetterState::Done);
    till.check().await;
}

pub(crate) async fn an_operator_redrives_what_was_set_aside(engine: Engine) {
    let till = Till::open(engine, 1, |o| {
        o.set("worker.query_interval_ms", 600_000).set("worker.query_interval_most_ms", 600_000)
    })
    .await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    // The money was taken and nobody was told.
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::Status(502))]);
    till.gateway.script(Op::Query, [Step::nothing(Manner::Status(502))]);
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.unsettled(&ann, &order.order_id).await;
    let letter = till.dead_letters(&order.order_id).await.remove(0);
    assert_eq!(till.redrive(&letter).await.state(), DeadLetterState::Redriving);
    let ended = till.ended(&ann, &order.order_id).await;
    assert_eq!(ended.status(), OrderStatus::Paid);
    let letters = till.dead_letters(&order.order_id).await;
    assert_eq!((letters[0].state(), letters[0].redrives), (DeadLetterState::Done, 1));
    till.check().await;
}

pub(crate) async fn money_that_comes_after_an_order_failed_is_given_back(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::Says(Status::Declined))]);
    // The first refund goes wrong, too.
    till.gateway.script(Op::Refund, [Step::nothing(Manner::Status(500))]);
    let order = ann.order("basket", &[(&product, 2)]).await;
    let failed = till.ended(&ann, &order.order_id).await;
    assert_eq!(failed.status(), OrderStatus::Failed);
    assert_eq!(till.gateway.ledger().net(&order.order_id), 500);

    assert_eq!(till.webhook(&till.gateway.webhook(&order.order_id)).await / 100, 2);
    let refunded = till
        .until(&ann, &order.order_id, "the money to be given back", |order| {
            order.payment_status() == PaymentStatus::Refunded
        })
        .await;
    assert_eq!(refunded.status(), OrderStatus::Failed, "what ended stays ended");
    assert_eq!(till.gateway.ledger().net(&order.order_id), 0);
    assert_eq!(till.shop.stock(&product).await, 10, "its stock was given back once");
    assert_eq!(till.alerts(&order.order_id, AlertType::LateApproval).await[0].state(), AlertState::Resolved);
    till.check().await;
}

pub(crate) async fn a_gateway_that_contradicts_itself_moves_nothing_and_alerts(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    let order = ann.order("basket", &[(&product, 1)]).await;
    let paid = till.ended(&ann, &order.order_id).await;
    let webhook = till.gateway.webhook(&order.order_id);
    assert_eq!(till.webhook(&webhook.clone().saying(Status::Declined)).await / 100, 2);
    assert_eq!(ann.get(&order.order_id).await.unwrap(), paid, "what ended stays ended");
    assert_eq!(till.alerts(&order.order_id, AlertType::GatewayContradiction).await.len(), 1);

    // An answer about other money than was asked for is no answer.
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::WrongAmount)]);
    let order = ann.order("other", &[(&product, 1)]).await;
    let ended = till.ended(&ann, &order.order_id).await;
    assert_eq!(ended.status(), OrderStatus::Paid);
    till.check().await;
}

pub(crate) async fn a_webhook_nobody_signed_is_not_believed(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 10).await;
    let ann = till.shop.caller("ann");
    till.gateway.go_down();
    let order = ann.order("basket", &[(&product, 1)]).await;
    till.unsettled(&ann, &order.order_id).await;
    till.gateway.take(&order.order_id, "EUR", 250);
    let webhook = till.gateway.webhook(&order.order_id);
    let server = till.shop.replicas[0].server.http_addr();
    let forged = webhook.send(server, "a secret somebody made up, and long enough").await;
    assert!((400..500).contains(&forged), "{forged}");
    let unsigned =
        vendfleet_tests::gateway::post(server, "/webhooks/payments", &[], webhook.body().as_bytes()).await;
    assert!((400..500).contains(&unsigned.0), "{unsigned:?}");
    assert_eq!(ann.status(&order.order_id).await, OrderStatus::Processing);
    till.gateway.come_up();
    assert_eq!(till.ended(&ann, &order.order_id).await.status(), OrderStatus::Paid);
    till.check().await;
}

/// What `/healthz` says.
async fn health(till: &Till) -> serde_json::Value {
    let server = till.shop.replicas[0].server.http_addr();
    let mut stream = TcpStream::connect(server).await.unwrap();
    let ask = format!("GET /healthz HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").expect("an HTTP answer").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

pub(crate) async fn a_gateway_that_is_down_is_left_alone_and_orders_can_be_cancelled(engine: Engine) {
    let till = Till::open(engine, 1, |o| {
        o.set("payments.breaker_failures", 2).set("payments.breaker_open_ms", 3_600_000)
    })
    .await;
    let product = till.shop.product("COLA", 100).await;
    let ann = till.shop.caller("ann");
    assert_eq!(health(&till).await["status"], "ok");
    till.gateway.go_down();
    for n in 0..2 {
        ann.order(&format!("broken-{n}"), &[(&product, 1)]).await;
    }
    until_true("health to show it", PATIENCE, || async { health(&till).await["status"] == "degraded" }).await;

    let mut waiting = Vec::new();
    for n in 0..5 {
        waiting.push(ann.order(&format!("waits-{n}"), &[(&product, 1)]).await);
    }
    for order in &waiting {
        assert_eq!(ann.status(&order.order_id).await, OrderStatus::Pending);
        assert_eq!(ann.cancel(&order.order_id).await.unwrap().0.status(), OrderStatus::Cancelled);
    }
    let asked = till.gateway.calls();
    let asked = asked.iter().filter(|call| waiting.iter().any(|order| order.order_id == call.key));
    assert_eq!(asked.count(), 0, "nobody is asked while the breaker is open");
    assert_eq!(till.shop.stock(&product).await, 98);
    till.check().await;
}

pub(crate) async fn a_breaker_lets_one_try_through_and_then_all(engine: Engine) {
    let till =
        Till::open(engine, 1, |o| o.set("payments.breaker_failures", 2).set("payments.breaker_open_ms", 200))
            .await;
    let product = till.shop.product("COLA", 100).await;
    let ann = till.shop.caller("ann");
    till.gateway.go_down();
    for n in 0..10 {
        ann.order(&format!("basket-{n}"), &[(&product, 1)]).await;
    }
    until_true("health to show it", PATIENCE, || async { health(&till).await["status"] == "degraded" }).await;
    till.gateway.come_up();
    till.quiet().await;
    until_true("health to be well", PATIENCE, || async { health(&till).await["status"] == "ok" }).await;
    assert_eq!(till.check().await.orders, 10);
}

pub(crate) async fn a_cancel_and_a_worker_race_and_one_of_them_has_it(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let product = till.shop.product("COLA", 1_000).await;
    let mut racing = JoinSet::new();
    for n in 0..60 {
        let ann = till.shop.caller("ann");
        let product = product.clone();
        racing.spawn(async move {
            let order = ann.order(&format!("basket-{n}"), &[(&product, 1)]).await;
            // Some at once, some a little later: the claim comes when it comes.
            for _ in 0..n % 5 {
                ann.get(&order.order_id).await.unwrap();
            }
            match ann.cancel(&order.order_id).await {
                Ok((order, _)) => assert_eq!(order.status(), OrderStatus::Cancelled),
                Err(status) => assert_eq!(refusal(&status).reason, "ORDER_NOT_CANCELLABLE"),
            }
        });
    }
    racing.join_all().await;
    till.quiet().await;
    let cancelled =
        v1::ListOrdersRequest { statuses: vec![OrderStatus::Cancelled.into()], ..Default::default() };
    for order in till.shop.caller("ann").list(cancelled).await {
        assert_eq!(till.gateway.count(Op::Authorise, &order.order_id), 0, "nobody was asked for its money");
    }
    assert_eq!(till.check().await.orders, 60);
}

/// A gateway that answers one customer's payments with silence, and a worker that would have room for nothing else.
pub(crate) async fn one_customers_slow_payments_keep_nobody_waiting(engine: Engine) {
    let till = Till::open(engine, 1, |o| {
        o.set("worker.max_in_flight", 8)
            .set("worker.max_in_flight_per_customer", 4)
            .set("payments.timeout_ms", 3_000)
            .set("worker.lease_ms", 20_000)
    })
    .await;
    let product = till.shop.product("COLA", 1_000).await;
    till.gateway.behave(|_| Step::nothing(Manner::Silence));
    let (greedy, ann) = (till.shop.caller("greedy"), till.shop.caller("ann"));
    let mut held = Vec::new();
    for n in 0..60 {
        held.push(greedy.order(&format!("greedy-{n}"), &[(&product, 1)]).await.order_id);
    }
    let theirs = held.clone();
    till.gateway.behave(move |call| match theirs.contains(&call.key) {
        true => Step::nothing(Manner::Silence),
        false => Step::proper(),
    });
    for n in 0..5 {
        let order = ann.order(&format!("ann-{n}"), &[(&product, 1)]).await;
        assert_eq!(till.ended(&ann, &order.order_id).await.status(), OrderStatus::Paid);
    }
    let mut waiting = 0;
    for order in &held {
        waiting += usize::from(greedy.status(order).await == OrderStatus::Pending);
    }
    assert!(waiting >= 30, "ann's payments waited for most of the others': {waiting} of 60 are not begun");
}
