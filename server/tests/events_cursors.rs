//! Where a reader stands: nothing is missed, nothing comes twice, and what can't be kept is said.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod events_support;
mod fleet_support;

use events_support::{QUIET, Replica, behind, by_shard, greeted, ids, oldest, soon, take, until};
use fleet_support::{Device, Stage, reason};
use server::{
    domain::{
        event::{Cursor, Place},
        ids::{EventId, Incarnation},
    },
    operations::{
        events::{EventSettings, read_after},
        retention::{Retention, sweep},
    },
    store::{
        End,
        events::{NewEvent, ORDER_SHARD, append},
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::StatusExt as _;
use vendfleet_proto::v1::{self, stream_events_response::Message, watch_orders_response::Message as Watched};

on_both_engines! {
    every_cursor_resumes_with_exactly_the_rest,
    pages_from_a_cursor_are_the_stream,
    a_cursor_that_cannot_be_kept_is_said_to_be_lost,
    what_is_trimmed_under_a_reader_is_said,
    a_reader_that_takes_nothing_is_ended_and_misses_nothing_when_it_returns,
    a_reader_that_fell_behind_the_tail_goes_on_from_the_database,
    a_reader_hears_that_nothing_happened_also_while_it_scans_far,
    an_unknown_kind_of_event_ends_no_stream,
    two_replicas_give_one_stream,
    writers_at_once_are_never_missed_and_never_told_twice,
    hundreds_of_watchers_cost_no_read_each,
}

/// Two machines' Syncs between orders that are made, cancelled and stay.
async fn history(stage: &Stage, replica: &Replica) -> Vec<(String, v1::Event)> {
    let product = stage.product("COLA", 100).await;
    let mut devices = Vec::new();
    for name in ["a", "b"] {
        devices.push(Device::new(&stage.machine(name).await, &product));
    }
    for round in 0..3_u32 {
        for device in &mut devices {
            device.vend();
            device.vend();
            device.count(10 - round);
            device.sync(stage).await;
        }
        let order = replica.order("ann", &product, 1 + round).await;
        replica.order("bob", &product, 1).await;
        replica.cancel("ann", &order).await;
    }
    replica.history().await
}

async fn every_cursor_resumes_with_exactly_the_rest(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let history = history(&stage, &replica).await;
    // Per round two Syncs of three records, and three orders' events with a move of stock each; and the product's stock.
    assert_eq!(history.len(), 3 * (2 * 3 + 3 * 2) + 1);
    for (index, (cursor, _)) in history.iter().enumerate() {
        let rest = replica.all(behind(cursor)).await;
        assert_eq!(ids(&rest), ids(&history[index + 1..]), "behind {index}");
        assert_eq!(
            rest.iter().map(|(c, _)| c).collect::<Vec<_>>(),
            history[index + 1..].iter().map(|(c, _)| c).collect::<Vec<_>>()
        );
    }
}

async fn pages_from_a_cursor_are_the_stream(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let history = history(&stage, &replica).await;
    let store = &stage.deps.store;
    let mut cursor = server::operations::events::oldest(store).await.unwrap();
    let mut told: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    loop {
        let page = read_after(store, &cursor).await.unwrap();
        for event in &page.events {
            told.entry(u32::try_from(event.shard).unwrap()).or_default().push(event.name.to_string());
        }
        cursor = page.cursor;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(told, by_shard(&history));
    assert!(read_after(store, &cursor).await.unwrap().events.is_empty());
    let foreign = Cursor { incarnation: Incarnation(uuid::Uuid::nil()), ..cursor };
    let lost = read_after(store, &foreign).await.unwrap_err();
    assert_eq!(lost.reason.name(), "CURSOR_LOST");
}

fn cause(status: &Status) -> (String, String) {
    let info = status.get_details_error_info().unwrap();
    assert!(info.metadata.contains_key("server_incarnation"), "{info:?}");
    (info.reason, info.metadata["cause"].clone())
}

fn lost(cause: &str) -> (String, String) {
    ("CURSOR_LOST".to_owned(), cause.to_owned())
}

async fn a_cursor_that_cannot_be_kept_is_said_to_be_lost(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let history = history(&stage, &replica).await;
    let last = Cursor::parse(&history.last().unwrap().0).unwrap();
    let first = history[0].0.clone();
    let refused =
        async |cursor: &Cursor| cause(&replica.stream(behind(&cursor.to_text())).await.err().unwrap());
    let foreign = Cursor { incarnation: Incarnation(uuid::Uuid::from_u128(5)), ..last.clone() };
    assert_eq!(refused(&foreign).await, lost("INCARNATION"));
    let mut future = last.clone();
    let position = future.place(ORDER_SHARD).position + 1;
    future.places.insert(ORDER_SHARD, Place { position, within: 0 });
    assert_eq!(refused(&future).await, lost("FUTURE"));
    let mut nowhere = last.clone();
    nowhere.places.insert(7, Place::behind(1));
    assert_eq!(refused(&nowhere).await, lost("FUTURE"));
    let watched = replica.watch("ann", &future.to_text()).await.err().unwrap();
    assert_eq!(cause(&watched), lost("FUTURE"));
    // All of it gets too old, but for one order.
    stage.clock.advance(Duration::from_secs(10));
    let product = stage.product("CHIPS", 1).await;
    let keep = Retention { keep_ms: 5_000, keep_purchases_ms: 0, batch_rows: 100 };
    sweep(&stage.deps, keep, &CancellationToken::new()).await.unwrap();
    let old = replica.stream(behind(&first)).await.err().unwrap();
    assert_eq!(cause(&old), lost("TOO_OLD"));
    let rest = replica.all(behind(&last.to_text())).await;
    assert_eq!(rest.len(), 1, "who had dealt with all that was trimmed has lost nothing");
    assert_eq!(rest[0].1.subject, product.product_id);
    assert_eq!(ids(&replica.history().await), ids(&rest));
}

async fn what_is_trimmed_under_a_reader_is_said(stage: Stage) {
    // One page at a time waits for the reader: the first is in hand when the rest goes.
    let replica = Replica::of(&stage, EventSettings { buffer_events: 1, ..QUIET });
    let product = stage.product("COLA", 1_000).await;
    for _ in 0..300 {
        replica.order("ann", &product, 1).await;
    }
    let mut stream = replica.stream(oldest()).await.unwrap();
    let first = take(&mut stream, 1).await;
    stage.clock.advance(Duration::from_secs(10));
    let keep = Retention { keep_ms: 5_000, keep_purchases_ms: 0, batch_rows: 1_000 };
    sweep(&stage.deps, keep, &CancellationToken::new()).await.unwrap();
    let mut told = first;
    let end = loop {
        match soon(stream.next()).await.unwrap() {
            Ok(message) => {
                if let Some(Message::Event(event)) = message.message {
                    told.push((message.cursor, event));
                }
            }
            Err(status) => break status,
        }
    };
    assert_eq!(cause(&end), lost("TOO_OLD"));
    assert!(told.len() < 601, "{}", told.len());
}

async fn a_reader_that_takes_nothing_is_ended_and_misses_nothing_when_it_returns(stage: Stage) {
    let replica = Replica::of(&stage, EventSettings { slow_consumer: Duration::from_millis(50), ..QUIET });
    let product = stage.product("COLA", 1_000).await;
    let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
    let start = greeted(&mut stream).await;
    for _ in 0..20 {
        replica.order("ann", &product, 1).await;
    }
    until("its end", || replica.deps.events.readers() == 0).await;
    let mut told = Vec::new();
    let end = loop {
        match soon(stream.next()).await.expect("an end with a reason") {
            Ok(message) => {
                let Some(Message::Event(event)) = message.message else { panic!() };
                told.push((message.cursor, event));
            }
            Err(status) => break status,
        }
    };
    assert!(soon(stream.next()).await.is_none());
    assert_eq!(reason(&end), "SLOW_CONSUMER");
    let details = end.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["buffer_events"], "1024");
    assert!(details.retry_info().is_some());
    assert!(!told.is_empty() && told.len() < 40, "{}", told.len());
    let rest = replica.all(behind(&told.last().unwrap().0)).await;
    let together = [ids(&told), ids(&rest)].concat();
    assert_eq!(together, ids(&replica.all(behind(&start)).await));
}

async fn a_reader_that_fell_behind_the_tail_goes_on_from_the_database(stage: Stage) {
    let replica = Replica::of(&stage, EventSettings { buffer_events: 4, ..QUIET });
    let product = stage.product("COLA", 1_000).await;
    let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
    let start = greeted(&mut stream).await;
    until("a place in the tail", || replica.deps.events.readers() == 1).await;
    for _ in 0..60 {
        replica.order("ann", &product, 1).await;
    }
    until("its queue to be taken away", || replica.deps.events.readers() == 0).await;
    let mut told = take(&mut stream, 120).await;
    until("a place in the tail again", || replica.deps.events.readers() == 1).await;
    replica.order("ann", &product, 1).await;
    told.extend(take(&mut stream, 2).await);
    assert_eq!(ids(&told), ids(&replica.all(behind(&start)).await));
}

/// Events of a kind that this server does not know.
async fn unknown(stage: &Stage, count: usize) {
    let context = stage.deps.context.clone();
    let appended = stage.deps.store.run_tx("unknown", (context, count), |tx, (context, count)| {
        Box::pin(async move {
            let event = || NewEvent {
                id: EventId(context.new_id()),
                kind: 99,
                machine: None,
                epoch: None,
                first_seq: 0,
                last_seq: 0,
                at_ms: context.now_ms(),
                trace_id: "",
                traceparent: "",
                subject: None,
                customer: None,
                body: None,
            };
            let events: Vec<NewEvent<'_>> = (0..*count).map(|_| event()).collect();
            append(tx, ORDER_SHARD, &events).await?;
            Ok(End::Commit(()))
        })
    });
    appended.await.unwrap();
}

async fn a_reader_hears_that_nothing_happened_also_while_it_scans_far(stage: Stage) {
    let replica = Replica::of(&stage, EventSettings { heartbeat: Duration::ZERO, ..QUIET });
    let product = stage.product("COLA", 10).await;
    let mut live = replica.watch("ann", "").await.unwrap();
    let start = soon(live.next()).await.unwrap().unwrap().cursor;
    unknown(&stage, 25_000).await;
    let order = replica.order("ann", &product, 1).await;
    // Behind the first cursor there are three pages of positions, and what is meant is at the end of the last.
    let mut stream = replica.watch("ann", &start).await.unwrap();
    let mut places = Vec::new();
    loop {
        let message = soon(stream.next()).await.unwrap().unwrap();
        match message.message.unwrap() {
            Watched::Heartbeat(_) => places.push(Cursor::parse(&message.cursor).unwrap().place(ORDER_SHARD)),
            Watched::Order(event) => {
                assert_eq!(event.order.unwrap().order_id, order.order_id);
                break;
            }
        }
    }
    assert!(places.len() >= 2, "{places:?}");
    assert!(places.windows(2).all(|pair| pair[0] <= pair[1]) && places[0] < places[1], "{places:?}");
    // A live stream goes on saying so, and its cursor gets on with what others did.
    replica.order("bob", &product, 1).await;
    let head = server::operations::events::now(&stage.deps.store).await.unwrap();
    let at_head = async {
        loop {
            let message = live.next().await.unwrap().unwrap();
            if Cursor::parse(&message.cursor).unwrap()
                == (Cursor { places: only_orders(&head), ..head.clone() })
            {
                break message;
            }
        }
    };
    assert!(matches!(soon(at_head).await.message, Some(Watched::Heartbeat(_))));
}

fn only_orders(cursor: &Cursor) -> BTreeMap<i64, Place> {
    cursor.places.iter().filter(|(shard, _)| **shard == ORDER_SHARD).map(|(s, p)| (*s, *p)).collect()
}

async fn an_unknown_kind_of_event_ends_no_stream(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
    greeted(&mut stream).await;
    unknown(&stage, 3).await;
    let product = stage.product("COLA", 10).await;
    let told = take(&mut stream, 1).await;
    assert_eq!((told[0].1.subject.as_str(), told[0].1.position), (product.product_id.as_str(), 4));
}

async fn two_replicas_give_one_stream(stage: Stage) {
    let here = Replica::of(&stage, QUIET);
    let there = Replica::on(&stage, stage.another_store().await, QUIET);
    let mut live = there.stream(v1::StreamEventsRequest::default()).await.unwrap();
    greeted(&mut live).await;
    let history = history(&stage, &here).await;
    let told = take(&mut live, history.len()).await;
    assert_eq!(by_shard(&told), by_shard(&history));
    assert_eq!(there.history().await, history, "also when it is read from the beginning");
    // A cursor of one goes on at the other.
    for index in [0, 7, 20] {
        let rest = here.all(behind(&told[index].0)).await;
        assert_eq!(by_shard(&rest), by_shard(&told[index + 1..]));
    }
}

async fn writers_at_once_are_never_missed_and_never_told_twice(stage: Stage) {
    const WRITERS: usize = 6;
    const ORDERS: usize = 25;
    let here = Replica::of(&stage, EventSettings { buffer_events: 8, ..QUIET });
    let there = Replica::on(&stage, stage.another_store().await, QUIET);
    let product = stage.product("COLA", 10_000).await;
    let mut device = Device::new(&stage.machine("m").await, &product);
    let mut streams = Vec::new();
    for replica in [&here, &there] {
        let mut stream = replica.stream(v1::StreamEventsRequest::default()).await.unwrap();
        let start = greeted(&mut stream).await;
        streams.push((stream, start));
    }
    let start = streams[0].1.clone();
    let count = WRITERS * ORDERS * 2 + 10 * 3;
    let writers = async {
        let writer = async |number: usize| {
            let replica = if number.is_multiple_of(2) { &here } else { &there };
            for _ in 0..ORDERS {
                replica.order(&format!("c{number}"), &product, 1).await;
            }
        };
        let syncs = async {
            for _ in 0..10 {
                device.vend();
                device.vend();
                device.vend();
                device.sync(&stage).await;
            }
        };
        tokio::join!(syncs, writer(0), writer(1), writer(2), writer(3), writer(4), writer(5));
    };
    // One that comes back after every few events.
    let restless = async {
        let (mut cursor, mut told) = (start.clone(), Vec::new());
        while told.len() < count {
            let mut stream = there.stream(behind(&cursor)).await.unwrap();
            let some = take(&mut stream, 7.min(count - told.len())).await;
            cursor = some.last().unwrap().0.clone();
            told.extend(some);
        }
        told
    };
    let [(first, _), (second, _)] = &mut streams[..] else { panic!() };
    let ((), restless, first, second) =
        tokio::join!(writers, restless, take(first, count), take(second, count));
    let table = here.all(behind(&start)).await;
    assert_eq!(table.len(), count);
    for told in [restless, first, second] {
        assert_eq!(by_shard(&told), by_shard(&table));
    }
    let positions: Vec<u64> = table.iter().filter(|(_, e)| e.shard == 1).map(|(_, e)| e.position).collect();
    assert!(positions.is_sorted());
}

async fn hundreds_of_watchers_cost_no_read_each(stage: Stage) {
    let replica = Replica::of(&stage, QUIET);
    let product = stage.product("COLA", 10_000).await;
    let mut watchers = Vec::new();
    for number in 0..300 {
        let mut stream = replica.watch(&format!("c{number}"), "").await.unwrap();
        soon(stream.next()).await.unwrap().unwrap();
        watchers.push(stream);
    }
    until("all of them", || replica.deps.events.readers() == 300).await;
    let before = replica.deps.events.pages_read();
    for number in 0..40 {
        replica.order(&format!("c{}", number * 7), &product, 1).await;
    }
    for number in 0..40 {
        let message = soon(watchers[number * 7].next()).await.unwrap().unwrap();
        assert!(matches!(message.message, Some(Watched::Order(_))));
    }
    let read = replica.deps.events.pages_read() - before;
    assert!((1..=40).contains(&read), "{read} pages for 40 commits and 300 watchers");
    drop(watchers);
    until("them to be gone", || replica.deps.events.readers() == 0).await;
}
