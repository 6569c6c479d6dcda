//! A machine's state, carried over records that are newer than it. Exact for counters; as good as the records allow for
//! stock and cash, which the next audit sets right.

use std::collections::BTreeMap;
use vend_core::machine::{Durable, SlotLevel};
use vend_core::record::{Body, ConfigOutcome, Record};
use vend_core::stock::{self, Level, Levels};

pub(super) fn carry(state: &mut Durable, records: &[Record]) {
    let level = |s: &SlotLevel| (s.slot, Level { product: s.product, units: s.units.into() });
    let mut levels: Levels = state.slots.iter().map(level).collect();
    for record in records {
        stock::fold(&mut levels, &record.body);
        carry_one(state, record);
    }
    let known: BTreeMap<u16, SlotLevel> = state.slots.iter().map(|s| (s.slot, *s)).collect();
    let slot = |(number, level): (u16, Level)| {
        let (failures, faulted) = known.get(&number).map_or((0, false), |s| (s.failures, s.faulted));
        let units = u32::try_from(level.units.max(0)).unwrap_or(u32::MAX);
        SlotLevel { slot: number, product: level.product, units, failures, faulted }
    };
    state.slots = levels.into_iter().map(slot).take(vendfleet_wire::MAX_SLOTS).collect();
}

fn carry_one(state: &mut Durable, record: &Record) {
    let counters = &mut state.counters;
    vend_core::counters::advance(&mut counters.currency.clone(), &mut counters.since_reset, &record.body);
    vend_core::counters::advance(&mut counters.currency, &mut counters.lifetime, &record.body);
    if let Some(totals) = record.lifetime_after {
        counters.lifetime = totals;
    }
    match &record.body {
        Body::Boot(b) => state.boot_count = state.boot_count.max(b.boot_count),
        Body::Vend(v) => {
            if state.intent.as_ref().is_some_and(|i| i.transaction == v.transaction) {
                state.intent = None;
            }
            // Whatever was inserted is accounted for by the vend's own cash_in, payout and owed.
            if v.cash_in_minor > 0 {
                state.credit.clear();
            }
            state.commands_through = state.commands_through.max(v.command_number);
        }
        Body::Settlement(s) => {
            if state.payout.as_ref().is_some_and(|p| p.transaction == s.vend) {
                state.payout = None;
            }
            state.cashless.retain(|c| c.transaction != s.vend);
        }
        Body::CashIn(_) => state.credit.clear(),
        Body::Audit(a) => {
            state.tubes.clone_from(&a.tubes);
            state.box_minor = a.box_minor;
            state.counters.since_reset = a.since_reset;
        }
        Body::CashCollected(_) => {
            state.box_minor = 0;
            state.counters.since_reset = vend_core::counters::Totals::default();
        }
        Body::ConfigVerdict(c) => match c.verdict {
            ConfigOutcome::Applied => {
                state.applied_number = c.assignment;
                state.applied_config = Some(c.config);
            }
            ConfigOutcome::Refused | ConfigOutcome::RolledBack => {
                state.rejected_number = state.rejected_number.max(c.assignment);
            }
        },
        Body::CommandResult(c) => state.commands_through = state.commands_through.max(c.number),
        Body::Refill(_) | Body::Fault(_) => {}
    }
}
