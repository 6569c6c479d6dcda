//! How purchases end when it is not simple: on real machines, in doubt, and with money that can't be settled.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, id, operator, reason, refused};
use server::domain::payment::Trouble;
use server::domain::pool::{Job, JobDone};
use support::{Hall, any, choice, machine, real_machine};
use tonic_types::StatusExt as _;
use vendfleet_proto::v1::{
    self, PoolState, PurchaseState, SessionState, fleet_service_server::FleetService as _,
    orchestrator_service_server::OrchestratorService as _,
};

on_both_engines! {
    a_real_machine_sells_what_its_slot_holds,
    a_doubt_outlives_a_reset_and_is_resolved_once,
    a_real_machine_is_free_once_its_vend_is_told_and_counts_once_the_money_is_taken,
    a_repeated_choice_is_answered_as_at_first_whatever_came_of_it,
    stock_that_purchases_move_is_told,
    money_that_cant_be_settled_is_set_aside_and_redriven,
}

fn metadata(status: &tonic::Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

async fn a_real_machine_sells_what_its_slot_holds(stage: Stage) {
    let hall = Hall::new(&stage);
    let (cola, other) = (stage.product("COLA", 50).await, stage.product("OTHER", 50).await);
    let (machine, device) = real_machine(&stage, &cola, 1).await;
    let wanted = || v1::StartWorkRequest {
        product_id: cola.product_id.clone(),
        kind: v1::MachineKind::Real.into(),
        ..any()
    };
    let begun = hall.start(wanted()).await.unwrap();
    assert_eq!(begun.session.clone().unwrap().machine_id, machine.machine_id);
    let missing = hall.choose(choice(&begun, &other)).await.unwrap_err();
    assert_eq!(reason(&missing), "PRODUCT_NOT_IN_MACHINE");
    let chosen = hall.buy(&begun, &cola).await.purchase.unwrap();
    assert_eq!((chosen.slot, chosen.command_number, chosen.price.unwrap().minor_units), (3, 1, 200));
    assert_eq!(hall.stock(&cola).await, 50, "a slot is not central stock");
    let inventory = v1::GetMachineInventoryRequest { machine_id: machine.machine_id.clone() };
    let slots = stage.fleet.get_machine_inventory(operator(inventory)).await.unwrap().into_inner().slots;
    assert_eq!(slots[0].reserved, 1);
    // Nobody fetched it in time: it never reaches the machine.
    hall.make_due().await;
    let job = hall.claim().await.pop().unwrap();
    hall.report(&job, JobDone::Elapsed).await;
    let over = hall.session(&begun.session.unwrap().session_id).await;
    assert_eq!(over.purchase.unwrap().failure(), v1::PurchaseFailure::Expired);
    let again = hall.start(wanted()).await.unwrap();
    hall.disconnect(device.machine).await;
    let gone = hall.choose(choice(&again, &cola)).await.unwrap_err();
    assert_eq!(reason(&gone), "MACHINE_UNREACHABLE");
}

async fn a_doubt_outlives_a_reset_and_is_resolved_once(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 50).await;
    let (machine, mut device) = real_machine(&stage, &cola, 5).await;
    let begun = hall.begin().await;
    let purchase = hall.buy(&begun, &cola).await.purchase.unwrap();
    assert_eq!(device.sync(&stage).await.commands.len(), 1);
    let session = hall.session(&begun.session.unwrap().session_id).await;
    assert_eq!(session.purchase.clone().unwrap().state(), PurchaseState::InDoubt);
    assert_eq!(session.machine_state(), PoolState::InDoubt);
    let reset = hall.reset(&session).await.unwrap();
    assert_eq!((reset.units_returned, reset.session.unwrap().state()), (0, SessionState::Reset));
    assert_eq!(reset.machine.unwrap().pool.unwrap().state(), PoolState::InDoubt);
    assert_eq!(reason(&hall.start(any()).await.unwrap_err()), "NO_IDLE_MACHINE");
    let request = v1::ResolvePurchaseRequest {
        request_id: id(),
        purchase_id: purchase.purchase_id.clone(),
        resolution: v1::PurchaseResolution::NotDispensed.into(),
        note: "the spiral was empty".to_owned(),
    };
    let resolve = |request: v1::ResolvePurchaseRequest| hall.orchestrator.resolve_purchase(operator(request));
    let done = resolve(request.clone()).await.unwrap().into_inner().purchase.unwrap();
    assert_eq!((done.state(), done.failure()), (PurchaseState::Failed, v1::PurchaseFailure::Resolved));
    assert_eq!(done.failure_detail, "the spiral was empty");
    let again = resolve(request.clone()).await.unwrap().into_inner().purchase.unwrap();
    assert_eq!(again, done);
    let settled = refused(resolve(v1::ResolvePurchaseRequest { request_id: id(), ..request })).await;
    assert_eq!(
        (reason(&settled).as_str(), metadata(&settled, "state").as_str()),
        ("PURCHASE_NOT_IN_DOUBT", "FAILED")
    );
    let unknown = v1::ResolvePurchaseRequest {
        request_id: id(),
        purchase_id: id(),
        resolution: v1::PurchaseResolution::Dispensed.into(),
        note: "x".to_owned(),
    };
    assert_eq!(reason(&refused(resolve(unknown)).await), "PURCHASE_NOT_FOUND");
    let freed = stage.get_machine(&machine.machine_id).await.pool.unwrap();
    assert_eq!((freed.state(), freed.failures_in_a_row), (PoolState::Idle, 0));
    hall.begin().await;
}

