//! The orchestrator over its gRPC service, on both engines: what a caller is promised.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, fields, id, operator, reason, refused};
use server::domain::payment::Trouble;
use server::domain::pool::{Job, JobDone};
use support::{Hall, any, choice, machine, machine_of, real_machine, service};
use tonic_types::StatusExt as _;
use vendfleet_proto::v1::{
    self, PoolState, PurchaseState, SessionState, fleet_service_server::FleetService as _,
    orchestrator_service_server::OrchestratorService as _,
};

on_both_engines! {
    a_purchase_goes_from_idle_to_idle_and_counts_once,
    the_least_used_machine_is_taken,
    filters_must_all_hold,
    nothing_idle_says_why_and_when_to_ask_again,
    a_repeated_start_gives_the_same_session_and_renews_nothing,
    a_refused_request_id_is_free_again,
    a_repeated_choice_buys_once,
    every_refusal_of_a_choice_changes_nothing,
    a_lease_that_is_over_frees_the_machine,
    three_failures_in_a_row_rest_a_machine,
    a_machine_in_a_session_is_not_archived,
    machines_are_listed_by_where_they_stand,
    a_real_machine_sells_what_its_slot_holds,
    a_doubt_outlives_a_reset_and_is_resolved_once,
    stock_that_purchases_move_is_told,
    money_that_cant_be_settled_is_set_aside_and_redriven,
    bad_fields_are_named,
}

fn metadata(status: &tonic::Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

async fn a_purchase_goes_from_idle_to_idle_and_counts_once(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    let machine = machine(&stage, "one").await;
    let begun = hall.start(v1::StartWorkRequest { customer_id: "anna".to_owned(), ..any() }).await.unwrap();
    let session = begun.session.clone().unwrap();
    assert_eq!(
        (session.state(), session.machine_state()),
        (SessionState::ChooseProduct, PoolState::ChooseProduct)
    );
    assert_eq!((session.customer_id.as_str(), session.machine_id), ("anna", machine.machine_id.clone()));
    assert!(session.lease_end_time_ms > 0 && !begun.already_existed && !begun.session_token.is_empty());
    let shown = stage.get_machine(&machine.machine_id).await.pool.unwrap();
    assert_eq!((shown.session_id.as_str(), shown.usage_count), (session.session_id.as_str(), 0));

    let chosen = hall.buy(&begun, &cola).await;
    let purchase = chosen.purchase.clone().unwrap();
    assert_eq!(purchase.state(), PurchaseState::Dispensing);
    assert_eq!(purchase.price.clone().unwrap().minor_units, 150);
    assert_eq!(purchase.payment_status(), v1::PaymentStatus::NotRequired);
    assert_eq!(chosen.session.unwrap().state(), SessionState::Processing);
    assert_eq!(hall.stock(&cola).await, 4);

    hall.work().await;
    hall.work().await;
    let over = hall.session(&session.session_id).await;
    assert_eq!((over.state(), over.machine_state()), (SessionState::Completed, PoolState::Idle));
    assert_eq!((over.usage_count, over.purchase.unwrap().state()), (1, PurchaseState::Completed));
    let shown = stage.get_machine(&machine.machine_id).await.pool.unwrap();
    assert_eq!((shown.state(), shown.usage_count, shown.session_id.as_str()), (PoolState::Idle, 1, ""));
    assert_eq!(hall.stock(&cola).await, 4);
}

async fn the_least_used_machine_is_taken(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 100).await;
    let mut used = std::collections::BTreeMap::new();
    for n in 0..4 {
        used.insert(machine(&stage, &format!("m{n}")).await.machine_id, 0);
    }
    for _ in 0..18 {
        let begun = hall.begin().await;
        hall.buy(&begun, &cola).await;
        hall.work().await;
        *used.get_mut(&begun.session.unwrap().machine_id).unwrap() += 1;
        let (least, most) = (used.values().min().unwrap(), used.values().max().unwrap());
        assert!(most - least <= 1, "{used:?}");
    }
}

