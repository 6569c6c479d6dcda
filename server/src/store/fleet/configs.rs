//! The rows of configs, of their assignments, and of what groups get.

use crate::domain::fleet::{ConfigRow, DesiredCause};
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::store::{Row, Session, StoreError, Tx, int};
use uuid::Uuid;
use vend_core::id::ConfigId;

fn config(row: &Row) -> Result<ConfigRow, StoreError> {
    let mut c = row.columns();
    Ok(ConfigRow {
        id: ConfigId(c.array()?),
        name: c.text()?.to_owned(),
        note: c.text()?.to_owned(),
        body: c.bytes()?.to_vec(),
        sha256: c.array()?,
        created_by: c.text()?.to_owned(),
        created_at_ms: c.int()?,
    })
}

/// One config with its content.
pub async fn find(session: &mut Session, id: ConfigId) -> Result<Option<ConfigRow>, StoreError> {
    let sql = "SELECT config_id, name, note, body, sha256, created_by, created_at_ms FROM configs WHERE config_id = $1";
    session.optional(sql, &[(&id.0).into()]).await?.as_ref().map(config).transpose()
}

/// Whether there is such a config.
pub async fn exists(session: &mut Session, id: ConfigId) -> Result<bool, StoreError> {
    let sql = "SELECT config_id FROM configs WHERE config_id = $1";
    Ok(session.optional(sql, &[(&id.0).into()]).await?.is_some())
}

/// Configs without their content, newest first.
pub async fn list(session: &mut Session, page: &PageRequest<Uuid>) -> Result<Vec<ConfigRow>, StoreError> {
    let before = page.after.unwrap_or(Uuid::max());
    let sql = "SELECT config_id, name, note, $3, sha256, created_by, created_at_ms FROM configs \
               WHERE config_id < $1 ORDER BY config_id DESC LIMIT $2";
    let none: &[u8] = b"";
    let rows = session.all(sql, &[(&before).into(), page.limit().into(), none.into()]).await?;
    rows.iter().map(config).collect()
}

/// Adds a config.
pub async fn insert(tx: &mut Tx, c: &ConfigRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO configs (config_id, name, note, body, sha256, created_by, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&c.id.0).into(),
            (&c.name).into(),
            (&c.note).into(),
            c.body.as_slice().into(),
            (&c.sha256).into(),
            (&c.created_by).into(),
            c.created_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// What a group's machines get.
pub async fn of_group(session: &mut Session, group: &str) -> Result<Option<ConfigId>, StoreError> {
    let sql = "SELECT config_id FROM group_configs WHERE group_name = $1";
    let row = session.optional(sql, &[group.into()]).await?;
    row.map(|row| Ok(ConfigId(row.columns().array()?))).transpose()
}

/// Says what a group's machines get from now on.
pub async fn set_group(tx: &mut Tx, group: &str, config: ConfigId, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO group_configs (group_name, config_id, assigned_at_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (group_name) DO UPDATE SET config_id = excluded.config_id, \
         assigned_at_ms = excluded.assigned_at_ms",
        &[group.into(), (&config.0).into(), now_ms.into()],
    )
    .await?;
    Ok(())
}

/// Makes a config the desired one of a machine, under the next number. The machine's hot row is locked. The number is above
/// every number the machine was ever known to have, so that it only rises.
pub async fn assign(
    tx: &mut Tx,
    machine: MachineId,
    config: ConfigId,
    cause: DesiredCause,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let sql =
        "SELECT desired_number, applied_number, rejected_number FROM machine_sync WHERE machine_id = $1";
    let row = tx.one(sql, &[(&machine.0).into()]).await?;
    let mut c = row.columns();
    let known: [u64; 3] = [c.number()?, c.number()?, c.number()?];
    let number = known.into_iter().max().unwrap_or(0).saturating_add(1);
    tx.execute(
        "UPDATE machine_sync SET desired_number = $2, desired_config = $3 WHERE machine_id = $1",
        &[(&machine.0).into(), int(number)?.into(), (&config.0).into()],
    )
    .await?;
    tx.execute(
        "INSERT INTO assignments (machine_id, number, config_id, cause, assigned_at_ms) VALUES ($1, $2, $3, $4, $5)",
        &[
            (&machine.0).into(),
            int(number)?.into(),
            (&config.0).into(),
            (cause as i64).into(),
            now_ms.into(),
        ],
    )
    .await?;
    Ok(number)
}
