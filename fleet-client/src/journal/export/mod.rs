//! The journal as JSON lines, one per record: for a technician's eyes and for `jq`. Names are the core's own; hashes and
//! ids are hexadecimal.

mod body;

pub use body::{parent, purse, record, totals};

use crate::journal::error::{JournalError, Result};
use crate::journal::sqlite::raw_record;
use crate::journal::sqlite::schema::{int, named};
use crate::journal::types::RawRecord;
use crate::journal::verify::Held;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::io::Write;
use vend_core::id::Epoch;

/// Writes every held record, oldest first, and says how many.
pub(in crate::journal) fn export(conn: &Connection, held: &Held, out: &mut dyn Write) -> Result<u64> {
    let mut statement = conn
        .prepare(
            "SELECT position, kind, schema, body, hash FROM record WHERE position > ?1 AND position <= ?2
             ORDER BY position",
        )
        .map_err(named)?;
    let mut written = 0;
    for (index, epoch) in held.epochs.iter().enumerate() {
        let end = held.epochs.get(index + 1).map_or(i64::MAX, |next| int(next.base));
        let mut rows = statement.query([int(epoch.base), end]).map_err(named)?;
        while let Some(row) = rows.next().map_err(named)? {
            let line = line(epoch.name, &raw_record(row, epoch.base)?);
            writeln!(out, "{line}").map_err(|e| JournalError::Io(e.to_string()))?;
            written += 1;
        }
    }
    Ok(written)
}

/// One record as JSON; a body that can't be read is given raw, with the reason.
#[must_use]
pub fn line(epoch: Epoch, record: &RawRecord) -> Value {
    let mut line = json!({
        "epoch": hex::encode(epoch.0),
        "seq": record.seq,
        "kind": record.kind,
        "schema": record.schema,
        "hash": hex::encode(record.hash),
    });
    let (key, value) = match vendfleet_wire::decode(record.kind, record.schema, &record.body) {
        Ok(meaning) => ("record", body::record(&meaning)),
        Err(error) => ("unreadable", json!({ "why": error.to_string(), "body": hex::encode(&record.body) })),
    };
    if let Some(object) = line.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
    line
}
