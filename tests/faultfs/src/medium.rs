//! What the medium remembers, and when it fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// How a write fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No room left.
    Full,
    /// The medium broke.
    Broken,
}

/// What was written, by count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Writes.
    pub writes: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

#[derive(Clone)]
pub(crate) enum Event {
    Create { file: String },
    Write { file: String, offset: u64, bytes: Vec<u8> },
    Truncate { file: String, size: u64 },
    Sync { file: String },
    Delete { file: String },
}

#[derive(Default)]
pub(crate) struct Medium {
    pub(crate) log: Vec<Event>,
    pub(crate) stats: Stats,
    pub(crate) fail_writes: Option<(u64, Fault)>,
    pub(crate) fail_syncs: Option<u64>,
    /// No file can become longer.
    pub(crate) filled: bool,
    pub(crate) killed: Option<Killed>,
}

/// When the process is gone.
pub(crate) struct Killed {
    /// Steps (writes, truncations, syncs, deletions) that are still made.
    pub(crate) after_steps: u64,
    /// Whether the write after them still gets through up to the next page of the system's memory.
    pub(crate) in_a_write: bool,
}

/// The system takes a write page by page, and a kill in between; within a page there is no in between.
const MEMORY_PAGE_BYTES: u64 = 4096;

pub(crate) fn lock(medium: &Arc<Mutex<Medium>>) -> MutexGuard<'_, Medium> {
    medium.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why a call failed.
pub(crate) enum Refusal {
    Fault(Fault),
    Io,
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

impl Medium {
    pub(crate) fn sync_points(&self) -> Vec<usize> {
        let sync = |(index, event): (usize, &Event)| matches!(event, Event::Sync { .. }).then_some(index);
        self.log.iter().enumerate().filter_map(sync).collect()
    }

    /// One more step, unless the process is gone.
    fn step(&mut self) -> Result<(), Refusal> {
        let Some(killed) = &mut self.killed else { return Ok(()) };
        killed.after_steps = killed.after_steps.checked_sub(1).ok_or(Refusal::Io)?;
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        file: &File,
        name: &str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        if let Some((left, fault)) = &mut self.fail_writes {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Err(Refusal::Fault(*fault)),
            }
        }
        if self.filled && offset + bytes.len() as u64 > file.metadata()?.len() {
            return Err(Refusal::Fault(Fault::Full));
        }
        if let Err(gone) = self.step() {
            let in_a_write =
                self.killed.as_mut().is_some_and(|killed| std::mem::take(&mut killed.in_a_write));
            let to_page = usize::try_from(MEMORY_PAGE_BYTES - offset % MEMORY_PAGE_BYTES).unwrap_or(0);
            if in_a_write && let Some(first) = bytes.get(..to_page) {
                file.write_all_at(first, offset)?;
            }
            return Err(gone);
        }
        file.write_all_at(bytes, offset)?;
        self.stats.writes += 1;
        self.stats.bytes += bytes.len() as u64;
        self.log.push(Event::Write { file: name.to_owned(), offset, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(crate) fn truncate(&mut self, file: &File, name: &str, size: u64) -> Result<(), Refusal> {
        self.step()?;
        file.set_len(size)?;
        self.log.push(Event::Truncate { file: name.to_owned(), size });
        Ok(())
    }

    pub(crate) fn sync(&mut self, name: &str) -> Result<(), Refusal> {
        if let Some(left) = &mut self.fail_syncs {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Err(Refusal::Fault(Fault::Broken)),
            }
        }
        self.step()?;
        self.stats.syncs += 1;
        self.log.push(Event::Sync { file: name.to_owned() });
        Ok(())
    }

    pub(crate) fn delete(&mut self, path: &Path) -> Result<(), Refusal> {
        self.step()?;
        std::fs::remove_file(path)?;
        self.log.push(Event::Delete { file: name_of(path) });
        Ok(())
    }

    pub(crate) fn open(&mut self, path: &Path, create: bool, write: bool) -> Result<File, Refusal> {
        let existed = path.exists();
        let file =
            File::options().read(true).write(write).create(create && write).truncate(false).open(path)?;
        if !existed {
            self.log.push(Event::Create { file: name_of(path) });
        }
        Ok(file)
    }
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
