//! A panic in a handler ends its call, not the connection's other calls, and tells the caller nothing.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
};

use crate::error::ApiError;

pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, ApiError> {
    let mut future = pin!(future);
    // Unwind safe: whatever the panic left half done is dropped with the future, and shared state is behind locks that
    // are taken over from a panicked holder only where that is sound.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => std::task::Poll::Ready(Err(error(payload.as_ref()))),
    })
    .await
}

pub(super) fn error(payload: &(dyn Any + Send)) -> ApiError {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    ApiError::internal(format!("a handler panicked: {text}"))
}
