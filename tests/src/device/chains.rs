//! What a journal holds, read to its end.

use std::path::Path;

use fleet_client::{context::Context, journal::RawRecord, journal::sqlite::Options, open_journal};
use vend_core::{counters::Totals, id::Epoch, record::ParentEpoch};

use super::Device;

/// Records and bytes read at once.
const BATCH: (usize, usize) = (512, 200_000);

/// Everything durable on one device.
#[derive(Debug, Clone)]
pub struct Chains {
    /// The device's name.
    pub name: String,
    /// Newest first.
    pub epochs: Vec<Chain>,
    /// Lifetime totals as the machine remembers them.
    pub lifetime: Totals,
    /// Both money identities hold.
    pub money_conserved: bool,
}

/// One epoch.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its name.
    pub epoch: Epoch,
    /// What it follows.
    pub parent: Option<ParentEpoch>,
    /// Last seq allotted; those before the first of [`Chain::records`] have been pruned.
    pub last_seq: u64,
    /// What is still held.
    pub records: Vec<RawRecord>,
}

impl Device {
    /// Switches the machine off and reads its journal.
    pub async fn chains(&mut self) -> Chains {
        self.power_off().await;
        let (name, dir) = (self.machine.name().to_owned(), self.machine.dir().to_owned());
        tokio::task::spawn_blocking(move || read(name, &dir)).await.unwrap()
    }
}

fn read(name: String, dir: &Path) -> Chains {
    let journal = open_journal(dir, &Options::default(), &Context::system()).unwrap();
    let recovered = journal.with(|j| j.recovered().clone());
    let durable = recovered.stored.durable;
    let mut next =
        if recovered.opens_epoch { recovered.parent.map(|p| p.epoch) } else { Some(recovered.epoch) };
    let mut epochs = Vec::new();
    while let Some(epoch) = next {
        let mut records: Vec<RawRecord> = Vec::new();
        let mut from = 0;
        let cursor = loop {
            let Ok(batch) = journal.with(|j| j.batch(epoch, from, BATCH.0, BATCH.1)) else {
                // The epoch of a board before this one, or of a journal that is gone: only its name is known here.
                return Chains::of(name, epochs, &durable);
            };
            match batch.records.last() {
                Some(last) => from = last.seq + 1,
                None => break batch.cursor,
            }
            records.extend(batch.records);
        };
        next = cursor.parent.map(|p| p.epoch);
        epochs.push(Chain { epoch, parent: cursor.parent, last_seq: cursor.last_seq, records });
    }
    Chains::of(name, epochs, &durable)
}

impl Chains {
    fn of(name: String, epochs: Vec<Chain>, durable: &vend_core::machine::Durable) -> Self {
        Self {
            name,
            epochs,
            lifetime: durable.counters.lifetime,
            money_conserved: vend_core::machine::Books::of(durable).balance(),
        }
    }
}
