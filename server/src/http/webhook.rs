//! `POST /webhooks/payments`: what the payment gateway tells by itself (docs/gateway.md). Signed; applied once; answered 503
//! while it can't be kept, so that the gateway sends it again.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::{
    context::Context,
    domain::{
        ids::PurchaseId,
        order::{Answer, Command, Finding, Refusal},
    },
    error::{ApiError, Retry},
    metrics::{KindLabels, PaymentMetrics},
    operations::{
        orders::Orders,
        payments::{MAX_WEBHOOK_BYTES, Notice, WebhookSecrets},
        pool::Pool,
    },
    telemetry::Trace,
};

/// Carries `t=<seconds>,v1=<hex>[,v1=<hex>]`.
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Webhooks worked on at once; more are answered 503.
const MAX_AT_ONCE: usize = 64;
/// Longest wait for a body.
const BODY_FOR: Duration = Duration::from_secs(5);

/// Takes webhooks.
#[derive(Clone)]
pub struct Webhooks {
    secrets: WebhookSecrets,
    orders: Orders,
    pool: Pool,
    asks_for: Duration,
    context: Context,
    metrics: PaymentMetrics,
    places: Arc<Semaphore>,
}

impl Webhooks {
    /// Believes who signs with one of these secrets. A worker asks the gateway for `asks_for` at most in one go.
    pub fn new(
        secrets: WebhookSecrets,
        orders: Orders,
        pool: Pool,
        asks_for: Duration,
        context: Context,
        metrics: PaymentMetrics,
    ) -> Self {
        let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
        Self { secrets, orders, pool, asks_for, context, metrics, places }
    }

    /// The route.
    pub fn router(self) -> Router {
        Router::new().route("/webhooks/payments", post(receive)).with_state(self)
    }

    async fn take(&self, headers: &HeaderMap, body: Body) -> Outcome {
        let Ok(_place) = self.places.try_acquire() else { return Outcome::Later("too many at once") };
        let body = match tokio::time::timeout(BODY_FOR, to_bytes(body, MAX_WEBHOOK_BYTES)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Outcome::TooLarge,
            Err(_) => return Outcome::Bad("the body did not come in time".to_owned()),
        };
        let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Err(cause) = self.secrets.verify(signature, &body, self.context.now_ms()) {
            tracing::warn!(%cause, "a webhook is not believed");
            return Outcome::NotBelieved;
        }
        match Notice::parse(&body) {
            Ok(notice) => self.note(notice).await,
            Err(cause) => {
                tracing::error!(%cause, "a signed webhook breaks the contract");
                Outcome::Bad(cause.to_string())
            }
        }
    }

    async fn note(&self, notice: Notice) -> Outcome {
        let Notice { event_id, order, learnt } = notice;
        let Some(learnt) = learnt else { return Outcome::Taken };
        tracing::info!(event_id, payment_key = %order, verdict = ?learnt.verdict, "a webhook of the payment gateway");
        let finding = Finding { order, learnt, at_ms: self.context.now_ms() };
        match self.orders.submit(Command::Finding(finding)).await {
            Ok(Answer::Refused(Refusal::OrderNotFound(_))) => self.note_purchase(PurchaseId(order.0)).await,
            Ok(Answer::Done(_)) => Outcome::Taken,
            Ok(other) => {
                tracing::error!(?other, "a webhook was answered with something else");
                Outcome::Broken
            }
            Err(error) => not_noted(&error),
        }
    }

    /// A purchase goes on by what its own worker is told, so this is no more than a reason to ask.
    async fn note_purchase(&self, purchase: PurchaseId) -> Outcome {
        match self.pool.notice(purchase, self.asks_for).await {
            Ok(true) => Outcome::Taken,
            Ok(false) => Outcome::NoOrder,
            Err(error) => not_noted(&error),
        }
    }
}

fn not_noted(error: &ApiError) -> Outcome {
    if error.reason.retry() == Retry::Backoff {
        tracing::warn!(%error, "a webhook is to come again");
        return Outcome::Later("temporarily unavailable");
    }
    tracing::error!(%error, cause = ?error.cause(), "a webhook could not be noted");
    Outcome::Broken
}

enum Outcome {
    Taken,
    NotBelieved,
    NoOrder,
    TooLarge,
    Bad(String),
    Later(&'static str),
    Broken,
}

impl Outcome {
    fn kind(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NotBelieved => "not_believed",
            Self::NoOrder => "no_order",
            Self::TooLarge | Self::Bad(_) => "bad",
            Self::Later(_) => "later",
            Self::Broken => "broken",
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => (StatusCode::OK, "taken\n").into_response(),
            Self::NotBelieved => (StatusCode::UNAUTHORIZED, "the signature is not valid\n").into_response(),
            Self::NoOrder => {
                (StatusCode::NOT_FOUND, "payment_key: there is no such order or purchase\n").into_response()
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, format!("at most {MAX_WEBHOOK_BYTES} bytes\n"))
                .into_response(),
            Self::Bad(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
            Self::Later(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "2")], format!("{why}\n")).into_response()
            }
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
        }
    }
}

async fn receive(State(webhooks): State<Webhooks>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(&name).and_then(|value| value.to_str().ok());
    let trace = Trace::take(header(TRACE_ID), header(TRACEPARENT), &webhooks.context);
    let span = tracing::info_span!("webhook", trace_id = %trace.id);
    let id = trace.id.clone();
    // On a task of its own: a gateway that hangs up stops nothing that was begun.
    let taking = webhooks.clone();
    let taken =
        tokio::spawn(trace.scope(async move { taking.take(&parts.headers, body).await }.instrument(span)));
    let outcome = taken.await.unwrap_or(Outcome::Broken);
    webhooks.metrics.webhooks.get_or_create(&KindLabels { kind: outcome.kind() }).inc();
    ([(TRACE_ID, id)], outcome).into_response()
}
