//! Who buys from afar on real machines, and the machines as they are waited for.

use fleet_client::simulate::Observation;
use tonic::Status;
use vendfleet_proto::v1::{
    self, AlertType, MachineSession, PaymentMode, PoolState, Purchase, PurchaseFailure, PurchaseResolution,
    PurchaseState, orchestrator_service_client::OrchestratorServiceClient,
};
use vendfleet_tests::{
    client::AuthorizedChannel,
    device::{Device, SLOT},
    fleet::{Fleet, operator::request_id},
    wait::{PATIENCE, until, until_true},
};

/// Who buys from afar.
pub(crate) struct Desk {
    pub(crate) orchestrator: OrchestratorServiceClient<AuthorizedChannel>,
    pub(crate) product: String,
}

impl Desk {
    pub(crate) async fn at(fleet: &Fleet, channel: AuthorizedChannel) -> Self {
        let config = fleet.operator().config(&[120]).await;
        let product =
            config.slots.iter().find(|slot| slot.slot == u32::from(SLOT)).unwrap().product_id.clone();
        Self { orchestrator: OrchestratorServiceClient::new(channel), product }
    }

    pub(crate) async fn of(fleet: &Fleet) -> Self {
        Self::at(fleet, fleet.server.channel_as(fleet.token())).await
    }

    /// Takes the machine that can give the product.
    pub(crate) async fn start(&mut self) -> (MachineSession, String) {
        let request = v1::StartWorkRequest {
            request_id: request_id(),
            wait_ms: 20_000,
            product_id: self.product.clone(),
            ..Default::default()
        };
        let begun = self.orchestrator.start_work(request).await.unwrap().into_inner();
        (begun.session.unwrap(), begun.session_token)
    }

    pub(crate) async fn choose(&mut self, held: (MachineSession, String), payment: PaymentMode) -> Purchase {
        self.try_choose(held, payment).await.unwrap()
    }

    pub(crate) async fn try_choose(
        &mut self,
        (session, token): (MachineSession, String),
        payment: PaymentMode,
    ) -> Result<Purchase, Status> {
        let request = v1::ChooseProductRequest {
            request_id: request_id(),
            session_id: session.session_id,
            session_token: token,
            product_id: self.product.clone(),
            expected_price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 120 }),
            payment: payment.into(),
        };
        Ok(self.orchestrator.choose_product(request).await?.into_inner().purchase.unwrap())
    }

    /// A free unit for whoever asks.
    pub(crate) async fn buy(&mut self) -> Purchase {
        let session = self.start().await;
        self.choose(session, PaymentMode::None).await
    }

    pub(crate) async fn session_of(&self, purchase_id: &str) -> MachineSession {
        let request =
            v1::GetMachineSessionRequest { purchase_id: purchase_id.to_owned(), ..Default::default() };
        let mut orchestrator = self.orchestrator.clone();
        orchestrator.get_machine_session(request).await.unwrap().into_inner().session.unwrap()
    }

    pub(crate) async fn session(&self, purchase: &Purchase) -> MachineSession {
        let request =
            v1::GetMachineSessionRequest { session_id: purchase.session_id.clone(), ..Default::default() };
        let mut orchestrator = self.orchestrator.clone();
        orchestrator.get_machine_session(request).await.unwrap().into_inner().session.unwrap()
    }

    /// The purchase and its session once the purchase is there.
    pub(crate) async fn comes_to(
        &self,
        purchase: &Purchase,
        state: PurchaseState,
    ) -> (Purchase, MachineSession) {
        until(&format!("the purchase to be {}", state.as_str_name()), PATIENCE, || async {
            let session = self.session(purchase).await;
            let now = session.purchase.clone()?;
            (now.state() == state).then_some((now, session))
        })
        .await
    }

    /// The purchase once it has failed, and why.
    pub(crate) async fn fails(&self, purchase: &Purchase, why: PurchaseFailure) -> Purchase {
        let (failed, _) = self.comes_to(purchase, PurchaseState::Failed).await;
        assert_eq!(failed.failure(), why, "{failed:?}");
        failed
    }

    pub(crate) async fn reset(&mut self, purchase: &Purchase) -> v1::ResetMachineResponse {
        self.try_reset(purchase).await.unwrap()
    }

    pub(crate) async fn try_reset(
        &mut self,
        purchase: &Purchase,
    ) -> Result<v1::ResetMachineResponse, Status> {
        let request = v1::ResetMachineRequest {
            request_id: request_id(),
            machine_id: purchase.machine_id.clone(),
            session_id: purchase.session_id.clone(),
            note: "the customer left".to_owned(),
        };
        Ok(self.orchestrator.reset_machine(request).await?.into_inner())
    }

    pub(crate) async fn resolve(&mut self, purchase: &Purchase, resolution: PurchaseResolution) -> Purchase {
        let request = v1::ResolvePurchaseRequest {
            request_id: request_id(),
            purchase_id: purchase.purchase_id.clone(),
            resolution: resolution.into(),
            note: "somebody went and looked".to_owned(),
        };
        self.orchestrator.resolve_purchase(request).await.unwrap().into_inner().purchase.unwrap()
    }
}

/// A machine that is there, with the stream of hints open.
pub(crate) async fn present(fleet: &Fleet) -> Device {
    let device = fleet.device("corner").await;
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    until_true("the machine to be in the pool", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    device
}

/// The first vend of the machine's life.
pub(crate) fn vended(now: &Observation) -> bool {
    now.vends == 1
}

/// Nothing of the slot is promised any more, and the machine is free.
pub(crate) async fn all_is_free(fleet: &Fleet, device: &Device) {
    until_true("the machine to be free", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    let request = v1::GetMachineInventoryRequest { machine_id: device.id() };
    let slots = fleet.operator().fleet.get_machine_inventory(request).await.unwrap().into_inner().slots;
    assert!(slots.iter().all(|slot| slot.reserved == 0), "{slots:?}");
}

pub(crate) async fn alerted(fleet: &Fleet, device: &Device, kind: AlertType) {
    until_true(&format!("the alert {}", kind.as_str_name()), PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { !operator.alerts_of(&id, kind).await.is_empty() }
    })
    .await;
}
