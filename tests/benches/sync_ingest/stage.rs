//! Fresh databases with a fleet in them.

use crate::load::{Machine, assignment};
use server::auth::SecretKey;
use server::context::Context;
use server::store::{Arg, End, Engine, Store, StoreOptions, Target};
use std::path::PathBuf;
use tempfile::TempDir;
use uuid::Uuid;
use vendfleet_tests::postgres::TestDatabase;

/// An empty database of an engine, gone with this value.
pub enum Home {
    Sqlite(TempDir),
    Postgres(TestDatabase),
}

impl Home {
    pub async fn fresh(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                Self::Sqlite(tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap())
            }
            Engine::Postgres => Self::Postgres(TestDatabase::create().await),
        }
    }

    pub fn target(&self) -> Target {
        match self {
            Self::Sqlite(_) => Target::Sqlite(self.file()),
            Self::Postgres(database) => Target::Postgres(database.url().to_owned()),
        }
    }

    /// The file of an SQLite database.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("store.db"),
            Self::Postgres(_) => unreachable!("asked of an SQLite database only"),
        }
    }

    /// The URL of a PostgreSQL database.
    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite(_) => unreachable!("asked of a PostgreSQL database only"),
            Self::Postgres(database) => database.url(),
        }
    }
}

/// The store as the server opens it, with the server's own defaults.
pub async fn open(target: Target) -> Store {
    let defaults = server::config::DatabaseConfig::default();
    let options = StoreOptions { connections: defaults.connections, ..StoreOptions::new(target) };
    let store = Store::open(&options, Context::system()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// Machines and their credentials, as `Enroll` would have left them.
pub async fn add_machines(store: &Store, fleet: &[Machine], key: &SecretKey) {
    let rows: Vec<(Uuid, Uuid, [u8; 32])> =
        fleet.iter().map(|m| (m.id.0, m.credential, key.hash(&m.secret))).collect();
    store
        .run_tx("bench", rows, |tx, rows| {
            Box::pin(async move {
                let none = Uuid::nil();
                let (number, config) = assignment();
                for (machine, credential, hash) in rows {
                    let args: [Arg<'_>; 1] = [machine.into()];
                    let sql = "INSERT INTO machines (machine_id, kind, name, created_at_ms, updated_at_ms) \
                               VALUES ($1, 2, 'bench', 1, 1)";
                    tx.execute(sql, &args).await?;
                    let sql = "INSERT INTO machine_sync (machine_id, desired_number, desired_config, applied_number, \
                               applied_config) VALUES ($1, $2, $3, $2, $3)";
                    tx.execute(sql, &[machine.into(), number.into(), config.into()]).await?;
                    let sql = "INSERT INTO credentials (credential_id, machine_id, secret_hash, state, claim_token_id, \
                               certificate_der, created_at_ms) VALUES ($1, $2, $3, 1, $4, $5, 1)";
                    let der: &[u8] = &[];
                    let args = [credential.into(), machine.into(), hash.into(), (&none).into(), der.into()];
                    tx.execute(sql, &args).await?;
                }
                Ok(End::Commit(()))
            })
        })
        .await
        .unwrap();
}

/// Records in the database; what was acknowledged must be there.
pub async fn count_records(store: &Store) -> i64 {
    let mut session = store.read().await.unwrap();
    session.one("SELECT COUNT(*) FROM records", &[]).await.unwrap().columns().int().unwrap()
}

/// Statistics and write-ahead logs as a database in its life would have them, not what the set-up left.
pub async fn settle(home: &Home) {
    match home {
        Home::Sqlite(_) => {
            let file = home.file();
            tokio::task::spawn_blocking(move || {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            })
            .await
            .unwrap();
        }
        Home::Postgres(database) => {
            use sqlx::Executor as _;
            let mut connection = database.connect().await;
            connection.execute("VACUUM ANALYZE").await.unwrap();
            connection.execute("CHECKPOINT").await.unwrap();
        }
    }
}
