//! The rows of machines and their tags, joined with what is known of the device.

use crate::domain::fleet::{
    CredentialState, DeviceStatus, Group, Machine, MachineDetail, MachineFilter, MachineKind, Progress,
    StatusFilter,
};
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::domain::pool::{SessionState, Standing};
use crate::domain::sync::MachineStanding;
use crate::store::pool::rows::{pool_columns, pooled};
use crate::store::sync::codes::Coded as _;
use crate::store::{Arg, Engine, Row, Session, StoreError, Tx};
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::{ConfigId, Epoch};
use vend_core::time::ClockQuality;

const SELECT: &str = concat!(
    "SELECT m.machine_id, m.kind, m.name, m.location, m.group_name, m.serial, m.model, \
     m.virtual_delay_ms, m.version, m.created_at_ms, m.updated_at_ms, m.archived_at_ms, \
     s.last_contact_ms, s.firmware, s.standing, s.current_epoch, s.spoke_epoch, s.spoke_last_seq, \
     e.accepted_through, e.durable_through, \
     s.desired_number, s.desired_config, s.applied_number, s.applied_config, s.rejected_number, \
     r.refusals, a.cause, a.assigned_at_ms, \
     (SELECT MIN(c.state) FROM credentials c WHERE c.machine_id = m.machine_id), \
     (SELECT MAX(c.drain_until_ms) FROM credentials c WHERE c.machine_id = m.machine_id AND c.state = 2), \
     s.out_of_service, s.clock_offset_ms, s.clock_quality, ",
    pool_columns!(),
    " FROM machines m \
     JOIN pool p ON p.machine_id = m.machine_id \
     JOIN machine_sync s ON s.machine_id = m.machine_id \
     LEFT JOIN epochs e ON e.machine_id = s.machine_id AND e.epoch = s.current_epoch \
     LEFT JOIN assignments a ON a.machine_id = s.machine_id AND a.number = s.desired_number \
     LEFT JOIN assignments r ON r.machine_id = s.machine_id AND r.number = s.rejected_number"
);

/// Machines named in one statement, at most.
const IDS_PER_STATEMENT: usize = 256;

fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
    places.join(", ")
}

fn detail(row: &Row) -> Result<MachineDetail, StoreError> {
    let mut c = row.columns();
    let machine = Machine {
        id: MachineId(c.uuid()?),
        kind: MachineKind::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind"))?,
        name: c.text()?.to_owned(),
        location: c.text()?.to_owned(),
        group: c.text()?.to_owned(),
        tags: Vec::new(),
        serial: c.text()?.to_owned(),
        model: c.text()?.to_owned(),
        virtual_delay_ms: c.int()?,
        version: c.int()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        archived_at_ms: c.int()?,
    };
    let (last_sync_ms, firmware) = (c.int()?, c.text()?.to_owned());
    let standing = match c.int()? {
        1 => MachineStanding::Active,
        2 => MachineStanding::Cloned,
        _ => return Err(c.damaged("not a standing")),
    };
    let epoch = c.opt_array()?.map(Epoch);
    let spoke_epoch = c.opt_array()?.map(Epoch);
    let spoke_last_seq: u64 = c.number()?;
    let accepted_through = c.opt_number::<u64>()?.unwrap_or(0);
    let durable_through = c.opt_number::<u64>()?.unwrap_or(0);
    let said = if spoke_epoch == epoch { spoke_last_seq } else { 0 };
    let mut device = DeviceStatus {
        last_sync_ms,
        firmware,
        standing: (last_sync_ms != 0).then_some(standing),
        epoch,
        last_seq: said.max(accepted_through),
        accepted_through,
        durable_through,
        desired_number: c.number()?,
        desired_config: c.opt_array()?.map(ConfigId),
        applied_number: c.number()?,
        applied_config: c.opt_array()?.map(ConfigId),
        rejected_number: c.number()?,
        refusals: c.opt_text()?.unwrap_or_default().to_owned(),
        desired_cause: c.opt_int()?.unwrap_or(0),
        desired_at_ms: c.opt_int()?.unwrap_or(0),
        credential: match c.opt_int()? {
            None => None,
            Some(state) => Some(
                CredentialState::from_number(state).ok_or_else(|| c.damaged("not a credential's state"))?,
            ),
        },
        drain_until_ms: c.opt_int()?.unwrap_or(0),
        out_of_service: c.bool()?,
        clock_offset_ms: c.int()?,
        clock: ClockQuality::read(&mut c)?,
        connected_until_ms: 0,
    };
    let pool = pooled(&mut c)?;
    device.connected_until_ms = pool.connected_until_ms;
    let device = (machine.kind == MachineKind::Real).then_some(device);
    Ok(MachineDetail { machine, device, pool })
}

