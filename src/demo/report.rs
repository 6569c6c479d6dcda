//! Both ends, held against each other. One equal hash at a chain's end proves every record before it equal.

use super::api::Operator;
use super::cast::{Actor, Fate};
use super::child;
use super::remote::Remote;
use anyhow::Result;
use fleet_client::simulate::report::{EpochReport, MachineReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use vendfleet_proto::v1;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machines: Vec<Row>,
    /// Alerts the server raised, by type.
    alerts: BTreeMap<String, Seen>,
    /// The machine that a clone became.
    pub(super) separated: Option<String>,
    /// What was bought from afar.
    pub(super) remote: Option<Remote>,
    prices_in_force: BTreeMap<String, usize>,
}

/// Alerts of one type.
#[derive(Debug, Default, Serialize)]
struct Seen {
    raised: u64,
    open: u64,
}

/// One device and what the server says of it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    machine_id: String,
    fate: &'static str,
    /// Units sold over the counter.
    sold: u64,
    /// Records in the journal, pruned ones included, over the epochs it holds.
    on_device: u64,
    /// Of those epochs, on the server.
    on_server: Held,
    /// Of epochs that the device has lost, on the server alone.
    only_on_server: Held,
    /// Every epoch the device holds ends in the same hash at the same seq on the server, or in quarantine.
    same_chains: bool,
    money_conserved: bool,
    driven_twice: u64,
    turns_unrecorded: u64,
    /// The record at which lifetime counters part from the sum of records; none.
    counters_part_at: Option<String>,
    #[serde(skip)]
    fate_kind: Fate,
}

/// What the server says of a device.
#[derive(Default)]
struct Server {
    /// Epochs under its own name.
    own: Vec<v1::Epoch>,
    /// Epochs under any name it may have had.
    epochs: Vec<v1::Epoch>,
    branches: Vec<v1::QuarantineBranch>,
}

impl Server {
    /// The chain the device holds ends on the server where it ends on the device: on a main chain, or on a branch that was set apart.
    fn has_chain(&self, device: &EpochReport) -> bool {
        let whole = |e: &v1::Epoch| {
            e.epoch == device.epoch
                && e.durable_through == device.last_seq
                && e.durable_hash == device.last_hash
        };
        let apart = |b: &v1::QuarantineBranch| b.epoch == device.epoch && b.last_seq == device.last_seq;
        self.epochs.iter().any(whole) || self.branches.iter().any(apart)
    }
}

/// Records of epochs as the server holds them.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Held {
    applied: u64,
    dead_lettered: u64,
    quarantined: u64,
    missing: u64,
}

impl Held {
    fn add(&mut self, epoch: &v1::Epoch) {
        self.applied += epoch.applied_records;
        self.dead_lettered += epoch.dead_lettered_records;
        self.quarantined += epoch.quarantined_records;
        self.missing += epoch.missing_records;
    }

    fn all(self) -> u64 {
        self.applied + self.dead_lettered + self.quarantined + self.missing
    }
}

impl Report {
    pub(super) async fn read(cast: &[Actor], operator: &mut Operator, configs: &[String]) -> Result<Self> {
        let mut twins = Vec::new();
        for actor in cast.iter().filter(|a| matches!(a.fate, Fate::Cloned | Fate::Clone)) {
            twins.push(actor.machine.report().await?.machine_id);
        }
        let mut machines = Vec::new();
        let mut prices_in_force = BTreeMap::new();
        for actor in cast {
            let device = actor.machine.report().await?;
            let own = operator.epochs(&device.machine_id).await?;
            let mut server = Server { own, ..Server::default() };
            // What twins wrote before they were told apart stands under either name.
            let names = if matches!(actor.fate, Fate::Cloned | Fate::Clone) { &twins[..] } else { &[] };
            for name in names.iter().chain([&device.machine_id]) {
                server.epochs.extend(operator.epochs(name).await?);
                server.branches.extend(operator.branches(name).await?);
            }
            let totals = operator.totals(&device.machine_id).await?;
            let version = device
                .config_id
                .as_ref()
                .and_then(|id| configs.iter().position(|known| known == id))
                .map_or_else(|| "other".to_owned(), |at| format!("version {}", at + 1));
            *prices_in_force.entry(version).or_insert(0) += 1;
            machines.push(row(actor, &device, &server, totals.disagreement));
        }
        let mut alerts = BTreeMap::new();
        for alert in operator.alerts().await? {
            let name = alert.r#type().as_str_name().trim_start_matches("ALERT_TYPE_").to_owned();
            let seen: &mut Seen = alerts.entry(name).or_default();
            seen.raised += 1;
            seen.open += u64::from(alert.state() != v1::AlertState::Resolved);
        }
        Ok(Self { machines, alerts, separated: None, remote: None, prices_in_force })
    }

    /// No record is anywhere but where it must be, and all money is accounted for.
    pub(super) fn is_clean(&self) -> bool {
        self.machines.iter().all(Row::is_clean)
            && self.prices_in_force.keys().eq(["version 2"])
            && self.remote.as_ref().is_some_and(Remote::is_clean)
    }
}

