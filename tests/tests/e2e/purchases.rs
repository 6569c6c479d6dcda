//! Remote purchases on real machines: dispensed once or given back, whatever is lost, restarted, reset or sold meanwhile.

use super::desk::{Desk, alerted, all_is_free, present, vended};
use fleet_client::{device::CutPoint, transport::Standing};
use vend_core::machine::{Input, SlotUnits};
use vendfleet_proto::v1::{
    AlertType, PaymentMode, PaymentStatus, PoolState, PurchaseFailure, PurchaseResolution, PurchaseState,
    SessionState,
};
use vendfleet_tests::{
    checker::check,
    device::{Device, SLOT},
    fleet::{Engine, Fleet},
    gateway::{Manner, Op, Step},
    orders::till::Counter,
    refusal::refusal,
    server::{ServerOptions, TestServer},
    wait::{PATIENCE, until_true},
};

/// The machine syncs until it has journalled a result behind this seq, and hands it over.
async fn answers(device: &Device, before: u64) {
    device.sync_until("the machine's word on its command", |o| o.last_seq > before).await;
    device.settle().await;
}

pub(crate) async fn a_remote_purchase_is_dispensed_once_and_completes(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("payments.simulated_success_percent", 100)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let session = desk.start().await;
    let purchase = desk.choose(session, PaymentMode::Gateway).await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    let (done, session) = desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!((done.payment_status(), session.state()), (PaymentStatus::Captured, SessionState::Completed));
    assert_eq!((done.slot, session.usage_count), (u32::from(SLOT), 1));
    assert_eq!(desk.session_of(&purchase.purchase_id).await, session, "found by what alerts name");
    let sold = fleet.operator().transactions(&device.id()).await;
    assert_eq!(sold.iter().map(|t| &t.transaction_id).collect::<Vec<_>>(), [&purchase.purchase_id]);
    all_is_free(&fleet, &device).await;
    check(&fleet, &[device.chains().await]).await;
}

pub(crate) async fn a_machine_is_free_once_its_vend_is_told_though_the_money_is_still_to_be_taken(
    engine: Engine,
) {
    let counter = Counter::new().await;
    let fleet = Fleet::start_with(engine, |o| counter.set(o)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    counter.gateway.behave(|call| match call.op {
        Op::Capture => Step::nothing(Manner::Status(503)),
        _ => Step::proper(),
    });
    let session = desk.start().await;
    let purchase = desk.choose(session, PaymentMode::Gateway).await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    all_is_free(&fleet, &device).await;
    let (_, session) = desk.comes_to(&purchase, PurchaseState::Capturing).await;
    assert_eq!((session.state(), session.usage_count), (SessionState::Completed, 0));
    // The next customer does not wait for the money of the one before.
    let next = desk.buy().await;
    device.wait_for("the next vend", |now| now.vends == 2).await;
    device.settle().await;
    desk.comes_to(&next, PurchaseState::Completed).await;

    counter.gateway.come_up();
    let (done, session) = desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!((done.payment_status(), session.usage_count), (PaymentStatus::Captured, 2));
    assert_eq!(counter.gateway.ledger().net(&purchase.purchase_id), 120);
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 2);
}

pub(crate) async fn a_lost_reply_leaves_a_doubt_that_the_next_sync_ends_with_one_vend(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    let (_, session) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    assert_eq!(session.machine_state(), PoolState::InDoubt);
    assert!(!vended(&device.now()), "the machine can't have heard");

    device.machine.lose_answers(false);
    device.sync_until("the vend", vended).await;
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn a_person_who_uses_the_machine_goes_first(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.handle(Input::InsertMoney { denomination: 50 }).await.unwrap();
    device.settle().await;
    let before = device.now().last_seq;
    let purchase = desk.buy().await;
    device.wait_for("the refusal", |o| o.last_seq > before).await;
    device.settle().await;
    let failed = desk.fails(&purchase, PurchaseFailure::Refused).await;
    assert_eq!(failed.failure_detail, "MACHINE_BUSY");
    all_is_free(&fleet, &device).await;
    device.machine.handle(Input::Cancel).await.unwrap();
    device.sell(1).await;
}

pub(crate) async fn the_last_unit_goes_to_whoever_stands_there_and_the_purchase_is_given_back(
    engine: Engine,
) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let slots = vec![SlotUnits { slot: SLOT, units: 1 }];
    device.machine.handle(Input::Audit { slots, tubes: None, box_minor: None }).await.unwrap();
    device.settle().await;

    fleet.link.stall();
    let purchase = desk.buy().await;
    device.sell(1).await;
    let before = device.now().last_seq;
    fleet.link.mend();
    answers(&device, before).await;
    desk.fails(&purchase, PurchaseFailure::SoldLocally).await;
    alerted(&fleet, &device, AlertType::SoldLocally).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn a_command_that_nobody_fetches_lapses_and_the_unit_is_free_again(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("orchestrator.reservation_ms", 300)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    fleet.link.stall();
    let purchase = desk.buy().await;
    desk.fails(&purchase, PurchaseFailure::Expired).await;
    fleet.link.mend();
    device.settle().await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()), "what lapsed never travels");
    device.sell(1).await;
}

