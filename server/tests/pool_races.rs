//! Many callers at once, on both engines, also through two replicas: one holder per machine, and every unit accounted for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on stops")]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Stage, reason};
use server::domain::pool::{Answer, JobDone};
use server::operations::pool::PoolSettings;
use server::store::Engine;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use support::{Hall, any, attentive, choice, machine};
use tokio::task::JoinSet;
use vendfleet_proto::v1::{self, PoolState, PurchaseState, SessionState};

on_both_engines! {
    replicas_never_give_one_machine_to_two,
    one_request_id_at_once_is_one_session,
    callers_race_for_the_last_unit,
    usage_stays_fair_under_a_crowd,
    a_reset_ends_each_state,
    a_reset_beats_a_late_job_and_is_repeatable,
    resets_and_jobs_race,
}

/// Two servers on one database, with lanes of their own.
fn replicas(stage: &Stage) -> [Arc<Hall>; 2] {
    [1, 2].map(|lanes| {
        Arc::new(Hall::with(stage, &PoolSettings { lanes, max_batch_commands: 16, ..attentive() }))
    })
}

async fn replicas_never_give_one_machine_to_two(stage: Stage) {
    let halls = replicas(&stage);
    for n in 0..20 {
        machine(&stage, &format!("m{n}")).await;
    }
    let mut callers = JoinSet::new();
    for n in 0..200 {
        let hall = Arc::clone(&halls[n % 2]);
        callers.spawn(async move { hall.start(any()).await });
    }
    let mut held = HashSet::new();
    let mut refused = 0;
    for started in callers.join_all().await {
        match started {
            Ok(begun) => assert!(held.insert(begun.session.unwrap().machine_id), "held by one alone"),
            Err(status) => {
                assert_eq!(reason(&status), "NO_IDLE_MACHINE");
                refused += 1;
            }
        }
    }
    assert_eq!((held.len(), refused), (20, 180), "nobody is refused while one is idle");
}

async fn one_request_id_at_once_is_one_session(stage: Stage) {
    let halls = replicas(&stage);
    let cola = stage.product("COLA", 50).await;
    for n in 0..5 {
        machine(&stage, &format!("m{n}")).await;
    }
    let request = any();
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let (hall, request) = (Arc::clone(&halls[n % 2]), request.clone());
        callers.spawn(async move { hall.start(request).await.unwrap() });
    }
    let begun = callers.join_all().await;
    let sessions: HashSet<String> = begun.iter().map(|b| b.session.clone().unwrap().session_id).collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(begun.iter().filter(|begun| !begun.already_existed).count(), 1);
    let wanted = choice(&begun[0], &cola);
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let (hall, wanted) = (Arc::clone(&halls[n % 2]), wanted.clone());
        callers.spawn(async move { hall.choose(wanted).await.unwrap() });
    }
    let chosen = callers.join_all().await;
    assert_eq!(chosen.iter().filter(|chosen| !chosen.already_existed).count(), 1);
    assert_eq!(halls[0].stock(&cola).await, 49);
}

async fn callers_race_for_the_last_unit(stage: Stage) {
    let halls = replicas(&stage);
    let cola = stage.product("COLA", 3).await;
    let mut begun = Vec::new();
    for n in 0..12 {
        machine(&stage, &format!("m{n}")).await;
        begun.push(halls[0].begin().await);
    }
    let mut callers = JoinSet::new();
    for (n, begun) in begun.into_iter().enumerate() {
        let (hall, cola) = (Arc::clone(&halls[n % 2]), cola.clone());
        callers.spawn(async move { hall.choose(choice(&begun, &cola)).await });
    }
    let results = callers.join_all().await;
    let won = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 3);
    for refused in results.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&refused), "INSUFFICIENT_STOCK");
    }
    assert_eq!(halls[0].stock(&cola).await, 0);
}

async fn usage_stays_fair_under_a_crowd(stage: Stage) {
    let halls = replicas(&stage);
    let cola = stage.product("COLA", 1_000).await;
    for n in 0..6 {
        machine(&stage, &format!("m{n}")).await;
    }
    for _ in 0..10 {
        let mut callers = JoinSet::new();
        for n in 0..6 {
            let (hall, cola) = (Arc::clone(&halls[n % 2]), cola.clone());
            callers.spawn(async move {
                let begun = hall.begin().await;
                hall.buy(&begun, &cola).await;
            });
        }
        callers.join_all().await;
        halls[0].work().await;
        let list = v1::ListMachinesRequest::default();
        let found = vendfleet_proto::v1::fleet_service_server::FleetService::list_machines(
            &stage.fleet,
            fleet_support::operator(list),
        );
        let machines = found.await.unwrap().into_inner().machines;
        let used: Vec<u64> = machines.iter().map(|m| m.pool.as_ref().unwrap().usage_count).collect();
        let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
        assert!(most - least <= 1, "{used:?}");
    }
    assert_eq!(halls[0].stock(&cola).await, 940);
}

