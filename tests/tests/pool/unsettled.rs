//! Money of purchases that can't be settled: asked after again, shown to a person, settled all the same.

use uuid::Uuid;
use vendfleet_proto::v1::{self, AlertEventType, AlertState, AlertType, PaymentMode, PurchaseState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Status, Step, Webhook},
    orders::{
        checker::{events_of, from_the_oldest},
        till::Till,
    },
    pool::{Buyer, checker::check_paid, machine},
    wait::{PATIENCE, until},
};

/// Far longer than a test.
const LONG_MS: i64 = 600_000;

/// One machine, one product, and what is not settled is not asked after again by itself.
async fn open(engine: Engine) -> (Till, Buyer, String) {
    let till = Till::open(engine, 1, |o| {
        o.set("worker.query_interval_ms", LONG_MS).set("worker.query_interval_most_ms", 10 * LONG_MS)
    })
    .await;
    machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 20).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    (till, ann, product)
}

/// No capture gets an answer from now on.
fn refuse_captures(till: &Till) {
    till.gateway.behave(|call| match call.op {
        Op::Capture => Step::nothing(Manner::Status(503)),
        _ => Step::proper(),
    });
}

/// How long the gateway is left alone after so many questions about the present step, ms.
async fn pause_after(till: &Till, bought: &v1::Purchase, attempts: i64) -> i64 {
    let rows = till.shop.rows().await;
    let id = Uuid::parse_str(&bought.purchase_id).unwrap();
    until("the gateway to have been asked", PATIENCE, || async {
        let sql =
            "SELECT attempts, due_at_ms - updated_at_ms FROM purchases WHERE purchase_id = $1 AND state = 5";
        let found: Vec<(i64, i64)> = rows.all_of(sql, id.as_bytes()).await;
        found.first().filter(|(asked, _)| *asked == attempts).map(|(_, pause)| *pause)
    })
    .await
}

/// What was set aside of a purchase.
async fn letter(till: &Till, bought: &v1::Purchase) -> v1::DeadLetter {
    until("a dead letter", PATIENCE, || async {
        let request = v1::ListDeadLettersRequest::default();
        let all = till.shop.operator().fleet.list_dead_letters(request).await.unwrap().into_inner();
        let subject = v1::dead_letter::Subject::PurchaseId(bought.purchase_id.clone());
        all.dead_letters.into_iter().find(|letter| letter.subject.as_ref() == Some(&subject))
    })
    .await
}

/// Alerts of one type about a purchase.
async fn alerts(till: &Till, bought: &v1::Purchase, wanted: AlertType) -> Vec<v1::Alert> {
    let request = v1::ListAlertsRequest { r#type: wanted.into(), ..Default::default() };
    let mut found = till.shop.operator().fleet.list_alerts(request).await.unwrap().into_inner().alerts;
    found.retain(|alert| alert.purchase_id == bought.purchase_id);
    found
}

/// One alert of this type about the purchase; gives how far it is.
async fn one_alert(till: &Till, bought: &v1::Purchase, wanted: AlertType) -> AlertState {
    let found = alerts(till, bought, wanted).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].machine_id, bought.machine_id);
    assert_eq!(found[0].severity(), v1::AlertSeverity::Critical);
    found[0].state()
}

