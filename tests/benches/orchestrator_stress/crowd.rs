//! Callers that all begin at once: each does StartWork and, if it got a machine, ChooseProduct.

use crate::common::cpu::Cpu;
use crate::tally::Call;
use crate::wire::{Reply, Wire, framed, path};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use vendfleet_proto::v1;

const START_WORK: &str = "/vendfleet.v1.OrchestratorService/StartWork";
const CHOOSE_PRODUCT: &str = "/vendfleet.v1.OrchestratorService/ChooseProduct";

/// A call that takes longer is over for its caller.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a crowd took.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// From the moment all were let go until the last had its last answer.
    pub took: Duration,
    /// Of processors, by whom.
    pub cpu: Cpu,
}

/// What became of a round.
#[derive(Default)]
pub struct Visited {
    pub calls: Vec<Call>,
    pub spent: Spent,
    /// Sessions that were begun.
    pub sessions: Vec<String>,
}

/// Lets `callers` go at once, spread over the connections, each for a product of its own choice.
pub async fn visit(wires: &[Wire], callers: usize, products: &Arc<[String]>) -> Visited {
    let methods = (path(START_WORK), path(CHOOSE_PRODUCT));
    let (all, spent) = at_once(wires, callers, |wire, n| {
        let start = framed(&v1::StartWorkRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            customer_id: format!("customer-{n}"),
            ..Default::default()
        });
        let choose = v1::ChooseProductRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            product_id: products[rand::random_range(0..products.len())].clone(),
            payment: v1::PaymentMode::None.into(),
            ..Default::default()
        };
        buy(wire, methods.clone(), start, choose)
    })
    .await;
    let mut visited = Visited { spent, ..Visited::default() };
    for (calls, session) in all {
        visited.calls.extend(calls);
        visited.sessions.extend(session);
    }
    visited
}

/// Lets `callers` go at the same instant; gives what each came to. Those of a connection are one task: a client writes what it
/// has to ask, not call by call.
pub async fn at_once<F>(
    wires: &[Wire],
    callers: usize,
    mut call: impl FnMut(Wire, usize) -> F,
) -> (Vec<F::Output>, Spent)
where
    F: Future<Output: Send> + Send + 'static,
{
    let crowds: Vec<FuturesUnordered<F>> = wires.iter().map(|_| FuturesUnordered::new()).collect();
    for n in 0..callers {
        let at = n % wires.len();
        crowds[at].push(call(wires[at].clone(), n));
    }
    let crowds: Vec<_> = crowds.into_iter().filter(|crowd| !crowd.is_empty()).collect();
    let gate = Arc::new(Barrier::new(crowds.len() + 1));
    let mut all = JoinSet::new();
    for crowd in crowds {
        let gate = gate.clone();
        all.spawn(async move {
            gate.wait().await;
            // Who waits longer than this has given up both its calls.
            tokio::time::timeout(TIMEOUT * 2, crowd.collect::<Vec<_>>())
                .await
                .expect("no call waits for ever")
        });
    }
    let before = Cpu::now();
    gate.wait().await;
    let began = Instant::now();
    let came = all.join_all().await;
    let took = began.elapsed();
    (came.into_iter().flatten().collect(), Spent { took, cpu: Cpu::now().since(before) })
}

async fn buy(
    mut wire: Wire,
    (start_work, choose_product): (http::Uri, http::Uri),
    start: Bytes,
    choose: v1::ChooseProductRequest,
) -> (Vec<Call>, Option<String>) {
    let (call, begun) = timed::<v1::StartWorkResponse>(&mut wire, "StartWork", &start_work, start).await;
    let mut calls = vec![call];
    let Some(begun) = begun else { return (calls, None) };
    let session_id = begun.session.unwrap().session_id;
    let choose = v1::ChooseProductRequest {
        session_id: session_id.clone(),
        session_token: begun.session_token,
        ..choose
    };
    let choose = framed(&choose);
    let (call, _) =
        timed::<v1::ChooseProductResponse>(&mut wire, "ChooseProduct", &choose_product, choose).await;
    calls.push(call);
    (calls, Some(session_id))
}

/// A call, timed from its first byte asked to its last byte answered; reading it is not counted.
pub async fn timed<M: prost::Message + Default>(
    wire: &mut Wire,
    what: &'static str,
    method: &http::Uri,
    message: Bytes,
) -> (Call, Option<M>) {
    let began = Instant::now();
    let reply: Reply = wire.exchange(method, message).await;
    let took = began.elapsed();
    if took > TIMEOUT {
        return (Call { what, took, refused: Some("timeout".to_owned()) }, None);
    }
    match reply.read::<M>() {
        Ok(answer) => (Call { what, took, refused: None }, Some(answer)),
        Err(reason) => (Call { what, took, refused: Some(reason) }, None),
    }
}
