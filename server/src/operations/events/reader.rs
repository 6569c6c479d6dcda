//! One reader of the log: from its cursor on, everything its filter means, each once, in the order of each shard.

use super::check;
use super::expand::{read_page, row_filter, shards};
use super::tail::{EventLog, Subscription};
use crate::domain::event::{Cursor, Event, EventFilter, Place};
use crate::error::ApiError;
use crate::store::Session;
use crate::store::events::read::{Head, RowFilter, heads};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::Instant;

/// Where a reader begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// With what is committed from now on; the first delivery is a heartbeat that names the moment.
    Now,
    /// With the oldest event still kept.
    Oldest,
    /// Behind a cursor.
    After(Cursor),
}

/// What a reader is given.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where to go on once this is dealt with.
    pub cursor: Cursor,
    /// What it is.
    pub what: Happened,
}

/// Something, or nothing.
#[derive(Clone, Debug)]
pub enum Happened {
    /// An event.
    Event(Arc<Event>),
    /// Nothing that is meant, up to the cursor.
    Nothing,
}

/// See the module.
pub struct Reader {
    log: EventLog,
    filter: Arc<EventFilter>,
    rows: RowFilter,
    /// Shards that are read.
    shards: Vec<i64>,
    cursor: Cursor,
    /// The log as last seen by this reader.
    heads: Vec<Head>,
    /// A page's events that are meant and not delivered yet, and what the page covered.
    pending: VecDeque<Arc<Event>>,
    covered: Option<(i64, Place)>,
    subscription: Option<Subscription>,
    greet: bool,
    last_delivery: Instant,
}

impl EventLog {
    /// Opens a reader. With `all_shards` its cursors name every shard, so that they can be used with another filter.
    ///
    /// # Errors
    /// CURSOR_LOST; the database can't be read.
    pub async fn open(
        &self,
        filter: EventFilter,
        start: Start,
        all_shards: bool,
    ) -> Result<Reader, ApiError> {
        let (incarnation, heads) = heads(&mut self.store.read().await?).await?;
        let shards = shards(&filter);
        let named = heads.iter().filter(|head| all_shards || shards.contains(&head.shard));
        let greet = start == Start::Now;
        let mut cursor = Cursor::start(incarnation);
        match start {
            Start::Now => {
                cursor.places = named.map(|head| (head.shard, Place::behind(head.position))).collect();
            }
            Start::Oldest => {
                cursor.places = named.map(|head| (head.shard, Place::behind(head.trimmed_through))).collect();
            }
            Start::After(given) => {
                check(&given, incarnation, &heads, &shards)?;
                cursor.places = named.map(|head| (head.shard, given.place(head.shard))).collect();
            }
        }
        Ok(Reader {
            log: self.clone(),
            rows: row_filter(&filter),
            filter: Arc::new(filter),
            shards,
            cursor,
            heads,
            pending: VecDeque::new(),
            covered: None,
            subscription: None,
            greet,
            last_delivery: Instant::now(),
        })
    }
}