fn row(
    actor: &Actor,
    device: &MachineReport,
    server: &Server,
    parted: Option<v1::CounterDisagreement>,
) -> Row {
    let (mut on_server, mut only_on_server) = (Held::default(), Held::default());
    for epoch in &server.own {
        let held = device.epochs.iter().any(|e| e.epoch == epoch.epoch);
        if held { on_server.add(epoch) } else { only_on_server.add(epoch) }
    }
    Row {
        name: device.name.clone(),
        machine_id: device.machine_id.clone(),
        fate: actor.fate.words(),
        sold: actor.sold,
        on_device: device.epochs.iter().map(|e| e.last_seq).sum(),
        on_server,
        only_on_server,
        same_chains: device.epochs.iter().all(|e| server.has_chain(e)),
        money_conserved: device.money_conserved,
        driven_twice: device.driven_twice,
        turns_unrecorded: if actor.fate == Fate::Reflashed { 0 } else { device.turns_unrecorded },
        counters_part_at: parted.map(|p| format!("{} seq {}: {}", p.epoch, p.seq, p.field)),
        fate_kind: actor.fate,
    }
}

impl Row {
    fn is_clean(&self) -> bool {
        // The twins share the records from before they were two.
        let counted = match self.fate_kind {
            Fate::Cloned | Fate::Clone => true,
            _ => self.on_device == self.on_server.all(),
        };
        counted
            && self.same_chains
            && self.money_conserved
            && self.driven_twice == 0
            && self.turns_unrecorded == 0
            && self.counters_part_at.is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<17} {:>5} {:>9} {:>8} {:>6} {:>6} {:>5}  {:<6} {:<6} what happened to it",
            "machine", "sold", "on device", "applied", "quar.", "dead", "gaps", "chain", "money"
        )?;
        for row in &self.machines {
            writeln!(
                f,
                "{:<17} {:>5} {:>9} {:>8} {:>6} {:>6} {:>5}  {:<6} {:<6} {}{}",
                row.name,
                row.sold,
                row.on_device,
                row.on_server.applied,
                row.on_server.quarantined,
                row.on_server.dead_lettered,
                row.on_server.missing,
                if row.same_chains { "equal" } else { "DIFFER" },
                if row.money_conserved { "adds up" } else { "OFF" },
                row.fate,
                if row.only_on_server.all() > 0 {
                    format!(
                        "; the server alone holds {} records of its lost journal",
                        row.only_on_server.all()
                    )
                } else {
                    String::new()
                },
            )?;
            if let Some(parted) = &row.counters_part_at {
                writeln!(f, "{:<17} counters part from the sum of records at {parted}", "")?;
            }
        }
        let sum = |of: fn(&Row) -> u64| self.machines.iter().map(of).sum::<u64>();
        writeln!(f)?;
        writeln!(f, "units sold                      {:>6}", sum(|r| r.sold))?;
        writeln!(f, "records on devices              {:>6}", sum(|r| r.on_device))?;
        writeln!(
            f,
            "  of those on the server        {:>6}   applied {}, quarantined {}, dead-lettered {}, in named gaps {}",
            sum(|r| r.on_server.all()),
            sum(|r| r.on_server.applied),
            sum(|r| r.on_server.quarantined),
            sum(|r| r.on_server.dead_lettered),
            sum(|r| r.on_server.missing),
        )?;
        if let Some(remote) = &self.remote {
            write!(f, "{remote}")?;
        }
        writeln!(f, "sales whose motor turned twice  {:>6}", sum(|r| r.driven_twice))?;
        writeln!(f, "motor turns without a record    {:>6}", sum(|r| r.turns_unrecorded))?;
        let off = self.machines.iter().filter(|r| !r.money_conserved).count();
        writeln!(f, "machines whose money is off     {off:>6}")?;
        for (version, machines) in &self.prices_in_force {
            writeln!(f, "prices in force, {version:<14} {machines:>6}")?;
        }
        for (alert, seen) in &self.alerts {
            writeln!(f, "alerts {alert:<24} {:>6}   {} still open", seen.raised, seen.open)?;
        }
        writeln!(
            f,
            "\n{}",
            if self.is_clean() {
                "No sale was lost, and none was counted twice."
            } else {
                "SOMETHING DOES NOT ADD UP: see the rows above."
            }
        )
    }
}

/// What to try while the server is kept.
pub(super) fn what_next(server: &child::Server, home: &Path) -> String {
    let ready = server.ready();
    let ca = ready.ca_file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
    let data = server.data_dir();
    format!(
        "\nThe server stays up (pid {}), Ctrl-C ends it. Everything is in {}\n\n\
         TOKEN=$(vendfleet token --role operator --subject me --data-dir {})\n\
         grpcurl -cacert {ca} -H \"authorization: Bearer $TOKEN\" {} vendfleet.v1.FleetService/ListAlerts\n\
         vendctl --server https://{} --ca {ca} --token \"$TOKEN\" status\n\
         fleet-client journal verify --dir {}/machine-00\n\
         curl http://{}/healthz\n\nIts log: {}\n",
        ready.pid,
        home.display(),
        data.display(),
        ready.grpc_addr,
        ready.grpc_addr,
        home.display(),
        ready.http_addr,
        server.log_file().display(),
    )
}
