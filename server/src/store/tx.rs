//! Statements, inside and outside transactions, written once for both engines.

use super::engine::Engine;
use super::error::StoreError;
use super::value::{Arg, Raw, Row, bind_postgres, bind_sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, SqlSafeStr, Sqlite, SqliteConnection, Transaction};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use tokio::sync::watch;

/// A connection to read with. Each statement sees what was committed when it began.
pub struct Session {
    link: Link,
}

enum Link {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    PostgresRead(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

pub(super) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Runs one expression on whichever engine is behind: `query` is bound for it, `conn` its connection.
macro_rules! on_engine {
    ($session:expr, $sql:expr, $args:expr, |$query:ident, $conn:ident| $sqlite:expr, $postgres:expr) => {
        match $session.conn() {
            Conn::Sqlite($conn) => {
                let $query = sqlx::query_with($sql, bind_sqlite($args)?);
                $sqlite
            }
            Conn::Postgres($conn) => {
                let $query = sqlx::query_with($sql, bind_postgres($args)?);
                $postgres
            }
        }
    };
}

impl Session {
    pub(super) fn sqlite_read(connection: PoolConnection<Sqlite>) -> Self {
        Self { link: Link::SqliteRead(connection) }
    }

    pub(super) fn postgres_read(connection: PoolConnection<Postgres>) -> Self {
        Self { link: Link::PostgresRead(connection) }
    }

    /// Which engine is behind, for the statements that differ.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.link {
            Link::SqliteRead(_) | Link::SqliteTx(_) => Engine::Sqlite,
            Link::PostgresRead(_) | Link::PostgresTx(_) => Engine::Postgres,
        }
    }

    pub(super) fn conn(&mut self) -> Conn<'_> {
        match &mut self.link {
            Link::SqliteRead(connection) => Conn::Sqlite(&mut *connection),
            Link::SqliteTx(transaction) => Conn::Sqlite(&mut *transaction),
            Link::PostgresRead(connection) => Conn::Postgres(&mut *connection),
            Link::PostgresTx(transaction) => Conn::Postgres(&mut *transaction),
        }
    }

    /// All rows. The statement bounds their number.
    pub async fn all(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(on_engine!(
            self,
            sql,
            args,
            |query, conn| query.fetch_all(conn).await?.into_iter().map(|r| Row(Raw::Sqlite(r))).collect(),
            query.fetch_all(conn).await?.into_iter().map(|r| Row(Raw::Postgres(r))).collect()
        ))
    }

    /// The first row, if there is one.
    pub async fn optional(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(on_engine!(
            self,
            sql,
            args,
            |query, conn| query.fetch_optional(conn).await?.map(|r| Row(Raw::Sqlite(r))),
            query.fetch_optional(conn).await?.map(|r| Row(Raw::Postgres(r)))
        ))
    }

    /// The one row that must be there.
    pub async fn one(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Row, StoreError> {
        self.optional(sql, args)
            .await?
            .ok_or_else(|| StoreError::corrupt("a row that must be there is missing"))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("engine", &self.engine()).finish_non_exhaustive()
    }
}

/// An open transaction. Reads like a [`Session`], and writes. Rolled back when dropped.
#[derive(Debug)]
pub struct Tx {
    session: Session,
    /// Told once the transaction is committed, if it wrote events.
    events: watch::Sender<u64>,
    wrote_events: bool,
}

impl Tx {
    pub(super) fn sqlite(transaction: Transaction<'static, Sqlite>, events: watch::Sender<u64>) -> Self {
        let session = Session { link: Link::SqliteTx(transaction) };
        Self { session, events, wrote_events: false }
    }

    pub(super) fn postgres(transaction: Transaction<'static, Postgres>, events: watch::Sender<u64>) -> Self {
        let session = Session { link: Link::PostgresTx(transaction) };
        Self { session, events, wrote_events: false }
    }

    /// Readers of the event log are to be woken by the commit.
    pub(super) fn note_events(&mut self) {
        self.wrote_events = true;
    }

    /// Runs a statement; gives the number of rows it wrote.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        Ok(on_engine!(
            self.session,
            sql,
            args,
            |query, conn| query.execute(conn).await?.rows_affected(),
            query.execute(conn).await?.rows_affected()
        ))
    }

    /// Makes it durable. An [`StoreError::Unavailable`] here leaves open whether it was.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.session.link {
            Link::SqliteTx(transaction) => transaction.commit().await?,
            Link::PostgresTx(transaction) => transaction.commit().await?,
            Link::SqliteRead(_) | Link::PostgresRead(_) => {}
        }
        if self.wrote_events {
            self.events.send_modify(|commits| *commits = commits.wrapping_add(1));
        }
        Ok(())
    }

    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        match self.session.link {
            Link::SqliteTx(transaction) => transaction.rollback().await?,
            Link::PostgresTx(transaction) => transaction.rollback().await?,
            Link::SqliteRead(_) | Link::PostgresRead(_) => {}
        }
        Ok(())
    }
}

impl Deref for Tx {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// How a piece of work wants its transaction to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End<T> {
    /// Keep what was written.
    Commit(T),
    /// Forget what was written: a refusal leaves nothing behind.
    RollBack(T),
}

/// What [`super::Store::run_tx`] runs: boxed, since it must be known to be `Send` for every transaction it is given.
pub type TxFuture<'t, T> = Pin<Box<dyn Future<Output = Result<End<T>, StoreError>> + Send + 't>>;
