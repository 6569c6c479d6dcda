//! Numbered commands to real machines: carried out once, whatever is lost, restarted or copied.

use tonic::Code;
use vend_core::machine::{OutOfService, State};
use vendfleet_proto::v1::{
    Command, CommandState, OutOfServiceCommand, ReturnToServiceCommand, send_command_request as order,
};
use vendfleet_tests::{
    checker::check,
    device::{Device, voice::refusal},
    fleet::{Engine, Fleet, operator::Operator},
    server::ServerOptions,
    server::TestServer,
    wait::{PATIENCE, until, until_true},
};

const OUT: State = State::OutOfService(OutOfService::Ordered);

fn stop() -> order::Command {
    order::Command::OutOfService(OutOfServiceCommand { reason: "works".to_owned() })
}

fn sell_again() -> order::Command {
    order::Command::ReturnToService(ReturnToServiceCommand {})
}

async fn send(fleet: &Fleet, device: &Device, what: order::Command) -> Command {
    fleet.operator().send_command(&device.id(), what, 0).await.unwrap()
}

/// The command as it is once it is there.
async fn is(operator: &Operator, command: &Command, state: CommandState) -> Command {
    until(&format!("the command to be {}", state.as_str_name()), PATIENCE, || {
        let (mut operator, command) = (operator.clone(), command.clone());
        async move { operator.command(&command).await.filter(|now| now.state() == state) }
    })
    .await
}

/// Results in the journal of commands with this number.
async fn results(device: &mut Device, number: u64) -> usize {
    let chains = device.chains().await;
    let records = chains.epochs.iter().flat_map(|chain| &chain.records);
    let bodies = records.filter_map(|r| vendfleet_wire::decode(r.kind, r.schema, &r.body).ok());
    bodies
        .filter(|record| {
            matches!(&record.body, vend_core::record::Body::CommandResult(result) if result.number == number)
        })
        .count()
}

pub(crate) async fn a_command_reaches_its_device_by_a_hint_and_its_result_comes_back(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    let operator = fleet.operator();

    let sent = send(&fleet, &device, stop()).await;
    assert_eq!((sent.number, sent.state()), (1, CommandState::Pending));
    device.wait_for("the machine to stop", |o| o.view.state == OUT).await;
    device.settle().await;
    let done = is(&operator, &sent, CommandState::Done).await;
    assert!(done.result_seq > 0 && done.hand_out_time_ms > 0 && done.end_time_ms > 0, "{done:?}");
    let status = fleet.operator().device(&device.id()).await;
    assert!(status.connected && status.out_of_service, "{status:?}");

    let sent = send(&fleet, &device, sell_again()).await;
    assert_eq!(sent.number, 2);
    device.wait_for("the machine to sell", |o| o.view.state == State::Idle).await;
    device.settle().await;
    is(&operator, &sent, CommandState::Done).await;
    assert!(!fleet.operator().device(&device.id()).await.out_of_service);
    device.sell(1).await;
    device.settle().await;
    check(&fleet, &[device.chains().await]).await;
}

pub(crate) async fn a_lost_reply_hands_the_command_out_again_and_it_is_carried_out_once(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let operator = fleet.operator();
    device.machine.lose_answers(true);
    let sent = send(&fleet, &device, stop()).await;
    device.machine.sync_now();
    is(&operator, &sent, CommandState::HandedOut).await;
    assert_eq!(device.now().view.state, State::Idle, "the machine can't have heard");

    device.machine.lose_answers(false);
    device.sync_until("the machine to stop", |o| o.view.state == OUT).await;
    device.settle().await;
    is(&operator, &sent, CommandState::Done).await;
    assert_eq!(results(&mut device, sent.number).await, 1);
}

pub(crate) async fn a_command_that_is_never_fetched_expires_and_never_travels(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let operator = fleet.operator();
    device.power_off().await;
    let sent = fleet.operator().send_command(&device.id(), stop(), 1).await.unwrap();
    let expired = is(&operator, &sent, CommandState::Expired).await;
    assert_eq!((expired.hand_out_time_ms, expired.end_time_ms), (0, expired.expire_time_ms));

    device.power_on().await;
    device.settle().await;
    device.sell(1).await;
    device.settle().await;
    assert_eq!(results(&mut device, sent.number).await, 0);
}

