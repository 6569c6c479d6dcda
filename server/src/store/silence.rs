//! Machines that are not heard, and the alerts about them.

use super::bulk::Kind;
use super::keyed::Keyed;
use super::{Session, StoreError, Tx};
use crate::domain::fleet::MACHINE_SILENT;
use crate::domain::ids::MachineId;
use Kind::{Bytes, Int};
use std::collections::HashMap;

/// When a machine's identity in force was made; NULL: it has none, and can't speak.
macro_rules! enrolled {
    () => {
        "(SELECT MAX(c.created_at_ms) FROM credentials c WHERE c.machine_id = m.machine_id AND c.state = 1)"
    };
}

/// Told once per silence: not while an alert is open, nor again when a person resolved the one of this silence.
const SILENT: &str = concat!(
    "SELECT m.machine_id FROM machines m JOIN machine_sync s ON s.machine_id = m.machine_id \
     WHERE m.machine_id > $1 AND m.kind = 2 AND m.archived_at_ms = 0 AND s.last_contact_ms < $2 AND ",
    enrolled!(),
    " < $2 AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.machine_id = m.machine_id AND a.kind = $3 \
     AND (a.resolved_at_ms = 0 OR (a.created_at_ms > s.last_contact_ms AND a.created_at_ms > ",
    enrolled!(),
    "))) ORDER BY m.machine_id LIMIT $4"
);

/// Over without a Sync that said so: archived, without an identity, or heard by a server that knew of no alert.
const OVER: &str = concat!(
    "SELECT a.machine_id FROM alerts a JOIN machines m ON m.machine_id = a.machine_id \
     JOIN machine_sync s ON s.machine_id = a.machine_id \
     WHERE a.machine_id > $1 AND a.kind = $2 AND a.resolved_at_ms = 0 \
     AND (m.archived_at_ms <> 0 OR s.last_contact_ms > a.created_at_ms OR ",
    enrolled!(),
    " IS NULL) ORDER BY a.machine_id LIMIT $3"
);

static LOCK: Keyed =
    Keyed::new("SELECT machine_id, last_contact_ms FROM machine_sync WHERE machine_id", &[Bytes, Int])
        .then_on_postgres("ORDER BY machine_id FOR UPDATE");

/// Real, enrolled machines last heard before then (or, never heard, enrolled before then) about which nothing was said yet,
/// by rising id after `after`, at most `limit`.
pub async fn silent(
    session: &mut Session,
    before_ms: i64,
    after: MachineId,
    limit: i64,
) -> Result<Vec<MachineId>, StoreError> {
    let args = [after.as_bytes().into(), before_ms.into(), MACHINE_SILENT.into(), limit.into()];
    ids(&session.all(SILENT, &args).await?)
}

/// Machines with an open alert that is over, by rising id after `after`, at most `limit`.
pub async fn over(session: &mut Session, after: MachineId, limit: i64) -> Result<Vec<MachineId>, StoreError> {
    let args = [after.as_bytes().into(), MACHINE_SILENT.into(), limit.into()];
    ids(&session.all(OVER, &args).await?)
}

fn ids(rows: &[super::Row]) -> Result<Vec<MachineId>, StoreError> {
    rows.iter().map(|row| Ok(MachineId(row.columns().uuid()?))).collect()
}

/// Locks the machines' rows, in the order of ids, and says when each was last heard; 0: never.
pub async fn lock(tx: &mut Tx, machines: &[MachineId]) -> Result<HashMap<MachineId, i64>, StoreError> {
    let keys: Vec<&[u8; 16]> = machines.iter().map(MachineId::as_bytes).collect();
    let mut heard = HashMap::with_capacity(machines.len());
    for row in LOCK.fetch(tx, &keys).await? {
        let mut columns = row.columns();
        heard.insert(MachineId(columns.uuid()?), columns.int()?);
    }
    Ok(heard)
}
