//! `Sync`: hand the call to the committer, dress its answer.
//!
//! The path of a call: `grpc::machine_sync` parses it and checks its hashes on the caller's own task; the committer's lane
//! folds it together with its neighbours and commits; here the answer gets its config bytes and goes back.

mod committer;

pub use committer::{Committer, CommitterSettings};

use crate::context::Context;
use crate::domain::ids::{Incarnation, MachineId};
use crate::domain::sync::{Answer, SyncCall};
use crate::error::ApiError;
use crate::store::{Store, StoreError, Waiting};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use vend_core::id::ConfigId;

/// Configs kept decoded and ready to send; a fleet has few at a time.
const MAX_CACHED_CONFIGS: usize = 64;

/// The Sync operation. Cheap to clone.
#[derive(Clone)]
pub struct SyncOperation {
    store: Store,
    committer: Committer,
    context: Context,
    incarnation: Incarnation,
    configs: Arc<Mutex<HashMap<ConfigId, Arc<ConfigBytes>>>>,
}

/// A config as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigBytes {
    /// Its id.
    pub id: ConfigId,
    /// SHA-256 over `body`.
    pub sha256: [u8; 32],
    /// The serialised `MachineConfig`.
    pub body: Vec<u8>,
}

/// A Sync's whole answer.
#[derive(Clone, Debug)]
pub struct SyncAnswer {
    /// What the fold said.
    pub answer: Answer,
    /// The desired config, when it must be sent.
    pub config: Option<Arc<ConfigBytes>>,
    /// This life of the server's data.
    pub incarnation: Incarnation,
    /// Server time, ms since the Unix epoch.
    pub server_time_ms: i64,
}

impl SyncOperation {
    /// Over a store and a running committer. Reads which life of the data this is, once: a restore is done before a
    /// server starts.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn start(store: Store, committer: Committer, context: Context) -> Result<Self, StoreError> {
        let incarnation = store.incarnation().await?;
        Ok(Self { store, committer, context, incarnation, configs: Arc::default() })
    }

    /// This life of the server's data.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Folds and commits one call.
    ///
    /// # Errors
    /// OVERLOADED when the queue is full, UNAVAILABLE when the database is, MACHINE_REVOKED when the machine is gone.
    pub async fn sync(&self, call: SyncCall) -> Result<SyncAnswer, ApiError> {
        self.store.expect_room()?;
        let answer = self.committer.submit(call).await?;
        let config = match answer.config {
            Some(wanted) => Some(self.config(wanted.config).await?),
            None => None,
        };
        let incarnation = self.incarnation;
        Ok(SyncAnswer { answer, config, incarnation, server_time_ms: self.context.now_ms() })
    }

    async fn config(&self, id: ConfigId) -> Result<Arc<ConfigBytes>, ApiError> {
        if let Some(found) = self.configs.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(found.clone());
        }
        let body = self.store.config_body(id).await?.ok_or_else(|| {
            ApiError::internal(format!("desired config {} is not stored", hex::encode(id.0)))
        })?;
        let bytes = Arc::new(ConfigBytes { id, sha256: body.sha256, body: body.body });
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if configs.len() >= MAX_CACHED_CONFIGS {
            configs.clear();
        }
        configs.insert(id, bytes.clone());
        Ok(bytes)
    }

    /// What waits for a machine now.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn waiting(&self, machine: MachineId) -> Result<Waiting, ApiError> {
        let found = self.store.waiting(&[machine]).await?;
        Ok(found.first().map_or_else(Waiting::default, |(_, waiting)| *waiting))
    }
}
