//! From meaning to bytes.

use crate::check::purse_to_proto;
use crate::totals;
use prost::Message;
use vend_core::record::{
    Body, Boot, ConfigOutcome, EpochReason, Kind, Payment, Record, Settled, SlotCount, UnknownPolicy, Vend,
    VendOutcome,
};
use vend_core::time::{ClockQuality, Stamp};
use vendfleet_proto::v1;
use vendfleet_proto::v1::record_body::Body as ProtoBody;

/// A record without its number: what the journal hashes and stores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// What kind it is; `kind as u32` is its number.
    pub kind: Kind,
    /// Schema of the body.
    pub schema: u32,
    /// The body's bytes. Longer than [`crate::MAX_BODY_BYTES`] only when the record was: the writer must check.
    pub body: Vec<u8>,
}

/// Serialises a record. The same record gives the same bytes for ever: the golden vectors hold us to it.
#[must_use]
pub fn encode(record: &Record) -> Encoded {
    let message = v1::RecordBody {
        stamp: Some(stamp(&record.stamp)),
        lifetime_after: record.lifetime_after.as_ref().map(totals::to_proto),
        body: Some(body_to_proto(&record.body)),
    };
    Encoded { kind: record.body.kind(), schema: crate::SCHEMA, body: message.encode_to_vec() }
}

fn stamp(stamp: &Stamp) -> v1::Stamp {
    let quality = match stamp.at.clock {
        ClockQuality::Unset => v1::ClockQuality::Unspecified,
        ClockQuality::FreeRunning => v1::ClockQuality::FreeRunning,
        ClockQuality::Synced => v1::ClockQuality::Synced,
    };
    v1::Stamp {
        boot_id: stamp.boot.0.to_vec(),
        uptime_ms: stamp.at.uptime_ms,
        wall_ms: stamp.at.wall_ms,
        clock_quality: quality.into(),
    }
}

/// A body as its message.
#[must_use]
pub fn body_to_proto(body: &Body) -> ProtoBody {
    match body {
        Body::Boot(b) => ProtoBody::Boot(boot(b)),
        Body::Vend(v) => ProtoBody::Vend(vend(v)),
        Body::Settlement(s) => ProtoBody::Settlement(v1::SettlementBody {
            settlement_id: s.settlement_id.0.to_vec(),
            vend_transaction_id: s.vend.0.to_vec(),
            what: settled(s.what).into(),
            amount_minor: s.amount_minor,
            currency_code: s.currency.as_str().to_owned(),
        }),
        Body::CashIn(c) => ProtoBody::CashIn(v1::CashInBody {
            transaction_id: c.transaction.0.to_vec(),
            amount_minor: c.amount_minor,
            inserted_minor: c.inserted_minor,
            currency_code: c.currency.as_str().to_owned(),
        }),
        Body::Refill(r) => ProtoBody::Refill(v1::RefillBody {
            slots: slot_counts(&r.slots),
            tubes_loaded: purse_to_proto(&r.tubes_loaded),
        }),
        Body::Audit(a) => ProtoBody::Audit(v1::AuditBody {
            slots: slot_counts(&a.slots),
            tubes: purse_to_proto(&a.tubes),
            box_minor: a.box_minor,
            since_reset: Some(totals::to_proto(&a.since_reset)),
        }),
        Body::CashCollected(c) => ProtoBody::CashCollected(v1::CashCollectedBody {
            box_minor: c.box_minor,
            tubes_minor: c.tubes_minor,
            currency_code: c.currency.as_str().to_owned(),
            since_reset: Some(totals::to_proto(&c.since_reset)),
        }),
        Body::Fault(f) => ProtoBody::Fault(v1::FaultBody {
            code: f.code.clone(),
            slot: f.slot.map(u32::from),
            detail: f.detail.clone(),
            cleared: f.cleared,
        }),
        Body::ConfigVerdict(c) => ProtoBody::ConfigVerdict(v1::ConfigVerdictBody {
            assignment_number: c.assignment,
            config_id: c.config.0.to_vec(),
            outcome: config_outcome(c.verdict).into(),
            refusals: c
                .refusals
                .iter()
                .map(|r| v1::ConfigRefusal { field: r.field.clone(), reason: r.reason.clone() })
                .collect(),
        }),
        Body::CommandResult(c) => ProtoBody::CommandResult(v1::CommandResultBody {
            number: c.number,
            done: c.done,
            reason: c.reason.clone(),
        }),
    }
}

