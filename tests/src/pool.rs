//! Remote purchases, from outside: machines to buy on, who buys, and an operator who resets.
//!
//! * [`Buyer`] makes the calls of OrchestratorService in one customer's name.
//! * [`checker`] verifies invariant 5 of DESIGN section 8, and invariant 3 with purchases, from what the public API says.

pub mod checker;
pub mod story;

use tonic::Status;
use vendfleet_proto::v1::{self, PaymentMode, orchestrator_service_client::OrchestratorServiceClient};

use crate::{
    client::AuthorizedChannel,
    fleet::operator::request_id,
    orders::Shop,
    wait::{PATIENCE, until},
};

/// Calls in one customer's name.
#[derive(Debug, Clone)]
pub struct Buyer {
    /// For what has no word of its own here.
    pub client: OrchestratorServiceClient<AuthorizedChannel>,
    customer: String,
}

/// A session with what proves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// As it was answered.
    pub session: v1::MachineSession,
    /// The secret.
    pub token: String,
    /// Begun by an earlier call.
    pub already: bool,
}

impl Buyer {
    /// A server that acts for this customer, at that replica.
    pub fn new(shop: &Shop, replica: usize, customer: &str) -> Self {
        let client = OrchestratorServiceClient::new(shop.service_channel(replica));
        Self { client, customer: customer.to_owned() }
    }

    /// What asks for any machine, at once or not at all.
    pub fn wish(&self) -> v1::StartWorkRequest {
        v1::StartWorkRequest {
            request_id: request_id(),
            customer_id: self.customer.clone(),
            ..Default::default()
        }
    }

    /// Asks for a machine.
    pub async fn ask(&self, request: &v1::StartWorkRequest) -> Result<Held, Status> {
        let answer = self.client.clone().start_work(request.clone()).await?.into_inner();
        let session = answer.session.expect("an OK names the session");
        Ok(Held { session, token: answer.session_token, already: answer.already_existed })
    }

    /// A machine; panics when there is none.
    pub async fn start(&self) -> Held {
        self.ask(&self.wish()).await.unwrap_or_else(|status| panic!("no machine: {status:?}"))
    }

    /// What chooses a product.
    pub fn choice(held: &Held, product_id: &str, payment: PaymentMode) -> v1::ChooseProductRequest {
        v1::ChooseProductRequest {
            request_id: request_id(),
            session_id: held.session.session_id.clone(),
            session_token: held.token.clone(),
            product_id: product_id.to_owned(),
            expected_price: None,
            payment: payment.into(),
        }
    }

    /// Chooses.
    pub async fn choose(
        &self,
        request: &v1::ChooseProductRequest,
    ) -> Result<v1::ChooseProductResponse, Status> {
        Ok(self.client.clone().choose_product(request.clone()).await?.into_inner())
    }

    /// A machine, and this product on it; gives the purchase as made.
    pub async fn buy(&self, product_id: &str, payment: PaymentMode) -> v1::Purchase {
        let held = self.start().await;
        let chosen = self.choose(&Self::choice(&held, product_id, payment)).await;
        chosen.unwrap_or_else(|status| panic!("no purchase: {status:?}")).purchase.expect("an OK names it")
    }

    /// A session.
    pub async fn session(&self, session_id: &str) -> Result<v1::MachineSession, Status> {
        let session_id = session_id.to_owned();
        let request = v1::GetMachineSessionRequest { session_id, ..Default::default() };
        let answer = self.client.clone().get_machine_session(request).await?;
        Ok(answer.into_inner().session.expect("an OK names the session"))
    }

    /// Waits until a session is as wanted, and gives it. A server that is away meanwhile is asked again.
    pub async fn until(
        &self,
        session_id: &str,
        what: &str,
        wanted: impl Fn(&v1::MachineSession) -> bool,
    ) -> v1::MachineSession {
        until(what, PATIENCE, || async { self.session(session_id).await.ok().filter(|now| wanted(now)) })
            .await
    }

    /// Waits until a session and its purchase are over.
    pub async fn over(&self, session_id: &str) -> v1::MachineSession {
        self.until(session_id, "a session and its purchase to be over", |now| {
            now.end_time_ms != 0 && now.purchase.as_ref().is_none_or(|bought| bought.end_time_ms != 0)
        })
        .await
    }
}

/// A virtual machine with this delay; gives its id.
pub async fn machine(shop: &Shop, delay_ms: u32) -> String {
    let request = v1::CreateMachineRequest {
        request_id: request_id(),
        kind: v1::MachineKind::Virtual.into(),
        name: format!("a machine of {delay_ms} ms"),
        virtual_delay_ms: delay_ms,
        ..Default::default()
    };
    let made = shop.operator().fleet.create_machine(request).await.unwrap().into_inner();
    made.machine.unwrap().machine_id
}

/// What resets this session.
pub fn reset_request(session: &v1::MachineSession) -> v1::ResetMachineRequest {
    v1::ResetMachineRequest {
        request_id: request_id(),
        machine_id: session.machine_id.clone(),
        session_id: session.session_id.clone(),
        note: "a test".to_owned(),
    }
}

/// Resets, as an operator.
pub async fn reset(
    shop: &Shop,
    replica: usize,
    request: &v1::ResetMachineRequest,
) -> Result<v1::ResetMachineResponse, Status> {
    let mut client = OrchestratorServiceClient::new(shop.operator_channel(replica));
    Ok(client.reset_machine(request.clone()).await?.into_inner())
}

/// Where a machine stands in the pool.
pub async fn standing(shop: &Shop, machine_id: &str) -> v1::PoolStatus {
    shop.operator().machine(machine_id).await.pool.expect("every machine has a part")
}
