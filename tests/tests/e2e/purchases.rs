//! Remote purchases on real machines: dispensed once or given back, whatever is lost, restarted, reset or sold meanwhile.

use fleet_client::{device::CutPoint, simulate::Observation, transport::Standing};
use vend_core::machine::{Input, SlotUnits};
use vendfleet_proto::v1::{
    self, AlertType, MachineSession, PaymentMode, PaymentStatus, PoolState, Purchase, PurchaseFailure,
    PurchaseResolution, PurchaseState, SessionState, orchestrator_service_client::OrchestratorServiceClient,
};
use vendfleet_tests::{
    checker::check,
    client::AuthorizedChannel,
    device::{Device, SLOT},
    fleet::{Engine, Fleet, operator::request_id},
    gateway::{Manner, Op, Step},
    orders::till::Counter,
    server::{ServerOptions, TestServer},
    wait::{PATIENCE, until, until_true},
};

/// Who buys from afar.
pub(crate) struct Desk {
    orchestrator: OrchestratorServiceClient<AuthorizedChannel>,
    product: String,
}

impl Desk {
    async fn at(fleet: &Fleet, channel: AuthorizedChannel) -> Self {
        let config = fleet.operator().config(&[120]).await;
        let product =
            config.slots.iter().find(|slot| slot.slot == u32::from(SLOT)).unwrap().product_id.clone();
        Self { orchestrator: OrchestratorServiceClient::new(channel), product }
    }

    pub(crate) async fn of(fleet: &Fleet) -> Self {
        Self::at(fleet, fleet.server.channel_as(fleet.token())).await
    }

    /// Takes the machine that can give the product.
    async fn start(&mut self) -> (MachineSession, String) {
        let request = v1::StartWorkRequest {
            request_id: request_id(),
            wait_ms: 20_000,
            product_id: self.product.clone(),
            ..Default::default()
        };
        let begun = self.orchestrator.start_work(request).await.unwrap().into_inner();
        (begun.session.unwrap(), begun.session_token)
    }

    async fn choose(&mut self, (session, token): (MachineSession, String), payment: PaymentMode) -> Purchase {
        let request = v1::ChooseProductRequest {
            request_id: request_id(),
            session_id: session.session_id,
            session_token: token,
            product_id: self.product.clone(),
            expected_price: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 120 }),
            payment: payment.into(),
        };
        self.orchestrator.choose_product(request).await.unwrap().into_inner().purchase.unwrap()
    }

    /// A free unit for whoever asks.
    pub(crate) async fn buy(&mut self) -> Purchase {
        let session = self.start().await;
        self.choose(session, PaymentMode::None).await
    }

    async fn session(&self, purchase: &Purchase) -> MachineSession {
        let request =
            v1::GetMachineSessionRequest { session_id: purchase.session_id.clone(), ..Default::default() };
        let mut orchestrator = self.orchestrator.clone();
        orchestrator.get_machine_session(request).await.unwrap().into_inner().session.unwrap()
    }

    /// The purchase and its session once the purchase is there.
    pub(crate) async fn comes_to(
        &self,
        purchase: &Purchase,
        state: PurchaseState,
    ) -> (Purchase, MachineSession) {
        until(&format!("the purchase to be {}", state.as_str_name()), PATIENCE, || async {
            let session = self.session(purchase).await;
            let now = session.purchase.clone()?;
            (now.state() == state).then_some((now, session))
        })
        .await
    }

    /// The purchase once it has failed, and why.
    async fn fails(&self, purchase: &Purchase, why: PurchaseFailure) -> Purchase {
        let (failed, _) = self.comes_to(purchase, PurchaseState::Failed).await;
        assert_eq!(failed.failure(), why, "{failed:?}");
        failed
    }

    async fn reset(&mut self, purchase: &Purchase) -> v1::ResetMachineResponse {
        let request = v1::ResetMachineRequest {
            request_id: request_id(),
            machine_id: purchase.machine_id.clone(),
            session_id: purchase.session_id.clone(),
            note: "the customer left".to_owned(),
        };
        self.orchestrator.reset_machine(request).await.unwrap().into_inner()
    }

    async fn resolve(&mut self, purchase: &Purchase, resolution: PurchaseResolution) -> Purchase {
        let request = v1::ResolvePurchaseRequest {
            request_id: request_id(),
            purchase_id: purchase.purchase_id.clone(),
            resolution: resolution.into(),
            note: "somebody went and looked".to_owned(),
        };
        self.orchestrator.resolve_purchase(request).await.unwrap().into_inner().purchase.unwrap()
    }
}

