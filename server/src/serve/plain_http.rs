//! Serving `/healthz`, `/metrics` and webhooks over HTTP/1.1, with the bounds that every listener has.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt as _, service_fn};

use super::sending::Sending;
use crate::{
    limits::{Connections, OpenCall},
    tls::{Listener, Stream},
};

/// Longest time a peer may take for a request's headers, and stay silent between two requests.
const HEADERS_FOR: Duration = Duration::from_secs(30);
/// Longest time for one answer.
const ANSWER_FOR: Duration = Duration::from_secs(20);
/// Most bytes of a request's headers.
const HEADER_BYTES: usize = 16 * 1_024;

/// Takes connections until `stop`, then waits for those that are being answered.
pub(super) async fn accept(listener: Listener, router: Router, open: Connections, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // Without TLS there is nothing to wait for.
        let Ok((stream, _)) = accepted.handshake().await else { continue };
        connections.spawn(serve_one(stream, router.clone(), open.clone(), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

async fn serve_one(stream: Stream, router: Router, open: Connections, stop: CancellationToken) {
    let open = open.open(stream.progress().clone());
    let calls = open.clone();
    let entry = service_fn(move |request: Request<Incoming>| {
        let (router, call) = (router.clone(), OpenCall::new(&calls));
        async move {
            let answered = tokio::time::timeout(ANSWER_FOR, router.oneshot(request.map(Body::new))).await;
            let answer = match answered {
                Ok(Ok(answer)) => answer,
                Ok(Err(never)) => match never {},
                Err(_) => {
                    let mut late = Response::new(Body::empty());
                    *late.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    late
                }
            };
            Ok::<_, Infallible>(answer.map(|body| Sending::new(body, call)))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_FOR).max_buf_size(HEADER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(entry));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = open.kill().cancelled() => return,
        () = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = open.close().cancelled() => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = open.kill().cancelled() => return,
            }
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(%cause, "an HTTP connection ended");
    }
}
