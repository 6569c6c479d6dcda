//! From bytes to meaning, and every rule in between.

use crate::check::{self, Once};
use crate::error::{BodyError, Path};
use crate::totals;
use prost::Message;
use vend_core::counters::Totals;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::record::{
    Audit, Body, Boot, CashCollected, CashIn, CommandResult, ConfigOutcome, ConfigRefusal, ConfigVerdict,
    EpochReason, Fault, Kind, ParentEpoch, Payment, Record, Refill, Settled, Settlement, SlotCount,
    UnknownPolicy, Vend, VendOutcome,
};
use vend_core::time::{ClockQuality, Now, Stamp};
use vendfleet_proto::v1;
use vendfleet_proto::v1::record_body::Body as ProtoBody;

type Result<T> = core::result::Result<T, BodyError>;

/// The kind that a number stands for; `None` for numbers this build does not know.
#[must_use]
pub fn kind_from_number(number: u32) -> Option<Kind> {
    Some(match number {
        1 => Kind::Boot,
        2 => Kind::Vend,
        3 => Kind::Settlement,
        4 => Kind::CashIn,
        5 => Kind::Refill,
        6 => Kind::Audit,
        7 => Kind::CashCollected,
        8 => Kind::Fault,
        9 => Kind::ConfigVerdict,
        10 => Kind::CommandResult,
        _ => return None,
    })
}

/// Reads a body and checks every rule `record.proto` states for its kind. Fields this build does not know are ignored.
///
/// # Errors
/// The first field that broke a rule, and the rule.
pub fn decode(kind: u32, schema: u32, body: &[u8]) -> Result<Record> {
    let kind = kind_from_number(kind).ok_or_else(|| BodyError::new("kind", "must be a known RecordKind"))?;
    if schema != crate::SCHEMA {
        return Err(BodyError::new("schema", "must be 1"));
    }
    if body.len() > crate::MAX_BODY_BYTES {
        return Err(BodyError::new("body", "must be at most 4096 bytes"));
    }
    let message = v1::RecordBody::decode(body)
        .map_err(|_| BodyError::new("body", "must be a serialised RecordBody"))?;
    let stamp = message.stamp.ok_or_else(|| BodyError::new("stamp", "must be set"))?;
    let meaning = message.body.ok_or_else(|| BodyError::new("body", "must have one member set"))?;
    let meaning = match meaning {
        ProtoBody::Boot(b) => Body::Boot(boot(b)?),
        ProtoBody::Vend(v) => Body::Vend(vend(v)?),
        ProtoBody::Settlement(s) => Body::Settlement(settlement(&s)?),
        ProtoBody::CashIn(c) => Body::CashIn(cash_in(&c)?),
        ProtoBody::Refill(r) => Body::Refill(refill(&r)?),
        ProtoBody::Audit(a) => Body::Audit(audit(&a)?),
        ProtoBody::CashCollected(c) => Body::CashCollected(cash_collected(&c)?),
        ProtoBody::Fault(f) => Body::Fault(fault(f)?),
        ProtoBody::ConfigVerdict(c) => Body::ConfigVerdict(config_verdict(c)?),
        ProtoBody::CommandResult(c) => Body::CommandResult(command_result(c)?),
    };
    if meaning.kind() != kind {
        return Err(BodyError::other_kind());
    }
    let lifetime_after = message.lifetime_after.as_ref().map(totals::from_proto);
    let carries_totals = !matches!(kind, Kind::Fault | Kind::ConfigVerdict | Kind::CommandResult);
    if carries_totals && lifetime_after.is_none() {
        return Err(BodyError::new("lifetime_after", "must be set on this kind"));
    }
    Ok(Record { stamp: decode_stamp(&stamp)?, lifetime_after, body: meaning })
}

