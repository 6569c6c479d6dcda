//! Where a reader of the event log stands.

use crate::domain::ids::Incarnation;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Longest cursor as text, bytes.
pub const MAX_CURSOR_BYTES: usize = 256;
/// Most shards a cursor names; more would not fit [`MAX_CURSOR_BYTES`].
const MAX_SHARDS: usize = 10;
/// First byte of a cursor.
const VERSION: u8 = 1;
/// Version, incarnation, number of shards.
const HEAD_BYTES: usize = 1 + 16 + 1;
/// Shard, position, place within it.
const SHARD_BYTES: usize = 1 + 8 + 8;

/// A place in a shard: behind so many of the events that were written at a position, counted by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Position of the row.
    pub position: i64,
    /// Number of the event within the row.
    pub within: u64,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self::behind(0);

    /// Behind everything that was written at a position.
    pub const fn behind(position: i64) -> Self {
        Self { position, within: u64::MAX }
    }

    /// The first position of which something may be left to read.
    pub fn next_position(self) -> i64 {
        if self.within == u64::MAX { self.position.saturating_add(1) } else { self.position }
    }
}

/// Where a reader stands in every shard it reads, and in which life of the data. A shard that isn't named is read from its
/// beginning: one that was added later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Which life of the data: positions mean nothing in another.
    pub incarnation: Incarnation,
    /// By shard.
    pub places: BTreeMap<i64, Place>,
}

impl Cursor {
    /// Before everything.
    pub fn start(incarnation: Incarnation) -> Self {
        Self { incarnation, places: BTreeMap::new() }
    }

    /// Where it stands in a shard.
    pub fn place(&self, shard: i64) -> Place {
        self.places.get(&shard).copied().unwrap_or(Place::START)
    }

    /// Goes on to a place, never back.
    pub fn raise(&mut self, shard: i64, place: Place) {
        let at = self.places.entry(shard).or_insert(place);
        *at = (*at).max(place);
    }

    /// As it travels: opaque, at most [`MAX_CURSOR_BYTES`].
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.places.len() * SHARD_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.incarnation.as_bytes());
        // The log has a handful of shards, numbered from zero.
        let named = self.places.iter().filter_map(|(shard, place)| Some((u8::try_from(*shard).ok()?, place)));
        let named: Vec<(u8, &Place)> = named.take(MAX_SHARDS).collect();
        bytes.push(u8::try_from(named.len()).unwrap_or(0));
        for (shard, place) in named {
            bytes.push(shard);
            bytes.extend(place.position.to_be_bytes());
            bytes.extend(place.within.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// From text; `None` when it is none that [`Cursor::to_text`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (version, head) = head.split_first()?;
        let (count, incarnation) = head.split_last()?;
        if *version != VERSION || usize::from(*count) * SHARD_BYTES != rest.len() {
            return None;
        }
        let mut cursor = Self::start(Incarnation(Uuid::from_slice(incarnation).ok()?));
        while let Some((shard, after)) = rest.split_at_checked(SHARD_BYTES) {
            let (position, within) = shard[1..].split_at_checked(8)?;
            let position = i64::from_be_bytes(position.try_into().ok()?);
            let place = Place { position, within: u64::from_be_bytes(within.try_into().ok()?) };
            if position < 0 || cursor.places.insert(i64::from(shard[0]), place).is_some() {
                return None;
            }
            rest = after;
        }
        Some(cursor)
    }
}
