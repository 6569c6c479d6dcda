//! The two engines: how each is opened and what is asserted of it before anything is written.

pub(super) mod postgres;
pub(super) mod sqlite;

use sqlx::{PgPool, SqlitePool};

/// Which engine a store runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// Embedded.
    Sqlite,
    /// A server of its own, shared by replicas.
    Postgres,
}

impl Engine {
    /// Its name in messages and in `GetServerInfo.storage`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Open connections.
#[derive(Clone, Debug)]
pub(super) enum Pools {
    /// One writer, many readers: what SQLite can do at most.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres {
        pool: PgPool,
        distrusted: postgres::Distrusted,
    },
}

impl Pools {
    /// A session turned out to be read-only: those as old as it or older are closed instead of used again. SQLite's are opened
    /// on a file and learn of a change by themselves.
    pub(super) fn distrust(&self) {
        if let Self::Postgres { distrusted, .. } = self {
            distrusted.until_now();
        }
    }
}
