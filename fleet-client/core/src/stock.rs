//! Slot stock as a fold over records: the machine and the server count with this code.

use crate::id::ProductId;
use crate::record::{Body, VendOutcome};
use alloc::collections::BTreeMap;

/// One slot's derived level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Product the level is about; another product in the slot starts anew.
    pub product: ProductId,
    /// Units; below zero when more was sold than was ever recorded in, which is a discrepancy to show, not to hide.
    pub units: i64,
}

/// Derived levels by slot number.
pub type Levels = BTreeMap<u16, Level>;

/// Folds one record into the levels: audits set, refills add, successful vends take one. A vend of unknown outcome
/// takes one too: the unit is not counted on until an audit says otherwise. Everything else changes nothing.
pub fn fold(levels: &mut Levels, body: &Body) {
    match body {
        Body::Vend(v) => match v.outcome {
            VendOutcome::Success | VendOutcome::Unknown(_) => add(levels, v.slot, v.product, -1),
            VendOutcome::Failure => {}
        },
        Body::Refill(r) => r.slots.iter().for_each(|s| add(levels, s.slot, s.product, i64::from(s.units))),
        Body::Audit(a) => {
            for s in &a.slots {
                levels.insert(s.slot, Level { product: s.product, units: i64::from(s.units) });
            }
        }
        Body::Boot(_)
        | Body::Settlement(_)
        | Body::CashIn(_)
        | Body::CashCollected(_)
        | Body::Fault(_)
        | Body::ConfigVerdict(_)
        | Body::CommandResult(_) => {}
    }
}

fn add(levels: &mut Levels, slot: u16, product: ProductId, units: i64) {
    let level = levels.entry(slot).or_insert(Level { product, units: 0 });
    if level.product != product {
        *level = Level { product, units: 0 };
    }
    level.units = level.units.saturating_add(units);
}
