//! Where the database is and how patient the store is.

use std::path::PathBuf;
use std::time::Duration;

/// Where the database is and how patient the store is with it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where it is.
    pub target: Target,
    /// Connections, at most; with SQLite: readers besides the one writer.
    pub connections: u32,
    /// Longest wait for a pooled connection.
    pub acquire_timeout: Duration,
    /// Longest statement; PostgreSQL only.
    pub statement_timeout: Duration,
    /// Longest wait for a row lock, or for SQLite's writer when another process holds it.
    pub lock_timeout: Duration,
    /// How often a write that lost a race is tried again.
    pub retries: u32,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// `postgres://...`
    Postgres(String),
}

impl Target {
    /// From `postgres://...`, `postgresql://...` or `sqlite:<path>`.
    ///
    /// # Errors
    /// The rule, when it is none of these.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err("must be postgres://... or sqlite:<path>".to_owned()),
        }
    }
}

impl StoreOptions {
    /// A target with the defaults of the config.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            retries: 10,
        }
    }
}
