//! Gaps: filled by resend, named when nobody can fill them; a server behind its device; a server that knows no past.

use vendfleet_proto::v1::{AlertType, GapReason};
use vendfleet_tests::{
    checker::check,
    device::{Device, voice::Voice},
    fleet::{Engine, Fleet, copy_over},
};

/// The same board at another company's server: its journal comes along, its identity does not.
async fn moved(device: &mut Device, from: &Fleet, to: &Fleet) -> Device {
    let image = from.place("image");
    device.save_journal(&image).await;
    device.power_off().await;
    let newcomer = to.unboxed("newcomer", to.blueprint());
    copy_over(&image, &newcomer.machine.dir().join(fleet_client::JOURNAL_DIR));
    newcomer.enrol(&to.operator().claim_token("newcomer").await).await;
    newcomer
}

pub(crate) async fn a_gap_is_filled_by_resend(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(5).await;

    let mut voice = Voice::of(fleet.server.channel(), &device.credentials());
    let beyond = device.next_call(ready + 3, 512).await;
    let answer = voice.sync(beyond).await.unwrap();
    // A mark beside resend_from claims nothing: the call has not proven that its chain is the one the mark is about.
    assert_eq!((answer.resend_from, answer.accepted_through), (Some(ready + 1), 0));
    assert_eq!(fleet.operator().device(&device.id()).await.durable_through, ready, "nothing advances");

    device.machine.go_online();
    device.power_on().await;
    device.settle().await;
    assert!(fleet.operator().gaps(&device.id()).await.is_empty());
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 5);
}

pub(crate) async fn a_server_that_never_heard_of_the_past_takes_all_that_is_held(engine: Engine) {
    let (old, new) = (Fleet::start(engine).await, Fleet::start(engine).await);
    let mut device = old.device("corner").await;
    device.sell(4).await;
    device.settle().await;

    let mut device = moved(&mut device, &old, &new).await;
    device.power_on().await;
    device.settle().await;
    let mut operator = new.operator();
    assert!(operator.gaps(&device.id()).await.is_empty());
    assert_eq!(operator.transactions(&device.id()).await.len(), 4);
    assert_eq!(check(&new, &[device.chains().await]).await.sales, 4);
}

pub(crate) async fn what_the_device_no_longer_holds_is_a_named_gap(engine: Engine) {
    let old = Fleet::start_with(engine, |o| o.set("sync.keep_days", 0)).await;
    let new = Fleet::start(engine).await;
    let mut device = old.device("corner").await;
    device.sell(4).await;
    device.settle().await;
    let durable = device.now().last_seq;
    // Pruned once an answer finds it durable and past its days, of which there are none.
    device.sync().await;
    device.machine.go_offline();
    device.sell(2).await;
    let oldest = device.machine.report().await.unwrap().epochs[0].oldest_seq;
    assert!(oldest > 4 && oldest <= durable + 1, "pruned: {oldest}");

    let mut device = moved(&mut device, &old, &new).await;
    device.power_on().await;
    device.settle().await;
    let mut operator = new.operator();
    let gaps = operator.gaps(&device.id()).await;
    assert_eq!(gaps.iter().map(|g| (g.first_seq, g.last_seq)).collect::<Vec<_>>(), [(1, oldest - 1)]);
    assert_eq!(gaps[0].reason(), GapReason::PastUnknown);
    let alerts = operator.alerts_of(&device.id(), AlertType::Gap).await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    check(&new, &[device.chains().await]).await;
}

/// Takes from the server what it got from this machine behind seq 3, where four sales of slot 1 lie: consistently, and behind
/// its back.
async fn lose_four_sales(fleet: &Fleet, device: &Device) {
    let machine = uuid::Uuid::parse_str(&device.id()).unwrap();
    let rows = fleet.rows().await;
    for sql in [
        "DELETE FROM records WHERE machine_id = $1 AND seq > 3",
        "UPDATE epochs SET accepted_through = 3, durable_through = 3, expected = NULL, \
         last_hash = (SELECT hash FROM records r WHERE r.machine_id = $1 AND r.seq = 3) WHERE machine_id = $1",
        "UPDATE slots SET derived = derived + 4 WHERE machine_id = $1 AND slot = 1",
    ] {
        rows.execute(sql, machine.as_bytes()).await;
    }
}

pub(crate) async fn one_device_ahead_of_the_server_is_healed_alone_with_an_alert(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let mut other = fleet.device("station").await;
    let ready = device.now().last_seq;
    device.sell(4).await;
    device.settle().await;
    assert_eq!(ready, 3, "booted, configured, filled");
    lose_four_sales(&fleet, &device).await;

    other.sell(1).await;
    other.settle().await;
    device.sell(1).await;
    device.settle().await;
    let mut operator = fleet.operator();
    assert_eq!(operator.alerts_of(&device.id(), AlertType::DeviceAhead).await.len(), 1);
    assert!(operator.alerts(&other.id()).await.is_empty());
    assert!(operator.gaps(&device.id()).await.is_empty());
    assert_eq!(check(&fleet, &[device.chains().await, other.chains().await]).await.sales, 6);
}

pub(crate) async fn a_gap_that_nobody_can_fill_is_named_and_the_queue_goes_on(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("sync.keep_days", 0)).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.sell(4).await;
    device.settle().await;
    let durable = device.now().last_seq;
    device.sync().await;
    assert_eq!(ready, 3, "booted, configured, filled");
    lose_four_sales(&fleet, &device).await;

    device.sell(2).await;
    device.settle().await;
    let mut operator = fleet.operator();
    let gaps = operator.gaps(&device.id()).await;
    assert_eq!(gaps.iter().map(|g| (g.first_seq, g.last_seq)).collect::<Vec<_>>(), [(ready + 1, durable)]);
    assert_eq!(gaps[0].reason(), GapReason::NotHeld);
    assert_eq!(operator.alerts_of(&device.id(), AlertType::Gap).await.len(), 1);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 2);
}
