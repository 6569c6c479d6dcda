//! Answers that are ready together leave together.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A connection that, once woken, lets every task that is ready run before it.
///
/// Tokio runs a task that was woken by the running one next, before all that wait. A call that is answered wakes its connection,
/// so of a hundred calls answered by one commit each would be written by itself: a TLS record, a system call, and a wake-up at
/// the other end. One turn for the others gathers them, and costs an idle server nothing: where nothing else is ready the
/// turn comes back at once.
#[derive(Debug)]
pub(super) struct Gather<C> {
    connection: C,
    has_waited: bool,
}

impl<C> Gather<C> {
    pub(super) fn new(connection: C) -> Self {
        Self { connection, has_waited: false }
    }

    pub(super) fn get_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C: Future + Unpin> Future for Gather<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            // Woken while it runs, a task goes to the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.connection).poll(cx)
    }
}

#[cfg(test)]
mod tests;
