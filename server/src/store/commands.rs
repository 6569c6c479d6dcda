//! Numbered commands to real machines. Everything here is done with the machine's `machine_sync` row locked, but for the
//! reads.

use crate::domain::command::{Command, Dispense, Order, Place, State, number_in, purchase_in};
use crate::domain::ids::{MachineId, PurchaseId};
use crate::domain::page::PageRequest;
use crate::domain::pool::Said;
use crate::domain::sync::KnownCommand;
use crate::store::bulk::{Bulk, Kind};
use crate::store::{Arg, Columns, Row, Session, StoreError, Tx, int};
use Kind::{Bool, Bytes, Int, Text};
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::fmt::Write as _;
use vend_core::id::{BootId, Epoch, ProductId};
use vend_core::money::Currency;
use vend_core::record::Body;

const DISPENSE: i64 = 1;
const OUT_OF_SERVICE: i64 = 2;
const RETURN_TO_SERVICE: i64 = 3;

macro_rules! command_columns {
    () => {
        "c.machine_id, c.number, c.state, c.epoch, c.boot_id, c.expires_uptime_ms, c.kind, c.purchase_id, c.slot, \
         c.product_id, c.price_minor, c.currency, c.reason, c.refusal_reason, c.result_seq, c.sent_by, c.created_at_ms, \
         c.handed_out_at_ms, c.expires_at_ms, c.ended_at_ms"
    };
}

/// What [`known`] reads: `command_columns!`, and whether its purchase, if it has one, still waits for it on its machine.
macro_rules! known_columns {
    () => {
        concat!(
            $crate::store::commands::command_columns!(),
            ", NOT EXISTS (SELECT 1 FROM purchases p WHERE p.purchase_id = c.purchase_id \
             AND NOT (p.state IN (3, 4) AND p.holds_machine))"
        )
    };
}

pub(in crate::store) use {command_columns, known_columns};

/// Of `known_columns!`.
pub(in crate::store) const KNOWN_KINDS: [Kind; 21] = [
    Bytes, Int, Int, Bytes, Bytes, Int, Int, Bytes, Int, Bytes, Int, Text, Text, Text, Int, Text, Int, Int,
    Int, Int, Bool,
];

/// Reads `command_columns!`.
fn command(columns: &mut Columns<'_>) -> Result<Command, StoreError> {
    let (machine, number) = (MachineId(columns.uuid()?), columns.number()?);
    let state = State::from_number(columns.int()?).ok_or_else(|| columns.damaged("not a state"))?;
    let (epoch, boot) = (Epoch(columns.array()?), columns.opt_array()?.map(BootId));
    let (expires_uptime_ms, kind) = (columns.number()?, columns.int()?);
    let purchase = columns.opt_uuid()?.map(PurchaseId);
    let slot = columns.number()?;
    let product = columns.opt_array()?.map(ProductId);
    let price_minor = columns.int()?;
    // Empty where there is nothing to pay.
    let currency = Currency::parse(columns.text()?);
    let reason = columns.text()?;
    let order = match (kind, purchase, product.zip(currency)) {
        (DISPENSE, Some(purchase), Some((product, currency))) => {
            Order::Dispense(Dispense { purchase, slot, product, price_minor, currency })
        }
        (OUT_OF_SERVICE, ..) => Order::OutOfService(reason.to_owned()),
        (RETURN_TO_SERVICE, ..) => Order::ReturnToService,
        _ => return Err(columns.damaged("not a command")),
    };
    Ok(Command {
        machine,
        number,
        state,
        epoch,
        boot,
        expires_uptime_ms,
        order,
        refusal: columns.text()?.to_owned(),
        result_seq: columns.number()?,
        sent_by: columns.text()?.to_owned(),
        created_at_ms: columns.int()?,
        handed_out_at_ms: columns.int()?,
        expires_at_ms: columns.int()?,
        ended_at_ms: columns.int()?,
    })
}

/// Reads `known_columns!`.
pub(in crate::store) fn known(row: &Row) -> Result<KnownCommand, StoreError> {
    let mut columns = row.columns();
    Ok(KnownCommand { command: command(&mut columns)?, wanted: columns.bool()? })
}

