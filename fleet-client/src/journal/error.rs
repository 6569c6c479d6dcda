//! What can go wrong in a journal, and what the caller does about it.

use vend_core::id::Epoch;

/// Why the journal did not do what it was asked. Nothing has changed then, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process, or another journal in this one, has the directory open.
    #[error("the journal directory is in use by another process")]
    InUse,
    /// No room left, on the medium or within `max_bytes`. Nothing was written; selling must stop until
    /// [`super::Journal::room`] says otherwise.
    #[error("the journal is full: {0}")]
    Full(&'static str),
    /// What was read contradicts itself. Drop this journal and open it again: opening sets the file aside and salvages.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// The file was written by a newer firmware, or its engine is not the one this journal was proven with.
    #[error("the journal cannot be used: {0}")]
    Unusable(String),
    /// A commit broke a rule of the journal; the names say which.
    #[error("commit refused: {field}: {rule}")]
    Refused {
        /// The part of the commit.
        field: &'static str,
        /// The rule it broke.
        rule: String,
    },
    /// Asked about an epoch that this journal does not hold.
    #[error("the journal holds no epoch {}", hex::encode(.0.0))]
    UnknownEpoch(Epoch),
    /// The medium failed. The commit in hand is not visible here; whether it survives a power cut is not known, so the
    /// machine stops and starts again from what the journal then holds.
    #[error("the journal's medium failed: {0}")]
    Io(String),
}

/// A journal's answer.
pub type Result<T, E = JournalError> = core::result::Result<T, E>;
