//! What a person types and what they read.

use fleet_client::device::Event;
use fleet_client::json;
use fleet_client::simulate::refill;
use fleet_client::unit::Snapshot;
use serde_json::Value;
use vend_core::machine::{Books, Display, Input, Motor, SlotUnits};
use vend_core::money::{Pieces, worth};
use vend_core::record::Body;

pub(super) const HELP: &str = "\
select SLOT          choose            coin MINOR        insert a coin or bill
card                 present a card    cancel            give the money back
refill [SLOT UNITS]  fill, all to par  collect           empty the box
test SLOT            turn a motor      audit             count everything as booked
status               where it stands   sync              sync now
offline | online     the cable         quit              switch off";

/// A line, understood.
pub(super) enum Line {
    Input(Box<Input>),
    Status,
    Sync,
    Offline,
    Online,
    Help,
    Quit,
    /// Nothing to do.
    Nothing,
}

/// Reads a line; some need to know where the machine stands.
pub(super) fn parse(line: &str, now: &Snapshot) -> Result<Line, String> {
    let input = |input| Line::Input(Box::new(input));
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words.as_slice() {
        [] => Line::Nothing,
        ["select", slot] => input(Input::Select { slot: number("SLOT", slot)? }),
        ["coin", minor] => input(Input::InsertMoney { denomination: number("MINOR", minor)? }),
        ["card"] => input(Input::PresentCard),
        ["cancel"] => input(Input::Cancel),
        ["test", slot] => input(Input::TestVend { slot: number("SLOT", slot)? }),
        ["refill"] => {
            let refill = now.config.as_ref().and_then(|config| refill(config, &now.durable));
            input(refill.ok_or("nothing to fill: every slot is at par, or there is no config")?)
        }
        ["refill", slot, units] => input(Input::Refill {
            slots: vec![SlotUnits { slot: number("SLOT", slot)?, units: number("UNITS", units)? }],
            tubes: Vec::new(),
        }),
        ["collect"] => input(Input::CollectCash { box_minor: now.durable.box_minor, tubes: Vec::new() }),
        ["audit"] => input(Input::Audit {
            slots: now.durable.slots.iter().map(|s| SlotUnits { slot: s.slot, units: s.units }).collect(),
            tubes: Some(now.durable.tubes.clone()),
            box_minor: Some(now.durable.box_minor),
        }),
        ["status"] => Line::Status,
        ["sync"] => Line::Sync,
        ["offline"] => Line::Offline,
        ["online"] => Line::Online,
        ["help" | "?"] => Line::Help,
        ["quit" | "exit"] => Line::Quit,
        _ => return Err(format!("`{line}` is not understood; try `help`")),
    })
}

fn number<N: std::str::FromStr>(name: &str, word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{name} must be a whole number in range, not `{word}`"))
}

/// An event for a person; `None` when it would only be noise.
pub(super) fn tell(event: &Event) -> Option<String> {
    Some(match event {
        Event::Committed { committed, records } => {
            let mut lines = Vec::new();
            for (seq, record) in json::numbered(records, committed.last_seq, committed.left_out) {
                let what = match &record.body {
                    Body::ConfigVerdict(v) => {
                        format!("config #{}: {:?} {:?}", v.assignment, v.verdict, v.refusals)
                    }
                    Body::Fault(f) => format!("fault {} {}", f.code, f.detail),
                    Body::Vend(v) => format!("vend of slot {}: {:?}", v.slot, v.outcome),
                    other => json::kind(other.kind()).replace('_', " "),
                };
                lines.push(format!("  [{seq}] {what}"));
            }
            if lines.is_empty() {
                return None;
            }
            lines.join("\n")
        }
        Event::Dispensed { slot, motor: Motor::Success } => format!("  *clunk* from slot {slot}"),
        Event::Dispensed { slot, motor: Motor::Failure } => format!("  slot {slot} turns, and nothing falls"),
        Event::PaidOut(coins) if coins.is_empty() => return None,
        Event::PaidOut(coins) => format!("  coins fall: {}", purse(coins)),
        Event::Refused(refusal) => format!("  refused: {refusal}"),
        Event::Show(display) => match *display {
            Display::Ready => "Ready".to_owned(),
            Display::Credit { credit_minor, selected: None } => format!("Credit {}", money(credit_minor)),
            Display::Credit { credit_minor, selected: Some((slot, price)) } => {
                format!("Slot {slot}: {}   credit {}", money(price), money(credit_minor))
            }
            Display::Authorising { amount_minor } => format!("Card: asking for {}", money(amount_minor)),
            Display::Declined => "Card declined".to_owned(),
            Display::Dispensing { slot } => format!("Dispensing slot {slot} ..."),
            Display::Vended { change_minor: 0, owed_minor: 0 } => "Thank you".to_owned(),
            Display::Vended { change_minor, owed_minor } => {
                format!("Thank you. Change {}{}", money(change_minor), owed(owed_minor))
            }
            Display::VendFailed { refund_minor, owed_minor } => {
                format!("Sorry. Refund {}{}", money(refund_minor), owed(owed_minor))
            }
            Display::Returned { amount_minor, owed_minor } => {
                format!("Returned {}{}", money(amount_minor), owed(owed_minor))
            }
            Display::SoldOut => "Sold out".to_owned(),
            Display::OutOfService => "Out of service".to_owned(),
        },
    })
}

fn owed(minor: i64) -> String {
    if minor == 0 { String::new() } else { format!(", {} could not be paid and is owed", money(minor)) }
}

fn purse(coins: &[Pieces]) -> String {
    let coins: Vec<String> =
        coins.iter().map(|p| format!("{} x {}", p.count, money(p.denomination))).collect();
    coins.join(", ")
}

fn money(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

/// Where a machine stands, for a person.
pub(super) fn status(now: &Snapshot, sync: &Value) -> String {
    let currency = now.view.currency.as_str();
    let books = Books::of(&now.durable);
    let mut lines = vec![
        format!("state     {}", json::state(&now.view).as_str().unwrap_or_default()),
        format!("config    #{}", now.durable.applied_number),
        format!("records   epoch {} up to {}", hex::encode(now.epoch.0), now.last_seq),
        format!(
            "money     {currency}: credit {}, box {}, tubes {} ({})",
            money(now.view.credit_minor),
            money(now.durable.box_minor),
            money(worth(&now.durable.tubes)),
            if books.balance() { "adds up" } else { "DOES NOT ADD UP" },
        ),
        format!("server    {sync}"),
    ];
    if let Some(config) = &now.config {
        for slot in &config.slots {
            let name = config.products.iter().find(|p| p.id == slot.product).map_or("?", |p| p.name.as_str());
            let level = now.durable.slots.iter().find(|l| l.slot == slot.slot);
            let (units, faulted) = level.map_or((0, false), |l| (l.units, l.faulted));
            lines.push(format!(
                "  {:>3}  {name:<20} {:>10}  {units:>3} of {}{}",
                slot.slot,
                money(slot.price_minor),
                slot.capacity,
                if faulted { "  out of order" } else { "" },
            ));
        }
    }
    lines.join("\n")
}
