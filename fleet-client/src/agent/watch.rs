//! Holds the stream of hints open. Losing it loses nothing, so all it does after a failure is to wait longer.

use super::backoff::{Backoff, Bounds};
use crate::context::Context;
use crate::transport::{Hints, Transport};
use crate::unit::Snapshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Back-off between attempts to open the stream.
const RECONNECT: Bounds = Bounds { base_ms: 2_000, cap_ms: 300_000 };

/// What the watcher has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Something waits on the server.
    Waiting,
    /// The stream is open, or is not any more.
    Open(bool),
}

pub(super) struct Watcher<T> {
    pub(super) context: Context,
    pub(super) transport: Arc<T>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    pub(super) hints: mpsc::Sender<Seen>,
}

/// Ends the watcher with the identity it speaks as.
pub(super) struct Guard(pub(super) JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Transport> Watcher<T> {
    /// Runs until nobody listens.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RECONNECT);
        while !self.hints.is_closed() {
            let heard = self.listen().await;
            if heard {
                backoff.reset();
            }
            // Also after a stream that the server ended: it ends them so that the fleet spreads.
            let ms = backoff.failed(|max| self.context.up_to(max));
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    /// One stream from beginning to end; whether anything was heard on it.
    async fn listen(&self) -> bool {
        let epoch = self.snapshot.borrow().epoch;
        let mut stream = match self.transport.watch(epoch, self.context.boot()).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "no stream of hints");
                return false;
            }
        };
        let mut heard = false;
        let _ = self.hints.send(Seen::Open(true)).await;
        loop {
            match stream.next().await {
                Ok(Some(hint)) => {
                    heard = true;
                    if hint.waiting && self.hints.send(Seen::Waiting).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "the stream of hints broke");
                    break;
                }
            }
        }
        let _ = self.hints.send(Seen::Open(false)).await;
        heard
    }
}