impl Reader {
    /// What comes next; waits for it. A heartbeat when nothing came for the configured time.
    ///
    /// # Errors
    /// CURSOR_LOST when events were trimmed before this reader got to them; the database can't be read. The reader is over
    /// then: open another with the last cursor delivered.
    pub async fn next(&mut self) -> Result<Delivery, ApiError> {
        if std::mem::take(&mut self.greet) {
            return Ok(self.heartbeat());
        }
        let mut has_looked = false;
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(self.deliver(event));
            }
            if let Some((shard, through)) = self.covered.take() {
                self.raise(shard, through);
            }
            // Only after a look: whatever the interval, every message gets further.
            if has_looked && self.last_delivery.elapsed() >= self.log.settings.heartbeat {
                return Ok(self.heartbeat());
            }
            has_looked = true;
            if self.is_behind() {
                self.catch_up().await?;
            } else if let Some(event) = self.wait().await {
                return Ok(self.deliver(event));
            }
        }
    }

    fn deliver(&mut self, event: Arc<Event>) -> Delivery {
        self.raise(event.shard, event.after);
        self.last_delivery = Instant::now();
        Delivery { cursor: self.cursor.clone(), what: Happened::Event(event) }
    }

    fn heartbeat(&mut self) -> Delivery {
        self.last_delivery = Instant::now();
        Delivery { cursor: self.cursor.clone(), what: Happened::Nothing }
    }

    fn raise(&mut self, shard: i64, place: Place) {
        if self.cursor.places.contains_key(&shard) {
            self.cursor.raise(shard, place);
        }
    }

    /// Whether the next event must be read from the database.
    fn is_behind(&self) -> bool {
        match &self.subscription {
            None => true,
            Some(subscription) => {
                subscription.joined.iter().any(|(shard, joined)| self.cursor.place(*shard) < *joined)
            }
        }
    }

    /// Reads one page, or joins the tail when there is none left.
    async fn catch_up(&mut self) -> Result<(), ApiError> {
        if self.heads.is_empty() {
            let mut session = self.log.store.read().await?;
            return self.look(&mut session).await;
        }
        let targets: Vec<(i64, i64)> = match &self.subscription {
            Some(subscription) => {
                subscription.joined.iter().map(|(shard, joined)| (*shard, joined.position)).collect()
            }
            None => {
                let read = self.heads.iter().filter(|head| self.shards.contains(&head.shard));
                read.map(|head| (head.shard, head.position)).collect()
            }
        };
        let next = targets
            .into_iter()
            .map(|(shard, position)| (shard, self.cursor.place(shard), position))
            .find(|(_, after, position)| *after < Place::behind(*position));
        let Some((shard, after, position)) = next else {
            // In the other shards nothing can be that is meant.
            let others = self.heads.iter().filter(|head| !self.shards.contains(&head.shard));
            let others: Vec<(i64, i64)> = others.map(|head| (head.shard, head.position)).collect();
            for (shard, position) in others {
                self.raise(shard, Place::behind(position));
            }
            self.subscription = Some(self.log.subscribe(&self.filter, &self.shards, &self.heads));
            return Ok(());
        };
        self.log.count_read();
        let mut session = self.log.store.read().await?;
        let page = read_page(&mut session, shard, after, position, &self.rows).await?;
        // After the page: what was trimmed while it was read may be missing from it.
        self.look(&mut session).await?;
        self.pending.extend(page.events.into_iter().filter(|event| self.filter.takes(event)));
        self.covered = Some((shard, page.through));
        Ok(())
    }

    /// Sees how far the log is, and that this reader's place in it still is one.
    async fn look(&mut self, session: &mut Session) -> Result<(), ApiError> {
        let (incarnation, heads) = heads(session).await?;
        check(&self.cursor, incarnation, &heads, &self.shards)?;
        self.heads = heads;
        Ok(())
    }

    /// The next event from the tail; `None` when there is something else to do first.
    async fn wait(&mut self) -> Option<Arc<Event>> {
        let subscription = self.subscription.as_mut()?;
        let got = match subscription.queue.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                for (shard, place) in subscription.passed().unwrap_or_default() {
                    if self.cursor.places.contains_key(&shard) {
                        self.cursor.raise(shard, place);
                    }
                }
                let heartbeat = self.last_delivery + self.log.settings.heartbeat;
                tokio::select! {
                    biased;
                    got = subscription.queue.recv() => got,
                    () = tokio::time::sleep_until(heartbeat) => return None,
                }
            }
        };
        match got {
            // Read from the database before.
            Some(event) if event.place <= self.cursor.place(event.shard) => None,
            Some(event) => Some(event),
            None => {
                // The queue was full once: what it missed is in the database.
                self.subscription = None;
                self.heads.clear();
                None
            }
        }
    }
}
