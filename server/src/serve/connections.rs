//! Serving connections: HTTP/2 (and HTTP/1.1 for gRPC-Web) with every limit set, and an orderly end.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, service_fn};

use super::{
    cors::Cors,
    gather::Gather,
    sending::{CallExecutor, Sending},
};
use crate::{
    config::{LimitsConfig, WebConfig},
    grpc::layers::Shell,
    limits::{Connections, OpenCall},
    tls::{Listener, PeerInfo, Stream},
};

/// Most streams that a peer may have reset while they wait to be taken (rapid reset, CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Most streams that this end may have reset for protocol errors before the connection is closed.
const MAX_LOCAL_ERROR_RESETS: usize = 1_024;
/// Longest time an HTTP/1.1 peer may take for its headers.
const HTTP1_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of one stream that wait in the connection for its reader; hyper's own 400 KiB would be held by each of
/// a connection's streams that nobody reads.
const STREAM_BUFFER_BYTES: usize = 64 * 1_024;

/// A call under way. On the heap from its first step: hyper and tokio hand a call on by value, and it is some KiB large.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Sending<Body>>, Infallible>> + Send>>;

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) shell: Arc<Shell>,
    pub(super) routes: Routes,
    pub(super) web: WebConfig,
    pub(super) cors: Arc<Cors>,
    pub(super) limits: LimitsConfig,
    pub(super) open: Connections,
}

/// Every limit that hyper and h2 have is set here: what is left unset is, for some of them, no limit.
fn builder(limits: &LimitsConfig, web: &WebConfig, executor: CallExecutor) -> Builder<CallExecutor> {
    let mut builder = Builder::new(executor);
    if !web.grpc_web {
        builder = builder.http2_only();
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(limits.header_list_bytes)
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_ERROR_RESETS)
        .keep_alive_interval(Duration::from_millis(limits.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(limits.keepalive_timeout_ms));
    let http1_buffer = usize::try_from(limits.header_list_bytes).unwrap_or(usize::MAX).max(8_192);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_HEADER_TIMEOUT)
        .max_buf_size(http1_buffer);
    builder
}

/// Takes connections until `stop`, then tells the open ones to finish (GOAWAY). The tracker knows when all are gone.
pub(super) async fn accept(
    listener: Listener,
    serving: Serving,
    connections: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (serving, stop, kill) = (serving.clone(), stop.clone(), kill.clone());
        connections.spawn(async move {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                shaken = accepted.handshake() => match shaken {
                    Ok(shaken) => shaken,
                    Err(cause) => return tracing::debug!(%cause, "TLS handshake failed"),
                },
            };
            tokio::select! {
                () = kill.cancelled() => tracing::debug!(peer = %peer.address, "connection cut at the end of the drain"),
                () = serve_one(stream, peer, serving, stop) => {}
            }
        });
    }
}

async fn serve_one(stream: Stream, peer: PeerInfo, serving: Serving, stop: CancellationToken) {
    let Serving { shell, routes, web, cors, limits, open } = serving;
    let open = open.open(stream.progress().clone());
    let (browsers_shell, browsers_routes) = (shell.clone(), routes.clone());
    let call = service_fn(move |mut request: Request<Body>| {
        let (shell, routes) = (browsers_shell.clone(), browsers_routes.clone());
        async move {
            request.extensions_mut().insert(peer);
            Ok::<_, Infallible>(shell.handle(routes, request).await)
        }
    });
    let call = tower::util::BoxCloneService::new(call);
    let translated = web.grpc_web.then(|| GrpcWebLayer::new().layer(call.clone()));
    let arriving = open.clone();
    // hyper's own: it runs before the call's task is made, which is where that task finds its call.
    let entry = hyper::service::service_fn(move |request: Request<Incoming>| -> Answering {
        // What browsers need is only paid for by what may be one.
        let browsers = (!is_plain_grpc(&request)).then(|| (cors.clone(), call.clone(), translated.clone()));
        let (shell, routes) = (shell.clone(), routes.clone());
        let mut request = request.map(Body::new);
        let call = OpenCall::new(&arriving);
        if request.version() == http::Version::HTTP_2 {
            arriving.arrives(call.clone());
        }
        request.extensions_mut().insert(call.clone());
        match browsers {
            Some((cors, calls, translated)) => Box::pin(async move {
                let answer = cors.answer(request, calls, translated).await?;
                Ok(answer.map(|body| Sending::new(body, call)))
            }),
            None => {
                request.extensions_mut().insert(peer);
                Box::pin(async move {
                    Ok(shell.handle(routes, request).await.map(|body| Sending::new(body, call)))
                })
            }
        }
    });
    let builder = builder(&limits, &web, CallExecutor::new(open.clone()));
    let connection = builder.serve_connection(TokioIo::new(stream), entry);
    let connection = std::pin::pin!(connection);
    let mut connection = Gather::new(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = open.kill().cancelled() => return tracing::debug!(peer = %peer.address, "connection cut"),
        () = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = open.close().cancelled() => {}
            }
        } => {
            connection.get_mut().as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = open.kill().cancelled() => return tracing::debug!(peer = %peer.address, "connection cut"),
            }
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(peer = %peer.address, %cause, "connection ended");
    }
}

/// gRPC over HTTP/2 from something that is no browser: those name their origin.
fn is_plain_grpc(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let content = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    request.version() == http::Version::HTTP_2
        && !headers.contains_key(http::header::ORIGIN)
        && matches!(content, Some(b"application/grpc" | b"application/grpc+proto"))
}
