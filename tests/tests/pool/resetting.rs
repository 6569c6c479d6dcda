//! Resets: from any state, and against the job.

use tokio::task::JoinSet;
use tonic::{Request, metadata::MetadataValue};
use vendfleet_proto::v1::{
    self, PaymentMode, PoolState, PurchaseFailure, PurchaseState, SessionState,
    orchestrator_service_client::OrchestratorServiceClient,
};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Manner, Op, Step},
    orders::{Shop, checker::events_since_the_oldest, till::Till},
    pool::{
        Buyer,
        checker::{check, check_paid},
        machine, reset, reset_request, standing,
    },
    refusal::refusal,
    wait::{PATIENCE, until},
};

use crate::killed::quiet;

/// Far longer than a test.
const LONG_MS: u32 = 600_000;

async fn reset_now(till: &Till, session_id: &str) -> v1::ResetMachineResponse {
    let session = Buyer::new(&till.shop, 0, "ann").session(session_id).await.unwrap();
    let request = reset_request(&session);
    let done = reset(&till.shop, 0, &request).await.unwrap();
    let after = done.session.as_ref().unwrap();
    assert_eq!((after.state(), after.end_time_ms != 0), (SessionState::Reset, true), "{done:?}");
    assert_eq!(done.machine.as_ref().unwrap().pool.as_ref().unwrap().state(), PoolState::Idle);
    // The same call again: the first answer. Another call: it is idle.
    assert_eq!(reset(&till.shop, 0, &request).await.unwrap().units_returned, done.units_returned);
    let other = reset(&till.shop, 0, &reset_request(&session)).await.unwrap_err();
    assert_eq!(refusal(&other).reason, "MACHINE_ALREADY_IDLE");
    done
}

pub(crate) async fn a_reset_ends_each_state(engine: Engine) {
    let till = Till::open(engine, 1, |o| o).await;
    let id = machine(&till.shop, LONG_MS).await;
    let product = till.shop.product("COLA", 20).await;
    let ann = Buyer::new(&till.shop, 0, "ann");

    // choose_product.
    let held = ann.start().await;
    assert_eq!(reset_now(&till, &held.session.session_id).await.units_returned, 0);
    let late = ann.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await.unwrap_err();
    assert_eq!(refusal(&late).reason, "SESSION_ENDED");

    // processing: the money is being asked for.
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::Silence)]);
    let bought = ann.buy(&product, PaymentMode::Gateway).await;
    assert_eq!(reset_now(&till, &bought.session_id).await.units_returned, 1);
    let over = ann.over(&bought.session_id).await.purchase.unwrap();
    assert_eq!(over.failure(), PurchaseFailure::Reset);
    assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 0);

    // processing: the product is on its way, without money and with money held.
    for mode in [PaymentMode::None, PaymentMode::Gateway] {
        let bought = ann.buy(&product, mode).await;
        ann.until(&bought.session_id, "the job to run", |now| {
            now.purchase.as_ref().unwrap().state() == PurchaseState::Dispensing
        })
        .await;
        assert_eq!(reset_now(&till, &bought.session_id).await.units_returned, 1);
        assert_eq!(ann.over(&bought.session_id).await.purchase.unwrap().failure(), PurchaseFailure::Reset);
        assert_eq!(till.gateway.ledger().net(&bought.purchase_id), 0);
    }
    assert_eq!(till.shop.stock(&product).await, 20);
    assert_eq!(standing(&till.shop, &id).await.usage_count, 0);

    // A retry of an old reset can't end the next session.
    let next = ann.start().await;
    let old = reset(&till.shop, 0, &reset_request(&held.session)).await.unwrap_err();
    assert_eq!(refusal(&old).reason, "SESSION_ENDED");
    assert_eq!(ann.session(&next.session.session_id).await.unwrap().state(), SessionState::ChooseProduct);
    assert_eq!(check_paid(&till).await.failed, 3);
}

pub(crate) async fn while_money_is_settled_there_is_no_session_to_reset_and_it_is_settled_all_the_same(
    engine: Engine,
) {
    let till = Till::open(engine, 1, |o| o).await;
    let id = machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 20).await;
    let ann = Buyer::new(&till.shop, 0, "ann");
    let in_state = async |bought: &v1::Purchase, state| {
        let what = "the gateway to be asked";
        ann.until(&bought.session_id, what, |now| now.purchase.as_ref().unwrap().state() == state).await;
    };

    // The product is out, and the machine is free while the money is taken.
    till.gateway.script(Op::Capture, [Step::approve().but(Manner::Silence)]);
    let taken = ann.buy(&product, PaymentMode::Gateway).await;
    in_state(&taken, PurchaseState::Capturing).await;
    let session = ann.session(&taken.session_id).await.unwrap();
    let late = reset(&till.shop, 0, &reset_request(&session)).await.unwrap_err();
    assert_eq!(refusal(&late).reason, "MACHINE_ALREADY_IDLE");
    let over = ann.over(&taken.session_id).await;
    assert_eq!(over.state(), SessionState::Completed);
    assert_eq!(over.purchase.unwrap().state(), PurchaseState::Completed);
    assert_eq!(till.gateway.ledger().net(&taken.purchase_id), 250);
    assert_eq!(standing(&till.shop, &id).await.usage_count, 1);

    // Nothing came out, and the machine is free while the money is let go.
    till.gateway.script(Op::Authorise, [Step::approve().but(Manner::HangUp)]);
    till.gateway.script(Op::Void, [Step::proper().but(Manner::Silence)]);
    let lost = ann.buy(&product, PaymentMode::Gateway).await;
    in_state(&lost, PurchaseState::Voiding).await;
    let session = ann.session(&lost.session_id).await.unwrap();
    let late = reset(&till.shop, 0, &reset_request(&session)).await.unwrap_err();
    assert_eq!(refusal(&late).reason, "MACHINE_ALREADY_IDLE");
    let over = ann.over(&lost.session_id).await;
    assert_eq!(over.purchase.unwrap().failure(), PurchaseFailure::PaymentUnknown);
    assert_eq!(till.shop.stock(&product).await, 19);
    let checked = check_paid(&till).await;
    assert_eq!((checked.completed, checked.failed), (1, 1));
}

