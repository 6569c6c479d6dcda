//! Many rows in one statement, written once for both engines.
//!
//! A [`Bulk`] is a statement around a list of rows. PostgreSQL gets the rows as one array per column and unnests them,
//! SQLite as multi-row `VALUES` in chunks whose sizes are powers of two: few texts, all of them prepared once.

use super::error::StoreError;
use super::tx::{Conn, Session, Tx};
use super::value::{Arg, Raw, Row, bind_sqlite};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe};
use std::sync::{Arc, OnceLock};

/// Chunk sizes for SQLite are 1, 2, 4, ... up to 2^9 rows; more per statement is slower.
const CHUNK_SIZES: usize = 10;

/// Type of a column of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
    Bool,
}

/// A statement around a list of rows.
pub(super) struct Bulk {
    before: &'static str,
    columns: &'static [Kind],
    after: &'static str,
    postgres: OnceLock<Arc<str>>,
    sqlite: [OnceLock<Arc<str>>; CHUNK_SIZES],
}

impl Bulk {
    /// `before`, the rows, `after`: `INSERT INTO t (a, b)` + rows + `ON CONFLICT ...`, or
    /// `WITH input (a, b) AS (` + rows + `) DELETE ...`.
    pub(super) const fn new(before: &'static str, columns: &'static [Kind], after: &'static str) -> Self {
        Self {
            before,
            columns,
            after,
            postgres: OnceLock::new(),
            sqlite: [const { OnceLock::new() }; CHUNK_SIZES],
        }
    }

    /// A list of rows for it, with room for `rows`.
    pub(super) fn rows<'a>(&'static self, rows: usize) -> Rows<'a> {
        Rows { bulk: self, args: Vec::with_capacity(rows * self.columns.len()) }
    }

    fn postgres_text(&self) -> Arc<str> {
        let text = self.postgres.get_or_init(|| {
            let arrays: Vec<String> = self
                .columns
                .iter()
                .enumerate()
                .map(|(at, kind)| {
                    let name = match kind {
                        Kind::Int => "BIGINT",
                        Kind::Text => "TEXT",
                        Kind::Bytes => "BYTEA",
                        Kind::Bool => "BOOLEAN",
                    };
                    format!("${}::{name}[]", at + 1)
                })
                .collect();
            let (before, after) = (self.before, self.after);
            format!("{before} SELECT * FROM UNNEST({}) {after}", arrays.join(", ")).into()
        });
        Arc::clone(text)
    }

    /// The text for 2^`power` rows.
    fn sqlite_text(&self, power: usize) -> Arc<str> {
        let text = self.sqlite[power].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let rows = vec![row.as_str(); 1 << power].join(",");
            format!("{} VALUES {rows} {}", self.before, self.after).into()
        });
        Arc::clone(text)
    }
}

/// Rows for a [`Bulk`], borrowed from where they live.
pub(super) struct Rows<'a> {
    bulk: &'static Bulk,
    args: Vec<Arg<'a>>,
}