fn decode_stamp(stamp: &v1::Stamp) -> Result<Stamp> {
    let at = Path::root("stamp");
    let clock = match v1::ClockQuality::try_from(stamp.clock_quality) {
        Ok(v1::ClockQuality::Unspecified) => ClockQuality::Unset,
        Ok(v1::ClockQuality::FreeRunning) => ClockQuality::FreeRunning,
        Ok(v1::ClockQuality::Synced) => ClockQuality::Synced,
        Err(_) => return Err(at.field("clock_quality").broke("must be a known ClockQuality")),
    };
    Ok(Stamp {
        boot: BootId(check::id(&at, "boot_id", &stamp.boot_id)?),
        at: Now { uptime_ms: stamp.uptime_ms, wall_ms: stamp.wall_ms, clock },
    })
}

fn boot(b: v1::BootBody) -> Result<Boot> {
    let at = Path::root("boot");
    if b.boot_count == 0 {
        return Err(at.field("boot_count").broke("must be at least 1"));
    }
    let parent = b.parent.as_ref().map(|p| parent_epoch(&at, p)).transpose()?;
    Ok(Boot { firmware: check::text(&at, "firmware", b.firmware, 64)?, boot_count: b.boot_count, parent })
}

fn parent_epoch(at: &Path<'_>, p: &v1::ParentEpoch) -> Result<ParentEpoch> {
    let at = at.field("parent");
    let reason = match v1::EpochReason::try_from(p.reason) {
        Ok(v1::EpochReason::New) => EpochReason::New,
        Ok(v1::EpochReason::Salvaged) => EpochReason::Salvaged,
        Ok(v1::EpochReason::Forked) => EpochReason::Forked,
        Ok(v1::EpochReason::TailLost) => EpochReason::TailLost,
        Ok(v1::EpochReason::Unspecified) | Err(_) => {
            return Err(at.field("reason").broke("must be a known EpochReason"));
        }
    };
    Ok(ParentEpoch {
        epoch: Epoch(check::id(&at, "epoch", &p.epoch)?),
        last_common_seq: check::number(&at, "last_common_seq", p.last_common_seq)?,
        highest_seq: check::number(&at, "highest_seq", p.highest_seq)?,
        reason,
    })
}

fn vend(v: v1::VendBody) -> Result<Vend> {
    let at = Path::root("vend");
    let outcome = match v1::VendOutcome::try_from(v.outcome) {
        Ok(v1::VendOutcome::Success) => VendOutcome::Success,
        Ok(v1::VendOutcome::Failure) => VendOutcome::Failure,
        Ok(v1::VendOutcome::Unknown) => VendOutcome::Unknown(policy_from_proto(&at, v.unknown_policy)?),
        Ok(v1::VendOutcome::Unspecified) | Err(_) => {
            return Err(at.field("outcome").broke("must be a known VendOutcome"));
        }
    };
    if v.unknown_policy != 0 && !matches!(outcome, VendOutcome::Unknown(_)) {
        return Err(at.field("unknown_policy").broke("must be set only with VEND_OUTCOME_UNKNOWN"));
    }
    let payment = payment_from_proto(&at, v.payment, v.payment_reference, v.offline)?;
    if payment == Payment::Free && v.price_minor != 0 {
        return Err(at.field("price_minor").broke("must be zero with PAYMENT_METHOD_FREE"));
    }
    Ok(Vend {
        transaction: TransactionId(check::id(&at, "transaction_id", &v.transaction_id)?),
        slot: check::slot(&at, v.slot)?,
        product: ProductId(check::id(&at, "product_id", &v.product_id)?),
        config: ConfigId(check::id(&at, "config_id", &v.config_id)?),
        price_minor: check::not_negative(&at, "price_minor", v.price_minor)?,
        currency: check::currency(&at, &v.currency_code)?,
        payment,
        outcome,
        cash_in_minor: check::not_negative(&at, "cash_in_minor", v.cash_in_minor)?,
        payout_intent_minor: check::not_negative(&at, "payout_intent_minor", v.payout_intent_minor)?,
        owed_minor: check::not_negative(&at, "owed_minor", v.owed_minor)?,
        command_number: check::number(&at, "command_number", v.command_number)?,
    })
}