/// Queues a command under the machine's next number: gives it with that number.
pub async fn queue(tx: &mut Tx, mut command: Command) -> Result<Command, StoreError> {
    let machine = [(&command.machine.0).into()];
    let sql = "UPDATE machine_sync SET has_commands = TRUE, command_number = 1 + \
               CASE WHEN command_number > commands_done_through THEN command_number ELSE commands_done_through END \
               WHERE machine_id = $1";
    tx.execute(sql, &machine).await?;
    let sql = "SELECT command_number FROM machine_sync WHERE machine_id = $1";
    command.number = tx.one(sql, &machine).await?.columns().number()?;
    insert(tx, &[command.clone()]).await?;
    Ok(command)
}

/// Adds commands that have their numbers.
pub async fn insert(tx: &mut Tx, commands: &[Command]) -> Result<(), StoreError> {
    static INSERT: Bulk = Bulk::new(
        "INSERT INTO commands (machine_id, number, state, epoch, boot_id, expires_uptime_ms, kind, purchase_id, slot, \
         product_id, price_minor, currency, reason, sent_by, created_at_ms, expires_at_ms)",
        &[Bytes, Int, Int, Bytes, Bytes, Int, Int, Bytes, Int, Bytes, Int, Text, Text, Text, Int, Int],
        "",
    );
    let mut rows = INSERT.rows(commands.len());
    for command in commands {
        let (kind, dispense, reason) = match &command.order {
            Order::Dispense(dispense) => (DISPENSE, Some(dispense), ""),
            Order::OutOfService(reason) => (OUT_OF_SERVICE, None, reason.as_str()),
            Order::ReturnToService => (RETURN_TO_SERVICE, None, ""),
        };
        rows.push([
            command.machine.as_bytes().into(),
            int(command.number)?.into(),
            (command.state as i64).into(),
            (&command.epoch.0).into(),
            command.boot.as_ref().map(|boot| &boot.0).into(),
            int(command.expires_uptime_ms)?.into(),
            kind.into(),
            dispense.map(|dispense| dispense.purchase.as_bytes()).into(),
            dispense.map_or(0, |dispense| dispense.slot).into(),
            dispense.map(|dispense| &dispense.product.0).into(),
            dispense.map_or(0, |dispense| dispense.price_minor).into(),
            dispense.map_or("", |dispense| dispense.currency.as_str()).into(),
            reason.into(),
            (&command.sent_by).into(),
            command.created_at_ms.into(),
            command.expires_at_ms.into(),
        ]);
    }
    rows.write(tx).await?;
    Ok(())
}

/// How many commands of a machine may still be handed out.
pub async fn count_open(session: &mut Session, machine: MachineId) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM commands WHERE machine_id = $1 AND (state = 1 OR state = 2 OR state = 6)";
    session.one(sql, &[(&machine.0).into()]).await?.columns().int()
}

/// A record that counts late says what became of a command: noted as a Sync would, and its purchase is looked at. The machine's
/// hot row is locked.
pub async fn hear(
    tx: &mut Tx,
    machine: MachineId,
    (seq, body): (u64, &Body),
    at_ms: i64,
) -> Result<(), StoreError> {
    let number = number_in(body);
    if number == 0 {
        return Ok(());
    }
    let own: Vec<_> = purchase_in(body).map(|purchase| (machine, purchase)).into_iter().collect();
    let mut about = of_purchases(tx, &own).await?;
    let is_own = about.iter().any(|known| known.command.number == number);
    if !is_own {
        about.extend(named(tx, &[(machine, number)]).await?);
    }
    about.retain_mut(|known| known.command.hear(body, seq, at_ms));
    let purchases: Vec<PurchaseId> = about.iter().filter_map(|known| known.command.purchase()).collect();
    super::pool::tell(tx, &[], &purchases, at_ms).await?;
    super::sync::commands::write_commands(tx, &about.iter().collect::<Vec<_>>()).await
}

/// What machines have said of these dispense commands; those of which nothing is known are left out.
pub async fn said(
    session: &mut Session,
    commands: &[(MachineId, u64)],
) -> Result<HashMap<(MachineId, u64), Said>, StoreError> {
    let mut found = HashMap::new();
    for known in named(session, commands).await? {
        let command = known.command;
        if let Some(said) = command.said() {
            found.insert((command.machine, command.number), said);
        }
    }
    Ok(found)
}

