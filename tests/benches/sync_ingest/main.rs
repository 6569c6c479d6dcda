//! `sync_ingest`: records per second from machines into the database, each check made, each row written, against the raw
//! limit of the same engine in the same run; and Syncs of one record per second against a bare echo of the same messages.
//!
//! ```text
//! cargo bench -p vendfleet-tests --bench sync_ingest                 everything
//! cargo bench -p vendfleet-tests --bench sync_ingest -- sqlite 100 committer raw
//! ```
//!
//! Words narrow it: engines (`sqlite`, `postgres`), records per Sync (`1`, `10`, `100`), parts (`committer`: the commit path
//! with no wire; `wire`: all of it; `raw`; `echo`), `once` for one round instead of three.
#![allow(clippy::disallowed_methods, reason = "measuring is what the clock is for here")]
#![allow(clippy::unwrap_used, reason = "a bench that can't go on says where and stops")]
#![allow(unreachable_pub, reason = "the modules are this bench's own")]

mod committer;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod load;
mod raw;
mod raw_postgres;
mod raw_sqlite;
mod stage;
mod wire;

use common::{Report, median};
use raw::Method;
use server::store::Engine;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::runtime::Runtime;

const MACHINES: usize = 800;
const ROUNDS: usize = 3;

/// One load.
pub struct Shape {
    records_per_sync: usize,
    syncs_per_machine: usize,
}

impl Shape {
    /// So much that a part takes seconds, not minutes.
    fn of(records_per_sync: usize) -> Self {
        let syncs_per_machine = match records_per_sync {
            1 => 40,
            10 => 16,
            _ => 4,
        };
        Self { records_per_sync, syncs_per_machine }
    }

    fn total_syncs(&self) -> usize {
        MACHINES * self.syncs_per_machine
    }

    fn total_records(&self) -> usize {
        self.total_syncs() * self.records_per_sync
    }
}

/// So many in a second.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

struct Wish(BTreeSet<String>);

impl Wish {
    fn has(&self, group: &[&str], word: &str) -> bool {
        !group.iter().any(|one| self.0.contains(*one)) || self.0.contains(word)
    }
}

const ENGINES: [&str; 2] = ["sqlite", "postgres"];
const SIZES: [&str; 3] = ["1", "10", "100"];
const PARTS: [&str; 4] = ["committer", "wire", "raw", "echo"];

fn main() {
    common::refuse_debug_build();
    let wish = Wish(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect());
    if wish.has(&ENGINES, "postgres") {
        common::postgres::ensure();
    }
    let runtime = || server::serve::runtime().worker_threads(2).build().unwrap();
    let (clients, servers) = (runtime(), runtime());
    let rounds = if wish.0.contains("once") { 1 } else { ROUNDS };
    for records in [1, 10, 100] {
        if !wish.has(&SIZES, &records.to_string()) {
            continue;
        }
        let shape = Shape::of(records);
        println!(
            "\n{records} records per Sync: {MACHINES} machines, {} Syncs, {} records, {rounds} rounds",
            shape.total_syncs(),
            shape.total_records()
        );
        let (mut echoes, mut cpu) = (Vec::new(), Vec::new());
        if records == 1 && wish.has(&PARTS, "echo") {
            for _ in 0..rounds {
                let fleet = load::fleet(MACHINES, shape.syncs_per_machine, records);
                let (calls_per_s, cpu_us) = wire::run_echo(&clients, &servers, &fleet, &shape);
                echoes.push(calls_per_s);
                cpu.push(cpu_us);
            }
            println!(
                "  bare echo               {:>10.0} calls/s  ({:.0} µs of processor time each)",
                median(echoes.clone()),
                median(cpu)
            );
        }
        for (engine, name) in [Engine::Sqlite, Engine::Postgres].into_iter().zip(ENGINES) {
            if wish.has(&ENGINES, name) {
                measure(&clients, &servers, engine, &shape, &wish, rounds, &echoes);
            }
        }
    }
}

fn measure(
    clients: &Runtime,
    servers: &Runtime,
    engine: Engine,
    shape: &Shape,
    wish: &Wish,
    rounds: usize,
    echoes: &[f64],
) {
    let (mut ours, mut commits, mut raws) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut batches) = (Vec::new(), Vec::new());
    let mut best = None;
    for round in 0..rounds {
        let fleet = load::fleet(MACHINES, shape.syncs_per_machine, shape.records_per_sync);
        if wish.has(&PARTS, "wire") {
            let measured = wire::run(clients, servers, engine, &fleet, shape);
            ours.push(measured.records_per_s);
            cpu.push(measured.cpu_us_per_sync);
            batches.push(measured.syncs_per_commit);
        }
        if wish.has(&PARTS, "committer") {
            commits.push(servers.block_on(committer::run(engine, &fleet, shape)));
        }
        if wish.has(&PARTS, "raw") {
            // The first round finds the fastest method, the others repeat it.
            let methods = if round == 0 { Method::all(engine) } else { best.into_iter().collect() };
            let tried = methods.into_iter().map(|m| (raw::run(servers, engine, &fleet, shape, &m), m));
            let fastest = tried.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            best = Some(fastest.1);
            raws.push(fastest.0);
        }
    }
    let mut report = Report::of("sync_ingest")
        .with("engine", engine.name())
        .with("records_per_sync", shape.records_per_sync)
        .with("machines", MACHINES);
    println!("  {}", engine.name());
    let raw = (!raws.is_empty()).then(|| median(raws));
    if let (Some(raw), Some(best)) = (raw, best) {
        let method = best.name(engine);
        println!("    raw                   {raw:>10.0} records/s  ({method})");
        report = report.number("raw_records_per_s", raw).with("raw_method", method);
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 100")]
    let per_sync = shape.records_per_sync as f64;
    for (name, key, values) in
        [("commit path, no wire", "commit_path", commits), ("ours, over TLS", "ours", ours)]
    {
        if values.is_empty() {
            continue;
        }
        let value = median(values);
        println!("    {name:<21} {value:>10.0} records/s  {:>8.0} Syncs/s", value / per_sync);
        report = report.number(&format!("{key}_records_per_s"), value);
        if let Some(raw) = raw {
            println!("      of raw              {:>10.2}", value / raw);
            report = report.number(&format!("{key}_of_raw"), value / raw);
        }
        if key == "ours" && !echoes.is_empty() {
            let echo = median(echoes.to_vec());
            println!("      of the bare echo    {:>10.2}", value / per_sync / echo);
            report = report.number("echo_calls_per_s", echo).number("ours_of_echo", value / per_sync / echo);
        }
    }
    if !cpu.is_empty() {
        let (cpu, batch) = (median(cpu), median(batches));
        println!("      {cpu:.0} µs of processor time per Sync in this process, {batch:.0} Syncs per commit");
        report = report.number("cpu_us_per_sync", cpu).number("syncs_per_commit", batch);
    }
    report.print();
}
