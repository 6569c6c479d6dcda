//! Who holds which machine: leases, repeats, fairness, rest, and the queue.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;
use vendfleet_proto::v1::{self, PaymentMode, PoolState, PurchaseFailure, PurchaseState, SessionState};
use vendfleet_tests::{
    fleet::Engine,
    gateway::{Op, Step},
    orders::{Shop, till::Till},
    pool::{
        Buyer,
        checker::{check, check_paid},
        machine, standing,
    },
    refusal::refusal,
    server::ServerOptions,
    wait::{PATIENCE, until_true},
};

async fn shop(engine: Engine, set: impl Fn(ServerOptions) -> ServerOptions) -> Shop {
    Shop::start(engine, 1, |o| set(o.set("worker.poll_ms", 20))).await
}

pub(crate) async fn a_lease_that_is_over_frees_the_machine_and_the_late_choice_is_refused(engine: Engine) {
    let shop = shop(engine, |o| o.set("orchestrator.lease_ms", 300)).await;
    let id = machine(&shop, 0).await;
    let product = shop.product("COLA", 5).await;
    let (ann, bob) = (Buyer::new(&shop, 0, "ann"), Buyer::new(&shop, 0, "bob"));
    let held = ann.start().await;
    assert_eq!(standing(&shop, &id).await.state(), PoolState::ChooseProduct);
    let none = refusal(&bob.ask(&bob.wish()).await.unwrap_err());
    assert_eq!((none.code, none.reason.as_str()), (Code::FailedPrecondition, "NO_IDLE_MACHINE"));
    assert!(none.retry_after.is_some(), "{none:?}");

    let over = ann.over(&held.session.session_id).await;
    assert_eq!(over.state(), SessionState::Expired);
    let late = ann.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await.unwrap_err();
    assert_eq!(refusal(&late).reason, "SESSION_EXPIRED");
    // Nobody has to ask for it to be free again.
    until_true("the machine to be idle", PATIENCE, || async {
        standing(&shop, &id).await.state() == PoolState::Idle
    })
    .await;
    let bought = bob.buy(&product, PaymentMode::None).await;
    assert_eq!(bob.over(&bought.session_id).await.state(), SessionState::Completed);
    let checked = check(&shop).await;
    assert_eq!((checked.sessions, checked.completed), (2, 1));
}

pub(crate) async fn a_machine_archived_before_anybody_noted_the_end_of_its_lease_leaves_no_session_open(
    engine: Engine,
) {
    // Nobody sweeps.
    let shop = shop(engine, |o| o.set("orchestrator.lease_ms", 300).set("worker.enabled", false)).await;
    let id = machine(&shop, 0).await;
    let ann = Buyer::new(&shop, 0, "ann");
    let held = ann.start().await;
    let over = ann.over(&held.session.session_id).await;
    let request = v1::ArchiveMachineRequest { machine_id: id };
    shop.operator().fleet.archive_machine(request).await.unwrap();
    let archived = ann.over(&held.session.session_id).await;
    assert_eq!((archived.state(), archived.end_time_ms), (over.state(), over.end_time_ms));
    let open: Vec<(i64,)> = shop.rows().await.all("SELECT state FROM sessions WHERE ended_at_ms = 0").await;
    assert!(open.is_empty(), "retention would never find it");
}

