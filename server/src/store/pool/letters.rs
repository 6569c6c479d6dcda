//! Dead letters of purchases: money that can't be settled.

use super::load::PURCHASES;
use super::rows::purchase;
use super::write::write as write_all;
use crate::domain::fleet::{DeadLetterFilter, DeadLetterState, PurchaseLetter};
use crate::domain::ids::PurchaseId;
use crate::domain::page::PageRequest;
use crate::domain::pool::{self, Doubt, Purchase, View, Writes};
use crate::store::bulk::{Bulk, Kind};
use crate::store::{Arg, Row, Session, StoreError, Tx, clock};
use Kind::{Bytes, Int};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;

const SELECT: &str = "SELECT dead_letter_id, purchase_id, state, reason, detail, redrives, created_at_ms, \
     updated_at_ms, trace_id FROM purchase_dead_letters";

/// None is there for most.
static DONE: Bulk = Bulk::new(
    "WITH input (purchase_id, at_ms) AS (",
    &[Bytes, Int],
    ") UPDATE purchase_dead_letters SET state = 3, updated_at_ms = input.at_ms FROM input \
     WHERE purchase_dead_letters.purchase_id = input.purchase_id AND purchase_dead_letters.state <> 3 \
     RETURNING purchase_dead_letters.purchase_id, purchase_dead_letters.updated_at_ms",
);

/// A purchase is done after all that was open, so those that are done come last. Gives the purchases whose dead letter is done
/// now, and when.
pub(super) async fn write(
    tx: &mut Tx,
    view: &View,
    doubts: &[Doubt],
) -> Result<Vec<(PurchaseId, i64)>, StoreError> {
    let mut done = DONE.rows(0);
    for doubt in doubts {
        match doubt {
            Doubt::Open { id, purchase, trouble, detail, at_ms, trace_id } => {
                let sql = "INSERT INTO purchase_dead_letters (dead_letter_id, purchase_id, state, reason, detail, \
                           created_at_ms, updated_at_ms, trace_id) VALUES ($1, $2, 1, $3, $4, $5, $5, $6) \
                           ON CONFLICT (purchase_id) DO UPDATE SET state = 1, reason = excluded.reason, \
                           detail = excluded.detail, updated_at_ms = excluded.updated_at_ms";
                let args = [
                    id.into(),
                    purchase.as_bytes().into(),
                    trouble.reason().into(),
                    detail.into(),
                    (*at_ms).into(),
                    trace_id.into(),
                ];
                tx.execute(sql, &args).await?;
            }
            // Nothing is asked of a gateway for the others.
            Doubt::Done(purchase, at_ms) => {
                if view.purchases.get(purchase).is_some_and(Purchase::pays) {
                    done.push([purchase.as_bytes().into(), (*at_ms).into()]);
                }
            }
        }
    }
    let done = done.fetch(tx).await?;
    let read = |row: &Row| {
        let mut c = row.columns();
        Ok((PurchaseId(c.uuid()?), c.int()?))
    };
    done.iter().map(read).collect()
}

fn letter(row: &Row) -> Result<PurchaseLetter, StoreError> {
    let mut c = row.columns();
    Ok(PurchaseLetter {
        id: c.uuid()?,
        purchase: PurchaseId(c.uuid()?),
        state: DeadLetterState::from_number(c.int()?).ok_or_else(|| c.damaged("not a state"))?,
        reason: c.text()?.to_owned(),
        detail: c.text()?.to_owned(),
        redrives: c.number()?,
        created_at_ms: c.int()?,
        updated_at_ms: c.int()?,
        trace_id: c.text()?.to_owned(),
    })
}

/// One dead letter of a purchase.
pub async fn find_letter(session: &mut Session, id: Uuid) -> Result<Option<PurchaseLetter>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE dead_letter_id = $1"));
    session.optional(sql, &[(&id).into()]).await?.as_ref().map(letter).transpose()
}

/// Dead letters of purchases in the order of their creation.
pub async fn list_letters(
    session: &mut Session,
    filter: &DeadLetterFilter,
    page: &PageRequest<Uuid>,
) -> Result<Vec<PurchaseLetter>, StoreError> {
    let after = page.after.unwrap_or(Uuid::nil());
    let mut args: Vec<Arg<'_>> = vec![(&after).into(), page.limit().into()];
    let mut sql = format!("{SELECT} WHERE dead_letter_id > $1");
    if let Some(state) = filter.state {
        args.push((state as i64).into());
        let _ = write!(sql, " AND state = ${}", args.len());
    }
    sql.push_str(" ORDER BY dead_letter_id LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(letter).collect()
}

/// Hands a purchase's money that was set aside back to the workers. Whether there is any to settle.
pub async fn redrive(tx: &mut Tx, id: PurchaseId, at_ms: i64) -> Result<bool, StoreError> {
    let mut view = View::default();
    for row in PURCHASES.fetch(tx, &[id.as_bytes()]).await? {
        view.purchases.insert(id, purchase(&mut row.columns())?);
    }
    let mut writes = Writes::default();
    if !pool::redrive(&mut view, id, at_ms, &mut writes) {
        return Ok(false);
    }
    let sql = "UPDATE purchase_dead_letters SET state = 2, redrives = redrives + 1, updated_at_ms = $2 \
               WHERE purchase_id = $1";
    tx.execute(sql, &[id.as_bytes().into(), at_ms.into()]).await?;
    write_all(tx, &view, &writes).await?;
    Ok(true)
}

/// The gateway has news of a purchase's payment: it is asked soon ([`pool::notice`]). `None`: there is no such purchase; else
/// whether that is any sooner. `own_ms` is this server's clock.
pub async fn notice(
    tx: &mut Tx,
    id: PurchaseId,
    asks_for_ms: i64,
    own_ms: i64,
) -> Result<Option<bool>, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    for row in PURCHASES.fetch(tx, &[id.as_bytes()]).await? {
        view.purchases.insert(id, purchase(&mut row.columns())?);
    }
    if view.purchases.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT 1 FROM purchase_dead_letters WHERE purchase_id = $1 AND state <> 3";
    let is_set_aside = tx.optional(sql, &[id.as_bytes().into()]).await?.is_some();
    let mut writes = Writes::default();
    let sooner = pool::notice(&mut view, id, is_set_aside, asks_for_ms, &mut writes);
    if sooner {
        write_all(tx, &view, &writes).await?;
    }
    Ok(Some(sooner))
}
