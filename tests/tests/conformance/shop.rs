//! Products to order, commands about orders, and the committer's steps by hand.

use crate::stage::{START_MS, Stage};
use server::domain::ids::{Ids, OrderId};
use server::domain::order::{
    Answer, Cancel, Command, Create, Finding, Learnt, LineRequest, NewOrder, Order, Report, Source, WorkDone,
    Writes, fold,
};
use server::domain::payment::Verdict;
use server::domain::share::Shares;
use server::domain::text::Text;
use server::store::orders::{self, Keys};
use server::store::{End, Store, StoreError, UniqueKey};
use uuid::Uuid;
use vend_core::id::ProductId;

pub(crate) struct Fresh;

impl Ids for Fresh {
    fn uuid_v7(&mut self) -> Uuid {
        Uuid::now_v7()
    }
}

pub(crate) fn product(n: u8) -> ProductId {
    ProductId([n; 16])
}

pub(crate) async fn stock_up(stage: &Stage, products: u8, stock: i64) {
    stage
        .store
        .run_tx("test_products", (), move |tx, ()| {
            Box::pin(async move {
                for n in 1..=products {
                    let sql = "INSERT INTO products (product_id, sku, name, currency, price_minor, stock, \
                               low_stock_threshold, created_at_ms, updated_at_ms) VALUES ($1, $2, 'P', 'EUR', 100, $3, 1, 1, 1)";
                    let sku = format!("SKU{n}");
                    tx.execute(sql, &[(&product(n).0).into(), (&sku).into(), stock.into()]).await?;
                }
                Ok(End::Commit(()))
            })
        })
        .await
        .unwrap();
}

pub(crate) fn create(customer: &str, key: &str, lines: &[(u8, u32)]) -> Command {
    let asked: Vec<LineRequest> =
        lines.iter().map(|(n, quantity)| LineRequest { product: product(*n), quantity: *quantity }).collect();
    Command::Create(Create {
        id: OrderId(Uuid::now_v7()),
        new: NewOrder::new(Text::parse(customer).unwrap(), key.to_owned(), &asked).unwrap(),
        at_ms: START_MS,
        trace_id: "trace".to_owned(),
        traceparent: "00-parent".to_owned(),
    })
}

pub(crate) fn cancel(order: OrderId) -> Command {
    let (trace_id, traceparent) = (String::new(), String::new());
    Command::Cancel(Cancel { order, customer: None, at_ms: START_MS, trace_id, traceparent })
}

pub(crate) fn said(verdict: Verdict, source: Source) -> Learnt {
    Learnt {
        verdict,
        gateway_payment_id: "pay-1".to_owned(),
        detail: "words".to_owned(),
        amount: None,
        source,
    }
}

pub(crate) fn finding(order: OrderId, verdict: Verdict) -> Command {
    Command::Finding(Finding { order, learnt: said(verdict, Source::Webhook), at_ms: START_MS })
}

pub(crate) fn report(order: &Order, done: WorkDone) -> Command {
    Command::Report(Report { order: order.id, fence: order.state.fence, attempts: 3, done, at_ms: START_MS })
}

/// The steps of the committer by hand.
pub(crate) async fn batch(
    store: &Store,
    commands: &[Command],
    keys: Keys,
) -> Result<Vec<Answer>, StoreError> {
    let mut hot = store.begin_hot().await?;
    let tx = hot.tx();
    let mut view = orders::load(tx, commands, keys, START_MS).await?;
    let mut writes = Writes::default();
    let answers = commands.iter().map(|c| fold(&mut view, c, &mut Fresh, &mut writes)).collect();
    if orders::is_nothing(&view, &writes) {
        hot.roll_back().await?;
    } else {
        orders::write(tx, &view, &writes).await?;
        hot.commit().await?;
    }
    Ok(answers)
}

/// Tried again as the committer does.
pub(crate) async fn stubborn(store: &Store, commands: &[Command]) -> Vec<Answer> {
    for attempt in 0.. {
        match batch(store, commands, Keys::LookUp).await {
            Ok(answers) => return answers,
            Err(StoreError::Taken(UniqueKey::OrderKey)) => {}
            Err(error) => {
                let pause = store.back_off("test", attempt, &error).unwrap_or_else(|| panic!("{error:?}"));
                tokio::time::sleep(pause).await;
            }
        }
    }
    unreachable!("it ends by an answer")
}

pub(crate) async fn make(store: &Store, commands: &[Command]) -> Vec<Order> {
    let created =
        |answer: Answer| if let Answer::Created(order) = answer { order } else { panic!("{answer:?}") };
    batch(store, commands, Keys::TrustNew).await.unwrap().into_iter().map(created).collect()
}

pub(crate) async fn claim(store: &Store, limit: usize, lease_ms: i64) -> Vec<Order> {
    store
        .run_tx("test_claim", (), move |tx, ()| {
            Box::pin(async move {
                Ok(End::Commit(
                    orders::claim(tx, limit, lease_ms, &Shares::unlimited(), START_MS, &mut Fresh).await?,
                ))
            })
        })
        .await
        .unwrap()
}

pub(crate) async fn read(stage: &Stage, id: OrderId) -> Order {
    orders::find(&mut stage.store.read().await.unwrap(), id).await.unwrap().unwrap()
}

pub(crate) async fn stock(stage: &Stage, n: u8) -> i64 {
    let sql = "SELECT stock FROM products WHERE product_id = $1";
    let mut session = stage.store.read().await.unwrap();
    session.one(sql, &[(&product(n).0).into()]).await.unwrap().columns().int().unwrap()
}
