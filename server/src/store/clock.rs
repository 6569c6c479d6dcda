//! The clock that leases are read on: one for all replicas.

use super::{Engine, Session, Store, StoreError};

/// The database's clock, ms since the Unix epoch. An embedded database has none of its own: `own_ms` is its only server's.
pub async fn clock_ms(session: &mut Session, own_ms: i64) -> Result<i64, StoreError> {
    match session.engine() {
        Engine::Sqlite => Ok(own_ms),
        Engine::Postgres => {
            let sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";
            session.one(sql, &[]).await?.columns().int()
        }
    }
}

/// The same, with a session of its own where one is needed.
pub async fn now_ms(store: &Store) -> Result<i64, StoreError> {
    let own_ms = store.context.now_ms();
    match store.engine() {
        Engine::Sqlite => Ok(own_ms),
        Engine::Postgres => clock_ms(&mut store.read().await?, own_ms).await,
    }
}
