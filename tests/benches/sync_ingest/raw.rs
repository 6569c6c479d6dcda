//! The raw limit: what the engine takes of the very rows that the Syncs leave, with nothing checked and no wire before.

use crate::common::home::{self, Home};
use crate::load::{Machine, Sync};
use crate::raw_postgres::{Group, Way};
use crate::stage;
use crate::{Shape, committer, rate, raw_postgres, raw_sqlite};
use server::auth::SecretKey;
use server::store::Engine;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Packed totals of an epoch's row, by size.
pub const EXPECTED: [u8; 137] = {
    let mut packed = [0; 137];
    packed[0] = 1;
    packed
};

/// Positions of the event log. The opening Syncs took one each.
#[derive(Default)]
pub struct Head(i64);

impl Head {
    pub fn from(position: usize) -> Self {
        Self(i64::try_from(position).unwrap())
    }

    pub fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

/// The event of a Sync.
pub struct NewEvent {
    pub id: [u8; 16],
    pub trace_id: String,
}

impl NewEvent {
    pub fn of(sync: &Sync) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&sync.last().hash[..16]);
        Self { id, trace_id: "0123456789abcdef0123456789abcdef".to_owned() }
    }
}

/// One way to write the rows.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Syncs in one commit.
    pub syncs_per_commit: usize,
    /// Connections; 1 on SQLite.
    pub lanes: usize,
    /// How records get in, on PostgreSQL.
    pub way: Way,
}

impl Method {
    /// Those worth trying: the server's own group size and a larger one.
    pub fn all(engine: Engine) -> Vec<Self> {
        let groups = [128, 512];
        match engine {
            Engine::Sqlite => groups
                .into_iter()
                .map(|syncs_per_commit| Self { syncs_per_commit, lanes: 1, way: Way::Unnest })
                .collect(),
            Engine::Postgres => {
                let mut all = Vec::new();
                for syncs_per_commit in groups {
                    for lanes in [2, server::serve::POSTGRES_LANES] {
                        for way in [Way::Copy, Way::Unnest] {
                            all.push(Self { syncs_per_commit, lanes, way });
                        }
                    }
                }
                all
            }
        }
    }

    pub fn name(&self, engine: Engine) -> String {
        match engine {
            Engine::Sqlite => format!("rusqlite, {} Syncs per commit", self.syncs_per_commit),
            Engine::Postgres => {
                format!(
                    "{:?}, {} connections, {} Syncs per commit",
                    self.way, self.lanes, self.syncs_per_commit
                )
            }
        }
    }
}

/// Records per second.
pub fn run(runtime: &Runtime, engine: Engine, fleet: &[Machine], shape: &Shape, method: &Method) -> f64 {
    let home = runtime.block_on(Home::fresh(engine));
    let store = runtime.block_on(async {
        let store = home::open(home.target()).await;
        stage::add_machines(&store, fleet, &SecretKey::new([7; 32])).await;
        committer::open_epochs(&committer::start(&store), fleet).await;
        home::settle(&home).await;
        store
    });
    let before = runtime.block_on(stage::count_records(&store));
    let took = match engine {
        Engine::Sqlite => {
            let order: Vec<(&Machine, &Sync)> = rounds(fleet, 0, 1);
            let began = Instant::now();
            raw_sqlite::run(&home.file(), &order, fleet.len(), method.syncs_per_commit);
            began.elapsed()
        }
        Engine::Postgres => {
            let lanes: Vec<Vec<Group>> = (0..method.lanes)
                .map(|lane| {
                    let order = rounds(fleet, lane, method.lanes);
                    order.chunks(method.syncs_per_commit).map(Group::of).collect()
                })
                .collect();
            let began = Instant::now();
            runtime.block_on(raw_postgres::run(home.url(), lanes, method.way));
            began.elapsed()
        }
    };
    assert_eq!(
        runtime.block_on(stage::count_records(&store)) - before,
        i64::try_from(shape.total_records()).unwrap()
    );
    runtime.block_on(store.close());
    rate(shape.total_records(), took)
}

/// Every machine's first Sync, then every machine's second: the order in which a fleet sends them. A lane has every
/// so-many-th machine.
fn rounds(fleet: &[Machine], lane: usize, lanes: usize) -> Vec<(&Machine, &Sync)> {
    let syncs = fleet[0].syncs.len();
    (1..syncs)
        .flat_map(|at| {
            fleet.iter().skip(lane).step_by(lanes).map(move |machine| (machine, &machine.syncs[at]))
        })
        .collect()
}
