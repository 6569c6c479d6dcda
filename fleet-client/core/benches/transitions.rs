//! Transitions per second of a realistic sale, beside the raw limit of the same run: making effects of the same shape
//! (the commit's copy of the durable state, its record) with no machine behind them.
//!
//! `cargo bench -p vend-core`
#![allow(clippy::disallowed_methods)] // measuring is what the clock is for here

use std::hint::black_box;
use std::time::{Duration, Instant};
use vend_core::config::{Assignment, CashConfig, Config, OfflineBudget, Product, Slot, Tube};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::machine::{Commit, Effect, Input, Machine, Motor, PowerUp, SlotUnits};
use vend_core::money::{Currency, Pieces};
use vend_core::record::UnknownPolicy;
use vend_core::time::Now;

/// Each side runs at least this long, in turns.
const RUN: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;
const SLOTS: u16 = 40;
/// Below the coins in a tube, so that change never runs out between two refills.
const UNITS: u32 = 9_000;

fn main() {
    let mut ids = counting();
    let mut shop = stocked(&mut ids);
    let sample = effects_of_a_sale(&mut shop, &mut ids);
    println!(
        "transitions: {SLOTS} slots, select + 2 coins + motor + payout, {} effects a sale",
        sample.iter().map(Vec::len).sum::<usize>()
    );
    let (mut ours, mut raw, mut ticks) = (0.0f64, 0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        ours = ours.max(rate(5, || {
            black_box(sale(&mut shop, &mut ids));
        }));
        raw = raw.max(rate(5, || {
            black_box(&sample).iter().for_each(|effects| drop(black_box(effects.clone())));
        }));
        ticks = ticks.max(rate(1, || {
            drop(black_box(shop.handle(black_box(Now::default()), Input::Tick, &mut ids)));
        }));
    }
    println!("  ours  {ours:>12.0} transitions/s");
    println!("  raw   {raw:>12.0} transitions/s (the same effects cloned)");
    println!("  ratio {:>12.2}", ours / raw);
    println!("  tick  {ticks:>12.0} transitions/s (an input that changes nothing)");
}

/// Best rate over at least [`RUN`], in transitions per second.
fn rate(transitions: u32, mut once: impl FnMut()) -> f64 {
    let started = Instant::now();
    let mut done = 0u32;
    while started.elapsed() < RUN {
        for _ in 0..1_000 {
            once();
        }
        done += 1_000 * transitions;
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

fn counting() -> impl FnMut() -> TransactionId {
    let mut next = 0u128;
    move || {
        next += 1;
        TransactionId(next.to_be_bytes())
    }
}

/// Slot at 120: coins 100 and 50, 30 back. Five transitions; refills when the slot runs low.
fn sale(machine: &mut Machine, ids: &mut dyn FnMut() -> TransactionId) -> usize {
    let mut effects = 0;
    let mut handle = |machine: &mut Machine, input| {
        effects +=
            machine.handle(Now::default(), input, ids).expect("the loop only does what is allowed").len();
    };
    if machine.durable().slots[0].units == 0 {
        let slots = vec![SlotUnits { slot: 1, units: UNITS }];
        handle(machine, Input::Audit { slots, tubes: Some(full_tubes()), box_minor: Some(0) });
    }
    handle(machine, Input::Select { slot: 1 });
    handle(machine, Input::InsertMoney { denomination: 100 });
    handle(machine, Input::InsertMoney { denomination: 50 });
    let transaction = machine.durable().intent.as_ref().expect("the credit is sufficient").transaction;
    handle(machine, Input::DispenseResult { transaction, motor: Motor::Success });
    let payout = machine.durable().payout.clone().expect("there is change");
    handle(machine, Input::PayoutResult { transaction: payout.transaction, paid: payout.coins });
    effects
}

fn effects_of_a_sale(machine: &mut Machine, ids: &mut dyn FnMut() -> TransactionId) -> Vec<Vec<Effect>> {
    let mut all = Vec::new();
    let mut handle = |machine: &mut Machine, input| {
        all.push(machine.handle(Now::default(), input, ids).expect("the loop only does what is allowed"));
    };
    handle(machine, Input::Select { slot: 1 });
    handle(machine, Input::InsertMoney { denomination: 100 });
    handle(machine, Input::InsertMoney { denomination: 50 });
    let transaction = machine.durable().intent.as_ref().expect("the credit is sufficient").transaction;
    handle(machine, Input::DispenseResult { transaction, motor: Motor::Success });
    let payout = machine.durable().payout.clone().expect("there is change");
    handle(machine, Input::PayoutResult { transaction: payout.transaction, paid: payout.coins });
    assert_eq!(all.iter().flatten().filter(|e| matches!(e, Effect::Commit(_))).count(), 4);
    assert!(all.iter().flatten().any(|e| matches!(e, Effect::Commit(c) if is_sale(c))));
    all
}

fn is_sale(commit: &Commit) -> bool {
    commit.records.len() == 1 && commit.state.payout.is_some()
}

fn full_tubes() -> Vec<Pieces> {
    vec![Pieces { denomination: 10, count: 10_000 }, Pieces { denomination: 20, count: 10_000 }]
}

fn stocked(ids: &mut dyn FnMut() -> TransactionId) -> Machine {
    let product = ProductId([1; 16]);
    let config = Config {
        id: ConfigId([1; 16]),
        currency: Currency::parse("EUR").expect("a currency"),
        products: vec![Product { id: product, name: "water".into() }],
        slots: (1..=SLOTS)
            .map(|slot| Slot { slot, product, price_minor: 120, capacity: UNITS, par: UNITS })
            .collect(),
        cash: CashConfig {
            accepted: vec![10, 20, 50, 100, 200],
            tubes: [10, 20].map(|denomination| Tube { denomination, capacity: 10_000 }).to_vec(),
            max_credit_minor: 500,
        },
        offline_cashless: OfflineBudget::default(),
        unknown_policy: UnknownPolicy::Refund,
        selection_timeout_ms: 30_000,
    };
    let power_up = PowerUp {
        boot: BootId([1; 16]),
        epoch: Epoch([1; 16]),
        firmware: "bench".into(),
        parent: None,
        slots: Vec::new(),
    };
    let (mut machine, _) = Machine::new(power_up, Now::default(), ids);
    let offered = Input::ConfigOffered(Assignment { number: 1, sha256: [0; 32], config });
    machine.handle(Now::default(), offered, ids).expect("a good config");
    let slots = (1..=SLOTS).map(|slot| SlotUnits { slot, units: UNITS }).collect();
    machine.handle(Now::default(), Input::Refill { slots, tubes: full_tubes() }, ids).expect("a refill");
    machine
}
