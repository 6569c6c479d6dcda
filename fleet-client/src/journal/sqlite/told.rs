//! How far the log reached when a write last returned, noted beside the journal without a sync: it outlives a killed
//! process, and after a power cut it says nothing.
//!
//! SQLite writes a frame's header before its page. A process killed between the two, where the log goes over an older
//! generation of itself, leaves a header over a page that is not its own: for whoever reads the files, the same as a last
//! commit that was hit. Then nobody can say whether its number is in the world, and a new epoch is due. The note can
//! say: while the system has not been started anew, everything that a write returned for is in the log up to the end noted
//! here, so whatever lies behind that end was never told to anybody.
//!
//! A note that can't be written is removed, because an old one would disown what was told since. Without a note, and where
//! the system does not name its start (`/proc/sys/kernel/random/boot_id`, see random(4)), a torn log is treated as after
//! a power cut.

use super::schema::PAGE_BYTES;
use super::sealed::seal;
use crate::journal::salvage::paths;
use crate::journal::types::Hash;
use crate::journal::wal::{self, END_BYTES, LogEnd};
use rusqlite::Connection;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

const SYSTEM_START: &str = "/proc/sys/kernel/random/boot_id";
/// A UUID as text.
const SYSTEM_START_BYTES: usize = 36;
const BODY_BYTES: usize = SYSTEM_START_BYTES + END_BYTES;
const NOTE_BYTES: usize = BODY_BYTES + size_of::<Hash>();
/// The seal's row id: no row has it.
const SEAL_ID: i64 = -1;

/// The note, for as long as the journal is open.
pub(super) struct Told {
    path: PathBuf,
    log_path: PathBuf,
    system_start: Option<[u8; SYSTEM_START_BYTES]>,
    /// Once they are open.
    note: Option<File>,
    log: Option<File>,
    /// The last note failed, and that was said.
    failed: bool,
}

/// What the note in `dir` says, when the system still runs that ran when it was written.
pub(super) fn read(dir: &Path) -> Option<LogEnd> {
    let mut bytes = Vec::with_capacity(NOTE_BYTES + 1);
    File::open(paths(dir).told).ok()?.take(NOTE_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    let (body, checksum) = bytes.split_first_chunk::<BODY_BYTES>()?;
    let (start, end) = body.split_first_chunk::<SYSTEM_START_BYTES>()?;
    let holds = *checksum == seal(SEAL_ID, body) && *start == system_start()?;
    holds.then(|| LogEnd::from_bytes(end.first_chunk()?)).flatten()
}

fn system_start() -> Option<[u8; SYSTEM_START_BYTES]> {
    fs::read(SYSTEM_START).ok()?.first_chunk().copied()
}

impl Told {
    /// Begins to keep a note in `dir`, with where the log ends now.
    pub(super) fn begin(dir: &Path, conn: &Connection) -> Self {
        let (paths, system_start) = (paths(dir), system_start());
        let mut told = Self {
            path: paths.told,
            log_path: paths.log,
            system_start,
            note: None,
            log: None,
            // Not worth a word at each start.
            failed: system_start.is_none(),
        };
        told.note(conn);
        told
    }

    /// Notes where the log ends; to be called before a write is answered.
    pub(super) fn note(&mut self, conn: &Connection) {
        let noted = match self.system_start {
            Some(start) => self.write(&start, conn),
            None => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        if let Err(error) = &noted {
            if !self.failed {
                tracing::warn!(%error, "the journal can't note how far it was told: a kill may cost an epoch");
            }
            self.forget();
        }
        self.failed = noted.is_err();
    }

    /// Removes the note, or at least what it says.
    fn forget(&mut self) {
        let emptied = self.note.take().is_some_and(|note| note.set_len(0).is_ok());
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound && !emptied && !self.failed => {
                tracing::error!(%error, path = %self.path.display(), "an old note can't be removed");
            }
            _ => {}
        }
    }

    fn write(&mut self, start: &[u8], conn: &Connection) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(NOTE_BYTES);
        bytes.extend_from_slice(start);
        bytes.extend_from_slice(&self.end(conn)?.to_bytes());
        bytes.extend_from_slice(&seal(SEAL_ID, &bytes));
        let note = match &mut self.note {
            Some(note) => note,
            none => none.insert(File::options().write(true).create(true).truncate(false).open(&self.path)?),
        };
        note.seek(SeekFrom::Start(0))?;
        note.write_all(&bytes)
    }

    fn end(&mut self, conn: &Connection) -> io::Result<LogEnd> {
        // It does no work, and its second column is the number of frames.
        let frames: i64 = conn
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")
            .and_then(|mut s| s.query_row([], |row| row.get(1)))
            .map_err(io::Error::other)?;
        let frames = u64::try_from(frames).map_err(|_| io::Error::other("the journal has no log"))?;
        let Some(last) = frames.checked_sub(1) else { return Ok(LogEnd::default()) };
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(File::open(&self.log_path)?),
        };
        let mut end = LogEnd { frames, ..LogEnd::default() };
        log.seek(SeekFrom::Start(wal::frame_offset(last, PAGE_BYTES)))?;
        log.read_exact(&mut end.header)?;
        Ok(end)
    }
}
