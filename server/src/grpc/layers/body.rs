//! The body of a server stream: ends at the caller's deadline, at a jittered age, when the server drains, and when the
//! credential falls. Graceful shutdown waits for streams without limit, so streams must end themselves.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{Place, deadline, live::Live, panic};
use crate::{
    error::{ApiError, Reason},
    grpc::status,
    telemetry::Trace,
};

/// What ends a stream from outside.
pub(super) struct Bounds {
    pub(super) deadline: Option<Duration>,
    pub(super) age: Duration,
    pub(super) drain: CancellationToken,
    pub(super) revoked: Option<Live>,
}

/// What an open stream holds.
pub(super) struct Open {
    _place: Option<Place>,
    gauge: Gauge,
    trace: Trace,
    span: tracing::Span,
}

impl Open {
    pub(super) fn new(place: Option<Place>, gauge: Gauge, trace: Trace) -> Self {
        gauge.inc();
        Self { _place: place, gauge, trace, span: tracing::Span::current() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// See the module.
pub(super) struct StreamBody {
    inner: Option<Body>,
    end: Pin<Box<dyn Future<Output = Option<ApiError>> + Send>>,
    open: Open,
}

impl StreamBody {
    pub(super) fn new(inner: Body, bounds: Bounds, open: Open) -> Self {
        Self { inner: Some(inner), end: Box::pin(end(bounds)), open }
    }
}

/// Why the stream ends: `None` at its age, which is no failure.
async fn end(bounds: Bounds) -> Option<ApiError> {
    let revoked = bounds.revoked.as_ref().map(|live| live.ended.clone());
    let passed = async {
        match bounds.deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    let fallen = async {
        match revoked {
            Some(token) => token.cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = bounds.drain.cancelled() => {
            Some(ApiError::new(Reason::Unavailable, "the server is draining; open the stream again"))
        }
        () = fallen => Some(ApiError::new(Reason::MachineRevoked, "this machine credential is revoked")),
        () = passed => Some(deadline::exceeded(bounds.deadline.unwrap_or_default())),
        () = tokio::time::sleep(bounds.age) => None,
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // Asked first: a stream that always has something ready must end too.
        if let Poll::Ready(ending) = this.end.as_mut().poll(cx) {
            return this.close(ending);
        }
        let (span, trace) = (&this.open.span, &this.open.trace);
        let entered = span.clone();
        let _entered = entered.enter();
        let polled =
            catch_unwind(AssertUnwindSafe(|| trace.sync_scope(|| Pin::new(&mut *inner).poll_frame(cx))));
        match polled {
            Ok(Poll::Ready(frame)) => {
                if frame.is_none() {
                    this.inner = None;
                }
                Poll::Ready(frame)
            }
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => this.close(Some(panic::error(payload.as_ref()))),
        }
    }
}

impl StreamBody {
    fn close(&mut self, ending: Option<ApiError>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        let last = match ending {
            Some(error) => self.open.trace.sync_scope(|| Status::from(error)),
            None => status::ended(),
        };
        let mut trailers = HeaderMap::new();
        last.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
