//! A fresh database of either engine, and what tests do to it behind the store's back.

use server::context::Context;
use server::domain::ids::MachineId;
use server::store::{Arg, End, Engine, Row, Store, StoreError, StoreOptions, Target};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use tempfile::TempDir;
use vendfleet_tests::postgres::TestDatabase;

/// When the driven clock starts, ms since the Unix epoch.
pub(crate) const START_MS: i64 = 1_750_000_000_000;

/// A migrated database with nothing in it.
pub(crate) struct Stage {
    pub(crate) store: Store,
    options: StoreOptions,
    home: Home,
}

enum Home {
    Sqlite(TempDir),
    Postgres(TestDatabase),
}

impl Stage {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::Sqlite(folder.path().join("store.db"));
        Self::on(target, Home::Sqlite(folder)).await
    }

    pub(crate) async fn postgres() -> Self {
        let database = TestDatabase::create().await;
        let target = Target::Postgres(database.url().to_owned());
        Self::on(target, Home::Postgres(database)).await
    }

    async fn on(target: Target, home: Home) -> Self {
        let (context, _) = Context::manual(START_MS, 1);
        let options = StoreOptions { connections: 8, ..StoreOptions::new(target) };
        let store = Store::open(&options, context).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, options, home }
    }

    /// Another process on the same database, with other options.
    pub(crate) async fn neighbour(&self, change: impl FnOnce(&mut StoreOptions)) -> Store {
        let mut options = self.options.clone();
        change(&mut options);
        let (context, _) = Context::manual(START_MS, 2);
        Store::open(&options, context).await.unwrap()
    }

    /// A neighbour that waits for locks only so long and tries again only so often.
    pub(crate) async fn impatient(&self, lock_timeout_ms: u64, retries: u32) -> Store {
        self.neighbour(|options| {
            options.lock_timeout = Duration::from_millis(lock_timeout_ms);
            options.retries = retries;
        })
        .await
    }

    /// So many machines, by rising id.
    pub(crate) async fn machines(&self, count: u64) -> Vec<MachineId> {
        let ids: Vec<MachineId> = (1..=count).map(|n| MachineId(uuid::Uuid::from_u128(n.into()))).collect();
        let made = ids.clone();
        self.store
            .run_tx("test_machines", made, |tx, made| {
                Box::pin(async move {
                    for id in made {
                        let args = [id.as_bytes().into()];
                        let machine = "INSERT INTO machines (machine_id, kind, name, created_at_ms, updated_at_ms) \
                                       VALUES ($1, 2, 'm', 1, 1)";
                        tx.execute(machine, &args).await?;
                        tx.execute("INSERT INTO machine_sync (machine_id) VALUES ($1)", &args).await?;
                    }
                    Ok(End::Commit(()))
                })
            })
            .await
            .unwrap();
        ids
    }

    /// Runs one statement.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        self.store
            .run_tx("test", (), move |tx, ()| {
                Box::pin(async move { Ok(End::Commit(tx.execute(sql, &[]).await?)) })
            })
            .await
            .unwrap()
    }

    /// Runs a statement about one row, with ids first and numbers after them.
    pub(crate) async fn put(&self, sql: &'static str, ids: &[&[u8]], numbers: &[i64]) {
        let input: (Vec<Vec<u8>>, Vec<i64>) = (ids.iter().map(|id| id.to_vec()).collect(), numbers.to_vec());
        let written = self.store.run_tx("test_put", input, move |tx, (ids, numbers)| {
            Box::pin(async move {
                let ids = ids.iter().map(|id| id.as_slice().into());
                let args: Vec<Arg<'_>> = ids.chain(numbers.iter().map(|n| (*n).into())).collect();
                Ok(End::Commit(tx.execute(sql, &args).await?))
            })
        });
        assert_eq!(written.await.unwrap(), 1, "{sql}");
    }

    /// All rows of a statement.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        self.store.read().await.unwrap().all(AssertSqlSafe(sql.to_owned()), &[]).await.unwrap()
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].columns().int().unwrap()
    }

    /// Rows in a table.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    /// Transactions that are open although nothing runs in them, as the database itself says.
    pub(crate) async fn idle_transactions(&self) -> i64 {
        match self.store.engine() {
            Engine::Postgres => {
                self.number(
                    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND state LIKE 'idle in transaction%'",
                )
                .await
            }
            // There is one writer: whoever else begins a write waits for an open transaction.
            Engine::Sqlite => i64::from(self.impatient(1, 0).await.begin_hot().await.is_err()),
        }
    }

    /// Ends every connection of the store from outside, as a restart of the database would; gives whether there is an outside.
    pub(crate) async fn kill_connections(&self) -> bool {
        let Home::Postgres(database) = &self.home else { return false };
        let mut admin = database.connect().await;
        let kill = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let _: i64 = sqlx::query_scalar(kill).fetch_one(&mut admin).await.unwrap();
        true
    }

    /// From now on [`Stage::write_much`] finds no room. PostgreSQL's disk is everybody's, so it only says what it would say.
    pub(crate) async fn fill_disk(&self) {
        if self.store.engine() == Engine::Sqlite {
            self.rows_written("PRAGMA max_page_count = 1").await;
        }
    }

    pub(crate) async fn make_room(&self) {
        if self.store.engine() == Engine::Sqlite {
            self.rows_written("PRAGMA max_page_count = 1073741823").await;
        }
    }

    async fn rows_written(&self, sql: &'static str) {
        let run = self.store.run_tx("test", (), move |tx, ()| {
            Box::pin(async move { Ok(End::Commit(tx.all(sql, &[]).await?.len())) })
        });
        run.await.unwrap();
    }

    /// Writes more than fits after [`Stage::fill_disk`].
    pub(crate) async fn write_much(&self) -> Result<u64, StoreError> {
        let sql = match self.store.engine() {
            Engine::Sqlite => {
                "UPDATE machines SET name = printf('%.*c', 100000, 'x') WHERE machine_id IN (SELECT machine_id FROM machines)"
            }
            Engine::Postgres => "DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$",
        };
        self.store
            .run_tx("test", (), move |tx, ()| {
                Box::pin(async move { Ok(End::Commit(tx.execute(sql, &[]).await?)) })
            })
            .await
    }

    /// A store whose every writing session is read-only.
    pub(crate) async fn begin_read_only(&self) -> Store {
        if let Home::Postgres(database) = &self.home {
            self.set_read_only(database, "SET default_transaction_read_only = on").await;
            return self.neighbour(|options| options.connections = 4).await;
        }
        self.rows_written("PRAGMA query_only = ON").await;
        self.store.clone()
    }

    pub(crate) async fn end_read_only(&self) {
        if let Home::Postgres(database) = &self.home {
            self.set_read_only(database, "RESET default_transaction_read_only").await;
        }
    }

    async fn set_read_only(&self, database: &TestDatabase, what: &str) {
        let mut admin = database.connect().await;
        let name: String =
            sqlx::query_scalar("SELECT current_database()").fetch_one(&mut admin).await.unwrap();
        let sql = AssertSqlSafe(format!("BEGIN READ WRITE; ALTER DATABASE \"{name}\" {what}; COMMIT"));
        sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    }

    /// The folder of an SQLite database.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        match &self.home {
            Home::Sqlite(folder) => Some(folder.path()),
            Home::Postgres(_) => None,
        }
    }
}
