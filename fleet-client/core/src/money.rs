//! Money is integers: minor units of one ISO 4217 currency.

use alloc::vec::Vec;
use core::fmt;

/// An amount in minor units (cents) of the machine's currency. Signed on the wire; the core keeps amounts `>= 0`.
pub type Minor = i64;

/// ISO 4217 alphabetic code, three upper-case ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Default for Currency {
    fn default() -> Self {
        Self::NONE
    }
}

impl Currency {
    /// ISO 4217's code for "no currency": a machine that has never had a config.
    pub const NONE: Self = Self(*b"XXX");

    /// Parses a code such as `EUR`; `None` unless it is three upper-case ASCII letters.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// So many pieces of one coin or bill.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pieces {
    /// Face value in minor units, `> 0`.
    pub denomination: Minor,
    /// How many, `>= 0`.
    pub count: u32,
}

/// What a set of coins and bills is worth; saturates.
#[must_use]
pub fn worth(pieces: &[Pieces]) -> Minor {
    pieces
        .iter()
        .fold(0, |sum: Minor, p| sum.saturating_add(p.denomination.saturating_mul(Minor::from(p.count))))
}

/// Pieces by denomination, each denomination once, in rising order.
pub type Purse = Vec<Pieces>;

/// Most an amount given from outside may be, minor units; far above any price, far below overflow.
pub const MAX_AMOUNT_MINOR: Minor = 1_000_000_000_000;

/// Most denominations in a purse.
pub const MAX_DENOMINATIONS: usize = 32;

/// How many pieces of one denomination are there.
#[must_use]
pub fn count_of(pieces: &[Pieces], denomination: Minor) -> u32 {
    pieces.iter().find(|p| p.denomination == denomination).map_or(0, |p| p.count)
}

/// Adds pieces, keeping the purse in rising order; saturates.
pub fn put(purse: &mut Purse, denomination: Minor, count: u32) {
    if count == 0 {
        return;
    }
    match purse.binary_search_by_key(&denomination, |p| p.denomination) {
        Ok(at) => purse[at].count = purse[at].count.saturating_add(count),
        Err(at) => purse.insert(at, Pieces { denomination, count }),
    }
}

/// Takes pieces out, as far as they are there.
pub fn take(purse: &mut Purse, pieces: &[Pieces]) {
    for p in pieces {
        if let Ok(at) = purse.binary_search_by_key(&p.denomination, |q| q.denomination) {
            purse[at].count = purse[at].count.saturating_sub(p.count);
        }
    }
    purse.retain(|p| p.count > 0);
}

/// All of these pieces are in there.
#[must_use]
pub fn holds(purse: &[Pieces], pieces: &[Pieces]) -> bool {
    pieces.iter().all(|p| count_of(purse, p.denomination) >= p.count)
}
