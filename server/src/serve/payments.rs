//! The payment gateway, the worker that asks it and its webhooks, built from the config.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ServeError, Toolbox};
use crate::{
    config::{PaymentsConfig, WorkerConfig},
    context::Context,
    health::{Part, PartStatus},
    http::Webhooks,
    metrics::PaymentMetrics,
    operations::{
        Deps,
        jobs::{Jobs, JobsSettings, Teller},
        payments::{
            BadGateway, BreakerSettings, BreakerState, Gateway, HttpGateway, HttpGatewaySettings,
            SimulatedGateway, SimulatedSettings, Till, TillSettings, WebhookSecrets,
        },
        worker::{CashierSettings, Worker, WorkerSettings},
    },
    store::{Store, orders as store},
};

/// How often the backlog is counted for metrics.
const BACKLOG_EVERY: Duration = Duration::from_secs(5);
/// Orders counted, at most.
const BACKLOG_MOST: i64 = 10_000;

/// Pause between sweeps for leases and rests that are over.
const JOBS_SWEEP: Duration = Duration::from_secs(1);

/// What payments add to a server.
pub(super) struct Payments {
    /// For the health report.
    pub(super) part: watch::Receiver<Part>,
    /// If they are set up.
    pub(super) webhooks: Option<Webhooks>,
}

