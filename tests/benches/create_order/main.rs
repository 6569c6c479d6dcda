//! `create_order`: orders of one unit per second and their latency, at 50 callers over TLS with a token each, spread over
//! 100 products and all on one, on both engines; beside them, in the same run on the same PostgreSQL, the textbook
//! transaction (SELECT ... FOR UPDATE, UPDATE stock, INSERT order, INSERT line, COMMIT) under pgbench, and a bare tonic echo
//! of the same messages.
//!
//! ```text
//! cargo bench -p vendfleet-tests --bench create_order                 everything, three rounds
//! cargo bench -p vendfleet-tests --bench create_order -- once postgres spread
//! ```
//!
//! Words narrow it: engines (`sqlite`, `postgres`), loads (`spread`, `hot`), parts (`ours`: worker off; `worker`: worker on;
//! `pgbench`; `echo`; `tokens`: what checking a token costs), `once` for one short round instead of three. `conns=50`: so
//! many connections instead of eight; `secs=20`: length of a measurement.
#![allow(clippy::disallowed_methods, reason = "measuring is what the clock is for here")]
#![allow(clippy::unwrap_used, reason = "a bench that can't go on says where and stops")]
#![allow(unreachable_pub, reason = "the modules are this bench's own")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod figures;
mod ours;
mod textbook;
mod tokens;

use client::Load;
use common::{Report, median};
use figures::Figures;
use server::store::Engine;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::runtime::Runtime;

/// As in the `vendfleet` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections that the callers share, as the customers of a few services do.
const CONNECTIONS: usize = 8;
/// Calls in flight at any moment.
pub const CALLERS: usize = 50;
/// Products of the spread load.
pub const PRODUCTS: usize = 100;
const ROUNDS: usize = 3;

const ENGINES: [&str; 2] = ["sqlite", "postgres"];
const LOADS: [(&str, usize); 2] = [("spread", PRODUCTS), ("hot", 1)];
const PARTS: [&str; 5] = ["ours", "worker", "pgbench", "echo", "tokens"];

struct Wish(BTreeSet<String>);

impl Wish {
    fn has(&self, group: &[&str], word: &str) -> bool {
        !group.iter().any(|one| self.0.contains(*one)) || self.0.contains(word)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }
}

/// Rounds of one kind of measurement.
#[derive(Default)]
struct Series(BTreeMap<String, Vec<Figures>>);

impl Series {
    fn add(&mut self, name: &str, figures: Figures) {
        println!("  {name:<24} {figures}");
        self.0.entry(name.to_owned()).or_default().push(figures);
    }

    fn rate(&self, name: &str) -> Option<f64> {
        self.of(name, |figures| figures.per_s)
    }

    fn of(&self, name: &str, what: impl Fn(&Figures) -> f64) -> Option<f64> {
        Some(median(self.0.get(name)?.iter().map(what).collect()))
    }
}

fn main() {
    common::refuse_debug_build();
    let wish = Wish(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect());
    if wish.has(&ENGINES, "postgres") {
        common::postgres::ensure();
    }
    // As the server logs by default, without what a short life says most: a span per call is part of its price.
    let filter = "info,server::health=warn,sqlx::postgres::notice=warn".to_owned();
    server::telemetry::init(&server::config::LogConfig { filter, ..Default::default() }).unwrap();
    let runtime = |name: &str| {
        let mut builder = server::serve::runtime();
        builder.worker_threads(2).thread_name(name).build().unwrap()
    };
    let (clients, servers) = (runtime(common::cpu::CLIENT), runtime(common::cpu::SERVER));
    let once = wish.0.contains("once");
    let secs = wish.number("secs").unwrap_or(if once { 5 } else { 10 });
    let load = Load {
        connections: wish.number("conns").map_or(CONNECTIONS, |n| usize::try_from(n).unwrap()),
        warm_up: Duration::from_secs(if once { 1 } else { 2 }),
        measured: Duration::from_secs(secs),
    };
    if wish.has(&PARTS, "tokens") {
        tokens::measure();
    }
    let mut series = Series::default();
    for round in 1..=if once { 1 } else { ROUNDS } {
        println!("\nround {round}: {CALLERS} callers, {} connections, {secs} s each", load.connections);
        run_round(&wish, &clients, &servers, &load, &mut series);
    }
    summarise(&series);
}

fn run_round(wish: &Wish, clients: &Runtime, servers: &Runtime, load: &Load, series: &mut Series) {
    if wish.has(&PARTS, "echo") {
        series.add("bare echo", echo::run(clients, servers, load));
    }
    for (name, products) in LOADS {
        if wish.has(&["spread", "hot"], name) && wish.has(&PARTS, "pgbench") && wish.has(&ENGINES, "postgres")
        {
            series.add(&format!("pgbench {name}"), servers.block_on(textbook::run(products, load)));
        }
    }
    for (engine, engine_name) in [Engine::Sqlite, Engine::Postgres].into_iter().zip(ENGINES) {
        for (name, products) in LOADS {
            if !wish.has(&ENGINES, engine_name) || !wish.has(&["spread", "hot"], name) {
                continue;
            }
            if wish.has(&PARTS, "ours") {
                let figures = ours::run(clients, servers, engine, products, load, false);
                series.add(&format!("{engine_name} {name}"), figures);
            }
            if wish.has(&PARTS, "worker") {
                let figures = ours::run(clients, servers, engine, products, load, true);
                series.add(&format!("{engine_name} {name} worker"), figures);
            }
        }
    }
}

fn summarise(series: &Series) {
    println!("\nmedians");
    for (name, rounds) in &series.0 {
        let of = |what: fn(&Figures) -> f64| series.of(name, what).unwrap();
        Report::of("create_order")
            .with("what", name.as_str())
            .with("rounds", rounds.len())
            .number("per_s", of(|f| f.per_s))
            .number("p50_ms", of(|f| f.p50_ms))
            .number("p90_ms", of(|f| f.p90_ms))
            .number("p99_ms", of(|f| f.p99_ms))
            .number("p99_9_ms", of(|f| f.p99_9_ms))
            .number("max_ms", of(|f| f.max_ms))
            .print();
    }
    let ratio = |words: &str, above: &str, below: &str, aim: &str| {
        if let (Some(above), Some(below)) = (series.rate(above), series.rate(below)) {
            println!("  {words:<44} {:>6.2}  {aim}", above / below);
        }
    };
    ratio("PostgreSQL spread / pgbench spread", "postgres spread", "pgbench spread", "(aim >= 2)");
    ratio("PostgreSQL hot / pgbench hot", "postgres hot", "pgbench hot", "");
    for engine in ENGINES {
        let (hot, spread) = (format!("{engine} hot"), format!("{engine} spread"));
        ratio(&format!("{engine}: hot / its own spread"), &hot, &spread, "(aim >= 0.8)");
        ratio(&format!("{engine}: spread / bare echo"), &spread, "bare echo", "");
        for load in [hot, spread] {
            if let Some(p99) = series.of(&load, |figures| figures.p99_ms) {
                println!("  {:<44} {p99:>6.1}  (aim < 15)", format!("{load}: p99, ms"));
            }
        }
    }
}
