//! Every key: what it means, its unit and its bounds. The loader refuses what breaks a rule here; `--print-config` prints it.

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A whole number in `min..=max`.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// Unit, also the key's last word where it fits.
        unit: &'static str,
    },
    /// true or false.
    Bool,
    /// A socket address, `ip:port`; port 0 takes any free one.
    Address,
    /// Text of at most so many bytes.
    Text {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of texts; in the environment and in flags separated by commas.
    List {
        /// Most items.
        max: usize,
    },
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What a value must be.
    pub rule: Rule,
    /// What it does.
    pub doc: &'static str,
}

const fn int(path: &'static str, min: i64, max: i64, unit: &'static str, doc: &'static str) -> Key {
    Key { path, rule: Rule::Int { min, max, unit }, doc }
}

const fn text(path: &'static str, min: usize, max: usize, doc: &'static str) -> Key {
    Key { path, rule: Rule::Text { min, max }, doc }
}

const fn flag(path: &'static str, doc: &'static str) -> Key {
    Key { path, rule: Rule::Bool, doc }
}

const fn list(path: &'static str, max: usize, doc: &'static str) -> Key {
    Key { path, rule: Rule::List { max }, doc }
}

const fn address(path: &'static str, doc: &'static str) -> Key {
    Key { path, rule: Rule::Address, doc }
}

