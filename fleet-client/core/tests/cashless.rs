//! Promises about cards, remote credit and the offline budget.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, EPOCH, currency, product};
use vend_core::id::{BootId, Epoch, TransactionId};
use vend_core::machine::{
    CashlessResult, CashlessStage, Command, Effect, Input, Motor, Order, Refusal, State,
};
use vend_core::record::{Body, Payment, Settled, VendOutcome};

fn approve(bench: &mut Bench, offline: bool) -> Vec<Effect> {
    let transaction = bench.machine.durable().cashless.last().unwrap().transaction;
    bench.ok(Input::CashlessApproved { transaction, reference: "T-1".into(), offline })
}

fn online() -> Bench {
    let mut bench = Bench::stocked();
    bench.ok(Input::ServerContact);
    bench
}

/// One offline card sale of slot 1 that stays unsettled.
fn sell_offline(bench: &mut Bench) {
    bench.select(1);
    bench.ok(Input::PresentCard);
    approve(bench, true);
    bench.motor(Motor::Success);
}

#[test]
fn a_card_sale_authorises_vends_and_settles() {
    let mut bench = online();
    bench.select(2);
    let asked = bench.ok(Input::PresentCard);
    assert!(matches!(asked.last(), Some(Effect::Authorise { amount_minor: 150, offline_allowed: true, .. })));
    let approved = approve(&mut bench, false);
    assert!(matches!(approved.last(), Some(Effect::Dispense { slot: 2, .. })));
    let done = bench.motor(Motor::Success);
    assert!(
        done.iter()
            .any(|e| matches!(e, Effect::Settle { amount_minor: 150, reference, .. } if reference == "T-1"))
    );
    let transaction = bench.vends()[0].transaction;
    bench.ok(Input::CashlessSettled { transaction, result: CashlessResult::Done });
    assert!(matches!(bench.bodies().last(), Some(Body::Settlement(s)) if s.what == Settled::Captured));
    assert!(bench.machine.durable().cashless.is_empty());
    assert_eq!(bench.machine.durable().counters.lifetime.cashless_vends_minor, 150);
}

#[test]
fn a_failed_card_vend_is_voided() {
    let mut bench = online();
    bench.select(1);
    bench.ok(Input::PresentCard);
    approve(&mut bench, false);
    let done = bench.motor(Motor::Failure);
    assert!(done.iter().any(|e| matches!(e, Effect::Void { .. })));
}

#[test]
fn an_authorisation_under_way_at_a_cut_is_voided_at_boot_until_answered() {
    let mut bench = online();
    bench.select(1);
    bench.ok(Input::PresentCard);
    for _ in 0..2 {
        let effects = bench.boot();
        assert!(effects.iter().any(|e| matches!(e, Effect::Void { .. })));
        bench.carry_out(effects, usize::MAX);
    }
    let transaction = bench.machine.durable().cashless[0].transaction;
    bench.ok(Input::CashlessSettled { transaction, result: CashlessResult::Done });
    bench.power_cut();
    assert!(bench.machine.durable().cashless.is_empty());
}

#[test]
fn a_capture_not_confirmed_before_a_cut_is_asked_again() {
    let mut bench = online();
    sell_offline(&mut bench);
    let effects = bench.boot();
    assert!(effects.iter().any(|e| matches!(e, Effect::Settle { .. })));
}

#[test]
fn a_declined_card_leaves_the_choice_for_cash() {
    let mut bench = online();
    bench.select(1);
    bench.ok(Input::PresentCard);
    let transaction = bench.machine.durable().cashless[0].transaction;
    bench.ok(Input::CashlessDeclined { transaction });
    bench.coin(100);
    bench.motor(Motor::Success);
    assert_eq!(bench.vends()[0].payment, Payment::Cash);
}

#[test]
fn cancelling_while_authorising_voids_and_a_late_approval_sells_nothing() {
    let mut bench = online();
    bench.select(1);
    bench.ok(Input::PresentCard);
    let transaction = bench.machine.durable().cashless[0].transaction;
    bench.ok(Input::Cancel);
    let late = Input::CashlessApproved { transaction, reference: String::new(), offline: false };
    assert_eq!(bench.refused(late), Refusal::NotAsked);
    assert_eq!(bench.machine.durable().cashless[0].stage, CashlessStage::Voiding);
}

#[test]
fn one_sale_is_paid_in_one_way() {
    let mut bench = online();
    bench.select(1);
    bench.coin(10);
    assert_eq!(bench.refused(Input::PresentCard), Refusal::CashInside);
}