pub(crate) fn payment_from_proto(
    at: &Path<'_>,
    method: i32,
    reference: String,
    offline: bool,
) -> Result<Payment> {
    let payment = match v1::PaymentMethod::try_from(method) {
        Ok(v1::PaymentMethod::Cashless) => {
            let reference = check::text(at, "payment_reference", reference, 64)?;
            return Ok(Payment::Cashless { reference, offline });
        }
        Ok(v1::PaymentMethod::Cash) => Payment::Cash,
        Ok(v1::PaymentMethod::Remote) => Payment::Remote,
        Ok(v1::PaymentMethod::Free) => Payment::Free,
        Ok(v1::PaymentMethod::Test) => Payment::Test,
        Ok(v1::PaymentMethod::Unspecified) | Err(_) => {
            return Err(at.field("payment").broke("must be a known PaymentMethod"));
        }
    };
    if !reference.is_empty() {
        return Err(at.field("payment_reference").broke("must be set only with PAYMENT_METHOD_CASHLESS"));
    }
    if offline {
        return Err(at.field("offline").broke("must be set only with PAYMENT_METHOD_CASHLESS"));
    }
    Ok(payment)
}

pub(crate) fn policy_from_proto(at: &Path<'_>, policy: i32) -> Result<UnknownPolicy> {
    match v1::UnknownPolicy::try_from(policy) {
        Ok(v1::UnknownPolicy::Unspecified | v1::UnknownPolicy::Refund) => Ok(UnknownPolicy::Refund),
        Ok(v1::UnknownPolicy::Keep) => Ok(UnknownPolicy::Keep),
        Ok(v1::UnknownPolicy::Ask) => Ok(UnknownPolicy::Ask),
        Err(_) => Err(at.field("unknown_policy").broke("must be a known UnknownPolicy")),
    }
}

fn settlement(s: &v1::SettlementBody) -> Result<Settlement> {
    let at = Path::root("settlement");
    let what = match v1::SettlementKind::try_from(s.what) {
        Ok(v1::SettlementKind::PaidOut) => Settled::PaidOut,
        Ok(v1::SettlementKind::PayoutUnknown) => Settled::PayoutUnknown,
        Ok(v1::SettlementKind::Owed) => Settled::Owed,
        Ok(v1::SettlementKind::Captured) => Settled::Captured,
        Ok(v1::SettlementKind::Voided) => Settled::Voided,
        Ok(v1::SettlementKind::CashlessUnknown) => Settled::CashlessUnknown,
        Ok(v1::SettlementKind::Unspecified) | Err(_) => {
            return Err(at.field("what").broke("must be a known SettlementKind"));
        }
    };
    Ok(Settlement {
        settlement_id: TransactionId(check::id(&at, "settlement_id", &s.settlement_id)?),
        vend: TransactionId(check::id(&at, "vend_transaction_id", &s.vend_transaction_id)?),
        what,
        amount_minor: check::not_negative(&at, "amount_minor", s.amount_minor)?,
        currency: check::currency(&at, &s.currency_code)?,
    })
}

fn cash_in(c: &v1::CashInBody) -> Result<CashIn> {
    let at = Path::root("cash_in");
    let inserted_minor = check::not_negative(&at, "inserted_minor", c.inserted_minor)?;
    let amount_minor = check::not_negative(&at, "amount_minor", c.amount_minor)?;
    if amount_minor > inserted_minor {
        return Err(at.field("amount_minor").broke("must be at most inserted_minor"));
    }
    Ok(CashIn {
        transaction: TransactionId(check::id(&at, "transaction_id", &c.transaction_id)?),
        amount_minor,
        inserted_minor,
        currency: check::currency(&at, &c.currency_code)?,
    })
}

fn refill(r: &v1::RefillBody) -> Result<Refill> {
    let at = Path::root("refill");
    Ok(Refill {
        slots: slot_counts(&at, &r.slots)?,
        tubes_loaded: check::purse(&at, "tubes_loaded", &r.tubes_loaded)?,
    })
}

