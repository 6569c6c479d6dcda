//! The hot path: what a batch of Syncs needs to know, and what it leaves behind.
//!
//! The committer drives it on a task of its own: [`Store::begin_hot`], [`HotTx::load_sync`], the fold over each call,
//! [`HotTx::write_sync`], [`HotTx::commit`]. The number of statements depends on what kinds of rows a batch touches, never on
//! how many machines or records are in it.

mod alerts;
pub(in crate::store) mod codes;
pub(in crate::store) mod commands;
mod load;
pub(in crate::store) mod rows;
mod statements;
pub(in crate::store) mod totals;
pub(in crate::store) mod write;

use super::tx::Tx;
use super::{Store, StoreError, on_its_own};
use crate::domain::ids::MachineId;
use std::collections::HashMap;
use vend_core::id::Epoch;

/// A write transaction over a batch of Syncs. Rolled back when dropped.
#[derive(Debug)]
pub struct HotTx {
    tx: Tx,
    store: Store,
    /// What is written with a machine's row although the fold has no use for it.
    asides: HashMap<MachineId, Aside>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Aside {
    pub(in crate::store) spoke_epoch: Epoch,
    pub(in crate::store) spoke_last_seq: u64,
    pub(in crate::store) has_branches: bool,
}

impl Store {
    /// Begins a batch. Begun on a task of its own, so that a caller that goes away leaves nothing open.
    pub async fn begin_hot(&self) -> Result<HotTx, StoreError> {
        let store = self.clone();
        on_its_own(async move {
            let tx = store.begin().await?;
            Ok(HotTx { tx, store, asides: HashMap::new() })
        })
        .await
    }
}

impl HotTx {
    /// The transaction itself.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// Makes the batch durable. After [`StoreError::Unavailable`] it may or may not be: the devices ask again.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { tx, store, .. } = self;
        on_its_own(async move { tx.commit(&store.counts).await }).await
    }

    /// Forgets the batch, at once instead of when the connection is next used.
    pub async fn roll_back(self) -> Result<(), StoreError> {
        on_its_own(self.tx.roll_back()).await
    }
}
