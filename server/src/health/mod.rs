//! Whether the server can do its work: gRPC health per service, and `/healthz` with its parts.
//!
//! A service whose calls answer UNIMPLEMENTED is registered as NOT_SERVING, whatever the database does: a load balancer or
//! a client that asks first learns it without a failed call. The empty name is the server as a whole.

mod probe;
mod service;

pub use probe::{DatabaseProbe, probe_database};
pub use service::StandardHealth;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use tonic_health::{ServingStatus, server::HealthReporter};

/// How a part, or all of it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartStatus {
    /// As it should be.
    Ok,
    /// Works, and needs a person soon.
    Degraded,
    /// Does not work.
    Down,
}

/// One part of the answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// How it is.
    pub status: PartStatus,
    /// Why, for people; nothing secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether calls can be answered as far as this part goes: what gRPC health says. A database that can be read and not
    /// written is degraded and serves nobody.
    #[serde(skip)]
    pub is_serving: bool,
}

impl Part {
    /// As it should be.
    pub fn ok() -> Self {
        Self::new(PartStatus::Ok, "")
    }

    /// A part that is served with unless it is down.
    pub fn new(status: PartStatus, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), is_serving: status != PartStatus::Down }
    }
}

/// The answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the parts.
    pub status: PartStatus,
    /// Each part by name.
    pub parts: BTreeMap<&'static str, Part>,
}

impl Report {
    /// Whether calls are served.
    pub fn is_serving(&self) -> bool {
        is_serving(&self.parts)
    }
}

/// The state of the parts, and who is told when the whole changes.
pub struct Health {
    parts: Mutex<BTreeMap<&'static str, Part>>,
    reporter: HealthReporter,
    /// Full names of the services that do their work here.
    serving: Vec<&'static str>,
}

impl Health {
    /// All services known and not serving yet; `serving` are those that will once the parts are well.
    pub async fn new(reporter: HealthReporter, serving: Vec<&'static str>) -> Self {
        let starting = Part::new(PartStatus::Down, "not looked at yet");
        let parts = Mutex::new(BTreeMap::from([("database", starting)]));
        let health = Self { parts, reporter, serving };
        for name in vendfleet_proto::SERVICE_NAMES {
            health.reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
        health.reporter.set_service_status("", ServingStatus::NotServing).await;
        health
    }

    /// Says how a part is, and tells gRPC health when that changes whether the server serves.
    pub async fn set(&self, name: &'static str, status: PartStatus, detail: impl Into<String>) {
        self.set_part(name, Part::new(status, detail)).await;
    }

    /// The same, of a part that may be degraded and not serve.
    pub async fn set_part(&self, name: &'static str, part: Part) {
        let (before, serving) = {
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let before = is_serving(&parts);
            parts.insert(name, part.clone());
            (before, is_serving(&parts))
        };
        if before == serving {
            return;
        }
        tracing::info!(serving, part = name, detail = part.detail, "health changed");
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.serving.iter().chain([&""]) {
            self.reporter.set_service_status(*name, status).await;
        }
    }

    /// Every part and the worst of them.
    pub fn report(&self) -> Report {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Report { status: worst(&parts), parts }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("report", &self.report()).finish_non_exhaustive()
    }
}

fn is_serving(parts: &BTreeMap<&'static str, Part>) -> bool {
    parts.values().all(|part| part.is_serving)
}

fn worst(parts: &BTreeMap<&'static str, Part>) -> PartStatus {
    parts.values().map(|part| part.status).max().unwrap_or(PartStatus::Ok)
}