impl<'a> Rows<'a> {
    /// Adds one row.
    pub(super) fn push<const N: usize>(&mut self, row: [Arg<'a>; N]) {
        debug_assert_eq!(N, self.bulk.columns.len(), "a row has one value per column");
        self.args.extend(row);
    }

    /// Runs the statement unless there are no rows; gives how many rows it wrote.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<u64, StoreError> {
        let mut written = 0;
        if self.args.is_empty() {
            return Ok(written);
        }
        match tx.conn() {
            Conn::Postgres(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(self.bulk.postgres_text()), self.columns()?);
                written += query.execute(conn).await?.rows_affected();
            }
            Conn::Sqlite(conn) => {
                for (text, args) in self.chunks() {
                    let query = sqlx::query_with(AssertSqlSafe(text), bind_sqlite(args)?);
                    written += query.execute(&mut *conn).await?.rows_affected();
                }
            }
        }
        Ok(written)
    }

    /// Runs the statement unless there are no rows; gives the rows it returns.
    pub(super) async fn fetch(self, session: &mut Session) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        if self.args.is_empty() {
            return Ok(found);
        }
        match session.conn() {
            Conn::Postgres(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(self.bulk.postgres_text()), self.columns()?);
                found.extend(query.fetch_all(conn).await?.into_iter().map(|row| Row(Raw::Postgres(row))));
            }
            Conn::Sqlite(conn) => {
                for (text, args) in self.chunks() {
                    let query = sqlx::query_with(AssertSqlSafe(text), bind_sqlite(args)?);
                    found.extend(
                        query.fetch_all(&mut *conn).await?.into_iter().map(|row| Row(Raw::Sqlite(row))),
                    );
                }
            }
        }
        Ok(found)
    }

    /// Largest chunks first, so in the order of the rows.
    fn chunks(&self) -> impl Iterator<Item = (Arc<str>, &[Arg<'a>])> {
        let width = self.bulk.columns.len();
        let mut rest = self.args.as_slice();
        std::iter::from_fn(move || {
            let rows = rest.len() / width;
            let power = (rows.checked_ilog2()? as usize).min(CHUNK_SIZES - 1);
            let (chunk, after) = rest.split_at((1 << power) * width);
            rest = after;
            Some((self.bulk.sqlite_text(power), chunk))
        })
    }

    /// One array per column.
    fn columns(&self) -> Result<PgArguments, StoreError> {
        let width = self.bulk.columns.len();
        let mut bound = PgArguments::default();
        for (at, kind) in self.bulk.columns.iter().enumerate() {
            let values = self.args.iter().skip(at).step_by(width);
            match kind {
                Kind::Int => bound.add(collect(values, |arg| match arg {
                    Arg::Int(value) => Some(Some(value)),
                    Arg::OptInt(value) => Some(value),
                    _ => None,
                })?),
                Kind::Text => bound.add(collect(values, |arg| match arg {
                    Arg::Text(value) => Some(Some(value)),
                    Arg::OptText(value) => Some(value),
                    _ => None,
                })?),
                Kind::Bytes => bound.add(collect(values, |arg| match arg {
                    Arg::Bytes(value) => Some(Some(value)),
                    Arg::OptBytes(value) => Some(value),
                    _ => None,
                })?),
                Kind::Bool => bound.add(collect(values, |arg| match arg {
                    Arg::Bool(value) => Some(Some(value)),
                    _ => None,
                })?),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(bound)
    }
}

fn collect<'v, 'a: 'v, T>(
    values: impl Iterator<Item = &'v Arg<'a>>,
    pick: impl Fn(Arg<'a>) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    values
        .map(|arg| pick(*arg).ok_or_else(|| StoreError::Data(format!("{arg:?} in a column of another type"))))
        .collect()
}

/// A statement about rows with one of many 16-byte keys: `before` + `IN (...)` or `= ANY(...)` + `after`.
pub(super) struct Keyed {
    before: &'static str,
    after: &'static str,
    postgres_after: &'static str,
    postgres: OnceLock<Arc<str>>,
    sqlite: [OnceLock<Arc<str>>; CHUNK_SIZES],
}

impl Keyed {
    /// `SELECT ... FROM t WHERE machine_id` + the keys + `ORDER BY ...`.
    pub(super) const fn new(before: &'static str, after: &'static str) -> Self {
        Self {
            before,
            after,
            postgres_after: "",
            postgres: OnceLock::new(),
            sqlite: [const { OnceLock::new() }; CHUNK_SIZES],
        }
    }

    /// Adds a tail for PostgreSQL.
    pub(super) const fn then_on_postgres(mut self, tail: &'static str) -> Self {
        self.postgres_after = tail;
        self
    }

    /// The rows for these keys, each named once.
    pub(super) async fn fetch(
        &self,
        session: &mut Session,
        keys: &[&[u8; 16]],
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        if keys.is_empty() {
            return Ok(found);
        }
        match session.conn() {
            Conn::Postgres(conn) => {
                let text = self.postgres.get_or_init(|| {
                    format!("{} = ANY($1::BYTEA[]) {} {}", self.before, self.after, self.postgres_after)
                        .into()
                });
                let mut bound = PgArguments::default();
                let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
                bound.add(keys).map_err(sqlx::Error::Encode)?;
                let rows = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), bound).fetch_all(conn).await?;
                found.extend(rows.into_iter().map(|row| Row(Raw::Postgres(row))));
            }
            Conn::Sqlite(conn) => {
                let mut rest = keys;
                while let Some(power) = rest.len().checked_ilog2() {
                    let power = (power as usize).min(CHUNK_SIZES - 1);
                    let (chunk, after) = rest.split_at(1 << power);
                    rest = after;
                    let text = self.sqlite[power].get_or_init(|| {
                        let marks = vec!["?"; chunk.len()].join(",");
                        format!("{} IN ({marks}) {}", self.before, self.after).into()
                    });
                    let args: Vec<Arg<'_>> = chunk.iter().map(|key| Arg::Bytes(key.as_slice())).collect();
                    let query = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), bind_sqlite(&args)?);
                    let rows = query.fetch_all(&mut *conn).await?;
                    found.extend(rows.into_iter().map(|row| Row(Raw::Sqlite(row))));
                }
            }
        }
        Ok(found)
    }
}
