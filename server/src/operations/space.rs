//! Room under the embedded database: an operator is told before it runs out, and the last of it is kept for what must still be
//! written then.
//!
//! Below the reserve nothing new is begun (Syncs, enrolments, orders, remote purchases: OVERLOADED, to be tried again), while what was
//! begun is still settled, judged and deleted. A PostgreSQL server's disk is its own operator's.

use crate::domain::fleet::{AlertChange, LOW_SPACE};
use crate::domain::ids::AlertId;
use crate::operations::Deps;
use crate::store::alerts::{NO_MACHINE, Raise, end, raise};
use crate::store::events::{self, Happening, Origin};
use crate::store::{End, StoreError};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tells this alert from others of its kind; there is one data directory.
const KEY: &str = "data_dir";
/// While there is little room, the write-ahead log is given back so often at most.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(60);

/// When room is low, bytes. Each is at most a share of the medium, so that a small one can be used at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceSettings {
    /// LOW_SPACE is raised below this; at most an eighth of the medium.
    pub low_bytes: u64,
    /// Kept for what was begun; at most a sixteenth of the medium.
    pub reserve_bytes: u64,
}

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
}

/// What was found at the last look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// What it means.
    pub standing: Standing,
    /// For an operator; empty while all is well.
    pub detail: String,
}

/// What the room means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Standing {
    /// Enough.
    #[default]
    Ample,
    /// An operator should make room.
    Low,
    /// Only what was begun is finished.
    Reserve,
}

impl Standing {
    /// What comes after `self`. To get better a quarter more is needed than to get worse, so that one commit more or less is no
    /// new crossing.
    #[must_use]
    pub fn next(self, room: Room, settings: &SpaceSettings) -> Self {
        let bound = |bytes: u64, share: u64, is_in: bool| {
            let bound = bytes.min(room.size_bytes / share);
            if is_in { bound.saturating_add(bound / 4) } else { bound }
        };
        if room.free_bytes < bound(settings.reserve_bytes, 16, self == Self::Reserve) {
            return Self::Reserve;
        }
        if room.free_bytes < bound(settings.low_bytes, 8, self != Self::Ample) {
            return Self::Low;
        }
        Self::Ample
    }
}

/// Looks at the medium until `stop` is cancelled, and shows what it found.
pub async fn keep_watch(
    deps: Deps,
    folder: PathBuf,
    settings: SpaceSettings,
    every: Duration,
    shown: watch::Sender<Found>,
    stop: CancellationToken,
) {
    let mut told = None;
    let mut standing = Standing::default();
    let mut given_back_at = None;
    loop {
        match room(&folder) {
            Ok(room) => {
                standing = standing.next(room, &settings);
                deps.store.reserve_room(standing == Standing::Reserve);
                shown.send_replace(found(standing, room));
                let is_low = standing != Standing::Ample;
                if told != Some(is_low) {
                    match tell(&deps, is_low, detail(room)).await {
                        Ok(()) => told = Some(is_low),
                        Err(cause) => tracing::warn!(%cause, "could not tell of the room that is left"),
                    }
                }
                let now = deps.context.elapsed();
                if is_low && given_back_at.is_none_or(|at| now.saturating_sub(at) >= GIVE_BACK_EVERY) {
                    given_back_at = Some(now);
                    if let Err(cause) = deps.store.give_log_back().await {
                        tracing::debug!(%cause, "the write-ahead log keeps its size");
                    }
                }
            }
            Err(cause) => {
                let detail = format!("the room that is left can't be read: {cause}");
                shown.send_replace(Found { standing: Standing::Low, detail });
            }
        }
        if tokio::time::timeout(every, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// The room under a folder.
///
/// # Errors
/// What the system said.
pub fn room(folder: &std::path::Path) -> std::io::Result<Room> {
    let found = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Room { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
}

fn found(standing: Standing, room: Room) -> Found {
    let detail = match standing {
        Standing::Ample => String::new(),
        Standing::Low => detail(room),
        Standing::Reserve => detail(room) + "; nothing new is taken until there is room",
    };
    Found { standing, detail }
}

fn detail(room: Room) -> String {
    format!(
        "{} MiB of {} MiB are left under the data directory",
        room.free_bytes >> 20,
        room.size_bytes >> 20
    )
}

async fn tell(deps: &Deps, is_low: bool, detail: String) -> Result<(), StoreError> {
    let (id, now_ms) = (AlertId(deps.context.new_id()), deps.context.now_ms());
    deps.store
        .run_tx("tell_space", detail, move |tx, detail| {
            Box::pin(async move {
                let changed = if is_low {
                    let new = Raise {
                        id,
                        machine: NO_MACHINE,
                        kind: LOW_SPACE,
                        key: KEY,
                        detail,
                        product: None,
                        order: None,
                        purchase: None,
                        at_ms: now_ms,
                        trace_id: "",
                    };
                    raise(tx, &new).await?.map(|alert| (AlertChange::Raised, alert))
                } else {
                    let over = end(tx, NO_MACHINE, LOW_SPACE, KEY, now_ms).await?;
                    over.map(|alert| (AlertChange::Resolved, alert))
                };
                let Some((change, alert)) = changed else { return Ok(End::Commit(())) };
                let origin = Origin { trace_id: String::new(), traceparent: String::new() };
                events::write(tx, &[Happening::alert(change, &alert, &origin)?]).await?;
                Ok(End::Commit(()))
            })
        })
        .await
}

#[cfg(test)]
mod tests;
