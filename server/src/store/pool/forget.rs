//! Forgetting sessions that are over, each with its purchase, command and dead letter, and commands of operators; a bounded
//! batch at a time. How many purchases had completed is remembered.
//!
//! What is deleted is final: nothing changes it but a machine's late word on its purchase, which is why purchases are locked
//! first. Whoever finds it gone is told that there is no such session, purchase or command.

use crate::domain::command::{Place, State};
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::PurchaseState;
use crate::store::bulk::{Bulk, Kind};
use crate::store::keyed::Keyed;
use crate::store::tx::{End, TxFuture};
use crate::store::{Columns, Engine, Store, StoreError, Tx, int};
use Kind::{Bytes, Int};
use std::collections::BTreeMap;
use uuid::Uuid;
use vend_core::id::ProductId;

/// Rows that go with one session, at most: itself, its purchase, the purchase's command and its dead letter.
const ROWS_PER_SESSION: u32 = 4;

/// What one step of a sweep did, and where the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten<C> {
    /// Sessions, or commands, that went.
    pub count: u64,
    /// Where to go on; `None`: the sweep is over.
    pub next: Option<C>,
}

/// By their ids, which are made with them and rise with time: a session is never younger than its end.
const SESSIONS: &str = "SELECT session_id, purchase_id FROM sessions WHERE session_id > $1 AND session_id < $2 \
                        ORDER BY session_id LIMIT $3";

static LOCKED: Keyed = Keyed::new("SELECT purchase_id FROM purchases WHERE purchase_id", &[Bytes])
    .then_on_postgres("ORDER BY purchase_id FOR UPDATE");

/// Sessions that are over and to which nothing refers that is not.
static OVER: Keyed = Keyed::new(
    "SELECT s.session_id, s.machine_id, s.ended_at_ms, u.purchase_id, u.ended_at_ms, u.command_number, u.product_id, \
     u.state FROM sessions s LEFT JOIN purchases u ON u.purchase_id = s.purchase_id WHERE s.ended_at_ms > 0 \
     AND (s.purchase_id IS NULL OR (u.state IN (7, 8) AND u.work = 0 AND NOT u.heard)) \
     AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.machine_id = u.machine_id AND c.number = u.command_number \
     AND c.state IN (1, 2, 6)) \
     AND NOT EXISTS (SELECT 1 FROM purchase_dead_letters d WHERE d.purchase_id = s.purchase_id AND d.state <> 3) \
     AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.machine_id = s.machine_id AND a.resolved_at_ms = 0 \
     AND a.purchase_id = s.purchase_id) \
     AND NOT EXISTS (SELECT 1 FROM pool p WHERE p.machine_id = s.machine_id \
     AND (p.session_id = s.session_id OR p.purchase_id = s.purchase_id)) \
     AND s.session_id",
    &[Bytes, Bytes, Int, Bytes, Int, Int, Bytes, Int],
);

static COUNTED: Bulk = Bulk::new(
    "INSERT INTO forgotten_purchases (machine_id, product_id, completed)",
    &[Bytes, Bytes, Int],
    "ON CONFLICT (machine_id, product_id) DO UPDATE SET completed = forgotten_purchases.completed + excluded.completed",
);

static NO_SESSIONS: Bulk = Bulk::new(
    "WITH input (id) AS (",
    &[Bytes],
    ") DELETE FROM sessions WHERE session_id IN (SELECT id FROM input)",
);

static NO_PURCHASES: Bulk = Bulk::new(
    "WITH input (id) AS (",
    &[Bytes],
    ") DELETE FROM purchases WHERE purchase_id IN (SELECT id FROM input)",
);

static NO_LETTERS: Bulk = Bulk::new(
    "WITH input (id) AS (",
    &[Bytes],
    ") DELETE FROM purchase_dead_letters WHERE purchase_id IN (SELECT id FROM input)",
);

