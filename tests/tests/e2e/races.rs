//! Remote purchases on real machines while something else happens at the same moment: a reset, a kill, a copied board, a
//! product taken out of sale.

use super::desk::{Desk, all_is_free, present};
use fleet_client::transport::Standing;
use tonic::Code;
use vendfleet_proto::v1::{
    self, AlertType, PaymentMode, PoolState, Purchase, PurchaseFailure, PurchaseResolution, PurchaseState,
    SessionState,
};
use vendfleet_tests::{
    checker::check,
    device::{Device, voice::refusal},
    fleet::{Engine, Fleet},
    wait::{PATIENCE, until, until_true},
};

/// Races of each kind in one test.
const RACES: usize = 9;

/// Alerts that a vend came for this purchase after it had been reset.
async fn late(fleet: &Fleet, purchase: &Purchase) -> usize {
    let alerts = fleet.operator().alerts_of(&purchase.machine_id, AlertType::LateVend).await;
    alerts.iter().filter(|alert| alert.purchase_id == purchase.purchase_id).count()
}

/// A purchase that was raced by a reset, on a machine that had vended so often before it: who was first has won, and all that
/// is told fits. Whether the product came out.
async fn ends_one_way(
    fleet: &Fleet,
    desk: &Desk,
    device: &Device,
    vends: u64,
    (purchase, was_reset): (&Purchase, bool),
) -> bool {
    let (ended, session) = until("the purchase to be over", PATIENCE, || async {
        device.settle().await;
        let session = desk.session(purchase).await;
        let now = session.purchase.clone()?;
        (now.end_time_ms != 0).then_some((now, session))
    })
    .await;
    let came_out = device.now().vends > vends;
    assert_eq!(ended.state() == PurchaseState::Completed, came_out, "{ended:?}");
    let expected = if was_reset { SessionState::Reset } else { SessionState::Completed };
    assert_eq!(session.state(), expected, "{session:?}");
    assert_eq!(late(fleet, purchase).await, usize::from(was_reset && came_out), "{ended:?}");
    let why = [PurchaseFailure::Reset, PurchaseFailure::Expired];
    assert!(came_out || why.contains(&ended.failure()), "{ended:?}");
    all_is_free(fleet, device).await;
    came_out
}

/// A refused reset came after the session's end.
fn was_reset(answer: Result<v1::ResetMachineResponse, tonic::Status>) -> bool {
    match answer {
        Ok(_) => true,
        Err(status) => {
            let refused = refusal(&status);
            assert!(
                ["MACHINE_ALREADY_IDLE", "SESSION_ENDED"].contains(&refused.reason.as_str()),
                "{refused:?}"
            );
            false
        }
    }
}

pub(crate) async fn a_reset_that_races_the_hand_out_gives_back_or_dispenses_and_never_both(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let mut completed = 0;
    for race in 0..RACES {
        let before = device.now();
        // The hint and the Sync wait in the wire for the start.
        fleet.link.stall();
        let purchase = desk.buy().await;
        let reset = match race % 3 {
            0 => {
                let (answer, ()) = tokio::join!(desk.try_reset(&purchase), async { fleet.link.mend() });
                answer
            }
            1 => {
                fleet.link.mend();
                device.wait_for("a Sync to begin", |o| o.sync.started > before.sync.started).await;
                desk.try_reset(&purchase).await
            }
            _ => {
                fleet.link.mend();
                until_true("the command to be handed out", PATIENCE, || async {
                    desk.session(&purchase).await.purchase.unwrap().state() != PurchaseState::Dispensing
                })
                .await;
                desk.try_reset(&purchase).await
            }
        };
        let raced = (&purchase, was_reset(reset));
        completed += u64::from(ends_one_way(&fleet, &desk, &device, before.vends, raced).await);
    }
    assert!(completed > 0, "some were handed out first");
    let usage = fleet.operator().machine(&device.id()).await.pool.unwrap().usage_count;
    assert_eq!(usage, completed);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, completed);
}

