//! Why a device stops.

use crate::journal::JournalError;

/// The device can't go on as it is: drop it, open the journal again, boot.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The journal can't be trusted to hold what was just decided.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A simulation pulled the plug.
    #[error("the power was cut")]
    PowerCut,
}