static NO_COMMANDS: Bulk = Bulk::new(
    "WITH input (machine_id, number) AS (",
    &[Bytes, Int],
    ") DELETE FROM commands WHERE (machine_id, number) IN (SELECT machine_id, number FROM input) AND state IN (3, 4, 5)",
);

/// Those of operators; the others go with their purchases.
const COMMANDS: &str = "SELECT c.created_at_ms, c.machine_id, c.number, c.purchase_id, c.state, c.ended_at_ms \
     FROM commands c WHERE (c.created_at_ms, c.machine_id, c.number) > ($1, $2, $3) AND c.created_at_ms < $4 \
     ORDER BY c.created_at_ms, c.machine_id, c.number LIMIT $5";

impl Store {
    /// One step of a sweep that forgets sessions which ended before `before_ms`, oldest first, at most `rows` rows of all
    /// tables, in one transaction. What is referred to by anything that is not over stays: an open alert or dead letter, a
    /// purchase that is not final, a command without a result. Begin with `None` and go on with [`Forgotten::next`].
    pub async fn forget_sessions(
        &self,
        before_ms: i64,
        rows: u32,
        from: Option<SessionId>,
    ) -> Result<Forgotten<SessionId>, StoreError> {
        let most = i64::from((rows / ROWS_PER_SESSION).max(1));
        let step = SessionsStep { from: from.unwrap_or(SessionId(Uuid::nil())), before_ms, most };
        self.run_tx("forget_sessions", step, forget_sessions).await
    }

    /// Likewise commands that operators gave and that came to their end before `before_ms`.
    pub async fn forget_commands(
        &self,
        before_ms: i64,
        rows: u32,
        from: Option<Place>,
    ) -> Result<Forgotten<Place>, StoreError> {
        let from = from.unwrap_or((i64::MIN, (Uuid::nil(), 0)));
        let step = CommandsStep { from, before_ms, most: i64::from(rows.max(1)) };
        self.run_tx("forget_commands", step, forget_commands).await
    }
}

struct SessionsStep {
    from: SessionId,
    before_ms: i64,
    most: i64,
}

fn forget_sessions<'t>(tx: &'t mut Tx, step: &'t SessionsStep) -> TxFuture<'t, Forgotten<SessionId>> {
    Box::pin(async move {
        let bound = first_id_at(step.before_ms);
        let args = [step.from.as_bytes().into(), (&bound).into(), step.most.into()];
        let (mut page, mut purchases): (Vec<SessionId>, Vec<PurchaseId>) = Default::default();
        for row in tx.all(SESSIONS, &args).await? {
            let mut c = row.columns();
            page.push(SessionId(c.uuid()?));
            purchases.extend(c.opt_uuid()?.map(PurchaseId));
        }
        let next = if is_full(page.len(), step.most) { page.last().copied() } else { None };
        if tx.engine() == Engine::Postgres {
            let ids: Vec<&[u8; 16]> = purchases.iter().map(PurchaseId::as_bytes).collect();
            LOCKED.fetch(tx, &ids).await?;
        }
        let ids: Vec<&[u8; 16]> = page.iter().map(SessionId::as_bytes).collect();
        let mut over = Vec::with_capacity(ids.len());
        for row in OVER.fetch(tx, &ids).await? {
            over.push(ended(&mut row.columns())?);
        }
        over.retain(|ended| ended.at_ms < step.before_ms);
        if over.is_empty() {
            return Ok(End::RollBack(Forgotten { count: 0, next }));
        }
        delete(tx, &over).await?;
        Ok(End::Commit(Forgotten { count: over.len() as u64, next }))
    })
}

/// A session with what goes with it.
struct Ended {
    session: SessionId,
    machine: MachineId,
    /// When it was all over.
    at_ms: i64,
    bought: Option<Bought>,
}

struct Bought {
    purchase: PurchaseId,
    /// 0: none.
    command: u64,
    product: ProductId,
    completed: bool,
}

