//! Rows by many 16-byte keys in one statement, written once for both engines.
//!
//! PostgreSQL gets the keys as an array. SQLite gets them as `IN (...)`, filled up to one of a few sizes, and answers with
//! all rows in one text: see [`super::packed`].

use super::bulk::Kind;
use super::error::StoreError;
use super::packed;
use super::tx::{Conn, Session};
use super::value::{Arg, Raw, Row, bind_sqlite};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Row as _};
use std::sync::{Arc, OnceLock};

/// Keys in one SQLite statement: 2^0 to 2^9.
const SIZES: usize = 10;

/// A statement about rows with one of many 16-byte keys: `select` + `IN (...)` or `= ANY(...)`.
pub(super) struct Keyed {
    select: &'static str,
    columns: &'static [Kind],
    on_postgres: &'static str,
    postgres: OnceLock<Arc<str>>,
    sqlite: [OnceLock<Arc<str>>; SIZES],
}

impl Keyed {
    /// `SELECT ... FROM t WHERE machine_id` + the keys; the columns are those of the select list.
    pub(super) const fn new(select: &'static str, columns: &'static [Kind]) -> Self {
        Self {
            select,
            columns,
            on_postgres: "",
            postgres: OnceLock::new(),
            sqlite: [const { OnceLock::new() }; SIZES],
        }
    }

    /// Adds a tail for PostgreSQL: the locks, in their order. SQLite has one writer, and gives the rows in any order.
    pub(super) const fn then_on_postgres(mut self, tail: &'static str) -> Self {
        self.on_postgres = tail;
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
                    format!("{} = ANY($1::BYTEA[]) {}", self.select, self.on_postgres).into()
                });
                let mut bound = PgArguments::default();
                let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
                bound.add(keys).map_err(sqlx::Error::Encode)?;
                let rows = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), bound).fetch_all(conn).await?;
                found.extend(rows.into_iter().map(|row| Row(Raw::Postgres(row))));
            }
            Conn::Sqlite(conn) => {
                for chunk in keys.chunks(1 << (SIZES - 1)) {
                    let power = chunk.len().next_power_of_two().ilog2() as usize;
                    // A key named twice in an IN is found once: the last one fills up.
                    let filled = chunk.iter().chain(chunk.last().into_iter().cycle()).take(1 << power);
                    let args: Vec<Arg<'_>> = filled.map(|key| Arg::Bytes(key.as_slice())).collect();
                    let query = sqlx::query_with(AssertSqlSafe(self.sqlite_text(power)), bind_sqlite(&args)?);
                    let row = query.fetch_one(&mut *conn).await?;
                    if let Some(text) = row.try_get::<Option<&str>, usize>(0)? {
                        let rows = packed::rows(text, self.columns.len())?;
                        found.extend(rows.into_iter().map(|row| Row(Raw::Packed(row))));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The text for 2^`power` keys.
    fn sqlite_text(&self, power: usize) -> Arc<str> {
        let text = self.sqlite[power].get_or_init(|| {
            let marks = vec!["?"; 1 << power].join(",");
            packed::statement(&format!("{} IN ({marks})", self.select), self.columns).into()
        });
        Arc::clone(text)
    }
}