fn paid(begun: &v1::StartWorkResponse, product: &v1::Product) -> v1::ChooseProductRequest {
    v1::ChooseProductRequest { payment: v1::PaymentMode::Gateway.into(), ..choice(begun, product) }
}

fn next(jobs: Vec<Job>) -> Job {
    jobs.into_iter().next().expect("a job is due")
}

async fn a_real_machine_is_free_once_its_vend_is_told_and_counts_once_the_money_is_taken(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 50).await;
    let (machine, mut device) = real_machine(&stage, &cola, 5).await;
    let begun = hall.begin().await;
    let purchase = hall.choose(paid(&begun, &cola)).await.unwrap().purchase.unwrap();
    hall.report(&next(hall.claim().await), JobDone::Authorised("pay-1".to_owned())).await;
    assert_eq!(device.sync(&stage).await.commands.len(), 1);
    assert_eq!(hall.session(&purchase.session_id).await.machine_state(), PoolState::InDoubt);
    device.vend_for(&purchase);
    device.sync(&stage).await;
    let job = next(hall.claim().await);
    let said = job.said.clone().expect("the machine has told");
    hall.report(&job, JobDone::Said(said)).await;

    let now = hall.session(&purchase.session_id).await;
    assert_eq!(now.purchase.clone().unwrap().state(), PurchaseState::Capturing);
    assert_eq!((now.state(), now.machine_state()), (SessionState::Completed, PoolState::Idle));
    assert_eq!(now.usage_count, 0, "it counts once it is complete");
    assert_eq!(reason(&hall.reset(&now).await.unwrap_err()), "MACHINE_ALREADY_IDLE");
    let other = hall.begin().await.session.unwrap();
    assert_eq!(other.machine_id, machine.machine_id, "the next customer is served");
    hall.report(&next(hall.claim().await), JobDone::Captured(String::new())).await;
    let done = hall.session(&purchase.session_id).await;
    assert_eq!((done.purchase.unwrap().state(), done.usage_count), (PurchaseState::Completed, 1));
    assert_eq!(hall.session(&other.session_id).await.state(), SessionState::ChooseProduct);
}

