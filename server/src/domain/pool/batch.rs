//! What a batch of commands about the pool is decided on, and what it leaves behind.

use super::command::Pick;
use super::model::{Pooled, Purchase, PurchaseChange, Session};
use crate::domain::ids::{AlertId, MachineId, PurchaseId, SessionId};
use crate::domain::payment::Trouble;
use crate::domain::stock::{Crossing, Shelf};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;
use vend_core::id::{BootId, Epoch, ProductId};
use vend_core::money::{Currency, Minor};

/// What a real machine offers in a slot, by its applied config and what is known of its levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The slot.
    pub slot: u16,
    /// What is in it.
    pub product: ProductId,
    /// Its price.
    pub price_minor: Minor,
    /// Of the price.
    pub currency: Currency,
    /// Units that are there and not reserved.
    pub available: i64,
}

/// What a command to a real machine is bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The journal that counts.
    pub epoch: Epoch,
    /// The boot it spoke in last.
    pub boot: BootId,
    /// Its uptime now, as far as it can be told, ms.
    pub uptime_ms: u64,
    /// The last command number given.
    pub last_command: u64,
    /// Two devices speak as it.
    pub cloned: bool,
    /// When its last Sync was answered, ms since the Unix epoch.
    pub last_sync_ms: i64,
}

/// What a batch of commands is decided on: locked rows.
#[derive(Clone, Default, Debug)]
pub struct View {
    /// Machines that may be picked or are named.
    pub pool: HashMap<MachineId, Pooled>,
    /// For each filter of the batch, machines that fit it, lowest (usage, last picked, id) first.
    pub candidates: HashMap<Pick, VecDeque<MachineId>>,
    /// Sessions named, and those of machines in `pool`.
    pub sessions: HashMap<SessionId, Session>,
    /// Purchases named, and those that hold machines in `pool`.
    pub purchases: HashMap<PurchaseId, Purchase>,
    /// Sessions by caller and request id.
    pub starts: HashMap<(String, Uuid), SessionId>,
    /// Purchases by caller and request id.
    pub chooses: HashMap<(String, Uuid), PurchaseId>,
    /// Central stock.
    pub shelf: Shelf,
    /// Slots of real machines.
    pub offers: HashMap<MachineId, Vec<Offer>>,
    /// What commands to real machines are bound to.
    pub bound: HashMap<MachineId, Bound>,
    /// The database's clock, ms since the Unix epoch.
    pub clock_ms: i64,
}

impl View {
    /// Puts candidates in the order in which they are taken: lowest (usage, last picked, id) first.
    pub fn put_in_order(&mut self) {
        let pool = &self.pool;
        for fitting in self.candidates.values_mut() {
            fitting.make_contiguous().sort_by_cached_key(|id| {
                pool.get(id).map(|pooled| (pooled.usage, pooled.last_picked_ms, pooled.id))
            });
        }
    }

    /// In a batch that frees nothing, who was taken need not be looked at again.
    pub fn pass_over(&mut self, pick: &Pick, machine: MachineId) {
        if let Some(fitting) = self.candidates.get_mut(pick)
            && let Some(at) = fitting.iter().position(|id| *id == machine)
        {
            fitting.remove(at);
        }
    }
}

/// What a batch leaves behind, besides the shelf. All of it is written in one transaction.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Writes {
    /// Machines whose row changed.
    pub pool: BTreeSet<MachineId>,
    /// Sessions to insert.
    pub new_sessions: Vec<SessionId>,
    /// Sessions that changed.
    pub sessions: BTreeSet<SessionId>,
    /// Purchases to insert.
    pub new_purchases: Vec<PurchaseId>,
    /// Purchases that changed.
    pub purchases: BTreeSet<PurchaseId>,
    /// Change of slots' reservations.
    pub reserved: BTreeMap<(MachineId, u16), i64>,
    /// Dispense commands to queue.
    pub commands: Vec<NewCommand>,
    /// Commands that expire without ever having been handed out.
    pub expired: Vec<(MachineId, u64)>,
    /// Commands whose time is over and whose result still counts.
    pub doubtful: Vec<(MachineId, u64)>,
    /// Events of central stock.
    pub changes: Vec<PurchaseChange>,
    /// Low-stock thresholds crossed, in order.
    pub crossings: Vec<StockCrossing>,
    /// Alerts, in order.
    pub alerts: Vec<PoolAlert>,
    /// Dead letters, in order.
    pub dead_letters: Vec<Doubt>,
}

/// How far a batch's lists of what is told had grown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    changes: usize,
    crossings: usize,
    alerts: usize,
}

impl Writes {
    pub(super) fn told(&self) -> Told {
        Told { changes: self.changes.len(), crossings: self.crossings.len(), alerts: self.alerts.len() }
    }

    /// All that was told since then follows from this call, and not from the one that made the purchase.
    pub(super) fn follows_from(&mut self, since: Told, trace_id: &str, traceparent: &str) {
        let changes =
            self.changes.iter_mut().skip(since.changes).map(|c| (&mut c.trace_id, &mut c.traceparent));
        let crossings =
            self.crossings.iter_mut().skip(since.crossings).map(|c| (&mut c.trace_id, &mut c.traceparent));
        let alerts = self.alerts.iter_mut().skip(since.alerts).map(|a| (&mut a.trace_id, &mut a.traceparent));
        for (id, parent) in changes.chain(crossings).chain(alerts) {
            trace_id.clone_into(id);
            traceparent.clone_into(parent);
        }
    }
}

/// A low-stock threshold that a purchase crossed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StockCrossing {
    /// The alert's name if one is raised.
    pub alert: AlertId,
    /// The product.
    pub product: ProductId,
    /// In which direction.
    pub crossing: Crossing,
    /// Central stock right after it.
    pub left: i64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace it follows from.
    pub trace_id: String,
    /// W3C traceparent it follows from; may be empty.
    pub traceparent: String,
}

/// A dispense command to queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCommand {
    /// The machine.
    pub machine: MachineId,
    /// Its number.
    pub number: u64,
    /// What it is bound to.
    pub epoch: Epoch,
    /// What it is bound to.
    pub boot: BootId,
    /// The device's uptime after which it must not start any more, ms.
    pub expires_uptime_ms: u64,
    /// The purchase.
    pub purchase: PurchaseId,
    /// When it is made, ms since the Unix epoch.
    pub at_ms: i64,
    /// When it expires unless handed out, by the database's clock.
    pub expires_at_ms: i64,
}

/// What becomes of an alert about a machine's purchases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolAlert {
    /// `Some`: raised under this id when new; `None`: over.
    pub raise: Option<AlertId>,
    /// UPPER_SNAKE.
    pub kind: &'static str,
    /// The machine.
    pub machine: MachineId,
    /// Tells one alert of a kind from another.
    pub key: String,
    /// One sentence for the operator.
    pub detail: String,
    /// The purchase concerned.
    pub purchase: Option<PurchaseId>,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace it follows from.
    pub trace_id: String,
    /// W3C traceparent it follows from; may be empty.
    pub traceparent: String,
}

/// What becomes of a purchase's dead letter: money that can't be settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// Set aside; one that is there is opened again.
    Open {
        /// Used when it is new.
        id: Uuid,
        /// The purchase.
        purchase: PurchaseId,
        /// Of the last attempt.
        trouble: Trouble,
        /// For a person.
        detail: String,
        /// When, ms since the Unix epoch.
        at_ms: i64,
        /// Trace of the purchase.
        trace_id: String,
    },
    /// Finished after all, if there was one; the alerts about it are over.
    Done(PurchaseId, i64),
}
