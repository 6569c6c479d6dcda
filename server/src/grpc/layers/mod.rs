//! What every call passes before it reaches a service, in this order: trace id, place under the load limit, who is
//! calling, how often, may they, deadline, panic guard; and on the way back: a reason on every refusal, trace headers,
//! metrics.
//!
//! Plain steps of one function instead of a stack of middleware: the order is the meaning, and here it can be read.

mod body;
mod deadline;
mod live;
mod panic;
#[cfg(test)]
mod tests;

pub use live::{LiveStreams, end_fallen_streams};

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code as GrpcCode, Status, body::Body, service::Routes};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::status;
use crate::{
    auth::{
        Authenticator, Caller, Role,
        calls::{self, Call},
    },
    config::LimitsConfig,
    context::Context,
    error::{ApiError, Reason},
    limits::{RateClass, RateLimiter},
    metrics::Metrics,
    telemetry::Trace,
    tls::PeerInfo,
};

/// Everything the steps need. One per server.
#[derive(Debug)]
pub struct Shell {
    context: Context,
    auth: Arc<Authenticator>,
    rate: RateLimiter,
    limits: LimitsConfig,
    metrics: Metrics,
    calls: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    live: Arc<LiveStreams>,
    /// Cancelled when the server drains: streams end.
    drain: CancellationToken,
}

/// The call with the largest messages and the most callers at once: it has a message limit and places of its own.
const SYNC: &str = "/vendfleet.v1.MachineSyncService/Sync";

