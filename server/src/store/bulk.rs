//! Many rows in one statement, written once for both engines.
//!
//! A [`Bulk`] is a statement around a list of rows. PostgreSQL gets the rows as one array per column and unnests them,
//! SQLite as multi-row `VALUES` in chunks of a few sizes: few texts, all of them prepared once.

use super::error::StoreError;
use super::tx::{Conn, Session, Tx};
use super::value::{Arg, Raw, Row, bind_sqlite};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe};
use std::sync::{Arc, OnceLock};

/// Rows in one SQLite statement; more per statement is slower. Each size more is a text to prepare once, each size fewer is
/// more statements for a batch, each of which waits for the connection's thread.
const CHUNKS: [usize; 18] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

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
    sqlite: [OnceLock<Arc<str>>; CHUNKS.len()],
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
            sqlite: [const { OnceLock::new() }; CHUNKS.len()],
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

    /// The text for `CHUNKS[size]` rows.
    fn sqlite_text(&self, size: usize) -> Arc<str> {
        let text = self.sqlite[size].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let rows = vec![row.as_str(); CHUNKS[size]].join(",");
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
            let size = CHUNKS.iter().rposition(|size| *size <= rows)?;
            let (chunk, after) = rest.split_at(CHUNKS[size] * width);
            rest = after;
            Some((self.bulk.sqlite_text(size), chunk))
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
