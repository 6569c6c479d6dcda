//! What is counted and timed, for Prometheus. No globals: a [`Metrics`] is made with the registry it is shown by.

mod payments;
mod pool;

pub use payments::{GatewayLabels, PaymentMetrics};
pub use pool::{PoolMetrics, StateLabels};

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// A call and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// Full method name, known ones only: a stranger can't make new label values.
    pub method: &'static str,
    /// Status code name, e.g. `OK`.
    pub code: &'static str,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MethodLabels {
    /// Full method name.
    pub method: &'static str,
}

/// What became of a record, or why something was tried again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// A fixed word.
    pub kind: &'static str,
}

/// Places of a kind, by the class of who holds them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PlaceLabels {
    /// `call`, `sync` or `stream`.
    pub kind: &'static str,
    /// `stranger`, `machine`, `person` or `service`.
    pub class: &'static str,
}

/// What a class of callers was refused for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassLabels {
    /// `stranger`, `machine`, `person` or `service`.
    pub class: &'static str,
    /// The bound.
    pub cause: &'static str,
}

/// Every metric. Cheap to clone; clones share their numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Calls by method and status code.
    pub calls: Family<CallLabels, Counter>,
    /// Time from headers to answer (for streams: to the answer's headers).
    pub call_seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    /// Unary calls being worked on.
    pub calls_in_flight: Gauge,
    /// Server streams open.
    pub open_streams: Gauge,
    /// Connections open.
    pub connections: Gauge,
    /// Connections refused, by cause.
    pub connections_refused: Family<KindLabels, Counter>,
    /// Connections cut by the server, by cause.
    pub connections_cut: Family<KindLabels, Counter>,
    /// Streams and answers cut by the server, by cause.
    pub streams_cut: Family<KindLabels, Counter>,
    /// Places taken, by kind and class.
    pub places: Family<PlaceLabels, Gauge>,
    /// Calls refused at a bound, by class and bound.
    pub refused: Family<ClassLabels, Counter>,
    /// Bytes of answers that nobody has taken yet.
    pub unread_bytes: Gauge,
    /// Wrong credentials, by reason.
    pub auth_failures: Family<KindLabels, Counter>,
    /// Records received by Sync, by what became of them.
    pub sync_records: Family<KindLabels, Counter>,
    /// The group commit of Syncs.
    pub commit: CommitMetrics,
    /// The group commit of orders.
    pub order_commit: CommitMetrics,
    /// The group commit of StartWork.
    pub start_commit: CommitMetrics,
    /// The group commit of everything else about purchases.
    pub pool_commit: CommitMetrics,
    /// Payments and the workers that have orders paid.
    pub payments: PaymentMetrics,
    /// Where machines stand, and who waits for one.
    pub pool: PoolMetrics,
    /// Events relayed to NATS, by whether JetStream had them already.
    pub nats_events: Family<KindLabels, Counter>,
    /// Rows of the event log that nobody has relayed to NATS yet.
    pub nats_lag_events: Gauge,
    /// Transactions that lost a race (and were tried again within a bound) or found no database, by cause.
    pub database_failures: Family<KindLabels, Counter>,
    /// 1 while the database answers.
    pub database_up: Gauge,
}

impl Metrics {
    /// Makes every metric and registers it.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds),
            calls_in_flight: Gauge::default(),
            open_streams: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Family::default(),
            connections_cut: Family::default(),
            streams_cut: Family::default(),
            places: Family::default(),
            refused: Family::default(),
            unread_bytes: Gauge::default(),
            auth_failures: Family::default(),
            sync_records: Family::default(),
            commit: CommitMetrics::new(),
            order_commit: CommitMetrics::new(),
            start_commit: CommitMetrics::new(),
            pool_commit: CommitMetrics::new(),
            payments: PaymentMetrics::new(),
            pool: PoolMetrics::default(),
            nats_events: Family::default(),
            nats_lag_events: Gauge::default(),
            database_failures: Family::default(),
            database_up: Gauge::default(),
        };
        let m = metrics.clone();
        let r = registry.sub_registry_with_prefix("vendfleet");
        r.register("calls", "Calls by method and status code", m.calls);
        r.register_with_unit("call", "Time from headers to answer", Unit::Seconds, m.call_seconds);
        r.register("calls_in_flight", "Unary calls being worked on", m.calls_in_flight);
        r.register("open_streams", "Server streams open", m.open_streams);
        r.register("connections", "Connections open", m.connections);
        r.register("connections_refused", "Connections refused, by cause", m.connections_refused);
        r.register("connections_cut", "Connections cut by the server, by cause", m.connections_cut);
        r.register("streams_cut", "Streams and answers cut by the server, by cause", m.streams_cut);
        r.register("places", "Places for calls, Syncs and streams taken, by class of caller", m.places);
        r.register("refused", "Calls refused at a bound, by class of caller and bound", m.refused);
        r.register("unread_bytes", "Bytes of answers that their readers have not taken yet", m.unread_bytes);
        r.register("auth_failures", "Wrong credentials, by reason", m.auth_failures);
        r.register("sync_records", "Records received by Sync, by what became of them", m.sync_records);
        m.commit.register(r, "commit", "Syncs");
        m.order_commit.register(r, "order_commit", "commands about orders");
        m.start_commit.register(r, "start_commit", "calls of StartWork");
        m.pool_commit.register(r, "pool_commit", "commands about purchases");
        m.payments.register(r);
        m.pool.register(r);
        r.register(
            "nats_events",
            "Events relayed to NATS, by whether they were there already",
            m.nats_events,
        );
        r.register("nats_lag_events", "Rows of the event log not yet relayed to NATS", m.nats_lag_events);
        r.register(
            "database_failures",
            "Transactions that lost a race or found no database",
            m.database_failures,
        );
        r.register("database_up", "1 while the database answers", m.database_up);
        metrics
    }

    /// Counts a finished call.
    pub fn count_call(&self, method: &'static str, code: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { method, code }).inc();
        self.call_seconds.get_or_create(&MethodLabels { method }).observe(took.as_secs_f64());
    }
}

/// One group commit. Cheap to clone; clones share their numbers.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    /// Requests committed together.
    pub batch_requests: Histogram,
    /// Time of one group commit.
    pub seconds: Histogram,
    /// Requests waiting for a commit.
    pub queue_requests: Gauge,
}

impl CommitMetrics {
    fn new() -> Self {
        Self {
            batch_requests: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            seconds: seconds(),
            queue_requests: Gauge::default(),
        }
    }

    fn register(self, registry: &mut Registry, name: &str, what: &str) {
        let help = |words: &str| format!("{words} ({what})");
        registry.register(
            format!("{name}_batch_requests"),
            help("Requests committed together"),
            self.batch_requests,
        );
        registry.register_with_unit(name, help("Time of one group commit"), Unit::Seconds, self.seconds);
        registry.register(
            format!("{name}_queue_requests"),
            help("Requests waiting for a commit"),
            self.queue_requests,
        );
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

/// 0.5 ms to about 16 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}