/// A machine that is there, with the stream of hints open.
pub(crate) async fn present(fleet: &Fleet) -> Device {
    let device = fleet.device("corner").await;
    device.wait_for("the stream of hints", |o| o.sync.watching).await;
    until_true("the machine to be in the pool", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    device
}

/// The first vend of the machine's life.
fn vended(now: &Observation) -> bool {
    now.vends == 1
}

/// The machine syncs until it has journalled a result behind this seq, and hands it over.
async fn answers(device: &Device, before: u64) {
    device.sync_until("the machine's word on its command", |o| o.last_seq > before).await;
    device.settle().await;
}

/// Nothing of the slot is promised any more, and the machine is free.
pub(crate) async fn all_is_free(fleet: &Fleet, device: &Device) {
    until_true("the machine to be free", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    let request = v1::GetMachineInventoryRequest { machine_id: device.id() };
    let slots = fleet.operator().fleet.get_machine_inventory(request).await.unwrap().into_inner().slots;
    assert!(slots.iter().all(|slot| slot.reserved == 0), "{slots:?}");
}

async fn alerted(fleet: &Fleet, device: &Device, kind: AlertType) {
    until_true(&format!("the alert {}", kind.as_str_name()), PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { !operator.alerts_of(&id, kind).await.is_empty() }
    })
    .await;
}

pub(crate) async fn a_remote_purchase_is_dispensed_once_and_completes(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("payments.simulated_success_percent", 100)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let session = desk.start().await;
    let purchase = desk.choose(session, PaymentMode::Gateway).await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    let (done, session) = desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!((done.payment_status(), session.state()), (PaymentStatus::Captured, SessionState::Completed));
    assert_eq!((done.slot, session.usage_count), (u32::from(SLOT), 1));
    let sold = fleet.operator().transactions(&device.id()).await;
    assert_eq!(sold.iter().map(|t| &t.transaction_id).collect::<Vec<_>>(), [&purchase.purchase_id]);
    all_is_free(&fleet, &device).await;
    check(&fleet, &[device.chains().await]).await;
}

pub(crate) async fn a_machine_is_free_once_its_vend_is_told_though_the_money_is_still_to_be_taken(
    engine: Engine,
) {
    let counter = Counter::new().await;
    let fleet = Fleet::start_with(engine, |o| counter.set(o)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    counter.gateway.behave(|call| match call.op {
        Op::Capture => Step::nothing(Manner::Status(503)),
        _ => Step::proper(),
    });
    let session = desk.start().await;
    let purchase = desk.choose(session, PaymentMode::Gateway).await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    all_is_free(&fleet, &device).await;
    let (_, session) = desk.comes_to(&purchase, PurchaseState::Capturing).await;
    assert_eq!((session.state(), session.usage_count), (SessionState::Completed, 0));
    // The next customer does not wait for the money of the one before.
    let next = desk.buy().await;
    device.wait_for("the next vend", |now| now.vends == 2).await;
    device.settle().await;
    desk.comes_to(&next, PurchaseState::Completed).await;

    counter.gateway.come_up();
    let (done, session) = desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!((done.payment_status(), session.usage_count), (PaymentStatus::Captured, 2));
    assert_eq!(counter.gateway.ledger().net(&purchase.purchase_id), 120);
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 2);
}

pub(crate) async fn a_lost_reply_leaves_a_doubt_that_the_next_sync_ends_with_one_vend(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    let (_, session) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    assert_eq!(session.machine_state(), PoolState::InDoubt);
    assert!(!vended(&device.now()), "the machine can't have heard");

    device.machine.lose_answers(false);
    device.sync_until("the vend", vended).await;
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn a_person_who_uses_the_machine_goes_first(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.handle(Input::InsertMoney { denomination: 50 }).await.unwrap();
    device.settle().await;
    let before = device.now().last_seq;
    let purchase = desk.buy().await;
    device.wait_for("the refusal", |o| o.last_seq > before).await;
    device.settle().await;
    let failed = desk.fails(&purchase, PurchaseFailure::Refused).await;
    assert_eq!(failed.failure_detail, "MACHINE_BUSY");
    all_is_free(&fleet, &device).await;
    device.machine.handle(Input::Cancel).await.unwrap();
    device.sell(1).await;
}

pub(crate) async fn the_last_unit_goes_to_whoever_stands_there_and_the_purchase_is_given_back(
    engine: Engine,
) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let slots = vec![SlotUnits { slot: SLOT, units: 1 }];
    device.machine.handle(Input::Audit { slots, tubes: None, box_minor: None }).await.unwrap();
    device.settle().await;

    fleet.link.stall();
    let purchase = desk.buy().await;
    device.sell(1).await;
    let before = device.now().last_seq;
    fleet.link.mend();
    answers(&device, before).await;
    desk.fails(&purchase, PurchaseFailure::SoldLocally).await;
    alerted(&fleet, &device, AlertType::SoldLocally).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn a_command_that_nobody_fetches_lapses_and_the_unit_is_free_again(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("orchestrator.reservation_ms", 300)).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    fleet.link.stall();
    let purchase = desk.buy().await;
    desk.fails(&purchase, PurchaseFailure::Expired).await;
    fleet.link.mend();
    device.settle().await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()), "what lapsed never travels");
    device.sell(1).await;
}

