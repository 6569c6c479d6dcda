//! Migrations, and which life of the data it is.

use crate::stage::Stage;
use server::store::{SCHEMA_STEPS, SCHEMA_VERSION, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;

pub(crate) async fn migrating_twice_or_at_once_is_migrating_once(stage: &Stage) {
    let incarnation = stage.store.incarnation().await.unwrap();
    let mut replicas = JoinSet::new();
    for _ in 0..4 {
        let store = stage.neighbour(|options| options.connections = 2).await;
        replicas.spawn(async move { store.migrate().await });
    }
    for result in replicas.join_all().await {
        result.unwrap();
    }
    assert_eq!(stage.store.schema_version().await.unwrap(), SCHEMA_VERSION);
    assert_eq!(stage.store.incarnation().await.unwrap(), incarnation);
    assert_eq!(
        usize::try_from(stage.count("_sqlx_migrations").await).unwrap(),
        SCHEMA_STEPS,
        "each step once"
    );
}

pub(crate) async fn a_database_of_a_newer_server_is_refused(stage: &Stage) {
    stage.execute("UPDATE _sqlx_migrations SET version = 9000 WHERE version = 1").await;
    let error = stage.store.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unsuitable(why) if why.contains("9000")), "{error}");
}

pub(crate) async fn the_incarnation_lasts_until_it_is_renewed(stage: &Stage) {
    let first = stage.store.incarnation().await.unwrap();
    let neighbour = stage.neighbour(|_| {}).await;
    neighbour.migrate().await.unwrap();
    assert_eq!(neighbour.incarnation().await.unwrap(), first, "a restart is no new life");
    let second = neighbour.renew_incarnation().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(stage.store.incarnation().await.unwrap(), second);
}

pub(crate) async fn the_store_answers_a_ping_until_it_is_closed(stage: &Stage) {
    stage.store.ping().await.unwrap();
    let neighbour = stage.neighbour(|_| {}).await;
    neighbour.close().await;
    assert!(matches!(neighbour.ping().await, Err(StoreError::Unavailable(_))));
    stage.store.ping().await.expect("others are not concerned");
}

/// Type and nullability of each column, by table and column.
type Columns = BTreeMap<(String, String), (String, bool)>;

async fn columns(stage: &Stage, sql: &str) -> Columns {
    let rows = stage.rows(sql).await;
    let read = rows.iter().map(|row| {
        let mut c = row.columns();
        let mut text = || c.text().unwrap().to_ascii_lowercase();
        let name = (text(), text());
        let kind = text();
        (name, (kind, c.int().unwrap() == 1))
    });
    read.collect()
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_and_indexes() {
    let (sqlite, postgres) = (Stage::sqlite().await, Stage::postgres().await);
    let on_sqlite = columns(
        &sqlite,
        "SELECT m.name, c.name, CASE lower(c.type) WHEN 'blob' THEN 'bytea' ELSE lower(c.type) END, c.\"notnull\" \
         FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
         AND m.name NOT LIKE 'sqlite%'",
    )
    .await;
    let on_postgres = columns(
        &postgres,
        "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT, CASE is_nullable WHEN 'NO' THEN 1::BIGINT ELSE 0 END \
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' \
         AND table_name <> 'migration_lock'",
    )
    .await;
    assert!(on_sqlite.len() > 100, "the columns were found");
    assert_eq!(on_sqlite, on_postgres);
    let allowed: BTreeSet<&str> = ["bigint", "text", "bytea", "boolean"].into();
    let odd: Vec<_> = on_sqlite.iter().filter(|(_, (kind, _))| !allowed.contains(kind.as_str())).collect();
    assert!(odd.is_empty(), "portable types only: {odd:?}");

    let names = |rows: &[server::store::Row]| -> BTreeSet<String> {
        rows.iter().map(|row| row.columns().text().unwrap().to_owned()).collect()
    };
    let sqlite_indexes =
        sqlite.rows("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").await;
    let postgres_indexes = postgres
        .rows("SELECT indexname::TEXT FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'")
        .await;
    assert_eq!(names(&sqlite_indexes), names(&postgres_indexes));
}

#[tokio::test]
async fn a_copy_of_a_running_database_is_that_database() {
    let stage = Stage::sqlite().await;
    let machine = stage.machines(1).await[0];
    crate::chain::sync(&stage.store, &[crate::chain::Chain::of(machine, 9).whole()]).await.unwrap();
    let copy = stage.folder().unwrap().join("copy.db");
    stage.store.copy_to(&copy).await.unwrap();
    crate::chain::sync(&stage.store, &[crate::chain::Chain::of(machine, 3).whole()]).await.unwrap();
    let error = stage.store.copy_to(&copy).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsuitable(_)), "a copy never overwrites: {error}");

    let restored =
        stage.neighbour(|options| options.target = server::store::Target::Sqlite(copy.clone())).await;
    restored.migrate().await.unwrap();
    assert_eq!(restored.incarnation().await.unwrap(), stage.store.incarnation().await.unwrap());
    let mut session = restored.read().await.unwrap();
    let records = session.one("SELECT COUNT(*) FROM records", &[]).await.unwrap().columns().int().unwrap();
    assert_eq!(records, 9);
}
