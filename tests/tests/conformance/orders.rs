//! Orders and central stock: whole or nothing, one order per key, one worker per order, no circle of locks.

use crate::shop::{
    batch, cancel, claim, create, finding, make, product, read, report, said, stock, stock_up, stubborn,
};
use crate::stage::{START_MS, Stage};
use server::domain::ids::OrderId;
use server::domain::order::{Answer, Command, OrderFilter, Refusal, Source, Status, WorkDone};
use server::domain::page::PageRequest;
use server::domain::payment::{Trouble, Verdict};
use server::store::orders::{self, Keys};
use server::store::{End, Engine, StoreError, UniqueKey};
use std::collections::HashSet;
use tokio::task::JoinSet;

pub(crate) async fn an_order_reads_back_as_it_was_decided(stage: &Stage) {
    stock_up(stage, 2, 10).await;
    let made =
        make(&stage.store, &[create("anna", "a", &[(1, 2), (2, 1)]), create("bert", "b", &[(2, 9)])]).await;
    for order in &made {
        assert_eq!(read(stage, order.id).await, *order, "also what the statement writes by itself");
    }
    assert_eq!((stock(stage, 1).await, stock(stage, 2).await), (8, 0));
    let claimed = claim(&stage.store, 10, 30_000).await;
    assert_eq!(claimed.len(), 2);
    for order in &claimed {
        assert_eq!(read(stage, order.id).await, *order);
    }
    let done = [
        report(&claimed[0], WorkDone::Learnt(said(Verdict::Declined, Source::Worker))),
        report(
            &claimed[1],
            WorkDone::Unknown { trouble: Trouble::Timeout, detail: "late".to_owned(), again_in_ms: 5 },
        ),
    ];
    for answer in batch(&stage.store, &done, Keys::TrustNew).await.unwrap() {
        let Answer::Done(order) = answer else { panic!("{answer:?}") };
        assert_eq!(read(stage, order.id).await, order);
    }
    let ids: Vec<OrderId> = made.iter().map(|order| order.id).collect();
    let many = orders::find_many(&mut stage.store.read().await.unwrap(), &ids).await.unwrap();
    assert_eq!(many.len(), 2);
    assert_eq!(stage.count("order_dead_letters").await, 1);
    assert_eq!(stage.number("SELECT COUNT(*) FROM alerts WHERE kind = 'ORDER_UNSETTLED'").await, 1);
    // Two made, two claimed, one failed, one unsettled; the second product fell to its threshold and one alert about the order.
    assert_eq!(stage.number("SELECT COUNT(*) FROM events WHERE shard = 1 AND kind = 2").await, 6);
}

pub(crate) async fn a_batch_of_orders_is_whole_or_nothing(stage: &Stage) {
    stock_up(stage, 1, 10).await;
    make(&stage.store, &[create("anna", "k", &[(1, 1)])]).await;
    let again = [create("bert", "new", &[(1, 2)]), create("anna", "k", &[(1, 3)])];
    let error = batch(&stage.store, &again, Keys::TrustNew).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(UniqueKey::OrderKey)), "{error:?}");
    assert_eq!((stock(stage, 1).await, stage.count("orders").await), (9, 1), "nothing of the batch is kept");
    assert_eq!(stage.number("SELECT position FROM event_heads WHERE shard = 1").await, 1);
    let answers = batch(&stage.store, &again, Keys::LookUp).await.unwrap();
    assert!(matches!(&answers[0], Answer::Created(_)));
    assert!(matches!(&answers[1], Answer::Refused(Refusal::KeyReused { .. })));
    assert_eq!((stock(stage, 1).await, stage.count("orders").await), (7, 2));
}

