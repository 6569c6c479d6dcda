//! Alerts of a batch: one row per cause, counted up while it is open; and the events of those that began or ended.

use crate::domain::fleet::AlertChange;
use crate::domain::ids::MachineId;
use crate::domain::sync::{AlertKind, AlertRaise, Writes};
use crate::store::alerts::{alert, columns};
use crate::store::bulk::{Bulk, Kind};
use crate::store::events::{Happening, Origin};
use crate::store::keyed::Keyed;
use crate::store::value::int;
use crate::store::{StoreError, Tx};
use Kind::{Bytes, Int, Text};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What an open alert says and from which record stays; only its count and its last time move.
static RAISE: Bulk = Bulk::new(
    "INSERT INTO alerts (machine_id, alert_id, kind, alert_key, detail, epoch, seq, occurrences, created_at_ms, \
     last_at_ms, trace_id)",
    &[Bytes, Bytes, Text, Text, Text, Bytes, Int, Int, Int, Int, Text],
    concat!(
        "ON CONFLICT (machine_id, kind, alert_key) WHERE resolved_at_ms = 0 DO UPDATE SET \
         occurrences = alerts.occurrences + excluded.occurrences, last_at_ms = excluded.last_at_ms RETURNING ",
        columns!()
    ),
);

static OVER: Bulk = Bulk::new(
    "WITH input (machine_id, kind, alert_key, at_ms) AS (",
    &[Bytes, Text, Text, Int],
    concat!(
        ") UPDATE alerts SET resolved_at_ms = i.at_ms FROM input AS i WHERE alerts.machine_id = i.machine_id \
         AND alerts.kind = i.kind AND alerts.alert_key = i.alert_key AND alerts.resolved_at_ms = 0 RETURNING ",
        columns!()
    ),
);

static OPEN: Keyed = Keyed::new(
    "SELECT machine_id, kind, alert_key FROM alerts WHERE resolved_at_ms = 0 AND machine_id",
    &[Bytes, Text, Text],
);

/// Alerts of one kind about one machine that are open at once, each with a key of its own. What else is raised is counted by
/// one more: a machine can make up as many causes as it likes.
const MAX_OPEN_OF_A_KIND: usize = 32;
/// The key of that one more.
const MORE: &str = "more";

struct Raised<'w> {
    first: &'w AlertRaise,
    key: &'w str,
    occurrences: i64,
    last_at_ms: i64,
}

/// Ends what is over, then raises: an alert of the batch that is raised anew after it was over stays open. Gives the events
/// of both, for the end of the transaction; one that was counted up is none.
pub(super) async fn write(tx: &mut Tx, writes: &Writes, now_ms: i64) -> Result<Vec<Happening>, StoreError> {
    let mut happenings = Vec::new();
    let mut rows = OVER.rows(writes.alerts_over.len());
    for over in &writes.alerts_over {
        rows.push([
            over.machine.as_bytes().into(),
            over.kind.as_str().into(),
            (&over.key).into(),
            now_ms.into(),
        ]);
    }
    for row in rows.fetch(tx).await? {
        let ended = alert(&row)?;
        let by = writes.alerts_over.iter().find(|over| {
            Some(over.machine) == ended.machine && over.kind.as_str() == ended.kind && over.key == ended.key
        });
        let origin = origin(by.map_or("", |over| &over.trace_id));
        happenings.push(Happening::alert(AlertChange::Resolved, &ended, &origin)?);
    }

    // A statement must not meet the same key twice.
    let mut order: Vec<Raised<'_>> = Vec::new();
    let mut known: HashMap<(MachineId, AlertKind, &str), usize> = HashMap::new();
    let mut open = open(tx, writes).await?;
    for raise in &writes.alerts {
        let of_kind = open.entry((raise.machine, raise.kind.as_str().to_owned())).or_default();
        let has_room = of_kind.len() < MAX_OPEN_OF_A_KIND || of_kind.contains(&raise.key);
        if has_room {
            of_kind.insert(raise.key.clone());
        }
        let key = if has_room { raise.key.as_str() } else { MORE };
        let at = *known.entry((raise.machine, raise.kind, key)).or_insert(order.len());
        match order.get_mut(at) {
            Some(raised) => {
                raised.occurrences += 1;
                raised.last_at_ms = raise.at_ms;
            }
            None => order.push(Raised { first: raise, key, occurrences: 1, last_at_ms: raise.at_ms }),
        }
    }
    let mut rows = RAISE.rows(order.len());
    for Raised { first, key, occurrences, last_at_ms } in &order {
        rows.push([
            first.machine.as_bytes().into(),
            first.id.as_bytes().into(),
            first.kind.as_str().into(),
            (*key).into(),
            (&first.detail).into(),
            first.epoch.as_ref().map(|e| &e.0).into(),
            int(first.seq)?.into(),
            (*occurrences).into(),
            first.at_ms.into(),
            (*last_at_ms).into(),
            (&first.trace_id).into(),
        ]);
    }
    for row in rows.fetch(tx).await? {
        let raised = alert(&row)?;
        // A row with another id was open before and is only counted up.
        if order.iter().any(|new| new.first.id == raised.id) {
            happenings.push(Happening::alert(AlertChange::Raised, &raised, &origin(&raised.trace_id))?);
        }
    }
    Ok(happenings)
}

/// The keys of the open alerts of machines that raise some, by machine and kind.
async fn open(
    tx: &mut Tx,
    writes: &Writes,
) -> Result<HashMap<(MachineId, String), HashSet<String>>, StoreError> {
    let machines: BTreeSet<MachineId> = writes.alerts.iter().map(|raise| raise.machine).collect();
    let ids: Vec<&[u8; 16]> = machines.iter().map(MachineId::as_bytes).collect();
    let mut open: HashMap<_, HashSet<String>> = HashMap::new();
    if ids.is_empty() {
        return Ok(open);
    }
    for row in OPEN.fetch(tx, &ids).await? {
        let mut columns = row.columns();
        let machine = MachineId(columns.uuid()?);
        let (kind, key) = (columns.text()?.to_owned(), columns.text()?.to_owned());
        open.entry((machine, kind)).or_default().insert(key);
    }
    Ok(open)
}

fn origin(trace_id: &str) -> Origin {
    Origin { trace_id: trace_id.to_owned(), traceparent: String::new() }
}
