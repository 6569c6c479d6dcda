//! One call, retried within a bound; one list, followed page by page.

mod follow;

pub(crate) use follow::{Seen, Whence};

use crate::connect::{self, Catalog, Clients, Events, Fleet, Orchestrator, Orders};
use crate::context::Context;
use crate::failure::{Failure, Refusal};
use crate::settings::Settings;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// Longest wait before another attempt; who is told to wait longer is told so and ends.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Ceiling of the first wait when the server can't be reached; doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// One invocation's way to the server. Every call it makes can be repeated: reads, calls that are idempotent by nature,
/// and writes under this invocation's request id.
pub(crate) struct Session<'a> {
    clients: Clients,
    context: &'a Context,
    timeout: Duration,
    attempts: u32,
    limit: usize,
    request_id: String,
    is_repeat: bool,
}

/// Items up to the limit, and whether there are more.
pub(crate) struct Found<Item> {
    pub(crate) items: Vec<Item>,
    pub(crate) more: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        settings: &Settings,
        context: &'a Context,
        limit: usize,
        request_id: Option<&str>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            clients: connect::clients(settings)?,
            context,
            timeout: settings.timeout,
            attempts: settings.attempts,
            limit,
            request_id: request_id.map_or_else(|| context.request_id().to_string(), ToOwned::to_owned),
            is_repeat: request_id.is_some(),
        })
    }

    /// The request id of this invocation's write.
    pub(crate) fn request_id(&self) -> String {
        self.request_id.clone()
    }

    /// Whether the request id is one of an earlier invocation.
    pub(crate) fn is_repeat(&self) -> bool {
        self.is_repeat
    }

    /// A read of FleetService, or a call that is idempotent by nature.
    pub(crate) async fn fleet<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Fleet, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.fleet, &send).await
    }

    /// A write of FleetService under the request id.
    pub(crate) async fn fleet_write<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Fleet, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.fleet, &send).await.map_err(|failure| self.named(failure))
    }

    /// A read of CatalogService, or a call that is idempotent by nature.
    pub(crate) async fn catalog<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Catalog, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.catalog, &send).await
    }

    /// A write of CatalogService under the request id.
    pub(crate) async fn catalog_write<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Catalog, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.catalog, &send).await.map_err(|failure| self.named(failure))
    }

    /// A call of OrderService: each is idempotent, by nature or by the key in its request.
    pub(crate) async fn orders<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Orders, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.orders, &send).await
    }

    /// A write of OrderService with the request id as its key.
    pub(crate) async fn orders_write<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Orders, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.orders(request, send).await.map_err(|failure| self.named(failure))
    }

    /// A read of OrchestratorService.
    pub(crate) async fn orchestrator<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Orchestrator, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.repeated(&request, &self.clients.orchestrator, &send).await
    }

    /// A write of OrchestratorService under the request id.
    pub(crate) async fn orchestrator_write<Q: Clone, A>(
        &self,
        request: Q,
        send: impl AsyncFn(&mut Orchestrator, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.orchestrator(request, send).await.map_err(|failure| self.named(failure))
    }

    /// A client of OrderService, for its stream.
    pub(crate) fn order_stream(&self) -> Orders {
        self.clients.orders.clone()
    }

    /// A client of EventService, for its stream.
    pub(crate) fn event_stream(&self) -> Events {
        self.clients.events.clone()
    }

    /// Follows a list up to the limit. `fetch` takes page size and page token, and gives items and the next token.
    pub(crate) async fn pages<Item>(
        &self,
        max_page_size: usize,
        fetch: impl AsyncFn(i32, String) -> Result<(Vec<Item>, String), Failure>,
    ) -> Result<Found<Item>, Failure> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let size = self.limit.saturating_sub(items.len()).min(max_page_size);
            let size = i32::try_from(size).expect("no page of the contract holds more than 500");
            let (page, next) = fetch(size, token.clone()).await?;
            items.extend(page);
            if next.is_empty() || items.len() >= self.limit {
                let more = !next.is_empty() || items.len() > self.limit;
                items.truncate(self.limit);
                return Ok(Found { items, more });
            }
            // A cursor that stands still would be followed for ever.
            if next == token {
                return Err(Failure::Contract("next_page_token leads to the same page again".to_owned()));
            }
            token = next;
        }
    }

    async fn repeated<Client: Clone, Q: Clone, A>(
        &self,
        request: &Q,
        client: &Client,
        send: &impl AsyncFn(&mut Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let mut attempt = 1;
        loop {
            let mut message = Request::new(request.clone());
            message.set_timeout(self.timeout);
            let mut client = client.clone();
            let status = match tokio::time::timeout(self.timeout, send(&mut client, message)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {} s", self.timeout.as_secs())),
            };
            let refusal = Refusal::new(&status);
            match wait_before_next(&refusal, attempt, self.context.chance()) {
                Some(wait) if attempt < self.attempts => tokio::time::sleep(wait).await,
                _ => return Err(Failure::Call(Box::new(refusal))),
            }
            attempt += 1;
        }
    }

    fn named(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Call(mut refusal) => {
                refusal.request_id = Some(self.request_id.clone());
                Failure::Call(refusal)
            }
            other => other,
        }
    }
}

/// How long to wait before the call is tried again; `None` when that would not help. Never sooner than the server said.
fn wait_before_next(refusal: &Refusal, attempt: u32, chance: f64) -> Option<Duration> {
    if refusal.hopeless {
        return None;
    }
    let jittered = |ceiling: Duration| ceiling.mul_f64(chance);
    match (refusal.code, refusal.retry_after) {
        (
            Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded,
            Some(delay),
        ) => (delay <= MAX_WAIT).then(|| delay + jittered(delay.max(FIRST_WAIT))),
        (Code::Unavailable, None) => {
            let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
            Some(jittered(doubled.min(MAX_WAIT)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
