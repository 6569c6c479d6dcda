//! Promises about configs, and what operators do at the open door.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, config, currency, offer, product, purse};
use vend_core::config::check::{MAX_REFUSALS, check};
use vend_core::config::{Config, Slot, Tube};
use vend_core::machine::{
    Effect, Input, MAX_SLOTS_PER_RECORD, Motor, PROBATION_FAILED_VENDS, PROBATION_SHORT_BOOTS,
    PROBATION_UPTIME_MS, Refusal, SlotUnits,
};
use vend_core::record::{Body, ConfigOutcome, ConfigVerdict};

fn verdicts(bench: &Bench) -> Vec<&ConfigVerdict> {
    bench
        .bodies()
        .into_iter()
        .filter_map(|b| if let Body::ConfigVerdict(v) = b { Some(v) } else { None })
        .collect()
}

fn dearer(id: u8) -> Config {
    let mut config = config(id);
    config.slots[0].price_minor = 120;
    config
}

#[test]
fn the_price_shown_is_the_price_charged() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(50);
    bench.ok(offer(2, dearer(2)));
    assert_eq!(bench.machine.durable().applied_number, 1);
    bench.coin(50);
    bench.motor(Motor::Success);
    assert_eq!((bench.vends()[0].price_minor, bench.vends()[0].config), (100, config(1).id));
    assert_eq!(
        bench.machine.durable().applied_number,
        2,
        "applied as soon as nobody is in the middle of anything"
    );
    assert!(
        matches!(bench.bodies().last(), Some(Body::ConfigVerdict(v)) if v.verdict == ConfigOutcome::Applied)
    );
}

#[test]
fn a_newer_offer_replaces_one_that_waits_and_an_older_is_refused() {
    let mut bench = Bench::stocked();
    bench.coin(50);
    bench.ok(offer(2, dearer(2)));
    bench.ok(offer(4, config(4)));
    assert_eq!(bench.refused(offer(3, config(3))), Refusal::OldAssignment(4));
    bench.ok(Input::Cancel);
    bench.pay_all();
    assert_eq!(bench.machine.durable().applied_number, 4);
    assert_eq!(verdicts(&bench).len(), 2);
}

#[test]
fn a_config_that_waits_survives_a_cut() {
    let mut bench = Bench::stocked();
    bench.coin(50);
    bench.ok(offer(2, dearer(2)));
    bench.power_cut();
    assert_eq!(bench.machine.durable().applied_number, 1, "a customer's credit is still inside");
    bench.ok(Input::Cancel);
    bench.pay_all();
    assert_eq!(bench.machine.durable().applied_number, 2);
}

