//! The journal and the server as the machine hears of them.

use super::effect::Effect;
use super::turn::Turn;
use super::{Machine, Refusal};
use crate::id::Epoch;
use crate::record::ParentEpoch;
use crate::time::ClockQuality;

/// Most records the machine still writes after [`super::Input::JournalFull`] before it has nothing in hand any more:
/// the journal keeps at least this much room. Every further power-up needs [`RESERVED_PER_BOOT`] more.
pub const RESERVED_RECORDS: usize = 8;
/// Most records a power-up writes.
pub const RESERVED_PER_BOOT: usize = 8;

impl Machine {
    pub(super) fn server_contact(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        self.online = true;
        self.last_contact_ms = Some(turn.now.uptime_ms);
        if turn.now.clock != ClockQuality::Unset {
            // Not worth a commit of its own: losing it makes the offline budget stricter.
            self.durable.last_contact_wall_ms = Some(turn.now.wall_ms);
        }
        if self.ask_again {
            self.ask_terminal_again(turn);
        }
        Ok(())
    }

    /// Cards need the offline budget from here on.
    pub(super) fn server_lost(&mut self) -> Result<(), Refusal> {
        if !self.online {
            return Err(Refusal::AlreadySo);
        }
        self.online = false;
        Ok(())
    }

    /// No new sale and no new record but those of what is in hand; a customer's credit goes back.
    pub(super) fn set_journal_full(&mut self, turn: &mut Turn<'_>, full: bool) -> Result<(), Refusal> {
        if self.journal_full == full {
            return Err(Refusal::AlreadySo);
        }
        self.journal_full = full;
        if full {
            self.turn_away(turn);
        } else {
            self.ask_terminal_again(turn);
        }
        turn.then(Effect::Show(self.resting_display()));
        Ok(())
    }

    /// The first record of every epoch is a boot.
    pub(super) fn epoch_opened(
        &mut self,
        turn: &mut Turn<'_>,
        epoch: Epoch,
        parent: ParentEpoch,
    ) -> Result<(), Refusal> {
        if epoch == self.power_up.epoch {
            return Err(Refusal::AlreadySo);
        }
        self.power_up.epoch = epoch;
        self.write_boot(turn, Some(parent));
        Ok(())
    }
}
