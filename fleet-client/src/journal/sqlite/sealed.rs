//! The rows a journal can't do without (head, configs, epochs) and their seals: each is one blob with a checksum over
//! it, so that a flipped bit is noticed whatever SQLite thinks, and a row can be recognised on a page that SQLite can't
//! reach any more.

use crate::journal::types::Hash;
use vend_core::id::Epoch;
use vend_core::record::{EpochReason, ParentEpoch};

/// Row id of the head.
pub(in crate::journal) const HEAD_ID: i64 = 1;
/// Row id of the configs.
pub(in crate::journal) const CONFIGS_ID: i64 = 2;
/// Epoch n has row id `FIRST_EPOCH_ID + n`.
pub(in crate::journal) const FIRST_EPOCH_ID: i64 = 16;

const FORMAT: u8 = 1;

/// The checksum of a sealed row.
pub(in crate::journal) fn seal(id: i64, bytes: &[u8]) -> Hash {
    let mut text = Vec::with_capacity(24 + 8 + bytes.len());
    text.extend_from_slice(b"vendfleet.journal.seal.v1");
    text.extend_from_slice(&id.to_be_bytes());
    text.extend_from_slice(bytes);
    vendfleet_wire::sha256(&text)
}

/// Where the journal stands, and what the machine remembers; written with every commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::journal) struct Head {
    /// Rises by one with each commit: tells which of two heads is newer.
    pub(in crate::journal) commit_no: u64,
    /// Row id of the epoch written into.
    pub(in crate::journal) epoch_id: i64,
    /// Last seq allotted in it.
    pub(in crate::journal) last_seq: u64,
    /// That record's hash.
    pub(in crate::journal) last_hash: Hash,
    /// The serialised state; empty when a salvage found none.
    pub(in crate::journal) state: Vec<u8>,
}

impl Head {
    pub(in crate::journal) fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(64 + self.state.len());
        w.u64(self.commit_no);
        w.u64(self.epoch_id.unsigned_abs());
        w.u64(self.last_seq);
        w.bytes(&self.last_hash);
        w.bytes(&self.state);
        w.0
    }

    pub(in crate::journal) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes)?;
        Some(Self {
            commit_no: r.u64()?,
            epoch_id: i64::try_from(r.u64()?).ok()?,
            last_seq: r.u64()?,
            last_hash: r.array()?,
            state: r.0.to_vec(),
        })
    }
}

/// One epoch of the journal. `position = base + seq` is a record's row id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::journal) struct EpochRow {
    pub(in crate::journal) id: i64,
    /// Rises with each change: tells which of two versions is newer.
    pub(in crate::journal) version: u64,
    pub(in crate::journal) name: Epoch,
    pub(in crate::journal) base: u64,
    pub(in crate::journal) parent: Option<ParentEpoch>,
    /// Last seq no longer held, and its hash: where the held chain starts.
    pub(in crate::journal) pruned_through: u64,
    pub(in crate::journal) pruned_hash: Hash,
    pub(in crate::journal) accepted_through: u64,
    pub(in crate::journal) durable_through: u64,
    /// Last seq and hash, once another epoch has followed; before that the head has them.
    pub(in crate::journal) closed: Option<(u64, Hash)>,
}

impl EpochRow {
    pub(in crate::journal) fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new(256);
        w.u64(self.version);
        w.bytes(&self.name.0);
        w.u64(self.base);
        w.u64(self.pruned_through);
        w.bytes(&self.pruned_hash);
        w.u64(self.accepted_through);
        w.u64(self.durable_through);
        let (closed, (last_seq, last_hash)) = (self.closed.is_some(), self.closed.unwrap_or_default());
        w.bytes(&[u8::from(closed)]);
        w.u64(last_seq);
        w.bytes(&last_hash);
        if let Some(p) = &self.parent {
            let reason = match p.reason {
                EpochReason::New => 1,
                EpochReason::Salvaged => 2,
                EpochReason::Forked => 3,
                EpochReason::TailLost => 4,
            };
            w.bytes(&p.epoch.0);
            w.u64(p.last_common_seq);
            w.u64(p.highest_seq);
            w.bytes(&[reason]);
        }
        w.0
    }

    pub(in crate::journal) fn from_bytes(id: i64, bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes)?;
        let mut row = Self {
            id,
            version: r.u64()?,
            name: Epoch(r.array()?),
            base: r.u64()?,
            pruned_through: r.u64()?,
            pruned_hash: r.array()?,
            accepted_through: r.u64()?,
            durable_through: r.u64()?,
            closed: None,
            parent: None,
        };
        let closed = r.array::<1>()? == [1];
        let last = (r.u64()?, r.array()?);
        row.closed = closed.then_some(last);
        if !r.0.is_empty() {
            row.parent = Some(ParentEpoch {
                epoch: Epoch(r.array()?),
                last_common_seq: r.u64()?,
                highest_seq: r.u64()?,
                reason: match r.array::<1>()? {
                    [1] => EpochReason::New,
                    [2] => EpochReason::Salvaged,
                    [3] => EpochReason::Forked,
                    [4] => EpochReason::TailLost,
                    _ => return None,
                },
            });
        }
        Some(row)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(FORMAT);
        Self(bytes)
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (&format, rest) = bytes.split_first()?;
        (format == FORMAT).then_some(Self(rest))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