pub(crate) async fn a_repeated_request_sends_one_command(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.power_off().await;
    let mut operator = fleet.operator();
    let request = Operator::command_request(&device.id(), stop(), 0);
    let first = operator.fleet.send_command(request.clone()).await.unwrap().into_inner().command.unwrap();
    let again = operator.fleet.send_command(request.clone()).await.unwrap().into_inner().command.unwrap();
    assert_eq!(first, again);
    let other = vendfleet_proto::v1::SendCommandRequest { ttl_ms: 5, ..request };
    let refused = refusal(&operator.fleet.send_command(other).await.unwrap_err());
    assert_eq!(refused.reason, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(operator.commands(&device.id()).await.len(), 1);
}

pub(crate) async fn a_device_with_another_journal_is_not_told_what_the_old_one_was_to_do(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let operator = fleet.operator();
    device.power_off().await;
    let never_out = send(&fleet, &device, stop()).await;
    device.machine.reflash().await.unwrap();
    device.ready_to_sell().await;
    let ended = is(&operator, &never_out, CommandState::Expired).await;
    assert_eq!(ended.refusal_reason, "WRONG_EPOCH");
    assert_eq!(device.now().view.state, State::Idle);

    // Bound to the journal it has now, and above every number before.
    let sent = send(&fleet, &device, stop()).await;
    assert!(sent.number > never_out.number);
    device.sync_until("the machine to stop", |o| o.view.state == OUT).await;
}

pub(crate) async fn a_restart_between_two_syncs_changes_nothing_for_a_command_of_any_boot(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let operator = fleet.operator();
    device.machine.lose_answers(true);
    let sent = send(&fleet, &device, stop()).await;
    device.machine.sync_now();
    is(&operator, &sent, CommandState::HandedOut).await;
    device.power_off().await;
    device.machine.lose_answers(false);
    device.power_on().await;
    device.sync_until("the machine to stop", |o| o.view.state == OUT).await;
    device.settle().await;
    is(&operator, &sent, CommandState::Done).await;
    assert_eq!(results(&mut device, sent.number).await, 1);
}

pub(crate) async fn clones_get_no_commands_and_nobody_can_send_them_any(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let (mut original, mut clone) = super::forks::cloned(&fleet).await;
    let refused = fleet.operator().send_command(&original.id(), stop(), 0).await.unwrap_err();
    assert_eq!(
        (refused.code(), refusal(&refused).reason.as_str()),
        (Code::FailedPrecondition, "MACHINE_CLONED")
    );
    for device in [&mut original, &mut clone] {
        device.sync().await;
        assert_eq!(device.now().view.state, State::Idle);
    }
}

pub(crate) async fn what_can_not_be_commanded_is_refused_by_name(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut operator = fleet.operator();
    let nobody = operator.send_command("0192f5c0-7d3a-7cc1-b2a4-9f5e1c0d3e4f", stop(), 0).await.unwrap_err();
    assert_eq!(refusal(&nobody).reason, "MACHINE_NOT_FOUND");
    let silent = fleet.enrolled("silent").await;
    let refused = operator.send_command(&silent.id(), stop(), 0).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "MACHINE_NOT_ENROLLED");
    let virtual_machine = operator.virtual_machine("clicks").await;
    let refused = operator.send_command(&virtual_machine, stop(), 0).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "MACHINE_KIND_MISMATCH");
}

pub(crate) async fn a_device_is_connected_while_its_stream_is_open(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    connected(&fleet, &device, true).await;
    device.power_off().await;
    connected(&fleet, &device, false).await;
}

async fn connected(fleet: &Fleet, device: &Device, wanted: bool) {
    until_true("the machine to be seen to come or go", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.device(&id).await.connected == wanted }
    })
    .await;
}

pub(crate) async fn a_command_sent_at_another_replica_reaches_its_device() {
    let fleet = Fleet::start(Engine::Postgres).await;
    let device = fleet.device("corner").await;
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    let options = ServerOptions::at(fleet.database_url().unwrap()).set("server.sample_data", false);
    let other: TestServer = fleet.server.start_beside(options).await;
    let mut there = Operator::new(&other.channel_as(fleet.token()));
    let sent = there.send_command(&device.id(), stop(), 0).await.unwrap();
    device.wait_for("the machine to stop", |o| o.view.state == OUT).await;
    device.settle().await;
    is(&there, &sent, CommandState::Done).await;
}
