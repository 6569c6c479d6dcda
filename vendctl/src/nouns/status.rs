//! `vendctl status`: one screen.

use crate::call::{Found, Session};
use crate::failure::Failure;
use crate::nouns::machine::config_word;
use crate::nouns::{alerts, machine, server};
use crate::output::contract::word;
use crate::output::table::{Table, left, right};
use crate::output::{Output, when};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vendfleet_proto::v1::{
    Alert, AlertState, BranchState, DeadLetterState, GetServerInfoResponse, ListAlertsRequest,
    ListDeadLettersRequest, ListMachinesRequest, ListQuarantineBranchesRequest, Machine, UploadStanding,
};

/// Alerts shown; `vendctl alerts list` has the rest.
const SHOWN_ALERTS: usize = 10;
/// Largest page of branches and of dead letters, rows: enough for a count on one screen.
const COUNTED: i32 = 200;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// What one screen says.
struct Picture {
    server: GetServerInfoResponse,
    fleet: Fleet,
    /// The fleet was longer than --limit.
    more_machines: bool,
    alerts: Found<Alert>,
    open_branches: Count,
    open_dead_letters: Count,
}

/// Machines by what is known of them. A machine is in as many lines as fit it.
#[derive(Default, Debug, PartialEq, Eq)]
struct Fleet {
    real: u64,
    virtual_: u64,
    connected: u64,
    never_synced: u64,
    out_of_service: u64,
    cloned: u64,
    unsent_records: u64,
    config: BTreeMap<&'static str, u64>,
    pool: BTreeMap<String, u64>,
    last_sync_time_ms: i64,
}

/// A count of which only the first page was looked at.
struct Count {
    rows: usize,
    more: bool,
}

pub(crate) async fn run(
    Args {}: Args,
    session: &Session<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let machine_filter = ListMachinesRequest::default();
    let alert_filter = ListAlertsRequest { state: AlertState::Open.into(), ..ListAlertsRequest::default() };
    let (server, machines, alerts, open_branches, open_dead_letters) = tokio::try_join!(
        server::info(session),
        machine::list(session, &machine_filter),
        alerts::list(session, &alert_filter),
        open_branches(session),
        open_dead_letters(session),
    )?;
    let picture = Picture {
        server,
        fleet: Fleet::of(&machines.items),
        more_machines: machines.more,
        alerts,
        open_branches,
        open_dead_letters,
    };
    if output.is_json() { output.json_value(&picture.to_json()) } else { output.text(&picture.render()) }
}

async fn open_branches(session: &Session<'_>) -> Result<Count, Failure> {
    let state = BranchState::Open.into();
    let request = ListQuarantineBranchesRequest { page_size: COUNTED, state, ..Default::default() };
    let page = session.fleet(request, async |c, r| c.list_quarantine_branches(r).await).await?;
    Ok(Count { rows: page.branches.len(), more: !page.next_page_token.is_empty() })
}

async fn open_dead_letters(session: &Session<'_>) -> Result<Count, Failure> {
    let state = DeadLetterState::Open.into();
    let request = ListDeadLettersRequest { page_size: COUNTED, state, ..Default::default() };
    let page = session.fleet(request, async |c, r| c.list_dead_letters(r).await).await?;
    Ok(Count { rows: page.dead_letters.len(), more: !page.next_page_token.is_empty() })
}

impl Fleet {
    fn of(machines: &[Machine]) -> Self {
        let mut fleet = Self::default();
        for machine in machines {
            if let Some(pool) = &machine.pool {
                *fleet.pool.entry(word("PoolState", pool.state)).or_default() += 1;
            }
            let Some(device) = &machine.device else {
                fleet.virtual_ += 1;
                continue;
            };
            fleet.real += 1;
            fleet.connected += u64::from(device.connected);
            fleet.never_synced += u64::from(device.last_sync_time_ms == 0);
            fleet.out_of_service += u64::from(device.out_of_service);
            fleet.cloned += u64::from(device.standing() == UploadStanding::Cloned);
            let unsent = device.last_seq.saturating_sub(device.accepted_through);
            fleet.unsent_records = fleet.unsent_records.saturating_add(unsent);
            *fleet.config.entry(config_word(device.config.as_ref())).or_default() += 1;
            fleet.last_sync_time_ms = fleet.last_sync_time_ms.max(device.last_sync_time_ms);
        }
        fleet
    }
}

