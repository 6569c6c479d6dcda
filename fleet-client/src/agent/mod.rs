//! The sync agent: keeps asking [`plan::Plan`] what to do and does it. `docs/sync-protocol.md`, "What the device does".
//!
//! One Sync is in flight at a time. The journal is blocking, so each of its calls goes through `spawn_blocking`: a
//! machine has one blocking thread for its device and now and then a second for this, and a slow flash page never holds
//! up a keep-alive.

pub mod backoff;
mod config;
mod driver;
pub mod plan;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

pub use config::ConfigError;

use crate::context::Context;
use crate::credentials::{CredentialStore, StoreError};
use crate::device::SharedJournal;
use crate::enrol::About;
use crate::journal::JournalError;
use crate::transport::{CallError, Standing};
use crate::unit::{Message, Snapshot};
use plan::Limits;
use std::sync::Arc;
use tokio::sync::{mpsc, watch as watched};
use vend_core::id::Epoch;

/// What an agent is made of.
pub struct Agent<T> {
    pub(crate) context: Context,
    pub(crate) journal: SharedJournal,
    pub(crate) transport: Arc<T>,
    pub(crate) store: CredentialStore,
    pub(crate) about: About,
    pub(crate) limits: Limits,
    /// Where the device listens.
    pub(crate) inbox: mpsc::Sender<Message>,
    /// Where the device stands.
    pub(crate) snapshot: watched::Receiver<Snapshot>,
    /// Somebody asks for a Sync now.
    pub(crate) asked: mpsc::Receiver<()>,
    /// Told to whoever looks.
    pub(crate) status: watched::Sender<SyncStatus>,
}

/// Where the conversation with the server stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncStatus {
    /// Who this machine is; empty until enrolled.
    pub machine_id: String,
    /// Syncs begun since this boot: one is under way while this is more than those answered and failed.
    pub started: u64,
    /// Syncs answered since this boot.
    pub answered: u64,
    /// Syncs failed since this boot.
    pub failed: u64,
    /// Why the last one failed; `None` when it was answered.
    pub last_error: Option<CallError>,
    /// The epoch the last answer was about, and the server's marks for it.
    pub marks: Option<Marks>,
    /// Nothing is unsent, as of the last answer.
    pub all_accepted: bool,
    /// How the server regards this device's uploads.
    pub standing: Standing,
    /// The server's life as last heard; empty before.
    pub server_incarnation: String,
    /// Offered configs whose bytes could not be taken since this boot.
    pub configs_refused: u64,
    /// The stream of hints is open.
    pub watching: bool,
}

/// The server's marks for one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// The epoch.
    pub epoch: Epoch,
    /// Received durably somewhere.
    pub accepted_through: u64,
    /// Applied.
    pub durable_through: u64,
}

/// Why an agent ended. A failing server or network never ends it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal must be opened again.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The credentials can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The credentials are not what a transport can speak with.
    #[error(transparent)]
    Identity(#[from] CallError),
    /// No credentials, and no enrolment under way.
    #[error("the machine is not enrolled")]
    NotEnrolled,
    /// The device has ended, and with it what there was to sync.
    #[error("the device has ended")]
    DeviceGone,
}
