//! Fresh databases.

use server::context::Context;
use server::store::{Engine, Store, StoreOptions, Target};
use std::path::PathBuf;
use tempfile::TempDir;
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
