//! A gateway as workers use it: every call counted and timed, its breaker told how it went.

use super::{Ask, Breaker, BreakerSettings, BreakerState, Capture, Failed, Gateway, Operation, Permit, Said};
use crate::context::Context;
use crate::domain::payment::Trouble;
use crate::metrics::{GatewayLabels, PaymentMetrics};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Bounds of a till.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TillSettings {
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Of the breaker.
    pub breaker: BreakerSettings,
}

/// A gateway with its timeout, breaker and metrics. Cheap to clone; clones share the breaker.
#[derive(Clone)]
pub struct Till {
    gateway: Arc<dyn Gateway>,
    timeout: Duration,
    breaker: Arc<Mutex<Breaker>>,
    shown: watch::Sender<BreakerState>,
    context: Context,
    metrics: PaymentMetrics,
}

impl Till {
    /// Over a gateway.
    pub fn new(
        gateway: Arc<dyn Gateway>,
        settings: TillSettings,
        context: Context,
        metrics: PaymentMetrics,
    ) -> Self {
        let breaker = Arc::new(Mutex::new(Breaker::new(settings.breaker)));
        let shown = watch::Sender::new(BreakerState::Closed);
        Self { gateway, timeout: settings.timeout, breaker, shown, context, metrics }
    }

    /// Longest wait for one answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where the breaker stands, from now on.
    pub fn watch(&self) -> watch::Receiver<BreakerState> {
        self.shown.subscribe()
    }

    /// What may be begun now.
    pub fn permit(&self) -> Permit {
        let permit = self.breaker().permit(self.context.elapsed());
        self.show();
        permit
    }

    /// A permitted probe was not needed.
    pub fn unused(&self) {
        self.breaker().unused(self.context.elapsed());
        self.show();
    }

    /// [`Gateway::authorise`]
    pub async fn authorise(&self, ask: &Ask, capture: Capture) -> Result<Said, Failed> {
        self.call(Operation::Authorise, self.gateway.authorise(ask, capture)).await
    }

    /// [`Gateway::capture`]
    pub async fn capture(&self, ask: &Ask) -> Result<Said, Failed> {
        self.call(Operation::Capture, self.gateway.capture(ask)).await
    }

    /// [`Gateway::void`]
    pub async fn void(&self, ask: &Ask) -> Result<Said, Failed> {
        self.call(Operation::Void, self.gateway.void(ask)).await
    }

    /// [`Gateway::refund`]
    pub async fn refund(&self, ask: &Ask) -> Result<Said, Failed> {
        self.call(Operation::Refund, self.gateway.refund(ask)).await
    }

    /// [`Gateway::query`]
    pub async fn query(&self, ask: &Ask) -> Result<Said, Failed> {
        self.call(Operation::Query, self.gateway.query(ask)).await
    }

    async fn call(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<Said, Failed>>,
    ) -> Result<Said, Failed> {
        let began = self.context.elapsed();
        let result = tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| {
            let waited = self.timeout.as_millis();
            Err(Failed::outage(Trouble::Timeout, format!("no answer within {waited} ms")))
        });
        let outcome = match &result {
            Ok(_) => "definite",
            Err(failed) => failed.trouble.reason(),
        };
        let labels = GatewayLabels { operation: operation.name(), outcome };
        self.metrics.gateway_calls.get_or_create(&labels).inc();
        let took = self.context.elapsed().saturating_sub(began);
        self.metrics.gateway_seconds.observe(took.as_secs_f64());
        match &result {
            Err(failed) if failed.outage => self.breaker().failed(self.context.elapsed()),
            Ok(_) | Err(_) => self.breaker().answered(),
        }
        self.show();
        if let Err(failed) = &result {
            tracing::info!(
                operation = operation.name(),
                trouble = failed.trouble.reason(),
                detail = failed.detail,
                "no definite answer of the gateway"
            );
        }
        result
    }

    fn show(&self) {
        let state = self.breaker().state();
        self.metrics.breaker_state.set(state.number());
        let changed = self.shown.send_if_modified(|shown| std::mem::replace(shown, state) != state);
        if changed {
            tracing::warn!(?state, "the breaker of the payment gateway");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Till {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Till").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
