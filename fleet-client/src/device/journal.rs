//! One journal for the device, which writes, and the sync agent, which reads and acknowledges.

use crate::journal::Journal;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A journal behind a lock, held for one call at a time: a batch can be read while a motor turns.
///
/// Its calls block for as long as the medium does. The device makes them from its own blocking task; the agent goes
/// through `spawn_blocking` for each, so a slow flash page never holds up a keep-alive. One thread at a time is in the
/// journal, which is all that [`Journal`] asks.
#[derive(Clone)]
pub struct SharedJournal(Arc<Inner>);

struct Inner {
    journal: Mutex<Box<dyn Journal>>,
    /// Dropped after the journal: it says that the medium is free again.
    closed: DropGuard,
}

impl SharedJournal {
    /// Shares this journal.
    #[must_use]
    pub fn new(journal: impl Journal + 'static) -> Self {
        let closed = CancellationToken::new().drop_guard();
        Self(Arc::new(Inner { journal: Mutex::new(Box::new(journal)), closed }))
    }

    /// Makes one call, waiting for the other user's to end.
    pub fn with<T>(&self, call: impl FnOnce(&mut dyn Journal) -> T) -> T {
        call(self.0.journal.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// Cancelled when the last user has let go and the journal is closed.
    #[must_use]
    pub fn closed(&self) -> CancellationToken {
        self.0.closed.token().clone()
    }
}