pub(crate) async fn a_reset_that_races_the_result_counts_the_sale_once(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    for race in 0..RACES {
        let before = device.now();
        let purchase = desk.buy().await;
        device.wait_for("the vend", |o| o.vends > before.vends).await;
        let reset = match race % 3 {
            0 => {
                let (answer, ()) = tokio::join!(desk.try_reset(&purchase), device.settle());
                answer
            }
            1 => {
                let started = device.now().sync.started;
                device.machine.sync_now();
                device.wait_for("a Sync to begin", |o| o.sync.started > started).await;
                desk.try_reset(&purchase).await
            }
            // The server has heard, and a worker is about to look.
            _ => {
                device.settle().await;
                desk.try_reset(&purchase).await
            }
        };
        let raced = (&purchase, was_reset(reset));
        assert!(ends_one_way(&fleet, &desk, &device, before.vends, raced).await);
    }
    let usage = fleet.operator().machine(&device.id()).await.pool.unwrap().usage_count;
    assert_eq!(usage, RACES as u64);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, RACES as u64);
}

pub(crate) async fn a_server_killed_with_a_command_handed_out_dispenses_it_once(engine: Engine) {
    let mut fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    // The answer was lost: the machine has not heard of it.
    device.machine.lose_answers(true);
    let lost = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&lost, PurchaseState::InDoubt).await;
    fleet.kill_and_restart().await;
    desk = Desk::of(&fleet).await;
    desk.comes_to(&lost, PurchaseState::InDoubt).await;
    device.machine.lose_answers(false);
    device.sync_until("the vend", |o| o.vends == 1).await;
    device.settle().await;
    desk.comes_to(&lost, PurchaseState::Completed).await;
    all_is_free(&fleet, &device).await;

    // The machine has dispensed, and could not say so yet.
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    let heard = desk.buy().await;
    device.wait_for("the vend", |o| o.vends == 2).await;
    fleet.kill_and_restart().await;
    desk = Desk::of(&fleet).await;
    device.settle().await;
    let (done, session) = desk.comes_to(&heard, PurchaseState::Completed).await;
    assert_eq!((done.purchase_id, session.usage_count), (heard.purchase_id, 2));
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 2);
}

/// A machine in the pool and a copy of its board that is off: both will go on from the same record, each in its own way.
async fn twins(fleet: &Fleet) -> (Device, Device) {
    let mut original = present(fleet).await;
    let mut clone = fleet.clone_of(&mut original, "twin").await;
    original.settle().await;
    original.wait_for("the stream of hints", |o| o.sync.watching).await;
    clone.machine.go_offline();
    clone.power_on().await;
    for device in [&mut original, &mut clone] {
        device.sell(2).await;
    }
    original.settle().await;
    (original, clone)
}

/// The clone speaks, as a fork, while the original's cable is out; then the original, and there can only be two of them.
async fn both_speak(original: &mut Device, clone: &mut Device) {
    original.machine.go_offline();
    let shared = clone.epoch();
    clone.machine.go_online();
    clone.settle_in_another_epoch(&shared).await;
    original.machine.go_online();
    for device in [original, clone] {
        device.sell(1).await;
        device
            .sync_until("the clone to be noticed", |o| {
                o.sync.standing == Standing::Cloned && o.sync.all_accepted
            })
            .await;
    }
}

/// A command is handed out, its answer is lost, and then the machine is found to be two.
async fn cloned_with_a_command_out(fleet: &Fleet, desk: &mut Desk) -> (Device, Device, Purchase) {
    let (mut original, mut clone) = twins(fleet).await;
    original.machine.lose_answers(true);
    let purchase = desk.buy().await;
    original.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    original.sync().await;
    original.machine.go_offline();
    original.machine.lose_answers(false);
    both_speak(&mut original, &mut clone).await;
    let (_, session) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    assert_eq!(session.machine_state(), PoolState::InDoubt, "out of the pool");
    assert_eq!((original.now().vends, clone.now().vends), (3, 3), "nobody is told anything");
    (original, clone, purchase)
}

async fn patient(engine: Engine) -> Fleet {
    let hour_ms = 3_600_000;
    Fleet::start_with(engine, |o| {
        o.set("orchestrator.reservation_ms", hour_ms).set("orchestrator.lease_ms", hour_ms)
    })
    .await
}

pub(crate) async fn a_command_that_was_out_when_its_machine_was_cloned_is_carried_out_once_after_the_split(
    engine: Engine,
) {
    let fleet = patient(engine).await;
    let mut desk = Desk::of(&fleet).await;
    let (mut original, mut clone, purchase) = cloned_with_a_command_out(&fleet, &mut desk).await;
    let kept = original.id();
    fleet.operator().split(&kept, &clone.epoch(), "the twin").await;
    for device in [&original, &clone] {
        device.sync_until("the split to be over", |o| o.sync.standing == Standing::Active).await;
    }
    original.sync_until("the vend", |o| o.vends == 4).await;
    original.settle().await;
    clone.settle().await;
    assert_eq!(clone.now().vends, 3, "it was not the twin's to do");
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &original).await;
    let sold = fleet.operator().transactions(&kept).await;
    assert_eq!(sold.iter().filter(|t| t.transaction_id == purchase.purchase_id).count(), 1);
    check(&fleet, &[original.chains().await, clone.chains().await]).await;
}

