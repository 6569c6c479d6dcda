//! The one way records get their numbers.

use super::schema::{int, named, put_sealed, uint};
use super::sealed::{CONFIGS_ID, EpochRow, FIRST_EPOCH_ID, HEAD_ID, Head};
use super::{Opening, SqliteJournal};
use crate::journal::error::{JournalError, Result};
use crate::journal::types::{Committed, Room};
use rusqlite::{Transaction, params};
use vend_core::machine::Commit;
use vend_core::record::{Body, Kind};
use vendfleet_wire::{Hash, MAX_BODY_BYTES, NO_HASH};

/// A record before it has its number.
struct Unnumbered {
    kind: u32,
    schema: u32,
    body: Vec<u8>,
}

impl SqliteJournal {
    pub(super) fn commit_one(&mut self, commit: &Commit) -> Result<Committed> {
        let mut records = Vec::with_capacity(commit.records.len());
        let mut left_out = 0;
        let low = !commit.records.is_empty() && self.room_left() != Room::Plenty;
        for record in &commit.records {
            let encoded = vendfleet_wire::encode(record);
            if low && encoded.kind == Kind::Fault {
                left_out += 1;
                continue;
            }
            if encoded.body.len() > MAX_BODY_BYTES {
                let rule =
                    format!("must encode to at most {MAX_BODY_BYTES} bytes, is {}", encoded.body.len());
                return Err(JournalError::Refused { field: "records", rule });
            }
            records.push(Unnumbered {
                kind: encoded.kind as u32,
                schema: encoded.schema,
                body: encoded.body,
            });
        }
        let opens = self.opens(commit)?;
        let written = u32::try_from(records.len()).unwrap_or(u32::MAX);

        let commit_no = self.head.as_ref().map_or(1, |h| h.commit_no + 1);
        let state = vendfleet_wire::state::encode_state(&commit.state);
        let configs = commit.configs.as_ref().map(vendfleet_wire::state::encode_configs);
        let (closing, current) = if opens { self.next_epoch() } else { (None, self.current()?) };
        let mut seq = self.head.as_ref().filter(|h| h.epoch_id == current.id).map_or(0, |h| h.last_seq);
        let mut hash =
            self.head.as_ref().filter(|h| h.epoch_id == current.id).map_or(NO_HASH, |h| h.last_hash);

        let head = self.write(|tx| {
            if opens {
                if let Some(closing) = &closing {
                    put_sealed(tx, closing.id, &closing.to_bytes())?;
                }
                put_sealed(tx, current.id, &current.to_bytes())?;
                let boot_and_rest = records.drain(..).enumerate();
                for (index, record) in boot_and_rest {
                    append(tx, &current, &mut seq, &mut hash, &record)?;
                    if index == 0 {
                        append_strays(tx, &current, &mut seq, &mut hash)?;
                    }
                }
            } else {
                for record in &records {
                    append(tx, &current, &mut seq, &mut hash, record)?;
                }
            }
            if let Some(configs) = &configs {
                put_sealed(tx, CONFIGS_ID, configs)?;
            }
            let head = Head { commit_no, epoch_id: current.id, last_seq: seq, last_hash: hash, state };
            put_sealed(tx, HEAD_ID, &head.to_bytes())?;
            Ok(head)
        })?;
        if opens {
            if let (Some(closing), Some(last)) = (closing, self.epochs.last_mut()) {
                *last = closing;
            }
            self.epochs.push(current.clone());
            self.opening = None;
        }
        self.head = Some(head);
        Ok(Committed { epoch: current.name, last_seq: seq, written, left_out })
    }

    /// Whether this commit opens an epoch; refuses what must not be written before one is opened.
    fn opens(&self, commit: &Commit) -> Result<bool> {
        let boot = match commit.records.first().map(|r| &r.body) {
            Some(Body::Boot(boot)) => Some(boot),
            _ => None,
        };
        let refused = |rule: &str| Err(JournalError::Refused { field: "records[0]", rule: rule.to_owned() });
        match (&self.opening, boot) {
            (Some(Opening { parent, required: true, .. }), Some(boot)) if boot.parent == *parent => Ok(true),
            (Some(Opening { required: true, .. }), _) => {
                refused("must be the boot record of the epoch to be opened, with its parent")
            }
            (Some(Opening { parent, .. }), Some(boot)) if boot.parent == *parent => {
                let last_seq = self.head.as_ref().map_or(0, |h| h.last_seq);
                if parent.is_some_and(|p| p.highest_seq != last_seq) {
                    return refused(
                        "must name the last seq as parent.highest_seq: ask to open the epoch again",
                    );
                }
                Ok(true)
            }
            (_, Some(boot)) if boot.parent.is_some() => {
                refused("names a parent that this journal did not give")
            }
            _ => Ok(false),
        }
    }

    fn current(&self) -> Result<EpochRow> {
        self.epochs.last().cloned().ok_or_else(|| JournalError::Refused {
            field: "records[0]",
            rule: "must be the boot record that opens the journal's first epoch".to_owned(),
        })
    }

    /// The epoch that ends now, closed, and the one that begins.
    fn next_epoch(&self) -> (Option<EpochRow>, EpochRow) {
        let closing = self.epochs.last().map(|row| EpochRow {
            version: row.version + 1,
            closed: Some(self.end(row)),
            ..row.clone()
        });
        let opening = self.opening.as_ref();
        let current = EpochRow {
            id: closing.as_ref().map_or(FIRST_EPOCH_ID, |row| row.id + 1),
            version: 1,
            name: opening.map(|o| o.fresh).unwrap_or_default(),
            base: closing.as_ref().map_or(0, |row| row.base + self.end(row).0),
            parent: opening.and_then(|o| o.parent),
            pruned_through: 0,
            pruned_hash: NO_HASH,
            accepted_through: 0,
            durable_through: 0,
            closed: None,
        };
        (closing, current)
    }
}

fn append(
    tx: &Transaction<'_>,
    epoch: &EpochRow,
    seq: &mut u64,
    hash: &mut Hash,
    r: &Unnumbered,
) -> Result<()> {
    let next = *seq + 1;
    let chained = vendfleet_wire::record_hash(&epoch.name, next, r.kind, r.schema, hash, &r.body);
    tx.prepare_cached("INSERT INTO record (position, kind, schema, body, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut s| s.execute(params![int(epoch.base + next), r.kind, r.schema, r.body, chained]))
        .map_err(named)?;
    (*seq, *hash) = (next, chained);
    Ok(())
}

/// Writes the records from behind a damage again, after the boot record, and so ends the salvage.
fn append_strays(tx: &Transaction<'_>, epoch: &EpochRow, seq: &mut u64, hash: &mut Hash) -> Result<()> {
    let mut statement = tx.prepare("SELECT kind, schema, body FROM stray ORDER BY id").map_err(named)?;
    let mut rows = statement.query([]).map_err(named)?;
    while let Some(row) = rows.next().map_err(named)? {
        let number =
            |i| row.get::<_, i64>(i).map(|n| u32::try_from(uint(n)).unwrap_or(u32::MAX)).map_err(named);
        let stray = Unnumbered { kind: number(0)?, schema: number(1)?, body: row.get(2).map_err(named)? };
        append(tx, epoch, seq, hash, &stray)?;
    }
    drop(rows);
    drop(statement);
    tx.execute("DELETE FROM stray", []).map_err(named)?;
    tx.execute("DELETE FROM salvage", []).map_err(named)?;
    Ok(())
}
