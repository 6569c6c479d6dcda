//! The tail of the log: each new row is read once per replica, whoever waits for it.

use super::EventSettings;
use super::expand::{Expanded, read_page};
use crate::domain::event::{Event, EventData, EventFilter, Place};
use crate::domain::ids::Incarnation;
use crate::store::events::read::{Head, RowFilter, heads};
use crate::store::{Session, Store, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Pause between two rounds that found something: commits that come closer together are read together.
const PAUSE: Duration = Duration::from_millis(5);

/// The event log, as streams read it. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    pub(super) store: Store,
    pub(super) settings: EventSettings,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Somebody waits where nobody did.
    wanted: Notify,
    reads: AtomicU64,
}

/// Who waits, and how far each shard that anybody waits for was read.
#[derive(Default)]
struct State {
    followed: BTreeMap<i64, Followed>,
    queues: HashMap<u64, Queue>,
    /// Queues that take one customer's orders alone; looked up by the customer instead of asked one after the other.
    by_customer: HashMap<String, Vec<u64>>,
    /// All other queues.
    others: Vec<u64>,
    /// How far the log was when it was last looked at, and in which life of the data.
    heads: Vec<Head>,
    incarnation: Option<Incarnation>,
    last_id: u64,
}

/// A shard that somebody waits for.
struct Followed {
    /// Everything up to here was handed out.
    through: Place,
    /// Differs each time a shard is followed anew: what a round of an earlier time read does not continue this one.
    generation: u64,
    readers: usize,
}

struct Queue {
    filter: Arc<EventFilter>,
    shards: Vec<i64>,
    sender: mpsc::Sender<Arc<Event>>,
}

/// A place in the tail: what is committed from [`Subscription::joined`] on comes through its queue, until the queue was full
/// once. Ends when dropped.
pub(super) struct Subscription {
    log: EventLog,
    id: u64,
    pub(super) joined: Vec<(i64, Place)>,
    pub(super) queue: mpsc::Receiver<Arc<Event>>,
}

impl EventLog {
    /// The log of a store. Whoever makes it runs [`EventLog::follow`] once.
    #[must_use]
    pub fn new(store: Store, settings: EventSettings) -> Self {
        Self { store, settings, shared: Arc::default() }
    }

    /// What an operator set of it.
    #[must_use]
    pub fn settings(&self) -> &EventSettings {
        &self.settings
    }

