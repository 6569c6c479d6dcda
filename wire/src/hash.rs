//! The hash chain: one equal hash at seq n proves equal chains up to n.

use sha2::{Digest, Sha256};
use vend_core::id::Epoch;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What seq 1 names as the hash before it.
pub const NO_HASH: Hash = [0; 32];

const TAG: &[u8] = b"vendfleet.record.v1";
/// tag, epoch, seq, kind, schema, previous hash
const HEAD_BYTES: usize = TAG.len() + 16 + 8 + 4 + 4 + 32;

/// The hash of one record, over the bytes as they are: nothing is decoded.
#[must_use]
pub fn record_hash(epoch: &Epoch, seq: u64, kind: u32, schema: u32, previous: &Hash, body: &[u8]) -> Hash {
    let mut head = [0u8; HEAD_BYTES];
    let mut rest = &mut head[..];
    for part in
        [TAG, &epoch.0, &seq.to_be_bytes(), &kind.to_be_bytes(), &schema.to_be_bytes(), previous.as_slice()]
    {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = after;
    }
    let mut hasher = Sha256::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize().into()
}

/// SHA-256 of some bytes: what `ConfigAssignment.sha256` holds.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// One record of a chain, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Its number.
    pub seq: u64,
    /// Kind number.
    pub kind: u32,
    /// Schema of the body.
    pub schema: u32,
    /// The body's bytes.
    pub body: &'a [u8],
    /// The hash it claims.
    pub hash: &'a [u8],
}

/// Where a chain breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("records[{index}] (seq {seq}): {rule}")]
pub struct BrokenChain {
    /// Position among the records given, from 0.
    pub index: usize,
    /// The seq it carries.
    pub seq: u64,
    /// What it should have been.
    pub rule: &'static str,
}

/// Checks that records follow one another from `first_seq` on, and that each hashes to what it claims, starting from
/// `previous`, the hash of the record before the first. Gives the last record's hash (`previous` when there is none).
///
/// # Errors
/// The first record that breaks the chain.
pub fn verify_chain<'a>(
    epoch: &Epoch,
    first_seq: u64,
    previous: &Hash,
    records: impl IntoIterator<Item = Link<'a>>,
) -> Result<Hash, BrokenChain> {
    let mut previous = *previous;
    let mut expected = first_seq;
    for (index, link) in records.into_iter().enumerate() {
        let broken = |rule| BrokenChain { index, seq: link.seq, rule };
        if link.seq != expected {
            return Err(broken("seq must be one above the seq before"));
        }
        let hash = record_hash(epoch, link.seq, link.kind, link.schema, &previous, link.body);
        if link.hash != hash {
            return Err(broken("hash must be the SHA-256 over this record and the hash before it"));
        }
        previous = hash;
        expected = expected.checked_add(1).ok_or_else(|| broken("seq must be below 2^64 - 1"))?;
    }
    Ok(previous)
}
