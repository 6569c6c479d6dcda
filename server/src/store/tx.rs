//! Statements, inside and outside transactions, written once for both engines.

use super::Counts;
use super::engine::Engine;
use super::error::StoreError;
use super::value::{Arg, Raw, Row, bind_postgres, bind_sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, SqlSafeStr, Sqlite, SqliteConnection};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// A connection to read with. Each statement sees what was committed when it began.
pub struct Session {
    link: Link,
    /// A statement met a database that is away, or read-only since a failover: another connection may do better.
    is_spoilt: bool,
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

pub(super) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Runs one expression on whichever engine is behind: `query` is bound for it, `conn` its connection.
macro_rules! on_engine {
    ($session:expr, $sql:expr, $args:expr, |$query:ident, $conn:ident| $sqlite:expr, $postgres:expr) => {{
        let outcome = match $session.conn() {
            Conn::Sqlite($conn) => {
                let $query = sqlx::query_with($sql, bind_sqlite($args)?);
                $sqlite
            }
            Conn::Postgres($conn) => {
                let $query = sqlx::query_with($sql, bind_postgres($args)?);
                $postgres
            }
        };
        outcome.map_err(|error| $session.note(error))
    }};
}

impl Session {
    pub(super) fn sqlite(connection: PoolConnection<Sqlite>) -> Self {
        Self { link: Link::Sqlite(connection), is_spoilt: false }
    }

    pub(super) fn postgres(connection: PoolConnection<Postgres>) -> Self {
        Self { link: Link::Postgres(connection), is_spoilt: false }
    }

    /// What a failed statement says, kept in mind where it says that this connection had better not be used again.
    fn note(&mut self, error: sqlx::Error) -> StoreError {
        let error = StoreError::from(error);
        self.is_spoilt |= matches!(error, StoreError::Unavailable(_) | StoreError::ReadOnly(_));
        error
    }

    /// Runs a statement that begins or ends a transaction.
    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self.conn() {
            Conn::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(|_| ()),
            Conn::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(|_| ()),
        }
    }

    /// Closes the connection when it is dropped: the pool makes another.
    fn abandon(&mut self) {
        match &mut self.link {
            Link::Sqlite(connection) => connection.close_on_drop(),
            Link::Postgres(connection) => connection.close_on_drop(),
        }
    }

    /// Which engine is behind, for the statements that differ.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.link {
            Link::Sqlite(_) => Engine::Sqlite,
            Link::Postgres(_) => Engine::Postgres,
        }
    }

    pub(super) fn conn(&mut self) -> Conn<'_> {
        match &mut self.link {
            Link::Sqlite(connection) => Conn::Sqlite(&mut *connection),
            Link::Postgres(connection) => Conn::Postgres(&mut *connection),
        }
    }

    /// All rows. The statement bounds their number.
    pub async fn all(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        on_engine!(
            self,
            sql,
            args,
            |query, conn| query
                .fetch_all(conn)
                .await
                .map(|rows| rows.into_iter().map(|r| Row(Raw::Sqlite(r))).collect()),
            query.fetch_all(conn).await.map(|rows| rows.into_iter().map(|r| Row(Raw::Postgres(r))).collect())
        )
    }

    /// The first row, if there is one.
    pub async fn optional(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Option<Row>, StoreError> {
        on_engine!(
            self,
            sql,
            args,
            |query, conn| query.fetch_optional(conn).await.map(|row| row.map(|r| Row(Raw::Sqlite(r)))),
            query.fetch_optional(conn).await.map(|row| row.map(|r| Row(Raw::Postgres(r))))
        )
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
///
/// sqlx's own transactions are not used: where a rollback fails (a full disk has already rolled back by itself) they count
/// the connection as inside a transaction for ever, and hand it out again. Here whoever can't end its transaction gives the
/// connection up.
#[derive(Debug)]
pub struct Tx {
    /// Held until the transaction has ended.
    session: Option<Session>,
    /// Told once the transaction is committed, if it wrote events.
    events: watch::Sender<u64>,
    wrote_events: bool,
    /// Rows were written: its commit shows that the database takes writes. An empty one shows nothing.
    wrote_rows: bool,
}

impl Tx {
    /// Begins one. Only on a task that is never dropped half-way.
    pub(super) async fn begin(mut session: Session, events: watch::Sender<u64>) -> Result<Self, sqlx::Error> {
        // Deferred transactions that turn into writes fail at once on SQLite, whatever busy_timeout says.
        let sql = match session.engine() {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres => "BEGIN",
        };
        if let Err(error) = session.run(sql).await {
            // A writer that is busy has begun nothing and is as good as before.
            if !StoreError::is_busy(&error) {
                session.abandon();
            }
            return Err(error);
        }
        Ok(Self { session: Some(session), events, wrote_events: false, wrote_rows: false })
    }

    /// Readers of the event log are to be woken by the commit.
    pub(super) fn note_events(&mut self) {
        self.wrote_events = true;
    }

    /// Runs a statement; gives the number of rows it wrote.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let rows = on_engine!(
            &mut **self,
            sql,
            args,
            |query, conn| query.execute(conn).await.map(|done| done.rows_affected()),
            query.execute(conn).await.map(|done| done.rows_affected())
        )?;
        self.wrote_rows |= rows > 0;
        Ok(rows)
    }

    /// Makes it durable. An [`StoreError::Unavailable`] here leaves open whether it was.
    pub(super) async fn commit(mut self, counts: &Counts) -> Result<(), StoreError> {
        if let Some(session) = self.session.take() {
            end(session, "COMMIT").await?;
        }
        counts.commits.fetch_add(1, Ordering::Relaxed);
        counts.writes.fetch_add(u64::from(self.wrote_rows), Ordering::Relaxed);
        if self.wrote_events {
            self.events.send_modify(|commits| *commits = commits.wrapping_add(1));
        }
        Ok(())
    }

    pub(super) async fn roll_back(mut self) -> Result<(), StoreError> {
        match self.session.take() {
            Some(session) => end(session, "ROLLBACK").await,
            None => Ok(()),
        }
    }
}

/// Ends a transaction. A connection that can't, or that met a database which is not available, never goes back to the pool.
async fn end(mut session: Session, sql: &'static str) -> Result<(), StoreError> {
    let ended = session.run(sql).await;
    if ended.is_err() || session.is_spoilt {
        session.abandon();
    }
    Ok(ended?)
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        match tokio::runtime::Handle::try_current() {
            // The connection is held until it is done, so nobody gets it before.
            Ok(runtime) => drop(runtime.spawn(end(session, "ROLLBACK"))),
            Err(_) => session.abandon(),
        }
    }
}

impl Deref for Tx {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a transaction that can be used has not ended")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a transaction that can be used has not ended")
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