/// Builds the gateway, and starts the worker unless it is off.
pub(super) fn start(tools: &Toolbox, deps: &Deps) -> Result<Payments, ServeError> {
    let (config, worker) = (&tools.config.payments, &tools.config.worker);
    let metrics = tools.metrics.payments.clone();
    let timeout = ms(config.timeout_ms);
    let cashier = cashier(config, worker);
    let longest = cashier.all_attempts(timeout);
    if ms(worker.lease_ms) < longest {
        return Err(ServeError::Config {
            key: "worker.lease_ms",
            cause: format!(
                "must be at least {}: payments.attempts of payments.timeout_ms each, and the pauses between them",
                longest.as_millis()
            ),
        });
    }
    let breaker = BreakerSettings {
        failures: config.breaker_failures,
        open_for: ms(config.breaker_open_ms),
        probe_for: ms(worker.lease_ms),
    };
    let settings = TillSettings { timeout, breaker };
    let till = Till::new(gateway(config, worker)?, settings, tools.context.clone(), metrics.clone());
    if worker.enabled {
        let settings = WorkerSettings {
            max_in_flight: worker.max_in_flight,
            claim_batch: worker.claim_batch,
            max_in_flight_per_customer: worker.max_in_flight_per_customer,
            lease_ms: i64::try_from(worker.lease_ms).unwrap_or(i64::MAX),
            poll: ms(worker.poll_ms),
        };
        let (orders, context) = (deps.orders.clone(), tools.context.clone());
        let working = Worker::new(orders, till.clone(), settings, cashier, context, metrics.clone());
        tools.workers.spawn(working.run(tools.drain.clone(), tools.workers.clone()));
        let settings = JobsSettings {
            max_in_flight: worker.max_in_flight,
            claim_batch: worker.claim_batch,
            max_in_flight_per_customer: worker.max_in_flight_per_customer,
            lease_ms: i64::try_from(worker.lease_ms).unwrap_or(i64::MAX),
            poll: ms(worker.poll_ms),
            sweep: JOBS_SWEEP,
        };
        let teller = Teller::new(till.clone(), cashier, tools.context.clone());
        let jobs = Jobs::new(deps.pool.clone(), teller, settings, tools.context.clone());
        tools.workers.spawn(jobs.clone().sweep(tools.drain.clone()));
        tools.workers.spawn(jobs.run(tools.drain.clone(), tools.workers.clone()));
    }
    let (store, context) = (deps.store.clone(), tools.context.clone());
    tools.workers.spawn(count_backlog(store, context, metrics.clone(), tools.drain.clone()));
    let part = watch::Sender::new(shown(BreakerState::Closed, config));
    let receiver = part.subscribe();
    tools.workers.spawn(show(till.watch(), part, config.clone(), tools.drain.clone()));
    let webhooks = secrets(config)?.map(|secrets| {
        let (orders, pool) = (deps.orders.clone(), deps.pool.clone());
        Webhooks::new(secrets, orders, pool, longest, tools.context.clone(), metrics)
    });
    Ok(Payments { part: receiver, webhooks })
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn cashier(config: &PaymentsConfig, worker: &WorkerConfig) -> CashierSettings {
    CashierSettings {
        attempts: config.attempts,
        backoff_first: ms(config.backoff_first_ms),
        backoff_most: ms(config.backoff_most_ms),
        query_interval: ms(worker.query_interval_ms),
        query_interval_most: ms(worker.query_interval_most_ms),
        lease: ms(worker.lease_ms),
    }
}

fn gateway(config: &PaymentsConfig, worker: &WorkerConfig) -> Result<Arc<dyn Gateway>, ServeError> {
    if config.gateway == "simulated" {
        let (delay_min, delay_most) = (ms(config.simulated_delay_min_ms), ms(config.simulated_delay_most_ms));
        if delay_most < delay_min {
            let cause = "must not be less than payments.simulated_delay_min_ms".to_owned();
            return Err(ServeError::Config { key: "payments.simulated_delay_most_ms", cause });
        }
        return Ok(Arc::new(SimulatedGateway::new(SimulatedSettings {
            success_percent: config.simulated_success_percent,
            delay_min,
            delay_most,
            seed: config.simulated_seed,
        })));
    }
    let settings = HttpGatewaySettings {
        url: config.url.clone(),
        api_key: read("payments.api_key_file", &config.api_key_file)?.trim().to_owned(),
        connections: worker.max_in_flight,
    };
    match HttpGateway::new(&settings) {
        Ok(gateway) => Ok(Arc::new(gateway)),
        Err(cause) => {
            let key = match cause {
                BadGateway::Url | BadGateway::Roots(_) => "payments.url",
                BadGateway::ApiKey => "payments.api_key_file",
            };
            Err(ServeError::Config { key, cause: cause.to_string() })
        }
    }
}

fn secrets(config: &PaymentsConfig) -> Result<Option<WebhookSecrets>, ServeError> {
    const KEY: &str = "payments.webhook_secret_file";
    if config.webhook_secret_file.is_empty() {
        return Ok(None);
    }
    let secrets = WebhookSecrets::parse(&read(KEY, &config.webhook_secret_file)?);
    secrets.map(Some).map_err(|cause| ServeError::Config { key: KEY, cause })
}

/// A file a setting names; none named: nothing.
fn read(key: &'static str, path: &str) -> Result<String, ServeError> {
    if path.is_empty() {
        return Ok(String::new());
    }
    std::fs::read_to_string(path)
        .map_err(|cause| ServeError::Config { key, cause: format!("{path}: {cause}") })
}

/// How payments are, for people.
fn shown(state: BreakerState, config: &PaymentsConfig) -> Part {
    let (status, detail) = match state {
        BreakerState::Closed if config.gateway == "simulated" => {
            (PartStatus::Ok, "simulated gateway: no money moves")
        }
        BreakerState::Closed => (PartStatus::Ok, "the gateway answers"),
        BreakerState::Open => {
            (PartStatus::Degraded, "the gateway is in trouble and left alone; orders and purchases wait")
        }
        BreakerState::Probing => (PartStatus::Degraded, "the gateway was in trouble; one payment probes it"),
    };
    Part::new(status, detail)
}

async fn show(
    mut state: watch::Receiver<BreakerState>,
    part: watch::Sender<Part>,
    config: PaymentsConfig,
    drain: CancellationToken,
) {
    loop {
        let now = *state.borrow_and_update();
        part.send_replace(shown(now, &config));
        tokio::select! {
            () = drain.cancelled() => return,
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

async fn count_backlog(store: Store, context: Context, metrics: PaymentMetrics, drain: CancellationToken) {
    loop {
        let counted =
            async { store::backlog(&mut store.read().await?, BACKLOG_MOST, context.now_ms()).await };
        match counted.await {
            Ok(backlog) => {
                metrics.backlog.set(backlog.orders);
                metrics.backlog_age.set(backlog.oldest_age_ms.max(0) / 1_000);
            }
            Err(error) => tracing::debug!(%error, "the backlog was not counted"),
        }
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(BACKLOG_EVERY) => {}
        }
    }
}
