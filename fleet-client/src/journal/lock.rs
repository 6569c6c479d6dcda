//! One process, one journal: an advisory lock on a file beside it, gone with the process that held it.

use super::error::{JournalError, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

pub(in crate::journal) fn lock(dir: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("journal.lock"))
        .map_err(|e| JournalError::Io(e.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse),
        Err(TryLockError::Error(error)) => Err(JournalError::Io(error.to_string())),
    }
}
