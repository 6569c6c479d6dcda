//! What an operator does at the open door: fill, count, collect, test, stop and start.

use super::durable::VendIntent;
use super::effect::Effect;
use super::input::SlotUnits;
use super::turn::Turn;
use super::{Machine, Refusal, cut};
use crate::id::TransactionId;
use crate::money::{MAX_AMOUNT_MINOR, Minor, Pieces, Purse, holds, put, take, worth};
use crate::record::{Audit, Body, CashCollected, Fault, Payment, Refill, Settled, SlotCount};
use alloc::vec::Vec;

/// Most slots in one refill or audit record, so that its body stays within 4 KiB; more make more records.
pub const MAX_SLOTS_PER_RECORD: usize = 96;

impl Machine {
    pub(super) fn refill(
        &mut self,
        turn: &mut Turn<'_>,
        slots: &[SlotUnits],
        tubes: &[Pieces],
    ) -> Result<(), Refusal> {
        self.check_operator()?;
        if slots.is_empty() && tubes.is_empty() {
            return Err(Refusal::Empty);
        }
        let counts = self.slot_counts(slots)?;
        for count in &counts {
            let capacity = self.planned(count.slot)?.capacity;
            let units = self.level(count.slot).map_or(0, |l| l.units);
            if units.saturating_add(count.units) > capacity {
                return Err(Refusal::OverCapacity { slot: count.slot, capacity });
            }
        }
        let mut after = self.durable.tubes.clone();
        let loaded = self.tube_coins(tubes, &mut after)?;
        self.durable.tubes = after;
        for count in &counts {
            if let Some(level) = self.level_mut(count.slot) {
                level.units += count.units;
                level.failures = 0;
            }
        }
        let mut tubes_loaded = loaded;
        for part in parts(&counts) {
            turn.write(
                self,
                Body::Refill(Refill {
                    slots: part.to_vec(),
                    tubes_loaded: core::mem::take(&mut tubes_loaded),
                }),
            );
        }
        self.mend(turn, &counts, "refilled");
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    /// What is counted is true from here on; the difference in cash is booked as such.
    pub(super) fn audit(
        &mut self,
        turn: &mut Turn<'_>,
        slots: &[SlotUnits],
        tubes: Option<&Purse>,
        box_minor: Option<Minor>,
    ) -> Result<(), Refusal> {
        self.check_operator()?;
        self.config().ok_or(Refusal::NoConfig)?;
        if slots.is_empty() && tubes.is_none() && box_minor.is_none() {
            return Err(Refusal::Empty);
        }
        let counts = self.slot_counts(slots)?;
        let tubes = match tubes {
            Some(counted) => self.tube_coins(counted, &mut Purse::new())?,
            None => self.durable.tubes.clone(),
        };
        let box_minor = check_amount(box_minor.unwrap_or(self.durable.box_minor))?;
        let before = self.cash_inside();
        self.durable.tubes = tubes;
        self.durable.box_minor = box_minor;
        self.adjust(self.cash_inside().saturating_sub(before));
        for count in &counts {
            if let Some(level) = self.level_mut(count.slot) {
                level.units = count.units;
                level.failures = 0;
            }
        }
        for part in parts(&counts) {
            let tubes = self.durable.tubes.clone();
            let since_reset = self.durable.counters.since_reset;
            turn.write(self, Body::Audit(Audit { slots: part.to_vec(), tubes, box_minor, since_reset }));
        }
        self.mend(turn, &counts, "counted");
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    pub(super) fn collect(
        &mut self,
        turn: &mut Turn<'_>,
        box_minor: Minor,
        tubes: &[Pieces],
    ) -> Result<(), Refusal> {
        self.check_operator()?;
        self.config().ok_or(Refusal::NoConfig)?;
        check_amount(box_minor)?;
        let mut taken = Purse::new();
        for p in tubes {
            put(&mut taken, p.denomination, p.count);
        }
        if let Some(p) = taken.iter().find(|&&p| !holds(&self.durable.tubes, &[p])) {
            return Err(Refusal::BadTube(p.denomination));
        }
        self.adjust(box_minor.saturating_sub(self.durable.box_minor));
        self.durable.box_minor = 0;
        take(&mut self.durable.tubes, &taken);
        let (currency, since_reset) = (self.durable.counters.currency, self.durable.counters.since_reset);
        let tubes_minor = worth(&taken);
        turn.write(
            self,
            Body::CashCollected(CashCollected { box_minor, tubes_minor, currency, since_reset }),
        );
        Ok(())
    }

    pub(super) fn pay_owed(
        &mut self,
        turn: &mut Turn<'_>,
        vend: TransactionId,
        amount_minor: Minor,
    ) -> Result<(), Refusal> {
        self.check_operator()?;
        let owed = self.durable.counters.lifetime.owed_minor;
        if amount_minor <= 0 {
            return Err(Refusal::BadAmount(amount_minor));
        }
        if amount_minor > owed {
            return Err(Refusal::NotOwed(owed));
        }
        let coins = self.change_of(amount_minor);
        if worth(&coins) < amount_minor {
            return Err(Refusal::ExactChangeOnly);
        }
        self.write_settlement(turn, vend, Settled::PaidOut, amount_minor);
        self.pay_out(turn, vend, coins);
        Ok(())
    }

    /// Also from a faulted slot and out of service: that is what it is for.
    pub(super) fn test_vend(&mut self, turn: &mut Turn<'_>, slot: u16) -> Result<(), Refusal> {
        self.check_operator()?;
        let config = self.durable.applied_config.ok_or(Refusal::NoConfig)?;
        let product = self.planned(slot)?.product;
        if self.level(slot).is_none_or(|l| l.units == 0) {
            return Err(Refusal::SlotEmpty(slot));
        }
        let transaction = turn.id();
        let currency = self.durable.counters.currency;
        let payment = Payment::Test;
        self.start_vend(
            turn,
            VendIntent {
                transaction,
                slot,
                product,
                config,
                price_minor: 0,
                currency,
                payment,
                command_number: 0,
            },
        );
        Ok(())
    }

    pub(super) fn set_out_of_service(&mut self, turn: &mut Turn<'_>, out: bool) -> Result<(), Refusal> {
        if self.durable.out_of_service == out {
            return Err(Refusal::AlreadySo);
        }
        self.durable.out_of_service = out;
        turn.touch();
        if out {
            self.turn_away(turn);
        }
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    /// Telemetry: what broke is written down, and a slot that broke is not sold from.
    pub(super) fn hardware_fault(&mut self, turn: &mut Turn<'_>, fault: &Fault) -> Result<(), Refusal> {
        if self.journal_full {
            return Err(Refusal::JournalFull);
        }
        if let Some(level) = fault.slot.and_then(|slot| self.level_mut(slot)) {
            level.faulted = !fault.cleared;
            level.failures = 0;
        }
        let (code, detail) = (cut(&fault.code, 64), cut(&fault.detail, 256));
        turn.write(self, Body::Fault(Fault { code, slot: fault.slot, detail, cleared: fault.cleared }));
        if !fault.cleared && self.selection.is_some_and(|s| fault.slot == Some(s.slot)) {
            self.turn_away(turn);
        }
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    fn check_operator(&self) -> Result<(), Refusal> {
        self.check_idle()?;
        if self.journal_full { Err(Refusal::JournalFull) } else { Ok(()) }
    }

    fn slot_counts(&self, slots: &[SlotUnits]) -> Result<Vec<SlotCount>, Refusal> {
        let mut counts: Vec<SlotCount> = Vec::new();
        for &SlotUnits { slot, units } in slots {
            let planned = self.planned(slot)?;
            if units > crate::config::MAX_CAPACITY {
                return Err(Refusal::OverCapacity { slot, capacity: planned.capacity });
            }
            if counts.iter().any(|c| c.slot == slot) {
                return Err(Refusal::DuplicateSlot(slot));
            }
            counts.push(SlotCount { slot, product: planned.product, units });
        }
        Ok(counts)
    }

    /// Puts coins `into` tubes that are known and have room; returns the coins sorted, each denomination once.
    fn tube_coins(&self, coins: &[Pieces], into: &mut Purse) -> Result<Purse, Refusal> {
        let tubes = &self.config().ok_or(Refusal::NoConfig)?.cash.tubes;
        let mut sorted = Purse::new();
        for p in coins {
            let tube = tubes.iter().find(|t| t.denomination == p.denomination);
            let room = tube.ok_or(Refusal::BadTube(p.denomination))?.capacity;
            put(&mut sorted, p.denomination, p.count);
            put(into, p.denomination, p.count);
            if crate::money::count_of(into, p.denomination) > room {
                return Err(Refusal::BadTube(p.denomination));
            }
        }
        Ok(sorted)
    }

    fn mend(&mut self, turn: &mut Turn<'_>, counts: &[SlotCount], why: &str) {
        for count in counts {
            self.set_slot_fault(turn, count.slot, false, why);
        }
    }

    pub(super) fn cash_inside(&self) -> Minor {
        worth(&self.durable.tubes).saturating_add(self.durable.box_minor)
    }

    fn adjust(&mut self, by: Minor) {
        self.durable.adjusted_minor = self.durable.adjusted_minor.saturating_add(by);
    }
}

/// At least one part, so that a record is written for tubes alone.
fn parts(counts: &[SlotCount]) -> impl Iterator<Item = &[SlotCount]> {
    let empty = counts.is_empty().then_some(counts);
    empty.into_iter().chain(counts.chunks(MAX_SLOTS_PER_RECORD))
}

fn check_amount(amount: Minor) -> Result<Minor, Refusal> {
    if (0..=MAX_AMOUNT_MINOR).contains(&amount) { Ok(amount) } else { Err(Refusal::BadAmount(amount)) }
}
