//! Which machines StartWork may take: the candidates of a batch, locked, and nothing else.
//!
//! The first look passes by what others hold just then. Who gets nothing looks again in a transaction of its own that holds
//! nothing, waits for locked rows in the order of their ids, and only then is told that no machine is idle.

use super::device;
use super::givers::{add_givers, givers};
use super::load::{POOL, SESSIONS, started_before};
use super::rows::{POOL_KINDS, pool_columns, pooled, session};
use crate::domain::ids::{MachineId, SessionId};
use crate::domain::pool::{MachineKind, Pick, Start, View};
use crate::store::{Arg, Engine, Row, Session, StoreError, Tx, clock, packed, stock};
use sqlx::AssertSqlSafe;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;

/// Free machines that a second look waits for, at most.
const MAX_WAITED_FOR: usize = 1_024;

/// In the words of the indexes.
pub(super) const IDLE: &str = "p.free_at_ms = 0";
/// A lease or a rest that is over; `$1` is the database's clock.
pub(super) const OVER: &str =
    "p.free_at_ms > 0 AND p.free_at_ms < 9223372036854775807 AND p.free_at_ms <= $1";
pub(super) const PRESENT: &str = "(p.kind = 1 OR p.fit) AND (p.kind = 1 OR p.connected_until_ms > $1)";
pub(super) const LOWEST: &str = "ORDER BY p.usage_count, p.last_picked_ms, p.machine_id LIMIT $2";

/// What happens to machines that another transaction holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// They are passed by.
    PassBy,
    /// They are waited for. The transaction must hold nothing yet.
    Wait,
}

/// Locks, for each filter of these calls, at least as many free machines as could be needed, lowest (usage, last picked, id) first, and
/// loads what the fold needs. `own_ms` is this server's clock.
pub async fn load_starts(tx: &mut Tx, starts: &[Start], look: Look, own_ms: i64) -> Result<View, StoreError> {
    let mut view = View { clock_ms: clock::clock_ms(tx, own_ms).await?, ..View::default() };
    let picks: HashSet<&Pick> = starts.iter().map(|start| &start.pick).collect();
    let mut waited_for = BTreeSet::new();
    // Filters with a product whose first candidates are not all there are.
    let mut more = Vec::new();
    for pick in picks {
        let mut fitting = VecDeque::new();
        if let (Look::Wait, Some(product)) = (look, pick.product) {
            let most = starts.len().max(MAX_WAITED_FOR);
            let found = givers(tx, pick, product, most, &HashSet::new(), view.clock_ms).await?;
            fitting.extend(found.into_iter().map(|(machine, _)| machine));
            waited_for.extend(&fitting);
            view.candidates.insert(pick.clone(), fitting);
            continue;
        }
        let rows = candidates(tx, pick, starts.len(), look, view.clock_ms).await?;
        more.extend(pick.product.filter(|_| rows.len() >= starts.len()).map(|product| (pick, product)));
        for row in rows {
            let pooled = pooled(&mut row.columns())?;
            fitting.push_back(pooled.id);
            match look {
                Look::PassBy => {
                    view.pool.insert(pooled.id, pooled);
                }
                Look::Wait => {
                    waited_for.insert(pooled.id);
                }
            }
        }
        view.candidates.insert(pick.clone(), fitting);
    }
    let waited_for: Vec<&[u8; 16]> = waited_for.iter().map(MachineId::as_bytes).collect();
    for row in POOL.fetch(tx, &waited_for).await? {
        let pooled = pooled(&mut row.columns())?;
        view.pool.insert(pooled.id, pooled);
    }
    let wanted: BTreeSet<_> = starts.iter().filter_map(|start| start.pick.product).collect();
    if !wanted.is_empty() {
        view.shelf = stock::look(tx, &wanted).await?;
        let real = view.pool.values().filter(|pooled| pooled.kind == MachineKind::Real);
        let real: Vec<MachineId> = real.map(|pooled| pooled.id).collect();
        device::look(tx, &mut view, &real).await?;
        for (pick, product) in more {
            add_givers(tx, &mut view, pick, product, starts.len()).await?;
        }
    }
    view.put_in_order();
    // After the locks: a call that came at the same time elsewhere, and was first, is seen.
    let keys = starts.iter().map(|start| (start.caller.as_str(), &start.request_id));
    for session in started_before(tx, keys).await? {
        view.starts.insert((session.caller.clone(), session.request_id), session.id);
        view.sessions.insert(session.id, session);
    }
    let left: BTreeSet<SessionId> = view.pool.values().filter_map(|pooled| pooled.session).collect();
    let left: Vec<&[u8; 16]> = left.iter().map(SessionId::as_bytes).collect();
    for row in SESSIONS.fetch(tx, &left).await? {
        let session = session(&mut row.columns())?;
        view.sessions.insert(session.id, session);
    }
    Ok(view)
}

