//! Promises about power cuts, full journals and silent hardware.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, config, offer};
use vend_core::machine::{
    Effect, Input, MOTOR_TIMEOUT_MS, Motor, OutOfService, PAYOUT_TIMEOUT_MS, Refusal, State,
};
use vend_core::record::{Body, Settled, UnknownPolicy, VendOutcome};

/// A vend of price 70 for a coin of 100 whose power goes before the outcome is written, under a policy.
fn cut_mid_vend(policy: UnknownPolicy) -> Bench {
    let mut bench = Bench::stocked();
    let mut config = config(2);
    config.unknown_policy = policy;
    bench.ok(offer(2, config));
    bench.select(3);
    bench.coin(100);
    bench.power_cut();
    bench
}

#[test]
fn a_cut_between_intent_and_outcome_is_unknown_and_never_dispensed_again() {
    let mut bench = cut_mid_vend(UnknownPolicy::Refund);
    let motors = |b: &Bench| b.started.iter().filter(|e| matches!(e, Effect::Dispense { .. })).count();
    assert_eq!(motors(&bench), 1);
    let vend = bench.vends()[0].clone();
    assert_eq!(vend.outcome, VendOutcome::Unknown(UnknownPolicy::Refund));
    assert_eq!((vend.cash_in_minor, vend.payout_intent_minor, vend.owed_minor), (100, 100, 0));
    assert_eq!(bench.units(3), 4);
    bench.pay_all();
    bench.power_cut();
    assert_eq!((motors(&bench), bench.vends().len()), (1, 1));
    assert!(bench.is_idle());
}

#[test]
fn keep_and_ask_keep_the_price_and_return_the_change() {
    for policy in [UnknownPolicy::Keep, UnknownPolicy::Ask] {
        let bench = cut_mid_vend(policy);
        assert_eq!((bench.books().kept, bench.books().returned, bench.books().sales), (70, 30, 0));
        assert_eq!(bench.machine.durable().counters.lifetime.unknown_vends, 1);
    }
}

#[test]
fn an_unresolved_payout_is_unknown_and_never_repeated() {
    let mut bench = Bench::stocked();
    bench.coin(50);
    bench.ok(Input::Cancel);
    bench.power_cut();
    let payouts = bench.started.iter().filter(|e| matches!(e, Effect::PayOut { .. })).count();
    assert_eq!(payouts, 1);
    assert!(matches!(
        bench.bodies().last(),
        Some(Body::Settlement(s)) if s.what == Settled::PayoutUnknown && s.amount_minor == 50
    ));
    assert!(bench.is_idle());
}

#[test]
fn credit_survives_a_cut() {
    let mut bench = Bench::stocked();
    bench.coin(50);
    bench.power_cut();
    assert!(matches!(bench.machine.state(), State::AcceptingMoney { credit_minor: 50, selection: None, .. }));
}

#[test]
fn a_cut_before_the_commit_leaves_nothing_behind() {
    let mut bench = Bench::stocked();
    bench.select(1);
    let effects = bench.handle(Input::InsertMoney { denomination: 100 }).unwrap();
    bench.carry_out(effects, 0);
    bench.power_cut();
    assert!(bench.vends().is_empty() && bench.is_idle());
}

#[test]
fn a_boot_is_counted_and_written_first() {
    let bench = Bench::factory();
    assert!(matches!(&bench.journal[0].body, Body::Boot(b) if b.boot_count == 1 && b.firmware == "1.2.3"));
    assert!(bench.journal[0].lifetime_after.is_some());
    assert_eq!(bench.machine.state(), State::OutOfService(OutOfService::NoConfig));
}

#[test]
fn a_silent_motor_is_an_unknown_vend_and_its_late_answer_changes_nothing() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(100);
    let transaction = bench.stored.durable.intent.as_ref().unwrap().transaction;
    bench.wait(MOTOR_TIMEOUT_MS);
    bench.ok(Input::Tick);
    assert_eq!(bench.vends()[0].outcome, VendOutcome::Unknown(UnknownPolicy::Refund));
    assert_eq!(
        bench.refused(Input::DispenseResult { transaction, motor: Motor::Success }),
        Refusal::NotAsked
    );
    bench.wait(PAYOUT_TIMEOUT_MS);
    bench.ok(Input::Tick);
    assert!(bench.is_idle());
    assert_eq!(bench.refused(Input::Select { slot: 1 }), Refusal::SlotFaulted(1));
}

#[test]
fn a_full_journal_stops_selling_and_lets_the_vend_in_hand_end() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(100);
    bench.ok(Input::JournalFull);
    bench.motor(Motor::Success);
    assert_eq!(bench.machine.state(), State::OutOfService(OutOfService::JournalFull));
    assert_eq!(bench.refused(Input::Select { slot: 1 }), Refusal::JournalFull);
    assert_eq!(bench.refused(Input::InsertMoney { denomination: 10 }), Refusal::JournalFull);
    bench.ok(Input::JournalRoom);
    bench.select(1);
}

#[test]
fn a_full_journal_gives_waiting_credit_back() {
    let mut bench = Bench::stocked();
    bench.coin(20);
    bench.ok(Input::JournalFull);
    bench.pay_all();
    assert_eq!(bench.books().returned, 20);
}
