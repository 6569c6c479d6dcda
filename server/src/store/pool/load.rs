//! Loading what a batch of commands about sessions and purchases is decided on.
//!
//! On PostgreSQL what never changes of a session or purchase (its machine) is read first, then everything is locked in the
//! order of the house and read again: machine_sync rows of real machines, pool rows, purchases, products. On SQLite nobody else
//! writes meanwhile: sessions are read with their machines, once.

use super::device;
use super::rows::{
    POOL_KINDS, PURCHASE_KINDS, SESSION_AND_POOL_KINDS, SESSION_KINDS, pool_columns, pooled, purchase,
    purchase_columns, session, session_columns,
};
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::{Command, JobDone, MachineKind, Pooled, Purchase, PurchaseState, Session, View};
use crate::store::bulk::{Bulk, Kind};
use crate::store::keyed::Keyed;
use crate::store::{Engine, StoreError, Tx, clock, stock};
use Kind::{Bytes, Int, Text};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

static SESSIONS_ON: Keyed = Keyed::new(
    "SELECT s.session_id, s.machine_id, p.kind FROM sessions s JOIN pool p ON p.machine_id = s.machine_id \
     WHERE s.session_id",
    &[Bytes, Bytes, Int],
);

static SESSIONS_AND_POOL: Keyed = Keyed::new(
    concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        pool_columns!(),
        " FROM sessions s JOIN pool p ON p.machine_id = s.machine_id WHERE s.session_id"
    ),
    &SESSION_AND_POOL_KINDS,
);

static PURCHASES_ON: Keyed =
    Keyed::new("SELECT session_id, machine_id, kind FROM purchases WHERE purchase_id", &[Bytes, Bytes, Int]);

static KINDS: Keyed = Keyed::new("SELECT machine_id, kind FROM pool WHERE machine_id", &[Bytes, Int]);

/// In the order of ids, so that two batches never wait for each other in a circle.
pub(super) static POOL: Keyed =
    Keyed::new(concat!("SELECT ", pool_columns!(), " FROM pool p WHERE p.machine_id"), &POOL_KINDS)
        .then_on_postgres("ORDER BY p.machine_id FOR NO KEY UPDATE");

/// Those that nobody holds just now.
pub(super) static POOL_PASSED_BY: Keyed =
    Keyed::new(concat!("SELECT ", pool_columns!(), " FROM pool p WHERE p.machine_id"), &POOL_KINDS)
        .then_on_postgres("ORDER BY p.machine_id FOR NO KEY UPDATE SKIP LOCKED");

/// Written only while their machine's pool row is locked.
pub(super) static SESSIONS: Keyed =
    Keyed::new(concat!("SELECT ", session_columns!(), " FROM sessions s WHERE s.session_id"), &SESSION_KINDS);

/// A worker's claim locks these alone.
pub(super) static PURCHASES: Keyed = Keyed::new(
    concat!("SELECT ", purchase_columns!(), " FROM purchases u WHERE u.purchase_id"),
    &PURCHASE_KINDS,
)
.then_on_postgres("ORDER BY u.purchase_id FOR NO KEY UPDATE");

/// By (caller, request id): what a repeated call had made.
static CHOSEN: Bulk = Bulk::new(
    "WITH input (whose, its_id) AS (",
    &[Text, Bytes],
    ") SELECT u.purchase_id FROM input i CROSS JOIN purchases u WHERE u.caller = i.whose AND u.request_id = i.its_id",
);

/// What the commands name, and what belongs to it.
#[derive(Default)]
struct Named {
    /// Whether it is a real one.
    machines: BTreeMap<MachineId, bool>,
    sessions: BTreeSet<SessionId>,
    purchases: BTreeSet<PurchaseId>,
}

impl Named {
    fn keep_session(&mut self, view: &mut View, session: Session) {
        self.purchases.extend(session.purchase);
        view.sessions.insert(session.id, session);
    }

    fn keep_pooled(&mut self, view: &mut View, pooled: Pooled) {
        self.sessions.extend(pooled.session);
        self.purchases.extend(pooled.purchase);
        self.machines.insert(pooled.id, pooled.kind == MachineKind::Real);
        view.pool.insert(pooled.id, pooled);
    }
}

/// Locks the machines that commands are about and loads what the fold needs. What does not exist is not in the view.
/// `Command::Start` is not among them: see [`super::load_starts`]. `own_ms` is this server's clock.
pub async fn load(tx: &mut Tx, commands: &[Command], own_ms: i64) -> Result<View, StoreError> {
    let mut view = View::default();
    let mut named = find(tx, commands).await?;
    if tx.engine() == Engine::Sqlite {
        let keys: Vec<&[u8; 16]> = named.sessions.iter().map(SessionId::as_bytes).collect();
        for row in SESSIONS_AND_POOL.fetch(tx, &keys).await? {
            let mut c = row.columns();
            named.keep_session(&mut view, session(&mut c)?);
            named.keep_pooled(&mut view, pooled(&mut c)?);
        }
    }
    let real: Vec<MachineId> = named.machines.iter().filter(|(_, real)| **real).map(|(id, _)| *id).collect();
    let devices = device::lock(tx, &real, own_ms).await?;
    let machines = named.machines.keys().filter(|id| !view.pool.contains_key(id));
    let machines: Vec<&[u8; 16]> = machines.map(MachineId::as_bytes).collect();
    for row in POOL.fetch(tx, &machines).await? {
        named.keep_pooled(&mut view, pooled(&mut row.columns())?);
    }
    let sessions = named.sessions.iter().filter(|id| !view.sessions.contains_key(id));
    let sessions: Vec<&[u8; 16]> = sessions.map(SessionId::as_bytes).collect();
    for row in SESSIONS.fetch(tx, &sessions).await? {
        named.keep_session(&mut view, session(&mut row.columns())?);
    }
    named.purchases.extend(chosen_before(tx, commands).await?);
    let purchases: Vec<&[u8; 16]> = named.purchases.iter().map(PurchaseId::as_bytes).collect();
    for row in PURCHASES.fetch(tx, &purchases).await? {
        let purchase = purchase(&mut row.columns())?;
        view.chooses.insert((purchase.caller.clone(), purchase.request_id), purchase.id);
        view.purchases.insert(purchase.id, purchase);
    }
    let products = commands.iter().filter_map(|command| product_of(command, &view)).collect();
    view.shelf = stock::lock(tx, &products).await?;
    view.clock_ms = clock::clock_ms(tx, own_ms).await?;
    device::load(tx, &mut view, devices).await?;
    Ok(view)
}

