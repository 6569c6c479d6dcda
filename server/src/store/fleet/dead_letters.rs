//! The rows of dead letters, each with its record.

use super::records::stored;
use crate::domain::fleet::{DeadLetter, DeadLetterFilter, DeadLetterState};
use crate::domain::page::PageRequest;
use crate::store::{Arg, Row, Session, StoreError, Tx, int};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;

const SELECT: &str = "SELECT d.dead_letter_id, d.state, d.reason, d.detail, d.redrives, d.created_at_ms, \
     d.updated_at_ms, d.trace_id, r.machine_id, r.epoch, r.seq, r.kind, r.schema_no, r.body, r.hash, \
     r.received_at_ms, r.earliest_ms, r.latest_ms \
     FROM dead_letters d JOIN records r \
     ON r.machine_id = d.machine_id AND r.epoch = d.epoch AND r.seq = d.seq";

fn letter(row: &Row) -> Result<DeadLetter, StoreError> {
    let mut c = row.columns();
    Ok(DeadLetter {
        id: c.uuid()?,
        state: DeadLetterState::from_number(c.int()?).ok_or_else(|| c.damaged("not a state"))?,
        reason: c.text()?.to_owned(),
        detail: c.text()?.to_owned(),
        redrives: c.number()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
        record: stored(&mut c)?,
    })
}

/// One dead letter.
pub async fn find(session: &mut Session, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE d.dead_letter_id = $1"));
    session.optional(sql, &[(&id).into()]).await?.as_ref().map(letter).transpose()
}

/// Dead letters in the order they were set aside.
pub async fn list(
    session: &mut Session,
    filter: &DeadLetterFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<DeadLetter>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE d.dead_letter_id > $1");
    if let Some(state) = filter.state {
        args.push((state as i64).into());
        let _ = write!(sql, " AND d.state = ${}", args.len());
    }
    if let Some(machine) = &filter.machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND d.machine_id = ${}", args.len());
    }
    sql.push_str(" ORDER BY d.dead_letter_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(letter).collect()
}

/// Writes what a redrive came to.
pub async fn update(tx: &mut Tx, d: &DeadLetter) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE dead_letters SET state = $4, reason = $5, detail = $6, redrives = $7, updated_at_ms = $8 \
         WHERE machine_id = $1 AND epoch = $2 AND seq = $3",
        &[
            (&d.record.machine.0).into(),
            (&d.record.chain.0).into(),
            int(d.record.seq)?.into(),
            (d.state as i64).into(),
            (&d.reason).into(),
            (&d.detail).into(),
            d.redrives.into(),
            d.updated_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}
