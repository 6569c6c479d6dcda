//! The real transport: gRPC over HTTP/2 over TLS with a pinned CA.
//!
//! One connection per machine, made when first needed and again when it broke. Small windows and buffers: a machine
//! sends kilobytes and has megabytes.

use super::line::Line;
use super::{
    CallError, Enroll, Enrolled, FailureKind, Hint, Hints, SyncAnswer, SyncCall, Transport, translate,
};
use crate::context::Context;
use crate::credentials::{Endpoint, Identity};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;
use vend_core::id::{BootId, Epoch};
use vendfleet_proto::v1;
use vendfleet_proto::v1::machine_sync_service_client::MachineSyncServiceClient;

/// TCP and TLS must stand within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Enroll and Sync must be answered within this; the server lets no call live longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A Watch must be open within this.
const WATCH_OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// A ping after so long without a frame; a mobile network forgets a quiet connection in minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// A ping must be answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2 windows, bytes: an answer with a 64 KiB config fits.
const WINDOW_BYTES: u32 = 128 * 1024;
/// Largest answer taken, bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Calls that may queue for the connection.
const QUEUED_CALLS: usize = 4;

/// gRPC over TLS. Made without an identity, it can only enrol.
pub struct GrpcTransport {
    context: Context,
    line: Line,
    session: RwLock<Session>,
}

#[derive(Clone)]
struct Session {
    channel: Channel,
    authorization: Option<AsciiMetadataValue>,
}

impl GrpcTransport {
    /// A way to this server; nothing is connected yet. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When the URL or the CA can't be used.
    pub fn new(context: Context, endpoint: &Endpoint, line: Line) -> Result<Self, CallError> {
        let session = RwLock::new(Session { channel: channel(endpoint, None, &line)?, authorization: None });
        Ok(Self { context, line, session })
    }

    /// A client on the present connection, a request with the headers every call carries, and its trace id.
    fn call<M>(&self, message: M) -> (MachineSyncServiceClient<Channel>, Request<M>, String) {
        let session = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        let client = MachineSyncServiceClient::new(session.channel)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES);
        let trace_id = hex::encode(self.context.random16());
        let mut request = Request::new(message);
        let trace = AsciiMetadataValue::try_from(trace_id.as_str()).expect("hex is ASCII");
        request.metadata_mut().insert("x-trace-id", trace);
        if let Some(authorization) = session.authorization {
            request.metadata_mut().insert("authorization", authorization);
        }
        (client, request, trace_id)
    }

    /// Waits for an answer no longer than `limit`, logs how it ended under its trace id.
    async fn bounded<A>(
        &self,
        name: &'static str,
        trace_id: &str,
        limit: Duration,
        call: impl Future<Output = Result<Response<A>, Status>>,
    ) -> Result<A, CallError> {
        let outcome = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map(Response::into_inner).map_err(|status| translate::failure(&status)),
            Err(_) => Err(translate::timed_out(limit)),
        };
        match &outcome {
            Ok(_) if self.line.loses_answers() => {
                return Err(CallError::local(FailureKind::Later, "ANSWER_LOST", "lost on the way back"));
            }
            Ok(_) => tracing::debug!(call = name, trace_id, "answered"),
            Err(error) => tracing::info!(call = name, trace_id, %error, "failed"),
        }
        outcome
    }
}

impl Transport for GrpcTransport {
    type Hints = GrpcHints;

    async fn enroll(&self, call: Enroll) -> Result<Enrolled, CallError> {
        let (mut client, mut request, trace_id) = self.call(translate::enroll_up(call));
        // A machine that enrols anew must not speak as who it was.
        request.metadata_mut().remove("authorization");
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.bounded("Enroll", &trace_id, CALL_TIMEOUT, client.enroll(request)).await?;
        translate::enroll_down(answer)
    }

    async fn sync(&self, call: SyncCall) -> Result<SyncAnswer, CallError> {
        let (mut client, mut request, trace_id) = self.call(translate::sync_up(call));
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.bounded("Sync", &trace_id, CALL_TIMEOUT, client.sync(request)).await?;
        translate::sync_down(answer)
    }

    async fn watch(&self, epoch: Epoch, boot: BootId) -> Result<GrpcHints, CallError> {
        let ask = v1::WatchRequest { epoch: epoch.0.to_vec(), boot_id: boot.0.to_vec() };
        let (mut client, request, trace_id) = self.call(ask);
        let stream = self.bounded("Watch", &trace_id, WATCH_OPEN_TIMEOUT, client.watch(request)).await?;
        Ok(GrpcHints(stream))
    }

    fn speak_as(&self, endpoint: &Endpoint, identity: &Identity) -> Result<(), CallError> {
        let channel = channel(endpoint, Some(identity), &self.line)?;
        let header = format!("Machine {}.{}", identity.credential_id, identity.secret.to_base64url());
        let mut authorization = AsciiMetadataValue::try_from(header)
            .map_err(|_| unusable("credential_id must be visible ASCII"))?;
        authorization.set_sensitive(true);
        *self.session.write().unwrap_or_else(PoisonError::into_inner) =
            Session { channel, authorization: Some(authorization) };
        Ok(())
    }
}

/// The stream of hints.
pub struct GrpcHints(Streaming<v1::WatchResponse>);

impl Hints for GrpcHints {
    async fn next(&mut self) -> Result<Option<Hint>, CallError> {
        let hint = self.0.message().await.map_err(|status| translate::failure(&status))?;
        Ok(hint.as_ref().map(translate::hint_down))
    }
}

fn channel(endpoint: &Endpoint, identity: Option<&Identity>, line: &Line) -> Result<Channel, CallError> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&endpoint.ca_pem))
        .timeout(CONNECT_TIMEOUT);
    if let Some(name) = &endpoint.server_name {
        tls = tls.domain_name(name);
    }
    if let Some(certificate) = identity.and_then(|i| i.certificate.as_ref()) {
        tls = tls.identity(tonic::transport::Identity::from_pem(
            &certificate.certificate_pem,
            &certificate.key_pem,
        ));
    }
    let way = tonic::transport::Endpoint::from_shared(endpoint.url.clone())
        .map_err(|error| unusable(format!("url: {error}")))?;
    if way.uri().scheme_str() != Some("https") {
        return Err(unusable("url must begin with https://"));
    }
    let way = way
        .tls_config(tls)
        .map_err(|error| unusable(format!("ca or certificate: {error}")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .buffer_size(QUEUED_CALLS);
    let line = line.clone();
    Ok(way.connect_with_connector_lazy(service_fn(move |uri: http::Uri| {
        let line = line.clone();
        async move {
            if !line.is_plugged() {
                return Err(io::Error::from(io::ErrorKind::NetworkUnreachable));
            }
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            line.through(stream).map(TokioIo::new)
        }
    })))
}

fn unusable(message: impl Into<String>) -> CallError {
    CallError::local(FailureKind::Refused, "BAD_ENDPOINT", message)
}