/// One machine, archived or not.
pub async fn find(session: &mut Session, id: MachineId) -> Result<Option<MachineDetail>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE m.machine_id = $1"));
    let Some(row) = session.optional(sql, &[(&id.0).into()]).await? else { return Ok(None) };
    let mut found = vec![detail(&row)?];
    fill_tags(session, &mut found).await?;
    Ok(found.pop())
}

/// One machine, its hot row locked until the end of the transaction: what everything of a machine begins with.
pub async fn lock(tx: &mut Tx, id: MachineId) -> Result<Option<MachineDetail>, StoreError> {
    if tx.engine() == Engine::Postgres {
        let sql = "SELECT machine_id FROM machine_sync WHERE machine_id = $1 FOR UPDATE";
        tx.optional(sql, &[(&id.0).into()]).await?;
    }
    find(tx, id).await
}

/// Locks the hot rows of machines in the order of their ids.
pub async fn lock_all(tx: &mut Tx, ids: &[MachineId]) -> Result<(), StoreError> {
    if tx.engine() == Engine::Postgres {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let sql = format!(
                "SELECT machine_id FROM machine_sync WHERE machine_id IN ({}) ORDER BY machine_id FOR UPDATE",
                places(chunk.len())
            );
            let args: Vec<Arg<'_>> = chunk.iter().map(|id| (&id.0).into()).collect();
            tx.all(AssertSqlSafe(sql), &args).await?;
        }
    }
    Ok(())
}

/// Locks the hot rows of a group's real machines in use, in the order of their ids.
pub async fn lock_group(tx: &mut Tx, group: &str) -> Result<(), StoreError> {
    if tx.engine() == Engine::Postgres {
        let sql = "SELECT s.machine_id FROM machine_sync s JOIN machines m ON m.machine_id = s.machine_id \
                   WHERE m.group_name = $1 AND m.kind = 2 AND m.archived_at_ms = 0 \
                   ORDER BY s.machine_id FOR UPDATE OF s";
        tx.all(sql, &[group.into()]).await?;
    }
    Ok(())
}

/// Those of these machines that exist, in the order of their ids.
pub async fn find_all(session: &mut Session, ids: &[MachineId]) -> Result<Vec<MachineDetail>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_STATEMENT) {
        let sql = format!("{SELECT} WHERE m.machine_id IN ({})", places(chunk.len()));
        let args: Vec<Arg<'_>> = chunk.iter().map(|id| (&id.0).into()).collect();
        for row in session.all(AssertSqlSafe(sql), &args).await? {
            found.push(detail(&row)?);
        }
    }
    found.sort_by_key(|detail| detail.machine.id);
    fill_tags(session, &mut found).await?;
    Ok(found)
}

/// Real machines in use, by how far they are with their configs.
pub async fn statuses(
    session: &mut Session,
    filter: &StatusFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<MachineDetail>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE m.machine_id > $1 AND m.kind = 2 AND m.archived_at_ms = 0");
    if let Some(config) = &filter.desired {
        args.push((&config.0).into());
        let _ = write!(sql, " AND s.desired_config = ${}", args.len());
    }
    if let Some(group) = &filter.group {
        args.push(group.into());
        let _ = write!(sql, " AND m.group_name = ${}", args.len());
    }
    sql.push_str(match filter.progress {
        None => "",
        Some(Progress::None) => " AND s.desired_number = 0",
        Some(Progress::Pending) => {
            " AND s.desired_number > 0 AND s.applied_number <> s.desired_number \
             AND s.rejected_number < s.desired_number"
        }
        Some(Progress::Applied) => " AND s.desired_number > 0 AND s.applied_number = s.desired_number",
        Some(Progress::Rejected) => {
            " AND s.desired_number > 0 AND s.applied_number <> s.desired_number \
             AND s.rejected_number >= s.desired_number"
        }
    });
    sql.push_str(" ORDER BY m.machine_id LIMIT $2");
    let mut found: Vec<MachineDetail> =
        session.all(AssertSqlSafe(sql), &args).await?.iter().map(detail).collect::<Result<_, _>>()?;
    fill_tags(session, &mut found).await?;
    Ok(found)
}