fn boot(boot: &Boot) -> v1::BootBody {
    v1::BootBody {
        firmware: boot.firmware.clone(),
        boot_count: boot.boot_count,
        parent: boot.parent.as_ref().map(|p| v1::ParentEpoch {
            epoch: p.epoch.0.to_vec(),
            last_common_seq: p.last_common_seq,
            highest_seq: p.highest_seq,
            reason: match p.reason {
                EpochReason::New => v1::EpochReason::New,
                EpochReason::Salvaged => v1::EpochReason::Salvaged,
                EpochReason::Forked => v1::EpochReason::Forked,
                EpochReason::TailLost => v1::EpochReason::TailLost,
            }
            .into(),
        }),
    }
}

fn vend(v: &Vend) -> v1::VendBody {
    let (payment, payment_reference, offline) = payment_to_proto(&v.payment);
    let (outcome, unknown_policy) = match v.outcome {
        VendOutcome::Success => (v1::VendOutcome::Success, v1::UnknownPolicy::Unspecified),
        VendOutcome::Failure => (v1::VendOutcome::Failure, v1::UnknownPolicy::Unspecified),
        VendOutcome::Unknown(policy) => (v1::VendOutcome::Unknown, policy_to_proto(policy)),
    };
    v1::VendBody {
        transaction_id: v.transaction.0.to_vec(),
        slot: v.slot.into(),
        product_id: v.product.0.to_vec(),
        config_id: v.config.0.to_vec(),
        price_minor: v.price_minor,
        currency_code: v.currency.as_str().to_owned(),
        payment: payment.into(),
        payment_reference,
        offline,
        outcome: outcome.into(),
        unknown_policy: unknown_policy.into(),
        cash_in_minor: v.cash_in_minor,
        payout_intent_minor: v.payout_intent_minor,
        owed_minor: v.owed_minor,
        command_number: v.command_number,
    }
}

pub(crate) fn payment_to_proto(payment: &Payment) -> (v1::PaymentMethod, String, bool) {
    match payment {
        Payment::Cash => (v1::PaymentMethod::Cash, String::new(), false),
        Payment::Cashless { reference, offline } => {
            (v1::PaymentMethod::Cashless, reference.clone(), *offline)
        }
        Payment::Remote => (v1::PaymentMethod::Remote, String::new(), false),
        Payment::Free => (v1::PaymentMethod::Free, String::new(), false),
        Payment::Test => (v1::PaymentMethod::Test, String::new(), false),
    }
}

pub(crate) fn policy_to_proto(policy: UnknownPolicy) -> v1::UnknownPolicy {
    match policy {
        UnknownPolicy::Refund => v1::UnknownPolicy::Refund,
        UnknownPolicy::Keep => v1::UnknownPolicy::Keep,
        UnknownPolicy::Ask => v1::UnknownPolicy::Ask,
    }
}

fn settled(what: Settled) -> v1::SettlementKind {
    match what {
        Settled::PaidOut => v1::SettlementKind::PaidOut,
        Settled::PayoutUnknown => v1::SettlementKind::PayoutUnknown,
        Settled::Owed => v1::SettlementKind::Owed,
        Settled::Captured => v1::SettlementKind::Captured,
        Settled::Voided => v1::SettlementKind::Voided,
        Settled::CashlessUnknown => v1::SettlementKind::CashlessUnknown,
    }
}

fn config_outcome(outcome: ConfigOutcome) -> v1::ConfigOutcome {
    match outcome {
        ConfigOutcome::Applied => v1::ConfigOutcome::Applied,
        ConfigOutcome::Refused => v1::ConfigOutcome::Refused,
        ConfigOutcome::RolledBack => v1::ConfigOutcome::RolledBack,
    }
}

fn slot_counts(slots: &[SlotCount]) -> Vec<v1::SlotCount> {
    slots
        .iter()
        .map(|s| v1::SlotCount { slot: s.slot.into(), product_id: s.product.0.to_vec(), units: s.units })
        .collect()
}
