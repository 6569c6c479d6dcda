//! Commands of a batch of Syncs, and what else of a machine changes seldom.

use super::codes::Coded;
use crate::domain::command::{number_in, purchase_in};
use crate::domain::ids::{MachineId, PurchaseId};
use crate::domain::sync::{KnownCommand, MachineView, SyncCall, Writes};
use crate::store::bulk::{Bulk, Kind};
use crate::store::commands::{KNOWN_KINDS, known, known_columns, named, of_purchases};
use crate::store::keyed::Keyed;
use crate::store::value::int;
use crate::store::{Engine, StoreError, Tx, clock, pool};
use Kind::{Bool, Bytes, Int, Text};
use std::collections::{BTreeSet, HashMap};

static OPEN: Keyed = Keyed::new(
    concat!(
        "SELECT ",
        known_columns!(),
        " FROM commands c WHERE (c.state = 1 OR c.state = 2 OR c.state = 6) AND c.machine_id"
    ),
    &KNOWN_KINDS,
);

/// When a gap of the epoch was last named.
static GAPS: Bulk = Bulk::new(
    "WITH input (machine_id, epoch) AS (",
    &[Bytes, Bytes],
    ") SELECT g.machine_id, MAX(g.created_at_ms) FROM input i CROSS JOIN gaps g \
     WHERE g.machine_id = i.machine_id AND g.epoch = i.epoch GROUP BY g.machine_id",
);

/// Behind machine_sync in the order of locks.
static POOL: Keyed = Keyed::new("SELECT machine_id FROM pool WHERE machine_id", &[Bytes])
    .then_on_postgres("ORDER BY machine_id FOR UPDATE");

static SELDOM: Bulk = Bulk::new(
    "WITH input (machine_id, command_number, has_commands, out_of_service, clock_offset_ms, clock_quality) AS (",
    &[Bytes, Int, Bool, Bool, Int, Int],
    ") UPDATE machine_sync SET command_number = i.command_number, has_commands = i.has_commands, \
     out_of_service = i.out_of_service, clock_offset_ms = i.clock_offset_ms, clock_quality = i.clock_quality \
     FROM input AS i WHERE machine_sync.machine_id = i.machine_id",
);

static FIT: Bulk = Bulk::new(
    "WITH input (machine_id, fit) AS (",
    &[Bytes, Bool],
    ") UPDATE pool SET fit = i.fit FROM input AS i WHERE pool.machine_id = i.machine_id",
);

static COMMANDS: Bulk = Bulk::new(
    "WITH input (machine_id, number, state, refusal_reason, result_seq, handed_out_at_ms, expires_uptime_ms, ended_at_ms) AS (",
    &[Bytes, Int, Int, Text, Int, Int, Int, Int],
    ") UPDATE commands SET state = i.state, refusal_reason = i.refusal_reason, result_seq = i.result_seq, \
     handed_out_at_ms = i.handed_out_at_ms, expires_uptime_ms = i.expires_uptime_ms, ended_at_ms = i.ended_at_ms FROM input AS i \
     WHERE commands.machine_id = i.machine_id AND commands.number = i.number",
);

/// Loads the commands that may be handed out, with what may hide their results, and those that records of the calls are about.
/// `own_ms` is this server's clock.
pub(super) async fn load(
    tx: &mut Tx,
    views: &mut HashMap<MachineId, MachineView>,
    calls: &[SyncCall],
    own_ms: i64,
) -> Result<(), StoreError> {
    let with_some: Vec<MachineId> = views
        .iter()
        .filter(|(_, view)| view.machine.seldom.has_commands)
        .map(|(machine, _)| *machine)
        .collect();
    let ids: Vec<&[u8; 16]> = with_some.iter().map(MachineId::as_bytes).collect();
    let mut found = Vec::new();
    for row in OPEN.fetch(tx, &ids).await? {
        found.push(known(&row)?);
    }
    found.extend(named(tx, &told_of(calls)).await?);
    found.extend(of_purchases(tx, &vends_of(calls)).await?);
    let mut rows = GAPS.rows(with_some.len());
    let asks = |call: &&SyncCall| views.get(&call.machine).is_some_and(|v| v.machine.seldom.has_commands);
    for call in calls.iter().filter(asks) {
        rows.push([call.machine.as_bytes().into(), (&call.epoch.0).into()]);
    }
    for row in rows.fetch(tx).await? {
        let mut columns = row.columns();
        if let Some(view) = views.get_mut(&MachineId(columns.uuid()?)) {
            view.gap_named_at_ms = columns.int()?;
        }
    }
    let clock_ms = if with_some.is_empty() { own_ms } else { clock::clock_ms(tx, own_ms).await? };
    for machine in &with_some {
        if let Some(view) = views.get_mut(machine) {
            view.clock_ms = clock_ms;
        }
    }
    for known in found {
        if let Some(view) = views.get_mut(&known.command.machine) {
            view.commands.insert(known.command.number, known);
        }
    }
    Ok(())
}

