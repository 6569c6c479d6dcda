//! Starting the relay of events, where the config names a broker.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ServeError, Toolbox};
use crate::{
    grpc::events::data_json,
    health::{Part, PartStatus},
    operations::relay::{Broker, BrokerError, Relay, RelaySettings, Standing},
    store::Store,
};

/// Random bytes in the name under which this process holds the lease.
const HOLDER_BYTES: usize = 8;

/// A part of the health report, by name.
pub(super) type HealthPart = (&'static str, watch::Receiver<Part>);

/// Starts the relay of this process; gives its part of the health report. `None` where nothing is relayed.
pub(super) async fn start(tools: &Toolbox, store: &Store) -> Result<Option<HealthPart>, ServeError> {
    let nats = &tools.config.nats;
    if nats.url.is_empty() {
        return Ok(None);
    }
    let broker = Broker::open(nats, &tools.context).await.map_err(|error| match error {
        BrokerError::Config { key, cause } => ServeError::Config { key, cause },
        other => ServeError::Services(format!("relay: {other}")),
    })?;
    let starting = Standing { relays: false, detail: "not connected yet".to_owned() };
    let told = watch::Sender::new(part(&starting));
    let shown = told.subscribe();
    let standing = watch::Sender::new(starting);
    tools.workers.spawn(show(standing.subscribe(), told, tools.drain.clone()));
    // A name of this process alone: one that restarts under a configured name is not the one that held the lease.
    let process = hex::encode(tools.context.random_bytes::<HOLDER_BYTES>());
    let relay = Relay {
        store: store.clone(),
        context: tools.context.clone(),
        broker,
        encode: Arc::new(data_json),
        holder: format!("{}-{process}", tools.config.server.replica),
        settings: RelaySettings {
            lease: Duration::from_millis(nats.lease_ms),
            batch_events: nats.batch_events,
            poll: Duration::from_millis(tools.config.events.poll_ms),
        },
        metrics: tools.metrics.clone(),
        standing,
    };
    tools.workers.spawn(relay.run(tools.drain.clone()));
    Ok(Some(("nats", shown)))
}

fn part(standing: &Standing) -> Part {
    let status = if standing.relays { PartStatus::Ok } else { PartStatus::Degraded };
    Part::new(status, standing.detail.clone())
}

async fn show(mut standing: watch::Receiver<Standing>, told: watch::Sender<Part>, drain: CancellationToken) {
    loop {
        let now = part(&standing.borrow_and_update());
        told.send_replace(now);
        tokio::select! {
            () = drain.cancelled() => return,
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}
