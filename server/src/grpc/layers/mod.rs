//! What every call passes before it reaches a service, in this order: trace id, who is calling, how often, may they, a
//! place among the calls of its class and its caller, deadline, panic guard; and on the way back: a reason on every refusal, trace headers,
//! metrics.
//!
//! Plain steps of one function instead of a stack of middleware: the order is the meaning, and here it can be read.

mod body;
mod deadline;
mod live;
mod panic;
mod places;
#[cfg(test)]
mod tests;

pub use live::{LiveStreams, end_fallen_streams};

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code as GrpcCode, Status, body::Body, service::Routes};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::status;
use crate::{
    auth::{
        Authenticator, Caller,
        calls::{self, Call},
    },
    config::LimitsConfig,
    context::Context,
    error::{ApiError, Reason},
    limits::{Class, Failures, OpenCall, Place, Places, RateLimiter, StreamEnds, network},
    metrics::{KindLabels, Metrics},
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
    /// Calls of which is being found out who makes them.
    entering: Semaphore,
    places: Arc<Places>,
    failures: Failures,
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
        let (context_of_places, failures) = (context.clone(), Failures::new(limits, context.clone()));
        Self {
            rate: RateLimiter::new(limits, context.clone()),
            context,
            auth,
            limits: limits.clone(),
            entering: Semaphore::new(limits.max_calls_in_flight.saturating_add(limits.max_syncs_in_flight)),
            places: Places::new(limits, context_of_places, metrics.clone()),
            failures,
            metrics,
            live: Arc::new(LiveStreams::new(limits.watches_per_machine)),
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
        let caller = match call.always {
            true => self.authenticate(headers, peer).await?,
            false => {
                let _entering = self.entering.try_acquire().map_err(|_| places::overloaded())?;
                self.authenticate(headers, peer).await?
            }
        };
        let name = caller.name();
        let (class, counted) = places::counted_as(&caller, &name, peer);
        if !call.always {
            self.admit_rate(class, &counted)?;
        }
        if let (Class::Stranger, false, false, Some(peer)) = (class, call.streams, call.always, peer) {
            // What it brings instead of a credential is a claim token, and guesses of those count, too.
            self.admit_unknown(peer)?;
        }
        call.authorise(&caller)?;
        let place = if call.always { None } else { Some(self.place(call, class, &counted)?) };
        Ok(Entered { call, place, peer, name, class, counted, caller })
    }

    async fn admitted(
        &self,
        entered: Entered,
        routes: Routes,
        mut request: Request<Body>,
        trace: &Trace,
    ) -> Result<Response<Body>, ApiError> {
        let Entered { call, mut place, peer, class, counted, caller, .. } = entered;
        // Until the last byte of the answer is taken, where the connection can tell.
        let open_call = request.extensions_mut().remove::<Arc<OpenCall>>();
        if let Some(open_call) = &open_call {
            if class != Class::Stranger {
                open_call.known();
            }
            if let Some(place) = place.take() {
                open_call.hold(place);
            }
        }
        let machine = caller.machine().copied();
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(trace.clone());

        let asked = deadline::requested(request.headers());
        let most = Duration::from_millis(self.limits.deadline_ms.saturating_add(call.waits_ms));
        // For a stream this bounds only its opening; its own deadline travels with its body.
        let allowed = asked.map_or(most, |asked| asked.min(most));
        // Dropped with the stream, or where there is none: it ends what the call still reads.
        let over = call.streams.then(CancellationToken::new);
        if let Some(over) = &over {
            request = request.map(|inner| Body::new(body::Until::new(inner, over.clone())));
        }
        let over = over.map(CancellationToken::drop_guard);
        let handled = tokio::time::timeout(allowed, panic::caught(routes.oneshot(request)))
            .await
            .map_err(|_| deadline::exceeded(allowed))?;
        let response = match handled? {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if class == Class::Stranger && status::code(response.headers()) == GrpcCode::Unauthenticated {
            // A claim token is a credential, too.
            self.failed(peer, "CLAIM_TOKEN_INVALID");
        }
        if !call.streams || response.headers().contains_key("grpc-status") {
            return Ok(response);
        }
        let most_age = Duration::from_millis(self.limits.stream_age_ms);
        let age = most_age / 2 + self.context.jitter(most_age / 2);
        let live = machine.map(|machine| LiveStreams::enter(&self.live, machine.credential_id));
        if let Some(open_call) = &open_call {
            let fallen = live.as_ref().map(|live| vec![live.ended.clone(), live.replaced.clone()]);
            open_call.end_at(StreamEnds {
                at: self.context.elapsed() + asked.map_or(age, |asked| asked.min(age)),
                drain: self.drain.clone(),
                fallen: fallen.unwrap_or_default(),
            });
        }
        let bounds = body::Bounds {
            deadline: asked,
            age,
            drain: self.drain.clone(),
            live,
            most_live: self.live.most(),
        };
        let stranger = (class == Class::Stranger).then(|| (self.places.clone(), counted));
        let open = body::Open::new(place, over, stranger, trace.clone());
        Ok(response.map(|inner| Body::new(body::StreamBody::new(inner, bounds, open))))
    }

    async fn authenticate(&self, headers: &HeaderMap, peer: Option<PeerInfo>) -> Result<Caller, ApiError> {
        let mut given = headers.get_all(http::header::AUTHORIZATION).iter();
        let authorization = given.next().map(HeaderValue::as_bytes);
        if given.next().is_some() {
            return Err(ApiError::new(Reason::Unauthenticated, "`authorization` is given once"));
        }
        let certificate = peer.and_then(|peer| peer.certificate);
        if let (Some(authorization), Some(peer)) = (authorization, peer)
            && self.failures.wait(network(peer.address.ip())).is_some()
            && !self.auth.has_seen(authorization)
        {
            self.admit_unknown(peer)?;
        }
        // The lookup may need the database, which may be slow: it has a bound of its own.
        let most = Duration::from_millis(self.limits.deadline_ms);
        let asked = self.auth.authenticate(authorization, certificate);
        let known = tokio::time::timeout(most, asked).await.map_err(|_| deadline::exceeded(most))?;
        if let Err(error) = &known
            && matches!(error.reason, Reason::Unauthenticated | Reason::TokenExpired)
        {
            self.failed(peer, error.reason.name());
        }
        known
    }

    /// Refuses a network from which too many wrong credentials came.
    fn admit_unknown(&self, peer: PeerInfo) -> Result<(), ApiError> {
        let Some(wait) = self.failures.wait(network(peer.address.ip())) else { return Ok(()) };
        self.metrics.auth_failures.get_or_create(&KindLabels { kind: "RATE_LIMITED" }).inc();
        let quota = self.failures.quota();
        let words = "too many wrong credentials from this address";
        Err(places::rate_limited(words, quota.limit, quota.window).retry_after(wait))
    }

    /// Counts a wrong credential, and says so in the log now and then.
    fn failed(&self, peer: Option<PeerInfo>, kind: &'static str) {
        self.metrics.auth_failures.get_or_create(&KindLabels { kind }).inc();
        let Some(peer) = peer else { return };
        if let Some(failed) = self.failures.count(network(peer.address.ip())) {
            tracing::warn!(count = failed.count, latest = %failed.latest, kind, "wrong credentials");
        }
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
    class: Class,
    /// The name its bounds are counted under.
    counted: String,
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
