//! Configs: checked when offered, applied when nobody is in the middle of anything, gone back from when they fail.
//!
//! A config that follows another is on probation until its first successful vend. It fails after
//! [`PROBATION_FAILED_VENDS`] failed vends in a row, or [`PROBATION_SHORT_BOOTS`] boots in a row none of which lasted
//! [`PROBATION_UPTIME_MS`]; the machine then goes back to the last config that proved itself, and says so.

use super::durable::{Probation, SlotLevel};
use super::effect::Effect;
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::config::{Assignment, Config, check};
use crate::money::Currency;
use crate::record::{Body, CashIn, ConfigOutcome, ConfigRefusal, ConfigVerdict, VendOutcome};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Failed vends in a row under a new config after which the machine goes back.
pub const PROBATION_FAILED_VENDS: u8 = 3;
/// Boots in a row under a new config, each shorter than [`PROBATION_UPTIME_MS`], after which the machine goes back.
pub const PROBATION_SHORT_BOOTS: u8 = 5;
/// A boot of this length counts as lasting, milliseconds.
pub const PROBATION_UPTIME_MS: u64 = 10 * 60 * 1000;

impl Machine {
    /// A newer offer replaces one that waits, even when the newer one is refused: the older is no longer desired.
    pub(super) fn config_offered(&mut self, turn: &mut Turn<'_>, offered: Assignment) -> Result<(), Refusal> {
        let waiting = self.configs.pending.as_ref().map_or(0, |a| a.number);
        let newest = self.durable.applied_number.max(self.durable.rejected_number).max(waiting);
        if offered.number <= newest {
            return Err(Refusal::OldAssignment(newest));
        }
        if self.journal_full {
            return Err(Refusal::JournalFull);
        }
        turn.touch_configs();
        let refusals = self.refusals(&offered.config);
        if refusals.is_empty() {
            self.configs.pending = Some(offered);
        } else {
            self.configs.pending = None;
            self.refuse(turn, &offered, refusals);
        }
        Ok(())
    }

    /// Goes back or on, if there is something to go to and nobody is in the way. Called at the end of every input.
    pub(super) fn change_config_when_idle(&mut self, turn: &mut Turn<'_>) {
        if self.journal_full || (self.durable.probation.is_none() && self.configs.pending.is_none()) {
            return;
        }
        if self.check_idle().is_err() {
            return;
        }
        self.go_back_if_failed(turn);
        if let Some(pending) = self.configs.pending.take() {
            turn.touch_configs();
            let refusals = self.refusals(&pending.config);
            if refusals.is_empty() {
                self.go_on(turn, pending);
            } else {
                self.refuse(turn, &pending, refusals);
            }
        }
    }

    /// A vend's outcome is also the config's: a success proves it.
    pub(super) fn judge_config(&mut self, outcome: VendOutcome) {
        let Some(probation) = &mut self.durable.probation else { return };
        match outcome {
            VendOutcome::Success => self.durable.probation = None,
            VendOutcome::Failure => probation.failed_vends = probation.failed_vends.saturating_add(1),
            VendOutcome::Unknown(_) => {}
        }
    }

    fn refusals(&self, config: &Config) -> Vec<ConfigRefusal> {
        let mut refusals = check::check(config, &self.power_up.slots);
        let current = self.durable.counters.currency;
        if current != Currency::NONE && current != config.currency {
            let mut refuse = |reason: &str| {
                refusals
                    .push(ConfigRefusal { field: String::from("currency"), reason: String::from(reason) });
            };
            if self.credit() > 0 {
                refuse("OTHER_CURRENCY_WITH_CREDIT_INSIDE");
            } else if self.cash_inside() > 0 {
                refuse("OTHER_CURRENCY_WITH_CASH_INSIDE");
            }
            if !self.durable.cashless.is_empty() {
                refuse("OTHER_CURRENCY_WITH_CASHLESS_UNSETTLED");
            }
            if self.durable.intent.is_some() || self.durable.payout.is_some() {
                refuse("OTHER_CURRENCY_WITH_SALE_IN_HAND");
            }
        }
        refusals
    }

