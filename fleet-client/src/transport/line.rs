//! The cable that a simulation can pull: a switch below TLS, so that what breaks is what breaks in the field.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A switchable way to the network. Clones are the same cable.
#[derive(Clone)]
pub struct Line {
    state: watch::Sender<State>,
}

#[derive(Clone)]
struct State {
    /// Cancelled when the cable is pulled; a new one for each time it is plugged in.
    plugged: Option<CancellationToken>,
    /// Answers are lost: what the server did is not heard of.
    lossy: bool,
}

impl Default for Line {
    fn default() -> Self {
        let state = State { plugged: Some(CancellationToken::new()), lossy: false };
        Self { state: watch::Sender::new(state) }
    }
}

impl Line {
    /// Pulls the cable: open connections break at once, new ones fail at once. Pulling it twice is fine.
    pub fn pull(&self) {
        self.state.send_modify(|s| {
            if let Some(token) = s.plugged.take() {
                token.cancel();
            }
        });
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        self.state.send_if_modified(|s| {
            let pulled = s.plugged.is_none();
            s.plugged.get_or_insert_with(CancellationToken::new);
            pulled
        });
    }

    /// While `true`, calls reach the server and their answers are lost.
    pub fn lose_answers(&self, lossy: bool) {
        self.state.send_modify(|s| s.lossy = lossy);
    }

    /// Whether the cable is in.
    #[must_use]
    pub fn is_plugged(&self) -> bool {
        self.state.borrow().plugged.is_some()
    }

    /// Whether answers are being lost.
    #[must_use]
    pub fn loses_answers(&self) -> bool {
        self.state.borrow().lossy
    }

    /// Wraps a connection so that it breaks when the cable is pulled.
    pub(crate) fn through<I>(&self, io: I) -> io::Result<Cut<I>> {
        let token = self.state.borrow().plugged.clone();
        let token = token.ok_or_else(pulled)?;
        Ok(Cut { io, cut: Box::pin(token.cancelled_owned()) })
    }
}

fn pulled() -> io::Error {
    io::Error::new(io::ErrorKind::NetworkUnreachable, "the cable is pulled")
}

/// A connection through a [`Line`].
pub(crate) struct Cut<I> {
    io: I,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<I> Cut<I> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(pulled()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Cut<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Cut<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
