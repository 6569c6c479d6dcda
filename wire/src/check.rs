//! The rules that many fields share.

use crate::error::{BodyError, Path};
use std::collections::BTreeSet;
use vend_core::money::{Currency, Minor, Pieces, Purse};
use vendfleet_proto::v1;

type Result<T> = core::result::Result<T, BodyError>;

pub(crate) fn id(at: &Path<'_>, name: &'static str, bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| at.field(name).broke("must be 16 bytes"))
}

pub(crate) fn not_negative(at: &Path<'_>, name: &'static str, amount: i64) -> Result<Minor> {
    if amount < 0 { Err(at.field(name).broke("must not be negative")) } else { Ok(amount) }
}

/// Numbers that rise leave room to count on, and fit a signed column.
pub(crate) fn number(at: &Path<'_>, name: &'static str, number: u64) -> Result<u64> {
    if number < 1 << 62 { Ok(number) } else { Err(at.field(name).broke("must be below 2^62")) }
}

pub(crate) fn currency(at: &Path<'_>, code: &str) -> Result<Currency> {
    Currency::parse(code).ok_or_else(|| at.field("currency_code").broke("must be three upper-case letters"))
}

pub(crate) fn slot(at: &Path<'_>, number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| at.field("slot").broke("must be at most 65535"))
}

pub(crate) fn text(at: &Path<'_>, name: &'static str, text: String, most_bytes: usize) -> Result<String> {
    if text.len() > most_bytes {
        return Err(at.field(name).broke(format!("must be at most {most_bytes} bytes")));
    }
    Ok(text)
}

/// An UPPER_SNAKE name of at most 64 bytes; may be empty only when `optional`.
pub(crate) fn name(at: &Path<'_>, field: &'static str, text: String, optional: bool) -> Result<String> {
    let rule = "must be UPPER_SNAKE and at most 64 bytes";
    let fits = text.len() <= 64
        && (optional || !text.is_empty())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !text.starts_with(|c: char| c == '_' || c.is_ascii_digit());
    if fits { Ok(text) } else { Err(at.field(field).broke(rule)) }
}

pub(crate) fn count(at: &Path<'_>, name: &'static str, found: usize, most: usize) -> Result<()> {
    if found > most { Err(at.field(name).broke(format!("must have at most {most} items"))) } else { Ok(()) }
}

/// At most 32 pieces, each denomination above zero and once.
pub(crate) fn purse(at: &Path<'_>, name: &'static str, pieces: &[v1::Pieces]) -> Result<Purse> {
    count(at, name, pieces.len(), crate::MAX_DENOMINATIONS)?;
    let mut purse = Purse::with_capacity(pieces.len());
    for (index, p) in pieces.iter().enumerate() {
        if p.denomination_minor <= 0 {
            return Err(at.item(name, index).field("denomination_minor").broke("must be above zero"));
        }
        if purse.iter().any(|known: &Pieces| known.denomination == p.denomination_minor) {
            return Err(at.item(name, index).field("denomination_minor").broke("must appear once"));
        }
        purse.push(Pieces { denomination: p.denomination_minor, count: p.count });
    }
    Ok(purse)
}

pub(crate) fn purse_to_proto(purse: &[Pieces]) -> Vec<v1::Pieces> {
    purse.iter().map(|p| v1::Pieces { denomination_minor: p.denomination, count: p.count }).collect()
}

/// Remembers what must appear once; small sets stay on one allocation, big ones stay fast.
#[derive(Default)]
pub(crate) struct Once(BTreeSet<u32>);

impl Once {
    pub(crate) fn first(&mut self, value: u32) -> bool {
        self.0.insert(value)
    }
}

/// Parses the canonical text form of a UUID (36 characters, either case).
#[must_use]
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut digits = [0u8; 32];
    let mut filled = 0;
    for (index, &byte) in text.iter().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
        } else {
            *digits.get_mut(filled)? = byte;
            filled += 1;
        }
    }
    let mut id = [0u8; 16];
    hex::decode_to_slice(digits, &mut id).ok()?;
    Some(id)
}

/// The canonical text form of a UUID, lower case.
#[must_use]
pub fn format_uuid(id: &[u8; 16]) -> String {
    let digits = hex::encode(id);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
