//! The operator's calls that the demo makes, over the public API like anybody's.

use anyhow::{Context as _, Result};
use server::context::Context;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use vendfleet_proto::v1;
use vendfleet_proto::v1::catalog_service_client::CatalogServiceClient;
use vendfleet_proto::v1::fleet_service_client::FleetServiceClient;
use vendfleet_proto::v1::orchestrator_service_client::OrchestratorServiceClient;

/// Longest wait for one call.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a machine that is free.
const REMOTE_WAIT_MS: u32 = 8_000;
/// Pages asked for at once.
const PAGE_SIZE: i32 = 200;
/// Most pages of one list: a bound, far above what a demo has.
const MAX_PAGES: usize = 50;

#[derive(Clone)]
pub(super) struct Operator {
    fleet: FleetServiceClient<InterceptedService<Channel, Bearer>>,
    catalog: CatalogServiceClient<InterceptedService<Channel, Bearer>>,
    orchestrator: OrchestratorServiceClient<InterceptedService<Channel, Bearer>>,
    context: Context,
}

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A slot of the demo's planogram: number, product, price.
pub(super) struct PricedSlot {
    pub(super) slot: u32,
    pub(super) product: v1::Product,
    pub(super) price_minor: i64,
}

impl Operator {
    pub(super) fn connect(address: &str, ca_pem: &str, token: &str) -> Result<Self> {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem)).domain_name("localhost");
        let channel = Endpoint::from_shared(format!("https://{address}"))?
            .timeout(CALL_DEADLINE)
            .connect_timeout(CALL_DEADLINE)
            .tls_config(tls)?
            .connect_lazy();
        let bearer = Bearer(format!("Bearer {token}").parse()?);
        Ok(Self {
            fleet: FleetServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            catalog: CatalogServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            orchestrator: OrchestratorServiceClient::with_interceptor(channel, bearer),
            context: Context::system(),
        })
    }

    fn request_id(&self) -> String {
        self.context.new_id().to_string()
    }

    /// The products there are; made when there are too few.
    pub(super) async fn products(&mut self, names: &[&str]) -> Result<Vec<v1::Product>> {
        let mut products = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let request = v1::CreateProductRequest {
                request_id: self.request_id(),
                sku: format!("DEMO-{index:02}"),
                name: (*name).to_owned(),
                price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 }),
                initial_stock: 1_000,
                ..Default::default()
            };
            let made = self.catalog.create_product(request).await.context("CreateProduct")?;
            products.extend(made.into_inner().product);
        }
        Ok(products)
    }

    pub(super) async fn publish(&mut self, name: &str, slots: &[PricedSlot], group: &str) -> Result<String> {
        let config = v1::MachineConfig {
            currency_code: "EUR".to_owned(),
            products: slots
                .iter()
                .map(|s| v1::ConfigProduct {
                    product_id: s.product.product_id.clone(),
                    name: s.product.name.clone(),
                })
                .collect(),
            slots: slots
                .iter()
                .map(|s| v1::ConfigSlot {
                    slot: s.slot,
                    product_id: s.product.product_id.clone(),
                    price_minor: s.price_minor,
                    capacity: 60,
                    par_level: 50,
                })
                .collect(),
            cash: Some(v1::CashConfig {
                accepted_minor: vec![10, 20, 50, 100, 200],
                tubes: [10, 20, 50, 100, 200]
                    .map(|denomination_minor| v1::CoinTube { denomination_minor, capacity: 200 })
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
        };
        let request = v1::CreateConfigRequest {
            request_id: self.request_id(),
            name: name.to_owned(),
            config: Some(config),
            ..Default::default()
        };
        let made = self.fleet.create_config(request).await.context("CreateConfig")?;
        let config_id = made.into_inner().config.map(|c| c.config_id).context("CreateConfig: no config")?;
        let assign = v1::AssignConfigRequest {
            request_id: self.request_id(),
            config_id: config_id.clone(),
            group: group.to_owned(),
            ..Default::default()
        };
        self.fleet.assign_config(assign).await.context("AssignConfig")?;
        Ok(config_id)
    }

    pub(super) async fn claim_token(&mut self, name: &str, group: &str) -> Result<String> {
        let request = v1::CreateClaimTokenRequest {
            request_id: self.request_id(),
            name: name.to_owned(),
            group: group.to_owned(),
            ttl_ms: 3_600_000,
            ..Default::default()
        };
        Ok(self.fleet.create_claim_token(request).await.context("CreateClaimToken")?.into_inner().claim_token)
    }

    /// Gives a cloned machine's epoch to a machine of its own.
    pub(super) async fn split(&mut self, machine_id: &str, epoch: &str, name: &str) -> Result<String> {
        let request = v1::SplitMachineRequest {
            request_id: self.request_id(),
            machine_id: machine_id.to_owned(),
            epoch: epoch.to_owned(),
            name: name.to_owned(),
        };
        let split = self.fleet.split_machine(request).await.context("SplitMachine")?.into_inner();
        Ok(split.new_machine.context("SplitMachine: no machine")?.machine_id)
    }

    /// Every branch of a machine, whatever became of it.
    pub(super) async fn branches(&mut self, machine_id: &str) -> Result<Vec<v1::QuarantineBranch>> {
        let request = v1::ListQuarantineBranchesRequest {
            page_size: PAGE_SIZE,
            machine_id: machine_id.to_owned(),
            ..Default::default()
        };
        let found = self.fleet.list_quarantine_branches(request).await.context("ListQuarantineBranches")?;
        Ok(found.into_inner().branches)
    }

    /// Makes every open branch of a machine count; gives how many records that were.
    pub(super) async fn adopt_branches(&mut self, machine_id: &str) -> Result<u64> {
        let branches = self.branches(machine_id).await?;
        let mut adopted = 0;
        for branch in branches.into_iter().filter(|b| b.state() == v1::BranchState::Open) {
            let request = v1::AdoptBranchRequest {
                request_id: self.request_id(),
                branch_id: branch.branch_id,
                note: "demo".to_owned(),
            };
            adopted +=
                self.fleet.adopt_branch(request).await.context("AdoptBranch")?.into_inner().applied_records;
        }
        Ok(adopted)
    }

    pub(super) async fn epochs(&mut self, machine_id: &str) -> Result<Vec<v1::Epoch>> {
        let mut all = Vec::new();
        let mut request = v1::ListEpochsRequest {
            page_size: PAGE_SIZE,
            page_token: String::new(),
            machine_id: machine_id.to_owned(),
        };
        for _ in 0..MAX_PAGES {
            let page = self.fleet.list_epochs(request.clone()).await.context("ListEpochs")?.into_inner();
            all.extend(page.epochs);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        Ok(all)
    }

    pub(super) async fn alerts(&mut self) -> Result<Vec<v1::Alert>> {
        let mut all = Vec::new();
        let mut request = v1::ListAlertsRequest { page_size: PAGE_SIZE, ..Default::default() };
        for _ in 0..MAX_PAGES {
            let page = self.fleet.list_alerts(request.clone()).await.context("ListAlerts")?.into_inner();
            all.extend(page.alerts);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        Ok(all)
    }

    /// Takes a real machine that can give the product.
    pub(super) async fn start_work(&mut self, product_id: &str) -> Result<(v1::MachineSession, String)> {
        let request = v1::StartWorkRequest {
            request_id: self.request_id(),
            wait_ms: REMOTE_WAIT_MS,
            product_id: product_id.to_owned(),
            kind: v1::MachineKind::Real.into(),
            ..Default::default()
        };
        let begun = self.orchestrator.start_work(request).await.context("StartWork")?.into_inner();
        Ok((begun.session.context("StartWork: no session")?, begun.session_token))
    }

    /// Buys one unit in the session; the caller has the money.
    pub(super) async fn choose(
        &mut self,
        session: &v1::MachineSession,
        token: &str,
        product_id: &str,
    ) -> Result<()> {
        let request = v1::ChooseProductRequest {
            request_id: self.request_id(),
            session_id: session.session_id.clone(),
            session_token: token.to_owned(),
            product_id: product_id.to_owned(),
            payment: v1::PaymentMode::None.into(),
            ..Default::default()
        };
        self.orchestrator.choose_product(request).await.context("ChooseProduct")?;
        Ok(())
    }

    /// A session's purchase as it is now.
    pub(super) async fn purchase(&mut self, session_id: &str) -> Result<v1::Purchase> {
        let request =
            v1::GetMachineSessionRequest { session_id: session_id.to_owned(), ..Default::default() };
        let found = self.orchestrator.get_machine_session(request).await.context("GetMachineSession")?;
        let session = found.into_inner().session.context("GetMachineSession: no session")?;
        session.purchase.context("GetMachineSession: no purchase")
    }

    pub(super) async fn totals(&mut self, machine_id: &str) -> Result<v1::GetMachineTotalsResponse> {
        let request = v1::GetMachineTotalsRequest { machine_id: machine_id.to_owned() };
        Ok(self.fleet.get_machine_totals(request).await.context("GetMachineTotals")?.into_inner())
    }
}
