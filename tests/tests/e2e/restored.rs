//! Remote purchases across a restore of the server from an older copy.

use vendfleet_proto::v1::PurchaseState;
use vendfleet_tests::{
    checker::check,
    fleet::{Engine, Fleet},
};

use crate::{
    desk::{Desk, all_is_free, present},
    storm::{copy_database, drop_copy},
};

/// A copy of everything as it is now. The server was stopped for it, where a copy needs that.
async fn copied(fleet: &mut Fleet, copy: &str) {
    let Some(url) = fleet.database_url().map(str::to_owned) else {
        fleet.server.run(&["backup", "--to", copy]).await;
        return;
    };
    assert!(fleet.server.stop().await.success());
    copy_database(&url, "", "_copy").await;
    fleet.restart().await;
}

/// The server as it was when it was copied, in a new life.
async fn put_back(fleet: &mut Fleet, copy: &str) {
    assert!(fleet.server.stop().await.success());
    if let Some(url) = fleet.database_url().map(str::to_owned) {
        copy_database(&url, "_copy", "").await;
        drop_copy(&url).await;
        fleet.server.run(&["restore"]).await;
    } else {
        fleet.server.run(&["restore", "--from", copy]).await;
    }
    fleet.restart().await;
}

pub(crate) async fn what_was_dispensed_before_a_restore_is_not_dispensed_again(engine: Engine) {
    let mut fleet = Fleet::start_with(engine, |o| o.set("orchestrator.reservation_ms", 300_000)).await;
    let mut device = present(&fleet).await;
    let copy = fleet.place("vendfleet.copy").display().to_string();
    fleet.link.stall();
    let purchase = Desk::of(&fleet).await.buy().await;
    copied(&mut fleet, &copy).await;
    // What was stalled belongs to the server before.
    fleet.link.cut();
    fleet.link.mend();
    device.sync_until("the vend", |o| o.vends == 1).await;
    device.settle().await;
    Desk::of(&fleet).await.comes_to(&purchase, PurchaseState::Completed).await;

    let before = device.now().sync.server_incarnation;
    put_back(&mut fleet, &copy).await;
    device.sync_until("the server's new life", |o| o.sync.server_incarnation != before).await;
    device.settle().await;
    Desk::of(&fleet).await.comes_to(&purchase, PurchaseState::Completed).await;
    all_is_free(&fleet, &device).await;
    device.settle().await;
    assert_eq!(device.machine.witness().seen().driven.len(), 1, "the motor turned once");
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}
