//! The one config: defaults < file < environment < flags, every key known, every bound stated and checked.
//!
//! A new setting is a field here and a row in [`keys`]; a test fails when one is without the other.
//! `vendfleet serve --print-config` prints what is in force, with each key's meaning and bounds.

mod key;
pub mod keys;
mod layers;
mod limit_keys;
mod nearest;
mod print;
#[cfg(test)]
mod tests;

pub use layers::{ConfigError, Layers, load, stray_variables};
pub use print::{print, redact};

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Everything that can be set. Meanings, units and bounds are in [`keys::KEYS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each key is documented, with unit and bounds, in keys::KEYS, which is also printed"
)]
pub struct Config {
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    pub limits: LimitsConfig,
    pub sync: SyncConfig,
    pub commit: CommitConfig,
    pub orders: OrdersConfig,
    pub orchestrator: OrchestratorConfig,
    pub worker: WorkerConfig,
    pub payments: PaymentsConfig,
    pub events: EventsConfig,
    pub nats: NatsConfig,
    pub retention: RetentionConfig,
    pub web: WebConfig,
    pub health: HealthConfig,
    pub log: LogConfig,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[expect(missing_docs, reason = "each key is documented, with unit and bounds, in keys::KEYS")]
        pub struct $name { $(pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// `[server]`: where it listens and keeps its things.
    ServerConfig {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7443)),
        http_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7080)),
        data_dir: String = "vendfleet-data".to_owned(),
        drain_ms: u64 = 10_000,
        replica: String = String::new(),
        sample_data: bool = true,
    }
}

section! {
    /// `[database]`: which engine, and how hard it is leaned on.
    DatabaseConfig {
        url: String = String::new(),
        connections: u32 = 8,
        acquire_timeout_ms: u64 = 3_000,
        statement_timeout_ms: u64 = 10_000,
        lock_timeout_ms: u64 = 2_000,
        retries: u32 = 8,
    }
}

section! {
    /// `[tls]`: certificates.
    TlsConfig {
        enabled: bool = true,
        cert_file: String = String::new(),
        key_file: String = String::new(),
        client_ca_file: String = String::new(),
        sans: Vec<String> = Vec::new(),
        handshake_timeout_ms: u64 = 5_000,
        reload_poll_ms: u64 = 5_000,
    }
}

section! {
    /// `[auth]`: tokens of people and credentials of machines.
    AuthConfig {
        issuer: String = "vendfleet".to_owned(),
        audience: String = "vendfleet".to_owned(),
        leeway_s: u64 = 30,
        credential_cache_ms: u64 = 2_000,
        credential_cache_entries: usize = 20_000,
        token_cache_entries: usize = 20_000,
    }
}

section! {
    /// `[limits]`: what one caller, one connection and all of them may ask for.
    LimitsConfig {
        max_connections: usize = 20_000,
        max_connections_per_ip: usize = 12_000,
        max_streams_per_connection: u32 = 256,
        max_calls_in_flight: usize = 16_384,
        calls_per_caller: usize = 256,
        service_calls_per_caller: usize = 12_288,
        stranger_calls: usize = 512,
        stranger_calls_per_ip: usize = 64,
        max_syncs_in_flight: usize = 1_024,
        syncs_per_machine: usize = 4,
        max_open_streams: usize = 28_000,
        watches_per_machine: usize = 2,
        person_streams: usize = 4_000,
        person_streams_per_caller: usize = 32,
        service_streams: usize = 4_000,
        service_streams_per_caller: usize = 2_000,
        stranger_streams: usize = 256,
        stranger_streams_per_ip: usize = 16,
        response_bytes_in_flight: usize = 268_435_456,
        response_bytes_per_caller: usize = 4_194_304,
        service_response_bytes_per_caller: usize = 67_108_864,
        stranger_response_bytes_per_ip: usize = 1_048_576,
        stranger_bytes_per_s: u32 = 262_144,
        stranger_bytes_burst: u32 = 4_194_304,
        write_timeout_ms: u64 = 15_000,
        send_timeout_ms: u64 = 120_000,
        idle_timeout_ms: u64 = 300_000,
        stranger_idle_timeout_ms: u64 = 15_000,
        http_connections: usize = 512,
        http_connections_per_ip: usize = 256,
        header_list_bytes: u32 = 8_192,
        sync_message_bytes: usize = 262_144,
        message_bytes: usize = 65_536,
        deadline_ms: u64 = 10_000,
        stream_age_ms: u64 = 900_000,
        keepalive_interval_ms: u64 = 20_000,
        keepalive_timeout_ms: u64 = 10_000,
        rate_per_s: u32 = 200,
        rate_burst: u32 = 400,
        service_rate_per_s: u32 = 20_000,
        service_rate_burst: u32 = 20_000,
        machine_rate_per_s: u32 = 20,
        machine_rate_burst: u32 = 400,
        rate_callers: usize = 50_000,
        failures_per_s: u32 = 10,
        failures_burst: u32 = 200,
    }
}

section! {
    /// `[sync]`: what a machine is told about its pace and its records.
    SyncConfig {
        base_interval_ms: u32 = 30_000,
        max_records: usize = 512,
        max_body_bytes: usize = 200_000,
        keep_days: u32 = 30,
        stale_call_grace_ms: u64 = 60_000,
        watch_heartbeat_ms: u64 = 30_000,
        silent_after_ms: u64 = 3_600_000,
        machine_records_per_hour: u64 = 100_000,
        machine_records_burst: u64 = 250_000,
        machine_bytes_per_hour: u64 = 67_108_864,
        machine_bytes_burst: u64 = 268_435_456,
        machine_dead_letter_bytes_per_hour: u64 = 4_194_304,
        machine_dead_letter_bytes_burst: u64 = 33_554_432,
        machine_epochs_per_hour: u64 = 12,
        machine_epochs_burst: u64 = 48,
    }
}

section! {
    /// `[commit]`: group commit of Sync calls.
    CommitConfig {
        max_batch_requests: usize = 128,
        queue_requests: usize = 4_096,
    }
}

section! {
    /// `[orders]`: group commit of orders.
    OrdersConfig {
        lanes: usize = 1,
        max_batch_commands: usize = 256,
        queue_commands: usize = 8_192,
        open_per_customer: i64 = 2_000,
        held_units_per_customer: i64 = 10_000_000,
    }
}

section! {
    /// `[orchestrator]`: sessions on machines, and their purchases.
    OrchestratorConfig {
        lease_ms: u64 = 60_000,
        reservation_ms: u64 = 30_000,
        rest_after: u32 = 3,
        rest_ms: u64 = 60_000,
        lanes: usize = 2,
        max_batch_commands: usize = 8_192,
        queue_commands: usize = 8_192,
        waiting_callers: usize = 4_096,
        wait_poll_ms: u64 = 200,
    }
}

section! {
    /// `[worker]`: who has orders paid and purchases carried out.
    WorkerConfig {
        enabled: bool = true,
        max_in_flight: usize = 256,
        max_in_flight_per_customer: usize = 64,
        claim_batch: usize = 128,
        lease_ms: u64 = 30_000,
        poll_ms: u64 = 500,
        query_interval_ms: u64 = 30_000,
        query_interval_most_ms: u64 = 3_600_000,
    }
}

section! {
    /// `[payments]`: the gateway, and how hard it is tried.
    PaymentsConfig {
        gateway: String = "simulated".to_owned(),
        url: String = String::new(),
        api_key_file: String = String::new(),
        webhook_secret_file: String = String::new(),
        timeout_ms: u64 = 3_000,
        attempts: u32 = 3,
        backoff_first_ms: u64 = 200,
        backoff_most_ms: u64 = 2_000,
        breaker_failures: u32 = 5,
        breaker_open_ms: u64 = 10_000,
        simulated_success_percent: u32 = 80,
        simulated_delay_min_ms: u64 = 50,
        simulated_delay_most_ms: u64 = 200,
        simulated_seed: u64 = 0,
    }
}

section! {
    /// `[events]`: streams of what happened.
    EventsConfig {
        poll_ms: u64 = 100,
        buffer_events: usize = 1_024,
        heartbeat_ms: u64 = 15_000,
        slow_consumer_ms: u64 = 30_000,
    }
}

section! {
    /// `[nats]`: the relay of events to JetStream.
    NatsConfig {
        url: String = String::new(),
        credentials_file: String = String::new(),
        stream: String = "VENDFLEET".to_owned(),
        subject_prefix: String = String::new(),
        replicas: u32 = 1,
        lease_ms: u64 = 10_000,
        batch_events: usize = 256,
    }
}

section! {
    /// `[retention]`: how long the server keeps what it may forget.
    RetentionConfig {
        keep_days: u32 = 400,
        purchases_keep_days: u32 = 400,
        batch_rows: u32 = 1_000,
        interval_ms: u64 = 3_600_000,
    }
}

section! {
    /// `[web]`: reflection and gRPC-Web.
    WebConfig {
        grpc_web: bool = true,
        allowed_origins: Vec<String> = Vec::new(),
        reflection: bool = true,
    }
}

section! {
    /// `[health]`: how the database is watched.
    HealthConfig {
        probe_interval_ms: u64 = 2_000,
        probe_timeout_ms: u64 = 1_000,
        low_space_bytes: u64 = 1_073_741_824,
        reserve_space_bytes: u64 = 134_217_728,
    }
}

section! {
    /// `[log]`: what is written about each call.
    LogConfig {
        format: String = "auto".to_owned(),
        filter: String = "info".to_owned(),
    }
}

impl Config {
    /// Whether the embedded engine (SQLite in the data directory) is used.
    pub fn is_embedded(&self) -> bool {
        self.database.url.is_empty() || self.database.url.starts_with("sqlite:")
    }
}
