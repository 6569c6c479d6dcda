//! Which real machines are there: those with an open stream of hints of a credential in good standing.
//!
//! Each replica says so for the streams it holds, in bulk, for a while at a time; a replica that dies is believed for no
//! longer than that. Being believed wrongly costs a purchase that expires, never a vend.

use crate::context::Context;
use crate::domain::ids::MachineId;
use crate::store::{End, Store, StoreError, presence};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often an open stream is said to be open.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long that is believed, ms.
const BELIEVED_MS: i64 = 15_000;
/// Streams that open or end within this are written together.
const GATHER: Duration = Duration::from_millis(20);
/// Machines in one transaction, at most.
const MAX_MACHINES_PER_WRITE: usize = 500;

/// The streams of this replica. Cheap to clone.
#[derive(Clone, Default)]
pub struct Presence {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    streams: Mutex<Streams>,
    changed: Notify,
}

#[derive(Default)]
struct Streams {
    open: HashMap<MachineId, usize>,
    opened: BTreeSet<MachineId>,
    ended: BTreeSet<MachineId>,
}

/// An open stream of a machine; it ends when dropped.
pub struct Present {
    presence: Presence,
    machine: MachineId,
}

impl Presence {
    /// A stream of the machine is open.
    #[must_use]
    pub fn open(&self, machine: MachineId) -> Present {
        {
            let mut streams = self.streams();
            *streams.open.entry(machine).or_default() += 1;
            streams.opened.insert(machine);
            streams.ended.remove(&machine);
        }
        self.inner.changed.notify_one();
        Present { presence: self.clone(), machine }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the database told, until the server drains; then says that all have gone. Started once.
    pub async fn keep(self, store: Store, context: Context, drain: CancellationToken) {
        let mut told: HashMap<MachineId, i64> = HashMap::new();
        let mut tick = tokio::time::interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let all = tokio::select! {
                () = drain.cancelled() => break,
                _ = tick.tick() => true,
                () = self.inner.changed.notified() => {
                    tokio::time::sleep(GATHER).await;
                    false
                }
            };
            let (here, gone) = self.news(all);
            renew(&store, &context, &here, &mut told).await;
            end(&store, &gone, &mut told).await;
        }
        let gone: Vec<MachineId> = told.keys().copied().collect();
        end(&store, &gone, &mut told).await;
    }

    fn news(&self, all: bool) -> (Vec<MachineId>, Vec<MachineId>) {
        let mut streams = self.streams();
        let opened = std::mem::take(&mut streams.opened);
        let gone = std::mem::take(&mut streams.ended).into_iter().collect();
        let here: BTreeSet<MachineId> = if all { streams.open.keys().copied().collect() } else { opened };
        (here.into_iter().collect(), gone)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut streams = self.presence.streams();
        let left = streams.open.get_mut(&self.machine).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            streams.open.remove(&self.machine);
            streams.opened.remove(&self.machine);
            streams.ended.insert(self.machine);
            drop(streams);
            self.presence.inner.changed.notify_one();
        }
    }
}

async fn renew(store: &Store, context: &Context, here: &[MachineId], told: &mut HashMap<MachineId, i64>) {
    for chunk in here.chunks(MAX_MACHINES_PER_WRITE) {
        let own_ms = context.now_ms();
        let renewed = store.run_tx("presence", chunk.to_vec(), move |tx, chunk| {
            Box::pin(async move { Ok(End::Commit(presence::renew(tx, chunk, BELIEVED_MS, own_ms).await?)) })
        });
        match renewed.await {
            Ok(until_ms) => told.extend(chunk.iter().map(|machine| (*machine, until_ms))),
            Err(error) => return not_told(&error),
        }
    }
}

/// What another replica has said since stays.
async fn end(store: &Store, gone: &[MachineId], told: &mut HashMap<MachineId, i64>) {
    let ended: Vec<(MachineId, i64)> =
        gone.iter().filter_map(|machine| told.remove(machine).map(|until_ms| (*machine, until_ms))).collect();
    for chunk in ended.chunks(MAX_MACHINES_PER_WRITE) {
        let written = store.run_tx("presence", chunk.to_vec(), |tx, chunk| {
            Box::pin(async move { Ok(End::Commit(presence::end(tx, chunk).await?)) })
        });
        if let Err(error) = written.await {
            return not_told(&error);
        }
    }
}

/// The next renewal tells it, or its time runs out.
fn not_told(error: &StoreError) {
    tracing::warn!(%error, "could not say which machines are connected");
}
