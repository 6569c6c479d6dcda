//! `orchestrator_stress`: N callers at once, each doing StartWork and then ChooseProduct, N = 10 ... 5,000, over 128 warm TLS
//! connections with a token each, on the embedded default and on PostgreSQL with fsync on, with 5 virtual machines and with
//! 5,000; 10 products of 200 units, a delay of 100 ms per purchase, 30 s timeout. Beside them a bare tonic echo of the same
//! messages for the same crowds. After each round every unit is accounted for, and at the end every machine's sessions are
//! held against each other, both through the public API.
//!
//! ```text
//! cargo bench -p vendfleet-tests --bench orchestrator_stress              everything, three rounds
//! cargo bench -p vendfleet-tests --bench orchestrator_stress -- once postgres few
//! ```
//!
//! Words narrow it: engines (`sqlite`, `postgres`), pools (`few`: 5 machines, `many`: 5,000), `echo`, `once` for one round.
//! `n=5000`: only that crowd; `conns=256`: so many connections; `rounds=10`.
#![allow(clippy::disallowed_methods, reason = "measuring is what the clock is for here")]
#![allow(clippy::unwrap_used, reason = "a bench that can't go on says where and stops")]
#![allow(unreachable_pub, reason = "the modules are this bench's own")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod audit;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod deployment;
mod echo;
mod tally;
mod wire;

use audit::Audit;
use deployment::Deployment;
use server::store::Engine;
use std::collections::BTreeSet;
use tally::Tally;

const CROWDS: [usize; 4] = [10, 100, 1_000, 5_000];
const CONNECTIONS: usize = 128;
const ROUNDS: usize = 3;

const ENGINES: [(&str, Engine); 2] = [("sqlite", Engine::Sqlite), ("postgres", Engine::Postgres)];
const POOLS: [(&str, usize); 2] = [("few", 5), ("many", 5_000)];

struct Wish(BTreeSet<String>);

impl Wish {
    fn has(&self, group: &[&str], word: &str) -> bool {
        !group.iter().any(|one| self.0.contains(*one)) || self.0.contains(word)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }
}

fn main() {
    common::refuse_debug_build();
    let wish = Wish(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect());
    if wish.has(&["sqlite", "postgres"], "postgres") {
        common::postgres::ensure();
    }
    server::telemetry::init(&server::config::LogConfig::default()).unwrap();
    let runtime = |name: &str| {
        let mut builder = server::serve::runtime();
        builder.worker_threads(2).thread_name(name).build().unwrap()
    };
    let (clients, servers) = (runtime(common::cpu::CLIENT), runtime(common::cpu::SERVER));
    let rounds = wish.number("rounds").unwrap_or(if wish.0.contains("once") { 1 } else { ROUNDS });
    let connections = wish.number("conns").unwrap_or(CONNECTIONS);
    let crowds: Vec<usize> = match wish.number("n") {
        Some(n) => vec![n],
        None => CROWDS.to_vec(),
    };
    println!("{connections} connections, {rounds} rounds, {} ms per purchase", deployment::DELAY_MS);
    for (callers, tally) in echo::run(&clients, &servers, connections, &crowds, rounds) {
        tally.print("bare echo", callers);
    }
    for (engine_name, engine) in ENGINES {
        for (pool_name, machines) in POOLS {
            if !wish.has(&["sqlite", "postgres"], engine_name)
                || !wish.has(&["few", "many"], pool_name)
                || wish.0.contains("echo")
            {
                continue;
            }
            let deployment = Deployment::start(&servers, &clients, engine, connections);
            let what = format!("{engine_name}, {machines} machines");
            let found = clients.block_on(measure(&deployment, &what, machines, &crowds, rounds));
            println!("  {what}: {found}");
            deployment.stop(&servers);
        }
    }
}

async fn measure(
    deployment: &Deployment,
    what: &str,
    machines: usize,
    crowds: &[usize],
    rounds: usize,
) -> String {
    deployment.make_machines(machines).await;
    let mut audit = Audit::default();
    for callers in crowds {
        let mut tally = Tally::default();
        for _ in 0..rounds {
            let products = deployment.stock().await;
            deployment::settle(deployment).await;
            let visited = crowd::visit(&deployment.wires, *callers, &products).await;
            tally.add(&visited.calls, visited.spent);
            audit.round(deployment, &products, &visited).await;
        }
        tally.print(what, *callers);
    }
    audit.whole(deployment).await
}
