//! How far the log reached when a write last returned, noted beside the journal without a sync: it outlives a killed
//! process, and after a power cut it says nothing.
//!
//! SQLite writes a frame's header before its page. A process killed between the two, where the log goes over an older
//! generation of itself, leaves a header over a page that is not its own: for whoever reads the files, the same as a last
//! commit that was hit. Then nobody can say whether its number is in the world, and a new epoch is due. The note can
//! say: while the system has not been started anew, everything that a write returned for is in the log up to the end noted
//! here, so whatever lies behind that end was never told to anybody.
//!
//! A note that can't be written is removed, because an old one would call told what is not. Without a note, and where the
//! system does not name its start (`/proc/sys/kernel/random/boot_id`, see random(4)), a torn log is treated as after a power cut.

use super::schema::PAGE_BYTES;
use super::sealed::seal;
use crate::journal::salvage::paths;
use crate::journal::wal::{self, END_BYTES, LogEnd};
use rusqlite::Connection;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

const SYSTEM_START: &str = "/proc/sys/kernel/random/boot_id";
/// A UUID as text.
const SYSTEM_START_BYTES: usize = 36;
const BODY_BYTES: usize = SYSTEM_START_BYTES + END_BYTES;
/// The seal's row id: no row has it.
const SEAL_ID: i64 = -1;

/// The note, for as long as the journal is open.
pub(super) struct Told {
    path: PathBuf,
    log_path: PathBuf,
    /// `None`: no note is kept any more.
    open: Option<Open>,
}

struct Open {
    system_start: [u8; SYSTEM_START_BYTES],
    note: File,
    /// Once there is one.
    log: Option<File>,
}

/// What the note in `dir` says, when the system still runs that ran when it was written.
pub(super) fn read(dir: &Path) -> Option<LogEnd> {
    let bytes = fs::read(paths(dir).told).ok()?;
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
        let paths = paths(dir);
        let open = system_start().and_then(|system_start| {
            let note = File::options().write(true).create(true).truncate(false).open(&paths.told).ok()?;
            Some(Open { system_start, note, log: None })
        });
        let mut told = Self { path: paths.told, log_path: paths.log, open };
        if told.open.is_some() {
            told.note(conn);
        } else {
            told.forget();
        }
        told
    }

    /// Notes where the log ends; to be called before a write is answered.
    pub(super) fn note(&mut self, conn: &Connection) {
        let Some(open) = &mut self.open else { return };
        if let Err(error) = open.write(&self.log_path, conn) {
            tracing::warn!(%error, "the journal can't note how far it was told: a kill may cost an epoch");
            self.open = None;
            self.forget();
        }
    }

    fn forget(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, path = %self.path.display(), "an old note can't be removed");
            }
            _ => {}
        }
    }
}

impl Open {
    fn write(&mut self, log_path: &Path, conn: &Connection) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(BODY_BYTES + 32);
        bytes.extend_from_slice(&self.system_start);
        bytes.extend_from_slice(&self.end(log_path, conn)?.to_bytes());
        bytes.extend_from_slice(&seal(SEAL_ID, &bytes));
        self.note.seek(SeekFrom::Start(0))?;
        self.note.write_all(&bytes)
    }

    fn end(&mut self, log_path: &Path, conn: &Connection) -> io::Result<LogEnd> {
        // It does no work, and its second column is the number of frames.
        let frames: i64 = conn
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")
            .and_then(|mut s| s.query_row([], |row| row.get(1)))
            .map_err(io::Error::other)?;
        let frames = u64::try_from(frames).map_err(|_| io::Error::other("the journal has no log"))?;
        let Some(last) = frames.checked_sub(1) else { return Ok(LogEnd::default()) };
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(File::open(log_path)?),
        };
        let mut end = LogEnd { frames, ..LogEnd::default() };
        log.seek(SeekFrom::Start(wal::frame_offset(last, PAGE_BYTES)))?;
        log.read_exact(&mut end.header)?;
        Ok(end)
    }
}
