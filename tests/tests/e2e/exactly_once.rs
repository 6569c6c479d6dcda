//! Request or reply lost, batch repeated, batches overlap, power cut anywhere.

use vendfleet_tests::{
    checker::{check, examine},
    device::{Device, voice::Voice},
    fleet::{Engine, Fleet},
    wait::{PATIENCE, until_true},
};

/// Waits until the server has what it can't tell.
async fn arrived(fleet: &Fleet, device: &Device, last_seq: u64) {
    until_true("the server to have what it could not answer", PATIENCE, || {
        let (mut operator, id) = (fleet.operator(), device.id());
        async move { operator.device(&id).await.durable_through == last_seq }
    })
    .await;
}

pub(crate) async fn a_lost_reply_is_not_a_second_sale(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.machine.lose_answers(true);
    device.sell(3).await;
    let sold = device.now().last_seq;
    device.machine.sync_now();
    arrived(&fleet, &device, sold).await;
    assert!(device.now().sync.marks.unwrap().durable_through < sold, "the machine can't have heard");

    // One more, so that what is sent again overlaps what is there.
    device.sell(1).await;
    device.machine.lose_answers(false);
    device.settle().await;
    assert_eq!(fleet.operator().transactions(&device.id()).await.len(), 4);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 4);
}

pub(crate) async fn a_repeated_batch_and_an_overlapping_one_get_their_answer_and_nothing_twice(
    engine: Engine,
) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(6).await;
    let mut voice = Voice::of(fleet.server.channel(), &device.credentials());

    let first = device.next_call(ready + 1, 4).await;
    let answer = voice.sync(first.clone()).await.unwrap();
    let again = voice.sync(first).await.unwrap();
    assert_eq!((answer.accepted_through, answer.durable_through), (ready + 4, ready + 4));
    assert_eq!(
        (again.accepted_through, again.durable_through, again.resend_from),
        (ready + 4, ready + 4, None)
    );

    let overlapping = device.next_call(ready + 3, 4).await;
    let answer = voice.sync(overlapping).await.unwrap();
    assert_eq!((answer.durable_through, answer.resend_from), (ready + 6, None));
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 6);
}

pub(crate) async fn a_request_that_never_arrived_is_sent_again(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    fleet.link.cut();
    device.sell(2).await;
    assert!(device.sync().await.last_error.is_some());
    fleet.link.mend();
    device.settle().await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 2);
}

pub(crate) async fn a_power_cut_anywhere_loses_nothing_and_uses_no_number_twice(engine: Engine) {
    const CUTS: u32 = 14;
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    for effects in 0..CUTS {
        // A Sync is on its way while the power goes, after a few effects of the sale in hand.
        device.machine.cut_power_after(effects);
        device.machine.sync_now();
        while device.machine.is_on() {
            match device.buy().await {
                Ok(_) => device.machine.sync_now(),
                Err(fleet_client::simulate::SimError::PowerCut) => {}
                Err(other) => panic!("{other}"),
            }
        }
        device.power_on().await;
    }
    // The plug is pulled when the server has the records and its reply is on the way.
    device.settle().await;
    device.sell(1).await;
    fleet.link.lose_replies();
    device.machine.sync_now();
    arrived(&fleet, &device, device.now().last_seq).await;
    device.power_off().await;
    fleet.link.mend();

    device.power_on().await;
    device.sell(1).await;
    device.settle().await;
    let report = device.machine.report().await.unwrap();
    assert_eq!((report.epochs.len(), report.driven_twice, report.turns_unrecorded), (1, 0, 0));
    let checked = check(&fleet, &[device.chains().await]).await;
    assert_eq!(checked.device_records, checked.main_records);
    assert!(checked.sales >= 2, "{checked:?}");
}

pub(crate) async fn a_lost_a_doubled_and_a_changed_record_are_each_seen_by_the_checker(engine: Engine) {
    const SPOILS: [(&str, &str); 3] = [
        ("DELETE FROM records WHERE machine_id = $1 AND seq = 4", "on 0 main chains, 0 branches, in 0 gaps"),
        (
            "INSERT INTO gaps (machine_id, epoch, first_seq, last_seq, gap_id, reason, created_at_ms) \
             SELECT machine_id, epoch, 4, 4, epoch, 1, 0 FROM epochs WHERE machine_id = $1",
            "2 times there",
        ),
        (
            "UPDATE records SET body = (SELECT r.body FROM records r WHERE r.machine_id = $1 AND r.seq = 5) \
             WHERE machine_id = $1 AND seq = 4",
            "is not what its hash was made of",
        ),
    ];
    for (sql, breach) in SPOILS {
        let fleet = Fleet::start(engine).await;
        let mut device = fleet.device("corner").await;
        device.sell(3).await;
        device.settle().await;
        let chains = [device.chains().await];
        check(&fleet, &chains).await;
        let rows = fleet.rows().await;
        rows.execute(sql, uuid::Uuid::parse_str(&device.id()).unwrap().as_bytes()).await;
        let (_, breaches) = examine(&rows, &mut fleet.operator(), &chains).await;
        assert!(breaches.iter().any(|b| b.contains(breach)), "{sql}: {breaches:?}");
    }
}