async fn a_repeated_choice_is_answered_as_at_first_whatever_came_of_it(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 50).await;
    let (_, mut device) = real_machine(&stage, &cola, 5).await;
    let begun = hall.begin().await;
    let request = paid(&begun, &cola);
    let first = hall.choose(request.clone()).await.unwrap().purchase;
    stage.clock.advance(std::time::Duration::from_secs(1));
    hall.report(&next(hall.claim().await), JobDone::Authorised("pay-1".to_owned())).await;
    let again = hall.choose(request.clone()).await.unwrap();
    assert_eq!(again.purchase, first);
    let now = again.session.unwrap().purchase.unwrap();
    assert!(now.reservation_end_time_ms > 0 && now.command_number == 1, "as it is now: {now:?}");
    device.sync(&stage).await;
    device.vend_for(&now);
    device.sync(&stage).await;
    let job = next(hall.claim().await);
    hall.report(&job, JobDone::Said(job.said.clone().unwrap())).await;
    assert_eq!(hall.choose(request).await.unwrap().purchase, first);
}

async fn stock_that_purchases_move_is_told(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    machine(&stage, "one").await;
    let begun = hall.begin().await;
    let purchase = hall.buy(&begun, &cola).await.purchase.unwrap();
    hall.reset(&begun.session.unwrap()).await.unwrap();
    let told: Vec<_> = hall.stock_causes(&cola).await;
    let (taken, back) = (told[told.len() - 2].clone(), told[told.len() - 1].clone());
    assert_eq!(taken, (v1::StockChangeCause::PurchaseCreated, purchase.purchase_id.clone(), -1, 4));
    assert_eq!(back, (v1::StockChangeCause::PurchaseFailed, purchase.purchase_id, 1, 5));
}

async fn money_that_cant_be_settled_is_set_aside_and_redriven(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    machine(&stage, "one").await;
    let begun = hall.begin().await;
    let purchase = hall.choose(paid(&begun, &cola)).await.unwrap().purchase.unwrap();
    hall.report(&next(hall.claim().await), JobDone::Authorised("pay-1".to_owned())).await;
    hall.make_due().await;
    hall.report(&next(hall.claim().await), JobDone::Elapsed).await;
    let unknown = JobDone::Unknown {
        trouble: Trouble::Timeout,
        detail: "no answer".to_owned(),
        again_in_ms: 3_600_000,
    };
    hall.report(&next(hall.claim().await), unknown).await;
    assert!(hall.claim().await.is_empty());
    // The machine and its customer don't wait for the money.
    let session = hall.session(&begun.session.unwrap().session_id).await;
    assert_eq!((session.state(), session.machine_state()), (SessionState::Completed, PoolState::Idle));
    let list = || {
        let request =
            v1::ListDeadLettersRequest { kind: v1::DeadLetterKind::Payment.into(), ..Default::default() };
        stage.fleet.list_dead_letters(operator(request))
    };
    let letter = list().await.unwrap().into_inner().dead_letters.remove(0);
    assert_eq!(letter.subject, Some(v1::dead_letter::Subject::PurchaseId(purchase.purchase_id.clone())));
    assert_eq!((letter.reason.as_str(), letter.state()), ("GATEWAY_TIMEOUT", v1::DeadLetterState::Open));
    let redrive = |request_id: String| {
        let dead_letter_id = letter.dead_letter_id.clone();
        stage.fleet.redrive_dead_letter(operator(v1::RedriveDeadLetterRequest { request_id, dead_letter_id }))
    };
    let redriven = redrive(id()).await.unwrap().into_inner().dead_letter.unwrap();
    assert_eq!((redriven.state(), redriven.redrives), (v1::DeadLetterState::Redriving, 1));
    hall.report(&next(hall.claim().await), JobDone::Captured("pay-1".to_owned())).await;
    let done = hall.session(&session.session_id).await;
    assert_eq!((done.purchase.unwrap().state(), done.usage_count), (PurchaseState::Completed, 1));
    assert_eq!(list().await.unwrap().into_inner().dead_letters[0].state(), v1::DeadLetterState::Done);
    assert_eq!(reason(&refused(redrive(id())).await), "DEAD_LETTER_NOT_OPEN");
}