pub(crate) async fn a_doubt_that_was_resolved_while_its_machine_was_cloned_is_recalled_after_the_split(
    engine: Engine,
) {
    let fleet = patient(engine).await;
    let mut desk = Desk::of(&fleet).await;
    let (mut original, mut clone, purchase) = cloned_with_a_command_out(&fleet, &mut desk).await;
    desk.resolve(&purchase, PurchaseResolution::NotDispensed).await;
    desk.fails(&purchase, PurchaseFailure::Resolved).await;
    let kept = original.id();
    let before = original.now().last_seq;
    fleet.operator().split(&kept, &clone.epoch(), "the twin").await;
    original.sync_until("the machine's word on the recalled command", |o| o.last_seq > before).await;
    original.settle().await;
    clone.sync_until("the split to be over", |o| o.sync.standing == Standing::Active).await;
    clone.settle().await;
    assert_eq!((original.now().vends, clone.now().vends), (3, 3), "nobody stands there to take it");
    let commands = fleet.operator().commands(&kept).await;
    assert_eq!(commands.iter().map(v1::Command::state).collect::<Vec<_>>(), [v1::CommandState::Refused]);
    all_is_free(&fleet, &original).await;
    check(&fleet, &[original.chains().await, clone.chains().await]).await;
}

pub(crate) async fn a_choice_on_a_machine_that_was_cloned_meanwhile_is_refused_and_takes_nothing(
    engine: Engine,
) {
    let fleet = patient(engine).await;
    let mut desk = Desk::of(&fleet).await;
    let (mut original, mut clone) = twins(&fleet).await;
    let held = desk.start().await;
    assert_eq!(held.0.machine_id, original.id());
    both_speak(&mut original, &mut clone).await;
    let refused = refusal(&desk.try_choose(held.clone(), PaymentMode::None).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "MACHINE_CLONED"));
    assert_eq!(refused.said("machine_id"), original.id());
    assert!(fleet.operator().commands(&original.id()).await.is_empty());

    // The session goes on, and once one machine is one device again it buys.
    let kept = original.id();
    fleet.operator().split(&kept, &clone.epoch(), "the twin").await;
    for device in [&original, &clone] {
        device.sync_until("the split to be over", |o| o.sync.standing == Standing::Active).await;
    }
    original.wait_for("the stream of hints", |o| o.sync.watching).await;
    until_true("the machine to be there", PATIENCE, || {
        let mut operator = fleet.operator();
        let id = kept.clone();
        async move { operator.device(&id).await.connected }
    })
    .await;
    let purchase = desk.choose(held, PaymentMode::None).await;
    original.sync_until("the vend", |o| o.vends == 4).await;
    original.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &original).await;
}

pub(crate) async fn a_choice_of_a_product_that_was_archived_meanwhile_is_refused_and_takes_nothing(
    engine: Engine,
) {
    let fleet = patient(engine).await;
    let device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let held = desk.start().await;
    let archive = v1::ArchiveProductRequest { product_id: desk.product.clone() };
    fleet.operator().catalog.archive_product(archive).await.unwrap();
    let refused = refusal(&desk.try_choose(held.clone(), PaymentMode::None).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "PRODUCT_ARCHIVED"));
    assert_eq!(refused.said("product_id"), desk.product);
    assert!(fleet.operator().commands(&device.id()).await.is_empty());

    // What the machine has besides can be had in the same session.
    let config = fleet.operator().config(&[120, 150]).await;
    desk.product.clone_from(&config.slots[1].product_id);
    let price = v1::Money { currency_code: "EUR".to_owned(), minor_units: 150 };
    let request = v1::ChooseProductRequest {
        request_id: vendfleet_tests::fleet::operator::request_id(),
        session_id: held.0.session_id,
        session_token: held.1,
        product_id: desk.product.clone(),
        expected_price: Some(price),
        payment: PaymentMode::None.into(),
    };
    let purchase = desk.orchestrator.choose_product(request).await.unwrap().into_inner().purchase.unwrap();
    device.wait_for("the vend", |o| o.vends == 1).await;
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &device).await;
}
