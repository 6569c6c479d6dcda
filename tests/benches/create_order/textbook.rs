//! The transaction every textbook writes, under pgbench, on the same PostgreSQL.

use crate::CALLERS;
use crate::client::Load;
use crate::common::cpu::Cpu;
use crate::figures::Figures;
use sqlx::Executor as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vendfleet_tests::postgres::TestDatabase;

const SCHEMA: &str = "
    CREATE TABLE products (product_id BIGINT PRIMARY KEY, name TEXT NOT NULL, price_minor BIGINT NOT NULL,
        stock BIGINT NOT NULL CHECK (stock >= 0));
    CREATE TABLE orders (order_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id BIGINT NOT NULL,
        total_minor BIGINT NOT NULL, status TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now());
    CREATE TABLE order_lines (order_id BIGINT NOT NULL REFERENCES orders, product_id BIGINT NOT NULL REFERENCES products,
        quantity BIGINT NOT NULL, unit_price_minor BIGINT NOT NULL, PRIMARY KEY (order_id, product_id));
    INSERT INTO products SELECT n, 'Product ' || n, 150, 1000000000 FROM generate_series(1, 100) n;
";

fn script(products: usize) -> String {
    format!(
        "\\set product random(1, {products})\n\
         BEGIN;\n\
         SELECT price_minor, stock FROM products WHERE product_id = :product FOR UPDATE;\n\
         UPDATE products SET stock = stock - 1 WHERE product_id = :product;\n\
         INSERT INTO orders (customer_id, total_minor, status) VALUES (:client_id, 150, 'PENDING') RETURNING order_id \\gset\n\
         INSERT INTO order_lines VALUES (:order_id, :product, 1, 150);\n\
         COMMIT;\n"
    )
}

/// Transactions per second with as many clients as there are callers.
pub async fn run(products: usize, load: &Load) -> Figures {
    let database = TestDatabase::create().await;
    let mut connection = database.connect().await;
    connection.execute(SCHEMA).await.unwrap();
    connection.execute("VACUUM ANALYZE").await.unwrap();
    connection.execute("CHECKPOINT").await.unwrap();
    let folder = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let file = folder.path().join("textbook.sql");
    fs::write(&file, script(products)).unwrap();
    drop(pgbench(&database, &file, folder.path(), load.warm_up.as_secs(), None).await);
    let before = Cpu::now();
    let log = folder.path().join("log");
    let said = pgbench(&database, &file, folder.path(), load.measured.as_secs(), Some(&log)).await;
    let after = Cpu::now();
    let latencies = latencies(folder.path());
    let note = after.per_call(before, latencies.len());
    let mut figures = Figures::of(latencies, load.measured, note);
    // Its own count leaves out the time it took to connect.
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    figures.per_s = tps.unwrap_or_else(|| panic!("pgbench said: {said}"));
    figures
}

async fn pgbench(
    database: &TestDatabase,
    script: &Path,
    folder: &Path,
    seconds: u64,
    log: Option<&Path>,
) -> String {
    let (clients, seconds) = (CALLERS.to_string(), seconds.max(1).to_string());
    let mut command = Command::new(program());
    command.args([
        "--no-vacuum",
        "--protocol=prepared",
        "--jobs=2",
        "--client",
        &clients,
        "--time",
        &seconds,
    ]);
    if let Some(prefix) = log {
        command.arg("--log").arg("--log-prefix").arg(prefix);
    }
    command.arg("--file").arg(script).arg(database.url()).current_dir(folder);
    command.stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "pgbench: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// The third field of each line of its logs, µs.
fn latencies(folder: &Path) -> Vec<f64> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("log.") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let field = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
            latencies.extend(text.lines().filter_map(field).map(|us| us / 1e3));
        }
    }
    latencies
}

fn program() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path().join("bin/pgbench")).filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| PathBuf::from("pgbench"))
}