pub(crate) async fn a_restart_before_the_command_arrived_gives_the_purchase_back(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    device.power_off().await;
    device.machine.lose_answers(false);
    device.power_on().await;
    device.settle().await;
    desk.fails(&purchase, PurchaseFailure::MachineChanged).await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()));
}

pub(crate) async fn a_power_cut_at_the_motor_stays_in_doubt_until_a_person_says(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.cut_power_at(CutPoint::AfterMotor);
    let purchase = desk.buy().await;
    until_true("the motor to turn", PATIENCE, || async { device.machine.witness().seen().driven.len() == 1 })
        .await;
    device.power_off().await;
    device.power_on().await;
    device.settle().await;
    alerted(&fleet, &device, AlertType::PurchaseInDoubt).await;
    let (doubted, _) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    let resolved = desk.resolve(&doubted, PurchaseResolution::Dispensed).await;
    assert_eq!(resolved.state(), PurchaseState::Completed);
    all_is_free(&fleet, &device).await;
    assert_eq!(device.machine.witness().seen().driven.len(), 1, "never dispensed again");
}

pub(crate) async fn a_vend_that_comes_after_a_reset_is_a_sale_with_an_alert(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let purchase = desk.buy().await;
    device.wait_for("the vend", vended).await;
    let reset = desk.reset(&purchase).await;
    assert_eq!(reset.session.unwrap().state(), SessionState::Reset);
    let pool = reset.machine.unwrap().pool.unwrap();
    assert_eq!(pool.state(), PoolState::InDoubt, "the doubt stays");
    assert_eq!((pool.session_id, &pool.purchase_id), (String::new(), &purchase.purchase_id));
    let again = refusal(&desk.try_reset(&purchase).await.unwrap_err());
    assert_eq!(again.reason, "SESSION_ENDED", "it is not idle");
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    alerted(&fleet, &device, AlertType::LateVend).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn what_was_reset_before_the_machine_heard_of_it_is_recalled(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    desk.reset(&purchase).await;
    // What was answered before the reset is lost too: it told the machine to dispense.
    device.sync().await;
    let before = device.now().last_seq;
    device.machine.lose_answers(false);
    answers(&device, before).await;
    desk.fails(&purchase, PurchaseFailure::Expired).await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()), "nobody stands there to take it");
}

pub(crate) async fn a_lost_journal_leaves_the_doubt_to_a_person(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    device.power_off().await;
    device.machine.lose_answers(false);
    device.machine.reflash().await.unwrap();
    device.ready_to_sell().await;
    let (doubted, session) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    assert_eq!(session.machine_state(), PoolState::InDoubt, "out of the pool");
    desk.resolve(&doubted, PurchaseResolution::NotDispensed).await;
    desk.fails(&purchase, PurchaseFailure::Resolved).await;
    all_is_free(&fleet, &device).await;
}

pub(crate) async fn a_draining_board_spoils_no_purchase_on_the_one_that_took_its_place(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut old = fleet.device("corner").await;
    old.settle().await;
    old.machine.go_offline();
    old.sell(1).await;

    let mut new = fleet.unboxed("spare", fleet.blueprint());
    new.enrol(&fleet.operator().swap_token(&old.id()).await).await;
    new.power_on().await;
    new.ready_to_sell().await;
    new.settle().await;
    until_true("the new board to be in the pool", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), new.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    // It says nothing by itself until somebody chooses.
    old.machine.go_online();
    old.sync_until("the old board's sale to be taken", |o| o.sync.standing == Standing::Draining).await;

    let mut desk = Desk::of(&fleet).await;
    let purchase = desk.buy().await;
    new.wait_for("the vend", vended).await;
    new.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &new).await;
}

pub(crate) async fn a_purchase_at_another_replica_reaches_its_machine() {
    let fleet = Fleet::start(Engine::Postgres).await;
    let mut device = present(&fleet).await;
    let options = ServerOptions::at(fleet.database_url().unwrap()).set("server.sample_data", false);
    let other: TestServer = fleet.server.start_beside(options).await;
    let mut desk = Desk::at(&fleet, other.channel_as(fleet.token())).await;
    let purchase = desk.buy().await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}
