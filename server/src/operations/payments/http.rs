//! The HTTP gateway: docs/gateway.md, spoken with hyper's own client. No redirect is followed, no answer is longer than
//! [`MAX_ANSWER_BYTES`], no more than so many calls are under way at once, and nothing is tried again here: whoever asks knows
//! what a lost answer means.

use super::contract::{Amount, judge};
use super::{Ask, Capture, Failed, Gateway, Operation, Said};
use crate::auth::BoxFuture;
use crate::domain::payment::Trouble;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error as ClientError, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use std::error::Error as _;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Longest answer taken, bytes.
const MAX_ANSWER_BYTES: usize = 65_536;
/// Idle connections kept.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// How long they are kept: less than gateways usually keep theirs.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// What an operator can set of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpGatewaySettings {
    /// Base URL.
    pub url: String,
    /// Sent as a bearer token; empty: none is.
    pub api_key: String,
    /// Most calls under way at once, each on a connection of its own.
    pub connections: usize,
}

impl std::fmt::Debug for HttpGatewaySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpGatewaySettings").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What is wrong with the settings of a gateway.
#[derive(Debug, thiserror::Error)]
pub enum BadGateway {
    /// `payments.url`
    #[error("must be https://<host>[:port][/path], or http:// on this machine: an API key travels in it")]
    Url,
    /// `payments.api_key_file`
    #[error("must hold one line of printable ASCII")]
    ApiKey,
    /// Trusted certificates.
    #[error("the system's trusted certificates can't be read: {0}")]
    Roots(#[source] std::io::Error),
}

/// The HTTP gateway.
pub struct HttpGateway {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    slots: Semaphore,
}

#[derive(Serialize)]
struct RequestBody {
    payment_key: Uuid,
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<bool>,
}

impl HttpGateway {
    /// Connects when it is first asked.
    ///
    /// # Errors
    /// A setting is not what it must be.
    pub fn new(settings: &HttpGatewaySettings) -> Result<Self, BadGateway> {
        let base = base_url(&settings.url).ok_or(BadGateway::Url)?;
        let authorization = match settings.api_key.as_str() {
            "" => None,
            key => {
                let value = HeaderValue::from_str(&format!("Bearer {key}"));
                let mut value = value.map_err(|_| BadGateway::ApiKey)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(BadGateway::Roots)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(MAX_ANSWER_BYTES)
            .build(connector);
        Ok(Self { client, base, authorization, slots: Semaphore::new(settings.connections.max(1)) })
    }

    async fn call(&self, operation: Operation, ask: &Ask, capture: Option<bool>) -> Result<Said, Failed> {
        let request = self.request(operation, ask, capture)?;
        let _slot = self.slots.acquire().await;
        let answer = self.client.request(request).await.map_err(|error| unanswered(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| {
            match error.downcast_ref::<LengthLimitError>() {
                Some(_) => Failed::outage(
                    Trouble::Error,
                    format!("HTTP {status} with more than {MAX_ANSWER_BYTES} bytes"),
                ),
                None => Failed::outage(Trouble::Timeout, "the connection ended in the middle of the answer"),
            }
        })?;
        judge(operation, ask, status, &body.to_bytes())
    }

    fn request(
        &self,
        operation: Operation,
        ask: &Ask,
        capture: Option<bool>,
    ) -> Result<Request<Full<Bytes>>, Failed> {
        let key = ask.key;
        let (method, path) = match operation {
            Operation::Authorise => (Method::POST, String::new()),
            Operation::Query => (Method::GET, format!("/{key}")),
            Operation::Capture | Operation::Void | Operation::Refund => {
                (Method::POST, format!("/{key}/{}", operation.name()))
            }
        };
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}/v1/payments{path}", self.base))
            .header("idempotency-key", key.to_string())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("vendfleet/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if !ask.traceparent.is_empty() {
            builder = builder.header("traceparent", &ask.traceparent);
        }
        let body = match operation {
            Operation::Query => Vec::new(),
            _ => {
                builder = builder.header(CONTENT_TYPE, "application/json");
                let (currency_code, minor_units) = (ask.currency.as_str().to_owned(), ask.amount_minor);
                let amount = Amount { currency_code, minor_units };
                serde_json::to_vec(&RequestBody { payment_key: key, amount, capture }).map_err(unsent)?
            }
        };
        builder.body(Full::new(Bytes::from(body))).map_err(unsent)
    }
}

/// Nothing was sent.
fn unsent(error: impl std::fmt::Display) -> Failed {
    Failed::payment(Trouble::Error, format!("the request can't be written: {error}"))
}

fn unanswered(error: &ClientError) -> Failed {
    if error.is_connect() {
        // The connector's own words name addresses; for the log of this server that is right, and a caller never sees it.
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        return Failed::outage(Trouble::Unreachable, format!("no connection: {cause}"));
    }
    match error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(cause) if cause.is_parse() || cause.is_parse_too_large() => {
            Failed::outage(Trouble::Error, "an answer that is no HTTP")
        }
        _ => Failed::outage(Trouble::Timeout, "the connection ended before there was an answer"),
    }
}

/// The URL without a slash at its end, if it is one that may be used.
fn base_url(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?;
    let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let allowed = match uri.scheme_str()? {
        "https" => true,
        "http" => local,
        _ => false,
    };
    let plain = uri.query().is_none() && !uri.authority()?.as_str().contains('@');
    (allowed && plain).then(|| url.trim_end_matches('/').to_owned())
}

impl Gateway for HttpGateway {
    fn authorise<'g>(&'g self, ask: &'g Ask, capture: Capture) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.call(Operation::Authorise, ask, Some(capture == Capture::Now)))
    }

    fn capture<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.call(Operation::Capture, ask, None))
    }

    fn void<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.call(Operation::Void, ask, None))
    }

    fn refund<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.call(Operation::Refund, ask, None))
    }

    fn query<'g>(&'g self, ask: &'g Ask) -> BoxFuture<'g, Result<Said, Failed>> {
        Box::pin(self.call(Operation::Query, ask, None))
    }
}

impl std::fmt::Debug for HttpGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpGateway").field("base", &self.base).finish_non_exhaustive()
    }
}
