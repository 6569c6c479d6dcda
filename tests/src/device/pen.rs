//! Writes records into a journal as another firmware would have: of a kind this one does not know, with a body that can't
//! be read, with a rule broken, with counters that are wrong. Names, hashes and seals are right, so the journal is sound.

use std::path::Path;

use fleet_client::JOURNAL_DIR;
use rusqlite::{Connection, params};
use vend_core::id::Epoch;
use vendfleet_wire::{record_hash, sha256};

/// Row ids and layout of what `fleet-client/src/journal/sqlite/sealed.rs` writes: a format byte, then numbers of 8 bytes.
const HEAD_ID: i64 = 1;
const FIRST_EPOCH_ID: i64 = 16;
const COMMIT_NO: std::ops::Range<usize> = 1..9;
const EPOCH_ID: std::ops::Range<usize> = 9..17;
const LAST_SEQ: std::ops::Range<usize> = 17..25;
const LAST_HASH: std::ops::Range<usize> = 25..57;
const EPOCH_NAME: std::ops::Range<usize> = 9..25;
const EPOCH_BASE: std::ops::Range<usize> = 25..33;

/// An open journal of a machine that is off.
pub struct Pen {
    file: Connection,
    head: Vec<u8>,
    epoch: Epoch,
    base: u64,
}

impl Pen {
    /// Opens the journal of the machine in `dir`.
    pub fn open(dir: &Path) -> Self {
        let file = Connection::open(dir.join(JOURNAL_DIR).join("journal.db")).unwrap();
        let sealed = |id: i64| -> Vec<u8> {
            file.query_row("SELECT bytes FROM sealed WHERE id = ?1", [id], |row| row.get(0)).unwrap()
        };
        let head = sealed(HEAD_ID);
        let id = number(&head[EPOCH_ID]);
        assert!(i64::try_from(id).unwrap() >= FIRST_EPOCH_ID, "a journal with an epoch");
        let row = sealed(i64::try_from(id).unwrap());
        let epoch = Epoch(row[EPOCH_NAME].try_into().unwrap());
        let base = number(&row[EPOCH_BASE]);
        Self { file, head, epoch, base }
    }

    /// Writes one record behind the last; gives its seq.
    pub fn write(&mut self, kind: u32, schema: u32, body: &[u8]) -> u64 {
        let seq = number(&self.head[LAST_SEQ]) + 1;
        let previous = self.head[LAST_HASH].try_into().unwrap();
        let hash = record_hash(&self.epoch, seq, kind, schema, &previous, body);
        let commit_no = number(&self.head[COMMIT_NO]) + 1;
        self.head[COMMIT_NO].copy_from_slice(&commit_no.to_be_bytes());
        self.head[LAST_SEQ].copy_from_slice(&seq.to_be_bytes());
        self.head[LAST_HASH].copy_from_slice(&hash);
        let position = i64::try_from(self.base + seq).unwrap();
        let transaction = self.file.transaction().unwrap();
        transaction
            .execute(
                "INSERT INTO record (position, kind, schema, body, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![position, kind, schema, body, hash],
            )
            .unwrap();
        transaction
            .execute(
                "UPDATE sealed SET bytes = ?2, checksum = ?3 WHERE id = ?1",
                params![HEAD_ID, self.head, seal(HEAD_ID, &self.head)],
            )
            .unwrap();
        transaction.commit().unwrap();
        seq
    }

    /// The body of the newest record of that kind.
    pub fn last_body(&self, kind: u32) -> Vec<u8> {
        let sql = "SELECT body FROM record WHERE kind = ?1 ORDER BY position DESC LIMIT 1";
        self.file.query_row(sql, [kind], |row| row.get(0)).unwrap()
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn seal(id: i64, bytes: &[u8]) -> [u8; 32] {
    sha256(&[b"vendfleet.journal.seal.v1", &id.to_be_bytes()[..], bytes].concat())
}
