//! Dispense commands that a batch gives and takes back. Their machines' hot rows are locked.

use crate::domain::command::{Command, Dispense, Order, State};
use crate::domain::ids::MachineId;
use crate::domain::pool::{NewCommand, Purchase, View, Writes};
use crate::store::bulk::{Bulk, Kind};
use crate::store::{StoreError, Tx, commands, int};
use Kind::{Bytes, Int};
use std::collections::BTreeMap;

static LAST_GIVEN: Bulk = Bulk::new(
    "WITH input (machine_id, number) AS (",
    &[Bytes, Int],
    ") UPDATE machine_sync SET command_number = input.number, has_commands = TRUE FROM input \
     WHERE machine_sync.machine_id = input.machine_id",
);

/// Only one that was in no answer: what may have been heard is never taken back.
static EXPIRED: Bulk = Bulk::new(
    "WITH input (machine_id, number, at_ms) AS (",
    &[Bytes, Int, Int],
    ") UPDATE commands SET state = 5, ended_at_ms = input.at_ms FROM input \
     WHERE commands.machine_id = input.machine_id AND commands.number = input.number AND commands.state = 1",
);

static DOUBTFUL: Bulk = Bulk::new(
    "WITH input (machine_id, number) AS (",
    &[Bytes, Int],
    ") UPDATE commands SET state = 6 FROM input \
     WHERE commands.machine_id = input.machine_id AND commands.number = input.number AND commands.state = 2",
);

pub(super) async fn write(tx: &mut Tx, view: &View, writes: &Writes) -> Result<(), StoreError> {
    let mut last: BTreeMap<MachineId, u64> = BTreeMap::new();
    let mut new = Vec::with_capacity(writes.commands.len());
    for given in &writes.commands {
        if let Some(purchase) = view.purchases.get(&given.purchase) {
            last.insert(given.machine, given.number);
            new.push(command(given, purchase));
        }
    }
    commands::insert(tx, &new).await?;
    let mut rows = LAST_GIVEN.rows(last.len());
    for (machine, number) in &last {
        rows.push([machine.as_bytes().into(), int(*number)?.into()]);
    }
    rows.write(tx).await?;
    let mut rows = EXPIRED.rows(writes.expired.len());
    for (machine, number) in &writes.expired {
        rows.push([machine.as_bytes().into(), int(*number)?.into(), view.clock_ms.into()]);
    }
    rows.write(tx).await?;
    let mut rows = DOUBTFUL.rows(writes.doubtful.len());
    for (machine, number) in &writes.doubtful {
        rows.push([machine.as_bytes().into(), int(*number)?.into()]);
    }
    rows.write(tx).await?;
    Ok(())
}

fn command(given: &NewCommand, purchase: &Purchase) -> Command {
    Command {
        machine: given.machine,
        number: given.number,
        state: State::Pending,
        epoch: given.epoch,
        boot: Some(given.boot),
        // Farther than any uptime is never.
        expires_uptime_ms: given.expires_uptime_ms.min(i64::MAX.unsigned_abs()),
        order: Order::Dispense(Dispense {
            purchase: purchase.id,
            slot: purchase.slot,
            product: purchase.product,
            price_minor: purchase.price_minor,
            currency: purchase.currency,
        }),
        refusal: String::new(),
        result_seq: 0,
        sent_by: String::new(),
        created_at_ms: given.at_ms,
        handed_out_at_ms: 0,
        expires_at_ms: given.expires_at_ms,
        ended_at_ms: 0,
    }
}
