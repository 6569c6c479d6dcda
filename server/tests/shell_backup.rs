//! Copies of the embedded database, and a server that goes on from one.
#![allow(clippy::unwrap_used, missing_docs)]

use server::{
    config::Config,
    context::Context,
    data_dir::DataDir,
    serve::{backup, restore, start},
    store::{Store, StoreOptions, Target},
};
use std::path::Path;

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.data_dir = dir.join("data").to_str().unwrap().to_owned();
    config
}

async fn store(path: &Path) -> Store {
    Store::open(&StoreOptions::new(Target::Sqlite(path.to_owned())), Context::system()).await.unwrap()
}

async fn products(path: &Path) -> i64 {
    let store = store(path).await;
    let row = store.read().await.unwrap().one("SELECT COUNT(*) FROM products", &[]).await.unwrap();
    let count = row.columns().int().unwrap();
    store.close().await;
    count
}

#[tokio::test]
async fn a_copy_of_a_running_server_becomes_its_database_again_as_another_life() {
    let dir = tempfile::tempdir().unwrap();
    let (config, database) = (config(dir.path()), dir.path().join("data/vendfleet.db"));
    let copy = dir.path().join("copy.db");
    let running = start(config.clone(), Context::system()).await.unwrap();
    backup(&config, Context::system(), &copy).await.unwrap();
    backup(&config, Context::system(), &copy).await.expect_err("a copy never overwrites a file");
    restore(&config, Context::system(), Some(&copy)).await.expect_err("a server runs");
    assert!(running.stop().await);

    let live = store(&database).await;
    let before = live.incarnation().await.unwrap();
    live.run_tx("sell out", (), |tx, ()| {
        Box::pin(async move {
            tx.execute("DELETE FROM products", &[]).await?;
            Ok(server::store::End::Commit(()))
        })
    })
    .await
    .unwrap();
    live.close().await;

    let restored = restore(&config, Context::system(), Some(&copy)).await.unwrap();
    assert_ne!(restored.incarnation, before);
    let kept = restored.kept.unwrap();
    assert_eq!((products(&database).await, products(&kept).await), (8, 0));
    let running = start(config.clone(), Context::system()).await.unwrap();
    assert!(running.stop().await);
    let live = store(&database).await;
    assert_eq!(live.incarnation().await.unwrap(), restored.incarnation);
    live.close().await;
    assert!(copy.exists(), "the copy serves again");
}

#[tokio::test]
async fn what_is_no_copy_is_not_restored_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (config, database) = (config(dir.path()), dir.path().join("data/vendfleet.db"));
    backup(&config, Context::system(), &dir.path().join("c")).await.expect_err("there is no database yet");
    assert!(start(config.clone(), Context::system()).await.unwrap().stop().await);
    let before = std::fs::read(&database).unwrap();

    let (rubbish, empty, torn) =
        (dir.path().join("rubbish"), dir.path().join("empty"), dir.path().join("torn"));
    std::fs::write(&rubbish, vec![7; 8_192]).unwrap();
    std::fs::write(&empty, []).unwrap();
    std::fs::write(&torn, &before[..before.len() / 2]).unwrap();
    for bad in [&rubbish, &empty, &torn, &dir.path().join("missing")] {
        restore(&config, Context::system(), Some(bad)).await.expect_err("no copy");
        assert!(std::fs::read(&database).unwrap() == before, "{}", bad.display());
    }
    restore(&config, Context::system(), None).await.expect_err("a file must be named");
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join("data")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");
    DataDir::open(dir.path().join("data")).unwrap().lock().unwrap();
}
