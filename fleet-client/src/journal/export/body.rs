//! A record's meaning as JSON: field names as in the contract, enum names as in the core, ids as UUIDs.

use serde_json::{Value, json};
use vend_core::counters::Totals;
use vend_core::money::Pieces;
use vend_core::record::{Body, ParentEpoch, Payment, Record, SlotCount, VendOutcome};
use vendfleet_wire::format_uuid;

/// What a record says; its kind is the name of one member.
#[must_use]
pub fn record(record: &Record) -> Value {
    let (name, body) = body(&record.body);
    json!({
        "boot_id": format_uuid(&record.stamp.boot.0),
        "uptime_ms": record.stamp.at.uptime_ms,
        "wall_ms": record.stamp.at.wall_ms,
        "clock_quality": name_of(&record.stamp.at.clock),
        "lifetime_after": record.lifetime_after.as_ref().map(totals),
        (name): body,
    })
}

fn body(body: &Body) -> (&'static str, Value) {
    match body {
        Body::Boot(b) => {
            let parent = b.parent.as_ref().map(parent);
            ("boot", json!({ "firmware": b.firmware, "boot_count": b.boot_count, "parent": parent }))
        }
        Body::Vend(v) => {
            let (payment, reference, offline) = match &v.payment {
                Payment::Cashless { reference, offline } => {
                    ("Cashless".to_owned(), Some(reference), Some(offline))
                }
                other => (name_of(other), None, None),
            };
            let (outcome, policy) = match &v.outcome {
                VendOutcome::Unknown(policy) => ("Unknown".to_owned(), Some(name_of(policy))),
                other => (name_of(other), None),
            };
            let vend = json!({
                "transaction_id": format_uuid(&v.transaction.0),
                "slot": v.slot,
                "product_id": format_uuid(&v.product.0),
                "config_id": format_uuid(&v.config.0),
                "price_minor": v.price_minor,
                "currency_code": v.currency.as_str(),
                "payment": payment,
                "payment_reference": reference,
                "offline": offline,
                "outcome": outcome,
                "unknown_policy": policy,
                "cash_in_minor": v.cash_in_minor,
                "payout_intent_minor": v.payout_intent_minor,
                "owed_minor": v.owed_minor,
                "command_number": v.command_number,
            });
            ("vend", vend)
        }
        Body::Settlement(s) => {
            let settlement = json!({
                "settlement_id": format_uuid(&s.settlement_id.0),
                "vend_transaction_id": format_uuid(&s.vend.0),
                "what": name_of(&s.what),
                "amount_minor": s.amount_minor,
                "currency_code": s.currency.as_str(),
            });
            ("settlement", settlement)
        }
        Body::CashIn(c) => {
            let cash_in = json!({
                "transaction_id": format_uuid(&c.transaction.0),
                "amount_minor": c.amount_minor,
                "inserted_minor": c.inserted_minor,
                "currency_code": c.currency.as_str(),
            });
            ("cash_in", cash_in)
        }
        Body::Refill(r) => {
            ("refill", json!({ "slots": slots(&r.slots), "tubes_loaded": purse(&r.tubes_loaded) }))
        }
        Body::Audit(a) => {
            let audit = json!({
                "slots": slots(&a.slots),
                "tubes": purse(&a.tubes),
                "box_minor": a.box_minor,
                "since_reset": totals(&a.since_reset),
            });
            ("audit", audit)
        }
        Body::CashCollected(c) => {
            let collected = json!({
                "box_minor": c.box_minor,
                "tubes_minor": c.tubes_minor,
                "currency_code": c.currency.as_str(),
                "since_reset": totals(&c.since_reset),
            });
            ("cash_collected", collected)
        }
        Body::Fault(f) => {
            ("fault", json!({ "code": f.code, "slot": f.slot, "detail": f.detail, "cleared": f.cleared }))
        }
        Body::ConfigVerdict(c) => {
            let refusal =
                |r: &vend_core::record::ConfigRefusal| json!({ "field": r.field, "reason": r.reason });
            let verdict = json!({
                "assignment_number": c.assignment,
                "config_id": format_uuid(&c.config.0),
                "outcome": name_of(&c.verdict),
                "refusals": c.refusals.iter().map(refusal).collect::<Vec<_>>(),
            });
            ("config_verdict", verdict)
        }
        Body::CommandResult(c) => {
            ("command_result", json!({ "number": c.number, "done": c.done, "reason": c.reason }))
        }
    }
}

/// The epoch before.
#[must_use]
pub fn parent(parent: &ParentEpoch) -> Value {
    json!({
        "epoch": hex::encode(parent.epoch.0),
        "last_common_seq": parent.last_common_seq,
        "highest_seq": parent.highest_seq,
        "reason": name_of(&parent.reason),
    })
}

fn name_of(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn slots(slots: &[SlotCount]) -> Vec<Value> {
    let slot =
        |s: &SlotCount| json!({ "slot": s.slot, "product_id": format_uuid(&s.product.0), "units": s.units });
    slots.iter().map(slot).collect()
}

/// Pieces of money.
#[must_use]
pub fn purse(purse: &[Pieces]) -> Vec<Value> {
    purse.iter().map(|p| json!({ "denomination_minor": p.denomination, "count": p.count })).collect()
}

/// One set of totals.
#[must_use]
pub fn totals(t: &Totals) -> Value {
    json!({
        "vends": t.vends,
        "vends_minor": t.vends_minor,
        "cash_vends": t.cash_vends,
        "cash_vends_minor": t.cash_vends_minor,
        "cashless_vends": t.cashless_vends,
        "cashless_vends_minor": t.cashless_vends_minor,
        "remote_vends": t.remote_vends,
        "remote_vends_minor": t.remote_vends_minor,
        "free_vends": t.free_vends,
        "test_vends": t.test_vends,
        "failed_vends": t.failed_vends,
        "unknown_vends": t.unknown_vends,
        "cash_in_minor": t.cash_in_minor,
        "cash_out_minor": t.cash_out_minor,
        "cash_collected_minor": t.cash_collected_minor,
        "cash_loaded_minor": t.cash_loaded_minor,
        "owed_minor": t.owed_minor,
    })
}