    /// Readers that are close behind.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.state().queues.len()
    }

    /// Pages of events read from the database, by the tail and by all readers, since the start.
    #[must_use]
    pub fn pages_read(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    pub(super) fn count_read(&self) {
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the tail. `heads` was read before: a shard nobody followed is followed from there.
    pub(super) fn subscribe(
        &self,
        filter: &Arc<EventFilter>,
        shards: &[i64],
        heads: &[Head],
    ) -> Subscription {
        let (sender, queue) = mpsc::channel(self.settings.buffer_events);
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        let mut joined = Vec::with_capacity(shards.len());
        for head in heads.iter().filter(|head| shards.contains(&head.shard)) {
            let followed = state.followed.entry(head.shard).or_insert_with(|| Followed {
                through: Place::behind(head.position),
                generation: id,
                readers: 0,
            });
            followed.readers += 1;
            joined.push((head.shard, followed.through));
        }
        match &filter.customer {
            Some(customer) => state.by_customer.entry(customer.clone()).or_default().push(id),
            None => state.others.push(id),
        }
        let shards = joined.iter().map(|(shard, _)| *shard).collect();
        state.queues.insert(id, Queue { filter: filter.clone(), shards, sender });
        drop(state);
        self.shared.wanted.notify_one();
        Subscription { log: self.clone(), id, joined, queue }
    }

    /// Reads what is new, as soon as it is committed here and every poll interval, and hands it out, until `stop` is
    /// cancelled.
    pub async fn follow(self, stop: CancellationToken) {
        let mut committed = self.store.events_committed();
        let mut is_down = false;
        loop {
            committed.mark_unchanged();
            let found = match self.round().await {
                Ok(found) => {
                    is_down = false;
                    found
                }
                Err(error) => {
                    // Readers wait for the database like everything else; what was missed meanwhile is read then.
                    if !std::mem::replace(&mut is_down, true) {
                        tracing::warn!(%error, "the event log can't be read; trying again until it can");
                    }
                    false
                }
            };
            let woken = async {
                if found {
                    tokio::time::sleep(PAUSE).await;
                    return;
                }
                if self.state().followed.is_empty() {
                    self.shared.wanted.notified().await;
                    return;
                }
                tokio::select! {
                    // Its sender lives in the store, and so in `self`.
                    _ = committed.changed(), if !is_down => {}
                    () = tokio::time::sleep(self.settings.poll) => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = woken => {}
            }
        }
    }

    /// One look at the log; whether anything was new.
    async fn round(&self) -> Result<bool, StoreError> {
        if self.state().followed.is_empty() {
            return Ok(false);
        }
        let mut session = self.store.read().await?;
        let (incarnation, at) = heads(&mut session).await?;
        let targets: Vec<(Head, Place, u64)> = {
            let mut state = self.state();
            state.heads.clone_from(&at);
            if state.incarnation.replace(incarnation).is_some_and(|before| before != incarnation) {
                // Positions were given anew: every reader has to look where it stands.
                state.queues.clear();
                state.by_customer.clear();
                state.others.clear();
                state.followed.clear();
            }
            let followed = at.iter().filter_map(|head| {
                let followed = state.followed.get(&head.shard)?;
                Some((*head, followed.through, followed.generation))
            });
            followed.collect()
        };
        let mut found = false;
        for (head, through, generation) in targets {
            found |= self.read_shard(&mut session, head, through, generation).await?;
        }
        Ok(found)
    }

    async fn read_shard(
        &self,
        session: &mut Session,
        head: Head,
        mut through: Place,
        generation: u64,
    ) -> Result<bool, StoreError> {
        let mut found = false;
        while through < Place::behind(head.position) {
            self.count_read();
            let page = read_page(session, head.shard, through, head.position, &RowFilter::default()).await?;
            through = page.through;
            found = true;
            if !self.state().hand_out(head.shard, generation, &page) {
                break;
            }
        }
        Ok(found)
    }
}

impl State {
    /// `false`: the shard is not followed any more, or anew.
    fn hand_out(&mut self, shard: i64, generation: u64, page: &Expanded) -> bool {
        match self.followed.get_mut(&shard) {
            Some(followed) if followed.generation == generation => followed.through = page.through,
            _ => return false,
        }
        let mut full = Vec::new();
        for event in &page.events {
            let customers: &[u64] = match &event.data {
                EventData::Order { order, .. } => {
                    self.by_customer.get(&order.customer).map(Vec::as_slice).unwrap_or_default()
                }
                _ => &[],
            };
            for id in self.others.iter().chain(customers) {
                let Some(queue) = self.queues.get(id) else { continue };
                // A queue that missed one event must not get a later one.
                if queue.filter.takes(event)
                    && !full.contains(id)
                    && queue.sender.try_send(event.clone()).is_err()
                {
                    full.push(*id);
                }
            }
        }
        for id in full {
            self.remove(id);
        }
        true
    }

    fn remove(&mut self, id: u64) {
        let Some(queue) = self.queues.remove(&id) else { return };
        for shard in queue.shards {
            if let Some(followed) = self.followed.get_mut(&shard) {
                followed.readers -= 1;
                if followed.readers == 0 {
                    self.followed.remove(&shard);
                }
            }
        }
        match &queue.filter.customer {
            Some(customer) => {
                if let Some(ids) = self.by_customer.get_mut(customer) {
                    ids.retain(|other| *other != id);
                    if ids.is_empty() {
                        self.by_customer.remove(customer);
                    }
                }
            }
            None => self.others.retain(|other| *other != id),
        }
    }
}

impl Subscription {
    /// How far nothing else was meant for this queue: `None` while something is in it, or when it was taken away.
    pub(super) fn passed(&self) -> Option<Vec<(i64, Place)>> {
        let state = self.log.state();
        let queue = state.queues.get(&self.id)?;
        // Queues are filled under this lock: what is empty now was empty when the shards got this far.
        if !self.queue.is_empty() {
            return None;
        }
        let followed = queue.shards.iter().filter_map(|shard| {
            let followed = state.followed.get(shard)?;
            Some((*shard, followed.through))
        });
        let mut passed: Vec<(i64, Place)> = followed.collect();
        // In the other shards nothing can be that is meant.
        let others = state.heads.iter().filter(|head| !queue.shards.contains(&head.shard));
        passed.extend(others.map(|head| (head.shard, Place::behind(head.position))));
        Some(passed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.log.state().remove(self.id);
    }
}
