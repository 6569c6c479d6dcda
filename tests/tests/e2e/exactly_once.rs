//! Request or reply lost, batch repeated, batches overlap, power cut anywhere.

use vendfleet_tests::{
    checker::check,
    fleet::{Engine, Fleet},
    wait::{PATIENCE, until_true},
};

pub(crate) async fn a_lost_reply_is_not_a_second_sale(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.sell(3).await;
    let sold = device.now().last_seq;

    fleet.link.lose_replies();
    device.machine.sync_now();
    let mut operator = fleet.operator();
    until_true("the server to have what it could not answer", PATIENCE, || {
        let (mut operator, id) = (operator.clone(), device.id());
        async move { operator.device(&id).await.durable_through == sold }
    })
    .await;
    assert!(device.now().sync.marks.unwrap().durable_through < sold, "the machine can't have heard");

    // One more, so that what is sent again overlaps what is there.
    device.sell(1).await;
    fleet.link.mend();
    device.settle().await;
    assert_eq!(operator.transactions(&device.id()).await.len(), 4);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 4);
}
