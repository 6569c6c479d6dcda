//! Records, totals and events as JSON: what `run --json` prints, what `journal export` writes, what a report holds.
//!
//! Ids are UUID text or hex, money is minor units, names are those of the contract in lower case.

use crate::device::Event;
use crate::journal::RawRecord;
use serde_json::{Map, Value, json};
use vend_core::counters::Totals;
use vend_core::id::Epoch;
use vend_core::machine::{Books, Display, Motor, OutOfService, State, View};
use vend_core::money::Purse;
use vend_core::record::{
    Body, ConfigOutcome, EpochReason, Kind, ParentEpoch, Payment, Record, Settled, SlotCount, UnknownPolicy,
    VendOutcome,
};
use vend_core::time::ClockQuality;
use vendfleet_wire::format_uuid;

/// A stored record with its name, and its meaning or why it has none.
#[must_use]
pub fn stored(epoch: Epoch, raw: &RawRecord) -> Value {
    let mut object = Map::new();
    object.insert("epoch".into(), hex::encode(epoch.0).into());
    object.insert("seq".into(), raw.seq.into());
    object.insert("hash".into(), hex::encode(raw.hash).into());
    match vendfleet_wire::decode(raw.kind, raw.schema, &raw.body) {
        Ok(record) => merge(&mut object, self::record(&record)),
        Err(error) => {
            object.insert("kind_number".into(), raw.kind.into());
            object.insert("schema".into(), raw.schema.into());
            object.insert("unreadable".into(), error.to_string().into());
            object.insert("body".into(), hex::encode(&raw.body).into());
        }
    }
    Value::Object(object)
}

/// What a record says.
#[must_use]
pub fn record(record: &Record) -> Value {
    let mut object = Map::new();
    object.insert("kind".into(), kind(record.body.kind()).into());
    merge(&mut object, body(&record.body));
    object.insert(
        "stamp".into(),
        json!({
            "boot_id": hex::encode(record.stamp.boot.0),
            "uptime_ms": record.stamp.at.uptime_ms,
            "wall_ms": record.stamp.at.wall_ms,
            "clock": match record.stamp.at.clock {
                ClockQuality::Unset => "unset",
                ClockQuality::FreeRunning => "free_running",
                ClockQuality::Synced => "synced",
            },
        }),
    );
    if let Some(after) = &record.lifetime_after {
        object.insert("lifetime_after".into(), totals(after));
    }
    Value::Object(object)
}

/// A kind's name.
#[must_use]
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boot => "boot",
        Kind::Vend => "vend",
        Kind::Settlement => "settlement",
        Kind::CashIn => "cash_in",
        Kind::Refill => "refill",
        Kind::Audit => "audit",
        Kind::CashCollected => "cash_collected",
        Kind::Fault => "fault",
        Kind::ConfigVerdict => "config_verdict",
        Kind::CommandResult => "command_result",
    }
}

