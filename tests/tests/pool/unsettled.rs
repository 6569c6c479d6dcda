//! Money of purchases that can't be settled: asked after again, shown to a person, settled all the same.

use uuid::Uuid;
use vendfleet_proto::v1::{self, PaymentMode, PurchaseState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::till::Till,
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
