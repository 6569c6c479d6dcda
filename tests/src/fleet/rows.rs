//! The database, looked at or changed behind the server's back. Statements are written once, with `$1` placeholders.

use std::path::Path;

use sqlx::{
    FromRow, PgPool, SqlitePool,
    postgres::{PgPoolOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};

/// The tables of either engine.
#[derive(Debug, Clone)]
pub enum Rows {
    /// The file, beside the server that has it open.
    Sqlite(SqlitePool),
    /// The database.
    Postgres(PgPool),
}

/// A row as a tuple, whichever engine it came from.
pub trait Row: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}
impl<T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>> Row for T {}

impl Rows {
    /// Opens the file of an embedded server.
    pub async fn sqlite(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(crate::wait::PATIENCE);
        Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
    }

    /// Connects to a PostgreSQL database.
    pub async fn postgres(url: &str) -> Self {
        Self::Postgres(PgPoolOptions::new().max_connections(1).connect(url).await.unwrap())
    }

    /// Every row.
    pub async fn all<T: Row>(&self, sql: &'static str) -> Vec<T> {
        match self {
            Self::Sqlite(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
            Self::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        }
    }

    /// Every row of a statement with one machine, epoch or other id as its `$1`.
    pub async fn all_of<T: Row>(&self, sql: &'static str, id: &[u8]) -> Vec<T> {
        match self {
            Self::Sqlite(pool) => sqlx::query_as(sql).bind(id.to_vec()).fetch_all(pool).await.unwrap(),
            Self::Postgres(pool) => sqlx::query_as(sql).bind(id.to_vec()).fetch_all(pool).await.unwrap(),
        }
    }

    /// Whether somebody waits for a row that somebody else holds. PostgreSQL only: SQLite has no such row.
    pub async fn somebody_waits_for_a_lock(&self) -> bool {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        self.all::<(i64,)>(sql).await[0].0 > 0
    }

    /// Carries out a statement that changes rows.
    pub async fn execute(&self, sql: &'static str, id: &[u8]) {
        match self {
            Self::Sqlite(pool) => drop(sqlx::query(sql).bind(id.to_vec()).execute(pool).await.unwrap()),
            Self::Postgres(pool) => drop(sqlx::query(sql).bind(id.to_vec()).execute(pool).await.unwrap()),
        }
    }
}