fn audit(a: &v1::AuditBody) -> Result<Audit> {
    let at = Path::root("audit");
    Ok(Audit {
        slots: slot_counts(&at, &a.slots)?,
        tubes: check::purse(&at, "tubes", &a.tubes)?,
        box_minor: check::not_negative(&at, "box_minor", a.box_minor)?,
        since_reset: since_reset(&at, a.since_reset.as_ref())?,
    })
}

fn cash_collected(c: &v1::CashCollectedBody) -> Result<CashCollected> {
    let at = Path::root("cash_collected");
    Ok(CashCollected {
        box_minor: check::not_negative(&at, "box_minor", c.box_minor)?,
        tubes_minor: check::not_negative(&at, "tubes_minor", c.tubes_minor)?,
        currency: check::currency(&at, &c.currency_code)?,
        since_reset: since_reset(&at, c.since_reset.as_ref())?,
    })
}

fn since_reset(at: &Path<'_>, totals: Option<&v1::Totals>) -> Result<Totals> {
    totals.map(totals::from_proto).ok_or_else(|| at.field("since_reset").broke("must be set"))
}

fn slot_counts(at: &Path<'_>, slots: &[v1::SlotCount]) -> Result<Vec<SlotCount>> {
    check::count(at, "slots", slots.len(), crate::MAX_SLOTS)?;
    let mut once = Once::default();
    let one = |(index, s): (usize, &v1::SlotCount)| {
        let at = at.item("slots", index);
        if !once.first(s.slot) {
            return Err(at.field("slot").broke("must appear once"));
        }
        let product = ProductId(check::id(&at, "product_id", &s.product_id)?);
        Ok(SlotCount { slot: check::slot(&at, s.slot)?, product, units: s.units })
    };
    slots.iter().enumerate().map(one).collect()
}

fn fault(f: v1::FaultBody) -> Result<Fault> {
    let at = Path::root("fault");
    Ok(Fault {
        code: check::name(&at, "code", f.code, false)?,
        slot: f.slot.map(|s| check::slot(&at, s)).transpose()?,
        detail: check::text(&at, "detail", f.detail, 256)?,
        cleared: f.cleared,
    })
}

fn config_verdict(c: v1::ConfigVerdictBody) -> Result<ConfigVerdict> {
    let at = Path::root("config_verdict");
    let verdict = match v1::ConfigOutcome::try_from(c.outcome) {
        Ok(v1::ConfigOutcome::Applied) => ConfigOutcome::Applied,
        Ok(v1::ConfigOutcome::Refused) => ConfigOutcome::Refused,
        Ok(v1::ConfigOutcome::RolledBack) => ConfigOutcome::RolledBack,
        Ok(v1::ConfigOutcome::Unspecified) | Err(_) => {
            return Err(at.field("outcome").broke("must be a known ConfigOutcome"));
        }
    };
    check::count(&at, "refusals", c.refusals.len(), crate::MAX_REFUSALS)?;
    if verdict == ConfigOutcome::Applied && !c.refusals.is_empty() {
        return Err(at.field("refusals").broke("must be empty with CONFIG_OUTCOME_APPLIED"));
    }
    let refusal = |(index, r): (usize, v1::ConfigRefusal)| {
        let at = at.item("refusals", index);
        let field = check::text(&at, "field", r.field, 128)?;
        Ok(ConfigRefusal { field, reason: check::name(&at, "reason", r.reason, false)? })
    };
    Ok(ConfigVerdict {
        assignment: check::number(&at, "assignment_number", c.assignment_number)?,
        config: ConfigId(check::id(&at, "config_id", &c.config_id)?),
        verdict,
        refusals: c.refusals.into_iter().enumerate().map(refusal).collect::<Result<_>>()?,
    })
}

fn command_result(c: v1::CommandResultBody) -> Result<CommandResult> {
    let at = Path::root("command_result");
    Ok(CommandResult {
        number: check::number(&at, "number", c.number)?,
        done: c.done,
        reason: check::name(&at, "reason", c.reason, true)?,
    })
}
