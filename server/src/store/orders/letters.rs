//! Work on orders that was set aside, as operators see it. Written with the batch that sets it aside.

use crate::domain::fleet::{DeadLetterFilter, DeadLetterState, OrderLetter};
use crate::domain::ids::OrderId;
use crate::domain::order::DeadLetterKind;
use crate::domain::page::PageRequest;
use crate::store::{Arg, Row, Session, StoreError};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;

const SELECT: &str = "SELECT dead_letter_id, order_id, kind, state, reason, detail, redrives, created_at_ms, \
     updated_at_ms, trace_id FROM order_dead_letters";

fn letter(row: &Row) -> Result<OrderLetter, StoreError> {
    let mut c = row.columns();
    Ok(OrderLetter {
        id: c.uuid()?,
        order: OrderId(c.uuid()?),
        kind: DeadLetterKind::from_number(c.int()?).ok_or_else(|| c.damaged("not a kind"))?,
        state: DeadLetterState::from_number(c.int()?).ok_or_else(|| c.damaged("not a state"))?,
        reason: c.text()?.to_owned(),
        detail: c.text()?.to_owned(),
        redrives: c.number()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
    })
}

/// One dead letter of an order.
pub async fn find_letter(session: &mut Session, id: Uuid) -> Result<Option<OrderLetter>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE dead_letter_id = $1"));
    session.optional(sql, &[(&id).into()]).await?.as_ref().map(letter).transpose()
}

/// Dead letters of orders in the order of their creation.
pub async fn list_letters(
    session: &mut Session,
    filter: &DeadLetterFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<OrderLetter>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE dead_letter_id > $1");
    let numbers = [("kind", filter.kind.map(|k| k as i64)), ("state", filter.state.map(|s| s as i64))];
    for (column, number) in numbers {
        if let Some(number) = number {
            args.push(number.into());
            let _ = write!(sql, " AND {column} = ${}", args.len());
        }
    }
    if let Some(order) = &filter.order {
        args.push((&order.0).into());
        let _ = write!(sql, " AND order_id = ${}", args.len());
    }
    sql.push_str(" ORDER BY dead_letter_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(letter).collect()
}