async fn filters_must_all_hold(stage: Stage) {
    let hall = Hall::new(&stage);
    let (cola, none) = (stage.product("COLA", 1).await, stage.product("NONE", 0).await);
    machine_of(&stage, "other", "south", &["cold"]).await;
    let meant = machine_of(&stage, "meant", "north", &["cold", "indoors"]).await;
    let wanted = || v1::StartWorkRequest {
        group: "north".to_owned(),
        tags: vec!["indoors".to_owned(), "cold".to_owned()],
        product_id: cola.product_id.clone(),
        kind: v1::MachineKind::Virtual.into(),
        ..any()
    };
    let begun = hall.start(wanted()).await.unwrap();
    assert_eq!(begun.session.unwrap().machine_id, meant.machine_id);
    for (request, expected) in [
        (wanted(), "NO_IDLE_MACHINE"),
        (v1::StartWorkRequest { tags: vec!["warm".to_owned()], ..any() }, "NO_IDLE_MACHINE"),
        (v1::StartWorkRequest { kind: v1::MachineKind::Real.into(), ..any() }, "NO_IDLE_MACHINE"),
        (v1::StartWorkRequest { product_id: none.product_id.clone(), ..any() }, "NO_IDLE_MACHINE"),
        (v1::StartWorkRequest { product_id: id(), ..any() }, "PRODUCT_NOT_FOUND"),
    ] {
        assert_eq!(reason(&hall.start(request).await.unwrap_err()), expected);
    }
}

async fn nothing_idle_says_why_and_when_to_ask_again(stage: Stage) {
    let hall = Hall::new(&stage);
    let none = hall.start(any()).await.unwrap_err();
    assert_eq!((reason(&none).as_str(), metadata(&none, "cause").as_str()), ("NO_IDLE_MACHINE", "NONE_FITS"));
    machine(&stage, "one").await;
    hall.begin().await;
    let busy = hall.start(any()).await.unwrap_err();
    assert_eq!(
        (metadata(&busy, "cause"), metadata(&busy, "fitting")),
        ("ALL_BUSY".to_owned(), "1".to_owned())
    );
    assert!(busy.get_details_retry_info().is_some());
}

async fn a_repeated_start_gives_the_same_session_and_renews_nothing(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    machine(&stage, "one").await;
    machine(&stage, "two").await;
    let request = any();
    let first = hall.start(request.clone()).await.unwrap();
    stage.clock.advance(std::time::Duration::from_secs(1));
    let again = hall.start(v1::StartWorkRequest { wait_ms: 5, ..request.clone() }).await.unwrap();
    assert!(again.already_existed);
    assert_eq!(
        (again.session.clone(), again.session_token.clone()),
        (first.session.clone(), first.session_token.clone())
    );
    hall.buy(&again, &cola).await;
    let later = hall.start(request.clone()).await.unwrap();
    assert_eq!(later.session.unwrap().state(), SessionState::Processing, "as it is now");
    let other = hall.start(v1::StartWorkRequest { group: "north".to_owned(), ..request }).await.unwrap_err();
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(metadata(&other, "resource_id"), first.session.unwrap().session_id);
}

async fn a_refused_request_id_is_free_again(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 1).await;
    let gone = stage.product("GONE", 0).await;
    let request = any();
    assert_eq!(reason(&hall.start(request.clone()).await.unwrap_err()), "NO_IDLE_MACHINE");
    machine(&stage, "one").await;
    let begun = hall.start(v1::StartWorkRequest { tags: Vec::new(), ..request }).await.unwrap();
    assert!(!begun.already_existed);
    let wanted = choice(&begun, &gone);
    assert_eq!(reason(&hall.choose(wanted.clone()).await.unwrap_err()), "INSUFFICIENT_STOCK");
    let instead = v1::ChooseProductRequest { product_id: cola.product_id.clone(), ..wanted };
    assert!(!hall.choose(instead).await.unwrap().already_existed);
}

async fn a_repeated_choice_buys_once(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    machine(&stage, "one").await;
    let begun = hall.begin().await;
    let request = choice(&begun, &cola);
    let first = hall.choose(request.clone()).await.unwrap();
    hall.work().await;
    let again = hall.choose(request.clone()).await.unwrap();
    assert!(again.already_existed && !first.already_existed);
    assert_eq!(again.purchase, first.purchase, "the first answer");
    let now = again.session.unwrap();
    assert_eq!(
        (now.state(), now.purchase.unwrap().state()),
        (SessionState::Completed, PurchaseState::Completed)
    );
    assert_eq!(hall.stock(&cola).await, 4);
    let other = v1::ChooseProductRequest { payment: v1::PaymentMode::Gateway.into(), ..request };
    assert_eq!(reason(&hall.choose(other).await.unwrap_err()), "IDEMPOTENCY_KEY_REUSED");
}

