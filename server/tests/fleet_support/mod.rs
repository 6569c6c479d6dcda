//! The catalogue and the fleet over a fresh database of either engine, called as the edge calls them; and a device with
//! real bodies and real hashes whose Syncs go through the real fold and store.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "../../../tests/src/postgres.rs"]
mod postgres;

use std::{collections::HashMap, future::Future, sync::Arc};

use server::{
    auth::{Caller, Person, Role, SecretKey},
    config::EventsConfig,
    context::{Context, ManualClock},
    data_dir::DataDir,
    domain::{
        ids::{CredentialId, Ids, MachineId},
        sync::{
            Answer, BadBody, CredentialState, GENESIS, RecordIn, ReportedSlot, ReportedSlots, Settings,
            SyncCall, VerdictReason, Writes, fold,
        },
    },
    grpc::{catalog::CatalogGrpc, fleet::FleetGrpc},
    metrics::Metrics,
    operations::{
        Deps,
        events::{EventLog, EventSettings},
        orders::{OrderSettings, Orders},
        pool::{Pool, PoolSettings},
        watch::Hints,
    },
    store::{Store, StoreOptions, Target},
    tls::Authority,
};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use vend_core::{
    counters::{self, Totals},
    id::{BootId, ConfigId, Epoch, ProductId, TransactionId},
    money::Currency,
    record::{Audit, Body, Boot, ParentEpoch, Payment, Record, SlotCount, Vend, VendOutcome},
    time::{ClockQuality, Now, Stamp},
};
use vendfleet_proto::v1::{
    self, catalog_service_server::CatalogService as _, fleet_service_server::FleetService as _,
};
use vendfleet_wire as wire;

pub const START_MS: i64 = 1_750_000_000_000;