/// Reads `OVER`.
fn ended(c: &mut Columns<'_>) -> Result<Ended, StoreError> {
    let (session, machine, at_ms) = (SessionId(c.uuid()?), MachineId(c.uuid()?), c.int()?);
    let (purchase, purchase_at_ms) = (c.opt_uuid()?.map(PurchaseId), c.opt_int()?);
    let (command, product, state) = (c.opt_number()?, c.opt_array()?.map(ProductId), c.opt_int()?);
    let bought = purchase.zip(product).map(|(purchase, product)| Bought {
        purchase,
        command: command.unwrap_or(0),
        product,
        completed: state == Some(PurchaseState::Completed as i64),
    });
    Ok(Ended { session, machine, at_ms: at_ms.max(purchase_at_ms.unwrap_or(0)), bought })
}

async fn delete(tx: &mut Tx, over: &[Ended]) -> Result<(), StoreError> {
    let mut completed: BTreeMap<(MachineId, ProductId), i64> = BTreeMap::new();
    let (mut sessions, mut purchases) = (NO_SESSIONS.rows(over.len()), NO_PURCHASES.rows(over.len()));
    let (mut commands, mut letters) = (NO_COMMANDS.rows(0), NO_LETTERS.rows(over.len()));
    for ended in over {
        sessions.push([ended.session.as_bytes().into()]);
        let Some(bought) = &ended.bought else { continue };
        purchases.push([bought.purchase.as_bytes().into()]);
        letters.push([bought.purchase.as_bytes().into()]);
        if bought.command > 0 {
            commands.push([ended.machine.as_bytes().into(), int(bought.command)?.into()]);
        }
        if bought.completed {
            *completed.entry((ended.machine, bought.product)).or_default() += 1;
        }
    }
    purchases.write(tx).await?;
    commands.write(tx).await?;
    letters.write(tx).await?;
    sessions.write(tx).await?;
    let mut counts = COUNTED.rows(completed.len());
    for ((machine, product), count) in &completed {
        counts.push([machine.as_bytes().into(), (&product.0).into(), (*count).into()]);
    }
    counts.write(tx).await?;
    Ok(())
}

struct CommandsStep {
    from: Place,
    before_ms: i64,
    most: i64,
}

fn forget_commands<'t>(tx: &'t mut Tx, step: &'t CommandsStep) -> TxFuture<'t, Forgotten<Place>> {
    Box::pin(async move {
        let (created_at_ms, (machine, number)) = &step.from;
        let args = [
            (*created_at_ms).into(),
            machine.into(),
            (*number).into(),
            step.before_ms.into(),
            step.most.into(),
        ];
        let (mut over, mut last, mut seen) = (Vec::new(), None, 0);
        for row in tx.all(COMMANDS, &args).await? {
            let mut c = row.columns();
            let place = (c.int()?, (c.uuid()?, c.int()?));
            (last, seen) = (Some(place), seen + 1);
            let (purchase, state, ended_at_ms) = (c.opt_uuid()?, c.int()?, c.int()?);
            let ended = State::from_number(state).is_some_and(|state| !state.is_open());
            if purchase.is_none() && ended && ended_at_ms < step.before_ms {
                over.push(place.1);
            }
        }
        let next = if is_full(seen, step.most) { last } else { None };
        let mut commands = NO_COMMANDS.rows(over.len());
        for (machine, number) in &over {
            commands.push([machine.into(), (*number).into()]);
        }
        let count = commands.write(tx).await?;
        let done = Forgotten { count, next };
        Ok(if count == 0 { End::RollBack(done) } else { End::Commit(done) })
    })
}

fn is_full(seen: usize, most: i64) -> bool {
    i64::try_from(seen).unwrap_or(i64::MAX) >= most
}

/// Below every UUIDv7 made at that time or later (RFC 9562, 5.7: 48 bits of Unix time in ms come first).
fn first_id_at(at_ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(at_ms.max(0).unsigned_abs()) << 80)
}
