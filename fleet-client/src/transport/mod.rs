//! The way to the server, as the rest of the client sees it: three calls in plain types.
//!
//! [`Transport`] is a seam: [`grpc::GrpcTransport`] is the real one, tests put a server in memory behind it, a firmware
//! with its own modem stack writes another.
//!
//! **Architecture Invariant:** `tonic` and generated types appear in this crate only below this module and in the
//! record codec (`vendfleet-wire`).

pub mod grpc;
pub mod line;
#[cfg(test)]
mod tests;
mod translate;

use crate::credentials::{Endpoint, Identity};
use crate::journal::{EpochOrder, Hash, RawRecord, Verdict};
use std::future::Future;
use std::time::Duration;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};
use vend_core::machine::Command;
use vend_core::record::ParentEpoch;
use vend_core::time::Stamp;

/// The three calls of `MachineSyncService`.
///
/// Every call ends by itself within a bound that the implementation names; none is retried below this seam, because
/// only the agent knows when to.
pub trait Transport: Send + Sync + 'static {
    /// An open stream of hints.
    type Hints: Hints;

    /// Trades a claim token and a secret for an identity. Needs no identity.
    fn enroll(&self, call: Enroll) -> impl Future<Output = Result<Enrolled, CallError>> + Send;

    /// Hands over records, takes acknowledgements. Safe to repeat.
    fn sync(&self, call: SyncCall) -> impl Future<Output = Result<SyncAnswer, CallError>> + Send;

    /// Opens the stream of hints.
    fn watch(
        &self,
        epoch: Epoch,
        boot: BootId,
    ) -> impl Future<Output = Result<Self::Hints, CallError>> + Send;

    /// From now on calls speak with this identity.
    ///
    /// # Errors
    /// When the identity can't be used at all, e.g. a certificate that does not parse.
    fn speak_as(&self, endpoint: &Endpoint, identity: &Identity) -> Result<(), CallError>;
}

/// A stream of hints that something waits. Losing it loses nothing.
pub trait Hints: Send + 'static {
    /// The next hint; `Ok(None)` when the server ended the stream. A heartbeat is `Hint { waiting: false }`.
    fn next(&mut self) -> impl Future<Output = Result<Option<Hint>, CallError>> + Send;
}

/// One message of the hint stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hint {
    /// True when something waits for this machine, false for a heartbeat.
    pub waiting: bool,
}

/// What a device says to get its identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Enroll {
    /// The claim token as an operator was shown it.
    pub claim_token: String,
    /// Made by the device, durable before it is sent.
    pub secret: [u8; 32],
    /// Hardware serial, at most 64 bytes; may be empty.
    pub serial: String,
    /// Hardware model, at most 64 bytes.
    pub model: String,
    /// Firmware version, at most 64 bytes.
    pub firmware: String,
    /// PKCS#10 request for a client certificate; empty when none is wanted.
    pub csr_der: Vec<u8>,
}

/// The identity a device got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolled {
    /// The machine's id.
    pub machine_id: String,
    /// What the secret is now called.
    pub credential_id: String,
    /// Signed client certificate, DER; empty when none was asked for.
    pub certificate_der: Vec<u8>,
    /// The CA that signs server and machines, PEM; empty when the server did not say.
    pub ca_pem: String,
    /// Server time, milliseconds since the Unix epoch.
    pub server_time_ms: i64,
}

/// One Sync, going up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncCall {
    /// The epoch it is about.
    pub epoch: Epoch,
    /// Oldest seq held; `last_seq + 1` when none is.
    pub oldest_seq: u64,
    /// Last seq allotted; 0 when none is.
    pub last_seq: u64,
    /// The server's mark as last heard.
    pub accepted_through: u64,
    /// Seq of the first record here, or of the next one to come.
    pub first_seq: u64,
    /// Hash before `first_seq`.
    pub previous_hash: Hash,
    /// Contiguous records.
    pub records: Vec<RawRecord>,
    /// The epoch before this one.
    pub parent: Option<ParentEpoch>,
    /// Highest verdict number stored.
    pub verdicts_seen_through: u64,
    /// The incarnation last heard; empty when none.
    pub server_incarnation: String,
    /// This moment.
    pub now: Stamp,
    /// Levels and config in force; left out when the epoch is not the current one.
    pub state: Option<ReportedState>,
    /// Firmware version.
    pub firmware: String,
}

