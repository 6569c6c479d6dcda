//! Alerts of a batch: one row per cause, counted up while it is open.

use crate::domain::ids::MachineId;
use crate::domain::sync::{AlertKind, AlertRaise, Writes};
use crate::store::bulk::{Bulk, Kind};
use crate::store::value::int;
use crate::store::{StoreError, Tx};
use Kind::{Bytes, Int, Text};
use std::collections::HashMap;

/// What an open alert says and from which record stays; only its count and its last time move.
static RAISE: Bulk = Bulk::new(
    "INSERT INTO alerts (machine_id, alert_id, kind, alert_key, detail, epoch, seq, occurrences, created_at_ms, \
     last_at_ms, trace_id)",
    &[Bytes, Bytes, Text, Text, Text, Bytes, Int, Int, Int, Int, Text],
    "ON CONFLICT (machine_id, kind, alert_key) WHERE resolved_at_ms = 0 DO UPDATE SET \
     occurrences = alerts.occurrences + excluded.occurrences, last_at_ms = excluded.last_at_ms",
);

static OVER: Bulk = Bulk::new(
    "WITH input (machine_id, kind, alert_key, at_ms) AS (",
    &[Bytes, Text, Text, Int],
    ") UPDATE alerts SET resolved_at_ms = i.at_ms FROM input AS i WHERE alerts.machine_id = i.machine_id \
     AND alerts.kind = i.kind AND alerts.alert_key = i.alert_key AND alerts.resolved_at_ms = 0",
);

struct Raised<'w> {
    first: &'w AlertRaise,
    occurrences: i64,
    last_at_ms: i64,
}

/// Ends what is over, then raises: an alert of the batch that is raised anew after it was over stays open.
pub(super) async fn write(tx: &mut Tx, writes: &Writes, now_ms: i64) -> Result<(), StoreError> {
    let mut rows = OVER.rows(writes.alerts_over.len());
    for (machine, kind, key) in &writes.alerts_over {
        rows.push([machine.as_bytes().into(), kind.as_str().into(), key.into(), now_ms.into()]);
    }
    rows.write(tx).await?;

    // A statement must not meet the same key twice.
    let mut order: Vec<Raised<'_>> = Vec::new();
    let mut known: HashMap<(MachineId, AlertKind, &str), usize> = HashMap::new();
    for raise in &writes.alerts {
        let at = *known.entry((raise.machine, raise.kind, &raise.key)).or_insert(order.len());
        match order.get_mut(at) {
            Some(raised) => {
                raised.occurrences += 1;
                raised.last_at_ms = raise.at_ms;
            }
            None => order.push(Raised { first: raise, occurrences: 1, last_at_ms: raise.at_ms }),
        }
    }
    let mut rows = RAISE.rows(order.len());
    for Raised { first, occurrences, last_at_ms } in &order {
        rows.push([
            first.machine.as_bytes().into(),
            first.id.as_bytes().into(),
            first.kind.as_str().into(),
            (&first.key).into(),
            (&first.detail).into(),
            first.epoch.as_ref().map(|e| &e.0).into(),
            int(first.seq)?.into(),
            (*occurrences).into(),
            first.at_ms.into(),
            (*last_at_ms).into(),
            (&first.trace_id).into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}
