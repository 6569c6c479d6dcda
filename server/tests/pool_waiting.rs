//! Who waits for a machine, on both engines: in order, up to a bound, and no longer than the server is there.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, reason};
use server::operations::pool::PoolSettings;
use std::sync::Arc;
use std::time::Duration;
use support::{Hall, any, attentive, machine, machine_of};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;
use vendfleet_proto::v1;

on_both_engines! {
    who_waits_longest_is_served_first,
    the_queue_is_bounded_and_left_by_who_gives_up,
    a_full_queue_keeps_nobody_from_what_is_idle_for_it,
    who_comes_later_does_not_overtake,
    a_lease_that_ends_serves_who_waits,
    a_drain_tells_whoever_waits_to_ask_elsewhere,
}

fn metadata(status: &tonic::Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

fn waiting(wait_ms: u32) -> v1::StartWorkRequest {
    v1::StartWorkRequest { wait_ms, ..any() }
}

/// A caller that waits, once it stands in the queue.
async fn queue_up(
    hall: &Arc<Hall>,
    request: v1::StartWorkRequest,
) -> tokio::task::JoinHandle<Result<v1::StartWorkResponse, tonic::Status>> {
    let before = hall.deps.pool.waiting_callers();
    let (other, hall) = (Arc::clone(hall), Arc::clone(hall));
    let caller = tokio::spawn(async move { other.start(request).await });
    until(|| hall.deps.pool.waiting_callers() > before).await;
    caller
}

async fn until(met: impl Fn() -> bool) {
    let deadline = Duration::from_secs(20);
    let look = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(deadline, look).await.expect("the condition is met in time");
}

async fn who_waits_longest_is_served_first(stage: Stage) {
    let hall = Arc::new(Hall::with(&stage, &attentive()));
    let cola = stage.product("COLA", 50).await;
    machine(&stage, "one").await;
    let mut present = hall.begin().await;
    let mut line = Vec::new();
    for _ in 0..4 {
        line.push(queue_up(&hall, waiting(30_000)).await);
    }
    for (at, next) in line.into_iter().enumerate() {
        assert_eq!(hall.deps.pool.waiting_callers(), 4 - at);
        hall.buy(&present, &cola).await;
        hall.work().await;
        present = next.await.unwrap().unwrap();
    }
    assert_eq!(hall.deps.pool.waiting_callers(), 0);
}

async fn the_queue_is_bounded_and_left_by_who_gives_up(stage: Stage) {
    let hall = Arc::new(Hall::with(&stage, &PoolSettings { max_waiting_callers: 2, ..attentive() }));
    machine(&stage, "one").await;
    let held = hall.begin().await;
    let first = queue_up(&hall, waiting(30_000)).await;
    let second = queue_up(&hall, waiting(30_000)).await;
    let full = hall.start(waiting(30_000)).await.unwrap_err();
    assert_eq!(reason(&full), "NO_IDLE_MACHINE");
    let told = |status: &tonic::Status| (metadata(status, "cause"), metadata(status, "fitting"));
    assert_eq!(told(&full), ("QUEUE_FULL".to_owned(), "1".to_owned()));
    first.abort();
    until(|| hall.deps.pool.waiting_callers() < 2).await;
    let over = hall.start(waiting(30)).await.unwrap_err();
    assert_eq!(told(&over), ("WAIT_OVER".to_owned(), "1".to_owned()));
    hall.reset(&held.session.unwrap()).await.unwrap();
    second.await.unwrap().unwrap();
}

async fn a_full_queue_keeps_nobody_from_what_is_idle_for_it(stage: Stage) {
    let hall = Arc::new(Hall::with(&stage, &PoolSettings { max_waiting_callers: 1, ..attentive() }));
    let of = |group: &str, request: v1::StartWorkRequest| v1::StartWorkRequest {
        group: group.to_owned(),
        ..request
    };
    let south = machine_of(&stage, "s", "south", &[]).await;
    let held = hall.begin().await.session.unwrap();
    let waits = queue_up(&hall, of("south", waiting(30_000))).await;
    let mut north = Vec::new();
    for name in ["n", "o"] {
        north.push(machine_of(&stage, name, "north", &[]).await.machine_id);
    }
    for request in [waiting(30_000), any()] {
        let begun = hall.start(of("north", request)).await.unwrap();
        assert!(north.contains(&begun.session.unwrap().machine_id));
    }
    let full = hall.start(of("north", waiting(30_000))).await.unwrap_err();
    assert_eq!(
        (metadata(&full, "cause"), metadata(&full, "fitting")),
        ("QUEUE_FULL".to_owned(), "2".to_owned())
    );
    hall.reset(&held).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().session.unwrap().machine_id, south.machine_id);
}

async fn who_comes_later_does_not_overtake(stage: Stage) {
    let hall = Arc::new(Hall::with(&stage, &attentive()));
    let north = machine_of(&stage, "n", "north", &[]).await;
    let held = hall.begin().await;
    let wants_south =
        queue_up(&hall, v1::StartWorkRequest { group: "south".to_owned(), ..waiting(30_000) }).await;
    let request = waiting(30_000);
    let wants_any = queue_up(&hall, request.clone()).await;
    // Would not wait, and is told so at once though others go on waiting.
    assert_eq!(reason(&hall.start(any()).await.unwrap_err()), "NO_IDLE_MACHINE");
    hall.reset(&held.session.clone().unwrap()).await.unwrap();
    let begun = wants_any.await.unwrap().unwrap();
    assert_eq!(
        begun.session.clone().unwrap().machine_id,
        north.machine_id,
        "who fits, though another waits longer"
    );
    // A repeat is answered though others wait.
    assert!(hall.start(request).await.unwrap().already_existed);
    let south = machine_of(&stage, "s", "south", &[]).await;
    let begun = wants_south.await.unwrap().unwrap();
    assert_eq!(begun.session.unwrap().machine_id, south.machine_id, "noticed without being woken");
}

async fn a_lease_that_ends_serves_who_waits(stage: Stage) {
    let [here, there] = [1, 2].map(|_| Arc::new(Hall::with(&stage, &attentive())));
    let one = machine(&stage, "one").await;
    here.begin().await;
    let waits = queue_up(&here, waiting(30_000)).await;
    there.pass_time(&one.machine_id).await;
    assert_eq!(waits.await.unwrap().unwrap().session.unwrap().machine_id, one.machine_id);
}

async fn a_drain_tells_whoever_waits_to_ask_elsewhere(stage: Stage) {
    let hall = Arc::new(Hall::with(&stage, &attentive()));
    machine(&stage, "one").await;
    let held = hall.begin().await.session.unwrap();
    let drain = CancellationToken::new();
    tokio::spawn(hall.deps.pool.clone().end_waiting(drain.clone()));
    let waits = queue_up(&hall, waiting(60_000)).await;
    drain.cancel();
    let at_once = tokio::time::timeout(Duration::from_secs(20), waits).await.expect("long before its time");
    let late = hall.start(waiting(60_000)).await;
    for told in [at_once.unwrap(), late] {
        let told = told.unwrap_err();
        assert_eq!((told.code(), reason(&told).as_str()), (Code::Unavailable, "UNAVAILABLE"));
        assert!(told.get_details_retry_info().is_some());
    }
    // What needs no waiting is still done.
    hall.reset(&held).await.unwrap();
    hall.start(waiting(60_000)).await.unwrap();
}
