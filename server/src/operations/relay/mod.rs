//! The relay of events to NATS JetStream: every committed event, at least once, in the order of its shard.
//!
//! One replica relays at a time, who holds the lease; how far it is is kept with the lease and noted only after JetStream has
//! acknowledged. What was sent and not noted is sent again with the same ids, by whoever relays next. Nothing waits for
//! NATS: while it is away events stay in the log, which keeps them anyway.

mod broker;
mod message;

pub use broker::{Broker, BrokerError, Sent};
pub use message::{
    CONTENT_TYPE, EncodeData, INVENTORY_ALERTS, INVENTORY_UPDATES, Message, SUBJECTS, TRANSACTION_EVENTS,
    message, subject,
};

use crate::context::Context;
use crate::domain::event::{Cursor, Event, Place};
use crate::error::{ApiError, Reason};
use crate::metrics::{KindLabels, Metrics};
use crate::operations::events::{now, oldest, read_after};
use crate::store::events::read::heads;
use crate::store::{Store, StoreError, leases};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the lease.
const LEASE: &str = "nats-relay";
/// A lease is renewed when this part of it is over.
const RENEW_PART: u32 = 3;
/// Shortest pause between two rounds: what comes within it goes out together, with one note of how far it is.
const ROUND_EVERY: Duration = Duration::from_millis(20);
/// Pause after a failure grows from this, doubling, with full jitter.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
/// And never longer than this.
const BACK_OFF_MOST: Duration = Duration::from_secs(10);
/// How often it is measured how far behind the relay is.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// What an operator can set of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelaySettings {
    /// Who holds the lease may be silent for so long.
    pub lease: Duration,
    /// Most messages sent before their acknowledgements are waited for.
    pub batch_events: usize,
    /// How often what other replicas committed is looked for.
    pub poll: Duration,
}

/// The relay of this process.
pub struct Relay {
    /// The event log and the lease.
    pub store: Store,
    /// Time and jitter.
    pub context: Context,
    /// JetStream.
    pub broker: Broker,
    /// Tells events in the contract's words.
    pub encode: EncodeData,
    /// Of this process among all replicas, and unlike that of any process before it.
    pub holder: String,
    /// What an operator can set.
    pub settings: RelaySettings,
    /// What is counted.
    pub metrics: Metrics,
    /// How it is, for `/healthz`.
    pub standing: watch::Sender<Standing>,
}

/// How the relay is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Events go out, from here or from another replica.
    pub relays: bool,
    /// For people.
    pub detail: String,
}

