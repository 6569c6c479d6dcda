//! Simulated hardware: seeded, so that a run can be repeated; with a ledger outside the journal, so that what the
//! motors did can be compared with what the journal says.

use super::{Authorised, CashlessResult, Hardware, Motor, PaymentTerminal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vend_core::id::TransactionId;
use vend_core::money::{Minor, Pieces, Purse};

/// How the simulated mechanics behave. By default they are perfect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    /// Slots this cabinet has: 1 to this number; zero: any.
    pub slots: u16,
    /// One turn in so many drops nothing; zero: every turn drops one.
    pub motor_fails_one_in: u32,
    /// One payout in so many jams after its first piece; zero: never.
    pub coin_jam_one_in: u32,
    /// One authorisation in so many is declined; zero: never.
    pub declines_one_in: u32,
    /// How long a turn of a motor takes, milliseconds.
    pub motor_ms: u64,
}

/// Everything the mechanics did, as somebody standing beside the cabinet would have seen it. Shared by clones, so it
/// outlives a power cut of the controller.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Seen>>);

/// What was seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Every sale a motor was driven for, in order.
    pub driven: Vec<(TransactionId, u16)>,
    /// Units that fell.
    pub dropped: u64,
    /// Sales for which a motor was driven more than once: must stay empty.
    pub driven_twice: Vec<TransactionId>,
    /// Paid out, minor units.
    pub paid_out_minor: Minor,
}

impl Witness {
    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, f: impl FnOnce(&mut Seen)) {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Motors and coin mechanism that exist only here.
pub struct SimHardware {
    behaviour: Behaviour,
    rng: ChaCha8Rng,
    witness: Witness,
    marks: Option<File>,
}

impl SimHardware {
    /// Mechanics that behave so, by this seed.
    #[must_use]
    pub fn new(behaviour: Behaviour, seed: u64, witness: Witness) -> Self {
        Self { behaviour, rng: ChaCha8Rng::seed_from_u64(seed), witness, marks: None }
    }

    /// Also writes a durable line per turn into this file (`<transaction hex> <slot>`), before the turn is reported: the
    /// count of physical turns survives the process.
    ///
    /// # Errors
    /// When the file can't be opened for appending.
    pub fn with_marks(mut self, path: &Path) -> io::Result<Self> {
        self.marks = Some(File::options().create(true).append(true).open(path)?);
        Ok(self)
    }

    fn one_in(&mut self, n: u32) -> bool {
        n > 0 && self.rng.random_range(0..n) == 0
    }
}

impl Hardware for SimHardware {
    fn slots(&self) -> Vec<u16> {
        (1..=self.behaviour.slots).collect()
    }

    fn dispense(&mut self, transaction: TransactionId, slot: u16) -> Motor {
        if self.behaviour.motor_ms > 0 {
            std::thread::sleep(Duration::from_millis(self.behaviour.motor_ms));
        }
        if let Some(marks) = &mut self.marks {
            let line = format!("{} {slot}\n", hex::encode(transaction.0));
            if let Err(error) = marks.write_all(line.as_bytes()).and_then(|()| marks.sync_data()) {
                tracing::error!(%error, "the motor's marks can't be written");
                return Motor::Failure;
            }
        }
        let dropped = !self.one_in(self.behaviour.motor_fails_one_in);
        self.witness.note(|seen| {
            if seen.driven.iter().any(|(t, _)| *t == transaction) {
                seen.driven_twice.push(transaction);
            }
            seen.driven.push((transaction, slot));
            seen.dropped += u64::from(dropped);
        });
        if dropped { Motor::Success } else { Motor::Failure }
    }

    fn pay_out(&mut self, _: TransactionId, coins: &Purse) -> Purse {
        let paid = if self.one_in(self.behaviour.coin_jam_one_in) {
            coins.first().map(|p| vec![Pieces { count: p.count.min(1), ..*p }]).unwrap_or_default()
        } else {
            coins.clone()
        };
        let worth = vend_core::money::worth(&paid);
        self.witness.note(|seen| seen.paid_out_minor = seen.paid_out_minor.saturating_add(worth));
        paid
    }
}

/// A card reader that approves, settles and voids by itself.
pub struct SimTerminal {
    behaviour: Behaviour,
    rng: ChaCha8Rng,
    online: Box<dyn Fn() -> bool + Send>,
    captured: BTreeSet<TransactionId>,
}

impl SimTerminal {
    /// A reader that behaves so; `online` says whether its acquirer can be reached now.
    #[must_use]
    pub fn new(behaviour: Behaviour, seed: u64, online: impl Fn() -> bool + Send + 'static) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { behaviour, rng, online: Box::new(online), captured: BTreeSet::new() }
    }
}

impl PaymentTerminal for SimTerminal {
    fn authorise(&mut self, transaction: TransactionId, _: Minor, offline_allowed: bool) -> Authorised {
        let n = self.behaviour.declines_one_in;
        let declined = n > 0 && self.rng.random_range(0..n) == 0;
        let offline = !(self.online)();
        if declined || (offline && !offline_allowed) {
            return Authorised::Declined;
        }
        Authorised::Approved { reference: format!("SIM-{}", hex::encode(&transaction.0[8..])), offline }
    }

    fn settle(&mut self, transaction: TransactionId, _: &str, _: Minor) -> CashlessResult {
        if !(self.online)() {
            return CashlessResult::Later;
        }
        self.captured.insert(transaction);
        CashlessResult::Done
    }

    fn void(&mut self, transaction: TransactionId, _: &str) -> CashlessResult {
        if !(self.online)() {
            return CashlessResult::Later;
        }
        if self.captured.contains(&transaction) { CashlessResult::Unknown } else { CashlessResult::Done }
    }
}