/// The commands of these names.
pub(in crate::store) async fn named(
    session: &mut Session,
    commands: &[(MachineId, u64)],
) -> Result<Vec<KnownCommand>, StoreError> {
    static NAMED: Bulk = Bulk::new(
        "WITH input (machine_id, number) AS (",
        &[Bytes, Int],
        concat!(
            ") SELECT ",
            known_columns!(),
            " FROM input i CROSS JOIN commands c WHERE c.machine_id = i.machine_id AND c.number = i.number"
        ),
    );
    let mut rows = NAMED.rows(commands.len());
    for (machine, number) in commands {
        rows.push([machine.as_bytes().into(), int(*number)?.into()]);
    }
    rows.fetch(session).await?.iter().map(known).collect()
}

/// The commands that these purchases have now.
pub(in crate::store) async fn of_purchases(
    session: &mut Session,
    purchases: &[(MachineId, PurchaseId)],
) -> Result<Vec<KnownCommand>, StoreError> {
    static OF_PURCHASES: Bulk = Bulk::new(
        "WITH input (machine_id, purchase_id) AS (",
        &[Bytes, Bytes],
        concat!(
            ") SELECT ",
            known_columns!(),
            " FROM input i CROSS JOIN purchases u CROSS JOIN commands c \
             WHERE u.purchase_id = i.purchase_id AND u.machine_id = i.machine_id AND c.machine_id = i.machine_id \
             AND c.number = u.command_number AND c.purchase_id = i.purchase_id"
        ),
    );
    let mut rows = OF_PURCHASES.rows(purchases.len());
    for (machine, purchase) in purchases {
        rows.push([machine.as_bytes().into(), purchase.as_bytes().into()]);
    }
    rows.fetch(session).await?.iter().map(known).collect()
}

/// One command.
pub async fn find(
    session: &mut Session,
    machine: MachineId,
    number: u64,
) -> Result<Option<Command>, StoreError> {
    Ok(named(session, &[(machine, number)]).await?.pop().map(|known| known.command))
}

/// Commands, newest first, as far as they are at `now_ms`.
pub async fn list(
    session: &mut Session,
    machine: Option<MachineId>,
    state: Option<State>,
    page: &PageRequest<Place>,
    now_ms: i64,
) -> Result<Vec<Command>, StoreError> {
    let mut args: Vec<Arg<'_>> = vec![page.limit().into()];
    let mut sql = concat!("SELECT ", command_columns!(), " FROM commands c WHERE TRUE").to_owned();
    if let Some((created, (after, number))) = &page.after {
        args.extend([Arg::Int(*created), after.into(), Arg::Int(*number)]);
        sql.push_str(" AND (c.created_at_ms, c.machine_id, c.number) < ($2, $3, $4)");
    }
    if let Some(machine) = &machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND c.machine_id = ${}", args.len());
    }
    if let Some(state) = state {
        let condition = at(state, args.len() + 1);
        // A statement is given just what it names.
        if condition.contains('$') {
            args.push(now_ms.into());
        }
        let _ = write!(sql, " AND {condition}");
    }
    sql.push_str(" ORDER BY c.created_at_ms DESC, c.machine_id DESC, c.number DESC LIMIT $1");
    let rows = session.all(AssertSqlSafe(sql), &args).await?;
    rows.iter().map(|row| command(&mut row.columns())).collect()
}

/// [`Command::state_at`] as a condition; the time is argument `now`.
fn at(state: State, now: usize) -> String {
    let stored = state as i64;
    match state {
        State::Pending | State::HandedOut => format!("c.state = {stored} AND c.expires_at_ms > ${now}"),
        State::Expired => format!("(c.state = {stored} OR (c.state = 1 AND c.expires_at_ms <= ${now}))"),
        State::InDoubt => format!("(c.state = {stored} OR (c.state = 2 AND c.expires_at_ms <= ${now}))"),
        State::Done | State::Refused => format!("c.state = {stored}"),
    }
}