#[test]
fn a_bad_config_is_refused_item_by_item_and_the_old_one_stays() {
    let mut bench = Bench::stocked();
    let mut bad = config(2);
    bad.slots[1].price_minor = -1;
    bad.slots[2].product = product(99);
    bench.ok(offer(2, bad));
    let verdict = verdicts(&bench)[1];
    let items: Vec<_> = verdict.refusals.iter().map(|r| (r.field.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        items,
        [("slots[1].price_minor", "NEGATIVE_PRICE"), ("slots[2].product_id", "UNKNOWN_PRODUCT")]
    );
    assert_eq!((bench.machine.durable().applied_number, bench.machine.durable().rejected_number), (1, 2));
    assert_eq!(bench.refused(offer(2, config(2))), Refusal::OldAssignment(2));
}

/// One way to spoil a config, with the field and reason it is refused for.
type Spoiled = (fn(&mut Config), &'static str, &'static str);

#[test]
fn every_rule_of_the_check_has_its_reason() {
    let rules: [Spoiled; 18] = [
        (|c| c.slots[0].slot = 99, "slots[0].slot", "MISSING_SLOT"),
        (|c| c.slots[1].slot = 1, "slots[1].slot", "DUPLICATE_SLOT"),
        (|c| c.slots.clear(), "slots", "NO_SLOTS"),
        (|c| c.slots[0].capacity = 0, "slots[0].capacity", "BAD_CAPACITY"),
        (|c| c.slots[0].par = 11, "slots[0].par_level", "PAR_ABOVE_CAPACITY"),
        (|c| c.slots[0].price_minor = i64::MAX, "slots[0].price_minor", "TOO_LARGE"),
        (|c| c.products[1].id = product(1), "products[1].product_id", "DUPLICATE_PRODUCT"),
        (|c| c.products[0].name.clear(), "products[0].name", "BAD_NAME"),
        (|c| c.cash.accepted[1] = 10, "cash.accepted_minor[1]", "DENOMINATIONS_NOT_RISING"),
        (|c| c.cash.accepted[0] = 0, "cash.accepted_minor[0]", "BAD_DENOMINATION"),
        (|c| c.cash.tubes[0].denomination = 5, "cash.tubes[0].denomination_minor", "TUBE_NOT_ACCEPTED"),
        (|c| c.cash.tubes[1].denomination = 10, "cash.tubes[1].denomination_minor", "DUPLICATE_TUBE"),
        (|c| c.cash.tubes[0].capacity = 0, "cash.tubes[0].capacity", "BAD_CAPACITY"),
        (|c| c.cash.tubes = vec![Tube { denomination: 10, capacity: 1 }; 33], "cash", "TOO_MANY"),
        (|c| c.cash.max_credit_minor = -1, "cash.max_credit_minor", "NEGATIVE_AMOUNT"),
        (|c| c.offline_cashless.total_minor = -1, "offline_cashless.total_minor", "NEGATIVE_AMOUNT"),
        (|c| c.selection_timeout_ms = 1, "selection_timeout_ms", "OUT_OF_RANGE"),
        (|c| c.currency = vend_core::money::Currency::NONE, "currency", "NO_CURRENCY"),
    ];
    let hardware: Vec<u16> = (1..=6).collect();
    assert!(check(&config(1), &hardware).is_empty());
    for (spoil, field, reason) in rules {
        let mut config = config(1);
        spoil(&mut config);
        let found = check(&config, &hardware);
        assert!(found.iter().any(|r| r.field == field && r.reason == reason), "{field} {reason}: {found:?}");
    }
}

#[test]
fn a_hopeless_config_gets_a_verdict_that_fits_a_record() {
    let mut hopeless = config(2);
    let slot = Slot { slot: 9_999, product: product(99), price_minor: -1, capacity: 0, par: 1 };
    hopeless.slots = vec![slot; 256];
    let found = check(&hopeless, &[1]);
    assert_eq!(found.len(), MAX_REFUSALS);
    assert_eq!(found.last().unwrap().reason, "MORE_REFUSALS");
    let bytes: usize = found.iter().map(|r| r.field.len() + r.reason.len() + 8).sum();
    assert!(bytes < 4_000, "{bytes}");
}

#[test]
fn another_currency_is_refused_while_money_is_inside() {
    let mut bench = Bench::stocked();
    let mut dollars = config(2);
    dollars.currency = currency("USD");
    bench.coin(10);
    bench.ok(offer(2, dollars.clone()));
    assert_eq!(verdicts(&bench)[1].refusals[0].reason, "OTHER_CURRENCY_WITH_CREDIT_INSIDE");
    bench.ok(Input::Cancel);
    bench.pay_all();
    bench.ok(offer(3, dollars.clone()));
    assert_eq!(verdicts(&bench)[2].refusals[0].reason, "OTHER_CURRENCY_WITH_CASH_INSIDE");
    let tubes = bench.machine.durable().tubes.clone();
    bench.ok(Input::CollectCash { box_minor: 0, tubes });
    bench.ok(offer(4, dollars));
    let counters = &bench.machine.durable().counters;
    assert_eq!((counters.currency, counters.lifetime.cash_in_minor), (currency("USD"), 0));
    assert_eq!(bench.journal.last().unwrap().lifetime_after, Some(counters.lifetime));
}

#[test]
fn a_config_that_waited_is_checked_again_before_it_is_applied() {
    let mut bench = Bench::factory();
    bench.ok(offer(1, config(1)));
    bench.ok(Input::Refill { slots: vec![SlotUnits { slot: 1, units: 1 }], tubes: purse(&[]) });
    bench.select(1);
    let mut dollars = config(2);
    dollars.currency = currency("USD");
    bench.ok(offer(2, dollars));
    bench.coin(100);
    bench.motor(Motor::Success);
    assert_eq!(verdicts(&bench)[1].refusals[0].reason, "OTHER_CURRENCY_WITH_CASH_INSIDE");
    assert_eq!((bench.machine.durable().applied_number, bench.machine.durable().rejected_number), (1, 2));
}

#[test]
fn a_config_under_which_vends_keep_failing_is_gone_back_from() {
    let mut bench = Bench::stocked();
    bench.ok(offer(2, dearer(2)));
    for slot in [4, 3, 4].into_iter().take(PROBATION_FAILED_VENDS.into()) {
        if slot == 3 {
            bench.coin(50);
            bench.coin(20);
        }
        bench.select(slot);
        bench.motor(Motor::Failure);
        bench.pay_all();
    }
    let durable = bench.machine.durable();
    assert_eq!((durable.applied_number, durable.rejected_number), (1, 2));
    let last: Vec<_> = verdicts(&bench).iter().rev().take(2).map(|v| (v.assignment, v.verdict)).collect();
    assert_eq!(last, [(1, ConfigOutcome::Applied), (2, ConfigOutcome::RolledBack)]);
    assert_eq!(bench.refused(offer(2, dearer(2))), Refusal::OldAssignment(2));
}

#[test]
fn a_config_that_sold_once_is_good() {
    let mut bench = Bench::stocked();
    bench.ok(offer(2, dearer(2)));
    bench.select(4);
    bench.motor(Motor::Success);
    for _ in 0..PROBATION_SHORT_BOOTS {
        bench.power_cut();
    }
    assert_eq!(bench.machine.durable().applied_number, 2);
}

#[test]
fn a_config_under_which_the_machine_never_stays_up_is_gone_back_from() {
    let mut bench = Bench::stocked();
    bench.ok(offer(2, dearer(2)));
    for _ in 1..PROBATION_SHORT_BOOTS {
        bench.power_cut();
    }
    bench.wait(PROBATION_UPTIME_MS);
    bench.ok(Input::Tick);
    bench.power_cut();
    assert_eq!(bench.machine.durable().applied_number, 2, "one boot lasted, so the row began anew");
    for _ in 1..PROBATION_SHORT_BOOTS {
        bench.power_cut();
    }
    assert_eq!(bench.machine.durable().applied_number, 1);
}

#[test]
fn another_product_in_a_slot_starts_at_zero() {
    let mut bench = Bench::stocked();
    let mut swapped = config(2);
    swapped.slots[0].product = product(2);
    bench.ok(offer(2, swapped));
    assert_eq!((bench.units(1), bench.units(2)), (0, 5));
}

#[test]
fn collecting_restarts_the_since_reset_totals_and_books_the_difference() {
    let mut bench = Bench::stocked();
    bench.select(1);
    bench.coin(500);
    bench.motor(Motor::Success);
    bench.pay_all();
    bench.ok(Input::CollectCash { box_minor: 490, tubes: purse(&[(10, 2)]) });
    assert!(matches!(
        bench.bodies().last(),
        Some(Body::CashCollected(c)) if (c.box_minor, c.tubes_minor, c.since_reset.vends) == (490, 20, 1)
    ));
    let counters = &bench.machine.durable().counters;
    assert_eq!((counters.since_reset.vends, counters.lifetime.vends), (0, 1));
    assert_eq!((bench.books().adjusted, bench.books().collected), (-10, 510));
}

#[test]
fn operators_wait_for_the_customer_and_can_not_overfill() {
    let mut bench = Bench::stocked();
    let fill = |units| Input::Refill { slots: vec![SlotUnits { slot: 1, units }], tubes: purse(&[]) };
    assert_eq!(bench.refused(fill(6)), Refusal::OverCapacity { slot: 1, capacity: 10 });
    assert_eq!(
        bench.refused(Input::Refill { slots: vec![], tubes: purse(&[(10, 11)]) }),
        Refusal::BadTube(10)
    );
    bench.coin(10);
    assert_eq!(bench.refused(fill(1)), Refusal::InUse);
}

#[test]
fn an_audit_of_many_slots_is_split_to_fit_records() {
    let mut bench = Bench::factory();
    let mut wide = config(1);
    wide.slots = (0..200).map(|slot| Slot { slot, ..config(1).slots[0].clone() }).collect();
    // A machine that does not know its own slots takes any planogram.
    let mut power_up = common::power_up(1);
    power_up.slots.clear();
    bench.machine =
        vend_core::machine::Machine::boot(bench.stored.clone(), power_up, bench.now, &mut Default::default).0;
    bench.stored.durable = bench.machine.durable().clone();
    bench.ok(offer(1, wide));
    let slots: Vec<_> = (0..200).map(|slot| SlotUnits { slot, units: 3 }).collect();
    let effects = bench.ok(Input::Audit { slots, tubes: None, box_minor: None });
    let Effect::Commit(commit) = &effects[0] else { panic!("a commit first") };
    let sizes: Vec<_> =
        commit.records.iter().map(|r| if let Body::Audit(a) = &r.body { a.slots.len() } else { 0 }).collect();
    assert_eq!(sizes, [MAX_SLOTS_PER_RECORD, MAX_SLOTS_PER_RECORD, 200 - 2 * MAX_SLOTS_PER_RECORD]);
}
