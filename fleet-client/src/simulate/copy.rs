//! A machine's directory, copied or without its journal: what a board that was cloned or flashed anew has.

use crate::JOURNAL_DIR;
use std::fs;
use std::io;
use std::path::Path;

/// Copies all files of one machine's directory into another's.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Deletes the journal; the identity stays.
pub(super) fn forget_journal(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(JOURNAL_DIR)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
