//! Random lives of a machine, with power cuts at any effect. The bench checks at every step: money conserved, counters
//! a checksum, nothing dispensed or paid without a durable intent or twice, refusals without effect.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, EPOCH, config, currency, offer, product, purse};
use proptest::prelude::*;
use vend_core::id::{BootId, Epoch, TransactionId};
use vend_core::machine::{
    CashlessResult, Command, Effect, Input, Motor, Order, RESERVED_PER_BOOT, RESERVED_RECORDS, SlotUnits,
};
use vend_core::money::{Minor, Purse};
use vend_core::record::{Body, EpochReason, Fault, ParentEpoch, UnknownPolicy};
use vend_core::stock;

/// What may happen next. `Answer*` fill in the transaction the machine waits for.
#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    AnswerMotor(Motor),
    /// Pays so many of every hundred coins asked for.
    AnswerPayout(u32),
    AnswerCard {
        approve: bool,
        offline: bool,
    },
    AnswerTerminal(CashlessResult),
    Wait(u64),
    /// Carries out only so many effects of the input, then power goes.
    CutAfter(Input, usize),
    /// The same at power-up.
    CutAtBoot(usize),
}

fn money() -> impl Strategy<Value = Minor> {
    prop_oneof![9 => prop::sample::select(vec![10, 20, 50, 100, 200, 500]), 1 => any::<i64>()]
}

fn coins() -> impl Strategy<Value = Purse> {
    let sane = prop::collection::vec((prop::sample::select(vec![10i64, 20, 50, 100]), 0u32..6), 0..4);
    let wild = prop::collection::vec((any::<i64>(), any::<u32>()), 0..3);
    prop_oneof![9 => sane, 1 => wild].prop_map(|p| purse(&p))
}

fn slots() -> impl Strategy<Value = Vec<SlotUnits>> {
    let unit = (0u16..7, prop_oneof![9 => 0u32..5, 1 => any::<u32>()]);
    prop::collection::vec(unit.prop_map(|(slot, units)| SlotUnits { slot, units }), 0..4)
}

fn transaction() -> impl Strategy<Value = TransactionId> {
    any::<u8>().prop_map(|n| TransactionId([n; 16]))
}

fn assignment() -> impl Strategy<Value = Input> {
    (1u64..40, 1u8..9, -50i64..300, 0u8..3, prop::bool::weighted(0.15), prop::bool::weighted(0.2)).prop_map(
        |(number, id, price, policy, dollars, swap)| {
            let mut config = config(id);
            config.slots[0].price_minor = price;
            config.unknown_policy =
                [UnknownPolicy::Refund, UnknownPolicy::Keep, UnknownPolicy::Ask][usize::from(policy)];
            if dollars {
                config.currency = currency("USD");
            }
            if swap {
                config.slots[1].product = product(3);
                config.cash.tubes.remove(1);
            }
            offer(number, config)
        },
    )
}

