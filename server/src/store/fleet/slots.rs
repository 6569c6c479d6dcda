//! Reading slots, and moving a derived level after the fact.

use crate::domain::fleet::LateEffect;
use crate::domain::ids::MachineId;
use crate::domain::page::PageRequest;
use crate::domain::sync::{AlertKind, SlotRow};
use crate::store::sync::rows::{slot, slot_columns};
use crate::store::{Arg, Session, StoreError, Tx, int};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::{Epoch, ProductId};

/// A machine's slots in order of their numbers.
pub async fn of_machine(session: &mut Session, machine: MachineId) -> Result<Vec<SlotRow>, StoreError> {
    let sql = concat!("SELECT ", slot_columns!(), " FROM slots WHERE machine_id = $1 ORDER BY slot");
    session.all(sql, &[(&machine.0).into()]).await?.iter().map(|row| slot(&mut row.columns())).collect()
}

/// Slots that drift, in order of machine and slot.
pub async fn drifting(
    session: &mut Session,
    machine: Option<MachineId>,
    product: Option<ProductId>,
    page: &PageRequest<(Uuid, i64)>,
) -> Result<Vec<(MachineId, SlotRow)>, StoreError> {
    let (after_machine, after_slot) = page.after.unwrap_or((Uuid::nil(), -1));
    let mut args: Vec<Arg<'_>> = vec![(&after_machine).into(), after_slot.into(), page.limit().into()];
    let mut sql = concat!(
        "SELECT machine_id, ",
        slot_columns!(),
        " FROM slots WHERE drift_seq > 0 AND (machine_id, slot) > ($1, $2)"
    )
    .to_owned();
    if let Some(machine) = &machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    if let Some(product) = &product {
        args.push((&product.0).into());
        let _ = write!(sql, " AND product = ${}", args.len());
    }
    sql.push_str(" ORDER BY machine_id, slot LIMIT $3");
    let rows = session.all(AssertSqlSafe(sql), &args).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((MachineId(c.uuid()?), slot(&mut c)?))
        })
        .collect()
}

/// When a slot's drift was seen, as its open alert says; 0 when there is none.
pub async fn drift_seen(session: &mut Session, machine: MachineId, slot: u16) -> Result<i64, StoreError> {
    let sql = "SELECT created_at_ms FROM alerts WHERE machine_id = $1 AND kind = $2 AND alert_key = $3 \
               AND resolved_at_ms = 0";
    let key = slot.to_string();
    let args = [(&machine.0).into(), AlertKind::SlotDrift.as_str().into(), (&key).into()];
    session.optional(sql, &args).await?.map_or(Ok(0), |row| row.columns().int())
}

/// Moves a derived level by a record that counts late. Gives whether it moved.
pub async fn move_level(
    tx: &mut Tx,
    machine: MachineId,
    slot: u16,
    effect: LateEffect,
    (epoch, seq): (Epoch, u64),
) -> Result<bool, StoreError> {
    let moved = match effect {
        LateEffect::Add { product, units } => {
            let sql = "UPDATE slots SET derived = derived + $4 WHERE machine_id = $1 AND slot = $2 AND product = $3";
            let args = [(&machine.0).into(), slot.into(), (&product.0).into(), units.into()];
            tx.execute(sql, &args).await?
        }
        LateEffect::Set { .. } => 0,
    };
    if moved > 0 {
        return Ok(true);
    }
    let (product, units, insert) = match effect {
        // A slot no record spoke of before begins with this one; a slot with another product is left alone.
        LateEffect::Add { product, units } => (product, units, "WHERE slots.product IS NULL"),
        LateEffect::Set { product, units } => (product, units, ""),
    };
    let sql = format!(
        "INSERT INTO slots (machine_id, slot, product, derived, derived_seq, reported_seq, faulted, epoch, agreed_seq, \
         drift_seq, reserved) VALUES ($1, $2, $3, $4, $5, 0, FALSE, $6, 0, 0, 0) \
         ON CONFLICT (machine_id, slot) DO UPDATE SET product = excluded.product, derived = excluded.derived {insert}"
    );
    let args = [
        (&machine.0).into(),
        slot.into(),
        (&product.0).into(),
        units.into(),
        int(seq)?.into(),
        (&epoch.0).into(),
    ];
    Ok(tx.execute(AssertSqlSafe(sql), &args).await? > 0)
}