async fn every_refusal_of_a_choice_changes_nothing(stage: Stage) {
    let hall = Hall::new(&stage);
    let (cola, gone) = (stage.product("COLA", 5).await, stage.product("GONE", 0).await);
    for name in ["a", "b", "c", "d"] {
        machine(&stage, name).await;
    }
    let [of_expired, of_processing, of_over, fresh] =
        [hall.begin().await, hall.begin().await, hall.begin().await, hall.begin().await];
    let on = |begun: &v1::StartWorkResponse| begun.session.clone().unwrap().machine_id;
    hall.buy(&of_over, &cola).await;
    hall.work().await;
    hall.buy(&of_processing, &cola).await;
    hall.pass_time(&on(&of_expired)).await;
    let price = |code: &str, minor_units| Some(v1::Money { currency_code: code.to_owned(), minor_units });
    let with = |base: &v1::StartWorkResponse| choice(base, &cola);
    let before = hall.rows().await;
    for (request, expected) in [
        (v1::ChooseProductRequest { session_id: id(), ..with(&fresh) }, "SESSION_NOT_FOUND"),
        (
            v1::ChooseProductRequest { session_token: of_over.session_token.clone(), ..with(&fresh) },
            "SESSION_TOKEN_MISMATCH",
        ),
        (with(&of_expired), "SESSION_EXPIRED"),
        (with(&of_over), "SESSION_ENDED"),
        (with(&of_processing), "MACHINE_NOT_IN_STATE"),
        (v1::ChooseProductRequest { product_id: id(), ..with(&fresh) }, "PRODUCT_NOT_FOUND"),
        (choice(&fresh, &gone), "INSUFFICIENT_STOCK"),
        (v1::ChooseProductRequest { expected_price: price("EUR", 149), ..with(&fresh) }, "PRICE_CHANGED"),
        (v1::ChooseProductRequest { expected_price: price("USD", 150), ..with(&fresh) }, "CURRENCY_MISMATCH"),
    ] {
        assert_eq!(reason(&hall.choose(request).await.unwrap_err()), expected);
        assert_eq!(hall.rows().await, before, "{expected}");
    }
    let fits = v1::ChooseProductRequest { expected_price: price("EUR", 150), ..with(&fresh) };
    hall.choose(fits).await.unwrap();
}

async fn a_lease_that_is_over_frees_the_machine(stage: Stage) {
    let hall = Hall::new(&stage);
    let one = machine(&stage, "one").await;
    let begun = hall.begin().await;
    let session = begun.session.unwrap();
    hall.pass_time(&one.machine_id).await;
    let shown = hall.session(&session.session_id).await;
    assert_eq!((shown.state(), shown.machine_state()), (SessionState::Expired, PoolState::Idle));
    assert_eq!(shown.lease_end_time_ms, 0);
    let of_machine =
        v1::GetMachineSessionRequest { machine_id: one.machine_id.clone(), session_id: String::new() };
    let none = refused(hall.orchestrator.get_machine_session(service(of_machine))).await;
    assert_eq!(reason(&none), "SESSION_NOT_FOUND");
    assert_eq!(hall.deps.pool.over(10).await.unwrap().len(), 1);
    let next = hall.begin().await.session.unwrap();
    assert_eq!(next.machine_id, one.machine_id);
    assert_ne!(next.session_id, session.session_id);
    assert_eq!(hall.session(&session.session_id).await.state(), SessionState::Expired);
}

async fn three_failures_in_a_row_rest_a_machine(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    let one = machine(&stage, "one").await;
    for _ in 0..3 {
        let begun = hall.begin().await;
        let paid =
            v1::ChooseProductRequest { payment: v1::PaymentMode::Gateway.into(), ..choice(&begun, &cola) };
        hall.choose(paid).await.unwrap();
        let job = hall.claim().await.pop().unwrap();
        hall.report(&job, JobDone::Declined("no funds".to_owned())).await;
    }
    assert_eq!(hall.stock(&cola).await, 5);
    let pool = stage.get_machine(&one.machine_id).await.pool.unwrap();
    assert_eq!((pool.state(), pool.failures_in_a_row), (PoolState::Resting, 3));
    assert_eq!(reason(&hall.start(any()).await.unwrap_err()), "NO_IDLE_MACHINE");
    let alerts = stage.alerts(v1::AlertType::MachineResting).await;
    assert_eq!((alerts.len(), alerts[0].machine_id.clone()), (1, one.machine_id.clone()));
    hall.pass_time(&one.machine_id).await;
    hall.begin().await;
}