fn command() -> impl Strategy<Value = Input> {
    let order = prop_oneof![
        4 => (1u16..6, 1u8..5, 0i64..300, any::<u64>()).prop_map(|(slot, p, price_minor, id)| Order::Dispense {
            transaction: TransactionId((u128::from(id) << 64).to_be_bytes()),
            slot,
            product: product(p),
            price_minor,
            currency: currency("EUR"),
        }),
        1 => Just(Order::OutOfService),
        2 => Just(Order::ReturnToService),
    ];
    (
        0u64..60,
        order,
        prop::bool::weighted(0.9),
        prop::option::weighted(0.2, any::<u8>()),
        prop::option::weighted(0.2, 0u64..100_000),
    )
        .prop_map(|(number, order, right_epoch, boot, expires_uptime_ms)| {
            let epoch = if right_epoch { EPOCH } else { Epoch([0; 16]) };
            let boot = boot.map(|b| BootId([b; 16]));
            Input::Command(Command { number, epoch, boot, expires_uptime_ms, order })
        })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => (0u16..7).prop_map(|slot| Input::Select { slot }),
        12 => money().prop_map(|denomination| Input::InsertMoney { denomination }),
        4 => Just(Input::PresentCard),
        2 => Just(Input::Cancel),
        1 => (transaction(), any::<bool>(), ".{0,90}").prop_map(|(transaction, offline, reference)| {
            Input::CashlessApproved { transaction, reference, offline }
        }),
        1 => transaction().prop_map(|transaction| Input::CashlessDeclined { transaction }),
        1 => transaction().prop_map(|transaction| Input::DispenseResult { transaction, motor: Motor::Success }),
        1 => (transaction(), coins()).prop_map(|(transaction, paid)| Input::PayoutResult { transaction, paid }),
        3 => (slots(), coins()).prop_map(|(slots, tubes)| Input::Refill { slots, tubes }),
        2 => (slots(), prop::option::of(coins()), prop::option::of(prop_oneof![0i64..5000, any::<i64>()]))
            .prop_map(|(slots, tubes, box_minor)| Input::Audit { slots, tubes, box_minor }),
        1 => (prop_oneof![0i64..5000, any::<i64>()], coins())
            .prop_map(|(box_minor, tubes)| Input::CollectCash { box_minor, tubes }),
        1 => (transaction(), prop_oneof![1i64..200, any::<i64>()])
            .prop_map(|(vend, amount_minor)| Input::PayOwed { vend, amount_minor }),
        1 => (0u16..7).prop_map(|slot| Input::TestVend { slot }),
        1 => Just(Input::TakeOutOfService),
        2 => Just(Input::ReturnToService),
        3 => assignment(),
        4 => command(),
        1 => (prop::option::of(0u16..7), any::<bool>()).prop_map(|(slot, cleared)| {
            Input::HardwareFault(Fault { code: "MOTOR_JAM".into(), slot, detail: "é".repeat(200), cleared })
        }),
        2 => Just(Input::ServerContact),
        1 => Just(Input::ServerLost),
        1 => Just(Input::JournalFull),
        2 => Just(Input::JournalRoom),
        1 => any::<u8>().prop_map(|n| Input::EpochOpened {
            epoch: if n < 200 { EPOCH } else { Epoch([n; 16]) },
            parent: ParentEpoch { epoch: EPOCH, last_common_seq: 1, highest_seq: 2, reason: EpochReason::Forked },
        }),
        3 => Just(Input::Tick),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let motor = prop_oneof![3 => Just(Motor::Success), 1 => Just(Motor::Failure)];
    let terminal = prop_oneof![
        3 => Just(CashlessResult::Done),
        1 => Just(CashlessResult::Later),
        1 => Just(CashlessResult::Unknown)
    ];
    prop_oneof![
        20 => input().prop_map(Step::Input),
        10 => motor.prop_map(Step::AnswerMotor),
        6 => prop_oneof![3 => Just(100u32), 1 => 0u32..=100].prop_map(Step::AnswerPayout),
        5 => (prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(approve, offline)| Step::AnswerCard { approve, offline }),
        3 => terminal.prop_map(Step::AnswerTerminal),
        2 => prop_oneof![0u64..40_000, Just(700_000u64)].prop_map(Step::Wait),
        4 => (input(), 0usize..5).prop_map(|(input, n)| Step::CutAfter(input, n)),
        1 => (0usize..5).prop_map(Step::CutAtBoot),
    ]
}

/// The input a step means now, if it means one.
fn meant(bench: &Bench, step: &Step) -> Option<Input> {
    let durable = bench.machine.durable();
    match step {
        Step::Input(input) | Step::CutAfter(input, _) => Some(input.clone()),
        Step::AnswerMotor(motor) => durable
            .intent
            .as_ref()
            .map(|i| Input::DispenseResult { transaction: i.transaction, motor: *motor }),
        Step::AnswerPayout(percent) => durable.payout.as_ref().map(|p| {
            let mut paid = p.coins.clone();
            paid.iter_mut().for_each(|c| c.count = c.count * percent / 100);
            Input::PayoutResult { transaction: p.transaction, paid }
        }),
        Step::AnswerCard { approve, offline } => durable.cashless.last().map(|c| {
            let transaction = c.transaction;
            if *approve {
                Input::CashlessApproved { transaction, reference: "ref".into(), offline: *offline }
            } else {
                Input::CashlessDeclined { transaction }
            }
        }),
        Step::AnswerTerminal(result) => durable
            .cashless
            .first()
            .map(|c| Input::CashlessSettled { transaction: c.transaction, result: *result }),
        Step::Wait(_) | Step::CutAtBoot(_) => None,
    }
}

