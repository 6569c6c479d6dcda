//! The body of a server stream: ends at the caller's deadline, at a jittered age, when the server drains, and when the
//! credential falls. Graceful shutdown waits for streams without limit, so streams must end themselves.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body};

use super::{deadline, live::Live, panic, places};
use crate::{
    error::{ApiError, Reason},
    grpc::status,
    limits::{Place, Places, Refusal},
    telemetry::Trace,
};

/// What ends a stream from outside.
pub(super) struct Bounds {
    pub(super) deadline: Option<Duration>,
    pub(super) age: Duration,
    pub(super) drain: CancellationToken,
    pub(super) live: Option<Live>,
    /// Streams that one machine may have.
    pub(super) most_live: usize,
}

/// What an open stream holds.
pub(super) struct Open {
    _place: Option<Place>,
    /// Ends what the call still reads.
    _over: Option<DropGuard>,
    /// Whose bytes are counted, when nobody is known.
    stranger: Option<(Arc<Places>, String)>,
    trace: Trace,
    span: tracing::Span,
}

impl Open {
    pub(super) fn new(
        place: Option<Place>,
        over: Option<DropGuard>,
        stranger: Option<(Arc<Places>, String)>,
        trace: Trace,
    ) -> Self {
        Self { _place: place, _over: over, stranger, trace, span: tracing::Span::current() }
    }

    /// A stranger that was sent too much already.
    fn exhausted(&self) -> Option<ApiError> {
        let (places, name) = self.stranger.as_ref()?;
        let Refusal::Caller { limit, most, retry_after } = places.stranger_waits(name)? else { return None };
        Some(places::caller_limit(limit, most).retry_after(retry_after.unwrap_or_default()))
    }
}

/// The body of a request to a stream, which ends with the stream: whoever goes on reading it would wait for a peer that
/// has nothing more to ask.
pub(super) struct Until {
    inner: Option<Body>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Until {
    pub(super) fn new(inner: Body, over: CancellationToken) -> Self {
        Self { inner: Some(inner), over: Box::pin(over.cancelled_owned()) }
    }
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            self.inner = None;
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
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
    let passed = async {
        match bounds.deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    let fallen = async {
        match &bounds.live {
            Some(live) => live.ended.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let replaced = async {
        match &bounds.live {
            Some(live) => live.replaced.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = bounds.drain.cancelled() => {
            Some(ApiError::new(Reason::Unavailable, "the server is draining; open the stream again"))
        }
        () = fallen => Some(ApiError::new(Reason::MachineRevoked, "this machine credential is revoked")),
        () = replaced => Some(places::caller_limit("limits.watches_per_machine", bounds.most_live)),
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
        if let Some(exhausted) = this.open.exhausted() {
            return this.close(Some(exhausted));
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