impl Shell {
    /// A shell for one server.
    pub fn new(
        context: Context,
        auth: Arc<Authenticator>,
        limits: &LimitsConfig,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> Self {
        Self {
            rate: RateLimiter::new(limits, context.clone()),
            context,
            auth,
            limits: limits.clone(),
            metrics,
            calls: Arc::new(Semaphore::new(limits.max_calls_in_flight)),
            syncs: Arc::new(Semaphore::new(limits.max_syncs_in_flight)),
            streams: Arc::new(Semaphore::new(limits.max_open_streams)),
            live: Arc::default(),
            drain,
        }
    }

    /// The open streams of machines, so that a revocation can end them.
    pub fn live(&self) -> &Arc<LiveStreams> {
        &self.live
    }

    /// Takes one call through all steps. Never fails: a refusal is an answer.
    pub async fn handle(self: Arc<Self>, routes: Routes, request: Request<Body>) -> Response<Body> {
        let started = self.context.elapsed();
        let trace = taken_trace(request.headers(), &self.context);
        let known = calls::find(request.uri().path());
        let method = known.map_or("unknown", |call| call.path);
        // Made once it is known who calls: a field that is filled in later is written, read and written again.
        let span =
            |caller: Option<&str>| tracing::info_span!("call", trace_id = trace.id.as_str(), method, caller);
        // Written as one expression: a future that is named before it is awaited is kept twice, and a crowd of calls at once
        // is as large as its futures.
        trace
            .clone()
            .scope(async {
                let entered = {
                    let peer = request.extensions().get::<PeerInfo>().copied();
                    let mut entering =
                        pin!(self.entered(known, request.uri().path(), request.headers(), peer));
                    match poll_fn(|cx| Poll::Ready(entering.as_mut().poll(cx))).await {
                        Poll::Ready(entered) => entered,
                        // Something has to be looked up, which may have something to log.
                        Poll::Pending => entering.instrument(span(None)).await,
                    }
                };
                let span = span(entered.as_ref().ok().map(|entered| entered.name.as_str()));
                async {
                    let handled = match entered {
                        Ok(entered) => self.admitted(entered, routes, request, &trace).await,
                        Err(error) => Err(error),
                    };
                    let response = handled.unwrap_or_else(|error| Status::from(error).into_http());
                    self.finish(response, method, started, &trace)
                }
                .instrument(span)
                .await
            })
            .await
    }

    async fn entered(
        &self,
        known: Option<&'static Call>,
        path: &str,
        headers: &HeaderMap,
        peer: Option<PeerInfo>,
    ) -> Result<Entered, ApiError> {
        let call = known.ok_or_else(|| status::unimplemented(path))?;
        let place = self.place(call)?;
        let caller = self.authenticate(headers, peer).await?;
        Ok(Entered { call, place, peer, name: caller.name(), caller })
    }

    async fn admitted(
        &self,
        entered: Entered,
        routes: Routes,
        mut request: Request<Body>,
        trace: &Trace,
    ) -> Result<Response<Body>, ApiError> {
        let Entered { call, place, peer, name, caller } = entered;
        if !call.always {
            self.admit_rate(&caller, name, peer)?;
        }
        call.authorise(&caller)?;
        let machine = caller.machine().copied();
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(trace.clone());

        let asked = deadline::requested(request.headers());
        let most = Duration::from_millis(self.limits.deadline_ms.saturating_add(call.waits_ms));
        // For a stream this bounds only its opening; its own deadline travels with its body.
        let allowed = asked.map_or(most, |asked| asked.min(most));
        let handled = tokio::time::timeout(allowed, panic::caught(routes.oneshot(request)))
            .await
            .map_err(|_| deadline::exceeded(allowed))?;
        let response = match handled? {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if !call.streams || response.headers().contains_key("grpc-status") {
            return Ok(response);
        }
        let most_age = Duration::from_millis(self.limits.stream_age_ms);
        let age = most_age / 2 + self.context.jitter(most_age / 2);
        let revoked = machine.map(|machine| LiveStreams::enter(&self.live, machine.credential_id));
        let bounds = body::Bounds { deadline: asked, age, drain: self.drain.clone(), revoked };
        let open = body::Open::new(place, self.metrics.open_streams.clone(), trace.clone());
        Ok(response.map(|inner| Body::new(body::StreamBody::new(inner, bounds, open))))
    }

    /// A place under the load limit, or OVERLOADED before any work.
    fn place(&self, call: &Call) -> Result<Option<Place>, ApiError> {
        if call.always {
            return Ok(None);
        }
        let (semaphore, gauge) = match (call.streams, call.path) {
            (true, _) => (&self.streams, None),
            (false, SYNC) => (&self.syncs, Some(&self.metrics.calls_in_flight)),
            (false, _) => (&self.calls, Some(&self.metrics.calls_in_flight)),
        };
        let permit = semaphore.clone().try_acquire_owned().map_err(|_| {
            // Spread, so that those turned away together don't come back together.
            let delay = Duration::from_millis(500) + self.context.jitter(Duration::from_millis(1_500));
            ApiError::new(Reason::Overloaded, "the server has all the calls it can work on")
                .retry_after(delay)
        })?;
        Ok(Some(Place::new(permit, gauge.cloned())))
    }

    async fn authenticate(&self, headers: &HeaderMap, peer: Option<PeerInfo>) -> Result<Caller, ApiError> {
        let mut given = headers.get_all(http::header::AUTHORIZATION).iter();
        let authorization = given.next().map(HeaderValue::as_bytes);
        if given.next().is_some() {
            return Err(ApiError::new(Reason::Unauthenticated, "`authorization` is given once"));
        }
        // The lookup may need the database, which may be slow: it has a bound of its own.
        let most = Duration::from_millis(self.limits.deadline_ms);
        let asked = self.auth.authenticate(authorization, peer.and_then(|peer| peer.certificate));
        tokio::time::timeout(most, asked).await.map_err(|_| deadline::exceeded(most))?
    }

    fn admit_rate(&self, caller: &Caller, name: String, peer: Option<PeerInfo>) -> Result<(), ApiError> {
        let (name, class) = match (caller, peer) {
            (Caller::Anonymous, Some(peer)) => {
                (format!("ip:{}", peer.address.ip().to_canonical()), RateClass::Each)
            }
            (Caller::Person(person), _) if person.role == Role::Service => (name, RateClass::Service),
            _ => (name, RateClass::Each),
        };
        self.rate.admit(&name, class).map_err(|refusal| {
            ApiError::new(Reason::RateLimited, "more calls than one caller may make")
                .with("limit", refusal.limit)
                .with("window_ms", refusal.window.as_millis())
                .retry_after(refusal.retry_after)
        })
    }

    fn finish(
        &self,
        response: Response<Body>,
        method: &'static str,
        started: Duration,
        trace: &Trace,
    ) -> Response<Body> {
        let limit = if method == SYNC { self.limits.sync_message_bytes } else { self.limits.message_bytes };
        let code = status::code(response.headers());
        let completed = status::unexplained(response.headers())
            .and_then(|status| status::complete(&status, method, limit));
        let (code, mut response) = match completed {
            Some(error) => {
                let status = Status::from(error);
                (status.code(), status.into_http())
            }
            None => (code, response),
        };
        let headers = response.headers_mut();
        status::keep_out_of_table(headers);
        for (name, value) in [("x-trace-id", trace.id.clone()), ("traceparent", trace.traceparent())] {
            if let Ok(mut value) = HeaderValue::try_from(value) {
                // Different in every answer: in the connection's table of headers seen before (HPACK) it would only push
                // out what comes again.
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        let took = self.context.elapsed().saturating_sub(started);
        let code = code_name(code);
        self.metrics.count_call(method, code, took);
        tracing::debug!(code, took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "call answered");
        response
    }
}

fn taken_trace(headers: &HeaderMap, context: &Context) -> Trace {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::take(text("x-trace-id"), text("traceparent"), context)
}

/// A call that may be worked on, and who makes it.
struct Entered {
    call: &'static Call,
    place: Option<Place>,
    peer: Option<PeerInfo>,
    caller: Caller,
    name: String,
}

/// A place under a load limit, given back when dropped.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    gauge: Option<prometheus_client::metrics::gauge::Gauge>,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, gauge: Option<prometheus_client::metrics::gauge::Gauge>) -> Self {
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Self { _permit: permit, gauge }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.dec();
        }
    }
}

fn code_name(code: GrpcCode) -> &'static str {
    match code {
        GrpcCode::Ok => "OK",
        GrpcCode::Cancelled => "CANCELLED",
        GrpcCode::Unknown => "UNKNOWN",
        GrpcCode::InvalidArgument => "INVALID_ARGUMENT",
        GrpcCode::DeadlineExceeded => "DEADLINE_EXCEEDED",
        GrpcCode::NotFound => "NOT_FOUND",
        GrpcCode::AlreadyExists => "ALREADY_EXISTS",
        GrpcCode::PermissionDenied => "PERMISSION_DENIED",
        GrpcCode::ResourceExhausted => "RESOURCE_EXHAUSTED",
        GrpcCode::FailedPrecondition => "FAILED_PRECONDITION",
        GrpcCode::Aborted => "ABORTED",
        GrpcCode::OutOfRange => "OUT_OF_RANGE",
        GrpcCode::Unimplemented => "UNIMPLEMENTED",
        GrpcCode::Internal => "INTERNAL",
        GrpcCode::Unavailable => "UNAVAILABLE",
        GrpcCode::DataLoss => "DATA_LOSS",
        GrpcCode::Unauthenticated => "UNAUTHENTICATED",
    }
}