/// What the machine stands at; safe to lose.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReportedState {
    /// The last seq whose effect is in it.
    pub as_of_seq: u64,
    /// Slot levels.
    pub slots: Vec<ReportedSlot>,
    /// Assignment in force; 0 when none is.
    pub assignment_number: u64,
    /// Config in force.
    pub config_id: Option<ConfigId>,
    /// Highest assignment number offered and refused; 0 when none was.
    pub rejected_number: u64,
    /// Highest command number with a journalled result.
    pub commands_done_through: u64,
    /// It does not sell.
    pub out_of_service: bool,
}

/// One slot as the machine has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedSlot {
    /// Slot number.
    pub slot: u16,
    /// Product in it.
    pub product: ProductId,
    /// Units.
    pub units: u32,
    /// Out of order.
    pub faulted: bool,
}

/// What the server says to a Sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncAnswer {
    /// The epoch it is about.
    pub epoch: Epoch,
    /// Received durably somewhere.
    pub accepted_through: u64,
    /// Applied: may be pruned when its time has passed.
    pub durable_through: u64,
    /// The next batch must start here.
    pub resend_from: Option<u64>,
    /// Verdicts not yet echoed.
    pub verdicts: Vec<Verdict>,
    /// The server's present life.
    pub server_incarnation: String,
    /// Server time, milliseconds since the Unix epoch.
    pub server_time_ms: i64,
    /// How long to wait before the next call, unless something comes first.
    pub next_sync_after_ms: u32,
    /// The desired config, if another is applied: bytes still unread, hash still unchecked.
    pub config: Option<OfferedConfig>,
    /// Commands, lowest number first.
    pub commands: Vec<Command>,
    /// Numbers of commands this firmware can't read; they are logged and left to their expiry.
    pub unreadable_commands: Vec<u64>,
    /// The journal must open a new epoch.
    pub open_epoch: Option<EpochOrder>,
    /// Claim token with which the device must enrol anew.
    pub reenroll: Option<String>,
    /// How the server regards this device's uploads.
    pub standing: Standing,
    /// Days to keep records after `durable_through` has passed them.
    pub keep_days: u32,
}

/// A desired config as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedConfig {
    /// Assignment number.
    pub number: u64,
    /// What the sender says its hash is.
    pub sha256: Vec<u8>,
    /// A serialised `MachineConfig`.
    pub bytes: Vec<u8>,
}

/// How the server regards this device's uploads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Standing {
    /// Applied and counted.
    #[default]
    Active,
    /// Two devices speak as this machine.
    Cloned,
    /// The credential is upload-only.
    Draining,
}

/// Why a call failed, as far as the agent cares.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind:?} {reason}: {message}")]
pub struct CallError {
    /// What to do about it.
    pub kind: FailureKind,
    /// The server's `ErrorInfo.reason`, or the gRPC code, or a local reason.
    pub reason: String,
    /// For people.
    pub message: String,
    /// From `RetryInfo`: not earlier than this.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// A failure made on this side.
    #[must_use]
    pub fn local(kind: FailureKind, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, reason: reason.to_owned(), message: message.into(), retry_after: None }
    }
}

/// What a failed call asks of the agent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureKind {
    /// No answer, or one that says "later": back off and repeat.
    Later,
    /// This machine's credential was revoked: stop syncing, keep everything.
    Revoked,
    /// The credential is not taken. It may be a server's mistake: back off at the cap.
    Unauthenticated,
    /// The server can't take what was said: a bug or damage. Verify the journal, back off at the cap.
    Invalid,
    /// Anything else that repeating will not heal soon: back off at the cap.
    Refused,
}
