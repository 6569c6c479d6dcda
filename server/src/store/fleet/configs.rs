//! The rows of configs, of their assignments, and of what groups get.

use crate::domain::fleet::{ConfigRow, DesiredCause};
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::store::{Arg, Row, Session, StoreError, Tx};
use sqlx::AssertSqlSafe;
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

/// The next number of a machine: above every number it was ever known to have, so that it only rises.
macro_rules! next_number {
    () => {
        "CASE WHEN desired_number >= applied_number AND desired_number >= rejected_number THEN desired_number \
              WHEN applied_number >= rejected_number THEN applied_number ELSE rejected_number END + 1"
    };
}

/// Machines named in one statement, at most.
const MACHINES_PER_STATEMENT: usize = 256;

/// Makes a config the desired one of machines whose hot rows are locked, each under its own next number. Gives how many.
pub async fn assign(
    tx: &mut Tx,
    machines: &[MachineId],
    config: ConfigId,
    cause: DesiredCause,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let mut assigned = 0;
    for chunk in machines.chunks(MACHINES_PER_STATEMENT) {
        assigned += assign_scope(tx, Scope::These(chunk), config, cause, now_ms).await?;
    }
    Ok(assigned)
}

/// The same for a group's real machines in use, whose hot rows are locked.
pub async fn assign_group(
    tx: &mut Tx,
    group: &str,
    config: ConfigId,
    now_ms: i64,
) -> Result<u64, StoreError> {
    assign_scope(tx, Scope::Group(group), config, DesiredCause::Group, now_ms).await
}

#[derive(Clone, Copy)]
enum Scope<'a> {
    These(&'a [MachineId]),
    Group(&'a str),
}

impl<'a> Scope<'a> {
    /// What stands inside `IN (...)`; its first parameter has this number.
    fn ids(self, first: usize) -> String {
        match self {
            Self::These(ids) => {
                let places: Vec<String> = (first..first + ids.len()).map(|n| format!("${n}")).collect();
                places.join(", ")
            }
            Self::Group(_) => format!(
                "SELECT machine_id FROM machines WHERE group_name = ${first} AND kind = 2 AND archived_at_ms = 0"
            ),
        }
    }

    fn args(self) -> Vec<Arg<'a>> {
        match self {
            Self::These(ids) => ids.iter().map(|id| Arg::from(&id.0)).collect(),
            Self::Group(group) => vec![group.into()],
        }
    }
}

async fn assign_scope(
    tx: &mut Tx,
    scope: Scope<'_>,
    config: ConfigId,
    cause: DesiredCause,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let update = format!(
        concat!(
            "UPDATE machine_sync SET desired_number = ",
            next_number!(),
            ", desired_config = $1 WHERE machine_id IN ({})"
        ),
        scope.ids(2)
    );
    let mut args = vec![(&config.0).into()];
    args.extend(scope.args());
    let assigned = tx.execute(AssertSqlSafe(update), &args).await?;
    let insert = format!(
        "INSERT INTO assignments (machine_id, number, config_id, cause, assigned_at_ms) \
         SELECT machine_id, desired_number, desired_config, CAST($1 AS BIGINT), CAST($2 AS BIGINT) \
         FROM machine_sync WHERE machine_id IN ({})",
        scope.ids(3)
    );
    let mut args = vec![(cause as i64).into(), now_ms.into()];
    args.extend(scope.args());
    tx.execute(AssertSqlSafe(insert), &args).await?;
    Ok(assigned)
}
