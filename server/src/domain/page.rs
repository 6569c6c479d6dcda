//! Lists a page at a time, by keyset: a page begins after a row's key, whatever was added or changed meanwhile.

use uuid::Uuid;

/// Which page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest<C> {
    /// Most rows; at least 1.
    pub size: usize,
    /// Begin after this key; `None`: at the start.
    pub after: Option<C>,
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T, C> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A page of rows of which one more than asked for was read.
    pub fn cut(mut rows: Vec<T>, size: usize, key: impl Fn(&T) -> C) -> Self {
        let more = rows.len() > size;
        rows.truncate(size);
        let next = if more { rows.last().map(key) } else { None };
        Self { items: rows, next }
    }

    /// The same page with other items.
    pub fn map<U>(self, to: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(to).collect(), next: self.next }
    }
}

impl<C> PageRequest<C> {
    /// Rows to read: one more tells whether there is a next page.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }
}

/// A key that can travel inside a page token.
pub trait Keyset: Sized {
    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// From its bytes; `None` when they are not.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Keyset for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Keyset for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Keyset for i64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Keyset for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

// A pair's first half has a fixed length; its second half is the rest.
impl<B: Keyset> Keyset for (i64, B) {
    fn to_bytes(&self) -> Vec<u8> {
        [self.0.to_bytes(), self.1.to_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_at_checked(8)?;
        Some((i64::from_bytes(first)?, B::from_bytes(rest)?))
    }
}

impl<B: Keyset> Keyset for (Uuid, B) {
    fn to_bytes(&self) -> Vec<u8> {
        [self.0.to_bytes(), self.1.to_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_at_checked(16)?;
        Some((Uuid::from_bytes(first.try_into().ok()?), B::from_bytes(rest)?))
    }
}
