//! What the machine is doing, derived from what it remembers: two sources of truth could part.

use super::durable::{CashlessStage, OpenCashless, SlotLevel};
use super::effect::Display;
use super::{Machine, Refusal};
use crate::config::{Config, Slot};
use crate::id::{ConfigId, ProductId, TransactionId};
use crate::money::{Currency, Minor, worth};
use alloc::vec::Vec;

/// What the machine is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Ready to sell.
    Idle,
    /// A selection is made, or money is inside, or both.
    AcceptingMoney {
        /// What was chosen; price and config are pinned.
        selection: Option<Selection>,
        /// Credit, minor units.
        credit_minor: Minor,
        /// The terminal was asked for the selection's price.
        authorising: bool,
    },
    /// A motor was promised a turn, or coins are being paid out.
    Dispensing {
        /// The sale.
        transaction: TransactionId,
        /// The slot; `None` while only the payout is left.
        slot: Option<u16>,
    },
    /// Every slot is empty or out of order.
    SoldOut,
    /// Not selling.
    OutOfService(OutOfService),
}

/// Why a machine does not sell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutOfService {
    /// No config has been applied.
    NoConfig,
    /// Taken out of service by an operator or a command.
    Ordered,
    /// The journal has no room.
    JournalFull,
}

/// A choice with its price and config pinned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selection {
    /// The sale it may become.
    pub transaction: TransactionId,
    /// Slot.
    pub slot: u16,
    /// Product in it.
    pub product: ProductId,
    /// Config in force.
    pub config: ConfigId,
    /// Price shown, minor units.
    pub price_minor: Minor,
}

/// What a display, a coin acceptor and a status line need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// What the machine is doing.
    pub state: State,
    /// Whose minor units.
    pub currency: Currency,
    /// Credit, minor units.
    pub credit_minor: Minor,
    /// Denominations that would be taken now, rising; enable just these in the acceptor.
    pub accepts: Vec<Minor>,
    /// Some accepted piece would now be refused for want of change.
    pub exact_change_only: bool,
}

impl Machine {
    /// What the machine is doing.
    #[must_use]
    pub fn state(&self) -> State {
        if let Some(intent) = &self.durable.intent {
            return State::Dispensing { transaction: intent.transaction, slot: Some(intent.slot) };
        }
        if let Some(payout) = &self.durable.payout {
            return State::Dispensing { transaction: payout.transaction, slot: None };
        }
        if self.in_use() {
            return State::AcceptingMoney {
                selection: self.selection,
                credit_minor: self.credit(),
                authorising: self.authorising().is_some(),
            };
        }
        match self.check_selling() {
            Ok(()) => State::Idle,
            Err(Refusal::SoldOut) => State::SoldOut,
            Err(Refusal::JournalFull) => State::OutOfService(OutOfService::JournalFull),
            Err(Refusal::NoConfig) => State::OutOfService(OutOfService::NoConfig),
            Err(_) => State::OutOfService(OutOfService::Ordered),
        }
    }

    /// What a display, a coin acceptor and a status line need.
    #[must_use]
    pub fn view(&self) -> View {
        let accepted = self.config().map_or(&[][..], |c| &c.cash.accepted);
        let verdicts = || accepted.iter().map(|&d| (d, self.check_insert(d)));
        View {
            state: self.state(),
            currency: self.durable.counters.currency,
            credit_minor: self.credit(),
            accepts: verdicts().filter(|(_, verdict)| verdict.is_ok()).map(|(d, _)| d).collect(),
            exact_change_only: verdicts()
                .any(|(_, verdict)| matches!(verdict, Err(Refusal::ExactChangeOnly))),
        }
    }

    /// Money or a choice of a customer is inside, and no vend or payout is in hand.
    pub(super) fn in_use(&self) -> bool {
        self.selection.is_some() || !self.durable.credit.is_empty() || self.authorising().is_some()
    }

    /// A vend, a payout or an authorisation is in hand.
    pub(super) fn check_free(&self) -> Result<(), Refusal> {
        let busy =
            self.durable.intent.is_some() || self.durable.payout.is_some() || self.authorising().is_some();
        if busy { Err(Refusal::Busy) } else { Ok(()) }
    }

    /// Nobody is in the middle of anything: what operators and configs wait for.
    pub(super) fn check_idle(&self) -> Result<(), Refusal> {
        self.check_free()?;
        if self.in_use() { Err(Refusal::InUse) } else { Ok(()) }
    }

    /// The machine sells at all.
    pub(super) fn check_selling(&self) -> Result<(), Refusal> {
        if self.journal_full {
            Err(Refusal::JournalFull)
        } else if self.config().is_none() {
            Err(Refusal::NoConfig)
        } else if self.durable.out_of_service {
            Err(Refusal::OutOfService)
        } else if self.durable.slots.iter().all(|s| s.units == 0 || s.faulted) {
            Err(Refusal::SoldOut)
        } else {
            Ok(())
        }
    }

    /// The slot is in the planogram and has something to sell.
    pub(super) fn check_slot(&self, slot: u16) -> Result<&Slot, Refusal> {
        let planned = self.planned(slot)?;
        match self.level(slot) {
            Some(level) if level.faulted => Err(Refusal::SlotFaulted(slot)),
            Some(level) if level.units > 0 => Ok(planned),
            _ => Err(Refusal::SlotEmpty(slot)),
        }
    }

    pub(super) fn planned(&self, slot: u16) -> Result<&Slot, Refusal> {
        let config = self.config().ok_or(Refusal::NoConfig)?;
        config.slots.iter().find(|s| s.slot == slot).ok_or(Refusal::UnknownSlot(slot))
    }

    pub(super) fn config(&self) -> Option<&Config> {
        self.configs.current.as_ref().map(|a| &a.config)
    }

    pub(super) fn level(&self, slot: u16) -> Option<&SlotLevel> {
        let at = self.durable.slots.binary_search_by_key(&slot, |s| s.slot).ok()?;
        self.durable.slots.get(at)
    }

    pub(super) fn level_mut(&mut self, slot: u16) -> Option<&mut SlotLevel> {
        let at = self.durable.slots.binary_search_by_key(&slot, |s| s.slot).ok()?;
        self.durable.slots.get_mut(at)
    }

    pub(super) fn credit(&self) -> Minor {
        worth(&self.durable.credit)
    }

    /// The authorisation the terminal has not answered.
    pub(super) fn authorising(&self) -> Option<&OpenCashless> {
        self.durable.cashless.iter().find(|c| c.stage == CashlessStage::Authorising)
    }

    /// What to show when nothing special has just happened.
    pub(super) fn resting_display(&self) -> Display {
        match self.state() {
            State::Idle => Display::Ready,
            State::SoldOut => Display::SoldOut,
            State::OutOfService(_) => Display::OutOfService,
            State::Dispensing { slot: Some(slot), .. } => Display::Dispensing { slot },
            State::AcceptingMoney { .. } | State::Dispensing { slot: None, .. } => Display::Credit {
                credit_minor: self.credit(),
                selected: self.selection.map(|s| (s.slot, s.price_minor)),
            },
        }
    }
}
