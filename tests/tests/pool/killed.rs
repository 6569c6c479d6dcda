//! The server killed with SIGKILL before and after each step of a purchase, and again and again under load.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::{Code, Status};
use vendfleet_proto::v1::{self, PaymentMode, PurchaseFailure, PurchaseState, SessionState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::{Shop, till::Till},
    pool::{
        Buyer,
        checker::{Marks, check_paid},
        machine,
    },
    refusal::refusal,
    wait::{PATIENCE, until_true},
};

/// One machine, one product, a gateway.
async fn open(engine: Engine, delay_ms: u32) -> (Till, String) {
    let till = Till::open(engine, 1, |o| o).await;
    machine(&till.shop, delay_ms).await;
    let product = till.shop.product("COLA", 20).await;
    (till, product)
}

async fn killed_and_over(till: &mut Till, bought: &v1::Purchase) -> v1::Purchase {
    let mut marks = Marks::default();
    marks.rise(&till.shop).await;
    till.shop.replicas[0].server.kill();
    till.shop.replicas[0].restart().await;
    let session = Buyer::new(&till.shop, 0, "ann").over(&bought.session_id).await;
    marks.rise(&till.shop).await;
    session.purchase.unwrap()
}

async fn asked(till: &Till, op: Op, bought: &v1::Purchase) {
    until_true("the gateway to be asked", PATIENCE, || async {
        till.gateway.count(op, &bought.purchase_id) == 1
    })
    .await;
}

async fn is(shop: &Shop, bought: &v1::Purchase, state: PurchaseState) {
    let what = format!("a purchase to be {}", state.as_str_name());
    let buyer = Buyer::new(shop, 0, "ann");
    buyer.until(&bought.session_id, &what, |now| now.purchase.as_ref().unwrap().state() == state).await;
}

pub(crate) async fn killed_before_the_money_is_asked_for_it_is_asked_for_once_it_is_back(engine: Engine) {
    let (mut till, product) = open(engine, 0).await;
    till.link.stall();
    let bought = Buyer::new(&till.shop, 0, "ann").buy(&product, PaymentMode::Gateway).await;
    assert_eq!(bought.state(), PurchaseState::Authorising);
    till.shop.replicas[0].server.kill();
    assert!(till.gateway.calls().is_empty());
    // What was stalled belongs to the killed server: a connection that is cut carries it no further.
    till.link.cut();
    till.link.mend();
    till.shop.replicas[0].restart().await;
    let over = Buyer::new(&till.shop, 0, "ann").over(&bought.session_id).await;
    assert_eq!(over.state(), SessionState::Completed, "{over:?}");
    assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 250);
    assert_eq!(check_paid(&till).await.completed, 1);
}

pub(crate) async fn killed_while_the_money_is_asked_for_it_asks_again_and_holds_it_once(engine: Engine) {
    let (mut till, product) = open(engine, 0).await;
    let steps = [Step::approve(), Step::decline(), Step::nothing(Manner::Silence)];
    let ends = [PurchaseState::Completed, PurchaseState::Failed, PurchaseState::Completed];
    for (step, end) in steps.into_iter().zip(ends) {
        till.gateway.script(Op::Authorise, [step.but(Manner::Silence)]);
        let bought = Buyer::new(&till.shop, 0, "ann").buy(&product, PaymentMode::Gateway).await;
        asked(&till, Op::Authorise, &bought).await;
        let over = killed_and_over(&mut till, &bought).await;
        assert_eq!(over.state(), end, "{over:?}");
        let expected = if end == PurchaseState::Completed { 250 } else { 0 };
        assert_eq!(till.gateway.ledger().net(&bought.purchase_id), expected);
    }
    let checked = check_paid(&till).await;
    assert_eq!((checked.completed, checked.failed), (2, 1));
}

