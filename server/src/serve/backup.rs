//! Copies of the database, and how one becomes the database again.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    ServeError,
    services::{connect, database, target},
};
use crate::{
    config::{Config, DatabaseConfig},
    context::Context,
    data_dir::DataDir,
    domain::ids::Incarnation,
    store::{Store, Target},
};

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new life of the data.
    pub incarnation: Incarnation,
    /// Where the database that was there before is kept; `None`: there was none, or it is PostgreSQL.
    pub kept: Option<PathBuf>,
}

/// Writes a consistent copy of the embedded database to a file that does not exist yet; a server may go on meanwhile.
///
/// # Errors
/// PostgreSQL is copied with its own tools; there is no database yet; the file exists or can't be written.
pub async fn backup(config: &Config, context: Context, to: &Path) -> Result<(), ServeError> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    if let Target::Sqlite(path) = target(&config.database, &data_dir)? {
        exists(&path, "there is no database to copy").await?;
    }
    let store = connect(&config.database, &data_dir, context).await?;
    let copied = store.copy_to(to).await.map_err(database);
    store.close().await;
    copied
}

/// Begins a new life of the data. Embedded: puts a copy in the place of the database, which is kept beside it. PostgreSQL: run
/// once after `pg_restore`, without a file. No server may run meanwhile; of the embedded database that is checked.
///
/// # Errors
/// A server runs; the file is no sound copy, or a newer server's; a file where there must be none, or none where one must be.
pub async fn restore(config: &Config, context: Context, from: Option<&Path>) -> Result<Restored, ServeError> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    match (target(&config.database, &data_dir)?, from) {
        (Target::Postgres(_), None) => {
            let store = connect(&config.database, &data_dir, context).await?;
            let incarnation = store.renew_incarnation().await.map_err(database)?;
            store.close().await;
            Ok(Restored { incarnation, kept: None })
        }
        (Target::Postgres(_), Some(_)) => {
            Err(refused("PostgreSQL is restored with pg_restore; run this afterwards, without a file"))
        }
        (Target::Sqlite(_), None) => Err(refused("a file to restore from must be named")),
        (Target::Sqlite(path), Some(from)) => {
            let _lock = data_dir.lock()?;
            exchange(config, &data_dir, context, &path, from).await
        }
    }
}

async fn exchange(
    config: &Config,
    data_dir: &DataDir,
    context: Context,
    path: &Path,
    from: &Path,
) -> Result<Restored, ServeError> {
    exists(from, "there is no file to restore from").await?;
    // Its own changes would be left behind, or be taken for those of another file.
    if tokio::fs::try_exists(beside(from, "-wal")).await.unwrap_or(true) {
        return Err(refused("the file has a -wal beside it: it is a database in use, not a finished copy"));
    }
    // All that can fail happens to a copy of the copy: until the end the present database stays as it is.
    let next = beside(path, ".restoring");
    for suffix in ["", "-wal", "-shm"] {
        remove(&beside(&next, suffix)).await?;
    }
    tokio::fs::copy(from, &next).await.map_err(|cause| io_error("copy", from, &cause))?;
    let as_config =
        |path: &Path| DatabaseConfig { url: format!("sqlite:{}", path.display()), ..config.database.clone() };
    let renewed = match connect(&as_config(&next), data_dir, context.clone()).await {
        Ok(store) => {
            let renewed = renew(&store).await;
            store.close().await;
            renewed
        }
        Err(cause) => Err(cause),
    };
    let incarnation = match renewed {
        Ok(incarnation) => incarnation,
        Err(error) => {
            for suffix in ["", "-wal", "-shm"] {
                remove(&beside(&next, suffix)).await?;
            }
            return Err(error);
        }
    };
    sync(&next).await?;

    let mut kept = None;
    if tokio::fs::try_exists(path).await.unwrap_or(true) {
        // Opened and closed once, a sound database has no -wal left. A damaged one is what restores are for.
        match connect(&as_config(path), data_dir, context.clone()).await {
            Ok(old) => old.close().await,
            Err(cause) => tracing::warn!(%cause, "the database to be replaced can't be opened"),
        }
        let aside = beside(path, &format!(".before-{}", context.now_ms()));
        // A link first: at every moment there is a database under the name.
        tokio::fs::hard_link(path, &aside).await.map_err(|cause| io_error("link", path, &cause))?;
        for suffix in ["-wal", "-shm"] {
            let (old, aside) = (beside(path, suffix), beside(&aside, suffix));
            match tokio::fs::rename(&old, &aside).await {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("rename", &old, &cause));
                }
                _ => {}
            }
        }
        kept = Some(aside);
    }
    tokio::fs::rename(&next, path).await.map_err(|cause| io_error("rename", &next, &cause))?;
    sync(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))).await?;
    Ok(Restored { incarnation, kept })
}

async fn renew(store: &Store) -> Result<Incarnation, ServeError> {
    store.verify().await.map_err(database)?;
    store.migrate().await.map_err(database)?;
    store.renew_incarnation().await.map_err(database)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn exists(path: &Path, otherwise: &str) -> Result<(), ServeError> {
    match tokio::fs::try_exists(path).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused(&format!("{}: {otherwise}", path.display()))),
        Err(cause) => Err(io_error("look at", path, &cause)),
    }
}

async fn remove(path: &Path) -> Result<(), ServeError> {
    match tokio::fs::remove_file(path).await {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, &cause)),
        _ => Ok(()),
    }
}

async fn sync(path: &Path) -> Result<(), ServeError> {
    let synced = async { tokio::fs::File::open(path).await?.sync_all().await };
    synced.await.map_err(|cause| io_error("sync", path, &cause))
}

fn refused(text: &str) -> ServeError {
    ServeError::Services(text.to_owned())
}

fn io_error(action: &str, path: &Path, cause: &io::Error) -> ServeError {
    ServeError::Services(format!("{action} {}: {cause}", path.display()))
}
