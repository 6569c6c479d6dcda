//! Looking at a machine: now, when it has settled, and in full.

use super::machine::{SimError, SimMachine};
use super::report::MachineReport;
use crate::agent::SyncStatus;
use std::time::Duration;
use tokio::time::timeout;
use vend_core::id::{ConfigId, Epoch};
use vend_core::machine::{Books, SlotUnits, View};

/// A machine as it is now.
#[derive(Clone, PartialEq, Debug)]
pub struct Observation {
    /// What it is doing.
    pub view: View,
    /// The epoch its journal writes.
    pub epoch: Epoch,
    /// The last seq allotted in it.
    pub last_seq: u64,
    /// Assignment in force; 0: none.
    pub assignment_number: u64,
    /// Config in force.
    pub config_id: Option<ConfigId>,
    /// Price of each slot in force, by slot number, minor units.
    pub prices: Vec<(u16, i64)>,
    /// Where every coin is.
    pub books: Books,
    /// Paid vends in its life.
    pub vends: u64,
    /// Where its conversation with the server stands.
    pub sync: SyncStatus,
}

impl SimMachine {
    /// State, marks and versions, as they are now.
    ///
    /// # Errors
    /// When it is off.
    pub fn observe(&self) -> Result<Observation, SimError> {
        let unit = self.unit()?;
        let snapshot = unit.snapshot();
        let slots = snapshot.config.as_ref().map(|c| c.slots.as_slice()).unwrap_or_default();
        Ok(Observation {
            epoch: snapshot.epoch,
            last_seq: snapshot.last_seq,
            assignment_number: snapshot.durable.applied_number,
            config_id: snapshot.durable.applied_config,
            prices: slots.iter().map(|s| (s.slot, s.price_minor)).collect(),
            books: Books::of(&snapshot.durable),
            vends: snapshot.durable.counters.lifetime.vends,
            sync: unit.status(),
            view: snapshot.view,
        })
    }

    /// What is in its slots, as whoever counts them finds it.
    ///
    /// # Errors
    /// When it is off.
    pub fn units(&self) -> Result<Vec<SlotUnits>, SimError> {
        let slots = self.unit()?.snapshot().durable.slots;
        Ok(slots.iter().map(|level| SlotUnits { slot: level.slot, units: level.units }).collect())
    }

    /// Waits until the server has accepted every record, and, when `durable`, applied it.
    ///
    /// # Errors
    /// When it is off, or not settled within `deadline`.
    pub async fn settled(&self, deadline: Duration, durable: bool) -> Result<(), SimError> {
        self.wait_for(deadline, |o| {
            o.sync.marks.is_some_and(|m| {
                let mark = if durable { m.durable_through } else { m.accepted_through };
                o.sync.all_accepted && m.epoch == o.epoch && mark >= o.last_seq
            })
        })
        .await
    }

    /// Waits until `condition` holds of the machine.
    ///
    /// # Errors
    /// When it is off, or the condition does not hold within `deadline`.
    pub async fn wait_for(
        &self,
        deadline: Duration,
        condition: impl Fn(&Observation) -> bool,
    ) -> Result<(), SimError> {
        let unit = self.unit()?;
        let (mut snapshots, mut statuses) = (unit.snapshots(), unit.statuses());
        let wait = async {
            while !condition(&self.observe()?) {
                let gone = tokio::select! {
                    changed = snapshots.changed() => changed.is_err(),
                    changed = statuses.changed() => changed.is_err(),
                };
                if gone {
                    return Err(SimError::Off(self.name().to_owned()));
                }
            }
            Ok(())
        };
        match timeout(deadline, wait).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let o = self.observe()?;
                let open =
                    format!("last_seq {}, marks {:?}, {:?}", o.last_seq, o.sync.marks, o.sync.last_error);
                Err(SimError::NotSettled(open))
            }
        }
    }

    /// Everything that can be laid beside what the server says.
    ///
    /// # Errors
    /// When it is off or its journal can't be read.
    pub async fn report(&self) -> Result<MachineReport, SimError> {
        let unit = self.unit()?;
        let (snapshot, status, journal) = (unit.snapshot(), unit.status(), unit.journal());
        let (name, boots, seen) = (self.name().to_owned(), self.boots(), self.witness().seen());
        let read = tokio::task::spawn_blocking(move || {
            MachineReport::read(&name, status.machine_id, boots, &snapshot, &seen, &journal)
        });
        Ok(read.await.map_err(|_| SimError::Panicked)??)
    }
}
