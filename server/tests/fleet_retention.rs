//! What a server forgets, and what it never does.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

#[macro_use]
mod fleet_support;
#[path = "pool_support/mod.rs"]
mod support;

use fleet_support::{Device, Stage, operator, reason, refused};
use server::{
    config::Config,
    context::Context,
    operations::retention::{Retention, Swept, sweep},
    serve::start,
};
use std::time::Duration;
use support::{Hall, any, choice, machine, service};
use tokio_util::sync::CancellationToken;
use vend_core::record::{Body, CommandResult};
use vendfleet_proto::v1::{
    self, PurchaseState, fleet_service_server::FleetService as _,
    orchestrator_service_server::OrchestratorService as _,
};

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;
const KEEP: Retention = Retention { keep_ms: 400 * DAY_MS, keep_purchases_ms: 400 * DAY_MS, batch_rows: 2 };

on_both_engines! {
    bodies_and_events_go_when_they_are_old_and_marks_stay,
    a_sweep_ends_between_two_transactions_when_the_server_drains,
    purchases_go_when_they_are_old_and_never_before_their_request_ids,
    what_an_operator_commanded_goes_when_it_is_over,
}

async fn sold(stage: &Stage) -> Device {
    let product = stage.product("COLA", 100).await;
    let mut device = Device::new(&stage.machine("m").await, &product);
    for _ in 0..3 {
        device.vend();
    }
    device.sync(stage).await;
    device
}

async fn bodies_and_events_go_when_they_are_old_and_marks_stay(stage: Stage) {
    let mut device = sold(&stage).await;
    let machine_id = device.machine.to_string();
    let stop = CancellationToken::new();
    stage.clock.advance(DAY * 29);
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap(), Swept::default());
    stage.clock.advance(DAY * 370);
    let request_ids = sweep(&stage.deps, KEEP, &stop).await.unwrap();
    assert_eq!(request_ids, Swept { request_ids: 2, ..Swept::default() });
    stage.clock.advance(DAY * 2);
    let old = sweep(&stage.deps, KEEP, &stop).await.unwrap();
    assert_eq!(old, Swept { records: 4, events: 2, ..Swept::default() });
    assert_eq!(stage.transactions(&machine_id).await.len(), 0);
    assert_eq!(stage.epochs(&machine_id).await[&device.epoch_hex()].durable_through, 4);
    device.vend();
    assert_eq!(device.sync(&stage).await.durable_through, 5, "the journal goes on behind what was forgotten");
}

async fn a_sweep_ends_between_two_transactions_when_the_server_drains(stage: Stage) {
    sold(&stage).await;
    stage.clock.advance(DAY * 401);
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap(), Swept { records: 2, ..Swept::default() });
}

async fn purchases_go_when_they_are_old_and_never_before_their_request_ids(stage: Stage) {
    let hall = Hall::new(&stage);
    let cola = stage.product("COLA", 50).await;
    let machine_id = machine(&stage, "one").await.machine_id;
    let wish = any();
    let begun = hall.start(wish.clone()).await.unwrap();
    let wanted = choice(&begun, &cola);
    let bought = hall.choose(wanted.clone()).await.unwrap().purchase.unwrap();
    hall.make_due().await;
    hall.work().await;
    let session_id = begun.session.clone().unwrap().session_id;
    assert_eq!(hall.session(&session_id).await.purchase.unwrap().state(), PurchaseState::Completed);
    let given_back = hall.begin().await.session.unwrap();
    hall.reset(&given_back).await.unwrap();

    // Whatever is asked for, what is in these rows is kept as long as request ids are.
    let keep = Retention { keep_purchases_ms: 0, batch_rows: 100, ..KEEP };
    let stop = CancellationToken::new();
    stage.clock.advance(DAY * 30);
    assert_eq!(sweep(&stage.deps, keep, &stop).await.unwrap(), Swept::default());
    let again = hall.start(wish.clone()).await.unwrap();
    assert!(again.already_existed && again.session.unwrap().session_id == session_id);
    assert!(hall.choose(wanted.clone()).await.unwrap().already_existed);

    stage.clock.advance(Duration::from_millis(1));
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap().sessions, 0, "400 days are not over");
    let swept = sweep(&stage.deps, keep, &stop).await.unwrap();
    assert_eq!((swept.sessions, swept.commands), (2, 0));
    let request = v1::GetMachineSessionRequest { session_id: session_id.clone(), ..Default::default() };
    let gone = refused(hall.orchestrator.get_machine_session(service(request))).await;
    assert_eq!(reason(&gone), "SESSION_NOT_FOUND");
    let gone = hall.choose(wanted).await.unwrap_err();
    assert_eq!(reason(&gone), "SESSION_NOT_FOUND");
    let resolve = v1::ResolvePurchaseRequest {
        request_id: fleet_support::id(),
        purchase_id: bought.purchase_id,
        resolution: v1::PurchaseResolution::Dispensed.into(),
        note: "x".to_owned(),
    };
    let gone = refused(hall.orchestrator.resolve_purchase(operator(resolve))).await;
    assert_eq!(reason(&gone), "PURCHASE_NOT_FOUND");
    assert_eq!(stage.get_machine(&machine_id).await.pool.unwrap().usage_count, 1, "usage stays");

    // The request id is free again, as every other is after 30 days.
    let anew = hall.start(wish).await.unwrap();
    assert!(!anew.already_existed && anew.session.unwrap().session_id != session_id);
}

async fn what_an_operator_commanded_goes_when_it_is_over(stage: Stage) {
    let mut device = sold(&stage).await;
    let send = v1::SendCommandRequest {
        request_id: fleet_support::id(),
        machine_id: device.machine.to_string(),
        command: Some(v1::send_command_request::Command::ReturnToService(v1::ReturnToServiceCommand {})),
        ttl_ms: 0,
    };
    let sent = stage.fleet.send_command(operator(send)).await.unwrap().into_inner().command.unwrap();
    assert_eq!(device.sync(&stage).await.commands.len(), 1);
    let stop = CancellationToken::new();
    stage.clock.advance(DAY * 500);
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap().commands, 0, "its result has not come");
    let result = CommandResult { number: sent.number, done: true, reason: String::new() };
    device.append(Body::CommandResult(result));
    device.sync(&stage).await;
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap().commands, 0, "it has just ended");
    stage.clock.advance(DAY * 401);
    assert_eq!(sweep(&stage.deps, KEEP, &stop).await.unwrap().commands, 1);
    let list = v1::ListCommandsRequest { machine_id: device.machine.to_string(), ..Default::default() };
    assert!(stage.fleet.list_commands(operator(list)).await.unwrap().into_inner().commands.is_empty());
}

#[tokio::test]
async fn a_running_server_sweeps_by_itself_and_stops_sweeping_when_it_drains() {
    // The stage's clock stands in the past: for the server everything of it is old.
    let stage = Stage::sqlite().await;
    let machine_id = sold(&stage).await.machine.to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.data_dir = folder.path().to_str().unwrap().to_owned();
    config.database.url = stage.sqlite_url();
    (config.retention.keep_days, config.retention.interval_ms) = (31, 1_000);
    let running = start(config, Context::system()).await.unwrap();
    let swept = async {
        while !stage.transactions(&machine_id).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), swept).await.unwrap();
    assert!(running.stop().await);
}
