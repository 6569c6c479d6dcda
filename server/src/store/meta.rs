//! Facts about the database itself: which life of the data it is, whether it answers.

use super::engine::Pools;
use super::tx::End;
use super::{Store, StoreError};
use crate::domain::ids::Incarnation;
use crate::error::{ApiError, Reason};
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

/// Room does not come back by itself: a person has to make some.
const ROOM_RETRY: Duration = Duration::from_secs(30);

impl Store {
    /// Gives a fresh database its first incarnation. Idempotent, also when replicas start together.
    pub(super) async fn ensure_meta(&self) -> Result<(), StoreError> {
        let first = (self.fresh_incarnation(), self.context.now_ms());
        self.run_tx("ensure_meta", first, |tx, (incarnation, now_ms)| {
            Box::pin(async move {
                tx.execute(
                    "INSERT INTO server_meta (id, incarnation, incarnation_since_ms, created_at_ms) \
                     VALUES (1, $1, $2, $2) ON CONFLICT (id) DO NOTHING",
                    &[incarnation.into(), (*now_ms).into()],
                )
                .await?;
                Ok(End::Commit(()))
            })
        })
        .await
    }

    /// Which life of the data this is.
    pub async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        let row = self.read().await?.one("SELECT incarnation FROM server_meta WHERE id = 1", &[]).await?;
        Ok(Incarnation(row.columns().uuid()?))
    }

    /// Begins a new life: to be called once after a restore, before machines are served. Devices then know that marks they
    /// were told may be gone, and cursors of event streams that positions may be given twice.
    pub async fn renew_incarnation(&self) -> Result<Incarnation, StoreError> {
        let next = (self.fresh_incarnation(), self.context.now_ms());
        self.run_tx("renew_incarnation", next, |tx, (incarnation, now_ms)| {
            Box::pin(async move {
                tx.execute(
                    "UPDATE server_meta SET incarnation = $1, incarnation_since_ms = $2 WHERE id = 1",
                    &[incarnation.into(), (*now_ms).into()],
                )
                .await?;
                Ok(End::Commit(Incarnation(*incarnation)))
            })
        })
        .await
    }

    /// The last migration applied.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        let row = self.read().await?.one("SELECT MAX(version) FROM _sqlx_migrations", &[]).await?;
        row.columns().int()
    }

    /// Whether the database answers: for health.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read().await?.one("SELECT id FROM server_meta WHERE id = 1", &[]).await?;
        Ok(())
    }

    /// Whether the database takes writes: for health. Writes a row as it is, and waits until that is durable: a full disk, a
    /// read-only database and a lock from outside show in nothing less.
    pub async fn probe_write(&self) -> Result<(), StoreError> {
        self.run_tx("probe_write", (), |tx, ()| {
            Box::pin(async move {
                tx.execute("UPDATE server_meta SET created_at_ms = created_at_ms WHERE id = 1", &[]).await?;
                Ok(End::Commit(()))
            })
        })
        .await
    }

    /// Says whether the room that is left under the database is kept for what was begun.
    pub fn reserve_room(&self, is_reserved: bool) {
        self.is_reserved.store(is_reserved, Ordering::Relaxed);
    }

    /// To be asked before anything new is begun.
    ///
    /// # Errors
    /// OVERLOADED while the room that is left is kept for what was begun.
    pub fn expect_room(&self) -> Result<(), ApiError> {
        if !self.is_reserved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let words = "the server's disk is almost full: nothing new is taken until there is room, and nothing was stored";
        Err(ApiError::new(Reason::Overloaded, words).retry_after(ROOM_RETRY))
    }

    /// Moves the write-ahead log into the database and gives its room back. Nothing on PostgreSQL.
    pub async fn give_log_back(&self) -> Result<(), StoreError> {
        let Pools::Sqlite { writer, .. } = &self.pools else { return Ok(()) };
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        Ok(())
    }

    fn fresh_incarnation(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.context.random_bytes()).into_uuid()
    }
}