async fn a_reset_ends_each_state(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    let one = machine(&stage, "one").await;
    let choosing = hall.begin().await.session.unwrap();
    let done = hall.reset(&choosing).await.unwrap();
    assert_eq!((done.session.unwrap().state(), done.units_returned), (SessionState::Reset, 0));
    assert_eq!(done.machine.unwrap().pool.unwrap().state(), PoolState::Idle);
    assert_eq!(reason(&hall.reset(&choosing).await.unwrap_err()), "MACHINE_ALREADY_IDLE");

    let begun = hall.begin().await;
    hall.buy(&begun, &cola).await;
    let processing = begun.session.unwrap();
    assert_eq!(reason(&hall.reset(&choosing).await.unwrap_err()), "SESSION_ENDED");
    let done = hall.reset(&processing).await.unwrap();
    assert_eq!((done.units_returned, hall.stock(&cola).await), (1, 5));
    let ended = done.session.unwrap();
    assert_eq!(ended.purchase.clone().unwrap().failure(), v1::PurchaseFailure::Reset);
    assert_eq!((ended.state(), ended.usage_count), (SessionState::Reset, 0));
    let stranger = v1::MachineSession { session_id: fleet_support::id(), ..processing.clone() };
    assert_eq!(reason(&hall.reset(&stranger).await.unwrap_err()), "SESSION_NOT_FOUND");
    let nowhere = v1::MachineSession { machine_id: fleet_support::id(), ..processing };
    assert_eq!(reason(&hall.reset(&nowhere).await.unwrap_err()), "MACHINE_NOT_FOUND");

    let expired = hall.begin().await.session.unwrap();
    hall.pass_time(&one.machine_id).await;
    assert_eq!(reason(&hall.reset(&expired).await.unwrap_err()), "MACHINE_ALREADY_IDLE");
}

async fn a_reset_beats_a_late_job_and_is_repeatable(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 5).await;
    machine(&stage, "one").await;
    let begun = hall.begin().await;
    hall.buy(&begun, &cola).await;
    let job = hall.claim().await.pop().unwrap();
    let session = begun.session.unwrap();
    let request_id = fleet_support::id();
    let first = hall.reset_as(&request_id, &session).await.unwrap();
    assert_eq!(hall.report(&job, JobDone::Elapsed).await, Answer::Stale);
    let next = hall.begin().await;
    let again = hall.reset_as(&request_id, &session).await.unwrap();
    assert_eq!((again.session.unwrap().session_id, again.units_returned), (session.session_id.clone(), 1));
    assert_eq!(first.units_returned, 1);
    let next = hall.session(&next.session.unwrap().session_id).await;
    assert_eq!(
        (next.state(), next.usage_count),
        (SessionState::ChooseProduct, 0),
        "the next one is left alone"
    );
    assert_eq!(hall.stock(&cola).await, 5);
}

async fn resets_and_jobs_race(stage: Stage) {
    let halls = replicas(&stage);
    let cola = stage.product("COLA", 100).await;
    machine(&stage, "one").await;
    let (mut completed, mut reset) = (0, 0);
    for _ in 0..20 {
        let begun = halls[0].begin().await;
        halls[0].buy(&begun, &cola).await;
        let session = begun.session.unwrap();
        let (worker, operator) = (Arc::clone(&halls[0]), Arc::clone(&halls[1]));
        let job = tokio::spawn(async move { worker.work().await });
        let ending = session.clone();
        let ended = tokio::spawn(async move { operator.reset(&ending).await });
        job.await.unwrap();
        let ended = ended.await.unwrap();
        let now = halls[0].session(&session.session_id).await;
        match now.purchase.clone().unwrap().state() {
            PurchaseState::Completed => {
                completed += 1;
                assert_eq!(reason(&ended.unwrap_err()), "MACHINE_ALREADY_IDLE");
            }
            PurchaseState::Failed => {
                reset += 1;
                assert_eq!(ended.unwrap().units_returned, 1);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((now.machine_state(), now.usage_count), (PoolState::Idle, completed));
    }
    assert_eq!(
        (completed + reset, halls[0].stock(&cola).await),
        (20, 100 - i64::try_from(completed).unwrap())
    );
}

/// Only PostgreSQL has rows that another transaction holds.
#[tokio::test]
async fn nothing_idle_is_said_only_after_waiting_for_held_rows() {
    let stage = Stage::postgres().await;
    assert_eq!(stage.deps.store.engine(), Engine::Postgres);
    let hall = Arc::new(Hall::new(&stage));
    let one = machine(&stage, "one").await;
    let (hold, mut held) = (tokio::sync::oneshot::channel::<()>(), tokio::sync::mpsc::channel::<()>(1));
    let (let_go, letting_go) = hold;
    let letting_go = Arc::new(tokio::sync::Mutex::new(Some(letting_go)));
    let (store, told) = (stage.deps.store.clone(), held.0.clone());
    let holder = tokio::spawn(async move {
        let input = (one.machine_id.parse::<uuid::Uuid>().unwrap(), told, letting_go);
        store
            .run_tx("test_hold", input, |tx, (machine, told, letting_go)| {
                Box::pin(async move {
                    let sql = "SELECT machine_id FROM pool WHERE machine_id = $1 FOR UPDATE";
                    tx.all(sql, &[machine.into()]).await?;
                    told.send(()).await.unwrap();
                    let waits = letting_go.lock().await.take().unwrap();
                    waits.await.unwrap();
                    Ok(server::store::End::RollBack(()))
                })
            })
            .await
            .unwrap();
    });
    held.1.recv().await.unwrap();
    let asks = {
        let hall = Arc::clone(&hall);
        tokio::spawn(async move { hall.start(any()).await })
    };
    let mut session = stage.deps.store.read().await.unwrap();
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    loop {
        if session.one(waits, &[]).await.unwrap().columns().int().unwrap() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!asks.is_finished());
    let_go.send(()).unwrap();
    holder.await.unwrap();
    asks.await.unwrap().expect("it was idle after all");
}