    fn refuse(&mut self, turn: &mut Turn<'_>, assignment: &Assignment, refusals: Vec<ConfigRefusal>) {
        self.durable.rejected_number = self.durable.rejected_number.max(assignment.number);
        write_verdict(self, turn, assignment, ConfigOutcome::Refused, refusals);
    }

    fn go_on(&mut self, turn: &mut Turn<'_>, assignment: Assignment) {
        if self.durable.probation.is_none() {
            self.configs.last_known_good = self.configs.current.take();
        }
        self.durable.probation = self.configs.last_known_good.is_some().then(Probation::default);
        self.put_in_force(turn, assignment, ConfigOutcome::Applied, Vec::new());
    }

    fn go_back_if_failed(&mut self, turn: &mut Turn<'_>) {
        let Some(probation) = self.durable.probation else { return };
        let reason = if probation.failed_vends >= PROBATION_FAILED_VENDS {
            "VENDS_FAILED"
        } else if probation.short_boots >= PROBATION_SHORT_BOOTS {
            "BOOTS_FAILED"
        } else {
            return;
        };
        let Some(good) = self.configs.last_known_good.take() else { return };
        if !self.refusals(&good.config).is_empty() {
            // Cash of the newer currency is inside: it stays until that is collected.
            self.configs.last_known_good = Some(good);
            return;
        }
        self.durable.probation = None;
        if let Some(failed) = self.configs.current.take() {
            self.durable.rejected_number = self.durable.rejected_number.max(failed.number);
            let why = ConfigRefusal { field: String::new(), reason: String::from(reason) };
            write_verdict(self, turn, &failed, ConfigOutcome::RolledBack, vec![why]);
        }
        self.put_in_force(turn, good, ConfigOutcome::Applied, Vec::new());
    }

    fn put_in_force(
        &mut self,
        turn: &mut Turn<'_>,
        assignment: Assignment,
        outcome: ConfigOutcome,
        refusals: Vec<ConfigRefusal>,
    ) {
        write_verdict(self, turn, &assignment, outcome, refusals);
        let config = &assignment.config;
        self.durable.applied_number = assignment.number;
        self.durable.applied_config = Some(config.id);
        self.durable.slots = self.levels_under(config);
        self.take_currency(turn, config.currency);
        self.configs.current = Some(assignment);
        turn.touch_configs();
        turn.then(Effect::Show(self.resting_display()));
    }

    /// Another product in a slot starts at zero until it is refilled or counted; a broken motor stays broken.
    fn levels_under(&self, config: &Config) -> Vec<SlotLevel> {
        let mut levels: Vec<SlotLevel> = config
            .slots
            .iter()
            .map(|planned| match self.level(planned.slot) {
                Some(&level) if level.product == planned.product => level,
                Some(&level) => SlotLevel { product: planned.product, units: 0, ..level },
                None => SlotLevel {
                    slot: planned.slot,
                    product: planned.product,
                    units: 0,
                    failures: 0,
                    faulted: false,
                },
            })
            .collect();
        levels.sort_unstable_by_key(|l| l.slot);
        levels
    }

    /// A new currency restarts the monetary totals, at an empty record in that currency.
    fn take_currency(&mut self, turn: &mut Turn<'_>, currency: Currency) {
        let before = self.durable.counters.currency;
        if before == currency {
            return;
        }
        self.durable.counters.currency = currency;
        if before == Currency::NONE {
            return;
        }
        self.durable.kept_minor = 0;
        self.durable.adjusted_minor = 0;
        let transaction = turn.id();
        turn.write(self, Body::CashIn(CashIn { transaction, amount_minor: 0, inserted_minor: 0, currency }));
    }
}

fn write_verdict(
    machine: &mut Machine,
    turn: &mut Turn<'_>,
    assignment: &Assignment,
    verdict: ConfigOutcome,
    refusals: Vec<ConfigRefusal>,
) {
    let (number, config) = (assignment.number, assignment.config.id);
    turn.write(machine, Body::ConfigVerdict(ConfigVerdict { assignment: number, config, verdict, refusals }));
}