pub(crate) async fn killed_while_the_machine_dispenses_it_completes_once(engine: Engine) {
    let (mut till, product) = open(engine, 1_500).await;
    for mode in [PaymentMode::None, PaymentMode::Gateway] {
        let bought = Buyer::new(&till.shop, 0, "ann").buy(&product, mode).await;
        is(&till.shop, &bought, PurchaseState::Dispensing).await;
        let over = killed_and_over(&mut till, &bought).await;
        assert_eq!(over.state(), PurchaseState::Completed, "{over:?}");
    }
    assert_eq!(check_paid(&till).await.completed, 2);
}

pub(crate) async fn killed_while_the_money_is_taken_it_is_taken_once(engine: Engine) {
    let (mut till, product) = open(engine, 0).await;
    for step in [Step::approve(), Step::nothing(Manner::Silence)] {
        till.gateway.script(Op::Capture, [step.but(Manner::Silence)]);
        let bought = Buyer::new(&till.shop, 0, "ann").buy(&product, PaymentMode::Gateway).await;
        asked(&till, Op::Capture, &bought).await;
        let over = killed_and_over(&mut till, &bought).await;
        assert_eq!(over.state(), PurchaseState::Completed, "{over:?}");
        assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 250);
    }
    assert_eq!(check_paid(&till).await.completed, 2);
}

pub(crate) async fn killed_while_the_money_is_let_go_none_is_kept(engine: Engine) {
    let (mut till, product) = open(engine, 0).await;
    for step in [Step::proper(), Step::nothing(Manner::Silence)] {
        // The answer is lost, so what may be held is let go.
        till.gateway.script(Op::Authorise, [Step::approve().but(Manner::HangUp)]);
        till.gateway.script(Op::Void, [step.but(Manner::Silence)]);
        let bought = Buyer::new(&till.shop, 0, "ann").buy(&product, PaymentMode::Gateway).await;
        asked(&till, Op::Void, &bought).await;
        let over = killed_and_over(&mut till, &bought).await;
        assert_eq!(over.failure(), PurchaseFailure::PaymentUnknown, "{over:?}");
        assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 0);
    }
    assert_eq!(till.shop.stock(&product).await, 20);
    assert_eq!(check_paid(&till).await.failed, 2);
}

pub(crate) async fn killed_after_the_end_nobody_is_asked_again(engine: Engine) {
    let (mut till, product) = open(engine, 0).await;
    let buyer = Buyer::new(&till.shop, 0, "ann");
    let bought = buyer.buy(&product, PaymentMode::Gateway).await;
    let before = buyer.over(&bought.session_id).await.purchase.unwrap();
    let calls = till.gateway.calls().len();
    assert_eq!(killed_and_over(&mut till, &bought).await, before);
    // Another purchase passes through the same worker, so it has looked for work since.
    let buyer = Buyer::new(&till.shop, 0, "ann");
    let next = buyer.buy(&product, PaymentMode::None).await;
    buyer.over(&next.session_id).await;
    assert_eq!(till.gateway.calls().len(), calls);
    assert_eq!(check_paid(&till).await.completed, 2);
}

