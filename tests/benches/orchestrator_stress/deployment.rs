//! A fresh server as `vendfleet serve` builds it, its machines, and what is known of it from outside.

use crate::common::home::{self, Home};
use crate::wire::{Wire, path};
use server::auth::{Person, Role, Scope};
use server::config::Config;
use server::context::Context;
use server::serve::Running;
use server::store::Engine;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use vendfleet_proto::v1;

/// What stands behind a choice: products of a round, and units of each.
pub const PRODUCTS: usize = 10;
pub const UNITS: i64 = 200;
/// How long a machine's job takes.
pub const DELAY_MS: u32 = 100;

/// Operators that set up and look: one may ask 200 times a second.
const OPERATORS: usize = 64;

/// The server, with connections to it.
pub struct Deployment {
    pub running: Running,
    /// Each with the token of a server that acts for customers.
    pub wires: Vec<Wire>,
    operators: Vec<Wire>,
    _data: TempDir,
    /// Dropped last.
    _home: Option<Home>,
}

impl Deployment {
    /// The default config; on PostgreSQL, with the database's URL.
    pub fn start(servers: &Runtime, clients: &Runtime, engine: Engine, connections: usize) -> Self {
        let data = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
        let home = (engine == Engine::Postgres).then(|| servers.block_on(Home::fresh(engine)));
        let mut config = Config::default();
        data.path().to_str().unwrap().clone_into(&mut config.server.data_dir);
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.http_listen = "127.0.0.1:0".parse().unwrap();
        config.server.sample_data = false;
        if let Some(home) = &home {
            home.url().clone_into(&mut config.database.url);
        }
        let running = servers.block_on(server::serve::start(config, Context::system())).unwrap();
        let ca_pem = std::fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap();
        let connect = async |role, count: usize| {
            let mut wires = Vec::new();
            for n in 0..count {
                let scopes = vec![Scope::OrdersOnBehalf];
                let person = Person { subject: format!("caller-{n}"), role, scopes };
                let token = running.tokens.issue(&person, 3_600).unwrap();
                wires.push(Wire::connect(running.grpc_address, &ca_pem, &token).await);
            }
            wires
        };
        let (wires, operators) = clients.block_on(async {
            (connect(Role::Service, connections).await, connect(Role::Operator, OPERATORS).await)
        });
        let deployment = Self { running, wires, operators, _data: data, _home: home };
        clients.block_on(deployment.warm());
        deployment
    }

    /// A call over each connection.
    async fn warm(&self) {
        for wire in &self.wires {
            let request = v1::ListProductsRequest::default();
            let list = path("/vendfleet.v1.CatalogService/ListProducts");
            wire.clone().ask(&list, &request).await.read::<v1::ListProductsResponse>().unwrap();
        }
    }

    /// Asks all of this as operators, several at a time; the answers in the order of the questions.
    async fn all<Q, A>(&self, method: &'static str, questions: Vec<Q>) -> Vec<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let count = questions.len();
        let mut lists: Vec<Vec<(usize, Q)>> = self.operators.iter().map(|_| Vec::new()).collect();
        for (n, question) in questions.into_iter().enumerate() {
            lists[n % OPERATORS].push((n, question));
        }
        let mut asking = JoinSet::new();
        for (wire, list) in self.operators.iter().zip(lists) {
            let mut wire = wire.clone();
            asking.spawn(async move {
                let (method, mut answers) = (path(method), Vec::new());
                for (n, question) in list {
                    answers.push((n, patiently::<A>(&mut wire, &method, &question).await));
                }
                answers
            });
        }
        let mut answers: Vec<Option<A>> = (0..count).map(|_| None).collect();
        for (n, answer) in asking.join_all().await.into_iter().flatten() {
            answers[n] = Some(answer);
        }
        answers.into_iter().flatten().collect()
    }

