//! Open streams of machines by credential: a revocation ends them within seconds, also one made by another replica.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Authenticator;

/// Open streams by credential. Bounded by `limits.max_open_streams`.
#[derive(Debug, Default)]
pub struct LiveStreams {
    by_credential: Mutex<HashMap<Uuid, (CancellationToken, usize)>>,
}

/// One open stream; dropping it leaves the list.
#[derive(Debug)]
pub(super) struct Live {
    streams: Arc<LiveStreams>,
    credential_id: Uuid,
    pub(super) ended: CancellationToken,
}

impl LiveStreams {
    pub(super) fn enter(streams: &Arc<Self>, credential_id: Uuid) -> Live {
        let mut map = streams.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, count) = map.entry(credential_id).or_default();
        *count += 1;
        Live { streams: streams.clone(), credential_id, ended: token.clone() }
    }

    /// Ends the streams of this credential.
    pub fn end(&self, credential_id: Uuid) {
        let map = self.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, _)) = map.get(&credential_id) {
            token.cancel();
        }
    }

    /// The credentials with an open stream.
    pub fn credentials(&self) -> Vec<Uuid> {
        self.by_credential.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut map = self.streams.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = map.get_mut(&self.credential_id) {
            *count -= 1;
            if *count == 0 {
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