/// Runs each promise on both engines.
#[macro_export]
macro_rules! on_both_engines {
    ($($promise:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $promise() { super::$promise($crate::fleet_support::Stage::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $promise() { super::$promise($crate::fleet_support::Stage::postgres().await).await; })*
        }
    };
}

pub struct Stage {
    pub deps: Deps,
    pub clock: ManualClock,
    pub catalog: CatalogGrpc,
    pub fleet: FleetGrpc,
    folder: tempfile::TempDir,
    _database: Option<postgres::TestDatabase>,
}

impl Stage {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::Sqlite(folder.path().join("store.db"));
        Self::on(target, folder, None).await
    }

    pub async fn postgres() -> Self {
        let database = postgres::TestDatabase::create().await;
        let target = Target::Postgres(database.url().to_owned());
        Self::on(target, tempfile::tempdir().unwrap(), Some(database)).await
    }

    async fn on(target: Target, folder: tempfile::TempDir, database: Option<postgres::TestDatabase>) -> Self {
        let (context, clock) = Context::manual(START_MS, 1);
        let options = StoreOptions { connections: 4, ..StoreOptions::new(target) };
        let store = Store::open(&options, context.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let dir = DataDir::open(folder.path().join("data")).unwrap();
        let orders = Orders::start(
            &store,
            &context,
            &Metrics::new(&mut Default::default()),
            &OrderSettings::default(),
        );
        let events = EventLog::new(store.clone(), EventSettings::from(&EventsConfig::default()));
        let hints = Hints::default();
        let metrics = Metrics::new(&mut Default::default());
        let pool = Pool::start(&store, &context, &metrics, &hints, &PoolSettings::default());
        let deps = Deps {
            store,
            orders,
            pool,
            events,
            context: context.clone(),
            key: SecretKey::new([3; 32]),
            signer: Arc::new(Authority::open(&dir, context).unwrap()),
            hints,
            settings: server::operations::Settings::default(),
        };
        let (catalog, fleet) = (CatalogGrpc::new(deps.clone()), FleetGrpc::new(deps.clone()));
        Self { deps, clock, catalog, fleet, folder, _database: database }
    }

    /// Another store on the same database, as another replica has one.
    pub async fn another_store(&self) -> Store {
        let target = match &self._database {
            Some(database) => Target::Postgres(database.url().to_owned()),
            None => Target::Sqlite(self.folder.path().join("store.db")),
        };
        let options = StoreOptions { connections: 4, ..StoreOptions::new(target) };
        Store::open(&options, self.deps.context.clone()).await.unwrap()
    }

    /// What names this database in a server's config, when it is the embedded engine's.
    pub fn sqlite_url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("store.db").display())
    }

    pub async fn product(&self, sku: &str, stock: i64) -> v1::Product {
        let new = v1::CreateProductRequest {
            request_id: id(),
            sku: sku.to_owned(),
            name: sku.to_owned(),
            price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 }),
            initial_stock: stock,
            ..v1::CreateProductRequest::default()
        };
        self.catalog.create_product(operator(new)).await.unwrap().into_inner().product.unwrap()
    }

    pub async fn machine(&self, name: &str) -> v1::Machine {
        let new = v1::CreateMachineRequest {
            request_id: id(),
            kind: v1::MachineKind::Real.into(),
            name: name.to_owned(),
            ..v1::CreateMachineRequest::default()
        };
        self.fleet.create_machine(operator(new)).await.unwrap().into_inner().machine.unwrap()
    }

    pub async fn get_machine(&self, machine_id: &str) -> v1::Machine {
        let get = v1::GetMachineRequest { machine_id: machine_id.to_owned() };
        self.fleet.get_machine(operator(get)).await.unwrap().into_inner().machine.unwrap()
    }

    pub async fn config(&self, product: &v1::Product, price_minor: i64) -> v1::Config {
        let new = v1::CreateConfigRequest {
            request_id: id(),
            name: format!("at {price_minor}"),
            note: String::new(),
            config: Some(machine_config(product, price_minor)),
        };
        self.fleet.create_config(operator(new)).await.unwrap().into_inner().config.unwrap()
    }

    pub async fn claim(&self, machine_id: &str) -> (String, v1::ClaimToken) {
        let new = v1::CreateClaimTokenRequest {
            request_id: id(),
            machine_id: machine_id.to_owned(),
            ..v1::CreateClaimTokenRequest::default()
        };
        let made = self.fleet.create_claim_token(operator(new)).await.unwrap().into_inner();
        (made.claim_token, made.info.unwrap())
    }

    /// One Sync, through the real fold and store.
    pub async fn sync(&self, call: SyncCall) -> Answer {
        let mut hot = self.deps.store.begin_hot().await.unwrap();
        let calls = [call];
        let mut views = hot.load_sync(&calls, true).await.unwrap();
        let settings =
            Settings { base_interval_ms: 30_000, stale_call_grace_ms: 60_000, doubt_after_ms: 60_000 };
        let mut writes = Writes::default();
        let view = views.get_mut(&calls[0].machine).unwrap();
        let answer = fold(view, &calls[0], &settings, &mut FromContext(&self.deps.context), &mut writes);
        hot.write_sync(&views, &writes).await.unwrap();
        hot.commit().await.unwrap();
        answer
    }

    pub async fn alerts(&self, kind: v1::AlertType) -> Vec<v1::Alert> {
        let list = v1::ListAlertsRequest { r#type: kind.into(), ..v1::ListAlertsRequest::default() };
        self.fleet.list_alerts(operator(list)).await.unwrap().into_inner().alerts
    }

    pub async fn transactions(&self, machine_id: &str) -> Vec<v1::Transaction> {
        let list = v1::ListTransactionsRequest {
            machine_id: machine_id.to_owned(),
            ..v1::ListTransactionsRequest::default()
        };
        self.fleet.list_transactions(operator(list)).await.unwrap().into_inner().transactions
    }

    pub async fn branches(&self) -> Vec<v1::QuarantineBranch> {
        let list = v1::ListQuarantineBranchesRequest::default();
        self.fleet.list_quarantine_branches(operator(list)).await.unwrap().into_inner().branches
    }

    pub async fn epochs(&self, machine_id: &str) -> HashMap<String, v1::Epoch> {
        let list =
            v1::ListEpochsRequest { machine_id: machine_id.to_owned(), ..v1::ListEpochsRequest::default() };
        let epochs = self.fleet.list_epochs(operator(list)).await.unwrap().into_inner().epochs;
        epochs.into_iter().map(|epoch| (epoch.epoch.clone(), epoch)).collect()
    }
}