/// What the commands name; machines by what never changes, and a choice's own by its token. On SQLite those of sessions come
/// with these.
async fn find(tx: &mut Tx, commands: &[Command]) -> Result<Named, StoreError> {
    let mut named = Named::default();
    let mut machines = BTreeSet::new();
    let mut purchases = BTreeSet::new();
    let mut somewhere = BTreeSet::new();
    for command in commands {
        match command {
            Command::Start(_) => {}
            Command::Choose(choose) => {
                named.sessions.insert(choose.session);
                match choose.on {
                    Some((machine, kind)) => {
                        named.machines.insert(machine, kind == MachineKind::Real);
                    }
                    None => {
                        somewhere.insert(choose.session);
                    }
                }
            }
            Command::Reset(reset) => {
                machines.insert(reset.machine);
                named.sessions.insert(reset.session);
                somewhere.insert(reset.session);
            }
            Command::Resolve(resolve) => {
                purchases.insert(resolve.purchase);
            }
            Command::Report(report) => {
                purchases.insert(report.purchase);
            }
            Command::Free(machine, _) => {
                machines.insert(*machine);
            }
        }
    }
    let keys: Vec<&[u8; 16]> = machines.iter().map(MachineId::as_bytes).collect();
    for row in KINDS.fetch(tx, &keys).await? {
        let mut c = row.columns();
        named.machines.insert(MachineId(c.uuid()?), is_real(c.int()?));
    }
    if tx.engine() == Engine::Postgres {
        let keys: Vec<&[u8; 16]> = somewhere.iter().map(SessionId::as_bytes).collect();
        for row in SESSIONS_ON.fetch(tx, &keys).await? {
            let mut c = row.columns();
            c.uuid()?;
            named.machines.insert(MachineId(c.uuid()?), is_real(c.int()?));
        }
    }
    let keys: Vec<&[u8; 16]> = purchases.iter().map(PurchaseId::as_bytes).collect();
    for row in PURCHASES_ON.fetch(tx, &keys).await? {
        let mut c = row.columns();
        named.sessions.insert(SessionId(c.uuid()?));
        named.machines.insert(MachineId(c.uuid()?), is_real(c.int()?));
    }
    named.purchases = purchases;
    Ok(named)
}

fn is_real(kind: i64) -> bool {
    kind == MachineKind::Real as i64
}

/// After the locks: a call that came at the same time elsewhere, and was first, is seen.
async fn chosen_before(tx: &mut Tx, commands: &[Command]) -> Result<Vec<PurchaseId>, StoreError> {
    let mut rows = CHOSEN.rows(0);
    for command in commands {
        if let Command::Choose(choose) = command {
            rows.push([(&choose.caller).into(), (&choose.request_id).into()]);
        }
    }
    rows.fetch(tx).await?.iter().map(|row| Ok(PurchaseId(row.columns().uuid()?))).collect()
}

/// The product whose central stock or whose being on sale a command may need.
fn product_of(command: &Command, view: &View) -> Option<vend_core::id::ProductId> {
    let held = |purchase: &&Purchase| purchase.kind == MachineKind::Virtual && purchase.holds_unit;
    match command {
        Command::Choose(choose) => Some(choose.product),
        Command::Report(report) => {
            let may_fail =
                matches!(report.done, JobDone::Declined(_) | JobDone::Unknown { .. } | JobDone::Said(_));
            let purchase = view.purchases.get(&report.purchase).filter(held)?;
            (may_fail && purchase.state != PurchaseState::Voiding).then_some(purchase.product)
        }
        Command::Reset(reset) => {
            let session: &Session = view.sessions.get(&reset.session)?;
            Some(view.purchases.get(&session.purchase?).filter(held)?.product)
        }
        Command::Resolve(resolve) => Some(view.purchases.get(&resolve.purchase).filter(held)?.product),
        Command::Start(_) | Command::Free(..) => None,
    }
}

/// Sessions by (caller, request id).
static STARTED: Bulk = Bulk::new(
    "WITH input (whose, its_id) AS (",
    &[Text, Bytes],
    concat!(
        ") SELECT ",
        session_columns!(),
        " FROM input i CROSS JOIN sessions s WHERE s.caller = i.whose AND s.request_id = i.its_id"
    ),
);

/// The sessions that these calls had begun before.
pub(super) async fn started_before<'k>(
    on: &mut crate::store::Session,
    keys: impl IntoIterator<Item = (&'k str, &'k Uuid)>,
) -> Result<Vec<Session>, StoreError> {
    let mut rows = STARTED.rows(0);
    for (caller, request_id) in keys {
        rows.push([caller.into(), request_id.into()]);
    }
    rows.fetch(on).await?.iter().map(|row| session(&mut row.columns())).collect()
}