fn body(body: &Body) -> Value {
    match body {
        Body::Boot(b) => {
            json!({"firmware": b.firmware, "boot_count": b.boot_count, "parent": b.parent.map(parent)})
        }
        Body::Vend(v) => {
            let (payment, reference, offline) = match &v.payment {
                Payment::Cash => ("cash", None, false),
                Payment::Cashless { reference, offline } => ("cashless", Some(reference), *offline),
                Payment::Remote => ("remote", None, false),
                Payment::Free => ("free", None, false),
                Payment::Test => ("test", None, false),
            };
            let (outcome, policy) = match v.outcome {
                VendOutcome::Success => ("success", None),
                VendOutcome::Failure => ("failure", None),
                VendOutcome::Unknown(policy) => ("unknown", Some(unknown_policy(policy))),
            };
            json!({
                "transaction_id": format_uuid(&v.transaction.0), "slot": v.slot,
                "product_id": format_uuid(&v.product.0), "config_id": format_uuid(&v.config.0),
                "price_minor": v.price_minor, "currency": v.currency.as_str(), "payment": payment,
                "payment_reference": reference, "offline": offline, "outcome": outcome, "unknown_policy": policy,
                "cash_in_minor": v.cash_in_minor, "payout_intent_minor": v.payout_intent_minor,
                "owed_minor": v.owed_minor, "command_number": v.command_number,
            })
        }
        Body::Settlement(s) => json!({
            "settlement_id": format_uuid(&s.settlement_id.0), "vend_transaction_id": format_uuid(&s.vend.0),
            "what": match s.what {
                Settled::PaidOut => "paid_out",
                Settled::PayoutUnknown => "payout_unknown",
                Settled::Owed => "owed",
                Settled::Captured => "captured",
                Settled::Voided => "voided",
                Settled::CashlessUnknown => "cashless_unknown",
            },
            "amount_minor": s.amount_minor, "currency": s.currency.as_str(),
        }),
        Body::CashIn(c) => json!({
            "transaction_id": format_uuid(&c.transaction.0), "amount_minor": c.amount_minor,
            "inserted_minor": c.inserted_minor, "currency": c.currency.as_str(),
        }),
        Body::Refill(r) => json!({"slots": counts(&r.slots), "tubes_loaded": purse(&r.tubes_loaded)}),
        Body::Audit(a) => json!({
            "slots": counts(&a.slots), "tubes": purse(&a.tubes), "box_minor": a.box_minor,
            "since_reset": totals(&a.since_reset),
        }),
        Body::CashCollected(c) => json!({
            "box_minor": c.box_minor, "tubes_minor": c.tubes_minor, "currency": c.currency.as_str(),
            "since_reset": totals(&c.since_reset),
        }),
        Body::Fault(f) => {
            json!({"code": f.code, "slot": f.slot, "detail": f.detail, "cleared": f.cleared})
        }
        Body::ConfigVerdict(c) => json!({
            "assignment_number": c.assignment, "config_id": format_uuid(&c.config.0),
            "outcome": match c.verdict {
                ConfigOutcome::Applied => "applied",
                ConfigOutcome::Refused => "refused",
                ConfigOutcome::RolledBack => "rolled_back",
            },
            "refusals": c.refusals.iter()
                .map(|r| json!({"field": r.field, "reason": r.reason})).collect::<Vec<_>>(),
        }),
        Body::CommandResult(c) => json!({"number": c.number, "done": c.done, "reason": c.reason}),
    }
}

fn unknown_policy(policy: UnknownPolicy) -> &'static str {
    match policy {
        UnknownPolicy::Refund => "refund",
        UnknownPolicy::Keep => "keep",
        UnknownPolicy::Ask => "ask",
    }
}

/// The epoch before.
#[must_use]
pub fn parent(parent: ParentEpoch) -> Value {
    json!({
        "epoch": hex::encode(parent.epoch.0), "last_common_seq": parent.last_common_seq,
        "highest_seq": parent.highest_seq,
        "reason": match parent.reason {
            EpochReason::New => "new",
            EpochReason::Salvaged => "salvaged",
            EpochReason::Forked => "forked",
            EpochReason::TailLost => "tail_lost",
        },
    })
}

/// One set of totals.
#[must_use]
pub fn totals(t: &Totals) -> Value {
    json!({
        "vends": t.vends, "vends_minor": t.vends_minor,
        "cash_vends": t.cash_vends, "cash_vends_minor": t.cash_vends_minor,
        "cashless_vends": t.cashless_vends, "cashless_vends_minor": t.cashless_vends_minor,
        "remote_vends": t.remote_vends, "remote_vends_minor": t.remote_vends_minor,
        "free_vends": t.free_vends, "test_vends": t.test_vends, "failed_vends": t.failed_vends,
        "unknown_vends": t.unknown_vends, "cash_in_minor": t.cash_in_minor,
        "cash_out_minor": t.cash_out_minor, "cash_collected_minor": t.cash_collected_minor,
        "cash_loaded_minor": t.cash_loaded_minor, "owed_minor": t.owed_minor,
    })
}

/// Where every coin is.
#[must_use]
pub fn books(b: &Books) -> Value {
    json!({
        "money_in": b.money_in, "sales": b.sales, "returned": b.returned, "credit": b.credit, "owed": b.owed,
        "kept": b.kept, "loaded": b.loaded, "adjusted": b.adjusted, "collected": b.collected,
        "inside": b.inside, "balance": b.balance(),
    })
}

