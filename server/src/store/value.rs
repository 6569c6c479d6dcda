//! Values into and out of statements, the same for both engines.
//!
//! Sixteen-byte ids and hashes travel as bytes, `u64` as `BIGINT` by checked conversion.

use super::error::StoreError;
use super::packed::{self, Cell};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _};
use uuid::Uuid;

/// One bound value.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// BIGINT.
    Int(i64),
    /// BIGINT or NULL.
    OptInt(Option<i64>),
    /// TEXT.
    Text(&'a str),
    /// TEXT or NULL.
    OptText(Option<&'a str>),
    /// BLOB or BYTEA.
    Bytes(&'a [u8]),
    /// BLOB or BYTEA, or NULL.
    OptBytes(Option<&'a [u8]>),
    /// BOOLEAN.
    Bool(bool),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Arg<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u16> for Arg<'_> {
    fn from(value: u16) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::OptInt(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Arg<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, const N: usize> From<Option<&'a [u8; N]>> for Arg<'a> {
    fn from(value: Option<&'a [u8; N]>) -> Self {
        Self::OptBytes(value.map(<[u8; N]>::as_slice))
    }
}

impl<'a> From<&'a Uuid> for Arg<'a> {
    fn from(value: &'a Uuid) -> Self {
        Self::Bytes(value.as_bytes())
    }
}

/// A number that must fit BIGINT.
pub fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Data(format!("{value} does not fit 63 bits")))
}

macro_rules! bind_all {
    ($arguments:ty, $args:expr) => {{
        let mut bound = <$arguments>::default();
        bound.reserve($args.len(), $args.len() * 16);
        for arg in $args {
            match *arg {
                Arg::Int(value) => bound.add(value),
                Arg::OptInt(value) => bound.add(value),
                Arg::Text(value) => bound.add(value),
                Arg::OptText(value) => bound.add(value),
                Arg::Bytes(value) => bound.add(value),
                Arg::OptBytes(value) => bound.add(value),
                Arg::Bool(value) => bound.add(value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(bound)
    }};
}

pub(super) fn bind_sqlite(args: &[Arg<'_>]) -> Result<SqliteArguments, StoreError> {
    bind_all!(SqliteArguments, args)
}

pub(super) fn bind_postgres(args: &[Arg<'_>]) -> Result<PgArguments, StoreError> {
    bind_all!(PgArguments, args)
}

/// One row of a result.
pub struct Row(pub(super) Raw);

pub(super) enum Raw {
    Sqlite(SqliteRow),
    Postgres(PgRow),
    /// Came with its neighbours in one text.
    Packed(Vec<Cell>),
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row(..)")
    }
}

impl Row {
    /// Reads the columns from the first on, in the order of the select list.
    #[must_use]
    pub fn columns(&self) -> Columns<'_> {
        Columns { row: self, next: 0 }
    }
}

/// Reads a row's columns one after the other.
#[derive(Debug)]
pub struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

macro_rules! get {
    ($self:ident, $kind:ty) => {{
        let at = $self.next;
        $self.next += 1;
        match &$self.row.0 {
            Raw::Sqlite(row) => row.try_get::<$kind, usize>(at)?,
            Raw::Postgres(row) => row.try_get::<$kind, usize>(at)?,
            Raw::Packed(cells) => packed::get::<$kind>(cells, at)?,
        }
    }};
}

impl<'r> Columns<'r> {
    /// BIGINT.
    pub fn int(&mut self) -> Result<i64, StoreError> {
        Ok(get!(self, i64))
    }

    /// BIGINT or NULL.
    pub fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(get!(self, Option<i64>))
    }

    /// BIGINT into any narrower number; out of range is a damaged row.
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let value = self.int()?;
        T::try_from(value).map_err(|_| self.damaged(format_args!("{value} is out of range")))
    }

    /// BIGINT or NULL into any narrower number.
    pub fn opt_number<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, StoreError> {
        let Some(value) = self.opt_int()? else { return Ok(None) };
        T::try_from(value).map(Some).map_err(|_| self.damaged(format_args!("{value} is out of range")))
    }

    /// BOOLEAN.
    pub fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(get!(self, bool))
    }

    /// TEXT.
    pub fn text(&mut self) -> Result<&'r str, StoreError> {
        Ok(get!(self, &str))
    }

    /// TEXT or NULL.
    pub fn opt_text(&mut self) -> Result<Option<&'r str>, StoreError> {
        Ok(get!(self, Option<&str>))
    }

    /// BLOB or BYTEA.
    pub fn bytes(&mut self) -> Result<&'r [u8], StoreError> {
        Ok(get!(self, &[u8]))
    }

    /// BLOB or BYTEA, or NULL.
    pub fn opt_bytes(&mut self) -> Result<Option<&'r [u8]>, StoreError> {
        Ok(get!(self, Option<&[u8]>))
    }

    /// Exactly so many bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.damaged(format_args!("{} bytes, not {N}", bytes.len())))
    }

    /// Exactly so many bytes, or NULL.
    pub fn opt_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        let Some(bytes) = self.opt_bytes()? else { return Ok(None) };
        let array = bytes.try_into();
        array.map(Some).map_err(|_| self.damaged(format_args!("{} bytes, not {N}", bytes.len())))
    }

    /// A 16-byte id.
    pub fn uuid(&mut self) -> Result<Uuid, StoreError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// A 16-byte id, or NULL.
    pub fn opt_uuid(&mut self) -> Result<Option<Uuid>, StoreError> {
        Ok(self.opt_array()?.map(Uuid::from_bytes))
    }

    /// The column read last is not what it must be.
    pub fn damaged(&self, how: impl std::fmt::Display) -> StoreError {
        StoreError::corrupt(format!("column {}: {how}", self.next.saturating_sub(1)))
    }
}
