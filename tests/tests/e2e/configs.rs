//! Config: published, delivered, applied when idle, refused; three facts; the price shown is the price charged.

use fleet_client::hardware::sim::Behaviour;
use vend_core::machine::Input;
use vendfleet_proto::v1::{AlertType, ConfigProgress, ListConfigStatusesRequest};
use vendfleet_tests::{
    checker::check,
    device::SLOT,
    fleet::{Engine, Fleet, operator::FIRST_PRICES},
};

pub(crate) async fn a_price_change_waits_for_the_sale_in_hand_and_shows_in_the_next(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let mut operator = fleet.operator();
    let first = operator.device(&device.id()).await.config.unwrap();
    assert_eq!((first.applied_number, first.rejected_number), (first.desired_number, 0));
    device.wait_for("the stream of hints", |o| o.sync.watching).await;

    // A customer has chosen and begun to pay.
    device.machine.handle(Input::Select { slot: SLOT }).await.unwrap();
    device.machine.handle(Input::InsertMoney { denomination: 100 }).await.unwrap();
    let answered = device.now().sync.answered;
    let second = operator.publish_prices(&[70, 70, 70]).await;
    // Nobody asks it to sync: the server hints.
    device.wait_for("a Sync that a hint caused", |o| o.sync.answered > answered).await;
    device.sync().await;
    let waiting = operator.device(&device.id()).await.config.unwrap();
    assert_eq!(waiting.desired_config_id, second);
    assert_eq!(
        (waiting.applied_config_id, waiting.applied_number),
        (first.applied_config_id, first.applied_number)
    );
    assert_eq!(waiting.desired_number, first.desired_number + 1);
    assert_eq!(device.price(), FIRST_PRICES[0], "no config is applied mid-sale");

    device.machine.handle(Input::InsertMoney { denomination: 20 }).await.unwrap();
    device.sync_until("the new prices", |o| o.assignment_number == waiting.desired_number).await;
    device.sell(1).await;
    device.settle().await;
    let applied = operator.device(&device.id()).await.config.unwrap();
    assert_eq!((applied.applied_config_id, applied.applied_number), (second.clone(), waiting.desired_number));
    let mut sold = operator.transactions(&device.id()).await;
    sold.sort_by_key(|t| t.seq);
    assert_eq!(sold.iter().map(|t| t.price_minor).collect::<Vec<_>>(), [FIRST_PRICES[0], 70]);
    assert_eq!((sold[0].config_id.clone(), sold[1].config_id.clone()), (first.desired_config_id, second));
    check(&fleet, &[device.chains().await]).await;
}

pub(crate) async fn a_config_the_machine_cannot_take_is_refused_by_name_and_the_old_one_stays(
    engine: Engine,
) {
    let fleet = Fleet::start(engine).await;
    let cabinet = Behaviour { slots: 3, ..Behaviour::default() };
    let blueprint = fleet_client::simulate::Blueprint { behaviour: cabinet, ..fleet.blueprint() };
    let mut device = fleet.unboxed("narrow", blueprint);
    let mut operator = fleet.operator();
    device.enrol(&operator.claim_token("narrow").await).await;
    device.power_on().await;
    device.ready_to_sell().await;
    let before = operator.device(&device.id()).await.config.unwrap();

    operator.publish_prices(&[100, 100, 100, 100]).await;
    device.sync_until("the refusal to be written", |o| o.last_seq > before.applied_as_of_seq).await;
    device.settle().await;
    let after = operator.device(&device.id()).await.config.unwrap();
    assert_eq!(after.rejected_number, before.desired_number + 1);
    assert_eq!(
        (after.applied_number, after.applied_config_id),
        (before.applied_number, before.applied_config_id)
    );
    let refusals: Vec<_> = after.refusals.iter().map(|r| (r.field.as_str(), r.reason.as_str())).collect();
    assert!(refusals.iter().any(|(field, _)| field.starts_with("slots[3]")), "{refusals:?}");
    assert_eq!(operator.alerts_of(&device.id(), AlertType::ConfigRejected).await.len(), 1);
    let rejected = ListConfigStatusesRequest {
        page_size: 10,
        progress: ConfigProgress::Rejected.into(),
        ..Default::default()
    };
    let statuses = operator.fleet.list_config_statuses(rejected).await.unwrap().into_inner().statuses;
    assert_eq!(statuses.iter().map(|s| s.machine_id.clone()).collect::<Vec<_>>(), [device.id()]);

    // It sells on at the old price, and isn't offered the same one again.
    let last = device.now().last_seq;
    device.sync().await;
    assert_eq!(device.now().last_seq, last);
    device.sell(1).await;
    device.settle().await;
    assert_eq!(operator.transactions(&device.id()).await[0].price_minor, FIRST_PRICES[0]);
    check(&fleet, &[device.chains().await]).await;
}