pub(crate) async fn a_late_job_of_a_reset_session_neither_completes_nor_counts(engine: Engine) {
    let shop = Shop::start(engine, 1, |o| o.set("worker.poll_ms", 20)).await;
    let id = machine(&shop, 700).await;
    let product = shop.product("COLA", 5).await;
    let ann = Buyer::new(&shop, 0, "ann");
    let first = ann.buy(&product, PaymentMode::None).await;
    let session = ann.session(&first.session_id).await.unwrap();
    assert_eq!(reset(&shop, 0, &reset_request(&session)).await.unwrap().units_returned, 1);
    // This one ends after the other's job would have.
    let second = ann.buy(&product, PaymentMode::None).await;
    assert_eq!(ann.over(&second.session_id).await.state(), SessionState::Completed);
    let over = ann.session(&first.session_id).await.unwrap();
    assert_eq!(over.state(), SessionState::Reset);
    assert_eq!(over.purchase.unwrap().state(), PurchaseState::Failed);
    assert_eq!(standing(&shop, &id).await.usage_count, 1);
    let checked = check(&shop).await;
    assert_eq!((checked.completed, checked.failed), (1, 1));
}

async fn reset_traced(shop: &Shop, message: v1::ResetMachineRequest, trace_id: &'static str) {
    let mut client = OrchestratorServiceClient::new(shop.operator_channel(0));
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-trace-id", MetadataValue::from_static(trace_id));
    client.reset_machine(request).await.unwrap();
}

pub(crate) async fn an_operators_words_are_kept_and_what_follows_carries_the_trace(engine: Engine) {
    let shop = Shop::start(engine, 1, |o| o).await;
    machine(&shop, LONG_MS).await;
    let product = shop.product("COLA", 5).await;
    let ann = Buyer::new(&shop, 0, "ann");

    // Nothing was chosen, so nothing but the log can tell why.
    let held = ann.start().await.session;
    let note = "the door was forced".to_owned();
    let request = v1::ResetMachineRequest { note, ..reset_request(&held) };
    reset_traced(&shop, request, "trace-of-the-door").await;
    let line = until("the log to tell of it", PATIENCE, || async {
        let log = shop.replicas[0].server.log();
        log.lines().find(|line| line.contains("the door was forced")).map(str::to_owned)
    })
    .await;
    for said in ["trace-of-the-door", &held.session_id, &held.machine_id, "operator"] {
        assert!(line.contains(said), "{said}: {line}");
    }

    let bought = ann.buy(&product, PaymentMode::None).await;
    let session = ann.session(&bought.session_id).await.unwrap();
    reset_traced(&shop, reset_request(&session), "trace-of-the-unit").await;
    let events = events_since_the_oldest(&shop, 0).await;
    let followed: Vec<_> = events.iter().filter(|event| event.trace_id == "trace-of-the-unit").collect();
    assert_eq!(followed.len(), 1, "the unit that came back: {followed:?}");
    assert!(matches!(followed[0].data, Some(v1::event::Data::Inventory(_))));
    assert!(!followed[0].traceparent.is_empty());
}

pub(crate) async fn resets_race_jobs_and_the_books_add_up(engine: Engine) {
    const ROUNDS: usize = 10;
    let till = Till::open(engine, 1, |o| o.set("orchestrator.rest_ms", 0)).await;
    let delays = [0, 3, 10, 30];
    for delay_ms in delays {
        machine(&till.shop, delay_ms).await;
    }
    let product = till.shop.product("COLA", 1_000).await;
    let mut resets = 0;
    for round in 0..ROUNDS {
        let mut racing = JoinSet::new();
        for n in 0..delays.len() {
            let mode = if (round + n) % 2 == 0 { PaymentMode::Gateway } else { PaymentMode::None };
            let buyer = Buyer::new(&till.shop, 0, &format!("customer-{n}"));
            let bought = buyer.buy(&product, mode).await;
            let session = buyer.session(&bought.session_id).await.unwrap();
            let mut operator = OrchestratorServiceClient::new(till.shop.operator_channel(0));
            racing.spawn(async move {
                match operator.reset_machine(reset_request(&session)).await {
                    Ok(_) => 1,
                    Err(status) => {
                        let reason = refusal(&status).reason;
                        assert!(
                            matches!(reason.as_str(), "MACHINE_ALREADY_IDLE" | "SESSION_ENDED"),
                            "{reason}"
                        );
                        0
                    }
                }
            });
        }
        resets += racing.join_all().await.iter().sum::<usize>();
        quiet(&till.shop).await;
    }
    let checked = check_paid(&till).await;
    assert_eq!(checked.completed + checked.failed, ROUNDS * delays.len());
    assert!(checked.failed <= resets, "{checked:?}, {resets} resets");
}
