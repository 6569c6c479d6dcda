//! One record of each kind, every field set to something that shows.
#![allow(dead_code, clippy::unwrap_used)]

use vend_core::config::{CashConfig, Config, OfflineBudget, Product, Slot, Tube};
use vend_core::counters::Totals;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::{Currency, Pieces};
use vend_core::record::{
    Audit, Body, Boot, CashCollected, CashIn, CommandResult, ConfigOutcome, ConfigRefusal, ConfigVerdict,
    EpochReason, Fault, ParentEpoch, Payment, Record, Refill, Settled, Settlement, SlotCount, UnknownPolicy,
    Vend, VendOutcome,
};
use vend_core::time::{ClockQuality, Now, Stamp};

pub(crate) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(crate) fn totals(from: u64) -> Totals {
    let n = |k: u64| from + k;
    let m = |k: i64| i64::try_from(from).unwrap() * 100 + k;
    Totals {
        vends: n(1),
        vends_minor: m(2),
        cash_vends: n(3),
        cash_vends_minor: m(4),
        cashless_vends: n(5),
        cashless_vends_minor: m(6),
        remote_vends: n(7),
        remote_vends_minor: m(8),
        free_vends: n(9),
        test_vends: n(10),
        failed_vends: n(11),
        unknown_vends: n(12),
        cash_in_minor: m(13),
        cash_out_minor: m(14),
        cash_collected_minor: m(15),
        cash_loaded_minor: m(16),
        owed_minor: -17,
    }
}

fn record(body: Body) -> Record {
    let at = Now { uptime_ms: 123_456, wall_ms: 1_795_000_000_123, clock: ClockQuality::Synced };
    let money = !matches!(body, Body::Fault(_) | Body::ConfigVerdict(_) | Body::CommandResult(_));
    Record {
        stamp: Stamp { boot: BootId([0xb0; 16]), at },
        lifetime_after: money.then(|| totals(1000)),
        body,
    }
}

pub(crate) fn vend(payment: Payment, outcome: VendOutcome) -> Vend {
    Vend {
        transaction: TransactionId([0x11; 16]),
        slot: 12,
        product: ProductId([0x22; 16]),
        config: ConfigId([0x33; 16]),
        price_minor: 150,
        currency: eur(),
        payment,
        outcome,
        cash_in_minor: 200,
        payout_intent_minor: 50,
        owed_minor: 0,
        command_number: 9,
    }
}

fn slots() -> Vec<SlotCount> {
    [(1, 5), (65_535, 0)]
        .map(|(slot, units)| SlotCount { slot, product: ProductId([0x22; 16]), units })
        .to_vec()
}

fn purse() -> Vec<Pieces> {
    vec![Pieces { denomination: 10, count: 3 }, Pieces { denomination: 200, count: 0 }]
}

pub(crate) fn samples() -> Vec<(&'static str, Record)> {
    let cashless = Payment::Cashless { reference: "T-4711".into(), offline: true };
    let parent = ParentEpoch {
        epoch: Epoch([0xee; 16]),
        last_common_seq: 41,
        highest_seq: 43,
        reason: EpochReason::Salvaged,
    };
    let bodies = [
        ("boot", Body::Boot(Boot { firmware: "1.2.3".into(), boot_count: 4, parent: None })),
        (
            "boot_with_parent",
            Body::Boot(Boot { firmware: "1.2.3".into(), boot_count: 5, parent: Some(parent) }),
        ),
        ("vend_cash", Body::Vend(vend(Payment::Cash, VendOutcome::Success))),
        ("vend_cashless_failed", Body::Vend(vend(cashless, VendOutcome::Failure))),
        ("vend_unknown", Body::Vend(vend(Payment::Remote, VendOutcome::Unknown(UnknownPolicy::Ask)))),
        (
            "settlement",
            Body::Settlement(Settlement {
                settlement_id: TransactionId([0x44; 16]),
                vend: TransactionId([0x11; 16]),
                what: Settled::Owed,
                amount_minor: 50,
                currency: eur(),
            }),
        ),
        (
            "cash_in",
            Body::CashIn(CashIn {
                transaction: TransactionId([0x55; 16]),
                amount_minor: 20,
                inserted_minor: 100,
                currency: eur(),
            }),
        ),
        ("refill", Body::Refill(Refill { slots: slots(), tubes_loaded: purse() })),
        (
            "audit",
            Body::Audit(Audit { slots: slots(), tubes: purse(), box_minor: 12_345, since_reset: totals(10) }),
        ),
        (
            "cash_collected",
            Body::CashCollected(CashCollected {
                box_minor: 12_345,
                tubes_minor: 500,
                currency: eur(),
                since_reset: totals(10),
            }),
        ),
        (
            "fault",
            Body::Fault(Fault {
                code: "MOTOR_JAM".into(),
                slot: Some(0),
                detail: "no pulse".into(),
                cleared: true,
            }),
        ),
        (
            "config_verdict",
            Body::ConfigVerdict(ConfigVerdict {
                assignment: 6,
                config: ConfigId([0x33; 16]),
                verdict: ConfigOutcome::Refused,
                refusals: vec![ConfigRefusal {
                    field: "slots[12].price_minor".into(),
                    reason: "NEGATIVE_PRICE".into(),
                }],
            }),
        ),
        (
            "command_result",
            Body::CommandResult(CommandResult { number: 9, done: false, reason: "SLOT_EMPTY".into() }),
        ),
    ];
    bodies.into_iter().map(|(name, body)| (name, record(body))).collect()
}

pub(crate) fn config() -> Config {
    Config {
        id: ConfigId([0x33; 16]),
        currency: eur(),
        products: vec![Product { id: ProductId([0x22; 16]), name: "Water".into() }],
        slots: vec![Slot {
            slot: 12,
            product: ProductId([0x22; 16]),
            price_minor: 150,
            capacity: 10,
            par: 8,
        }],
        cash: CashConfig {
            accepted: vec![10, 200],
            tubes: vec![Tube { denomination: 10, capacity: 50 }],
            max_credit_minor: 1000,
        },
        offline_cashless: OfflineBudget {
            per_sale_minor: 500,
            total_minor: 5000,
            count: 10,
            age_ms: 86_400_000,
        },
        unknown_policy: UnknownPolicy::Keep,
        selection_timeout_ms: 30_000,
    }
}