pub(crate) async fn a_restart_before_the_command_arrived_gives_the_purchase_back(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    device.power_off().await;
    device.machine.lose_answers(false);
    device.power_on().await;
    device.settle().await;
    desk.fails(&purchase, PurchaseFailure::MachineChanged).await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()));
}

pub(crate) async fn a_power_cut_at_the_motor_stays_in_doubt_until_a_person_says(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.cut_power_at(CutPoint::AfterMotor);
    let purchase = desk.buy().await;
    until_true("the motor to turn", PATIENCE, || async { device.machine.witness().seen().driven.len() == 1 })
        .await;
    device.power_off().await;
    device.power_on().await;
    device.settle().await;
    alerted(&fleet, &device, AlertType::PurchaseInDoubt).await;
    let (doubted, _) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    let resolved = desk.resolve(&doubted, PurchaseResolution::Dispensed).await;
    assert_eq!(resolved.state(), PurchaseState::Completed);
    all_is_free(&fleet, &device).await;
    assert_eq!(device.machine.witness().seen().driven.len(), 1, "never dispensed again");
}

pub(crate) async fn a_vend_that_comes_after_a_reset_is_a_sale_with_an_alert(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    let purchase = desk.buy().await;
    device.wait_for("the vend", vended).await;
    let reset = desk.reset(&purchase).await;
    assert_eq!(reset.session.unwrap().state(), SessionState::Reset);
    assert_eq!(reset.machine.unwrap().pool.unwrap().state(), PoolState::InDoubt, "the doubt stays");
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    alerted(&fleet, &device, AlertType::LateVend).await;
    all_is_free(&fleet, &device).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

pub(crate) async fn what_was_reset_before_the_machine_heard_of_it_is_recalled(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    desk.reset(&purchase).await;
    // What was answered before the reset is lost too: it told the machine to dispense.
    device.sync().await;
    let before = device.now().last_seq;
    device.machine.lose_answers(false);
    answers(&device, before).await;
    desk.fails(&purchase, PurchaseFailure::Expired).await;
    all_is_free(&fleet, &device).await;
    assert!(!vended(&device.now()), "nobody stands there to take it");
}

pub(crate) async fn a_lost_journal_leaves_the_doubt_to_a_person(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = present(&fleet).await;
    let mut desk = Desk::of(&fleet).await;
    device.machine.lose_answers(true);
    let purchase = desk.buy().await;
    device.machine.sync_now();
    desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    device.power_off().await;
    device.machine.lose_answers(false);
    device.machine.reflash().await.unwrap();
    device.ready_to_sell().await;
    let (doubted, session) = desk.comes_to(&purchase, PurchaseState::InDoubt).await;
    assert_eq!(session.machine_state(), PoolState::InDoubt, "out of the pool");
    desk.resolve(&doubted, PurchaseResolution::NotDispensed).await;
    desk.fails(&purchase, PurchaseFailure::Resolved).await;
    all_is_free(&fleet, &device).await;
}

pub(crate) async fn a_draining_board_spoils_no_purchase_on_the_one_that_took_its_place(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut old = fleet.device("corner").await;
    old.settle().await;
    old.machine.go_offline();
    old.sell(1).await;

    let mut new = fleet.unboxed("spare", fleet.blueprint());
    new.enrol(&fleet.operator().swap_token(&old.id()).await).await;
    new.power_on().await;
    new.ready_to_sell().await;
    new.settle().await;
    until_true("the new board to be in the pool", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), new.id());
        async move { operator.machine(&id).await.pool.unwrap().state() == PoolState::Idle }
    })
    .await;
    // It says nothing by itself until somebody chooses.
    old.machine.go_online();
    old.sync_until("the old board's sale to be taken", |o| o.sync.standing == Standing::Draining).await;

    let mut desk = Desk::of(&fleet).await;
    let purchase = desk.buy().await;
    new.wait_for("the vend", vended).await;
    new.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &new).await;
}

pub(crate) async fn a_purchase_at_another_replica_reaches_its_machine() {
    let fleet = Fleet::start(Engine::Postgres).await;
    let mut device = present(&fleet).await;
    let options = ServerOptions::at(fleet.database_url().unwrap()).set("server.sample_data", false);
    let other: TestServer = fleet.server.start_beside(options).await;
    let mut desk = Desk::at(&fleet, other.channel_as(fleet.token())).await;
    let purchase = desk.buy().await;
    device.wait_for("the vend", vended).await;
    device.settle().await;
    desk.comes_to(&purchase, PurchaseState::Completed).await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}
