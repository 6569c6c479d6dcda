//! What one machine may have stored, however fast its link is.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::{BoundedMap, Buckets, Quota};
use crate::{config::Config, context::Context};

/// Epochs of a machine that are known not to be new.
const EPOCHS_REMEMBERED: usize = 8;

/// What a Sync would have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// Its epoch.
    pub epoch: [u8; 16],
    /// Records.
    pub records: u64,
    /// Bytes of their bodies and of what is kept beside each.
    pub bytes: u64,
    /// Of these, what can't be decoded and becomes dead letters.
    pub dead_letter_bytes: u64,
}

/// Why a Sync is not taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// The config key of the budget.
    pub limit: &'static str,
    /// The budget.
    pub most: u64,
    /// Per so long.
    pub window: Duration,
    /// When the same request fits.
    pub retry_after: Duration,
}

/// Budgets per machine, of this replica. They hold more than a machine brings that was away for months, and refill at many
/// times the rate at which one sells.
#[derive(Debug)]
pub struct MachineBudgets {
    context: Context,
    budgets: [(&'static str, Quota); 4],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    spent: [Buckets<Uuid>; 4],
    epochs: BoundedMap<Uuid, VecDeque<[u8; 16]>>,
}

impl MachineBudgets {
    /// From the config.
    pub fn new(config: &Config, context: Context) -> Self {
        let (sync, machines) = (&config.sync, config.limits.rate_callers);
        let budgets = [
            (
                "sync.machine_records_per_hour",
                Quota::per_hour(sync.machine_records_per_hour, sync.machine_records_burst),
            ),
            (
                "sync.machine_bytes_per_hour",
                Quota::per_hour(sync.machine_bytes_per_hour, sync.machine_bytes_burst),
            ),
            (
                "sync.machine_dead_letter_bytes_per_hour",
                Quota::per_hour(
                    sync.machine_dead_letter_bytes_per_hour,
                    sync.machine_dead_letter_bytes_burst,
                ),
            ),
            (
                "sync.machine_epochs_per_hour",
                Quota::per_hour(sync.machine_epochs_per_hour, sync.machine_epochs_burst),
            ),
        ];
        let spent = std::array::from_fn(|_| Buckets::new(machines));
        Self { context, budgets, state: Mutex::new(State { spent, epochs: BoundedMap::new(machines) }) }
    }

    /// Takes what a Sync would have stored from its machine's budgets, all of it or nothing.
    pub fn take(&self, machine: Uuid, spending: &Spending) -> Result<(), OverBudget> {
        let now = self.context.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let known = state.epochs.get_mut(&machine).is_some_and(|epochs| epochs.contains(&spending.epoch));
        let units = units(spending, !known);
        for (index, (limit, quota)) in self.budgets.iter().enumerate() {
            if units[index] == 0 {
                continue;
            }
            if let Err(retry_after) = state.spent[index].take(&machine, quota, units[index], now) {
                for (earlier, (_, quota)) in self.budgets.iter().enumerate().take(index) {
                    state.spent[earlier].give_back(&machine, quota, units[earlier], now);
                }
                return Err(OverBudget { limit, most: quota.limit, window: quota.window, retry_after });
            }
        }
        if !known {
            let mut epochs = state.epochs.get_mut(&machine).map(std::mem::take).unwrap_or_default();
            epochs.truncate(EPOCHS_REMEMBERED - 1);
            epochs.push_front(spending.epoch);
            state.epochs.insert(machine, epochs);
        }
        Ok(())
    }

    /// Gives back what was taken for a Sync that was not stored. Its epoch stays known: it was paid for.
    pub fn give_back(&self, machine: Uuid, spending: &Spending) {
        let now = self.context.elapsed();
        let units = units(spending, false);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (_, quota)) in self.budgets.iter().enumerate() {
            state.spent[index].give_back(&machine, quota, units[index], now);
        }
    }
}

/// In the order of the budgets.
fn units(spending: &Spending, new_epoch: bool) -> [u64; 4] {
    [spending.records, spending.bytes, spending.dead_letter_bytes, u64::from(new_epoch)]
}
