//! One input being handled: what has been written and what is to be done after it is durable.

use super::effect::{Commit, Effect};
use super::{Ids, Machine};
use crate::counters::{self, Totals};
use crate::id::TransactionId;
use crate::record::{Body, Kind, Record};
use crate::time::{Now, Stamp};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Gathers records and effects, so that every input ends in at most one commit, and the commit comes first.
pub(super) struct Turn<'t> {
    pub(super) now: Now,
    ids: &'t mut Ids<'t>,
    records: Vec<Record>,
    effects: Vec<Effect>,
    dirty: bool,
    configs_changed: bool,
}

impl<'t> Turn<'t> {
    pub(super) fn new(now: Now, ids: &'t mut Ids<'t>) -> Self {
        Self { now, ids, records: Vec::new(), effects: Vec::new(), dirty: false, configs_changed: false }
    }

    pub(super) fn id(&mut self) -> TransactionId {
        (self.ids)()
    }

    /// The durable state changed and must be stored.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// The configs changed and must be stored.
    pub(super) fn touch_configs(&mut self) {
        self.configs_changed = true;
    }

    /// To be done after the commit, in this order.
    pub(super) fn then(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Writes a record and counts it.
    pub(super) fn write(&mut self, machine: &mut Machine, body: Body) {
        let counters = &mut machine.durable.counters;
        counters::apply(&mut counters.lifetime, &body);
        counters::apply(&mut counters.since_reset, &body);
        if body.kind() == Kind::CashCollected {
            counters.since_reset = Totals::default();
        }
        let lifetime_after = match body.kind() {
            Kind::Fault | Kind::ConfigVerdict | Kind::CommandResult => None,
            Kind::Boot
            | Kind::Vend
            | Kind::Settlement
            | Kind::CashIn
            | Kind::Refill
            | Kind::Audit
            | Kind::CashCollected => Some(counters.lifetime),
        };
        let stamp = Stamp { boot: machine.power_up.boot, at: self.now };
        self.records.push(Record { stamp, lifetime_after, body });
    }

    pub(super) fn finish(self, machine: &Machine) -> Vec<Effect> {
        if !self.dirty && !self.configs_changed && self.records.is_empty() {
            return self.effects;
        }
        let mut effects = Vec::with_capacity(self.effects.len() + 1);
        effects.push(Effect::Commit(Box::new(Commit {
            records: self.records,
            state: machine.durable.clone(),
            configs: self.configs_changed.then(|| machine.configs.clone()),
        })));
        effects.extend(self.effects);
        effects
    }
}