    pub async fn make_machines(&self, count: usize) {
        let request = |n| v1::CreateMachineRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            kind: v1::MachineKind::Virtual.into(),
            name: format!("machine {n}"),
            virtual_delay_ms: DELAY_MS,
            ..Default::default()
        };
        let requests = (0..count).map(request).collect();
        let made: Vec<v1::CreateMachineResponse> =
            self.all("/vendfleet.v1.FleetService/CreateMachine", requests).await;
        assert_eq!(made.len(), count);
    }

    /// Fresh products for a round.
    pub async fn stock(&self) -> Arc<[String]> {
        let request = |_| v1::CreateProductRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            sku: format!("bench-{:08x}", rand::random::<u32>()),
            name: "Product".to_owned(),
            price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 }),
            initial_stock: UNITS,
            ..Default::default()
        };
        let requests = (0..PRODUCTS).map(request).collect();
        let made: Vec<v1::CreateProductResponse> =
            self.all("/vendfleet.v1.CatalogService/CreateProduct", requests).await;
        made.into_iter().map(|made| made.product.unwrap().product_id).collect()
    }

    /// Units left of each product.
    pub async fn left(&self, products: &[String]) -> BTreeMap<String, i64> {
        let request = |id: &String| v1::GetProductRequest { product_id: id.clone() };
        let requests = products.iter().map(request).collect();
        let read: Vec<v1::GetProductResponse> =
            self.all("/vendfleet.v1.CatalogService/GetProduct", requests).await;
        read.into_iter().map(|read| read.product.unwrap()).map(|p| (p.product_id, p.stock)).collect()
    }

    /// Sessions as they are now.
    pub async fn sessions(&self, ids: &[String]) -> Vec<v1::MachineSession> {
        let request =
            |id: &String| v1::GetMachineSessionRequest { session_id: id.clone(), ..Default::default() };
        let requests = ids.iter().map(request).collect();
        let read: Vec<v1::GetMachineSessionResponse> =
            self.all("/vendfleet.v1.OrchestratorService/GetMachineSession", requests).await;
        read.into_iter().map(|read| read.session.unwrap()).collect()
    }

    /// Ends sessions that chose nothing, so that the next round finds its machines idle.
    pub async fn reset(&self, sessions: &[v1::MachineSession]) {
        let held = sessions.iter().filter(|s| s.state() == v1::SessionState::ChooseProduct);
        let request = |session: &v1::MachineSession| v1::ResetMachineRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            machine_id: session.machine_id.clone(),
            session_id: session.session_id.clone(),
            note: String::new(),
        };
        let requests = held.map(request).collect();
        let _: Vec<v1::ResetMachineResponse> =
            self.all("/vendfleet.v1.OrchestratorService/ResetMachine", requests).await;
    }

    /// Every machine.
    pub async fn machines(&self) -> Vec<v1::Machine> {
        let mut machines = Vec::new();
        let mut request = v1::ListMachinesRequest { page_size: 500, ..Default::default() };
        loop {
            let mut pages: Vec<v1::ListMachinesResponse> =
                self.all("/vendfleet.v1.FleetService/ListMachines", vec![request.clone()]).await;
            let page = pages.remove(0);
            machines.extend(page.machines);
            if page.next_page_token.is_empty() {
                return machines;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Stops the server; then its database goes.
    pub fn stop(self, servers: &Runtime) {
        let Self { running, _data, _home, .. } = self;
        servers.block_on(running.stop());
        servers.block_on(async move { drop(_home) });
    }
}

/// Looking and setting up may wait for their turn.
async fn patiently<A: prost::Message + Default>(
    wire: &mut Wire,
    method: &http::Uri,
    question: &impl prost::Message,
) -> A {
    loop {
        match wire.ask(method, question).await.read::<A>() {
            Ok(answer) => return answer,
            Err(reason) if matches!(reason.as_str(), "RATE_LIMITED" | "LOCK_CONFLICT") => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(reason) => panic!("{method}: {reason}"),
        }
    }
}

/// An SQLite file's directory goes with the deployment; PostgreSQL is settled before it is measured.
pub async fn settle(deployment: &Deployment) {
    if let Some(home) = &deployment._home {
        home::settle(home).await;
    }
}
