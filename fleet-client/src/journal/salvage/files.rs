//! The files of a journal's directory, and the one order in which a fresh journal takes a damaged one's place.

use crate::journal::error::{JournalError, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Damaged files kept for a technician; older ones give way.
const MAX_SET_ASIDE: usize = 2;
const SET_ASIDE: &str = "journal.damaged-";

pub(in crate::journal) struct Paths {
    pub(in crate::journal) file: PathBuf,
    pub(in crate::journal) log: PathBuf,
    /// How far the log was told: see `sqlite/told.rs`.
    pub(in crate::journal) told: PathBuf,
    pub(in crate::journal) fresh: PathBuf,
    fresh_log: PathBuf,
    /// Names what the damaged file is to be called; there only between a whole fresh file and its taking over.
    order: PathBuf,
}

pub(in crate::journal) fn paths(dir: &Path) -> Paths {
    Paths {
        file: dir.join("journal.db"),
        log: dir.join("journal.db-wal"),
        told: dir.join("journal.told"),
        fresh: dir.join("journal.new"),
        fresh_log: dir.join("journal.new-wal"),
        order: dir.join("journal.order"),
    }
}

/// The next free name; makes room for it first.
pub(super) fn free_name(dir: &Path) -> Result<String> {
    let mut numbers: Vec<u64> = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|n| n.strip_prefix(SET_ASIDE)).and_then(|n| n.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |n| n + 1);
    let surplus = (numbers.len() + 1).saturating_sub(MAX_SET_ASIDE);
    for number in numbers.iter().take(surplus) {
        remove(&dir.join(format!("{SET_ASIDE}{number}")))?;
        remove(&dir.join(format!("{SET_ASIDE}{number}-wal")))?;
    }
    Ok(format!("{SET_ASIDE}{next}"))
}

/// Removes a fresh file that was never finished.
pub(super) fn drop_fresh(dir: &Path) -> Result<()> {
    let paths = paths(dir);
    remove(&paths.order)?;
    remove(&paths.fresh)?;
    remove(&paths.fresh_log)
}

/// Makes sure the fresh file is on the medium.
pub(super) fn seal_fresh(dir: &Path) -> Result<()> {
    let paths = paths(dir);
    remove(&paths.fresh_log)?;
    File::open(&paths.fresh).and_then(|f| f.sync_all()).map_err(io_error)?;
    sync_dir(dir)
}

/// Puts the fresh file in the old one's place. The order file is written first and removed last, so a cut anywhere in
/// between is finished at the next start ([`resume`]); the old log is moved away before the fresh file gets the name
/// that would make SQLite replay it.
pub(in crate::journal) fn finish(dir: &Path, set_aside: &str) -> Result<()> {
    let paths = paths(dir);
    let mut order = File::create(&paths.order).map_err(io_error)?;
    io::Write::write_all(&mut order, format!("{set_aside}\n").as_bytes()).map_err(io_error)?;
    order.sync_all().map_err(io_error)?;
    drop(order);
    sync_dir(dir)?;
    take_over(dir, &paths, set_aside)
}

/// Finishes what a cut interrupted; drops a fresh file that was never whole.
pub(in crate::journal) fn resume(dir: &Path) -> Result<()> {
    let paths = paths(dir);
    match fs::read_to_string(&paths.order) {
        // Without its line end the order was torn, and nothing had been moved yet.
        Ok(order) if order.starts_with(SET_ASIDE) && order.ends_with('\n') && !order.contains('/') => {
            take_over(dir, &paths, order.trim_end())
        }
        Ok(_) => drop_fresh(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => drop_fresh(dir),
        Err(error) => Err(io_error(error)),
    }
}

fn take_over(dir: &Path, paths: &Paths, set_aside: &str) -> Result<()> {
    if paths.fresh.exists() {
        rename(&paths.log, &dir.join(format!("{set_aside}-wal")))?;
        sync_dir(dir)?;
        rename(&paths.file, &dir.join(set_aside))?;
        sync_dir(dir)?;
        rename(&paths.fresh, &paths.file)?;
        sync_dir(dir)?;
    }
    remove(&paths.order)?;
    sync_dir(dir)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(error)),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(error)),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error)
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn io_error(error: io::Error) -> JournalError {
    JournalError::Io(error.to_string())
}
