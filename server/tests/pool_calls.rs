//! The orchestrator over its gRPC service, on both engines: what a caller is promised.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, fields, id, operator, reason, refused};
use server::domain::pool::JobDone;
use support::{Hall, any, choice, machine, machine_of, service};
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
        v1::GetMachineSessionRequest { machine_id: one.machine_id.clone(), ..Default::default() };
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
    let begun = hall.begin().await;
    let alerts = stage.alerts(v1::AlertType::MachineResting).await;
    assert_eq!(alerts[0].resolve_time_ms, 0, "that it may be tried again proves nothing");
    hall.buy(&begun, &cola).await;
    hall.work().await;
    let alerts = stage.alerts(v1::AlertType::MachineResting).await;
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].resolve_time_ms > 0 && alerts[0].resolved_by.is_empty(), "over by itself: {alerts:?}");
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
    let both = v1::GetMachineSessionRequest { machine_id: id(), session_id: id(), ..Default::default() };
    assert_eq!(fields(&refused(hall.orchestrator.get_machine_session(service(both))).await), ["session_id"]);
    let unknown = v1::GetMachineSessionRequest { purchase_id: id(), ..Default::default() };
    let unknown = refused(hall.orchestrator.get_machine_session(service(unknown))).await;
    assert_eq!(reason(&unknown), "PURCHASE_NOT_FOUND");
    let resolve = v1::ResolvePurchaseRequest { request_id: id(), purchase_id: id(), ..Default::default() };
    let bad = refused(hall.orchestrator.resolve_purchase(operator(resolve))).await;
    assert_eq!(fields(&bad), ["resolution", "note"]);
}
