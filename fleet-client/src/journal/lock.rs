//! One process, one journal: an advisory lock on a file beside it, gone with the process that held it.

use super::error::{JournalError, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

/// A process that was killed beside a fork leaves its lock to the child until that has begun its own program: looked for so often
/// before the journal counts as in use.
const LOOKS: u32 = 20;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Held while the journal is open.
#[derive(Debug)]
pub(in crate::journal) struct JournalLock {
    file: File,
}

impl Drop for JournalLock {
    /// Unlocked by name, not by closing: a child that was forked meanwhile has the same open file, and would hold the lock until
    /// it begins its own program.
    fn drop(&mut self) {
        // What can't be unlocked is closed in a moment.
        let _ = self.file.unlock();
    }
}

pub(in crate::journal) fn lock(dir: &Path) -> Result<JournalLock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("journal.lock"))
        .map_err(|e| JournalError::Io(e.to_string()))?;
    for look in 1..=LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(JournalLock { file }),
            Err(TryLockError::WouldBlock) if look < LOOKS => std::thread::sleep(LOOK_EVERY),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(JournalError::Io(error.to_string())),
        }
    }
    Err(JournalError::InUse)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use super::lock;
    use crate::journal::JournalError;

    /// A fork has the same open file, as a clone of it has.
    #[test]
    fn a_fork_beside_an_open_journal_does_not_keep_it_locked() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let forked = held.file.try_clone().unwrap();
        assert!(matches!(lock(folder.path()), Err(JournalError::InUse)), "while it is held it is held");
        drop(held);
        lock(folder.path()).expect("whoever held it has let go");
        drop(forked);
    }
}