pub(crate) async fn a_key_makes_one_order_however_many_use_it_at_once(stage: &Stage) {
    stock_up(stage, 3, 1_000).await;
    let mut tasks = JoinSet::new();
    for worker in 0..8_u8 {
        let store = stage.store.clone();
        tasks.spawn(async move {
            let mut made = 0;
            for round in 0..10 {
                // Each its own product first: no common row makes them wait for each other before the key does.
                let lines = [(worker % 3 + 1, 1)];
                let mut commands = vec![
                    create("anna", &format!("k{round}"), &lines),
                    create("anna", &format!("l{round}"), &lines),
                ];
                if worker % 2 == 1 {
                    commands.reverse();
                }
                for answer in stubborn(&store, &commands).await {
                    match answer {
                        Answer::Created(_) => made += 1,
                        Answer::Existing(_) | Answer::Refused(Refusal::KeyReused { .. }) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            made
        });
    }
    let made: i64 = tasks.join_all().await.into_iter().sum();
    assert_eq!((made, stage.count("orders").await), (20, 20));
    assert_eq!(stock(stage, 1).await + stock(stage, 2).await + stock(stage, 3).await, 3_000 - 20);
}

pub(crate) async fn opposite_orders_and_adjustments_never_deadlock(stage: &Stage) {
    const ROUNDS: i64 = 15;
    stock_up(stage, 6, 10_000).await;
    let mut tasks = JoinSet::new();
    for worker in 0..4_u8 {
        let store = stage.store.clone();
        tasks.spawn(async move {
            let mut products: Vec<u8> = (1..=6).collect();
            products.rotate_left(usize::from(worker));
            if worker % 2 == 1 {
                products.reverse();
            }
            let customer = format!("c{worker}");
            for round in 0..ROUNDS {
                let lines: Vec<(u8, u32)> = products.iter().map(|n| (*n, 2)).collect();
                let (first, second) = lines.split_at(3);
                let commands = [
                    create(&customer, &format!("a{round}"), first),
                    create(&customer, &format!("b{round}"), second),
                ];
                let made = make(&store, &commands).await;
                let ends = [cancel(made[0].id), finding(made[1].id, Verdict::Declined)];
                batch(&store, &ends, Keys::TrustNew).await.expect("locks taken in one order");
            }
        });
    }
    let store = stage.store.clone();
    tasks.spawn(async move {
        for n in (1..=6).rev().cycle().take(60) {
            store
                .run_tx("adjust", (), move |tx, ()| {
                    Box::pin(async move {
                        let row = server::store::catalog::lock(tx, product(n)).await?.unwrap();
                        let sql = "UPDATE products SET stock = $2 WHERE product_id = $1";
                        tx.execute(sql, &[(&product(n).0).into(), (row.stock + 1).into()]).await?;
                        Ok(End::Commit(()))
                    })
                })
                .await
                .unwrap();
        }
    });
    tasks.join_all().await;
    assert_eq!(stage.store.counts().conflicts.load(std::sync::atomic::Ordering::Relaxed), 0);
    for n in 1..=6 {
        assert_eq!(stock(stage, n).await, 10_010, "all of it was given back, and the adjustments are there");
    }
}

pub(crate) async fn an_order_is_claimed_by_one_worker(stage: &Stage) {
    stock_up(stage, 1, 1_000).await;
    let commands: Vec<Command> = (0..60).map(|n| create("anna", &format!("k{n}"), &[(1, 1)])).collect();
    make(&stage.store, &commands).await;
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let store = stage.store.clone();
        tasks.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = claim(&store, 7, 60_000).await;
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(
                    claimed.into_iter().map(|order| (order.id, order.state.fence, order.state.status)),
                );
            }
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<OrderId> = claimed.iter().map(|(id, ..)| *id).collect();
    assert_eq!((claimed.len(), distinct.len()), (60, 60));
    assert!(claimed.iter().all(|(_, fence, status)| (*fence, *status) == (1, Status::Processing)));
    assert_eq!(stage.number("SELECT COUNT(*) FROM events WHERE shard = 1 AND kind = 2").await, 120);
}

pub(crate) async fn a_lease_that_is_over_is_claimed_anew_with_a_higher_fence(stage: &Stage) {
    stock_up(stage, 1, 10).await;
    make(&stage.store, &[create("anna", "k", &[(1, 1)])]).await;
    let first = claim(&stage.store, 1, 60_000).await.remove(0);
    assert!(claim(&stage.store, 1, 60_000).await.is_empty(), "held");
    stage.execute("UPDATE orders SET due_at_ms = 2").await;
    let second = claim(&stage.store, 1, 60_000).await.remove(0);
    assert!(second.state.fence > first.state.fence);
    let unknown = |order| {
        report(
            order,
            WorkDone::Unknown { trouble: Trouble::Error, detail: String::new(), again_in_ms: 9_000 },
        )
    };
    let answers = batch(&stage.store, &[unknown(&first)], Keys::TrustNew).await.unwrap();
    assert_eq!(answers, [Answer::Stale]);
    assert_eq!(read(stage, second.id).await, second);
    batch(&stage.store, &[unknown(&second)], Keys::TrustNew).await.unwrap();
    let due = read(stage, second.id).await.state.due_at_ms;
    // PostgreSQL has a clock of its own, and leases are read on it alone.
    match stage.store.engine() {
        Engine::Sqlite => assert_eq!(due, START_MS + 9_000),
        Engine::Postgres => assert!(due > START_MS + 9_000, "{due}"),
    }
}

pub(crate) async fn a_steady_stream_of_new_orders_keeps_no_old_one_waiting(stage: &Stage) {
    stock_up(stage, 1, 1_000).await;
    let commands: Vec<Command> = (0..4).map(|n| create("anna", &format!("old{n}"), &[(1, 1)])).collect();
    make(&stage.store, &commands).await;
    assert_eq!(claim(&stage.store, 4, 60_000).await.len(), 4);
    stage.execute("UPDATE orders SET due_at_ms = 2").await;
    let commands: Vec<Command> = (0..10).map(|n| create("anna", &format!("new{n}"), &[(1, 1)])).collect();
    make(&stage.store, &commands).await;
    let again = |claimed: &[server::domain::order::Order]| {
        claimed.iter().filter(|order| order.state.fence > 1).count()
    };
    let claimed = claim(&stage.store, 6, 60_000).await;
    assert_eq!((claimed.len(), again(&claimed)), (6, 3));
    let claimed = claim(&stage.store, 6, 60_000).await;
    assert_eq!((claimed.len(), again(&claimed)), (6, 1), "what one leaves is the other's");
}

pub(crate) async fn what_is_given_back_fits_above_the_limit_of_adjustments(stage: &Stage) {
    stock_up(stage, 1, 1_000_000_000).await;
    let order = make(&stage.store, &[create("anna", "k", &[(1, 5)])]).await.remove(0);
    stage.execute("UPDATE products SET stock = 1000000000").await;
    batch(&stage.store, &[cancel(order.id)], Keys::TrustNew).await.unwrap();
    assert_eq!(stock(stage, 1).await, 1_000_000_005);
}

pub(crate) async fn a_claim_and_a_cancel_can_not_both_win(stage: &Stage) {
    stock_up(stage, 1, 1_000).await;
    let commands: Vec<Command> = (0..40).map(|n| create("anna", &format!("k{n}"), &[(1, 1)])).collect();
    let made = make(&stage.store, &commands).await;
    let mut cancels = JoinSet::new();
    for order in made {
        let store = stage.store.clone();
        cancels.spawn(
            async move { batch(&store, &[cancel(order.id)], Keys::TrustNew).await.unwrap().remove(0) },
        );
    }
    let mut claimed = HashSet::new();
    let mut cancelled = 0;
    while let Some(answer) = cancels.join_next().await {
        match answer.unwrap() {
            Answer::Cancelled { .. } => cancelled += 1,
            Answer::Refused(Refusal::NotCancellable { status: Status::Processing, .. }) => {}
            other => panic!("{other:?}"),
        }
        claimed.extend(claim(&stage.store, 1, 60_000).await.into_iter().map(|order| order.id));
    }
    claimed.extend(claim(&stage.store, 100, 60_000).await.into_iter().map(|order| order.id));
    assert_eq!(claimed.len() + cancelled, 40);
    assert_eq!(stock(stage, 1).await, 1_000 - i64::try_from(claimed.len()).unwrap());
    assert_eq!(stage.number("SELECT COUNT(*) FROM orders WHERE status = 5 AND fence > 0").await, 0);
}

pub(crate) async fn a_fact_is_noted_once(stage: &Stage) {
    stock_up(stage, 1, 10).await;
    let order = make(&stage.store, &[create("anna", "k", &[(1, 1)])]).await.remove(0);
    let twice = [finding(order.id, Verdict::Declined), finding(order.id, Verdict::Declined)];
    batch(&stage.store, &twice, Keys::TrustNew).await.unwrap();
    batch(&stage.store, &twice[..1], Keys::TrustNew).await.unwrap();
    assert_eq!((stage.count("payment_facts").await, stock(stage, 1).await), (1, 10));
    assert_eq!(read(stage, order.id).await.state.status, Status::Failed);
}

pub(crate) async fn orders_are_listed_by_their_filter_in_pages(stage: &Stage) {
    stock_up(stage, 1, 1_000).await;
    let mut commands = Vec::new();
    for n in 0..30 {
        commands.push(create(if n % 3 == 0 { "anna" } else { "bert" }, &format!("k{n}"), &[(1, 1)]));
    }
    let made = make(&stage.store, &commands).await;
    batch(&stage.store, &[cancel(made[0].id), cancel(made[29].id)], Keys::TrustNew).await.unwrap();
    let pages = async |filter: OrderFilter| {
        let mut listed: Vec<OrderId> = Vec::new();
        let mut after = None;
        loop {
            let page = PageRequest { size: 4, after };
            let mut session = stage.store.read().await.unwrap();
            let mut rows = orders::list(&mut session, &filter, &page).await.unwrap();
            let more = rows.len() > 4;
            rows.truncate(4);
            listed.extend(rows.iter().map(|order| order.id));
            after = rows.last().map(|order| order.id.0);
            if !more {
                return listed;
            }
        }
    };
    let expected = |keep: &dyn Fn(usize) -> bool| -> Vec<OrderId> {
        let mut ids: Vec<OrderId> = (0..30).filter(|n| keep(*n)).map(|n| made[n].id).collect();
        ids.sort_unstable();
        ids.reverse();
        ids
    };
    let anna = Some("anna".to_owned());
    let gone = |n: usize| n == 0 || n == 29;
    assert_eq!(pages(OrderFilter::default()).await, expected(&|_| true));
    let own = OrderFilter { customer: anna.clone(), ..OrderFilter::default() };
    assert_eq!(pages(own).await, expected(&|n| n % 3 == 0));
    let statuses = vec![Status::Cancelled, Status::Paid];
    let cancelled = OrderFilter { statuses, ..OrderFilter::default() };
    assert_eq!(pages(cancelled.clone()).await, expected(&gone));
    assert_eq!(pages(OrderFilter { customer: anna, ..cancelled }).await, expected(&|n| n == 0));
    let unsettled = OrderFilter { unsettled_only: true, ..OrderFilter::default() };
    assert_eq!(pages(unsettled).await, []);
}
