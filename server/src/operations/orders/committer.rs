//! The group commit of commands about orders: what a batch of them loads, folds and writes.
//!
//! Orders of a product always go to the same lane of a replica, so a hot product is one batch after the other and nobody waits
//! for its row. Lanes and replicas meet in the database: products are locked in one order, and a key that two of them use
//! at once is taken by the first commit; the other batch is tried again and sees that order.

use crate::context::Context;
use crate::domain::ids::OrderId;
use crate::domain::order::{self, Answer, Command, OpenOrders, Refusal, Writes};
use crate::operations::commit::{Answers, HotWrite};
use crate::operations::deps::ContextIds;
use crate::store::orders::{self as store, Keys};
use crate::store::{Store, StoreError, Tx, UniqueKey};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

pub(super) struct OrderWrite {
    store: Store,
    context: Context,
    committed: Arc<watch::Sender<u64>>,
    most_open: OpenOrders,
}

impl OrderWrite {
    pub(super) fn new(
        store: &Store,
        context: &Context,
        committed: Arc<watch::Sender<u64>>,
        most_open: OpenOrders,
    ) -> Self {
        Self { store: store.clone(), context: context.clone(), committed, most_open }
    }
}

/// A create goes where the others of its first product (by id) go, anything else where its order goes.
pub(super) fn lane_of(command: &Command) -> u64 {
    // The low half of a UUIDv7 is random.
    let low_half = |id: Uuid| id.as_u64_pair().1;
    let of_order = |order: &OrderId| low_half(order.0);
    match command {
        Command::Create(create) => {
            let first = create.new.lines.iter().map(|line| line.product.0).min().unwrap_or_default();
            low_half(Uuid::from_bytes(first))
        }
        Command::Cancel(cancel) => of_order(&cancel.order),
        Command::Report(report) => of_order(&report.order),
        Command::Finding(finding) => of_order(&finding.order),
        Command::Redrive(redrive) => of_order(&redrive.order),
    }
}

impl HotWrite for OrderWrite {
    type Call = Command;
    type Answer = Answer;
    /// Commands about one order or product are folded one after the other.
    type Key = Infallible;

    const WHAT: &'static str = "orders";

    fn weight(command: &Command) -> usize {
        match command {
            Command::Create(create) => create.new.lines.len(),
            _ => 1,
        }
    }

    async fn commit_once(&self, calls: &[Command], checked: bool) -> Result<Answers<Self>, StoreError> {
        let keys = if checked { Keys::LookUp } else { Keys::TrustNew };
        let mut hot = self.store.begin_hot().await?;
        let tx = hot.tx();
        let mut view = store::load(tx, calls, keys, self.context.now_ms()).await?;
        if self.most_open != OpenOrders::UNLIMITED {
            store::load_open(tx, calls, &mut view).await?;
            view.most_open = self.most_open;
        }
        let mut writes = Writes::default();
        let mut ids = ContextIds(&self.context);
        let mut answers: Vec<Answer> =
            calls.iter().map(|command| order::fold(&mut view, command, &mut ids, &mut writes)).collect();
        if keys == Keys::TrustNew {
            replace_repeats(tx, calls, &mut answers).await?;
        }
        if store::is_nothing(&view, &writes) {
            hot.roll_back().await?;
        } else {
            store::write(tx, &view, &writes).await.map_err(|error| match error {
                // Somebody has made it since this batch looked: it is there at the next look.
                StoreError::Taken(UniqueKey::OrderKey) if checked => StoreError::Conflict(error.into()),
                error => error,
            })?;
            hot.commit().await?;
            self.committed.send_modify(|commits| *commits = commits.wrapping_add(1));
        }
        Ok(answers.into_iter().map(Ok).collect())
    }

    /// Some key was used before: a checked batch loads by which order.
    fn needs_check(error: &StoreError) -> bool {
        matches!(error, StoreError::Taken(UniqueKey::OrderKey))
    }
}

/// A create that is refused may be the repeat of one that was done, whose answer is that order. A refusal has changed nothing,
/// so looking now is as good as before; and it costs only those who are refused.
async fn replace_repeats(tx: &mut Tx, calls: &[Command], answers: &mut [Answer]) -> Result<(), StoreError> {
    let refused = |(command, answer): (&'_ Command, &Answer)| match (command, answer) {
        // One whose key was known in the view was told apart already.
        (Command::Create(_), Answer::Refused(Refusal::KeyReused { .. })) => false,
        (Command::Create(_), Answer::Refused(_)) => true,
        _ => false,
    };
    let asked: Vec<&Command> =
        calls.iter().zip(answers.iter()).filter(|pair| refused(*pair)).map(|(command, _)| command).collect();
    let known = store::known_keys(tx, asked).await?;
    if known.is_empty() {
        return Ok(());
    }
    for (command, answer) in calls.iter().zip(answers) {
        if let Command::Create(create) = command
            && refused((command, answer))
            && let Some(order) = known.get(&(create.new.customer.clone(), create.new.key.clone()))
        {
            *answer = order::repeated(order, &create.new);
        }
    }
    Ok(())
}
