//! Loading what a batch of commands is decided on.

use super::rows::{ORDER_KINDS, order, order_columns};
use crate::domain::ids::OrderId;
use crate::domain::order::{Command, Learnt, OpenOrders, Order, Status, View, WorkDone};
use crate::domain::payment::Verdict;
use crate::store::bulk::{Bulk, Kind};
use crate::store::keyed::Keyed;
use crate::store::{StoreError, Tx, clock, stock};
use std::collections::{BTreeSet, HashMap};

/// In the order of ids, so that two batches never wait for each other in a circle.
static ORDERS: Keyed =
    Keyed::new(concat!("SELECT ", order_columns!(), " FROM orders WHERE order_id"), &ORDER_KINDS)
        .then_on_postgres("ORDER BY order_id FOR NO KEY UPDATE");

static BY_KEY: Bulk = Bulk::new(
    "WITH input (whose, its_key) AS (",
    &[Kind::Text, Kind::Text],
    concat!(
        ") SELECT ",
        order_columns!(),
        " FROM input i CROSS JOIN orders o WHERE o.customer_id = i.whose AND o.idempotency_key = i.its_key"
    ),
);

/// PENDING and PROCESSING ones: they hold units.
static OPEN: Bulk = Bulk::new(
    "WITH input (whose) AS (",
    &[Kind::Text],
    ") SELECT o.customer_id, COUNT(*), CAST(SUM(o.open_units) AS BIGINT) FROM input i CROSS JOIN orders o \
     WHERE o.customer_id = i.whose AND o.open_units > 0 GROUP BY o.customer_id",
);

/// Whether the keys of new orders are looked up before the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// No: most are new. One that is known makes [`super::write()`] fail with the key taken, and a refused create is only
    /// definite when [`known_keys`] does not have it.
    TrustNew,
    /// Yes.
    LookUp,
}

/// Locks the orders that commands name and the products that may be touched, and loads what the fold needs. An order that
/// does not exist is not in the view. `own_ms` is this server's clock.
pub async fn load(tx: &mut Tx, commands: &[Command], keys: Keys, own_ms: i64) -> Result<View, StoreError> {
    let mut view = View::default();
    let named: BTreeSet<OrderId> = commands.iter().filter_map(order_of).collect();
    let ids: Vec<&[u8; 16]> = named.iter().map(OrderId::as_bytes).collect();
    for row in ORDERS.fetch(tx, &ids).await? {
        let order = order(&row)?;
        view.orders.insert(order.id, order);
    }
    let mut products = BTreeSet::new();
    for command in commands {
        if let Command::Create(create) = command {
            products.extend(create.new.lines.iter().map(|line| line.product));
        } else if let Some(order) = order_of(command).and_then(|id| view.orders.get(&id))
            && may_give_back(command, order)
        {
            products.extend(order.lines.iter().map(|line| line.product));
        }
    }
    view.shelf = stock::lock(tx, &products).await?;
    // After the locks: an order that took the last units while this batch waited for them is seen.
    if keys == Keys::LookUp {
        for (key, order) in known_keys(tx, commands).await? {
            view.keys.insert(key, order.id);
            // One that is locked is already as it is.
            view.orders.entry(order.id).or_insert(order);
        }
    }
    if commands.iter().any(|command| matches!(command, Command::Report(_))) {
        view.clock_ms = clock::clock_ms(tx, own_ms).await?;
    }
    Ok(view)
}

/// Loads what the customers of new orders have open already. Another batch that is under way is not seen: a bound on it may
/// be passed by as many orders as are committed at once.
pub async fn load_open(tx: &mut Tx, commands: &[Command], view: &mut View) -> Result<(), StoreError> {
    let customers: BTreeSet<&str> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Create(create) => Some(create.new.customer.as_str()),
            _ => None,
        })
        .collect();
    let mut rows = OPEN.rows(customers.len());
    for customer in customers {
        rows.push([customer.into()]);
    }
    for row in rows.fetch(tx).await? {
        let mut c = row.columns();
        let (customer, orders, units) = (c.text()?.to_owned(), c.int()?, c.int()?);
        view.open.insert(customer, OpenOrders { orders, units });
    }
    Ok(())
}

/// The orders that creates of these keys made before, by customer and key.
pub async fn known_keys(
    tx: &mut Tx,
    commands: impl IntoIterator<Item = &Command>,
) -> Result<HashMap<(String, String), Order>, StoreError> {
    let mut rows = BY_KEY.rows(0);
    for command in commands {
        if let Command::Create(create) = command {
            rows.push([(&create.new.customer).into(), (&create.new.key).into()]);
        }
    }
    let mut known = HashMap::new();
    for row in rows.fetch(tx).await? {
        let order = order(&row)?;
        known.insert((order.customer.clone(), order.key.clone()), order);
    }
    Ok(known)
}

fn order_of(command: &Command) -> Option<OrderId> {
    match command {
        Command::Create(_) => None,
        Command::Cancel(cancel) => Some(cancel.order),
        Command::Report(report) => Some(report.order),
        Command::Finding(finding) => Some(finding.order),
        Command::Redrive(redrive) => Some(redrive.order),
    }
}

/// Whether a command could end an order without its stock being sold. What has ended is final.
fn may_give_back(command: &Command, order: &Order) -> bool {
    let ends = |learnt: &Learnt| match learnt.verdict {
        Verdict::Declined | Verdict::Voided | Verdict::Refunded => true,
        Verdict::Authorised | Verdict::Captured => false,
    };
    match (order.state.status, command) {
        (Status::Paid | Status::Failed | Status::Cancelled, _) => false,
        (status, Command::Cancel(_)) => status == Status::Pending,
        (_, Command::Report(report)) => matches!(&report.done, WorkDone::Learnt(learnt) if ends(learnt)),
        (_, Command::Finding(finding)) => ends(&finding.learnt),
        (_, Command::Create(_) | Command::Redrive(_)) => false,
    }
}
