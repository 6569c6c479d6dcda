//! What time alone brings about.

use super::configure::PROBATION_UPTIME_MS;
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::record::VendOutcome;

/// A motor that has not answered for so long, milliseconds, never will: the outcome is unknown.
pub const MOTOR_TIMEOUT_MS: u64 = 60_000;
/// A payout that has not answered for so long, milliseconds, never will: its result is unknown.
pub const PAYOUT_TIMEOUT_MS: u64 = 120_000;
/// Credit found at boot without a config to say otherwise goes back after so long, milliseconds.
const DEFAULT_SELECTION_TIMEOUT_MS: u64 = 30_000;

impl Machine {
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let uptime = turn.now.uptime_ms;
        let busy_for = uptime.saturating_sub(self.busy_since_ms);
        if busy_for >= PAYOUT_TIMEOUT_MS {
            self.give_up_payout(turn);
        }
        if busy_for >= MOTOR_TIMEOUT_MS
            && let Some(intent) = self.durable.intent.take()
        {
            let slot = intent.slot;
            let outcome = VendOutcome::Unknown(self.unknown_policy());
            self.end_vend(turn, intent, outcome);
            self.set_slot_fault(turn, slot, true, "the motor never answered");
        }
        let timeout = self.config().map_or(DEFAULT_SELECTION_TIMEOUT_MS, |c| c.selection_timeout_ms);
        if uptime.saturating_sub(self.last_input_ms) >= timeout {
            self.turn_away(turn);
        }
        if uptime >= PROBATION_UPTIME_MS
            && let Some(probation) = self.durable.probation.as_mut().filter(|p| p.short_boots > 0)
        {
            probation.short_boots = 0;
            turn.touch();
        }
        Ok(())
    }
}