/// What a caller without patience for the server's own suggestion waits.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks with the same request id until somebody answers; gives how often nobody did, too.
async fn insists<T, F: Future<Output = Result<T, Status>>>(
    mut ask: impl FnMut() -> F,
) -> (Result<T, String>, u32) {
    let started = Instant::now();
    let mut lost = 0;
    loop {
        let status = match ask().await {
            Ok(answer) => return (Ok(answer), lost),
            Err(status) => status,
        };
        let silent = status.details().is_empty();
        if !silent {
            let refused = refusal(&status);
            match refused.code {
                Code::Unavailable | Code::Aborted => {}
                _ => return (Err(refused.reason), lost),
            }
        }
        lost += u32::from(silent);
        assert!(started.elapsed() < PATIENCE * 2, "no answer that stands: {status:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Buys until it has been told so many times what became of it; gives purchases made, and times nobody answered.
async fn shops(buyer: Buyer, product: String, times: usize) -> (usize, u32) {
    let (mut made, mut lost) = (0, 0);
    for n in 0..times {
        let wish = v1::StartWorkRequest { wait_ms: 2_000, ..buyer.wish() };
        let (held, silent) = insists(|| buyer.ask(&wish)).await;
        lost += silent;
        let held = match held {
            Ok(held) => held,
            Err(reason) if reason == "NO_IDLE_MACHINE" => continue,
            Err(reason) => panic!("{reason}"),
        };
        let mode = if n % 2 == 0 { PaymentMode::Gateway } else { PaymentMode::None };
        let choice = Buyer::choice(&held, &product, mode);
        let (chosen, silent) = insists(|| buyer.choose(&choice)).await;
        lost += silent;
        match chosen {
            Ok(_) => made += 1,
            Err(reason) => assert!(
                matches!(reason.as_str(), "SESSION_EXPIRED" | "INSUFFICIENT_STOCK"),
                "a wrong answer: {reason}"
            ),
        }
    }
    (made, lost)
}

pub(crate) async fn killed_again_and_again_every_unit_and_cent_is_accounted_for(engine: Engine) {
    const CALLERS: usize = 6;
    const TIMES: usize = 8;
    let mut till =
        Till::open(engine, 1, |o| o.set("orchestrator.lease_ms", 3_000).set("orchestrator.rest_ms", 200))
            .await;
    for delay_ms in [0, 5, 40, 200] {
        machine(&till.shop, delay_ms).await;
    }
    let product = till.shop.product("COLA", 40).await;
    till.gateway.behave(|call| match (call.op, call.key.as_bytes().last()) {
        (Op::Authorise, Some(b'0'..=b'2')) => Step::decline(),
        (Op::Authorise, Some(b'3')) => Step::approve().but(Manner::HangUp),
        (Op::Capture, Some(b'4' | b'5')) if call.nth == 0 => Step::approve().but(Manner::HangUp),
        _ => Step::proper(),
    });
    let mut shopping = JoinSet::new();
    for n in 0..CALLERS {
        let (buyer, product) = (Buyer::new(&till.shop, 0, &format!("customer-{n}")), product.clone());
        shopping.spawn(shops(buyer, product, TIMES));
    }
    let mut marks = Marks::default();
    for _ in 0..4 {
        let before = till.gateway.calls().len();
        let mut looks = 0;
        until_true("some payments, or the end", PATIENCE, || {
            looks += 1;
            let enough = till.gateway.calls().len() > before + 5 || looks > 200;
            async move { enough }
        })
        .await;
        till.shop.replicas[0].server.kill();
        marks.rise(&till.shop).await;
        till.shop.replicas[0].restart().await;
    }
    let (mut made, mut lost) = (0, 0);
    for (more, silent) in shopping.join_all().await {
        made += more;
        lost += silent;
    }
    assert!(lost > 0, "nobody was there when it was killed");
    quiet(&till.shop).await;
    // A session whose caller never heard of it ends with its lease: it must not do so between two looks of the checker.
    let rows = till.shop.rows().await;
    until_true("every lease to be over", PATIENCE, || async {
        let held: Vec<(i64,)> = rows.all("SELECT count(*) FROM sessions WHERE state = 1").await;
        held[0].0 == 0
    })
    .await;
    marks.rise(&till.shop).await;
    let checked = check_paid(&till).await;
    assert_eq!(checked.completed + checked.failed, made);
}

/// Waits until no purchase is under way.
pub(crate) async fn quiet(shop: &Shop) {
    let rows = shop.rows().await;
    until_true("every purchase to end", PATIENCE, || async {
        let open: Vec<(i64,)> = rows.all("SELECT count(*) FROM purchases WHERE ended_at_ms = 0").await;
        open[0].0 == 0
    })
    .await;
}
