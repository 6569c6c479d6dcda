//! A person with an operator's token: what tests ask of the fleet and of the catalogue, over the public API.

use tonic::Status;
use uuid::Uuid;
use vendfleet_proto::v1::{
    self, catalog_service_client::CatalogServiceClient, fleet_service_client::FleetServiceClient,
};

use super::GROUP;
use crate::client::AuthorizedChannel;

/// Prices of slots 1, 2, ... until somebody publishes others, minor units.
pub const FIRST_PRICES: [i64; 3] = [120, 150, 200];

/// Coins a machine takes, and has tubes for.
const COINS: [i64; 5] = [10, 20, 50, 100, 200];
/// Units in a full slot; the par level too.
const SLOT_UNITS: u32 = 500;
const PAGE_SIZE: i32 = 200;
/// Most pages of one list: far above what a test makes.
const MAX_PAGES: usize = 100;
const CLAIM_TTL_MS: i64 = 3_600_000;

/// The calls.
#[derive(Debug, Clone)]
pub struct Operator {
    /// For what has no word of its own here.
    pub fleet: FleetServiceClient<AuthorizedChannel>,
    /// Likewise.
    pub catalog: CatalogServiceClient<AuthorizedChannel>,
}

/// All pages of a list.
macro_rules! pages {
    ($client:expr, $call:ident, $request:expr, $field:ident) => {{
        let mut request = $request;
        request.page_size = PAGE_SIZE;
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = $client.$call(request.clone()).await.unwrap().into_inner();
            all.extend(page.$field);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        all
    }};
}

impl Operator {
    /// Speaks through this channel.
    pub fn new(channel: &AuthorizedChannel) -> Self {
        Self {
            fleet: FleetServiceClient::new(channel.clone()),
            catalog: CatalogServiceClient::new(channel.clone()),
        }
    }

    /// Publishes a config with these prices, slot by slot, to the whole group; gives its id.
    pub async fn publish_prices(&mut self, prices: &[i64]) -> String {
        let config = self.create_config(self.config(prices).await).await.unwrap();
        self.assign(&config).await;
        config
    }

