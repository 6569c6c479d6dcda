//! Opening: lock, finish what was interrupted, check everything, salvage if need be.

use super::schema::{self, PAGE_BYTES, named, uint};
use super::told::{self, Told};
use super::{Opening, Options, SqliteJournal};
use crate::journal::error::{JournalError, Result};
use crate::journal::types::{Recovered, SalvageReport};
use crate::journal::verify::{self, Held};
use crate::journal::wal::{self, Tail};
use crate::journal::{lock, salvage};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;
use vend_core::id::Epoch;
use vend_core::machine::{Durable, Stored};
use vend_core::record::{EpochReason, ParentEpoch};

impl SqliteJournal {
    /// Opens the journal in `dir`, or makes one. Everything held is read and checked; a damaged file is set aside and
    /// salvaged. `fresh` is 16 random bytes: the epoch's name if one must be opened, else unused.
    ///
    /// # Errors
    /// [`JournalError::InUse`] when another process has it; [`JournalError::Io`] and [`JournalError::Full`] when the
    /// medium fails: nothing is lost, and opening may be tried again.
    pub fn open(dir: &Path, options: &Options, fresh: Epoch) -> Result<Self> {
        let io_error = |e: std::io::Error| JournalError::Io(e.to_string());
        std::fs::create_dir_all(dir).map_err(io_error)?;
        let lock = lock::lock(dir)?;
        salvage::resume(dir)?;
        let paths = salvage::paths(dir);
        let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
        let mut log = wal::inspect(&paths.log, page_bytes).map_err(io_error)?;
        let told = told::read(dir);
        let is_short = told.is_some_and(|end| log.is_short_of(&end));
        if is_short {
            // What lies behind the last commit that checks was answered: it counts as far as it can be read.
            log.tail = Tail::Damaged;
        }
        let doubt = match log.tail {
            Tail::Damaged if is_short => Some("the log lacks a commit that was answered"),
            Tail::Clean => None,
            // A process was killed while it wrote: nobody has heard of what does not check.
            Tail::Torn if told.is_some_and(|end| log.ends_at(&end)) => None,
            Tail::Torn => Some("the log ends in a transaction that does not check"),
            Tail::Damaged => Some("the log breaks off before commits that had been synced"),
        };
        let sound = match doubt {
            None => sound(&paths.file, options),
            Some(doubt) => Err(JournalError::Damaged(doubt.to_owned())),
        };
        let (conn, held) = match sound {
            Err(JournalError::Damaged(damage)) => {
                tracing::warn!(%damage, "journal damaged: setting it aside");
                salvage::salvage(dir, options, &log, damage)?;
                self::sound(&paths.file, options)?
            }
            other => {
                let sound = other?;
                // Or its later frames would read as damage once something shorter has gone over the first.
                log.erase_unfinished(&paths.log).map_err(io_error)?;
                sound
            }
        };
        // From here on closing may fold the log into the file.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(named)?;
        let told = Told::begin(dir, &conn);
        let pending = pending_salvage(&conn, &held)?;
        let newest = held.epochs.last();
        let opening = match (&pending, newest) {
            (Some((_, parent)), _) => Some(Opening { fresh, parent: *parent, required: true }),
            (None, None) => Some(Opening { fresh, parent: None, required: true }),
            (None, Some(_)) => None,
        };
        let recovered = Recovered {
            stored: stored(&held)?,
            epoch: opening.as_ref().map_or_else(|| newest.map_or(fresh, |row| row.name), |o| o.fresh),
            opens_epoch: opening.is_some(),
            parent: opening.as_ref().and_then(|o| o.parent),
            last_seq: held.head.as_ref().map_or(0, |h| h.last_seq),
            salvage: pending.map(|(report, _)| report),
        };
        Ok(Self {
            conn,
            dir: dir.to_owned(),
            options: options.clone(),
            epochs: held.epochs,
            head: held.head,
            recovered,
            opening,
            refused: false,
            rewind: false,
            told,
            _lock: lock,
        })
    }
}

fn sound(file: &Path, options: &Options) -> Result<(Connection, Held)> {
    let mut conn = schema::connect(file, options)?;
    schema::prepare(&mut conn)?;
    let held = verify::load(&conn)?;
    verify::verify(&conn, &held)?;
    Ok((conn, held))
}

fn stored(held: &Held) -> Result<Stored> {
    let unreadable = |e: vendfleet_wire::BodyError| JournalError::Damaged(e.to_string());
    let durable = match held.head.as_ref().map(|h| h.state.as_slice()) {
        None | Some([]) => Durable::default(),
        Some(state) => vendfleet_wire::state::decode_state(state).map_err(unreadable)?,
    };
    let configs = vendfleet_wire::state::decode_configs(&held.configs).map_err(unreadable)?;
    Ok(Stored { durable, configs })
}

/// A salvage whose epoch has not been opened yet, and the parent that epoch must name.
fn pending_salvage(conn: &Connection, held: &Held) -> Result<Option<(SalvageReport, Option<ParentEpoch>)>> {
    let row = conn
        .query_row("SELECT report, parent_id, highest_seq FROM salvage", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()
        .map_err(named)?;
    let Some((report, parent_id, highest_seq)) = row else { return Ok(None) };
    let report =
        serde_json::from_str(&report).map_err(|e| JournalError::Damaged(format!("salvage report: {e}")))?;
    let parent = held.epochs.last().filter(|row| Some(row.id) == parent_id).map(|row| ParentEpoch {
        epoch: row.name,
        last_common_seq: held.head.as_ref().map_or(0, |h| h.last_seq),
        highest_seq: uint(highest_seq),
        reason: EpochReason::Salvaged,
    });
    Ok(Some((report, parent)))
}