struct FromContext<'c>(&'c Context);

impl Ids for FromContext<'_> {
    fn uuid_v7(&mut self) -> Uuid {
        self.0.new_id()
    }
}

pub fn id() -> String {
    Uuid::now_v7().to_string()
}

pub fn machine_config(product: &v1::Product, price_minor: i64) -> v1::MachineConfig {
    v1::MachineConfig {
        currency_code: "EUR".to_owned(),
        products: vec![v1::ConfigProduct {
            product_id: product.product_id.clone(),
            name: product.name.clone(),
        }],
        slots: vec![v1::ConfigSlot {
            slot: 3,
            product_id: product.product_id.clone(),
            price_minor,
            capacity: 10,
            par_level: 8,
        }],
        selection_timeout_ms: 30_000,
        ..v1::MachineConfig::default()
    }
}

pub fn operator<T>(message: T) -> Request<T> {
    let person = Person { subject: "olga".to_owned(), role: Role::Operator, scopes: Vec::new() };
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Person(person));
    request
}

/// The reason of a refusal.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every refusal has ErrorInfo").reason
}

/// The fields a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    let named = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    named.into_iter().map(|violation| violation.field).collect()
}

pub async fn refused<T: std::fmt::Debug>(call: impl Future<Output = Result<Response<T>, Status>>) -> Status {
    call.await.expect_err("this call must be refused")
}

/// A machine's journal: real bodies, real hashes.
#[derive(Clone)]
pub struct Device {
    pub machine: MachineId,
    pub product: ProductId,
    pub epoch: Epoch,
    pub parent: Option<ParentEpoch>,
    pub records: Vec<RecordIn>,
    pub accepted: u64,
    pub credential_state: CredentialState,
    totals: Totals,
    currency: Currency,
    uptime_ms: u64,
}

impl Device {
    pub fn new(machine: &v1::Machine, product: &v1::Product) -> Self {
        let mut device = Self {
            machine: MachineId(machine.machine_id.parse().unwrap()),
            product: ProductId(product.product_id.parse::<Uuid>().unwrap().into_bytes()),
            epoch: Epoch(Uuid::new_v4().into_bytes()),
            parent: None,
            records: Vec::new(),
            accepted: 0,
            credential_state: CredentialState::Active,
            totals: Totals::default(),
            currency: Currency::NONE,
            uptime_ms: 0,
        };
        device.append(Body::Boot(Boot { firmware: "1".to_owned(), boot_count: 1, parent: None }));
        device
    }

    /// Opens an epoch that names the one before, as the server asked.
    pub fn open(&mut self, last_common_seq: u64, reason: vend_core::record::EpochReason) {
        let parent = ParentEpoch {
            epoch: self.epoch,
            last_common_seq,
            highest_seq: self.records.len() as u64,
            reason,
        };
        self.epoch = Epoch(Uuid::new_v4().into_bytes());
        self.parent = Some(parent);
        self.records.clear();
        self.accepted = 0;
        self.append(Body::Boot(Boot { firmware: "1".to_owned(), boot_count: 2, parent: Some(parent) }));
    }

    pub fn epoch_hex(&self) -> String {
        hex::encode(self.epoch.0)
    }

    pub fn vend(&mut self) -> TransactionId {
        let transaction = TransactionId(Uuid::now_v7().into_bytes());
        self.vend_as(transaction);
        transaction
    }

    pub fn vend_as(&mut self, transaction: TransactionId) {
        self.append(Body::Vend(Vend {
            transaction,
            slot: 3,
            product: self.product,
            config: ConfigId([4; 16]),
            price_minor: 150,
            currency: Currency::parse("EUR").unwrap(),
            payment: Payment::Cash,
            outcome: VendOutcome::Success,
            cash_in_minor: 200,
            payout_intent_minor: 50,
            owed_minor: 0,
            command_number: 0,
        }));
    }

