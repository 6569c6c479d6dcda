//! Every key: what it means, its unit and its bounds. The loader refuses what breaks a rule here; `--print-config` prints it.

pub use super::key::{Key, Rule};
use super::{
    key::{address, flag, int, list, text},
    limit_keys::LIMITS,
};

/// Every key, in the order of `Config`.
pub const KEYS: &[Key] = &joined::<{ BEFORE.len() + LIMITS.len() + AFTER.len() }>(BEFORE, LIMITS, AFTER);

const BEFORE: &[Key] = &[
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
];

const AFTER: &[Key] = &[
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
    int(
        "sync.silent_after_ms",
        0,
        2_592_000_000,
        "ms",
        "A real machine that is not heard for so long raises MACHINE_SILENT, and never sooner than twice sync.base_interval_ms; 0: never, else 60000 or more.",
    ),
    int(
        "sync.machine_records_per_hour",
        1,
        1_000_000_000,
        "records/h",
        "Records one machine may have stored per hour, in the long run; above it MACHINE_BUDGET. Per replica, as are the next.",
    ),
    int("sync.machine_records_burst", 512, 1_000_000_000, "records", "And at once: a long backlog."),
    int(
        "sync.machine_bytes_per_hour",
        1,
        1_000_000_000_000,
        "bytes/h",
        "The same in bytes: bodies, and 64 beside each. What goes into quarantine counts as well.",
    ),
    int("sync.machine_bytes_burst", 262_144, 1_000_000_000_000, "bytes", "And at once."),
    int(
        "sync.machine_dead_letter_bytes_per_hour",
        1,
        1_000_000_000_000,
        "bytes/h",
        "Of these, bytes of records that can't be decoded.",
    ),
    int("sync.machine_dead_letter_bytes_burst", 262_144, 1_000_000_000_000, "bytes", "And at once."),
    int(
        "sync.machine_epochs_per_hour",
        1,
        1_000_000,
        "epochs/h",
        "New epochs (journals) of one machine per hour, in the long run: their marks are kept for ever.",
    ),
    int("sync.machine_epochs_burst", 1, 1_000_000, "epochs", "And at once."),
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
    int(
        "orders.open_per_customer",
        1,
        1_000_000_000,
        "orders",
        "Most orders of one customer that are not yet paid, failed or cancelled; more are TOO_MANY_OPEN_ORDERS.",
    ),
    int(
        "orders.held_units_per_customer",
        1,
        1_000_000_000_000,
        "units",
        "Most units of stock that those orders hold.",
    ),
    int(
        "orchestrator.lease_ms",
        100,
        3_600_000,
        "ms",
        "How long StartWork holds a machine for a customer who has not chosen yet.",
    ),
    int(
        "orchestrator.reservation_ms",
        100,
        3_600_000,
        "ms",
        "How long a dispense command may wait for a real machine's Sync; then slot and money are given back.",
    ),
    int(
        "orchestrator.rest_after",
        1,
        1_000,
        "purchases",
        "Purchases failed or expired in a row after which a machine rests.",
    ),
    int("orchestrator.rest_ms", 0, 86_400_000, "ms", "How long it rests."),
    int(
        "orchestrator.lanes",
        1,
        64,
        "lanes",
        "Transactions that commit sessions, and purchases, side by side on PostgreSQL; SQLite has one writer.",
    ),
    int(
        "orchestrator.max_batch_commands",
        1,
        16_384,
        "commands",
        "Most commands about sessions and purchases committed together.",
    ),
    int(
        "orchestrator.queue_commands",
        1,
        100_000,
        "commands",
        "Most of them waiting for a commit; more are OVERLOADED before any work.",
    ),
    int(
        "orchestrator.waiting_callers",
        1,
        100_000,
        "callers",
        "Most callers of StartWork waiting for a machine; more are looked for once and told NO_IDLE_MACHINE.",
    ),
    int(
        "orchestrator.wait_poll_ms",
        10,
        60_000,
        "ms",
        "How soon those who wait notice a machine that another replica freed, and a lease that is over.",
    ),
    flag(
        "worker.enabled",
        "This replica has orders paid, carries out purchases and sweeps up leases that are over; off: it only takes calls.",
    ),
    int(
        "worker.max_in_flight",
        1,
        10_000,
        "orders",
        "Most orders, and most purchases besides, that this replica works on at once.",
    ),
    int(
        "worker.max_in_flight_per_customer",
        1,
        10_000,
        "orders",
        "Most of one customer's orders among them: nobody waits for another's slow payments.",
    ),
    int("worker.claim_batch", 1, 1_000, "orders", "Most orders, or purchases, claimed in one transaction."),
    int(
        "worker.lease_ms",
        100,
        3_600_000,
        "ms",
        "How long a claimed order or purchase is this worker's; longer than all attempts together.",
    ),
    int(
        "worker.poll_ms",
        10,
        60_000,
        "ms",
        "Pause between looks for orders and purchases that another replica left.",
    ),
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
        "nats://... or tls://..., several separated by commas: events are relayed to JetStream. Empty: they are not.",
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
    int(
        "retention.purchases_keep_days",
        30,
        36_500,
        "days",
        "How long sessions, purchases and commands are kept after they ended; request ids are in them.",
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
    int(
        "health.low_space_bytes",
        0,
        1_000_000_000_000_000,
        "bytes",
        "Below this much room under the embedded database LOW_SPACE is raised; at most an eighth of the medium counts.",
    ),
    int(
        "health.reserve_space_bytes",
        0,
        1_000_000_000_000_000,
        "bytes",
        "Below this nothing new is taken (OVERLOADED), only what was begun is finished; at most a sixteenth of the medium counts.",
    ),
    Key {
        path: "log.format",
        rule: Rule::OneOf(&["auto", "json", "pretty"]),
        doc: "auto: pretty on a terminal, JSON otherwise.",
    },
    text("log.filter", 1, 1024, "Which lines: a tracing filter, e.g. `info,server::grpc=debug`."),
];

const fn joined<const N: usize>(before: &[Key], limits: &[Key], after: &[Key]) -> [Key; N] {
    assert!(before.len() + limits.len() + after.len() == N, "N is the number of keys");
    let mut all = [before[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < before.len() {
            before[at]
        } else if at < before.len() + limits.len() {
            limits[at - before.len()]
        } else {
            after[at - before.len() - limits.len()]
        };
        at += 1;
    }
    all
}

/// The key of that path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