/// Every key, in the order of `Config`.
pub const KEYS: &[Key] = &[
    address("server.listen", "Where gRPC and gRPC-Web listen."),
    address("server.http_listen", "Where /healthz and /metrics listen, plain HTTP: keep it private."),
    text(
        "server.data_dir",
        1,
        4096,
        "Directory of keys, certificates and the embedded database; one process at a time.",
    ),
    int("server.drain_ms", 0, 600_000, "ms", "Longest wait for calls in flight after SIGTERM or SIGINT."),
    text(
        "server.replica",
        0,
        64,
        "Name of this replica in GetServerInfo; empty: a random one at each start.",
    ),
    flag("server.sample_data", "A fresh embedded database gets sample products and a sample config."),
    text("database.url", 0, 4096, "postgres://... or sqlite:<path>; empty: SQLite in the data directory."),
    int("database.connections", 1, 256, "connections", "Size of the connection pool."),
    int("database.acquire_timeout_ms", 10, 60_000, "ms", "Longest wait for a pooled connection."),
    int("database.statement_timeout_ms", 100, 600_000, "ms", "Longest statement."),
    int("database.lock_timeout_ms", 10, 60_000, "ms", "Longest wait for a row lock, or for SQLite's writer."),
    int(
        "database.retries",
        0,
        100,
        "attempts",
        "How often a write that lost a race is tried again, with jitter.",
    ),
    flag("tls.enabled", "Off only behind something that speaks TLS itself: credentials travel in headers."),
    text(
        "tls.cert_file",
        0,
        4096,
        "Server certificate chain, PEM; empty: made by the development CA in data_dir/tls.",
    ),
    text("tls.key_file", 0, 4096, "Its private key, PEM; set together with cert_file."),
    text("tls.client_ca_file", 0, 4096, "CA of machines' certificates, PEM; empty: the CA in data_dir/tls."),
    list(
        "tls.sans",
        64,
        "More names and addresses in the development certificate, besides localhost, 127.0.0.1 and ::1.",
    ),
    int("tls.handshake_timeout_ms", 100, 60_000, "ms", "Longest TLS handshake."),
    int(
        "tls.reload_poll_ms",
        100,
        3_600_000,
        "ms",
        "How often certificate files are looked at for a change; SIGHUP looks at once.",
    ),
    text("auth.issuer", 1, 256, "`iss` of people's tokens."),
    text("auth.audience", 1, 256, "`aud` of people's tokens."),
    int("auth.leeway_s", 0, 30, "s", "Clock skew allowed in exp and nbf."),
    int(
        "auth.credential_cache_ms",
        0,
        5_000,
        "ms",
        "How long a looked-up machine credential is believed; a revocation acts within it.",
    ),
    int("auth.credential_cache_entries", 1, 1_000_000, "credentials", "Most credentials kept in that cache."),
    int(
        "auth.token_cache_entries",
        2,
        1_000_000,
        "tokens",
        "Most people's tokens whose checked signature is remembered, about 0.4 KiB each; their times are checked at each call.",
    ),
    int("limits.max_connections", 1, 1_000_000, "connections", "Most open connections."),
    int(
        "limits.max_connections_per_ip",
        1,
        1_000_000,
        "connections",
        "Most of one address; whole fleets sit behind one mobile carrier's.",
    ),
    int(
        "limits.max_streams_per_connection",
        1,
        10_000,
        "calls",
        "Most calls at once on one connection (HTTP/2 streams).",
    ),
    int(
        "limits.max_calls_in_flight",
        1,
        1_000_000,
        "calls",
        "Most unary calls being worked on; more are OVERLOADED before any work.",
    ),
    int(
        "limits.max_open_streams",
        1,
        1_000_000,
        "streams",
        "Most server streams (Watch and the like) open; more are OVERLOADED.",
    ),
    int("limits.header_list_bytes", 1_024, 65_536, "bytes", "Most bytes of headers of one call."),
    int("limits.sync_message_bytes", 65_536, 1_048_576, "bytes", "Largest Sync request."),
    int("limits.message_bytes", 4_096, 1_048_576, "bytes", "Largest request of every other call."),
    int("limits.deadline_ms", 10, 600_000, "ms", "Longest unary call, whatever the caller's own deadline."),
    int(
        "limits.stream_age_ms",
        1_000,
        86_400_000,
        "ms",
        "Streams end by themselves between half and all of this age, drawn evenly.",
    ),
    int(
        "limits.keepalive_interval_ms",
        1_000,
        3_600_000,
        "ms",
        "HTTP/2 ping after so long without a frame; also TCP keepalive.",
    ),
    int(
        "limits.keepalive_timeout_ms",
        100,
        600_000,
        "ms",
        "Connection closed when a ping stays unanswered so long.",
    ),
    int(
        "limits.rate_per_s",
        1,
        1_000_000,
        "calls/s",
        "Calls one caller may make per second, in the long run.",
    ),
    int("limits.rate_burst", 1, 1_000_000, "calls", "Calls one caller may make at once after a pause."),
    int(
        "limits.rate_callers",
        16,
        10_000_000,
        "callers",
        "Callers remembered; when full, the longest silent ones are forgotten.",
    ),
    int(
        "sync.base_interval_ms",
        100,
        86_400_000,
        "ms",
        "Pause between a machine's Syncs; spread over 0.75 to 1.25 of it.",
    ),
    int("sync.max_records", 1, 512, "records", "Most records of one Sync; the contract allows 512."),
    int(
        "sync.max_body_bytes",
        4_096,
        200_000,
        "bytes",
        "Most bytes of record bodies of one Sync; the contract allows 200000.",
    ),
    int(
        "sync.keep_days",
        0,
        365,
        "days",
        "How long machines keep acknowledged records; less than retention.keep_days.",
    ),
    int(
        "sync.stale_call_grace_ms",
        0,
        3_600_000,
        "ms",
        "How long after an epoch's end a late duplicate of it is not a clone.",
    ),
    int("sync.watch_heartbeat_ms", 1_000, 3_600_000, "ms", "Watch sends a heartbeat so often."),
    int("commit.max_batch_requests", 1, 4_096, "requests", "Most Syncs committed together."),
    int(
        "commit.queue_requests",
        1,
        100_000,
        "requests",
        "Most Syncs waiting for a commit; more are OVERLOADED before any work.",
    ),
    int(
        "orders.lanes",
        1,
        64,
        "lanes",
        "Transactions that commit orders side by side on PostgreSQL; SQLite has one writer.",
    ),
    int("orders.max_batch_commands", 1, 4_096, "commands", "Most commands about orders committed together."),
    int(
        "orders.queue_commands",
        1,
        100_000,
        "commands",
        "Most commands waiting for a commit; more are OVERLOADED before any work.",
    ),
    flag("worker.enabled", "This replica has orders paid; off: it only takes them."),
    int(
        "worker.max_in_flight",
        1,
        10_000,
        "orders",
        "Most orders this replica asks the gateway about at once.",
    ),
    int("worker.claim_batch", 1, 1_000, "orders", "Most orders claimed in one transaction."),
    int(
        "worker.lease_ms",
        100,
        3_600_000,
        "ms",
        "How long a claimed order is this worker's; longer than all attempts together.",
    ),
    int("worker.poll_ms", 10, 60_000, "ms", "Pause between looks for orders that another replica left."),
    int(
        "worker.query_interval_ms",
        100,
        86_400_000,
        "ms",
        "First pause before a payment without a definite answer is asked after again; doubles each time.",
    ),
    int("worker.query_interval_most_ms", 100, 86_400_000, "ms", "Longest such pause."),
    Key {
        path: "payments.gateway",
        rule: Rule::OneOf(&["simulated", "http"]),
        doc: "simulated: for development, no money moves; http: the gateway at payments.url (docs/gateway.md).",
    },
    text("payments.url", 0, 4096, "Base URL of the gateway, https://..."),
    text("payments.api_key_file", 0, 4096, "File with the gateway's API key, sent as a bearer token."),
    text(
        "payments.webhook_secret_file",
        0,
        4096,
        "File with the secret that signs webhooks, 32 bytes or more; empty: no webhooks are taken.",
    ),
    int("payments.timeout_ms", 10, 60_000, "ms", "Longest wait for one answer of the gateway."),
    int(
        "payments.attempts",
        1,
        10,
        "attempts",
        "How often the gateway is asked before an order is set aside.",
    ),
    int(
        "payments.backoff_first_ms",
        1,
        60_000,
        "ms",
        "Pause after the first failed attempt; doubles, with jitter.",
    ),
    int("payments.backoff_most_ms", 1, 60_000, "ms", "Longest such pause."),
    int(
        "payments.breaker_failures",
        1,
        1_000,
        "attempts",
        "Failed attempts in a row after which the gateway is left alone.",
    ),
    int(
        "payments.breaker_open_ms",
        10,
        3_600_000,
        "ms",
        "How long it is left alone before one attempt probes it.",
    ),
    int("payments.simulated_success_percent", 0, 100, "percent", "Payments the simulated gateway approves."),
    int("payments.simulated_delay_min_ms", 0, 60_000, "ms", "Its shortest answer."),
    int("payments.simulated_delay_most_ms", 0, 60_000, "ms", "Its longest answer."),
    int("payments.simulated_seed", 0, i64::MAX, "seed", "The same seed and order give the same answer."),
    int("events.poll_ms", 10, 60_000, "ms", "How soon a stream shows what another replica did."),
    int(
        "events.buffer_events",
        16,
        65_536,
        "events",
        "Events kept for readers that are close behind; who is further behind reads the database.",
    ),
    int("events.heartbeat_ms", 100, 600_000, "ms", "A stream on which nothing else came says so this often."),
    int(
        "events.slow_consumer_ms",
        100,
        600_000,
        "ms",
        "A reader that takes nothing for so long is ended with SLOW_CONSUMER.",
    ),
    text(
        "nats.url",
        0,
        4096,
        "nats://... or tls://...; events are relayed to JetStream. Empty: they are not.",
    ),
    text("nats.credentials_file", 0, 4096, "NATS credentials file (JWT and seed); empty: none."),
    text("nats.stream", 1, 64, "JetStream stream of the events; made when it is missing."),
    text("nats.subject_prefix", 0, 64, "Before each subject, e.g. `vend.`; empty: the plain names."),
    int("nats.replicas", 1, 5, "replicas", "Replicas of the stream when it is made; 3 in production."),
    int("nats.lease_ms", 500, 600_000, "ms", "One replica relays; another takes over after so long."),
    int(
        "nats.batch_events",
        1,
        4_096,
        "events",
        "Most events published before their acknowledgements are awaited.",
    ),
    int(
        "retention.keep_days",
        2,
        36_500,
        "days",
        "How long applied records' bodies are kept; more than sync.keep_days.",
    ),
    int("retention.batch_rows", 1, 100_000, "rows", "Rows deleted per transaction."),
    int("retention.interval_ms", 1_000, 86_400_000, "ms", "Pause between sweeps."),
    flag("web.grpc_web", "Browsers may call: gRPC-Web over HTTP/1.1 and HTTP/2."),
    list(
        "web.allowed_origins",
        64,
        "Origins that browsers may call from (CORS), e.g. https://fleet.example; empty: none.",
    ),
    flag("web.reflection", "grpcurl and friends may ask for the contract without a credential."),
    int("health.probe_interval_ms", 100, 600_000, "ms", "Pause between looks at the database."),
    int("health.probe_timeout_ms", 10, 60_000, "ms", "A look that takes longer counts as failed."),
    Key {
        path: "log.format",
        rule: Rule::OneOf(&["auto", "json", "pretty"]),
        doc: "auto: pretty on a terminal, JSON otherwise.",
    },
    text("log.filter", 1, 1024, "Which lines: a tracing filter, e.g. `info,server::grpc=debug`."),
];

/// The key of that path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known path most like this one, for the hint in an error. A path without a section is compared with bare keys.
pub fn nearest(path: &str) -> &'static str {
    let comparable = |key: &Key| match (path.contains('.'), key.path.split_once('.')) {
        (false, Some((_, name))) => distance(path, name),
        _ => distance(path, key.path),
    };
    KEYS.iter().min_by_key(|key| comparable(key)).map_or("", |key| key.path)
}

/// Edits (insert, delete, replace a byte) from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
