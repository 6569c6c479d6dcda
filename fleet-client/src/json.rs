//! What happens to a machine and where it stands, as JSON: what `run --json` prints and what a report holds. Records look
//! as they do in [`crate::journal::export`].

use crate::device::Event;
use crate::journal::export;
use serde_json::{Value, json};
use vend_core::machine::{Books, Display, Motor, OutOfService, State, View};
use vend_core::record::{Kind, Record};

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
                json!({
                    "event": "recorded", "epoch": hex::encode(committed.epoch.0), "seq": seq,
                    "kind": kind(r.body.kind()), "record": export::record(r),
                })
            })
            .collect(),
        Event::Show(display) => vec![show(*display)],
        Event::Dispensed { slot, motor } => {
            vec![json!({"event": "dispensed", "slot": slot, "success": *motor == Motor::Success})]
        }
        Event::PaidOut(coins) => vec![json!({"event": "paid_out", "coins": export::purse(coins)})],
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
