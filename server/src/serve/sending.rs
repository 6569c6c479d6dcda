//! What stands between a call's answer and its connection: every frame is its call's until the socket has taken it, and a
//! call whose reader takes nothing can be ended.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use crate::limits::{OpenCall, OpenConnection};

/// An answer's body. Its frames count as unread until the connection has written them or let go of them.
#[derive(Debug)]
pub(crate) struct Sending<B> {
    body: B,
    call: Arc<OpenCall>,
}

impl<B> Sending<B> {
    pub(crate) fn new(body: B, call: Arc<OpenCall>) -> Self {
        Self { body, call }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sending<B> {
    type Data = Unread;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Unread>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| {
            frame
                .map(|frame| frame.map(|frame| frame.map_data(|bytes| Unread::new(bytes, self.call.clone()))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer on their way.
#[derive(Debug)]
pub(crate) struct Unread {
    bytes: Bytes,
    call: Arc<OpenCall>,
}

impl Unread {
    fn new(bytes: Bytes, call: Arc<OpenCall>) -> Self {
        call.made(bytes.len());
        Self { bytes, call }
    }
}

impl Buf for Unread {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.call.taken(count);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.call.taken(self.bytes.len());
        }
    }
}

/// Runs the calls of one connection, each in a task that can be ended: dropping hyper's half of a stream resets it and
/// frees what is buffered for it, which no body can do while its reader gives no window.
#[derive(Debug, Clone)]
pub(crate) struct CallExecutor {
    connection: Arc<OpenConnection>,
}

impl CallExecutor {
    pub(crate) fn new(connection: Arc<OpenConnection>) -> Self {
        Self { connection }
    }
}

impl<F> Executor<F> for CallExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        // hyper makes a call's task right after it asked for the call's answer, where the call was left.
        match self.connection.arrived() {
            Some(call) => {
                call.task_runs();
                tokio::spawn(CallTask { future: Box::pin(future), call });
            }
            None => {
                tokio::spawn(future);
            }
        }
    }
}

struct CallTask<F> {
    future: Pin<Box<F>>,
    call: Arc<OpenCall>,
}

impl<F: Future> Future for CallTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.future.as_mut().poll(cx).is_ready() || self.call.task_waits(cx.waker()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<F> Drop for CallTask<F> {
    fn drop(&mut self) {
        self.call.task_ended();
    }
}
