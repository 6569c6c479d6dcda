//! Machines that can give a product, behind any number of others that look as if they could.
//!
//! What slots hold is a matter of SQL; what the applied config plans in them is in its body. So machines are read in pages of
//! a bounded size, without a lock, until enough of them can give the product or there are no more. Keys only rise, so a
//! machine that moves between two pages is met later, never missed.

use super::device;
use super::load::POOL_PASSED_BY;
use super::rows::{pool_columns, pooled};
use super::starts::{IDLE, LOWEST, OVER, PRESENT, filter};
use crate::domain::ids::MachineId;
use crate::domain::pool::{MachineKind, Offer, Pick, Pooled, View};
use crate::store::{Arg, StoreError, Tx};
use sqlx::AssertSqlSafe;
use std::collections::HashSet;
use std::fmt::Write as _;
use vend_core::id::ProductId;

/// Machines in one page.
const PAGE_MACHINES: usize = 256;

/// A machine, with what a real one offers.
type Giver = (MachineId, Option<Vec<Offer>>);

/// Sees to it that a first look holds at least `most` machines of a filter that can give its product, if there are so many
/// that nobody else holds just now.
pub(super) async fn add_givers(
    tx: &mut Tx,
    view: &mut View,
    pick: &Pick,
    product: ProductId,
    most: usize,
) -> Result<(), StoreError> {
    let known: HashSet<MachineId> = view.candidates.get(pick).into_iter().flatten().copied().collect();
    let have = known.iter().filter(|id| view.can_give(**id, product)).count();
    if have >= most {
        return Ok(());
    }
    let found = givers(tx, pick, product, most - have, &known, view.clock_ms).await?;
    let ids: Vec<&[u8; 16]> = found.iter().map(|(id, _)| id.as_bytes()).collect();
    for row in POOL_PASSED_BY.fetch(tx, &ids).await? {
        let pooled = pooled(&mut row.columns())?;
        view.candidates.entry(pick.clone()).or_default().push_back(pooled.id);
        view.pool.insert(pooled.id, pooled);
    }
    view.offers.extend(found.into_iter().filter_map(|(id, offers)| Some((id, offers?))));
    Ok(())
}

/// Free machines that can give a filter's product and are not known yet, lowest first: of those that are free since a
/// decision and of those whose lease or rest is over, at most so many each. Nothing is locked.
pub(super) async fn givers(
    tx: &mut Tx,
    pick: &Pick,
    product: ProductId,
    most: usize,
    known: &HashSet<MachineId>,
    clock_ms: i64,
) -> Result<Vec<Giver>, StoreError> {
    let mut found = Vec::new();
    for free in [IDLE, OVER] {
        let enough = found.len() + most;
        let mut after = None;
        while found.len() < enough {
            let page = page(tx, pick, free, after.as_ref(), clock_ms).await?;
            let is_last = page.len() < PAGE_MACHINES;
            after = page.last().cloned();
            let new = page.into_iter().filter(|pooled| !known.contains(&pooled.id));
            found.extend(those_that_give(tx, new.collect(), product).await?);
            if is_last {
                break;
            }
        }
        found.truncate(enough);
    }
    Ok(found)
}

async fn those_that_give(
    tx: &mut Tx,
    machines: Vec<Pooled>,
    product: ProductId,
) -> Result<Vec<Giver>, StoreError> {
    let real = machines.iter().filter(|pooled| pooled.kind == MachineKind::Real);
    let real: Vec<MachineId> = real.map(|pooled| pooled.id).collect();
    let mut looked = View::default();
    device::look(tx, &mut looked, &real).await?;
    looked.pool = machines.iter().map(|pooled| (pooled.id, pooled.clone())).collect();
    // Central stock is asked for by the filter.
    let gives = |pooled: &&Pooled| pooled.kind == MachineKind::Virtual || looked.can_give(pooled.id, product);
    let givers: Vec<MachineId> = machines.iter().filter(gives).map(|pooled| pooled.id).collect();
    Ok(givers.into_iter().map(|id| (id, looked.offers.remove(&id))).collect())
}

/// The next machines of one of the two lists, in the order in which they are taken.
async fn page(
    tx: &mut Tx,
    pick: &Pick,
    free: &str,
    after: Option<&Pooled>,
    clock_ms: i64,
) -> Result<Vec<Pooled>, StoreError> {
    let size = i64::try_from(PAGE_MACHINES).unwrap_or(i64::MAX);
    let mut args: Vec<Arg<'_>> = vec![clock_ms.into(), size.into()];
    let mut fits = filter(pick, &mut args);
    if let Some(after) = after {
        let _ = write!(
            fits,
            " AND (p.usage_count, p.last_picked_ms, p.machine_id) > (${}, ${}, ${})",
            args.len() + 1,
            args.len() + 2,
            args.len() + 3
        );
        args.extend([Arg::Int(after.usage), Arg::Int(after.last_picked_ms), after.id.as_bytes().into()]);
    }
    let columns = pool_columns!();
    let sql = format!("SELECT {columns} FROM pool p WHERE {free} AND {PRESENT}{fits} {LOWEST}");
    tx.all(AssertSqlSafe(sql), &args).await?.iter().map(|row| pooled(&mut row.columns())).collect()
}