/// The id of the machine in use with this serial.
pub async fn find_by_serial(session: &mut Session, serial: &str) -> Result<Option<MachineId>, StoreError> {
    let sql = "SELECT machine_id FROM machines WHERE serial = $1 AND serial <> '' AND archived_at_ms = 0";
    let row = session.optional(sql, &[serial.into()]).await?;
    row.map(|row| Ok(MachineId(row.columns().uuid()?))).transpose()
}

/// Machines in order of their ids, which is the order they were made in.
pub async fn list(
    session: &mut Session,
    filter: &MachineFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<MachineDetail>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE m.machine_id > $1");
    if !filter.include_archived {
        sql.push_str(" AND m.archived_at_ms = 0");
    }
    if let Some(kind) = filter.kind {
        args.push((kind as i64).into());
        let _ = write!(sql, " AND m.kind = ${}", args.len());
    }
    if let Some(group) = &filter.group {
        args.push(group.into());
        let _ = write!(sql, " AND m.group_name = ${}", args.len());
    }
    if let Some(serial) = &filter.serial {
        args.push(serial.into());
        let _ = write!(sql, " AND m.serial = ${}", args.len());
    }
    if let Some((standing, now_ms)) = &filter.pool {
        args.push((*now_ms).into());
        let now = args.len();
        let free = format!("p.free_at_ms <= ${now}");
        let present = format!("(p.kind = 1 OR (p.fit AND p.connected_until_ms > ${now}))");
        match standing {
            Standing::Idle => {
                let _ = write!(sql, " AND {free} AND {present}");
            }
            // Archived, or free but for its connection.
            Standing::Absent => {
                let _ = write!(sql, " AND (p.state = 6 OR ({free} AND NOT {present}))");
            }
            held => {
                let _ = write!(sql, " AND p.state = {} AND NOT {free}", *held as i64);
            }
        }
    }
    for tag in &filter.tags {
        args.push(tag.into());
        let _ = write!(
            sql,
            " AND EXISTS (SELECT 1 FROM machine_tags t WHERE t.machine_id = m.machine_id AND t.tag = ${})",
            args.len()
        );
    }
    sql.push_str(" ORDER BY m.machine_id LIMIT $2");
    let mut found: Vec<MachineDetail> =
        session.all(AssertSqlSafe(sql), &args).await?.iter().map(detail).collect::<Result<_, _>>()?;
    fill_tags(session, &mut found).await?;
    Ok(found)
}

async fn fill_tags(session: &mut Session, machines: &mut [MachineDetail]) -> Result<(), StoreError> {
    let mut tags: HashMap<MachineId, Vec<String>> = HashMap::new();
    for chunk in machines.chunks(IDS_PER_STATEMENT) {
        let sql = format!(
            "SELECT machine_id, tag FROM machine_tags WHERE machine_id IN ({}) ORDER BY machine_id, tag",
            places(chunk.len())
        );
        let args: Vec<Arg<'_>> = chunk.iter().map(|m| (&m.machine.id.0).into()).collect();
        for row in session.all(AssertSqlSafe(sql), &args).await? {
            let mut c = row.columns();
            tags.entry(MachineId(c.uuid()?)).or_default().push(c.text()?.to_owned());
        }
    }
    for machine in machines {
        machine.machine.tags = tags.remove(&machine.machine.id).unwrap_or_default();
    }
    Ok(())
}

/// Adds a machine with its hot row. `Taken(Serial)` when another one in use has its serial.
pub async fn insert(tx: &mut Tx, m: &Machine) -> Result<(), StoreError> {
    tx.execute("INSERT INTO machine_sync (machine_id) VALUES ($1)", &[(&m.id.0).into()]).await?;
    tx.execute(
        "INSERT INTO machines (machine_id, kind, name, location, group_name, serial, model, virtual_delay_ms, version, \
         created_at_ms, updated_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            (&m.id.0).into(),
            (m.kind as i64).into(),
            (&m.name).into(),
            (&m.location).into(),
            (&m.group).into(),
            (&m.serial).into(),
            (&m.model).into(),
            m.virtual_delay_ms.into(),
            m.version.into(),
            m.created_at_ms.into(),
            m.updated_at_ms.into(),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO pool (machine_id, kind, state, free_at_ms, group_name, delay_ms) VALUES ($1, $2, 1, 0, $3, $4)",
        &[(&m.id.0).into(), (m.kind as i64).into(), (&m.group).into(), m.virtual_delay_ms.into()],
    )
    .await?;
    insert_tags(tx, m).await
}