    /// A config with these prices, not published; its products are made where they are missing.
    pub async fn config(&self, prices: &[i64]) -> v1::MachineConfig {
        let mut catalog = self.catalog.clone();
        let known = pages!(
            catalog,
            list_products,
            v1::ListProductsRequest { page_size: PAGE_SIZE, ..Default::default() },
            products
        );
        let (mut products, mut slots) = (Vec::new(), Vec::new());
        for (&price_minor, slot) in prices.iter().zip(1..) {
            let sku = format!("SLOT-{slot}");
            let product_id = match known.iter().find(|product| product.sku == sku) {
                Some(product) => product.product_id.clone(),
                None => {
                    let request = v1::CreateProductRequest {
                        request_id: request_id(),
                        name: format!("Product {slot}"),
                        sku,
                        price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: price_minor }),
                        ..Default::default()
                    };
                    let made = catalog.create_product(request).await.unwrap().into_inner();
                    made.product.unwrap().product_id
                }
            };
            products
                .push(v1::ConfigProduct { product_id: product_id.clone(), name: format!("Product {slot}") });
            slots.push(v1::ConfigSlot {
                slot,
                product_id,
                price_minor,
                capacity: SLOT_UNITS,
                par_level: SLOT_UNITS,
            });
        }
        v1::MachineConfig {
            currency_code: "EUR".to_owned(),
            products,
            slots,
            cash: Some(v1::CashConfig {
                accepted_minor: COINS.to_vec(),
                tubes: COINS
                    .map(|denomination_minor| v1::CoinTube { denomination_minor, capacity: 400 })
                    .to_vec(),
                max_credit_minor: 1_000,
            }),
            offline_cashless: Some(v1::OfflineCashlessBudget {
                per_sale_minor: 500,
                total_minor: 20_000,
                count: 200,
                age_ms: 86_400_000,
            }),
            unknown_policy: v1::UnknownPolicy::Refund.into(),
            ..Default::default()
        }
    }

    /// Makes a config; gives its id.
    pub async fn create_config(&mut self, config: v1::MachineConfig) -> Result<String, Status> {
        let request = v1::CreateConfigRequest {
            request_id: request_id(),
            name: "a price list".to_owned(),
            config: Some(config),
            ..Default::default()
        };
        Ok(self.fleet.create_config(request).await?.into_inner().config.unwrap().config_id)
    }

    /// Makes a config the desired one of the whole group.
    pub async fn assign(&mut self, config_id: &str) {
        let request = v1::AssignConfigRequest {
            request_id: request_id(),
            config_id: config_id.to_owned(),
            group: GROUP.to_owned(),
            ..Default::default()
        };
        self.fleet.assign_config(request).await.unwrap();
    }

    /// A claim token for a new machine.
    pub async fn claim_token(&mut self, name: &str) -> String {
        self.claim(v1::CreateClaimTokenRequest {
            name: name.to_owned(),
            group: GROUP.to_owned(),
            ..Default::default()
        })
        .await
    }

    /// A claim token for another board of a machine there is.
    pub async fn swap_token(&mut self, machine_id: &str) -> String {
        self.claim(v1::CreateClaimTokenRequest { machine_id: machine_id.to_owned(), ..Default::default() })
            .await
    }

    /// Any claim token.
    pub async fn claim(&mut self, request: v1::CreateClaimTokenRequest) -> String {
        let request =
            v1::CreateClaimTokenRequest { request_id: request_id(), ttl_ms: CLAIM_TTL_MS, ..request };
        self.fleet.create_claim_token(request).await.unwrap().into_inner().claim_token
    }

    /// A machine that is a job on the server; gives its id.
    pub async fn virtual_machine(&mut self, name: &str) -> String {
        let request = v1::CreateMachineRequest {
            request_id: request_id(),
            kind: v1::MachineKind::Virtual.into(),
            name: name.to_owned(),
            ..Default::default()
        };
        self.fleet.create_machine(request).await.unwrap().into_inner().machine.unwrap().machine_id
    }

    /// What orders a machine something, with a name of its own; `ttl_ms` 0: as long as the server says.
    pub fn command_request(
        machine_id: &str,
        what: v1::send_command_request::Command,
        ttl_ms: i64,
    ) -> v1::SendCommandRequest {
        let (request_id, machine_id) = (request_id(), machine_id.to_owned());
        v1::SendCommandRequest { request_id, machine_id, command: Some(what), ttl_ms }
    }

    /// Orders a machine something.
    pub async fn send_command(
        &mut self,
        machine_id: &str,
        what: v1::send_command_request::Command,
        ttl_ms: i64,
    ) -> Result<v1::Command, Status> {
        let request = Self::command_request(machine_id, what, ttl_ms);
        Ok(self.fleet.send_command(request).await?.into_inner().command.unwrap())
    }

    /// A machine's commands, newest first.
    pub async fn commands(&mut self, machine_id: &str) -> Vec<v1::Command> {
        let request = v1::ListCommandsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_commands, request, commands)
    }

    /// A command as it is now.
    pub async fn command(&mut self, sent: &v1::Command) -> Option<v1::Command> {
        self.commands(&sent.machine_id).await.into_iter().find(|command| command.number == sent.number)
    }

    /// A machine.
    pub async fn machine(&mut self, machine_id: &str) -> v1::Machine {
        let request = v1::GetMachineRequest { machine_id: machine_id.to_owned() };
        self.fleet.get_machine(request).await.unwrap().into_inner().machine.unwrap()
    }

    /// What a machine's device is known to have: desired, applied and rejected config, marks, standing.
    pub async fn device(&mut self, machine_id: &str) -> v1::DeviceStatus {
        self.machine(machine_id).await.device.expect("a machine that was enrolled")
    }

    /// A machine's epochs, in the order they were opened.
    pub async fn epochs(&mut self, machine_id: &str) -> Vec<v1::Epoch> {
        let request = v1::ListEpochsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_epochs, request, epochs)
    }

    /// A machine's gaps.
    pub async fn gaps(&mut self, machine_id: &str) -> Vec<v1::Gap> {
        let request = v1::ListGapsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_gaps, request, gaps)
    }

    /// A machine's branches.
    pub async fn branches(&mut self, machine_id: &str) -> Vec<v1::QuarantineBranch> {
        let request =
            v1::ListQuarantineBranchesRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_quarantine_branches, request, branches)
    }

    /// What is on a branch.
    pub async fn quarantined(&mut self, branch_id: &str) -> Vec<v1::QuarantinedRecord> {
        let request =
            v1::ListQuarantinedRecordsRequest { branch_id: branch_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_quarantined_records, request, records)
    }

    /// Paid vends with success on a branch.
    pub async fn vends_apart(&mut self, branch: &v1::QuarantineBranch) -> usize {
        let records = self.quarantined(&branch.branch_id).await;
        let sold =
            |record: &&v1::QuarantinedRecord| match record.decoded.as_ref().and_then(|d| d.body.as_ref()) {
                Some(v1::record_body::Body::Vend(vend)) => vend.outcome() == v1::VendOutcome::Success,
                _ => false,
            };
        records.iter().filter(sold).count()
    }

    /// A machine's dead letters.
    pub async fn dead_letters(&mut self, machine_id: &str) -> Vec<v1::DeadLetter> {
        let request = v1::ListDeadLettersRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_dead_letters, request, dead_letters)
    }

    /// A machine's alerts.
    pub async fn alerts(&mut self, machine_id: &str) -> Vec<v1::Alert> {
        let request = v1::ListAlertsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_alerts, request, alerts)
    }

    /// The machine's alerts of one type.
    pub async fn alerts_of(&mut self, machine_id: &str, wanted: v1::AlertType) -> Vec<v1::Alert> {
        let mut alerts = self.alerts(machine_id).await;
        alerts.retain(|alert| alert.r#type() == wanted);
        alerts
    }

    /// A machine's counted vends and cash, newest first.
    pub async fn transactions(&mut self, machine_id: &str) -> Vec<v1::Transaction> {
        let request = v1::ListTransactionsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_transactions, request, transactions)
    }

    /// Lifetime totals as reported, as counted, and what lies between.
    pub async fn totals(&mut self, machine_id: &str) -> v1::GetMachineTotalsResponse {
        let request = v1::GetMachineTotalsRequest { machine_id: machine_id.to_owned() };
        self.fleet.get_machine_totals(request).await.unwrap().into_inner()
    }

    /// A machine's credentials.
    pub async fn credentials(&mut self, machine_id: &str) -> Vec<v1::Credential> {
        let request = v1::ListCredentialsRequest { machine_id: machine_id.to_owned(), ..Default::default() };
        pages!(self.fleet, list_credentials, request, credentials)
    }

    /// Gives one of two clones a machine of its own; gives that machine's id.
    pub async fn split(&mut self, machine_id: &str, epoch: &str, name: &str) -> String {
        let request = v1::SplitMachineRequest {
            request_id: request_id(),
            machine_id: machine_id.to_owned(),
            epoch: epoch.to_owned(),
            name: name.to_owned(),
        };
        self.fleet.split_machine(request).await.unwrap().into_inner().new_machine.unwrap().machine_id
    }

    /// Tries a dead letter again.
    pub async fn redrive(&mut self, dead_letter_id: &str) -> v1::DeadLetter {
        let request = v1::RedriveDeadLetterRequest {
            request_id: request_id(),
            dead_letter_id: dead_letter_id.to_owned(),
        };
        self.fleet.redrive_dead_letter(request).await.unwrap().into_inner().dead_letter.unwrap()
    }
}

/// A name for one call, so that it can be repeated.
pub fn request_id() -> String {
    Uuid::now_v7().to_string()
}