/// Whether a first look for this filter passed by a machine that somebody held just then: one that is free, as far as is
/// committed, and not among those that are `held` here. If none was, a second look would find nothing else.
pub async fn passed_by(tx: &mut Tx, pick: &Pick, held: &View) -> Result<bool, StoreError> {
    let most = held.pool.len().saturating_add(1);
    for row in candidates(tx, pick, most, Look::Wait, held.clock_ms).await? {
        if !held.pool.contains_key(&pooled(&mut row.columns())?.id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Free machines that fit, in any order: of those that are free since a decision and of those whose lease or rest is over, so
/// many each.
async fn candidates(
    tx: &mut Tx,
    pick: &Pick,
    most: usize,
    look: Look,
    clock_ms: i64,
) -> Result<Vec<Row>, StoreError> {
    let (most, lock) = match (look, tx.engine()) {
        (Look::Wait, _) => (most.max(MAX_WAITED_FOR), ""),
        (Look::PassBy, Engine::Postgres) => (most, "FOR NO KEY UPDATE SKIP LOCKED"),
        (Look::PassBy, Engine::Sqlite) => (most, ""),
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut args: Vec<Arg<'_>> = vec![clock_ms.into(), most.into()];
    let fits = filter(pick, &mut args);
    let columns = pool_columns!();
    let sql = format!(
        "WITH idle AS (SELECT {columns} FROM pool p WHERE {IDLE} AND {PRESENT}{fits} {LOWEST} {lock}), \
         freed AS (SELECT {columns} FROM pool p WHERE {OVER} AND {PRESENT}{fits} {LOWEST} {lock}) \
         SELECT * FROM idle UNION ALL SELECT * FROM freed"
    );
    packed::fetch(tx, sql, &POOL_KINDS, &args).await
}

/// What a filter asks of `pool p`, beginning with AND. Of a product it asks what slots say; whether the applied config says the
/// same is in no column.
pub(super) fn filter<'p>(pick: &'p Pick, args: &mut Vec<Arg<'p>>) -> String {
    let mut sql = String::new();
    if let Some(group) = &pick.group {
        args.push(group.into());
        let _ = write!(sql, " AND p.group_name = ${}", args.len());
    }
    if let Some(kind) = pick.kind {
        args.push((kind as i64).into());
        let _ = write!(sql, " AND p.kind = ${}", args.len());
    }
    for tag in &pick.tags {
        args.push(tag.into());
        let _ = write!(
            sql,
            " AND EXISTS (SELECT 1 FROM machine_tags t WHERE t.machine_id = p.machine_id AND t.tag = ${})",
            args.len()
        );
    }
    if let Some(product) = &pick.product {
        args.push((&product.0).into());
        let _ = write!(
            sql,
            " AND ((p.kind = 1 AND EXISTS (SELECT 1 FROM products q WHERE q.product_id = ${n} AND q.stock > 0)) \
             OR (p.kind = 2 AND EXISTS (SELECT 1 FROM slots l WHERE l.machine_id = p.machine_id \
             AND NOT l.faulted AND (l.product = ${n} OR l.reported_product = ${n}) \
             AND (l.product IS NULL OR l.product <> ${n} OR l.derived > l.reserved) \
             AND (l.reported_product IS NULL OR l.reported_product <> ${n} OR l.reported > l.reserved))))",
            n = args.len()
        );
    }
    sql
}

/// How many machines match each of these filters, idle or not.
pub async fn fitting(
    session: &mut Session,
    picks: &HashSet<&Pick>,
) -> Result<HashMap<Pick, u64>, StoreError> {
    let mut counts = HashMap::with_capacity(picks.len());
    for pick in picks {
        let mut args = Vec::new();
        let sql = format!("SELECT COUNT(*) FROM pool p WHERE p.state <> 6{}", filter(pick, &mut args));
        counts.insert((*pick).clone(), session.one(AssertSqlSafe(sql), &args).await?.columns().number()?);
    }
    Ok(counts)
}
