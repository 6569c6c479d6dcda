//! Promises about coins.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, commits, config, offer, purse};
use vend_core::machine::{Display, Effect, Input, Motor, Refusal, SLOT_FAULT_AFTER, State};
use vend_core::record::{Body, Payment, Settled, VendOutcome};

#[test]
fn a_coin_is_durable_before_it_shows_as_credit() {
    let mut bench = Bench::stocked();
    let effects = bench.coin(50);
    assert!(matches!(&effects[0], Effect::Commit(c) if c.state.credit == purse(&[(50, 1)])));
    assert!(matches!(effects[1], Effect::Show(Display::Credit { credit_minor: 50, selected: None })));
}

#[test]
fn a_cash_vend_from_sufficient_credit_to_outcome_is_two_commits() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(50);
    let sufficient = bench.coin(50);
    assert_eq!(commits(&sufficient), 1);
    assert!(matches!(sufficient.last(), Some(Effect::Dispense { slot: 1, .. })));
    let outcome = bench.motor(Motor::Success);
    assert_eq!(commits(&outcome), 1);
    assert!(bench.is_idle());
    let vend = bench.vends()[0];
    assert_eq!((vend.price_minor, vend.cash_in_minor, vend.payout_intent_minor), (100, 100, 0));
    assert_eq!((bench.units(1), vend.payment.clone()), (4, Payment::Cash));
}

#[test]
fn change_rides_in_the_outcomes_commit() {
    let mut bench = Bench::stocked();
    bench.select(3);
    bench.coin(100);
    let effects = bench.motor(Motor::Success);
    let Effect::Commit(commit) = &effects[0] else { panic!("a commit first") };
    assert_eq!(commit.state.payout.as_ref().unwrap().coins, purse(&[(10, 1), (20, 1)]));
    assert!(matches!(&effects[1], Effect::PayOut { coins, .. } if *coins == purse(&[(10, 1), (20, 1)])));
    bench.pay_all();
    assert!(bench.is_idle());
    assert_eq!(bench.journal.iter().filter(|r| matches!(r.body, Body::Settlement(_))).count(), 0);
}

#[test]
fn money_first_and_then_a_choice_sells_too() {
    let mut bench = Bench::stocked();
    bench.coin(100);
    bench.coin(50);
    assert!(matches!(
        bench.machine.state(),
        State::AcceptingMoney { selection: None, credit_minor: 150, .. }
    ));
    let effects = bench.select(2);
    assert!(effects.iter().any(|e| matches!(e, Effect::Dispense { slot: 2, .. })));
}

#[test]
fn cancel_returns_the_coins_that_went_in() {
    let mut bench = Bench::stocked();
    bench.select(2);
    bench.coin(10);
    bench.coin(10);
    let effects = bench.ok(Input::Cancel);
    assert!(effects.iter().any(|e| matches!(e, Effect::PayOut { coins, .. } if *coins == purse(&[(10, 2)]))));
    bench.pay_all();
    assert!(bench.is_idle());
    assert_eq!((bench.books().returned, bench.books().sales), (20, 0));
}

#[test]
fn a_bill_that_could_not_be_given_back_is_refused() {
    let mut bench = Bench::factory();
    bench.ok(offer(1, config(1)));
    bench.ok(Input::Refill {
        slots: vec![vend_core::machine::SlotUnits { slot: 1, units: 1 }],
        tubes: purse(&[]),
    });
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 500 }), Refusal::ExactChangeOnly);
    assert!(bench.machine.view().exact_change_only);
    assert_eq!(bench.machine.view().accepts, [10, 20, 50, 100]);
}

#[test]
fn a_sale_whose_change_could_not_be_paid_does_not_begin() {
    let mut bench = Bench::factory();
    bench.ok(offer(1, config(1)));
    let slots = vec![vend_core::machine::SlotUnits { slot: 3, units: 1 }];
    bench.ok(Input::Refill { slots, tubes: purse(&[]) });
    bench.coin(100);
    assert_eq!(bench.refused(Input::Select { slot: 3 }), Refusal::ExactChangeOnly);
    bench.ok(Input::Cancel);
    bench.pay_all();
    bench.select(3);
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 100 }), Refusal::ExactChangeOnly);
    bench.coin(50);
    bench.coin(20);
    assert_eq!(bench.vends().len(), 0);
    bench.motor(Motor::Success);
    assert_eq!(bench.vends().len(), 1);
}

#[test]
fn a_failed_vend_refunds_by_itself() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(200);
    let effects = bench.motor(Motor::Failure);
    assert!(effects.iter().any(|e| matches!(e, Effect::PayOut { .. })));
    bench.pay_all();
    assert_eq!(bench.vends()[0].outcome, VendOutcome::Failure);
    assert_eq!((bench.books().returned, bench.units(1)), (200, 5));
}

#[test]
fn what_a_payout_falls_short_of_is_owed_and_can_be_paid_later() {
    let mut bench = Bench::stocked();
    bench.coin(50);
    bench.ok(Input::Cancel);
    let transaction = bench.stored.durable.payout.as_ref().unwrap().transaction;
    bench.ok(Input::PayoutResult { transaction, paid: purse(&[]) });
    assert_eq!((bench.books().owed, bench.books().returned), (50, 0));
    assert!(bench.bodies().iter().any(
        |b| matches!(b, Body::Settlement(s) if s.what == Settled::Owed && s.amount_minor == 50 && s.vend == transaction)
    ));
    assert_eq!(bench.refused(Input::PayOwed { vend: transaction, amount_minor: 60 }), Refusal::NotOwed(50));
    bench.ok(Input::PayOwed { vend: transaction, amount_minor: 50 });
    bench.pay_all();
    assert_eq!((bench.books().owed, bench.books().returned), (0, 50));
}

#[test]
fn a_motor_that_fails_in_a_row_takes_its_slot_out() {
    let mut bench = Bench::stocked();
    for _ in 0..SLOT_FAULT_AFTER {
        bench.select(4);
        bench.motor(Motor::Failure);
    }
    assert_eq!(bench.refused(Input::Select { slot: 4 }), Refusal::SlotFaulted(4));
    bench.ok(Input::TestVend { slot: 4 });
    bench.motor(Motor::Success);
    bench.select(4);
}

#[test]
fn credit_nobody_spends_goes_back_after_the_timeout() {
    let mut bench = Bench::stocked();
    bench.coin(20);
    bench.wait(29_999);
    bench.ok(Input::Tick);
    assert_eq!(bench.machine.view().credit_minor, 20);
    bench.wait(1);
    bench.ok(Input::Tick);
    bench.pay_all();
    assert!(bench.is_idle());
}

#[test]
fn credit_has_a_limit() {
    let mut bench = Bench::stocked();
    bench.coin(500);
    bench.coin(100);
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 500 }), Refusal::CreditLimit(1_000));
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 7 }), Refusal::NotAccepted(7));
}

#[test]
fn selling_the_last_unit_is_sold_out() {
    let mut bench = Bench::factory();
    bench.ok(offer(1, config(1)));
    assert_eq!(bench.machine.state(), State::SoldOut);
    let slots = vec![vend_core::machine::SlotUnits { slot: 4, units: 1 }];
    bench.ok(Input::Refill { slots, tubes: purse(&[]) });
    bench.select(4);
    bench.motor(Motor::Success);
    assert_eq!(bench.machine.state(), State::SoldOut);
    assert_eq!(bench.machine.durable().counters.lifetime.free_vends, 1);
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 10 }), Refusal::SoldOut);
}