async fn a_machine_in_a_session_is_not_archived(stage: Stage) {
    let hall = Hall::new(&stage);
    let one = machine(&stage, "one").await;
    let session = hall.begin().await.session.unwrap();
    let archive = || operator(v1::ArchiveMachineRequest { machine_id: one.machine_id.clone() });
    let held = refused(stage.fleet.archive_machine(archive())).await;
    assert_eq!(
        (reason(&held).as_str(), metadata(&held, "session_id")),
        ("MACHINE_IN_USE", session.session_id)
    );
    hall.pass_time(&one.machine_id).await;
    let gone = stage.fleet.archive_machine(archive()).await.unwrap().into_inner().machine.unwrap();
    assert_eq!(gone.pool.unwrap().state(), PoolState::Absent);
    assert_eq!(reason(&hall.start(any()).await.unwrap_err()), "NO_IDLE_MACHINE");
}

async fn machines_are_listed_by_where_they_stand(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    let mut idle: Vec<String> = Vec::new();
    for name in ["a", "b", "c"] {
        idle.push(machine(&stage, name).await.machine_id);
    }
    let absent = stage.machine("real").await.machine_id;
    let (first, second) = (hall.begin().await, hall.begin().await);
    hall.buy(&second, &cola).await;
    let on = |begun: v1::StartWorkResponse| begun.session.unwrap().machine_id;
    let (choosing, processing) = (on(first), on(second));
    idle.retain(|id| ![&choosing, &processing].contains(&id));
    for (state, expected) in [
        (PoolState::ChooseProduct, &choosing),
        (PoolState::Processing, &processing),
        (PoolState::Idle, &idle[0]),
        (PoolState::Absent, &absent),
    ] {
        let list = v1::ListMachinesRequest { pool_state: state.into(), ..Default::default() };
        let found = stage.fleet.list_machines(operator(list)).await.unwrap().into_inner().machines;
        let ids: Vec<_> = found.iter().map(|machine| machine.machine_id.as_str()).collect();
        assert_eq!(ids, [expected.as_str()], "{state:?}");
        assert_eq!(found[0].pool.as_ref().unwrap().state(), state);
    }
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

async fn bad_fields_are_named(stage: Stage) {
    let hall = Hall::new(&stage);
    let start = v1::StartWorkRequest {
        request_id: "x".to_owned(),
        wait_ms: 60_001,
        group: "No".to_owned(),
        tags: vec!["a".to_owned(), "a".to_owned()],
        product_id: "p".to_owned(),
        kind: 9,
        ..Default::default()
    };
    let bad = refused(hall.orchestrator.start_work(service(start))).await;
    let mut named = fields(&bad);
    named.sort_unstable();
    assert_eq!(named, ["group", "kind", "product_id", "request_id", "tags", "wait_ms"]);
    let choose = v1::ChooseProductRequest { request_id: id(), ..Default::default() };
    let bad = refused(hall.orchestrator.choose_product(service(choose))).await;
    assert_eq!(fields(&bad), ["session_id", "session_token", "product_id", "payment"]);
    let both = v1::GetMachineSessionRequest { machine_id: id(), session_id: id() };
    assert_eq!(fields(&refused(hall.orchestrator.get_machine_session(service(both))).await), ["session_id"]);
    let resolve = v1::ResolvePurchaseRequest { request_id: id(), purchase_id: id(), ..Default::default() };
    let bad = refused(hall.orchestrator.resolve_purchase(operator(resolve))).await;
    assert_eq!(fields(&bad), ["resolution", "note"]);
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
    let paid = v1::ChooseProductRequest { payment: v1::PaymentMode::Gateway.into(), ..choice(&begun, &cola) };
    let purchase = hall.choose(paid).await.unwrap().purchase.unwrap();
    let next = |jobs: Vec<Job>| jobs.into_iter().next().expect("a job is due");
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