/// Why a turn ended early.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("event {id} can't be told: {cause}")]
    Untold { id: String, cause: String },
    #[error("the database: {0}")]
    Store(#[from] StoreError),
    #[error("the event log: {0}")]
    Log(#[from] ApiError),
}

impl Relay {
    /// Relays until `stop`, and measures how far behind the relay is, whoever relays.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.relay(&stop), self.measure(&stop));
    }

    async fn relay(&self, stop: &CancellationToken) {
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            let pause = match self.turn(stop).await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    tracing::warn!(%error, "events are not being relayed to NATS");
                    let detail = match &error {
                        RelayError::Broker(BrokerError::Away) => "not connected".to_owned(),
                        RelayError::Broker(error) => error.to_string(),
                        RelayError::Untold { .. } => "an event can't be told; see the log".to_owned(),
                        RelayError::Store(_) | RelayError::Log(_) => "the event log can't be read".to_owned(),
                    };
                    self.tell(false, &detail);
                    let most = BACK_OFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACK_OFF_MOST);
                    failures = failures.saturating_add(1);
                    self.context.jitter(most)
                }
            };
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    }

    /// One try to get the lease, and if that worked, relaying until it is lost, NATS is away, or `stop`. Gives how long to wait
    /// before the next one.
    async fn turn(&self, stop: &CancellationToken) -> Result<Duration, RelayError> {
        if !self.broker.is_connected() {
            self.tell(false, "not connected");
            tokio::select! {
                () = stop.cancelled() => return Ok(Duration::ZERO),
                () = self.broker.connected() => {}
            }
        }
        self.broker.ensure_stream().await?;
        let Some(lease) = leases::take(&self.store, LEASE, &self.holder, self.lease_ms()).await? else {
            self.tell(true, "another replica relays");
            return Ok(self.renew_every());
        };
        self.tell(true, "relaying");
        tracing::info!(fence = lease.fence, "relaying events to NATS");
        let led = self.lead(&lease, stop).await;
        // Another replica may reach NATS where this one doesn't.
        if let Err(error) = leases::release(&self.store, LEASE, lease.fence).await {
            tracing::debug!(%error, "the relay's lease was not given back");
        }
        led.map(|()| Duration::ZERO)
    }

    async fn lead(&self, lease: &leases::Lease, stop: &CancellationToken) -> Result<(), RelayError> {
        let mut committed = self.store.events_committed();
        let mut cursor = match Cursor::parse(&lease.state) {
            Some(cursor) => cursor,
            None if lease.state.is_empty() => oldest(&self.store).await?,
            None => self.recovered(None).await?,
        };
        let (mut noted, mut noted_at) = (lease.state.clone(), self.context.elapsed());
        while !stop.is_cancelled() {
            if !self.broker.is_connected() {
                return Err(BrokerError::Away.into());
            }
            committed.mark_unchanged();
            let page = match read_after(&self.store, &cursor).await {
                Ok(page) => page,
                Err(error) if error.reason == Reason::CursorLost => {
                    cursor = self.recovered(Some(&cursor)).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for batch in page.events.chunks(self.settings.batch_events.max(1)) {
                let (through, failed) = self.send(&cursor, batch).await;
                cursor = through;
                (noted, noted_at) = (cursor.to_text(), self.context.elapsed());
                if !self.note(lease, &noted).await? || stop.is_cancelled() {
                    return Ok(());
                }
                if let Some(failed) = failed {
                    return Err(failed);
                }
            }
            cursor = page.cursor;
            let at = cursor.to_text();
            if at != noted || self.context.elapsed().saturating_sub(noted_at) >= self.renew_every() {
                (noted, noted_at) = (at, self.context.elapsed());
                if !self.note(lease, &noted).await? {
                    return Ok(());
                }
            }
            tokio::time::sleep(ROUND_EVERY).await;
            if !page.has_more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = committed.changed() => {}
                    () = tokio::time::sleep(self.settings.poll) => {}
                }
            }
        }
        Ok(())
    }

    /// Sends events, in order. Gives the cursor behind those that are stored, and why the next one is not.
    async fn send(&self, from: &Cursor, events: &[Arc<Event>]) -> (Cursor, Option<RelayError>) {
        let mut messages = Vec::with_capacity(events.len());
        let mut untold = None;
        for event in events {
            match message(event, from.incarnation, &self.encode) {
                Ok(message) => messages.push(message),
                Err(cause) => {
                    untold = Some(RelayError::Untold { id: event.name.to_string(), cause });
                    break;
                }
            }
        }
        let sent = self.broker.send(messages).await;
        let mut cursor = from.clone();
        for event in &events[..sent.stored] {
            cursor.raise(event.shard, event.after);
        }
        let count = |kind, count: usize| {
            self.metrics.nats_events.get_or_create(&KindLabels { kind }).inc_by(count as u64);
        };
        count("stored", sent.stored - sent.repeats);
        count("repeat", sent.repeats);
        (cursor, sent.failed.map(RelayError::from).or(untold))
    }

    /// Notes how far it is. `false`: another replica has taken over.
    async fn note(&self, lease: &leases::Lease, state: &str) -> Result<bool, StoreError> {
        let held = leases::advance(&self.store, LEASE, lease.fence, state, self.lease_ms()).await?;
        if !held {
            tracing::warn!(fence = lease.fence, "another replica relays events now");
        }
        Ok(held)
    }

    /// A cursor for a log that `cursor` doesn't fit. The note lies in the database whose log it is about, so after a restore
    /// both are of the same moment: its places still mean the same rows. What retention has swept can't be relayed.
    async fn recovered(&self, cursor: Option<&Cursor>) -> Result<Cursor, ApiError> {
        let (first, last) = (oldest(&self.store).await?, now(&self.store).await?);
        let mut recovered = first.clone();
        for (shard, oldest) in &first.places {
            let was = cursor.map_or(Place::START, |cursor| cursor.place(*shard));
            if was < *oldest {
                tracing::error!(
                    shard,
                    from = was.position,
                    through = oldest.position,
                    "events were no longer kept when they were to be relayed"
                );
            }
            recovered.raise(*shard, was.min(last.place(*shard)));
        }
        Ok(recovered)
    }

    async fn measure(&self, stop: &CancellationToken) {
        loop {
            match self.lag().await {
                Ok(rows) => {
                    self.metrics.nats_lag_events.set(rows);
                }
                Err(error) => tracing::debug!(%error, "the relay's lag was not measured"),
            }
            if tokio::time::timeout(MEASURE_EVERY, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Rows of the log that nobody has relayed yet.
    async fn lag(&self) -> Result<i64, StoreError> {
        let mut session = self.store.read().await?;
        let cursor = Cursor::parse(&leases::state(&mut session, LEASE).await?);
        let (_, heads) = heads(&mut session).await?;
        let behind = heads.iter().map(|head| {
            let at = cursor.as_ref().map_or(0, |cursor| cursor.place(head.shard).position);
            head.position.saturating_sub(at.max(head.trimmed_through)).max(0)
        });
        Ok(behind.fold(0, i64::saturating_add))
    }

    fn tell(&self, relays: bool, detail: &str) {
        let standing = Standing { relays, detail: detail.to_owned() };
        self.standing.send_if_modified(|told| {
            let differs = *told != standing;
            *told = standing;
            differs
        });
    }

    fn lease_ms(&self) -> i64 {
        i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX)
    }

    fn renew_every(&self) -> Duration {
        self.settings.lease / RENEW_PART
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("holder", &self.holder).finish_non_exhaustive()
    }
}