impl Count {
    fn render(&self) -> String {
        if self.more { format!("more than {}", self.rows) } else { self.rows.to_string() }
    }
}

impl Picture {
    fn render(&self) -> String {
        let (server, fleet) = (&self.server, &self.fleet);
        let up = when::span(server.time_ms.saturating_sub(server.start_time_ms).max(0));
        let mut lines = vec![
            format!(
                "server    {} on {}, up {up}, {}",
                server.version,
                server.storage,
                when::time(server.time_ms)
            ),
            format!(
                "machines  {} real: {} connected, {} never synced, {} out of service, {} cloned; {} virtual",
                fleet.real,
                fleet.connected,
                fleet.never_synced,
                fleet.out_of_service,
                fleet.cloned,
                fleet.virtual_
            ),
            format!(
                "records   {} known unsent; last sync {}",
                fleet.unsent_records,
                when::age(fleet.last_sync_time_ms, server.time_ms)
            ),
            format!("configs   {}", counts(&fleet.config)),
            format!("pool      {}", counts(&fleet.pool)),
            format!(
                "waiting   {} quarantined branches, {} dead letters, {}{} open alerts",
                self.open_branches.render(),
                self.open_dead_letters.render(),
                if self.alerts.more { "more than " } else { "" },
                self.alerts.items.len()
            ),
        ];
        if self.more_machines {
            lines.push("          only the first machines are counted: raise --limit".to_owned());
        }
        let mut text = lines.join("\n");
        text.push('\n');
        if !self.alerts.items.is_empty() {
            text.push('\n');
            text.push_str(&self.alert_table().render());
        }
        text
    }

    /// The worst first, and among them the newest.
    fn alert_table(&self) -> Table {
        let mut worst: Vec<&Alert> = self.alerts.items.iter().collect();
        worst.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.last_time_ms)));
        let columns =
            [left("ALERT"), left("SEVERITY"), left("TYPE"), right("TIMES"), left("LAST"), left("MESSAGE")];
        let mut table = Table::new(&columns);
        for alert in worst.into_iter().take(SHOWN_ALERTS) {
            table.push(vec![
                alert.alert_id.clone(),
                word("AlertSeverity", alert.severity),
                word("AlertType", alert.r#type),
                alert.occurrences.to_string(),
                when::age(alert.last_time_ms, self.server.time_ms),
                alert.message.clone(),
            ]);
        }
        table
    }

    fn to_json(&self) -> Value {
        let (server, fleet) = (&self.server, &self.fleet);
        let severity = |alert: &Alert| word("AlertSeverity", alert.severity);
        let mut by_severity: BTreeMap<String, u64> = BTreeMap::new();
        for alert in &self.alerts.items {
            *by_severity.entry(severity(alert)).or_default() += 1;
        }
        json!({
            "server": {
                "version": server.version,
                "storage": server.storage,
                "server_incarnation": server.server_incarnation,
                "time_ms": server.time_ms,
                "start_time_ms": server.start_time_ms,
            },
            "machines": {
                "real": fleet.real,
                "virtual": fleet.virtual_,
                "connected": fleet.connected,
                "never_synced": fleet.never_synced,
                "out_of_service": fleet.out_of_service,
                "cloned": fleet.cloned,
                "config": fleet.config,
                "pool": fleet.pool,
                "more": self.more_machines,
            },
            "unsent_records": fleet.unsent_records,
            "last_sync_time_ms": fleet.last_sync_time_ms,
            "open_quarantine_branches": { "rows": self.open_branches.rows, "more": self.open_branches.more },
            "open_dead_letters": { "rows": self.open_dead_letters.rows, "more": self.open_dead_letters.more },
            "open_alerts": {
                "rows": self.alerts.items.len(),
                "more": self.alerts.more,
                "by_severity": by_severity,
            },
        })
    }
}

fn counts<Name: AsRef<str>>(by_name: &BTreeMap<Name, u64>) -> String {
    if by_name.is_empty() {
        return "-".to_owned();
    }
    let parts: Vec<String> =
        by_name.iter().map(|(name, count)| format!("{count} {}", name.as_ref())).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