    /// Carries out the dispense command of a remote purchase.
    pub fn vend_for(&mut self, purchase: &v1::Purchase) {
        let id: Uuid = purchase.purchase_id.parse().unwrap();
        self.append(Body::Vend(Vend {
            transaction: TransactionId(id.into_bytes()),
            slot: u16::try_from(purchase.slot).unwrap(),
            product: self.product,
            config: ConfigId([4; 16]),
            price_minor: purchase.price.as_ref().unwrap().minor_units,
            currency: Currency::parse("EUR").unwrap(),
            payment: Payment::Remote,
            outcome: VendOutcome::Success,
            cash_in_minor: 0,
            payout_intent_minor: 0,
            owed_minor: 0,
            command_number: 1,
        }));
    }

    pub fn count(&mut self, units: u32) {
        let slots = vec![SlotCount { slot: 3, product: self.product, units }];
        let audit = Audit { slots, tubes: Vec::new(), box_minor: 0, since_reset: Totals::default() };
        self.append(Body::Audit(audit));
    }

    pub fn append(&mut self, body: Body) {
        self.uptime_ms += 1_000;
        counters::advance(&mut self.currency, &mut self.totals, &body);
        let record = Record { stamp: self.stamp(), lifetime_after: Some(self.totals), body };
        let encoded = wire::encode(&record);
        self.append_raw(encoded.kind as u32, encoded.schema, &encoded.body);
    }

    pub fn append_raw(&mut self, kind: u32, schema: u32, body: &[u8]) {
        let seq = self.records.len() as u64 + 1;
        let previous = self.records.last().map_or(GENESIS, |record| record.hash);
        let hash = wire::record_hash(&self.epoch, seq, kind, schema, &previous, body);
        let meaning = wire::decode(kind, schema, body)
            .map_err(|e| BadBody { reason: VerdictReason::BodyUnreadable, detail: e.to_string() });
        self.records.push(RecordIn { seq, kind, schema, body: body.to_vec().into(), hash, meaning });
    }

    fn stamp(&self) -> Stamp {
        let at = Now { uptime_ms: self.uptime_ms, wall_ms: 0, clock: ClockQuality::Unset };
        Stamp { boot: BootId([1; 16]), at }
    }

    /// Everything that is not accepted, as one call.
    pub fn call(&self, at_ms: i64) -> SyncCall {
        let from = usize::try_from(self.accepted).unwrap();
        SyncCall {
            machine: self.machine,
            credential: CredentialId(Uuid::from_u128(9)),
            credential_state: self.credential_state,
            epoch: self.epoch,
            oldest_seq: 1,
            last_seq: self.records.len() as u64,
            accepted_through: self.accepted,
            first_seq: self.accepted + 1,
            previous_hash: if from == 0 { GENESIS } else { self.records[from - 1].hash },
            records: self.records[from..].to_vec(),
            parent: self.parent,
            verdicts_seen_through: 0,
            same_incarnation: true,
            now: self.stamp(),
            slots: None,
            applied: None,
            commands_done_through: 0,
            out_of_service: false,
            firmware: "1".to_owned(),
            received_at_ms: at_ms,
            trace_id: "t".to_owned(),
        }
    }

    pub fn call_with_level(&self, at_ms: i64, units: u32) -> SyncCall {
        let slots = vec![ReportedSlot { slot: 3, product: self.product, units, faulted: false }];
        let as_of_seq = self.records.len() as u64;
        SyncCall { slots: Some(ReportedSlots { as_of_seq, slots }), ..self.call(at_ms) }
    }

    /// Syncs, and believes the answer.
    pub async fn sync(&mut self, stage: &Stage) -> Answer {
        let answer = stage.sync(self.call(stage.deps.context.now_ms())).await;
        self.accepted = answer.accepted_through;
        answer
    }
}