fn told_of(calls: &[SyncCall]) -> Vec<(MachineId, u64)> {
    let numbers: BTreeSet<(MachineId, u64)> = calls
        .iter()
        .flat_map(|call| {
            let numbers = call.records.iter().filter_map(|record| {
                let number = number_in(&record.meaning.as_ref().ok()?.body);
                (number > 0).then_some(number)
            });
            numbers.map(|number| (call.machine, number))
        })
        .collect();
    numbers.into_iter().collect()
}

/// A command's number may have changed since its vend was made.
fn vends_of(calls: &[SyncCall]) -> Vec<(MachineId, PurchaseId)> {
    let vends: BTreeSet<(MachineId, PurchaseId)> = calls
        .iter()
        .flat_map(|call| {
            let purchases =
                call.records.iter().filter_map(|record| purchase_in(&record.meaning.as_ref().ok()?.body));
            purchases.map(|purchase| (call.machine, purchase))
        })
        .collect();
    vends.into_iter().collect()
}

/// Every command of a machine that is not over.
pub(in crate::store) async fn of_machine(
    tx: &mut Tx,
    machine: MachineId,
) -> Result<Vec<KnownCommand>, StoreError> {
    OPEN.fetch(tx, &[machine.as_bytes()]).await?.iter().map(known).collect()
}

/// Writes all of it; `machine_sync` rows are locked, `now_ms` is this server's clock.
pub(super) async fn write(
    tx: &mut Tx,
    views: &HashMap<MachineId, MachineView>,
    writes: &Writes,
    now_ms: i64,
) -> Result<(), StoreError> {
    write_seldom(tx, views).await?;
    let fit: Vec<(&MachineId, bool)> = views
        .iter()
        .map(|(machine, view)| (machine, view.was_fit, view.machine.is_fit()))
        .filter(|(_, was, is)| was != is)
        .map(|(machine, _, is)| (machine, is))
        .collect();
    let pooled: BTreeSet<MachineId> = fit
        .iter()
        .map(|(machine, _)| **machine)
        .chain(writes.handed_out.iter().map(|out| out.machine))
        .collect();
    if tx.engine() == Engine::Postgres {
        let ids: Vec<&[u8; 16]> = pooled.iter().map(MachineId::as_bytes).collect();
        POOL.fetch(tx, &ids).await?;
    }
    let mut rows = FIT.rows(fit.len());
    for (machine, is) in &fit {
        rows.push([machine.as_bytes().into(), (*is).into()]);
    }
    rows.write(tx).await?;
    renumber(tx, writes).await?;
    let heard: Vec<PurchaseId> = writes.heard.iter().map(|(_, purchase)| *purchase).collect();
    pool::tell(tx, &writes.handed_out, &heard, now_ms).await?;
    let dirty = views
        .values()
        .flat_map(|view| view.commands_dirty.iter().filter_map(|number| view.commands.get(number)));
    write_commands(tx, &dirty.collect::<Vec<_>>()).await
}

/// Commands that changed.
pub(in crate::store) async fn write_commands(
    tx: &mut Tx,
    commands: &[&KnownCommand],
) -> Result<(), StoreError> {
    let mut rows = COMMANDS.rows(0);
    for KnownCommand { command, .. } in commands {
        rows.push([
            command.machine.as_bytes().into(),
            int(command.number)?.into(),
            (command.state as i64).into(),
            (&command.refusal).into(),
            int(command.result_seq)?.into(),
            command.handed_out_at_ms.into(),
            int(command.expires_uptime_ms)?.into(),
            command.ended_at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn write_seldom(tx: &mut Tx, views: &HashMap<MachineId, MachineView>) -> Result<(), StoreError> {
    let mut rows = SELDOM.rows(0);
    for (machine, view) in views {
        let seldom = &view.machine.seldom;
        if *seldom != view.seldom_before {
            rows.push([
                machine.as_bytes().into(),
                int(seldom.command_number)?.into(),
                seldom.has_commands.into(),
                seldom.out_of_service.into(),
                seldom.clock_offset_ms.into(),
                seldom.clock.code().into(),
            ]);
        }
    }
    rows.write(tx).await?;
    Ok(())
}

/// Only after a restore, and then once per command.
async fn renumber(tx: &mut Tx, writes: &Writes) -> Result<(), StoreError> {
    for (machine, old, new) in &writes.renumbered {
        let args = [(&machine.0).into(), int(*old)?.into(), int(*new)?.into()];
        let sql = "UPDATE commands SET number = $3 WHERE machine_id = $1 AND number = $2";
        tx.execute(sql, &args).await?;
        let sql = "UPDATE purchases SET command_number = $2 WHERE purchase_id IN \
                   (SELECT purchase_id FROM commands WHERE machine_id = $1 AND number = $2)";
        tx.execute(sql, &[args[0], args[2]]).await?;
    }
    Ok(())
}
