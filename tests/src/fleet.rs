//! A fleet of one's own: a real server as a child process, a wire to it, machines with real journals, and an operator.
//!
//! * [`Fleet`] starts it on either [`Engine`] and makes machines ([`crate::device::Device`]).
//! * [`operator`] is a person with a token, over the public API.
//! * [`rows`] looks at the database, and changes it behind the server's back where a test is about that.

pub mod operator;
pub mod rows;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fleet_client::{
    agent::{backoff::Bounds, plan::Limits},
    credentials::Endpoint,
    hardware::sim::Behaviour,
    simulate::{Blueprint, SimMachine},
};
use tempfile::TempDir;

use crate::{
    device::Device,
    link::Link,
    postgres::TestDatabase,
    server::{ServerOptions, TestServer},
};
use operator::Operator;
use rows::Rows;

/// The group that every machine of a fleet is in, and that configs are published to.
pub const GROUP: &str = "street";

/// An hour, in milliseconds: a pause that no test lives through, so that machines sync when told to.
const NEVER_MS: u64 = 3_600_000;

/// What the server stores in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded.
    Sqlite,
    /// The one that `./tests/run` starts.
    Postgres,
}

/// A server, its operator, and the place where its machines stand. Everything ends with this value.
pub struct Fleet {
    /// The server.
    pub server: TestServer,
    /// The wire between machines and server. Its address stays while the server comes and goes.
    pub link: Link,
    /// What the server stores in.
    pub engine: Engine,
    database: Option<TestDatabase>,
    token: String,
    dir: TempDir,
    seeds: AtomicU64,
}

impl Fleet {
    /// Starts a server with nothing in it but the prices [`operator::FIRST_PRICES`] for [`GROUP`].
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |options| options).await
    }

    /// Starts one with other settings.
    pub async fn start_with(engine: Engine, set: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(TestDatabase::create().await),
        };
        let options = database.as_ref().map_or_else(ServerOptions::embedded, ServerOptions::postgres);
        let options = options.set("server.sample_data", false).set("sync.base_interval_ms", NEVER_MS);
        let server = TestServer::start(set(options)).await;
        let link = Link::to(server.grpc_addr()).await;
        let token = server.token("operator", "tests").await;
        let dir = tempfile::Builder::new().prefix("vendfleet-fleet-").tempdir().unwrap();
        let fleet = Self { server, link, engine, database, token, dir, seeds: AtomicU64::new(1) };
        fleet.operator().publish_prices(&operator::FIRST_PRICES).await;
        fleet
    }

    /// A person with a token. Made anew after the server has: its address is another one then.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.server.channel_as(&self.token))
    }

    /// The operator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The PostgreSQL database, where there is one.
    pub fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(TestDatabase::url)
    }

    /// The database.
    pub async fn rows(&self) -> Rows {
        match &self.database {
            Some(database) => Rows::postgres(database.url()).await,
            None => Rows::sqlite(&self.server.data_dir().join("vendfleet.db")).await,
        }
    }

    /// SIGKILL, and a start on the same data.
    pub async fn kill_and_restart(&mut self) {
        self.server.kill();
        self.restart().await;
    }

    /// Starts the server again after a kill or a stop; the wire leads to it.
    pub async fn restart(&mut self) {
        self.server.restart().await;
        self.link.lead_to(self.server.grpc_addr());
    }

    /// A machine, enrolled, on, with the first prices and full slots, and all of it synced.
    pub async fn device(&self, name: &str) -> Device {
        let mut device = self.enrolled(name).await;
        device.power_on().await;
        device.ready_to_sell().await;
        device
    }

    /// A machine that is enrolled and off.
    pub async fn enrolled(&self, name: &str) -> Device {
        let device = self.unboxed(name, self.blueprint());
        device.enrol(&self.operator().claim_token(name).await).await;
        device
    }

    /// A machine that nobody has switched on yet.
    pub fn unboxed(&self, name: &str, blueprint: Blueprint) -> Device {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Device::new(SimMachine::new(name, &self.place(name), seed, Arc::new(blueprint)))
    }

    /// A second device with a copy of everything that this one has; it is off.
    pub async fn clone_of(&self, device: &mut Device, name: &str) -> Device {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Device::new(device.machine.clone_into(name, &self.place(name), seed).await.unwrap())
    }

    /// Where a machine of that name keeps its files.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What this fleet's machines share: perfect mechanics, and an agent that syncs at boot, when told to, when the server
    /// hints, and again at once while there is more to say; never because time has passed.
    pub fn blueprint(&self) -> Blueprint {
        Blueprint {
            endpoint: Some(self.endpoint()),
            behaviour: Behaviour::default(),
            limits: Limits {
                settle_ms: NEVER_MS,
                shortest_wait_ms: NEVER_MS,
                backoff: Bounds { base_ms: 50, cap_ms: 400 },
                ..Limits::default()
            },
            ..Blueprint::default()
        }
    }

    /// The server, as machines know it: through the wire.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: format!("https://{}", self.link.addr()),
            ca_pem: self.server.ca_pem(),
            server_name: Some("localhost".to_owned()),
        }
    }
}

/// Copies a directory with all that is in it over another, which is emptied first.
pub fn copy_over(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_over(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
