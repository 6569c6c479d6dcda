//! What every other test rests on does what it says.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use vendfleet_tests::{
    postgres::TestDatabase,
    server::{ServerOptions, TestServer},
    wait,
};

#[tokio::test]
async fn a_database_is_empty_its_own_and_gone_afterwards() {
    let (one, other) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    let mut rows = one.connect().await;
    rows.execute("CREATE TABLE mark (at BIGINT)").await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let there: i64 = sqlx::query_scalar(tables).fetch_one(&mut other.connect().await).await.unwrap();
    assert_eq!(there, 0, "a table of one database shows in the other");

    // Dropped although somebody is still connected to it.
    let url = one.url().to_owned();
    drop(one);
    PgConnection::connect(&url).await.unwrap_err();
    rows.execute("SELECT 1").await.unwrap_err();
}

#[tokio::test]
async fn waiting_ends_with_the_condition() {
    let mut looks = 0;
    let seen = wait::until("the third look", wait::PATIENCE, || {
        looks += 1;
        std::future::ready((looks == 3).then_some(looks))
    });
    assert_eq!(seen.await, 3);
}

#[tokio::test]
#[should_panic(expected = "waited 1ms for: a thing that never comes")]
async fn waiting_in_vain_names_what_did_not_come() {
    wait::until_true("a thing that never comes", Duration::from_millis(1), || std::future::ready(false))
        .await;
}

#[tokio::test]
async fn a_killed_server_starts_again_on_its_data_and_a_stopped_one_drains() {
    let mut server = TestServer::start(ServerOptions::embedded()).await;
    let ca = server.ca_pem();
    assert!(!server.token("operator", "harness").await.is_empty());

    server.kill();
    server.restart().await;
    assert_eq!(server.ca_pem(), ca, "a new CA would lock every machine out");
    assert!(server.stop().await.success());
}
