//! Copies of the embedded database. PostgreSQL has its own tools (`pg_dump`, `pg_restore`, base backups); after any restore
//! [`Store::renew_incarnation`] must run before machines are served.

use super::engine::Pools;
use super::{Store, StoreError};
use std::path::Path;

impl Store {
    /// Whether this is a sound SQLite database of this project, whatever its version; for a copy that is to be served. On
    /// PostgreSQL nothing is looked at.
    pub async fn verify(&self) -> Result<(), StoreError> {
        let Pools::Sqlite { readers, .. } = &self.pools else { return Ok(()) };
        let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(readers).await?;
        if found != "ok" {
            return Err(StoreError::Unsuitable(format!("the database is damaged: {found}")));
        }
        let ours = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('_sqlx_migrations', 'server_meta')";
        let tables: i64 = sqlx::query_scalar(ours).fetch_one(readers).await?;
        if tables != 2 {
            return Err(StoreError::Unsuitable("the file is not a copy of a vendfleet database".to_owned()));
        }
        Ok(())
    }

    /// Writes a consistent copy of a running SQLite database to a file that does not exist yet, and syncs it to disk.
    /// Writers go on meanwhile. On PostgreSQL: [`StoreError::Unsuitable`].
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let Pools::Sqlite { readers, .. } = &self.pools else {
            return Err(StoreError::Unsuitable("PostgreSQL is copied with pg_dump".to_owned()));
        };
        if tokio::fs::try_exists(path).await.unwrap_or(true) {
            return Err(StoreError::Unsuitable("a copy never overwrites a file".to_owned()));
        }
        let name =
            path.to_str().ok_or_else(|| StoreError::Unsuitable("a copy's path must be UTF-8".to_owned()))?;
        // A connection of its own: the readers' may not write, not even elsewhere.
        let options = (*readers.connect_options()).clone().pragma("query_only", "OFF");
        let mut connection = sqlx::ConnectOptions::connect(&options).await?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await?;
        sqlx::Connection::close(connection).await?;
        // SQLite leaves the copy to the operating system.
        let io = |error: std::io::Error| StoreError::Unavailable(error.into());
        tokio::fs::File::open(path).await.map_err(io)?.sync_all().await.map_err(io)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::File::open(folder).await.map_err(io)?.sync_all().await.map_err(io)?;
        }
        Ok(())
    }
}
