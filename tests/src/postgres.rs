//! A PostgreSQL database of one's own.

use std::{env, thread};

use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

/// Names the PostgreSQL that the tests may create databases in, e.g. `postgres://user:password@127.0.0.1:5432/postgres`.
pub const URL_VARIABLE: &str = "VENDFLEET_TEST_POSTGRES_URL";

/// The oldest version that is supported, as `server_version_num` counts.
const VERSION_MIN: i32 = 150_000;

/// A fresh, empty database; dropped with this value, whoever is still connected.
#[derive(Debug)]
pub struct TestDatabase {
    admin_url: String,
    name: String,
    url: String,
}

impl TestDatabase {
    /// Makes one. Panics, saying what to run, where there is no PostgreSQL.
    pub async fn create() -> Self {
        let admin_url = admin_url();
        let name = format!("test_{}", Uuid::now_v7().simple());
        let mut admin = connect(&admin_url).await;
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
            .fetch_one(&mut admin)
            .await
            .expect("PostgreSQL tells its version");
        assert!(version >= VERSION_MIN, "PostgreSQL 15 or newer is needed, {URL_VARIABLE} names {version}");
        let create = format!("CREATE DATABASE {name}");
        admin.execute(sqlx::AssertSqlSafe(create)).await.unwrap_or_else(|error| {
            panic!("the role in {URL_VARIABLE} must be able to create databases: {error}")
        });
        let url = with_database(&admin_url, &name);
        Self { admin_url, name, url }
    }

    /// Its URL, for `--database-url` or a pool.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection to it, to look at rows behind the server's back.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    /// Runs on a thread of its own: a test's runtime may be about to end, or have paused clocks. A database that can't
    /// be dropped is left behind: the instance is one run's, and a panic here would hide the test's own.
    fn drop(&mut self) {
        let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&admin_url).await?;
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                admin.execute(sqlx::AssertSqlSafe(drop)).await?;
                admin.close().await
            })?;
            anyhow::Ok(())
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("database {} is left behind: {error}", self.name);
        }
    }
}

/// The URL of the instance.
fn admin_url() -> String {
    match env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => panic!(
            "{URL_VARIABLE} is not set. Run ./tests/run, which starts a private PostgreSQL, with this test's name as its \
             argument; or run `docker compose up -d postgres` and set \
             {URL_VARIABLE}=postgres://vendfleet:vendfleet@127.0.0.1:5432/postgres"
        ),
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .unwrap_or_else(|error| panic!("the PostgreSQL that {URL_VARIABLE} names does not answer: {error}"))
}

/// Puts another database into a URL, leaving what follows `?` as it is.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let host_from = base.find("://").map_or(0, |at| at + 3);
    let server = base[host_from..].find('/').map_or(base, |slash| &base[..host_from + slash]);
    format!("{server}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn a_database_takes_the_place_of_another_in_a_url() {
        assert_eq!(with_database("postgres://u:p@h:1/postgres", "t"), "postgres://u:p@h:1/t");
        assert_eq!(with_database("postgres://u:p@h:1", "t"), "postgres://u:p@h:1/t");
        assert_eq!(with_database("postgres://h/x?sslmode=disable", "t"), "postgres://h/t?sslmode=disable");
    }
}
