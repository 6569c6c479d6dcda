//! A machine in a test: the real device, journal, agent and transport, moved step by step.
//!
//! * [`Device`] sells, syncs, loses its journal, is copied.
//! * [`chains`] is what its journal holds, for [`crate::checker`].
//! * [`pen`] writes records into the journal that this firmware would not write.
//! * [`voice`] makes single calls in its name, well-formed or not.

pub mod chains;
pub mod pen;
pub mod voice;

use std::{fs, path::Path};

use fleet_client::{
    JOURNAL_DIR,
    agent::SyncStatus,
    credentials::{CredentialStore, Credentials},
    device::Event,
    simulate::{Observation, SimError, SimMachine},
};
use vend_core::machine::{Display, Input};

use crate::{fleet::copy_over, wait::PATIENCE};

/// The slot that customers of tests choose.
pub const SLOT: u16 = 1;
/// Coins they have, largest first, minor units.
const COINS: [i64; 5] = [200, 100, 50, 20, 10];

/// A machine.
pub struct Device {
    /// For what has no word of its own here.
    pub machine: SimMachine,
}

impl Device {
    /// Around this cabinet.
    pub fn new(machine: SimMachine) -> Self {
        Self { machine }
    }

    /// Trades a claim token for an identity. The server must answer.
    pub async fn enrol(&self, claim_token: &str) {
        self.machine.enrol(claim_token).await.unwrap();
    }

    /// Boots, and so syncs when the cable is in.
    pub async fn power_on(&mut self) {
        self.machine.power_on().await.unwrap();
    }

    /// Pulls the plug.
    pub async fn power_off(&mut self) {
        self.machine.power_off().await;
    }

    /// Waits for the first config, fills everything, and hands all of it over.
    pub async fn ready_to_sell(&mut self) {
        self.wait_for("a config", |o| o.assignment_number > 0).await;
        self.machine.restock().await.unwrap();
        self.settle().await;
    }

    /// Customers buy so many units with exact coins, at the price in force. Each is one record.
    pub async fn sell(&mut self, units: usize) {
        for _ in 0..units {
            let events = self.buy().await.unwrap();
            let vended = |e: &Event| matches!(e, Event::Show(Display::Vended { .. }));
            assert!(events.iter().any(vended), "not sold: {events:?}");
        }
    }

    /// One customer, who may meet a power cut: everything that happened from choice to product.
    pub async fn buy(&mut self) -> Result<Vec<Event>, SimError> {
        let price = self.price();
        let mut events = self.machine.handle(Input::Select { slot: SLOT }).await?;
        let mut left = price;
        for denomination in COINS {
            while left >= denomination {
                events.extend(self.machine.handle(Input::InsertMoney { denomination }).await?);
                left -= denomination;
            }
        }
        Ok(events)
    }

    /// The price in force in the slot that customers choose.
    pub fn price(&self) -> i64 {
        let prices = self.now().prices;
        prices.iter().find(|(slot, _)| *slot == SLOT).expect("a config with that slot").1
    }

    /// Waits until no Sync is under way, asks for one, and waits until one has begun and ended, well or badly. Another may
    /// follow at once: a hint that crossed this wish is a wish of its own.
    pub async fn sync(&self) -> SyncStatus {
        let idle = |o: &Observation| o.sync.started > 0 && o.sync.answered + o.sync.failed == o.sync.started;
        self.wait_for("the Sync under way to end", idle).await;
        let before = self.now().sync.started;
        self.machine.sync_now();
        self.wait_for("a Sync to end", |o| o.sync.started > before && idle(o)).await;
        self.now().sync
    }

    /// Waits for a Sync as [`Device::sync`] does, and until the server has every record of this journal.
    pub async fn settle(&self) {
        self.sync().await;
        self.settled().await;
    }

    /// Waits until the server has every record of this journal.
    pub async fn settled(&self) {
        if let Err(error) = self.machine.settled(PATIENCE, true).await {
            panic!("{}: {error}", self.machine.name());
        }
    }

    /// Asks for a Sync and waits until the journal writes another epoch than this one (hex), and the server has all of it.
    pub async fn settle_in_another_epoch(&self, than: &str) {
        self.sync_until("another epoch", |o| hex::encode(o.epoch.0) != than).await;
        self.settle().await;
    }

    /// Asks for Syncs and waits until this holds.
    pub async fn sync_until(&self, what: &str, condition: impl Fn(&Observation) -> bool) {
        if !condition(&self.now()) {
            self.machine.sync_now();
        }
        self.wait_for(what, condition).await;
    }

    /// Waits until this holds of the machine.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Observation) -> bool) {
        if let Err(error) = self.machine.wait_for(PATIENCE, condition).await {
            panic!("{}, waiting for {what}: {error}", self.machine.name());
        }
    }

    /// The machine as it is now.
    pub fn now(&self) -> Observation {
        self.machine.observe().expect("the machine is on")
    }

    /// The epoch its journal writes, hex.
    pub fn epoch(&self) -> String {
        hex::encode(self.now().epoch.0)
    }

    /// Who it is, by its files.
    pub fn credentials(&self) -> Credentials {
        self.store().credentials().unwrap().expect("the machine is enrolled")
    }

    /// The two files of its identity.
    pub fn store(&self) -> CredentialStore {
        CredentialStore::new(self.machine.dir())
    }

    /// Its id, by its files.
    pub fn id(&self) -> String {
        self.credentials().identity.machine_id
    }

    /// Copies its journal to `image`, with the power off for as long as that takes.
    pub async fn save_journal(&mut self, image: &Path) {
        let was_on = self.machine.is_on();
        self.power_off().await;
        copy_over(&self.machine.dir().join(JOURNAL_DIR), image);
        if was_on {
            self.power_on().await;
        }
    }

    /// Puts an older image of its journal back. It is off afterwards.
    pub async fn restore_journal(&mut self, image: &Path) {
        self.power_off().await;
        copy_over(image, &self.machine.dir().join(JOURNAL_DIR));
    }

    /// Forgets who it is; the journal stays. It is off afterwards.
    pub async fn forget_identity(&mut self) {
        self.power_off().await;
        for entry in fs::read_dir(self.machine.dir()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::remove_file(path).unwrap();
            }
        }
    }
}