#[test]
fn offline_sales_stop_at_the_total_of_the_budget() {
    let mut bench = online();
    bench.ok(Input::ServerLost);
    for _ in 0..3 {
        sell_offline(&mut bench);
    }
    bench.select(1);
    assert_eq!(bench.refused(Input::PresentCard), Refusal::OfflineBudget, "the count is used up");
    let transaction = bench.vends()[0].transaction;
    bench.ok(Input::CashlessSettled { transaction, result: CashlessResult::Done });
    bench.ok(Input::Select { slot: 2 });
    bench.ok(Input::PresentCard);
    approve(&mut bench, true);
    bench.motor(Motor::Success);
    let transaction = bench.vends()[1].transaction;
    bench.ok(Input::CashlessSettled { transaction, result: CashlessResult::Done });
    bench.select(2);
    let total_after = 100 + 150 + 150;
    assert_eq!(total_after, 400);
    bench.ok(Input::PresentCard);
}

#[test]
fn an_offline_approval_beyond_the_budget_is_voided_not_sold() {
    let mut bench = online();
    bench.select(1);
    bench.ok(Input::PresentCard);
    bench.wait(3_600_001);
    let effects = approve(&mut bench, true);
    assert!(effects.iter().any(|e| matches!(e, Effect::Void { .. })));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Dispense { .. })));
}

#[test]
fn the_offline_budget_ages() {
    let mut bench = online();
    bench.ok(Input::ServerLost);
    bench.wait(3_600_001);
    bench.select(1);
    assert_eq!(bench.refused(Input::PresentCard), Refusal::OfflineBudget);
}

fn dispense(number: u64, slot: u16) -> Command {
    Command {
        number,
        epoch: EPOCH,
        boot: None,
        expires_uptime_ms: None,
        order: Order::Dispense {
            transaction: TransactionId([200; 16]),
            slot,
            product: product(u8::try_from(slot).unwrap()),
            price_minor: 90,
            currency: currency("EUR"),
        },
    }
}

fn last_reason(bench: &Bench) -> String {
    match bench.bodies().last() {
        Some(Body::CommandResult(c)) => c.reason.clone(),
        other => panic!("not a command result: {other:?}"),
    }
}

#[test]
fn a_remote_vend_journals_its_number_before_the_motor_and_runs_once() {
    let mut bench = Bench::stocked();
    let effects = bench.ok(Input::Command(dispense(5, 1)));
    assert!(
        matches!(&effects[0], Effect::Commit(c) if c.state.commands_through == 5 && c.state.intent.is_some())
    );
    assert_eq!(bench.machine.durable().commands_done_through(), 4);
    assert_eq!(bench.refused(Input::Command(dispense(5, 1))), Refusal::OldCommand(5));
    bench.power_cut();
    assert_eq!(bench.refused(Input::Command(dispense(5, 1))), Refusal::OldCommand(5));
    assert!(matches!(bench.vends()[0].outcome, VendOutcome::Unknown(_)));
    assert_eq!((last_reason(&bench).as_str(), bench.vends()[0].command_number), ("OUTCOME_UNKNOWN", 5));
}

#[test]
fn a_remote_vend_that_succeeds_says_so() {
    let mut bench = Bench::stocked();
    bench.ok(Input::Command(dispense(1, 1)));
    bench.motor(Motor::Success);
    assert!(matches!(bench.bodies().last(), Some(Body::CommandResult(c)) if c.done && c.number == 1));
    assert_eq!(bench.machine.durable().counters.lifetime.remote_vends_minor, 90);
}

#[test]
fn the_person_who_stands_there_goes_first() {
    let mut bench = Bench::stocked();
    bench.coin(10);
    bench.ok(Input::Command(dispense(1, 1)));
    assert_eq!(last_reason(&bench), "MACHINE_BUSY");
    assert!(matches!(bench.machine.state(), State::AcceptingMoney { .. }));
}

#[test]
fn commands_are_bound_to_epoch_boot_time_and_what_is_there() {
    let mut bench = Bench::stocked();
    bench.wait(100);
    let cases: [(Command, &str); 5] = [
        (Command { epoch: Epoch([0; 16]), ..dispense(1, 1) }, "WRONG_EPOCH"),
        (Command { boot: Some(BootId([99; 16])), ..dispense(2, 1) }, "WRONG_BOOT"),
        (Command { expires_uptime_ms: Some(99), ..dispense(3, 1) }, "EXPIRED"),
        (dispense(4, 6), "UNKNOWN_SLOT"),
        (Command { order: Order::OutOfService, ..dispense(5, 1) }, ""),
    ];
    for (command, reason) in cases {
        bench.ok(Input::Command(command));
        assert_eq!(last_reason(&bench), reason);
    }
    bench.ok(Input::Command(dispense(6, 1)));
    assert_eq!(last_reason(&bench), "OUT_OF_SERVICE");
    bench.ok(Input::Command(Command { order: Order::ReturnToService, ..dispense(7, 1) }));
    let slots = vec![vend_core::machine::SlotUnits { slot: 1, units: 0 }];
    bench.ok(Input::Audit { slots, tubes: None, box_minor: None });
    bench.ok(Input::Command(dispense(8, 1)));
    assert_eq!(last_reason(&bench), "SLOT_EMPTY");
}
