//! Callers that all begin at once: each does StartWork and, if it got a machine, ChooseProduct.

use crate::tally::Call;
use crate::wire::{Reply, Wire, path};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use vendfleet_proto::v1;

const START_WORK: &str = "/vendfleet.v1.OrchestratorService/StartWork";
const CHOOSE_PRODUCT: &str = "/vendfleet.v1.OrchestratorService/ChooseProduct";

/// What became of a round.
#[derive(Default)]
pub struct Visited {
    pub calls: Vec<Call>,
    /// From the moment all were let go until the last had its last answer.
    pub took: Duration,
    /// Sessions that were begun.
    pub sessions: Vec<String>,
}

/// Lets `callers` go at once, spread over the connections, each for a product of its own choice.
pub async fn visit(wires: &[Wire], callers: usize, products: &Arc<[String]>) -> Visited {
    let gate = Arc::new(Barrier::new(callers + 1));
    let mut all = JoinSet::new();
    for n in 0..callers {
        let (wire, gate, products) = (wires[n % wires.len()].clone(), gate.clone(), products.clone());
        all.spawn(async move {
            let product = products[rand::random_range(0..products.len())].clone();
            gate.wait().await;
            buy(wire, n, product).await
        });
    }
    gate.wait().await;
    let began = Instant::now();
    let mut visited = Visited::default();
    while let Some(one) = all.join_next().await {
        let (calls, session) = one.unwrap();
        visited.calls.extend(calls);
        visited.sessions.extend(session);
    }
    visited.took = began.elapsed();
    visited
}

async fn buy(mut wire: Wire, n: usize, product_id: String) -> (Vec<Call>, Option<String>) {
    let start = v1::StartWorkRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        customer_id: format!("customer-{n}"),
        ..Default::default()
    };
    let (call, begun) = timed::<v1::StartWorkResponse>(&mut wire, "StartWork", START_WORK, &start).await;
    let mut calls = vec![call];
    let Some(begun) = begun else { return (calls, None) };
    let session_id = begun.session.unwrap().session_id;
    let choose = v1::ChooseProductRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        session_id: session_id.clone(),
        session_token: begun.session_token,
        product_id,
        expected_price: None,
        payment: v1::PaymentMode::None.into(),
    };
    let (call, _) =
        timed::<v1::ChooseProductResponse>(&mut wire, "ChooseProduct", CHOOSE_PRODUCT, &choose).await;
    calls.push(call);
    (calls, Some(session_id))
}

/// A call, timed from its first byte asked to its last byte answered; reading it is not counted.
pub async fn timed<M: prost::Message + Default>(
    wire: &mut Wire,
    what: &'static str,
    method: &str,
    message: &impl prost::Message,
) -> (Call, Option<M>) {
    let method = path(method);
    let began = Instant::now();
    let reply: Reply = wire.ask(&method, message).await;
    let took = began.elapsed();
    match reply.read::<M>() {
        Ok(answer) => (Call { what, took, refused: None }, Some(answer)),
        Err(reason) => (Call { what, took, refused: Some(reason) }, None),
    }
}
