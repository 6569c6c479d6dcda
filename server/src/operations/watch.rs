//! `Watch`: hints that something waits. A hint may be lost or come twice; Sync is what counts.
//!
//! Operations on this replica wake a machine at once; what another replica did is noticed by one bounded query over all
//! connected machines every poll interval.

use crate::domain::ids::MachineId;
use crate::operations::presence::Presence;
use crate::store::Store;
pub use crate::store::Waiting;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Machines asked about in one query, at most.
const MAX_MACHINES_PER_POLL: usize = 500;

/// Who is connected, and what was last seen waiting for each. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hints {
    connected: Arc<Mutex<HashMap<MachineId, watch::Sender<Waiting>>>>,
    presence: Presence,
}

/// One machine's subscription; ends when dropped.
pub struct Subscription {
    hints: Hints,
    machine: MachineId,
    /// Changes when something new waits.
    pub waiting: watch::Receiver<Waiting>,
}

impl Hints {
    /// Subscribes a machine. Several streams of one machine share what is seen.
    #[must_use]
    pub fn subscribe(&self, machine: MachineId) -> Subscription {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = connected.entry(machine).or_insert_with(|| watch::channel(Waiting::default()).0);
        Subscription { hints: self.clone(), machine, waiting: sender.subscribe() }
    }

    /// Tells a connected machine what waits for it now.
    pub fn tell(&self, machine: MachineId, waiting: Waiting) {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = connected.get(&machine) {
            sender.send_if_modified(|last| {
                let news = *last != waiting && waiting.is_something();
                *last = waiting;
                news
            });
        }
    }

    /// Looks what waits for these machines and tells those that are connected here; others hear it from their replica's poll.
    pub async fn look(&self, store: &Store, machines: &[MachineId]) {
        match store.waiting(machines).await {
            Ok(found) => found.into_iter().for_each(|(machine, waiting)| self.tell(machine, waiting)),
            Err(error) => tracing::debug!(%error, "no hint was given"),
        }
    }

    /// Who has a stream open that stands for a machine.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// How many machines are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Looks for news for every connected machine, until the process ends. Started once.
    pub async fn poll(self, store: Store, interval: Duration) {
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let machines: Vec<MachineId> =
                self.connected.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
            for chunk in machines.chunks(MAX_MACHINES_PER_POLL) {
                match store.waiting(chunk).await {
                    Ok(found) => found.into_iter().for_each(|(machine, waiting)| self.tell(machine, waiting)),
                    Err(error) => {
                        tracing::warn!(%error, "could not look for what waits for connected machines");
                        break;
                    }
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut connected = self.hints.connected.lock().unwrap_or_else(PoisonError::into_inner);
        // This receiver is still counted: the last one takes the entry with it.
        if connected.get(&self.machine).is_some_and(|sender| sender.receiver_count() <= 1) {
            connected.remove(&self.machine);
        }
    }
}