pub(crate) async fn a_caller_that_timed_out_and_asks_again_has_the_same_session(engine: Engine) {
    let shop = shop(engine, |o| o).await;
    machine(&shop, 0).await;
    machine(&shop, 0).await;
    let ann = Buyer::new(&shop, 0, "ann");
    let wish = ann.wish();
    // It is connected before the wire is bad.
    ann.session(&wish.request_id).await.unwrap_err();
    shop.replicas[0].link.lose_replies();
    let asked = tokio::time::timeout(Duration::from_millis(700), ann.ask(&wish)).await;
    assert!(!matches!(asked, Ok(Ok(_))), "an answer came over a wire that carries none");
    let rows = shop.rows().await;
    until_true("the session to be begun", PATIENCE, || async {
        rows.all::<(i64,)>("SELECT count(*) FROM sessions").await[0].0 == 1
    })
    .await;
    shop.replicas[0].link.mend();
    let ann = Buyer::new(&shop, 0, "ann");
    let held = ann.ask(&wish).await.unwrap();
    assert!(held.already, "{held:?}");
    let again = ann.ask(&wish).await.unwrap();
    assert_eq!((&again.session, &again.token), (&held.session, &held.token), "it renews nothing");
    let other = v1::StartWorkRequest { kind: v1::MachineKind::Virtual.into(), ..wish };
    assert_eq!(refusal(&ann.ask(&other).await.unwrap_err()).reason, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(check(&shop).await.sessions, 1);
}

pub(crate) async fn a_choice_whose_answer_was_lost_buys_once(engine: Engine) {
    let shop = shop(engine, |o| o).await;
    machine(&shop, 0).await;
    let product = shop.product("COLA", 5).await;
    let ann = Buyer::new(&shop, 0, "ann");
    let held = ann.start().await;
    let choice = Buyer::choice(&held, &product, PaymentMode::None);
    shop.replicas[0].link.lose_replies();
    let asked = tokio::time::timeout(Duration::from_millis(700), ann.choose(&choice)).await;
    assert!(!matches!(asked, Ok(Ok(_))), "an answer came over a wire that carries none");
    let rows = shop.rows().await;
    until_true("the purchase to end", PATIENCE, || async {
        rows.all::<(i64,)>("SELECT count(*) FROM purchases WHERE ended_at_ms > 0").await[0].0 == 1
    })
    .await;
    shop.replicas[0].link.mend();
    let ann = Buyer::new(&shop, 0, "ann");
    let again = ann.choose(&choice).await.unwrap();
    assert!(again.already_existed);
    assert_eq!(again.purchase.unwrap().state(), PurchaseState::Dispensing, "its first answer");
    let session = again.session.unwrap();
    assert_eq!(session.state(), SessionState::Completed, "the session as it is now");
    assert_eq!(shop.stock(&product).await, 4);
    assert_eq!(check(&shop).await.completed, 1);
}

pub(crate) async fn usage_stays_fair(engine: Engine) {
    const MACHINES: usize = 5;
    let shop = shop(engine, |o| o).await;
    for _ in 0..MACHINES {
        machine(&shop, 5).await;
    }
    let product = shop.product("COLA", 1_000).await;
    let mut bought = 0;
    // Nothing is in flight between two crowds.
    for crowd in [1, 3, 5, 2, 4, 5, 1, 1, 3, 5, 4, 2] {
        let mut buying = JoinSet::new();
        for n in 0..crowd {
            let (buyer, product) = (Buyer::new(&shop, 0, &format!("customer-{n}")), product.clone());
            buying.spawn(async move {
                let bought = buyer.buy(&product, PaymentMode::None).await;
                buyer.over(&bought.session_id).await
            });
        }
        bought += buying.join_all().await.len();
        let request = v1::ListMachinesRequest::default();
        let machines = shop.operator().fleet.list_machines(request).await.unwrap().into_inner().machines;
        let usage: Vec<u64> = machines.into_iter().map(|m| m.pool.unwrap().usage_count).collect();
        let (least, most) = (usage.iter().min().unwrap(), usage.iter().max().unwrap());
        assert!(most - least <= 1, "after {bought}: {usage:?}");
    }
    assert_eq!(check(&shop).await.completed, bought);
}

pub(crate) async fn a_machine_that_keeps_failing_rests_and_comes_back(engine: Engine) {
    let till = Till::open(engine, 1, |o| o.set("orchestrator.rest_ms", 1_500)).await;
    let id = machine(&till.shop, 0).await;
    let product = till.shop.product("COLA", 5).await;
    till.gateway.script(Op::Authorise, [Step::decline(), Step::decline(), Step::decline()]);
    let ann = Buyer::new(&till.shop, 0, "ann");
    for _ in 0..3 {
        let bought = ann.buy(&product, PaymentMode::Gateway).await;
        let over = ann.over(&bought.session_id).await;
        assert_eq!(over.purchase.unwrap().failure(), PurchaseFailure::PaymentDeclined);
    }
    let resting = standing(&till.shop, &id).await;
    assert_eq!((resting.state(), resting.failures_in_a_row), (PoolState::Resting, 3), "{resting:?}");
    assert_eq!(refusal(&ann.ask(&ann.wish()).await.unwrap_err()).reason, "NO_IDLE_MACHINE");
    let held = ann.ask(&v1::StartWorkRequest { wait_ms: 30_000, ..ann.wish() }).await.unwrap();
    ann.choose(&Buyer::choice(&held, &product, PaymentMode::Gateway)).await.unwrap();
    assert_eq!(ann.over(&held.session.session_id).await.state(), SessionState::Completed);
    assert_eq!(standing(&till.shop, &id).await.failures_in_a_row, 0);
    let checked = check_paid(&till).await;
    assert_eq!((checked.completed, checked.failed), (1, 3));
}

pub(crate) async fn who_waits_is_served_in_order_and_told_when_the_wait_is_over(engine: Engine) {
    let shop = shop(engine, |o| o).await;
    machine(&shop, 50).await;
    let product = shop.product("COLA", 50).await;
    let first = Buyer::new(&shop, 0, "first");
    let held = first.start().await;
    let impatient = v1::StartWorkRequest { wait_ms: 100, ..first.wish() };
    assert_eq!(refusal(&first.ask(&impatient).await.unwrap_err()).reason, "NO_IDLE_MACHINE");

    let mut waiting = JoinSet::new();
    for n in 0..5 {
        let (buyer, product) = (Buyer::new(&shop, 0, &format!("waiter-{n}")), product.clone());
        waiting.spawn(async move {
            let held = buyer.ask(&v1::StartWorkRequest { wait_ms: 30_000, ..buyer.wish() }).await.unwrap();
            buyer.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await.unwrap();
            (n, buyer.over(&held.session.session_id).await.create_time_ms)
        });
        // Each stands in line before the next one comes.
        until_true("one more call to wait", PATIENCE, || async {
            metric(&shop, "vendfleet_calls_in_flight").await > n
        })
        .await;
    }
    first.choose(&Buyer::choice(&held, &product, PaymentMode::None)).await.unwrap();
    let mut served = waiting.join_all().await;
    served.sort_by_key(|(_, at_ms)| *at_ms);
    assert_eq!(served.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(check(&shop).await.completed, 6);
}

pub(crate) async fn who_waits_at_a_server_that_drains_is_told_at_once(engine: Engine) {
    let mut shop = shop(engine, |o| o).await;
    machine(&shop, 0).await;
    let ann = Buyer::new(&shop, 0, "ann");
    ann.start().await;
    let waits = {
        let bob = Buyer::new(&shop, 0, "bob");
        tokio::spawn(async move { bob.ask(&v1::StartWorkRequest { wait_ms: 60_000, ..bob.wish() }).await })
    };
    until_true("the call to wait", PATIENCE, || async {
        metric(&shop, "vendfleet_calls_in_flight").await == 1
    })
    .await;
    let ended = shop.replicas[0].server.stop().await;
    assert!(ended.success(), "nothing was left at the end of the drain: {ended:?}");
    let told = refusal(&waits.await.unwrap().unwrap_err());
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
    assert!(told.retry_after.is_some(), "{told:?}");
}

/// A metric as it is shown, by its name and labels; 0 while it is not.
async fn metric(shop: &Shop, metric: &str) -> u64 {
    let address = shop.replicas[0].server.http_addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

pub(crate) async fn where_machines_stand_is_in_the_metrics(engine: Engine) {
    let mut shop = shop(engine, |o| o.set("orchestrator.lease_ms", 60_000)).await;
    for _ in 0..3 {
        machine(&shop, 0).await;
    }
    Buyer::new(&shop, 0, "ann").start().await;
    // They are counted when the server starts, and seldom afterwards.
    shop.replicas[0].server.kill();
    shop.replicas[0].restart().await;
    until_true("the machines to be counted", PATIENCE, || async {
        let idle = metric(&shop, "vendfleet_pool_machines{state=\"idle\"}").await;
        let held = metric(&shop, "vendfleet_pool_machines{state=\"choose_product\"}").await;
        (idle, held) == (2, 1)
    })
    .await;
}
