//! Answers of the gateway that don't come: nothing is guessed, nothing is taken twice, and no machine waits for them.

use vendfleet_proto::v1::{self, PaymentMode, PaymentStatus, PoolState, PurchaseFailure, PurchaseState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Status, Step},
    orders::till::Till,
    pool::{Buyer, checker::check_paid, machine, standing},
    wait::{PATIENCE, until_true},
};

/// Every way an answer can fail to say anything.
fn silences() -> Vec<Manner> {
    vec![
        Manner::HangUp,
        Manner::HangUpMidAnswer,
        Manner::Silence,
        Manner::Status(500),
        Manner::Garbage,
        Manner::OtherShape,
        Manner::WrongAmount,
        Manner::WrongKey,
    ]
}

pub(crate) async fn a_lost_authorisation_is_let_go_and_nothing_comes_out(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let id = machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 20).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    let manners = silences();
    for manner in &manners {
        till.gateway.script(Op::Authorise, [Step::approve().but(manner.clone())]);
        let bought = ann.buy(&product, PaymentMode::Gateway).await;
        let over = ann.over(&bought.session_id).await.purchase.unwrap();
        assert_eq!(over.failure(), PurchaseFailure::PaymentUnknown, "{manner:?}: {over:?}");
        assert_eq!(over.payment_status(), PaymentStatus::Voided, "{manner:?}: {over:?}");
        assert_eq!(till.gateway.ledger().payments[&bought.purchase_id].status, Status::Voided);
        assert_eq!(till.gateway.count(Op::Capture, &bought.purchase_id), 0);
    }
    assert_eq!(till.shop.stock(&product).await, 20);
    let shown = standing(&till.shop, &id).await;
    assert_eq!((shown.state(), shown.failures_in_a_row), (PoolState::Idle, 0), "a gateway rests nobody");
    assert_eq!(check_paid(&till).await.failed, manners.len());
}

pub(crate) async fn a_lost_capture_is_asked_again_and_taken_once(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 20).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    let manners = silences();
    for manner in &manners {
        till.gateway.script(Op::Capture, [Step::approve().but(manner.clone())]);
        let bought = ann.buy(&product, PaymentMode::Gateway).await;
        let over = ann.over(&bought.session_id).await.purchase.unwrap();
        assert_eq!(over.state(), PurchaseState::Completed, "{manner:?}: {over:?}");
        assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 250, "{manner:?}");
        assert!(till.gateway.count(Op::Capture, &bought.purchase_id) >= 2, "{manner:?}");
    }
    assert_eq!(till.shop.stock(&product).await, 20 - i64::try_from(manners.len()).unwrap());
    assert_eq!(check_paid(&till).await.completed, manners.len());
}

pub(crate) async fn a_gateway_that_is_down_does_not_hold_the_machine(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let id = machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 5).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    till.gateway.behave(|call| match call.op {
        Op::Capture => Step::nothing(Manner::Status(503)),
        _ => Step::proper(),
    });
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    until_true("the machine to be free", PATIENCE, || async {
        standing(&till.shop, &id).await.state() == PoolState::Idle
    })
    .await;
    let now = ann.session(&bought.session_id).await.unwrap().purchase.unwrap();
    assert_eq!(now.state(), PurchaseState::Capturing, "{now:?}");
    assert_eq!(standing(&till.shop, &id).await.usage_count, 0, "it counts once it is complete");
    // The next customer does not wait for the money of the one before.
    let next = ann.buy(&product, PaymentMode::None).await;
    ann.over(&next.session_id).await;
    check_paid(&till).await;

    till.gateway.come_up();
    let over = ann.over(&bought.session_id).await.purchase.unwrap();
    assert_eq!((over.state(), over.payment_status()), (PurchaseState::Completed, PaymentStatus::Captured));
    assert_eq!(standing(&till.shop, &id).await.usage_count, 2);
    assert_eq!(check_paid(&till).await.completed, 2);
}

pub(crate) async fn a_declined_purchase_gives_its_unit_back(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let id = machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 1).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    till.gateway.script(Op::Authorise, [Step::decline()]);
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    let over = ann.over(&bought.session_id).await;
    assert_eq!(over.state(), v1::SessionState::Failed);
    let purchase = over.purchase.unwrap();
    assert_eq!(
        (purchase.failure(), purchase.payment_status()),
        (PurchaseFailure::PaymentDeclined, PaymentStatus::Declined)
    );
    let shown = standing(&till.shop, &id).await;
    assert_eq!((shown.state(), shown.usage_count, shown.failures_in_a_row), (PoolState::Idle, 0, 1));
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    assert_eq!(ann.over(&bought.session_id).await.state(), v1::SessionState::Completed);
    assert_eq!(till.shop.stock(&product).await, 0);
    let checked = check_paid(&till).await;
    assert_eq!((checked.completed, checked.failed), (1, 1));
}