/// Writes what an operator can change. `Taken(Serial)` as for [`insert`].
pub async fn update(tx: &mut Tx, m: &Machine) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE machines SET name = $2, location = $3, group_name = $4, serial = $5, model = $6, \
         virtual_delay_ms = $7, version = $8, updated_at_ms = $9, archived_at_ms = $10 WHERE machine_id = $1",
        &[
            (&m.id.0).into(),
            (&m.name).into(),
            (&m.location).into(),
            (&m.group).into(),
            (&m.serial).into(),
            (&m.model).into(),
            m.virtual_delay_ms.into(),
            m.version.into(),
            m.updated_at_ms.into(),
            m.archived_at_ms.into(),
        ],
    )
    .await?;
    tx.execute(
        "UPDATE pool SET group_name = $2, delay_ms = $3 WHERE machine_id = $1",
        &[(&m.id.0).into(), (&m.group).into(), m.virtual_delay_ms.into()],
    )
    .await?;
    if m.archived_at_ms != 0 {
        // Nobody holds it, so what it still names is a session whose lease is over and nobody has noted it.
        let sql = "UPDATE sessions SET state = $2, ended_at_ms = lease_until_ms WHERE state = $3 \
                   AND session_id = (SELECT session_id FROM pool WHERE machine_id = $1)";
        let (expired, choosing) = (SessionState::Expired as i64, SessionState::ChooseProduct as i64);
        tx.execute(sql, &[(&m.id.0).into(), expired.into(), choosing.into()]).await?;
        // Out of the pool for good: absent, and free never again.
        let sql = "UPDATE pool SET state = 6, session_id = NULL, free_at_ms = 9223372036854775807 WHERE machine_id = $1";
        tx.execute(sql, &[(&m.id.0).into()]).await?;
    }
    tx.execute("DELETE FROM machine_tags WHERE machine_id = $1", &[(&m.id.0).into()]).await?;
    insert_tags(tx, m).await
}

async fn insert_tags(tx: &mut Tx, m: &Machine) -> Result<(), StoreError> {
    for tag in &m.tags {
        let sql = "INSERT INTO machine_tags (machine_id, tag) VALUES ($1, $2)";
        tx.execute(sql, &[(&m.id.0).into(), tag.into()]).await?;
    }
    Ok(())
}

/// Real machines in use of a group, by id, after this one.
pub async fn of_group(
    session: &mut Session,
    group: &str,
    after: MachineId,
    limit: i64,
) -> Result<Vec<MachineId>, StoreError> {
    let sql = "SELECT machine_id FROM machines WHERE group_name = $1 AND machine_id > $2 AND kind = 2 \
               AND archived_at_ms = 0 ORDER BY machine_id LIMIT $3";
    let rows = session.all(sql, &[group.into(), (&after.0).into(), limit.into()]).await?;
    rows.iter().map(|row| Ok(MachineId(row.columns().uuid()?))).collect()
}

/// Groups in use, in alphabetical order.
pub async fn groups(session: &mut Session, page: &PageRequest<String>) -> Result<Vec<Group>, StoreError> {
    let after = page.after.as_deref().unwrap_or_default();
    let sql = "SELECT g.group_name, CAST(SUM(g.machines) AS BIGINT), c.config_id FROM (\
               SELECT group_name, COUNT(*) AS machines FROM machines \
               WHERE group_name > $1 AND archived_at_ms = 0 GROUP BY group_name \
               UNION ALL SELECT group_name, 0 AS machines FROM group_configs WHERE group_name > $1) g \
               LEFT JOIN group_configs c ON c.group_name = g.group_name \
               GROUP BY g.group_name, c.config_id ORDER BY g.group_name LIMIT $2";
    let rows = session.all(sql, &[after.into(), page.limit().into()]).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Group {
                name: c.text()?.to_owned(),
                machines: c.number()?,
                config: c.opt_array()?.map(ConfigId),
            })
        })
        .collect()
}