/// What events say of alerts of this type about a purchase, in order.
async fn told(till: &Till, bought: &v1::Purchase, wanted: AlertType) -> Vec<AlertEventType> {
    let categories = vec![v1::EventCategory::Alert.into()];
    let request = v1::StreamEventsRequest { categories, ..from_the_oldest() };
    let events = events_of(&till.shop, 0, request).await;
    let of_alert = |event: v1::Event| match event.data {
        Some(v1::event::Data::Alert(event)) => Some(event),
        _ => None,
    };
    let about = |event: &v1::AlertEvent| {
        let alert = event.alert.as_ref().unwrap();
        alert.purchase_id == bought.purchase_id && alert.r#type() == wanted
    };
    events.into_iter().filter_map(of_alert).filter(about).map(|event| event.r#type()).collect()
}

pub(crate) async fn money_that_can_not_be_settled_is_an_alert_until_it_is(engine: Engine) {
    let (till, ann, product) = open(engine).await;
    refuse_captures(&till);
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    let set_aside = letter(&till, &bought).await;
    assert_eq!(one_alert(&till, &bought, AlertType::DeadLetter).await, AlertState::Open);
    assert!(alerts(&till, &bought, AlertType::GatewayContradiction).await.is_empty());
    // Not settled yet: the same alert, counted up.
    till.redrive(&set_aside).await;
    pause_after(&till, &bought, 2).await;
    let again = alerts(&till, &bought, AlertType::DeadLetter).await;
    assert_eq!(again.iter().map(|alert| alert.occurrences).collect::<Vec<_>>(), [2]);

    till.gateway.come_up();
    till.redrive(&set_aside).await;
    ann.over(&bought.session_id).await;
    assert_eq!(one_alert(&till, &bought, AlertType::DeadLetter).await, AlertState::Resolved);
    let events = told(&till, &bought, AlertType::DeadLetter).await;
    assert_eq!(events, [AlertEventType::Raised, AlertEventType::Resolved]);
    check_paid(&till).await;
}

pub(crate) async fn a_gateway_that_contradicts_itself_is_shown_to_a_person(engine: Engine) {
    let (till, ann, product) = open(engine).await;
    till.gateway.script(Op::Capture, [Step::nothing(Manner::Says(Status::Declined))]);
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    let set_aside = letter(&till, &bought).await;
    assert_eq!(set_aside.reason, "GATEWAY_CONTRADICTS_ITSELF");
    for wanted in [AlertType::DeadLetter, AlertType::GatewayContradiction] {
        assert_eq!(one_alert(&till, &bought, wanted).await, AlertState::Open);
    }
    till.redrive(&set_aside).await;
    ann.over(&bought.session_id).await;
    for wanted in [AlertType::DeadLetter, AlertType::GatewayContradiction] {
        assert_eq!(one_alert(&till, &bought, wanted).await, AlertState::Resolved);
    }
    check_paid(&till).await;
}

pub(crate) async fn the_first_pause_is_the_configured_one_whatever_came_before(engine: Engine) {
    let (till, ann, product) = open(engine).await;
    refuse_captures(&till);
    // Authorised, dispensed, and only then without an answer.
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    for (attempts, intervals) in [(1, 1), (2, 2)] {
        let pause = pause_after(&till, &bought, attempts).await;
        let expected = LONG_MS * intervals;
        assert!((expected - 60_000..expected + 60_000).contains(&pause), "{attempts}: {pause}");
        till.redrive(&letter(&till, &bought).await).await;
    }
    pause_after(&till, &bought, 3).await;
    till.gateway.come_up();
    till.redrive(&letter(&till, &bought).await).await;
    let over = ann.over(&bought.session_id).await.purchase.unwrap();
    assert_eq!(over.state(), PurchaseState::Completed);
    check_paid(&till).await;
}

/// Money to be taken, and money to be let go: neither answered, both set aside.
async fn set_aside(till: &Till, ann: &Buyer, product: &str) -> [v1::Purchase; 2] {
    refuse_captures(till);
    let taken = ann.buy(product, PaymentMode::Gateway).await;
    letter(till, &taken).await;
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::HangUp)]);
    till.gateway.script(Op::Void, [Step::nothing(Manner::Status(503))]);
    let let_go = ann.buy(product, PaymentMode::Gateway).await;
    letter(till, &let_go).await;
    [taken, let_go]
}

pub(crate) async fn a_webhook_about_a_purchase_has_the_gateway_asked_at_once(engine: Engine) {
    let (till, ann, product) = open(engine).await;
    let [taken, let_go] = set_aside(&till, &ann, &product).await;
    till.gateway.come_up();
    for bought in [&taken, &let_go] {
        assert_eq!(till.webhook(&till.gateway.webhook(&bought.purchase_id)).await, 200);
    }
    assert_eq!(ann.over(&taken.session_id).await.purchase.unwrap().state(), PurchaseState::Completed);
    assert_eq!(ann.over(&let_go.session_id).await.purchase.unwrap().state(), PurchaseState::Failed);
    let checked = check_paid(&till).await;
    assert_eq!((checked.completed, checked.failed), (1, 1));

    // What it says is not believed, and what is over is not asked about again.
    let calls = till.gateway.calls().len();
    let late = till.gateway.webhook(&taken.purchase_id).saying(Status::Declined);
    assert_eq!(till.webhook(&late).await, 200);
    let stranger = Webhook { payment_key: Uuid::now_v7().to_string(), ..late };
    assert_eq!(till.webhook(&stranger).await, 404);
    let next = ann.buy(&product, PaymentMode::None).await;
    ann.over(&next.session_id).await;
    assert_eq!(till.gateway.calls().len(), calls);
    check_paid(&till).await;
}
