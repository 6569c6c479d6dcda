//! Until when real machines are believed to be connected.

use super::bulk::{Bulk, Kind};
use super::keyed::Keyed;
use super::{Engine, StoreError, Tx, clock};
use crate::domain::ids::MachineId;
use Kind::{Bytes, Int};

/// In the order of ids, like everybody who locks several.
static LOCK: Keyed = Keyed::new("SELECT machine_id FROM pool WHERE machine_id", &[Bytes])
    .then_on_postgres("ORDER BY machine_id FOR UPDATE");

static RENEW: Bulk = Bulk::new(
    "WITH input (machine_id, until_ms) AS (",
    &[Bytes, Int],
    ") UPDATE pool SET connected_until_ms = i.until_ms FROM input AS i WHERE pool.machine_id = i.machine_id",
);

static END: Bulk = Bulk::new(
    "WITH input (machine_id, until_ms) AS (",
    &[Bytes, Int],
    ") UPDATE pool SET connected_until_ms = 0 FROM input AS i \
     WHERE pool.machine_id = i.machine_id AND pool.connected_until_ms = i.until_ms",
);

/// They are connected for `believed_ms` from now on; gives until when, by the database's clock. `own_ms` is this server's.
pub async fn renew(
    tx: &mut Tx,
    machines: &[MachineId],
    believed_ms: i64,
    own_ms: i64,
) -> Result<i64, StoreError> {
    lock(tx, machines.iter()).await?;
    let until_ms = clock::clock_ms(tx, own_ms).await?.saturating_add(believed_ms);
    let mut rows = RENEW.rows(machines.len());
    for machine in machines {
        rows.push([machine.as_bytes().into(), until_ms.into()]);
    }
    rows.write(tx).await?;
    Ok(until_ms)
}

/// They are not any more, unless somebody has said otherwise since.
pub async fn end(tx: &mut Tx, machines: &[(MachineId, i64)]) -> Result<(), StoreError> {
    lock(tx, machines.iter().map(|(machine, _)| machine)).await?;
    let mut rows = END.rows(machines.len());
    for (machine, until_ms) in machines {
        rows.push([machine.as_bytes().into(), (*until_ms).into()]);
    }
    rows.write(tx).await?;
    Ok(())
}

async fn lock<'m>(tx: &mut Tx, machines: impl Iterator<Item = &'m MachineId>) -> Result<(), StoreError> {
    if tx.engine() == Engine::Postgres {
        let ids: Vec<&[u8; 16]> = machines.map(MachineId::as_bytes).collect();
        LOCK.fetch(tx, &ids).await?;
    }
    Ok(())
}
