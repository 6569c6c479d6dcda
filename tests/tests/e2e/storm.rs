//! A server killed again and again under a fleet that sells and syncs; a server put back from an older copy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fleet_client::{
    agent::plan::Limits,
    hardware::sim::Behaviour,
    simulate::{Blueprint, Bought},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use vendfleet_proto::v1::AlertType;
use vendfleet_tests::{
    checker::check,
    device::Device,
    fleet::{Engine, Fleet},
    wait::{PATIENCE, until_true},
};

const MACHINES: usize = 8;
const KILLS: u32 = 5;
/// Sales between two kills, over the whole fleet.
const SALES_BETWEEN: u64 = 40;

pub(crate) async fn a_server_killed_again_and_again_loses_and_doubles_nothing(engine: Engine) {
    let mut fleet = Fleet::start(engine).await;
    let mut operator = fleet.operator();
    let mut selling = JoinSet::new();
    let (open, sold) = (Arc::new(AtomicBool::new(true)), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    for n in 0..MACHINES {
        let name = format!("m{n}");
        // They sync by themselves, soon after a sale; a turn of a motor takes its time, so the server gets some too.
        let behaviour = Behaviour { motor_ms: 15, ..Behaviour::default() };
        let limits = Limits { settle_ms: 20, shortest_wait_ms: 20, ..fleet.blueprint().limits };
        let mut device = fleet.unboxed(&name, Blueprint { limits, behaviour, ..fleet.blueprint() });
        device.enrol(&operator.claim_token(&name).await).await;
        device.power_on().await;
        device.ready_to_sell().await;
        let (open, sold) = (Arc::clone(&open), Arc::clone(&sold));
        selling.spawn(async move {
            let mut units = 0;
            while open.load(Ordering::Relaxed) {
                if device.machine.buy().await.unwrap() == Bought::Yes {
                    units += 1;
                    sold.fetch_add(1, Ordering::Relaxed);
                }
            }
            (device, units)
        });
    }
    for _ in 0..KILLS {
        let before = sold.load(Ordering::Relaxed);
        until_true("the fleet to sell", PATIENCE, || {
            let now = sold.load(Ordering::Relaxed);
            async move { now >= before + SALES_BETWEEN }
        })
        .await;
        fleet.kill_and_restart().await;
    }
    open.store(false, Ordering::Relaxed);
    let (mut chains, mut units) = (Vec::new(), 0);
    while let Some(done) = selling.join_next().await {
        let (mut device, its): (Device, u64) = done.unwrap();
        device.settle().await;
        let report = device.machine.report().await.unwrap();
        assert_eq!((report.driven_twice, report.turns_unrecorded, report.epochs.len()), (0, 0, 1));
        units += its;
        chains.push(device.chains().await);
    }
    let checked = check(&fleet, &chains).await;
    assert_eq!(checked.sales, units);
    assert_eq!(checked.device_records, checked.main_records, "nobody forked, nothing is apart");
    assert!(units >= u64::from(KILLS) * SALES_BETWEEN);
    for chain in &chains {
        assert_eq!(chain.epochs.len(), 1);
    }
}

/// What `pg_dump` and `pg_restore` do, with nobody connected: the whole database into another, and back.
pub(crate) async fn copy_database(url: &str, from_suffix: &str, to_suffix: &str) {
    let (server, name) = url.rsplit_once('/').unwrap();
    let (from, to) = (format!("{name}{from_suffix}"), format!("{name}{to_suffix}"));
    let mut inside = PgConnection::connect(&format!("{server}/{from}")).await.unwrap();
    for sql in [
        format!("DROP DATABASE IF EXISTS {to} WITH (FORCE)"),
        format!("CREATE DATABASE {to} TEMPLATE {from}"),
    ] {
        inside.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    inside.close().await.unwrap();
}

pub(crate) async fn drop_copy(url: &str) {
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut inside = PgConnection::connect(url).await.unwrap();
    inside.execute(AssertSqlSafe(format!("DROP DATABASE {name}_copy WITH (FORCE)"))).await.unwrap();
}

pub(crate) async fn a_server_put_back_from_an_older_copy_is_told_again(engine: Engine) {
    let mut fleet = Fleet::start(engine).await;
    let (mut one, mut two) = (fleet.device("one").await, fleet.device("two").await);
    one.sell(2).await;
    one.settle().await;
    let url = fleet.database_url().map(str::to_owned);
    let copy = fleet.place("vendfleet.copy").display().to_string();
    if let Some(url) = &url {
        assert!(fleet.server.stop().await.success());
        copy_database(url, "", "_copy").await;
        fleet.restart().await;
    } else {
        fleet.server.run(&["backup", "--to", &copy]).await;
    }

    for device in [&mut one, &mut two] {
        device.sell(3).await;
        device.settle().await;
    }
    let before = one.now().sync.server_incarnation;
    assert!(fleet.server.stop().await.success());
    if let Some(url) = &url {
        copy_database(url, "_copy", "").await;
        drop_copy(url).await;
        fleet.server.run(&["restore"]).await;
    } else {
        fleet.server.run(&["restore", "--from", &copy]).await;
    }
    fleet.restart().await;

    let mut operator = fleet.operator();
    for device in [&mut one, &mut two] {
        device.sync_until("the server's new life", |o| o.sync.server_incarnation != before).await;
        device.settle().await;
        device.sell(1).await;
        device.settle().await;
        let alerts = operator.alerts_of(&device.id(), AlertType::DeviceAhead).await;
        assert!(alerts.is_empty(), "a restore does this to everybody: {alerts:?}");
        assert!(operator.gaps(&device.id()).await.is_empty());
    }
    assert_eq!(check(&fleet, &[one.chains().await, two.chains().await]).await.sales, 2 + 6 + 2);
}