/// What a machine is doing, in a word or two.
#[must_use]
pub fn state(view: &View) -> Value {
    let state = match &view.state {
        State::Idle => "idle",
        State::AcceptingMoney { .. } => "accepting_money",
        State::Dispensing { .. } => "dispensing",
        State::SoldOut => "sold_out",
        State::OutOfService(OutOfService::NoConfig) => "no_config",
        State::OutOfService(OutOfService::Ordered) => "out_of_service",
        State::OutOfService(OutOfService::JournalFull) => "journal_full",
    };
    state.into()
}

/// An event as one or more JSON objects, each with the member `event`.
#[must_use]
pub fn event(event: &Event) -> Vec<Value> {
    match event {
        Event::Committed { committed, records } => numbered(records, committed.last_seq, committed.left_out)
            .map(|(seq, r)| {
                let mut object = Map::new();
                object.insert("event".into(), "recorded".into());
                object.insert("epoch".into(), hex::encode(committed.epoch.0).into());
                object.insert("seq".into(), seq.into());
                merge(&mut object, record(r));
                Value::Object(object)
            })
            .collect(),
        Event::Show(display) => vec![show(*display)],
        Event::Dispensed { slot, motor } => {
            vec![json!({"event": "dispensed", "slot": slot, "success": *motor == Motor::Success})]
        }
        Event::PaidOut(coins) => vec![json!({"event": "paid_out", "coins": purse(coins)})],
        Event::Refused(refusal) => vec![
            json!({"event": "refused", "reason": format!("{refusal:?}"), "message": refusal.to_string()}),
        ],
    }
}

/// The records of a commit with the numbers they got; faults that were left out have none.
pub fn numbered(records: &[Record], last_seq: u64, left_out: u32) -> impl Iterator<Item = (u64, &Record)> {
    let kept = move |r: &&Record| left_out == 0 || r.body.kind() != Kind::Fault;
    let count = u64::try_from(records.iter().filter(kept).count()).unwrap_or(u64::MAX);
    let first = last_seq.saturating_sub(count).saturating_add(1);
    (first..).zip(records.iter().filter(kept))
}

fn show(display: Display) -> Value {
    match display {
        Display::Ready => json!({"event": "show", "what": "ready"}),
        Display::Credit { credit_minor, selected } => json!({
            "event": "show", "what": "credit", "credit_minor": credit_minor,
            "slot": selected.map(|s| s.0), "price_minor": selected.map(|s| s.1),
        }),
        Display::Authorising { amount_minor } => {
            json!({"event": "show", "what": "authorising", "amount_minor": amount_minor})
        }
        Display::Declined => json!({"event": "show", "what": "declined"}),
        Display::Dispensing { slot } => json!({"event": "show", "what": "dispensing", "slot": slot}),
        Display::Vended { change_minor, owed_minor } => {
            json!({"event": "show", "what": "vended", "change_minor": change_minor, "owed_minor": owed_minor})
        }
        Display::VendFailed { refund_minor, owed_minor } => json!({
            "event": "show", "what": "vend_failed", "refund_minor": refund_minor, "owed_minor": owed_minor,
        }),
        Display::Returned { amount_minor, owed_minor } => {
            json!({"event": "show", "what": "returned", "amount_minor": amount_minor, "owed_minor": owed_minor})
        }
        Display::SoldOut => json!({"event": "show", "what": "sold_out"}),
        Display::OutOfService => json!({"event": "show", "what": "out_of_service"}),
    }
}

fn counts(slots: &[SlotCount]) -> Value {
    slots
        .iter()
        .map(|s| json!({"slot": s.slot, "product_id": format_uuid(&s.product.0), "units": s.units}))
        .collect()
}

fn purse(purse: &Purse) -> Value {
    purse.iter().map(|p| json!({"denomination_minor": p.denomination, "count": p.count})).collect()
}

fn merge(into: &mut Map<String, Value>, from: Value) {
    if let Value::Object(from) = from {
        into.extend(from);
    }
}
