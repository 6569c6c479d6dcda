//! Open streams of machines by credential: a revocation ends them within seconds, also one made by another replica, and a
//! newer one ends the oldest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Authenticator;

/// Open streams by credential. Bounded by `limits.max_open_streams`.
#[derive(Debug)]
pub struct LiveStreams {
    by_credential: Mutex<HashMap<Uuid, Credential>>,
    /// Most streams of one credential.
    most: usize,
}

#[derive(Debug, Default)]
struct Credential {
    ended: CancellationToken,
    /// Oldest first: those that have not been told to make room.
    streams: VecDeque<CancellationToken>,
    /// All of them.
    open: usize,
}

/// One open stream; dropping it leaves the list.
#[derive(Debug)]
pub(super) struct Live {
    streams: Arc<LiveStreams>,
    credential_id: Uuid,
    /// The credential stands no more.
    pub(super) ended: CancellationToken,
    /// A newer stream took its place.
    pub(super) replaced: CancellationToken,
}

impl LiveStreams {
    pub(super) fn new(most: usize) -> Self {
        Self { by_credential: Mutex::default(), most: most.max(1) }
    }

    /// Enters a stream. The oldest of the same credential are told to end when there are more than one may have: a device
    /// that lost its link without a word opens a new one long before the old one is noticed to be dead.
    pub(super) fn enter(streams: &Arc<Self>, credential_id: Uuid) -> Live {
        let mut map = streams.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        let credential = map.entry(credential_id).or_default();
        while credential.streams.len() >= streams.most {
            if let Some(oldest) = credential.streams.pop_front() {
                oldest.cancel();
            }
        }
        let replaced = CancellationToken::new();
        credential.streams.push_back(replaced.clone());
        credential.open += 1;
        Live { streams: streams.clone(), credential_id, ended: credential.ended.clone(), replaced }
    }

    /// Most streams of one credential.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Ends the streams of this credential.
    pub fn end(&self, credential_id: Uuid) {
        let map = self.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = map.get(&credential_id) {
            credential.ended.cancel();
        }
    }

    /// The credentials with an open stream.
    pub fn credentials(&self) -> Vec<Uuid> {
        self.by_credential.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Told to end or not, it is no longer one that could be.
        self.replaced.cancel();
        let mut map = self.streams.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = map.get_mut(&self.credential_id) {
            credential.streams.retain(|stream| !stream.is_cancelled());
            credential.open -= 1;
            if credential.open == 0 {
                map.remove(&self.credential_id);
            }
        }
    }
}

/// Asks every so often which credentials with an open stream stand no more, and ends those streams, until cancelled.
pub async fn end_fallen_streams(
    live: Arc<LiveStreams>,
    auth: Arc<Authenticator>,
    every: Duration,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match auth.fallen(&live.credentials()).await {
            Ok(fallen) => fallen.into_iter().for_each(|id| live.end(id)),
            // Streams carry hints alone; they wait for the database like everything else.
            Err(cause) => tracing::debug!(%cause, "credentials of open streams not checked"),
        }
    }
}