fn live(bench: &mut Bench, steps: &[Step]) {
    for step in steps {
        if let Step::Wait(ms) = step {
            bench.wait(*ms);
        }
        let before = bench.machine.clone();
        if let Some(input) = meant(bench, step)
            && let Ok(effects) = bench.handle(input)
        {
            no_config_mid_sale(&before, bench);
            let carried = if let Step::CutAfter(_, n) = step { *n } else { usize::MAX };
            bench.carry_out(effects, carried);
        }
        match step {
            Step::CutAfter(..) => bench.power_cut(),
            Step::CutAtBoot(n) => {
                let effects = bench.boot();
                bench.carry_out(effects, *n);
                bench.power_cut();
            }
            _ => {}
        }
    }
}

fn no_config_mid_sale(before: &vend_core::machine::Machine, bench: &Bench) {
    let (was, is) = (before.durable(), bench.machine.durable());
    if was.applied_config != is.applied_config {
        assert!(is.intent.is_none() && is.payout.is_none() && is.credit.is_empty());
    }
    if let (Some(was), Some(is)) = (&was.intent, &is.intent) {
        assert_eq!(was, is, "an intent is pinned");
    }
}

proptest! {

    #[test]
    fn a_random_life_conserves_money_and_never_sells_twice(
        stocked in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut bench = if stocked { Bench::stocked() } else { Bench::factory() };
        live(&mut bench, &steps);
        bench.power_cut();
        // Each sale has one vend record at most, and no sale that was given to the motor is without one.
        let mut sold: Vec<_> = bench.vends().iter().map(|v| v.transaction).collect();
        let all = sold.len();
        sold.sort_unstable();
        sold.dedup();
        prop_assert_eq!(all, sold.len());
        for effect in &bench.started {
            if let Effect::Dispense { transaction, .. } = effect {
                prop_assert!(sold.binary_search(transaction).is_ok(), "a motor ran and no record says so");
            }
        }
    }

    #[test]
    fn a_vend_record_accounts_for_every_coin(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::stocked();
        live(&mut bench, &steps);
        for vend in bench.vends() {
            let kept = vend.cash_in_minor - vend.payout_intent_minor - vend.owed_minor;
            prop_assert!(kept == 0 || kept == vend.price_minor, "{:?}", vend);
            prop_assert!(vend.price_minor >= 0 && vend.payout_intent_minor >= 0 && vend.owed_minor >= 0);
        }
    }

    #[test]
    fn the_server_derives_the_levels_the_machine_has(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::stocked();
        let steps: Vec<_> = steps.into_iter()
            .filter(|s| !matches!(meant(&bench, s), Some(Input::ConfigOffered(_)))).collect();
        live(&mut bench, &steps);
        let mut levels = stock::Levels::new();
        bench.journal.iter().for_each(|r| stock::fold(&mut levels, &r.body));
        for level in &bench.stored.durable.slots {
            let derived = levels.get(&level.slot).map_or(0, |l| l.units);
            prop_assert_eq!(derived, i64::from(level.units), "slot {}", level.slot);
        }
    }

    #[test]
    fn a_command_number_is_journalled_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::stocked();
        live(&mut bench, &steps);
        bench.power_cut();
        // A short command may overtake a vend that is in hand, so the order is not the numbers'.
        let mut numbers: Vec<_> = bench.journal.iter()
            .filter_map(|r| if let Body::CommandResult(c) = &r.body { Some(c.number) } else { None }).collect();
        numbers.sort_unstable();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        prop_assert_eq!(numbers.last().copied().unwrap_or(0), bench.stored.durable.commands_through);
    }

    #[test]
    fn a_full_journal_needs_no_more_room_than_was_reserved(
        before in prop::collection::vec(step(), 1..40),
        after in prop::collection::vec(step(), 1..60),
    ) {
        let mut bench = Bench::stocked();
        live(&mut bench, &before);
        let _ = bench.handle(Input::JournalRoom);
        let effects = bench.handle(Input::JournalFull).unwrap();
        let written = bench.journal.len();
        bench.carry_out(effects, usize::MAX);
        // An epoch is opened into a journal of its own, and a boot has its own reserve.
        let after: Vec<_> = after.into_iter().filter(|s| !matches!(
            s,
            Step::CutAfter(..) | Step::CutAtBoot(_)
                | Step::Input(Input::JournalRoom | Input::EpochOpened { .. })
        )).collect();
        live(&mut bench, &after);
        prop_assert!(bench.journal.len() - written <= RESERVED_RECORDS);
        let written = bench.journal.len();
        bench.power_cut();
        prop_assert!(bench.journal.len() - written <= RESERVED_PER_BOOT);
    }
}
