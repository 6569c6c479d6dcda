//! The journal: what a machine can't afford to forget, on a medium that may lose power between any two writes.
//!
//! [`Journal`] is a seam a firmware author may implement for other storage; [`sqlite::SqliteJournal`] is the one that
//! ships. It is synchronous, and one thread owns it.
//!
//! How a machine starts: open the journal, read [`Journal::recovered`], boot the machine with
//! `PowerUp { epoch: recovered.epoch, parent: recovered.parent, .. }`, and carry out its first
//! [`vend_core::machine::Effect::Commit`]. When the journal must open an epoch (a new journal, or one that was damaged),
//! that commit opens it: the boot record, its parent and the records salvaged from behind the damage are one transaction.
//!
//! How the server's order to open an epoch is obeyed: [`Journal::open_epoch`] gives the parent to name; the machine
//! answers [`vend_core::machine::Input::EpochOpened`] with a commit that begins with the boot record; that commit opens
//! the epoch. A cut in between leaves the old epoch, and the server asks again.
//!
//! **Architecture Invariant**: generated contract types don't appear here; bodies are the codec's (`vendfleet-wire`).

mod error;
pub mod export;
mod lock;
mod salvage;
pub mod sqlite;
mod types;
pub mod verify;
mod wal;

pub use error::{JournalError, Result};
pub use types::{
    Acknowledgement, Batch, Committed, EpochCursor, EpochOrder, Hash, RawRecord, Recovered, Room,
    SalvageReport, Verdict,
};

use vend_core::id::Epoch;
use vend_core::machine::Commit;
use vend_core::record::ParentEpoch;

/// Most records from behind a damage that are written again into the new epoch.
pub const MAX_REWRITTEN: usize = 4096;
/// Most verdicts kept; older ones give way.
pub const MAX_VERDICTS_KEPT: usize = 256;
/// Longest fact, bytes.
pub const MAX_FACT_BYTES: usize = 4096;
/// Most records pruned by one call.
pub const MAX_PRUNED_PER_CALL: u64 = 2000;

/// Durable memory of one machine.
pub trait Journal: Send {
    /// What opening found. The same until the journal is opened again.
    fn recovered(&self) -> &Recovered;

    /// Makes one [`Commit`] durable in one transaction: records get contiguous numbers and their place in the hash chain,
    /// state and configs replace what was stored. When it returns, a power cut can't undo it; when it fails, nothing of
    /// it is visible.
    ///
    /// While [`Journal::room`] is not `Plenty`, faults are left out: telemetry gives way first.
    ///
    /// # Errors
    /// [`JournalError::Full`] and [`JournalError::Io`] as documented there; [`JournalError::Refused`] when a body is
    /// longer than the contract allows, or the commit does not begin with the boot record an open epoch needs.
    fn commit(&mut self, commit: &Commit) -> Result<Committed>;

    /// The epoch to sync now: the oldest with records the server has not accepted, else the newest. `None` while no
    /// epoch has been opened.
    ///
    /// # Errors
    /// When the medium can't be read.
    fn cursor(&mut self) -> Result<Option<EpochCursor>>;

    /// A run of records of `epoch` from `from_seq` on, or from the oldest held when that is gone; at most `max_records`
    /// and `max_bytes` of bodies, but at least one when there is one. The run's chain is checked while it is read.
    ///
    /// # Errors
    /// [`JournalError::UnknownEpoch`]; [`JournalError::Damaged`] when what is read does not hash to what was written.
    fn batch(&mut self, epoch: Epoch, from_seq: u64, max_records: usize, max_bytes: usize) -> Result<Batch>;

    /// Stores what a Sync answered, in one transaction, and prunes what may go. Marks are believed up or down; an epoch
    /// no longer held is ignored (its verdicts and facts are kept all the same).
    ///
    /// # Errors
    /// When the medium refuses; nothing is stored then.
    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<()>;

    /// Prepares to open `fresh` (16 random bytes) in place of the current epoch, and gives the parent its boot record
    /// must name. `None`: the order is about an epoch this journal is past, and nothing is to be done.
    ///
    /// # Errors
    /// When the medium can't be read.
    fn open_epoch(&mut self, order: &EpochOrder, fresh: Epoch) -> Result<Option<ParentEpoch>>;

    /// Highest verdict number stored; zero when none is.
    ///
    /// # Errors
    /// When the medium can't be read.
    fn verdicts_seen_through(&mut self) -> Result<u64>;

    /// The verdicts kept, lowest number first, at most [`MAX_VERDICTS_KEPT`].
    ///
    /// # Errors
    /// When the medium can't be read.
    fn verdicts(&mut self) -> Result<Vec<Verdict>>;

    /// A fact of the agent's (server incarnation, last server time): small, safe to lose. `None` when never stored.
    ///
    /// # Errors
    /// When the medium can't be read.
    fn fact(&mut self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Stores a fact, at most [`MAX_FACT_BYTES`] long. A fact that can wait is better given to
    /// [`Journal::acknowledge`]: each call here is a durable transaction of its own.
    ///
    /// # Errors
    /// When it is too long or the medium refuses.
    fn put_fact(&mut self, key: &str, value: &[u8]) -> Result<()>;

    /// How much can still be written; to be asked after each commit. After a refusal for want of room it tries again.
    fn room(&mut self) -> Room;
}
